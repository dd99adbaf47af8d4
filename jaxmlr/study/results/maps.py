"""Pictures of a study over two axes of its grid: a statistic as colour, or the method that is best."""

import itertools
import json
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure

from jaxmlr.study.results.dataset import LONG_NAMES

MOST_PANELS = 24
SIGNIFICANT = 2.0  # standard errors of the difference


def heat_map(results: xr.Dataset, metric: str) -> Figure:
    """The median of a metric at the last step: a panel for every method and value of further axes.

    The two longest axes of the grid are drawn, the longer one to the right. A white cross marks the method's
    best cell, in each panel; cells where more than half of the trials diverged are left blank.

    Args:
      results: what `run_study` returns.
      metric: name.

    Raises:
      ValueError: the grid has fewer than two axes, or there would be more than 24 panels.
    """
    x, y, rest = _axes(results)
    methods = [str(name) for name in results["estimator"].values if not _is_oracle(results, str(name))]
    points = _points(results, rest)
    if len(methods) * len(points) > MOST_PANELS:
        raise ValueError(
            f"there would be {len(methods) * len(points)} panels; select values of {', '.join(rest)},"
            f" as with --select axis=value, to have up to {MOST_PANELS}"
        )
    last = results.isel(step=-1)
    values = last[f"{metric}_q50"].where(2 * last["diverged"] <= results.attrs["trials"])
    finite = values.sel(estimator=methods).values
    finite = finite[np.isfinite(finite)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    wide = low > 0 and high > 5 * low
    norm: Any = LogNorm(low, high) if wide else Normalize(low, high)
    with mpl.rc_context({"font.size": 9}):
        drawn = Figure(figsize=(3.2 * len(methods) + 1, 2.7 * len(points) + 0.8), layout="constrained")
        panels = drawn.subplots(len(points), len(methods), squeeze=False)
        for (row, point), (column, name) in itertools.product(enumerate(points), enumerate(methods)):
            panel = panels[row, column]
            cells = values.sel(point | {"estimator": name}).transpose(y, x)
            image = panel.pcolormesh(
                np.arange(cells.sizes[x]), np.arange(cells.sizes[y]), cells.values, norm=norm
            )
            if np.isfinite(cells.values).any():
                lowest = np.unravel_index(np.nanargmin(cells.values), cells.shape)
                panel.plot(lowest[1], lowest[0], marker="x", color="white")
            _ticks(panel, results, x, y)
            panel.set_title(
                ", ".join([name, *(f"{_short(a)} = {_text(v)}" for a, v in point.items())]), fontsize=9
            )
        drawn.colorbar(image, ax=panels, label=f"median of: {LONG_NAMES[metric]}")
        drawn.suptitle(_title(results))
    return drawn


def phase_diagram(results: xr.Dataset, metric: str) -> Figure:
    """Which method has the smallest mean of a metric at the last step, over two axes of the grid.

    A dot marks cells where the best is not separated from the second by two standard errors: of the paired
    differences if the study has a `reference` and it is one of the two, of independent means otherwise,
    which on common data are usually too large.

    Args:
      results: what `run_study` returns.
      metric: name.

    Raises:
      ValueError: the grid has fewer than two axes, there are fewer than two methods, or more than 24 panels.
    """
    x, y, rest = _axes(results)
    methods = [str(name) for name in results["estimator"].values if not _is_oracle(results, str(name))]
    if len(methods) < 2:
        raise ValueError(f"a phase diagram compares two methods or more, the results have {methods}")
    points = _points(results, rest)
    if len(points) > MOST_PANELS:
        raise ValueError(f"there would be {len(points)} panels; select values of {', '.join(rest)}")
    last = results.isel(step=-1).sel(estimator=methods)
    colours = mpl.colormaps["tab10" if len(methods) <= 10 else "tab20"]
    map_of = ListedColormap([colours(k) for k in range(len(methods))])
    with mpl.rc_context({"font.size": 9}):
        drawn = Figure(figsize=(3.6 * len(points) + 1.5, 3.4), layout="constrained")
        panels = drawn.subplots(1, len(points), squeeze=False)
        for panel, point in zip(panels.flat, points, strict=True):
            at = last.sel(point).transpose("estimator", y, x, ...)
            winner, sure = _winner(at, metric)
            shown = np.ma.masked_where(winner < 0, winner)
            panel.pcolormesh(
                np.arange(at.sizes[x]),
                np.arange(at.sizes[y]),
                shown,
                cmap=map_of,
                vmin=-0.5,
                vmax=len(methods) - 0.5,
            )
            rows, columns = np.nonzero(~sure & (winner >= 0))
            panel.plot(columns, rows, linestyle="", marker=".", color="black", markersize=4)
            _ticks(panel, results, x, y)
            panel.set_title(", ".join(f"{_short(a)} = {_text(v)}" for a, v in point.items()), fontsize=9)
        handles = [mpl.patches.Patch(color=map_of(k), label=name) for k, name in enumerate(methods)]
        drawn.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
        drawn.suptitle(f"{_title(results)}\nsmallest {LONG_NAMES[metric]}; dot: within two standard errors")
    return drawn


def _winner(at: xr.Dataset, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Index of the best method, -1 where there is none, and whether the second is worse beyond doubt."""
    mean, error = at[f"{metric}_mean"].values, at[f"{metric}_se"].values
    filled = np.where(np.isfinite(mean), mean, np.inf)
    order = np.argsort(filled, axis=0, kind="stable")
    first, second = order[:1], order[1:2]

    def take(x: np.ndarray, where: np.ndarray) -> np.ndarray:
        return np.take_along_axis(x, where, axis=0)[0]

    with np.errstate(invalid="ignore"):  # inf - inf where no method is finite
        gap = take(filled, second) - take(filled, first)
    doubt = np.hypot(take(error, first), take(error, second))
    paired = f"{metric}_difference_se"
    if paired in at:
        difference, names = at[paired].values, at["estimator"].values
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
        axis.set_ticks(range(0, len(values), every), [_text(value) for value in values[::every]])
    panel.set_xlabel(_short(x))
    panel.set_ylabel(_short(y))


def _is_oracle(results: xr.Dataset, name: str) -> bool:
    return json.loads(results.attrs["study"])["estimators"][name]["method"] == "oracle"


def _title(results: xr.Dataset) -> str:
    return f"{results.attrs['name']}: n = {int(results['step'][-1]):,}, {results.attrs['trials']:,} trials"


def _short(axis: str) -> str:
    return ".".join(axis.split(".")[-2:]) if axis.startswith("estimators.") else axis.rsplit(".", 1)[-1]


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
