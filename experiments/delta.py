r"""Table and figure of finished studies of delta.toml: growing (delta 0 is bounded) and normal regressors.

jaxmlr run experiments/delta.toml --out results/delta --quiet
jaxmlr run experiments/delta.toml --out results/delta_normal --quiet \
    --set 'problem.process={kind="gaussian"}' \
    --set 'grid={"estimators.em.delta"=[0.0,0.1,0.2,0.3,0.4,0.6,0.8]}'
python experiments/delta.py results/delta results/delta_normal
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import xarray as xr

from jaxmlr.fitting import style

EXPONENT, GROWTH = "estimators.em.delta", "problem.process.delta"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("growing", type=Path)
    parser.add_argument("normal", type=Path)
    parser.add_argument("--figure", default="experiments/delta.png")
    arguments = parser.parse_args()
    growing, normal = (
        xr.open_zarr(path / "results.zarr").isel(estimator=0).load()
        for path in (arguments.growing, arguments.normal)
    )
    cases = {"normal": normal}
    for growth in growing[GROWTH].values:
        name = "bounded" if growth == 0 else f"|phi|^2 ~ n^{growth:g}"
        cases[name] = growing.sel({GROWTH: growth})
    exponents = normal[EXPONENT].values
    print("| regressors | " + " | ".join(f"delta = {x:g}" for x in exponents) + " | bound |")
    print("|---" * (2 + len(exponents)) + "|")
    plt.rcParams.update(style.settings(10))
    figure, panels = plt.subplots(1, len(cases), figsize=(10, 3), layout="constrained", sharey=True)
    for panel, (name, results) in zip(panels, cases.items(), strict=True):
        last = results.isel(step=-1)
        cells = []
        for k, x in enumerate(exponents):
            at = last.sel({EXPONENT: x})
            rms, mean = float(at["coefficient_error_rms"]), float(at["coefficient_error_mean"])
            cells.append(f"{rms:.4f} ({float(at['coefficient_error_se']) / mean:.1%})")
            curve = results["coefficient_error_rms"].sel({EXPONENT: x})
            look = {"color": style.PALETTE[k], "linestyle": style.DASHES[k % len(style.DASHES)]}
            panel.loglog(results["step"], curve, label=rf"$\delta$ = {x:g}", **look)
        limit = results["coefficient_error_theory"]
        limit = limit.isel({dim: 0 for dim in limit.dims if dim != "step"})
        panel.loglog(results["step"], limit, "k:", label="Cramér-Rao bound")
        panel.set(
            title=name.replace("|phi|^2 ~ n^", r"$|\varphi|^2 \sim n^\delta$, $\delta$ = "), xlabel="$n$"
        )
        escaped = name.replace("|", r"\|")  # in a table of Markdown
        print(f"| {escaped} | " + " | ".join(cells) + f" | {float(limit[-1]):.4f} |")
    panels[0].set_ylabel("rms coefficient error")
    style.legend(figure, *panels[0].get_legend_handles_labels())
    style.save(figure, [Path(arguments.figure)])


if __name__ == "__main__":
    main()
