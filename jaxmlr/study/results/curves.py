"""Pictures of study results. Needs the extra `plot`: pip install 'jaxmlr[plot]'."""

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxmlr import _check
from jaxmlr.study.results import maps

# Okabe and Ito's palette, distinct for all kinds of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)))

TITLES = {
    "coefficient_error": "coefficient error: median, 5-95 %",
    "misclassification": "misclassification: mean",
    "within_cluster_error": "within-cluster error: mean",
    "excess_misclassification": "misclassification above the optimum: mean",
    "excess_within_cluster_error": "within-cluster error above the optimum: mean",
    "scale": "scale q: median, 5-95 %",
}
_BANDED = ("coefficient_error", "scale")
_MOST_ROWS = 6


def default_metrics(results: xr.Dataset) -> list[str]:
    """Error, labels and scale, as far as the results have them; excesses rather than totals."""
    have = [name for name in TITLES if f"{name}_mean" in results]
    groups = (
        ("coefficient_error",),
        ("excess_misclassification", "misclassification"),
        ("scale", "excess_within_cluster_error", "within_cluster_error"),
    )
    chosen = [next((name for name in group if name in have), None) for group in groups]
    return [name for name in chosen if name]


def figure(results: xr.Dataset, metrics: Sequence[str] | None = None) -> Figure:
    """Error curves against n: a row for every grid point, a column for every metric.

    Args:
      results: what `run_study` returns.
      metrics: names; None takes `default_metrics`.

    Raises:
      ValueError: a metric that the results do not have, or more than 6 grid points.
    """
    metrics = default_metrics(results) if metrics is None else list(metrics)
    for name in metrics:
        _check_metric(results, name)
    axes_names = [str(dim) for dim in results["diverged"].dims if dim not in ("estimator", "step")]
    points = [
        dict(zip(axes_names, values, strict=True))
        for values in itertools.product(*(results[axis].values.tolist() for axis in axes_names))
    ]
    if len(points) > _MOST_ROWS:
        raise ValueError(
            f"the grid has {len(points)} points; select up to {_MOST_ROWS}, as with --select axis=value"
        )
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        drawn = Figure(figsize=(4.3 * len(metrics), 3.2 * len(points) + 0.7), layout="constrained")
        panels = drawn.subplots(len(points), len(metrics), squeeze=False, sharex=True)
        for row, point in enumerate(points):
            for column, metric in enumerate(metrics):
                panel = panels[row, column]
                _panel(panel, results.sel(point), metric)
                if row == 0:
                    letter = "abcdefgh"[column]
                    panel.set_title(f"({letter}) {TITLES[metric]}", loc="left", fontsize=9)
                if row == len(points) - 1:
                    panel.set_xlabel("observations n")
            label = ", ".join(
                f"{axis.rsplit('.', 1)[-1]} = {value:g}"
                if isinstance(value, int | float)
                else f"{axis.rsplit('.', 1)[-1]} = {value}"
                for axis, value in point.items()
            )
            panels[row, 0].set_ylabel(label or "error")
        handles: dict[str, Any] = {}
        for panel in panels.flat:
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        drawn.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False, fontsize=8
        )
        drawn.suptitle(f"{results.attrs['name']}: {results.attrs['trials']:,} trials")
    return drawn


def _panel(panel: Axes, at: xr.Dataset, metric: str) -> None:
    """One metric at one grid point."""
    n = at["step"].values
    banded = metric in _BANDED
    options = json.loads(at.attrs["study"])["estimators"]
    for index, name in enumerate(at["estimator"].values.tolist()):
        mine = at.sel(estimator=name)
        middle = mine[f"{metric}_{'q50' if banded else 'mean'}"].values
        if banded:
            low, high = mine[f"{metric}_q05"].values, mine[f"{metric}_q95"].values
        else:
            spread = 2 * mine[f"{metric}_se"].values
            low, high = middle - spread, middle + spread
        if not np.any(middle > 0) or options[name]["method"] == "oracle":
            continue  # drawn as a reference, or without an error to draw on a logarithmic axis
        colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
        seen = np.isfinite(middle)  # a batch method is fitted at some steps only
        mark = "" if seen.all() else "o"
        panel.plot(
            n[seen],
            middle[seen],
            label=name,
            linewidth=1.4,
            color=colour,
            linestyle=dash,
            marker=mark,
            markersize=3.5,
        )
        panel.fill_between(n[seen], low[seen], high[seen], color=colour, alpha=0.12, linewidth=0)
    _references(panel, at, metric, n)
    panel.set_xscale("log")
    panel.set_yscale("log" if metric != "scale" else "linear")
    if (
        metric == "scale"
        and "scale_theory" in at
        and np.isfinite(true_q := float(at["scale_theory"].values[-1]))
    ):
        panel.set_ylim(0.9, 1.6 * true_q + 0.5)
    elif metric == "excess_misclassification":
        panel.set_ylim(bottom=1e-5)


def _references(panel: Axes, at: xr.Dataset, metric: str, n: np.ndarray) -> None:
    """What the true coefficients reach, the theory, and for q where the projection holds it."""
    if f"{metric}_oracle" in at:
        panel.plot(n, at[f"{metric}_oracle"].values, color="black", linewidth=1, label="true coefficients")
    if f"{metric}_theory" in at:
        label = {"coefficient_error": "Cramer-Rao bound (rms)", "scale": "true q"}.get(metric, "theory")
        panel.plot(n, at[f"{metric}_theory"].values, color="black", linewidth=1, linestyle=":", label=label)
    if metric == "scale":
        options = json.loads(at.attrs["study"])["estimators"].items()
        bounds = sorted(
            {
                float(at.coords.get(f"estimators.{name}.bound", table.get("bound", 1.0)))
                for name, table in options
                if table["method"] == "two_step"
            }
        )
        for bound, dash in zip(filter(np.isfinite, bounds), itertools.cycle(((0, (1, 1)), (0, (4, 2))))):
            upper = np.maximum(bound * np.sqrt(np.log(n + math.e)), 1)
            panel.plot(
                n, upper, color="grey", linewidth=1, linestyle=dash, label=f"upper end of D_n, C = {bound:g}"
            )


KINDS = ("auto", "curves", "heat", "phase")


def draw(results: xr.Dataset, metrics: Sequence[str] | None = None, kind: str = "auto") -> Figure:
    """Curves, or a map over two axes of the grid.

    Args:
      results: what `run_study` returns.
      metrics: names; None takes `default_metrics`. Maps show the first.
      kind: "curves"; "heat" and "phase", see `jaxmlr.heat_maps`; "auto": curves for up to 6 grid points,
        a heat map for more where the grid has two axes.

    Raises:
      ValueError: the results have no such metric, or too many or too few points.
    """
    _check.choice("kind", kind, KINDS)
    axes = [str(dim) for dim in results["diverged"].dims if dim not in ("estimator", "step")]
    if kind == "auto":
        many = math.prod(results.sizes[axis] for axis in axes) > _MOST_ROWS
        kind = "heat" if many and len([axis for axis in axes if results.sizes[axis] > 1]) > 1 else "curves"
    if kind == "curves":
        return figure(results, metrics)
    metric = (metrics or default_metrics(results))[0]
    _check_metric(results, metric)
    return (maps.heat_map if kind == "heat" else maps.phase_diagram)(results, metric)


def _check_metric(results: xr.Dataset, name: str) -> None:
    if f"{name}_mean" not in results:
        have = ", ".join(n for n in TITLES if f"{n}_mean" in results)
        raise ValueError(f"the results have no metric {name!r}; they have {have}")


def save(
    results: xr.Dataset, folder: str | Path, metrics: Sequence[str] | None = None, kind: str = "auto"
) -> list[Path]:
    """Write the picture of `draw` as NAME.png and NAME.svg into `folder`; returns the two paths."""
    drawn = draw(results, metrics, kind)
    paths = [Path(folder) / f"{results.attrs['name']}.{suffix}" for suffix in ("png", "svg")]
    with mpl.rc_context({"svg.hashsalt": results.attrs["name"]}):
        for path in paths:
            drawn.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths
