"""The picture and the table of a finished study of near_balance.toml.

jaxmlr run experiments/near_balance.toml --out results/near_balance
python experiments/near_balance.py results/near_balance
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import xarray as xr

from jaxmlr.fitting import style
from jaxmlr.registry import COLOURS
from jaxmlr.study.results.curves import methods_of


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--figure", default="experiments/near_balance.png")
    arguments = parser.parse_args()
    last = xr.open_zarr(arguments.results / "results.zarr").isel(step=-1).load()
    p = last["problem.p"].values
    print("| p | " + " | ".join(map(str, last["estimator"].values)) + " | bound | balanced |")
    print("|---" * (3 + last.sizes["estimator"]) + "|")
    for share in p:
        at = last.sel({"problem.p": share})
        errors = [f"{float(at['coefficient_error_rms'].sel(estimator=e)):.3f}" for e in last["estimator"]]
        alarm = float(at["alarm_balanced_mean"].sel(estimator="two_step, C = 3"))
        bound = float(at["coefficient_error_theory"])
        print(f"| {share:g} | " + " | ".join(errors) + f" | {bound:.4f} | {alarm:.2f} |")
    plt.rcParams.update(style.settings(9))
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name, look in style.line_styles(methods_of(last), COLOURS).items():
        mine = last.sel(estimator=name)
        panels[0].loglog(p - 0.49, mine["coefficient_error_rms"], label=name, **look._asdict())
        panels[1].loglog(p - 0.49, mine["excess_misclassification_mean"].clip(1e-6), **look._asdict())
    panels[0].loglog(p - 0.49, last["coefficient_error_theory"], "k:", label="Cramér-Rao bound")
    panels[0].set(ylabel="rms coefficient error")
    panels[1].set(ylabel="wrong labels above the optimum")
    for panel in panels:
        panel.set(xlabel="$p$")
        panel.set_xticks(p - 0.49, [f"{share:g}" for share in p])
        panel.minorticks_off()
    style.legend(figure, *panels[0].get_legend_handles_labels())
    style.save(figure, [Path(arguments.figure)])


if __name__ == "__main__":
    main()
