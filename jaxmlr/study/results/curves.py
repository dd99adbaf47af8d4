"""Curves of a study against n: a panel for every metric at every grid point."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxmlr.evaluation.metrics import METRICS, record
from jaxmlr.fitting import style
from jaxmlr.study.results.dataset import metrics_of, statistic_of, variable

MOST_POINTS = 6
PAGE = 8.5  # inches of panels above one another that a page has room for


def default_metrics(results: xr.Dataset) -> list[str]:
    """One metric for each panel of the standard picture, then the study's own; else the first three."""
    have = metrics_of(results)
    panels = {METRICS[name].panel: name for name in have if name in METRICS and METRICS[name].panel}
    own = [name for name in have if name not in METRICS]
    return [*(panels[place] for place in sorted(panels)), *own] or have[:3]


def curves(results: xr.Dataset, metrics: Sequence[str], width: float, colours: Mapping[str, str]) -> Figure:
    """Draw every metric against n, with the optimum where it is known.

    Errors of coefficients and the scale: medians and 5 to 95 % of the trials; the others: means and two
    standard errors. A curve that another one hides is said to coincide with it.

    Args:
      results: what `run_study` returns.
      metrics: names.
      width: of the picture, in inches.
      colours: of methods, by name.

    Raises:
      ValueError: more than 6 grid points.
    """
    axes_names = [str(dim) for dim in results["diverged"].dims if dim not in ("estimator", "step")]
    points = [
        dict(zip(axes_names, values, strict=True))
        for values in itertools.product(*(results[axis].values.tolist() for axis in axes_names))
    ]
    if len(points) > MOST_POINTS:
        raise ValueError(
            f"the grid has {len(points)} points; select up to {MOST_POINTS}, as with --select axis=value"
        )
    cells = [(point, metric) for point in points for metric in metrics]
    columns = min(len(metrics), max(1, int(width / 2.2)))
    rows = -(-len(cells) // columns) if columns < len(metrics) else len(points)
    with style.drawing(width):
        height = min(0.78 * width / columns, 2.6, max(1.5, PAGE / rows))
        drawn = Figure(figsize=(width, height * rows + 0.9), layout="constrained")
        panels = drawn.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for place, (panel, (point, metric)) in enumerate(zip(panels, cells, strict=False)):
            _panel(panel, results.sel(point), metric, colours, (width / columns - 1, height - 0.4))
            at = ", ".join(f"{style.symbol(axis)} = {style.value_of(value)}" for axis, value in point.items())
            title = f"({_letter(place)}) {at}" if len(cells) > 1 else at
            panel.set_title(style.wrapped(title, width / columns - 0.5, 8), loc="left")
            what, kind = _axis_label(metric)
            panel.set_ylabel(f"{style.wrapped(what, height - 0.5, 8)}\n{kind}")
        for panel in panels[len(cells) :]:
            panel.remove()
        for panel in panels[max(0, len(cells) - columns) : len(cells)]:
            panel.set_xlabel("observations $n$")
            panel.tick_params(labelbottom=True)
        handles: dict[str, Any] = {}
        for panel in panels[: len(cells)]:
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        style.legend(drawn, list(handles.values()), list(handles))
        trials = results.attrs["trials"]
        style.headline(drawn, f"{style.plain(results.attrs['name'])}: {trials:,} trials")
    return drawn


def _letter(place: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[place] if place < 26 else str(place + 1)


def _axis_label(metric: str) -> tuple[str, str]:
    known = record(metric)
    kind = "median, 5 to 95 %" if known.banded else r"mean $\pm$ 2 s.e."
    return known.label or style.plain(known.heading or metric.replace("_", " ")), kind


def methods_of(results: xr.Dataset) -> dict[str, str]:
    """The method of each estimator of the results, by name, without the oracle."""
    options = json.loads(results.attrs["study"])["estimators"]
    names = results["estimator"].values.tolist()
    return {name: options[name]["method"] for name in names if options[name]["method"] != "oracle"}


def _panel(
    panel: Axes, at: xr.Dataset, metric: str, colours: Mapping[str, str], inches: tuple[float, float]
) -> None:
    """One metric at one grid point, in a panel so many inches wide and high."""
    n = at["step"].values
    known = record(metric)
    statistics = ("q50", "q05", "q95") if known.banded else ("mean", "se")
    numbers = [statistic_of(at, metric, each) for each in statistics]
    drawn: dict[str, np.ndarray] = {}
    for name, look in style.line_styles(methods_of(at), colours).items():
        middle, *spread = (array.sel(estimator=name).values for array in numbers)
        low, high = spread if known.banded else (middle - 2 * spread[0], middle + 2 * spread[0])
        if known.logarithmic and not np.any(middle > 0):
            continue  # without an error there is nothing to draw on a logarithmic axis
        drawn[style.plain(name)] = middle
        fitted = np.isfinite(middle)  # a batch method is fitted at some steps only
        marker = "" if fitted.all() else look.marker
        panel.plot(
            n[fitted],
            middle[fitted],
            label=style.plain(name),
            color=look.color,
            linestyle=look.linestyle,
            marker=marker,
        )
        panel.fill_between(n[fitted], low[fitted], high[fitted], color=look.color, alpha=0.05, linewidth=0)
        for edge in (low, high):  # edges keep bands apart where several overlap
            panel.plot(
                n[fitted], edge[fitted], color=look.color, linestyle=look.linestyle, linewidth=0.5, alpha=0.6
            )
    _references(panel, at, metric, n)
    panel.set_xscale("log")
    panel.set_yscale("log" if known.logarithmic else "linear")
    limit = variable(at, metric, "limit", reference="theory")
    if known.limit and known.limit.constant and limit is not None and np.isfinite(limit[-1]):
        panel.set_ylim(top=1.6 * float(limit[-1]) + 0.5)  # runs that are far off leave the picture
    if known.lowest is not None:
        panel.set_ylim(bottom=max(known.lowest, panel.get_ylim()[0]))
    style.note(panel, style.coinciding(drawn), inches)
    style.plain_numbers(panel.yaxis)


def _references(panel: Axes, at: xr.Dataset, metric: str, n: np.ndarray) -> None:
    """What the true coefficients reach, the theory, and for q where the projection holds it."""
    oracle = variable(at, metric, reference="oracle")
    if oracle is not None:
        panel.plot(n, oracle.values, color="black", linewidth=0.8, label="true coefficients")
    theory, limit = variable(at, metric, "limit", reference="theory"), record(metric).limit
    if theory is not None and limit is not None:
        dash = (
            (0, (6, 2))
            if limit.constant
            else (0, (1, 1.2))
            if limit.mean is None
            else (0, (3, 1, 1, 1, 1, 1))
        )
        panel.plot(n, theory.values, color="black", linewidth=0.9, linestyle=dash, label=limit.label)
    if metric == "scale":
        options = json.loads(at.attrs["study"])["estimators"].items()
        bounds = sorted(
            {
                float(at.coords.get(f"estimators.{name}.bound", table.get("bound", 1.0)))
                for name, table in options
                if table["method"] == "two_step"
            }
        )
        for bound, shade in zip(filter(np.isfinite, bounds), itertools.cycle(("0.35", "0.65"))):
            upper = np.maximum(bound * np.sqrt(np.log(n + math.e)), 1)
            label = f"upper end of $D_n$, $C = {bound:g}$"
            panel.plot(n, upper, color=shade, linewidth=0.9, linestyle=(0, (3, 1, 1, 1)), label=label)
