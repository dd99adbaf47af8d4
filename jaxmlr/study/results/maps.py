"""Pictures of a study over two axes of its grid: a statistic as colour, or the method that is best."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from jaxmlr.evaluation.metrics import record
from jaxmlr.fitting import style
from jaxmlr.study.results.curves import methods_of
from jaxmlr.study.results.dataset import statistic_of, variable

MOST_PANELS = 24
SIGNIFICANT = 2.0  # standard errors of the difference


def heat_map(results: xr.Dataset, metric: str, width: float) -> Figure:
    """The median of a metric at the last step: a panel for every method and value of further axes.

    The two longest axes of the grid are drawn, the longer one to the right. Where one of them belongs to the
    problem and the other to a method, colour is the median over the smallest of the panel at that problem,
    so that the method's own axis is not hidden by what makes problems hard. A white cross marks a panel's
    smallest median; cells where more than half of the trials diverged are left blank.

    Args:
      results: what `run_study` returns.
      metric: name.
      width: of the picture, in inches.

    Raises:
      ValueError: the grid has fewer than two axes, or there would be more than 24 panels.
    """
    x, y, rest = _axes(results)
    methods = list(methods_of(results))
    cells = [(point, name) for point in _points(results, rest) for name in methods]
    if len(cells) > MOST_PANELS:
        raise ValueError(
            f"there would be {len(cells)} panels; select values of {', '.join(rest)},"
            f" as with --select axis=value, to have up to {MOST_PANELS}"
        )
    last = results.isel(step=-1)
    medians = statistic_of(last, metric, "q50").where(2 * last["diverged"] <= results.attrs["trials"])
    label = f"median of: {record(metric).long_name}"
    problem = [axis for axis in (x, y) if axis.startswith("problem.")]
    values = medians
    if len(problem) == 1:
        own = y if problem[0] == x else x
        values = medians / medians.min(own)
        label = f"over the smallest at the same {style.symbol(problem[0])}: {label}"
    finite = values.sel(estimator=methods).values
    finite = finite[np.isfinite(finite)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    norm: Any = LogNorm(low, high) if low > 0 and high > 5 * low else Normalize(low, high)
    with style.drawing(width):
        drawn, panels, inches = _panels(width, len(cells), min(len(methods), 4), 0.9)
        for panel, (point, name) in zip(panels, cells, strict=False):
            shown = values.sel(point | {"estimator": name}).transpose(y, x)
            image = panel.pcolormesh(
                np.arange(shown.sizes[x]), np.arange(shown.sizes[y]), shown.values, norm=norm
            )
            median = medians.sel(point | {"estimator": name}).transpose(y, x).values
            if np.isfinite(median).any():
                lowest = np.unravel_index(np.nanargmin(median), median.shape)
                panel.plot(lowest[1], lowest[0], marker="x", color="white")
            _ticks(panel, results, x, y)
            at = [f"{style.symbol(axis)} = {style.value_of(value)}" for axis, value in point.items()]
            panel.set_title("\n".join([style.wrapped(style.plain(name), inches, 8), *at]))
        bar = drawn.colorbar(image, ax=panels[: len(cells)].tolist(), location="bottom", aspect=40)
        bar.set_label(style.wrapped(f"{label}; cross: the panel's smallest median", 0.9 * width, 8))
        style.headline(drawn, _title(results))
    return drawn


def phase_diagram(results: xr.Dataset, metric: str, width: float, colours: Mapping[str, str]) -> Figure:
    """Which method has the smallest mean of a metric at the last step, over two axes of the grid.

    A dot marks cells where the best is not separated from the second by two standard errors: of the paired
    differences if the study has a `reference` and it is one of the two, of independent means otherwise,
    which on common data are usually too large.

    Args:
      results: what `run_study` returns.
      metric: name.
      width: of the picture, in inches.
      colours: of methods, by name.

    Raises:
      ValueError: the grid has fewer than two axes, there are fewer than two methods, or more than 24 panels.
    """
    x, y, rest = _axes(results)
    methods = methods_of(results)
    if len(methods) < 2:
        raise ValueError(f"a phase diagram compares two methods or more, the results have {list(methods)}")
    points = _points(results, rest)
    if len(points) > MOST_PANELS:
        raise ValueError(f"there would be {len(points)} panels; select values of {', '.join(rest)}")
    last = results.isel(step=-1).sel(estimator=list(methods))
    areas = style.area_colours(methods, colours)
    map_of = ListedColormap(list(areas.values()))
    with style.drawing(width):
        drawn, panels, inches = _panels(width, len(points), min(len(points), 3), 0.5)
        for panel, point in zip(panels, points, strict=False):
            at = last.sel(point).transpose("estimator", y, x, ...)
            winner, sure = _winner(at, metric)
            panel.pcolormesh(
                np.arange(at.sizes[x]),
                np.arange(at.sizes[y]),
                np.ma.masked_where(winner < 0, winner),
                cmap=map_of,
                vmin=-0.5,
                vmax=len(methods) - 0.5,
            )
            rows, columns = np.nonzero(~sure & (winner >= 0))
            panel.plot(columns, rows, linestyle="", marker=".", color="black", markersize=4)
            _ticks(panel, results, x, y)
            at_point = ", ".join(f"{style.symbol(a)} = {style.value_of(v)}" for a, v in point.items())
            panel.set_title(style.wrapped(at_point, inches, 8))
        handles = [Patch(color=colour) for colour in areas.values()]
        style.legend(drawn, handles, [style.plain(name) for name in areas])
        title = f"{_title(results)}; smallest {record(metric).long_name}; dot: within two standard errors"
        style.headline(drawn, title)
    return drawn


def _winner(at: xr.Dataset, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Index of the best method, -1 where there is none, and whether the second is worse beyond doubt."""
    mean, error = statistic_of(at, metric, "mean").values, statistic_of(at, metric, "se").values
    filled = np.where(np.isfinite(mean), mean, np.inf)
    order = np.argsort(filled, axis=0, kind="stable")
    first, second = order[:1], order[1:2]

    def take(x: np.ndarray, where: np.ndarray) -> np.ndarray:
        return np.take_along_axis(x, where, axis=0)[0]

    with np.errstate(invalid="ignore"):  # inf - inf where no method is finite
        gap = take(filled, second) - take(filled, first)
    doubt = np.hypot(take(error, first), take(error, second))
    paired = variable(at, metric, "se", difference=True)
    if paired is not None:
        difference, names = paired.values, at["estimator"].values
        reference = int(np.flatnonzero(names == json.loads(at.attrs["study"])["reference"])[0])
        doubt = np.where(first[0] == reference, take(difference, second), doubt)
        doubt = np.where(second[0] == reference, take(difference, first), doubt)
    there = np.isfinite(take(filled, first))
    return np.where(there, first[0], -1), ~(gap < SIGNIFICANT * np.nan_to_num(doubt))


def _axes(results: xr.Dataset) -> tuple[str, str, list[str]]:
    """The axis to the right, the one upwards, and the others."""
    axes = [str(dim) for dim in results["diverged"].dims if dim not in ("estimator", "step")]
    axes.sort(key=lambda axis: -results.sizes[axis])
    if len(axes) < 2 or results.sizes[axes[1]] < 2:
        raise ValueError(f"a map needs two axes of the grid with several values, the results have {axes}")
    return axes[0], axes[1], axes[2:]


def _points(results: xr.Dataset, rest: list[str]) -> list[dict[str, Any]]:
    values = itertools.product(*(results[axis].values.tolist() for axis in rest))
    return [dict(zip(rest, point, strict=True)) for point in values]


def _ticks(panel: Axes, results: xr.Dataset, x: str, y: str) -> None:
    """Values of the grid, at equal distances."""
    for axis, name, most in ((panel.xaxis, x, 6), (panel.yaxis, y, 10)):
        values = results[name].values.tolist()
        every = -(-len(values) // most)
        axis.set_ticks(range(0, len(values), every), [style.value_of(value) for value in values[::every]])
    panel.set_xlabel(style.symbol(x))
    panel.set_ylabel(style.symbol(y))


def _title(results: xr.Dataset) -> str:
    name = style.plain(results.attrs["name"])
    return f"{name}: n = {int(results['step'][-1]):,}, {results.attrs['trials']:,} trials"


def _panels(width: float, panels: int, wanted: int, below: float) -> tuple[Figure, np.ndarray, float]:
    """A figure of nearly square panels, and the inches of each without the numbers at its left.

    It has as many of the `wanted` columns as are 1.6 inches wide.
    """
    columns = max(1, min(wanted, int(width / 1.6)))
    rows = -(-panels // columns)
    side = min(width / columns, 3.2)
    drawn = Figure(figsize=(width, 0.85 * side * rows + below + 0.4), layout="constrained")
    axes = drawn.subplots(rows, columns, squeeze=False).ravel()
    for panel in axes[panels:]:
        panel.remove()
    return drawn, axes, width / columns - 0.5
