"""Phase diagrams of a finished study of sensitivity.toml.

jaxmlr run experiments/sensitivity.toml --out results/sensitivity --quiet
python experiments/sensitivity.py results/sensitivity
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm

from jaxmlr.fitting import style

BOUND, GROWTH = "estimators.two_step.bound", "problem.process.delta"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--figure", default="experiments/sensitivity.png")
    arguments = parser.parse_args()
    last = xr.open_zarr(arguments.results / "results.zarr").isel(step=-1, estimator=0).load()
    print(f"cells {last['diverged'].size}, diverged trials {int(last['diverged'].sum())}")
    error = last["coefficient_error_rms"]
    best = error[BOUND].isel({BOUND: error.argmin(BOUND)})
    for growth in last[GROWTH].values:
        at = error.sel({GROWTH: growth})
        print(f"\ndelta = {growth:g}: rms coefficient error; the best bound\n")
        print("| p | " + " | ".join(f"C = {c:g}" for c in last[BOUND].values) + " | best C | bound |")
        print("|---" * (3 + last.sizes[BOUND]) + "|")
        for p in (0.5, 0.52, 0.55, 0.6, 0.7, 0.8, 0.92):
            row = at.sel({"problem.p": p}, method="nearest")
            limit = last["coefficient_error_theory"].sel({GROWTH: growth, "problem.p": p}, method="nearest")
            cells = " | ".join(f"{float(x):.3f}" for x in row)
            chosen = best.sel({GROWTH: growth, "problem.p": p}, method="nearest")
            print(f"| {p:g} | {cells} | {float(chosen):g} | {float(np.max(limit)):.4f} |")
    plt.rcParams.update(style.settings(10))
    figure, panels = plt.subplots(2, last.sizes[GROWTH], figsize=(10, 5), layout="constrained", sharey=True)
    shown = {
        "coefficient_error_rms": (panels[0], "rms coefficient error"),
        "excess_misclassification_mean": (panels[1], "wrong labels above the optimum"),
    }
    p, bounds = last["problem.p"].values, last[BOUND].values
    for name, (row, title) in shown.items():
        values = last[name].clip(1e-4)
        norm = LogNorm(float(values.min()), float(values.max()))
        for panel, growth in zip(row, last[GROWTH].values, strict=True):
            table = values.sel({GROWTH: growth}).transpose(BOUND, "problem.p")
            drawn = panel.pcolormesh(np.arange(len(p)), np.arange(len(bounds)), table, norm=norm)
            panel.plot(
                np.arange(len(p)),
                np.interp(_needed(p), bounds, np.arange(len(bounds))),
                "w--",
                label="$C$ whose $D_n$ holds the true $q$ at $n$ = 5,000",
            )
            panel.set_xticks(np.arange(len(p))[::3], [f"{x:g}" for x in p[::3]])
            panel.set_yticks(np.arange(len(bounds)), [f"{x:g}" for x in bounds])
            panel.set(xlabel="$p$", title=rf"$|\varphi|^2 \sim n^{{{growth:g}}}$")
        row[0].set_ylabel("bound $C$")
        figure.colorbar(drawn, ax=row, label=title)
    legend = figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center")
    legend.get_frame().set_facecolor("0.5")  # the line is white
    style.save(figure, [Path(arguments.figure)])


def _needed(p):
    """The C whose interval reaches q = 1 / (2p - 1) at n = 5000."""
    return 1 / np.maximum(2 * p - 1, 1e-3) / np.sqrt(np.log(5000 + np.e))


if __name__ == "__main__":
    main()
