"""Cost of a trial-step against d, K, block, steps and devices: the picture of the newest benchmarks.

    python experiments/benchmarks.py --only methods,scaling    # on a quiet machine
    python experiments/scaling.py [--figure experiments/scaling.png]

Nanoseconds per trial-step of the compiled block, data and method together. A panel whose numbers
`benchmarks.json` does not have is left out.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from jaxmlr.fitting import style
from jaxmlr.registry import COLOURS

HERE = Path(__file__).parent
Curves = dict[str, dict[float, float]]  # method -> point -> nanoseconds


def newest(section: str) -> Any:
    """The last record's section of that name, or nothing."""
    records = json.loads((HERE / "benchmarks.json").read_text(encoding="utf-8"))
    return next((record[section] for record in reversed(records) if section in record), {})


def against_dimension(methods: dict[str, dict[str, float]]) -> Curves:
    """Two components, in every measured dimension."""
    return {
        name.removesuffix(", K=2"): {float(d.removeprefix("d=")): ns for d, ns in costs.items()}
        for name, costs in methods.items()
        if name.endswith(", K=2")
    }


def against_components(methods: dict[str, dict[str, float]]) -> Curves:
    """Three regressors, the methods that take any number of components."""
    curves: Curves = {}
    for label, costs in methods.items():
        name, components = label.split(", K=")
        curves.setdefault(name, {})[float(components)] = costs["d=3"]
    return {name: costs for name, costs in curves.items() if len(costs) > 1}


def main() -> None:
    """Read and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--figure", type=Path, default=HERE / "scaling.png")
    given = parser.parse_args()
    methods = newest("methods")
    panels = {"$d$ ($K$ = 2)": against_dimension(methods), "$K$ ($d$ = 3)": against_components(methods)}
    for name, costs in newest("scaling").items():
        panels[name] = {"two_step": {float(point): ns for point, ns in costs.items()}}
    looks = style.line_styles({name: name for curves in panels.values() for name in curves}, COLOURS)
    width = style.width_of()
    with style.drawing(width):
        rows = -(-len(panels) // 3)
        figure, axes = plt.subplots(
            rows, min(3, len(panels)), figsize=(width, 3.2 * rows), layout="constrained", squeeze=False
        )
        for letter, panel, (name, curves) in zip("abcdef", axes.ravel(), panels.items(), strict=False):
            for method, costs in curves.items():
                panel.plot(list(costs), list(costs.values()), label=method, **looks[method]._asdict())
            panel.set(xscale="log", yscale="log", xlabel=name, title=f"({letter})")
            style.plain_numbers(panel.xaxis)
            style.plain_numbers(panel.yaxis)
        for empty in axes.ravel()[len(panels) :]:
            empty.remove()
        for panel in axes[:, 0]:
            panel.set_ylabel("ns per trial-step")
        style.legend(figure, *axes[0, 0].get_legend_handles_labels())
        style.save(figure, [given.figure])


if __name__ == "__main__":
    main()
