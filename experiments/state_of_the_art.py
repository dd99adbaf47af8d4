"""Accuracy against samples and against seconds: recursive and batch methods on the same data.

    python experiments/state_of_the_art.py [--trials 32] [--figure experiments/state_of_the_art.png]
    python experiments/state_of_the_art.py --table experiments/state_of_the_art.md    # the figure alone

The symmetric model, d = 5, p = .7, normal regressors, |beta| = 2.1, sigma = 1. Batch: EM (with a variance,
weights and two free lines to learn) from one start of each kind, alternating minimisation from the spectral
start, gradient descent on the likelihood (adam) from it, and `fit`; `em, tied` knows that the lines are
opposite, as the recursive methods do. Seconds are those of one data set after
compilation.
"""

import argparse
import functools
import math
import re
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import jaxmlr
from jaxmlr import batch, processes
from jaxmlr.batch import starts
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.fitting import style
from jaxmlr.registry import COLOURS

TRUTH = jaxmlr.symmetric(jnp.asarray([1.0, -1.5, 0.5, 0.8, -0.3], jnp.float32), 0.7)
SAMPLES = (100, 300, 1_000, 3_000, 10_000)
METHOD_OF = {"alternating minimisation": "hard_em"}  # by the names of the registry, which have the colours


def stream(make):
    def method(phi, y, key):
        estimator = make()
        return estimator.mixture(jaxmlr.run(estimator, phi, y, key)[0])

    return method


def begin(kind, phi, y, key):
    return starts.KINDS[kind](key, Rows(phi, y, jnp.ones_like(y)), 2)


def em_from(kind):
    return lambda phi, y, key: (
        jaxmlr.em(phi, y, begin(kind, phi, y, key), equal_variance=True, max_iterations=300).mixture
    )


def after_spectral(method):
    return lambda phi, y, key: method(phi, y, begin("spectral", phi, y, key)).mixture


METHODS = {
    "two_step": stream(lambda: jaxmlr.two_step(1.0, gain="newton", bound=3.0)),
    "second_moment": stream(jaxmlr.second_moment),
    "fisher_scoring": stream(jaxmlr.fisher_scoring),
    "em, random lines": em_from("random_lines"),
    "em, spectral": em_from("spectral"),
    "em, tensor": em_from("tensor"),
    "em, sequential robust": em_from("sequential_robust"),
    "em, tied": lambda phi, y, key: (
        jaxmlr.em(
            phi,
            y,
            begin("spectral", phi, y, key),
            tie="symmetric",
            equal_variance=True,
            max_iterations=300,
        ).mixture
    ),
    "alternating minimisation": after_spectral(functools.partial(jaxmlr.hard_em, max_iterations=300)),
    "gradient": after_spectral(
        lambda phi, y, start: batch.gradient(phi, y, start, optax.adam(0.03), max_iterations=300)
    ),
    "fit": lambda phi, y, key: jaxmlr.fit(phi, y, 2, key, equal_variance=True).mixture,
}


def measure(method, n, trials):
    """Coefficient errors, and seconds of one data set."""

    def one(index):
        phi, y, _ = jaxmlr.simulate(jax.random.key(8), TRUTH, processes.gaussian(), n, trial=index)
        estimate = method(phi, y, jax.random.fold_in(jax.random.key(9), index))
        return jaxmlr.metrics.coefficient_error(estimate, TRUTH)

    run = jax.jit(lambda index: jax.lax.map(one, index))
    index = jnp.arange(trials, dtype=jnp.int32)
    run(index).block_until_ready()
    began = time.perf_counter()
    errors = run(index).block_until_ready()
    return np.asarray(errors), (time.perf_counter() - began) / trials


def row(name, method, trials):
    """A line of the table: median and 90 % quantile of the error, and milliseconds, at each n."""
    cells = []
    for n in SAMPLES:
        errors, seconds = measure(method, n, trials)
        cells.append(f"{np.median(errors):.3f} / {np.quantile(errors, 0.9):.3f}; {1e3 * seconds:.2f} ms")
    return f"| {name} | " + " | ".join(cells) + " |"


def read(path):
    """The lines of a table that was printed before."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if " ms |" in line]


def draw(lines, path):
    """Median errors against n and against seconds, from the lines of the table."""
    width = style.width_of()
    with style.drawing(width):
        figure, panels = plt.subplots(1, 2, figsize=(width, 3.6), sharey=True, layout="constrained")
        rows = {cells[0]: cells[1:] for cells in (line.strip("| ").split(" | ") for line in lines)}
        methods = {name: "em" if name.startswith("em") else METHOD_OF.get(name, name) for name in rows}
        looks = style.line_styles(methods, COLOURS)
        errors = {}
        for name, cells in rows.items():
            medians, _, milliseconds = zip(
                *(map(float, re.findall(r"[0-9.]+", each)) for each in cells), strict=True
            )
            # What is 0 to the table's digits has no place on a logarithmic axis.
            seconds = [ms / 1e3 if ms > 0 else math.nan for ms in milliseconds]
            errors[name] = np.array(medians)
            panels[0].loglog(SAMPLES, medians, label=name, **looks[name]._asdict())
            panels[1].loglog(seconds, medians, **looks[name]._asdict())
        panels[0].set(xlabel="observations $n$", ylabel="median coefficient error", title="(a)")
        panels[1].set(xlabel="seconds for one data set", title="(b)")
        style.note(panels[0], style.coinciding(errors, tolerance=0.03), (width / 2 - 1, 3))
        style.legend(figure, *panels[0].get_legend_handles_labels())
        style.save(figure, [path])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--figure", type=Path, default=Path("experiments/state_of_the_art.png"))
    parser.add_argument("--table", type=Path, help="draw what was printed before, and measure nothing")
    arguments = parser.parse_args()
    if arguments.table is not None:
        draw(read(arguments.table), arguments.figure)
        return
    print("| method | " + " | ".join(f"n = {n}" for n in SAMPLES) + " |\n|---" + "|---" * len(SAMPLES) + "|")
    lines = []
    for name, method in METHODS.items():
        lines.append(row(name, method, arguments.trials))
        print(lines[-1], flush=True)
    draw(lines, arguments.figure)


if __name__ == "__main__":
    main()
