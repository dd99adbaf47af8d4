"""Cost of a trial-step against block, steps, d, K and devices, and the figure of it.

    python experiments/scaling.py [--figure experiments/scaling.png]

Nanoseconds per trial-step of the compiled block, data and method together, on one device but in the last
panel. Dotted: the growth that counting operations predicts.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from benchmarks import options, rate, study

from jaxmlr.fitting import style
from jaxmlr.study import use_all_cores

TWO_STEP = {"two_step": {"method": "two_step"}}


def cost(points: Iterable[int], rate_at: Callable[[int], float]) -> tuple[list[int], list[float]]:
    """The points, and nanoseconds per trial-step at each, printed as they come."""
    nanoseconds = []
    for point in points:
        nanoseconds.append(1e9 / rate_at(point))
        print(f"  {point}: {nanoseconds[-1]:.2f} ns", flush=True)
    return list(points), nanoseconds


def panels() -> dict[str, tuple[list[int], list[float], float]]:
    """Panel -> (points, costs, the exponent that theory has for their growth)."""

    def general(components: int) -> float:
        tables = {"recursive_em": options("recursive_em", 3, components)}
        return rate(study(tables, 3, components), 1)

    cases: dict[str, tuple[Iterable[int], Callable[[int], float], float]] = {
        "trials in a block": (4 ** np.arange(1, 8), lambda b: rate(study(TWO_STEP, 3, block=int(b)), 1), 0),
        "steps": (10 ** np.arange(1, 6), lambda n: rate(study(TWO_STEP, 3, steps=int(n), block=256), 1), 0),
        "d": ((1, 2, 3, 5, 7, 10, 14, 20), lambda d: rate(study(TWO_STEP, d), 1), 2),
        "K (recursive_em, d = 3)": ((2, 3, 4, 5, 6), general, 1),
        "devices": (range(1, len(jax.local_devices()) + 1), lambda k: rate(study(TWO_STEP, 3), k), -1),
    }
    measured = {}
    for name, (points, rate_at, exponent) in cases.items():
        print(name, flush=True)
        measured[name] = (*cost([int(point) for point in points], rate_at), exponent)
    return measured


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--figure", type=Path, default=Path(__file__).parent / "scaling.png")
    given = parser.parse_args()
    use_all_cores()
    measured = panels()
    plt.rcParams.update(style.settings(10))
    figure, axes = plt.subplots(1, len(measured), figsize=(10, 2.8), layout="constrained")
    for letter, panel, (name, (points, costs, exponent)) in zip(
        "abcdef", axes, measured.items(), strict=False
    ):
        panel.plot(points, costs, marker="o", color=style.PALETTE[0], label="measured")
        at = np.array(points, float)
        panel.plot(
            points,
            costs[-1] * (at / at[-1]) ** exponent,
            color="grey",
            linestyle=":",
            label="growth of the operations",
        )
        panel.set(xscale="log", yscale="log", xlabel=name, title=f"({letter})")
        panel.set_ylim(min(costs) / 2, max(costs) * 2)
        style.plain_numbers(panel.yaxis)
        style.plain_numbers(panel.xaxis)
    axes[0].set_ylabel("ns per trial-step")
    style.legend(figure, *axes[0].get_legend_handles_labels())
    style.save(figure, [given.figure])


if __name__ == "__main__":
    main()
