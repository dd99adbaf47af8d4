"""Accuracy against samples and against seconds: recursive and batch methods on the same data.

    python experiments/state_of_the_art.py [--trials 32] [--figure experiments/state_of_the_art.png]

The symmetric model, d = 5, p = .7, normal regressors, |beta| = 2.1, sigma = 1. Batch: EM (with a variance,
weights and two free lines to learn) from one start of each kind, alternating minimisation from the spectral
start, gradient descent on the likelihood (adam) from it, and `fit`; `em, tied` knows that the lines are
opposite, as the recursive methods do. Seconds are those of one data set after
compilation.
"""

import argparse
import functools
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--figure", default="experiments/state_of_the_art.png")
    arguments = parser.parse_args()
    plt.rcParams.update(style.settings(9))
    figure, panels = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True, layout="constrained")
    looks = style.line_styles({name: name for name in METHODS}, COLOURS)
    print("| method | " + " | ".join(f"n = {n}" for n in SAMPLES) + " |\n|---" + "|---" * len(SAMPLES) + "|")
    for name, method in METHODS.items():
        measured = [measure(method, n, arguments.trials) for n in SAMPLES]
        medians, seconds = [np.median(e) for e, _ in measured], [s for _, s in measured]
        cells = [f"{np.median(e):.3f} / {np.quantile(e, 0.9):.3f}; {1e3 * s:.1f} ms" for e, s in measured]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        panels[0].loglog(SAMPLES, medians, label=name, **looks[name]._asdict())
        panels[1].loglog(seconds, medians, **looks[name]._asdict())
    panels[0].set(xlabel="observations", ylabel="median coefficient error")
    panels[1].set(xlabel="seconds for one data set")
    style.legend(figure, *panels[0].get_legend_handles_labels())
    style.save(figure, [Path(arguments.figure)])


if __name__ == "__main__":
    main()
