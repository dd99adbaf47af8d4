"""The picture of a study: curves or a map, for the width of a page. Needs the extra `plot`."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from jaxmlr import _check
from jaxmlr.fitting import style
from jaxmlr.registry import COLOURS
from jaxmlr.study.declare.grid import same
from jaxmlr.study.results.curves import MOST_POINTS, curves, default_metrics
from jaxmlr.study.results.dataset import metrics_of
from jaxmlr.study.results.maps import heat_map, phase_diagram

KINDS = ("auto", "curves", "heat", "phase")


def draw(
    results: xr.Dataset,
    metrics: Sequence[str] | None = None,
    kind: str = "auto",
    *,
    width: float | None = None,
    column: str | None = None,
) -> Figure:
    """Draw curves, or a map over two axes of the grid.

    Args:
      results: what `run_study` returns.
      metrics: names; None takes errors, labels and scale, as far as the results have them, and a study's own
        metrics. A map shows one.
      kind: "curves"; "heat" and "phase", see `maps`; "auto": curves for up to 6 grid points, a heat map for
        more where the grid has two axes.
      width: in inches; None takes that of two columns.
      column: "single" or "double", a journal's, in place of a width.

    Raises:
      ValueError: the results have no such metric, or too many or too few points.
    """
    kind, chosen = _chosen(results, metrics, kind)
    inches = style.width_of(width, column)
    if kind == "curves":
        return curves(results, chosen, inches, COLOURS)
    if len(chosen) > 1:
        raise ValueError(f"a {kind} map shows one metric, not {', '.join(chosen)}; `save` draws one for each")
    if kind == "heat":
        return heat_map(results, chosen[0], inches)
    return phase_diagram(results, chosen[0], inches, COLOURS)


def _chosen(results: xr.Dataset, metrics: Sequence[str] | None, kind: str) -> tuple[str, list[str]]:
    """The kind without "auto", and the metrics, of which a map takes the first unless they are given."""
    _check.choice("kind", kind, KINDS)
    axes = [str(dim) for dim in results["diverged"].dims if dim not in ("estimator", "step")]
    if kind == "auto":
        many = math.prod(results.sizes[axis] for axis in axes) > MOST_POINTS
        kind = "heat" if many and len([axis for axis in axes if results.sizes[axis] > 1]) > 1 else "curves"
    for name in metrics or ():
        if name not in metrics_of(results):
            have = ", ".join(metrics_of(results))
            raise ValueError(f"the results have no metric {name!r}; they have {have}")
    chosen = list(metrics or default_metrics(results))
    return kind, chosen if kind == "curves" or metrics else chosen[:1]


def select(results: xr.Dataset, choice: Mapping[str, Any]) -> xr.Dataset:
    """The results at one value of some axes of the grid, each axis kept with length 1.

    Raises:
      ValueError: no such axis, or a value that is not on it; the message names the nearest.
    """
    axes = [str(dim) for dim in results.dims if dim not in ("estimator", "step")]
    for axis, value in choice.items():
        if axis not in axes:
            raise ValueError(f"unknown axis {axis!r}; the grid has {', '.join(axes) or 'none'}")
        values = results[axis].values.tolist()
        if results[axis].dtype.kind in "fiu":
            _check.number(axis, value, scalar=True)
            nearest = min(values, key=lambda x: abs(x - value))
            if not same(nearest, value):
                raise ValueError(f"{axis} = {value} is not on the grid; the nearest is {nearest:g}")
        else:
            nearest = str(value)
            if nearest not in values:
                raise ValueError(f"{axis} = {value} is not on the grid; it has {', '.join(map(str, values))}")
        results = results.sel({axis: [nearest]})
    return results


def save(
    results: xr.Dataset,
    folder: str | Path,
    metrics: Sequence[str] | None = None,
    kind: str = "auto",
    *,
    choice: Mapping[str, Any] | None = None,
    formats: Sequence[str] = ("png", "svg"),
    out: str | Path | None = None,
    width: float | None = None,
    column: str | None = None,
) -> list[Path]:
    """Write pictures of `draw` into `folder`, named by study, kind, metrics and choice.

    Args:
      results: what `run_study` returns.
      folder: where to.
      metrics: as in `draw`; a map is drawn for each.
      kind: as in `draw`.
      choice: values of axes, as in `select`.
      formats: of "png", "pdf" and "svg".
      out: the one file to write instead; its ending is its format.
      width: as in `draw`.
      column: as in `draw`.

    Returns:
      The files, for example convergence-curves.png, map-heat-coefficient_error-p=0.6.svg.

    Raises:
      ValueError: as `draw` and `select`; an unknown format; several pictures for one file.
    """
    for each in formats:
        _check.choice("format", each, style.FORMATS)
    picked = select(results, choice or {})
    kind, chosen = _chosen(picked, metrics, kind)
    sets = [chosen] if kind == "curves" else [[name] for name in chosen]
    if out is not None and (len(sets) > 1 or Path(out).suffix[1:] not in style.FORMATS):
        wanted = "one metric for one file" if len(sets) > 1 else "a file name ending in .png, .pdf or .svg"
        raise ValueError(f"out must have {wanted}, not {out}")
    paths: list[Path] = []
    for names in sets:
        parts = [str(results.attrs["name"]), kind]
        parts += names if metrics or kind != "curves" else []
        parts += [f"{axis.removeprefix('problem.')}={value}" for axis, value in (choice or {}).items()]
        stem = re.sub(r"[^\w.=+-]+", "_", "-".join(parts))
        files = [Path(out)] if out is not None else [Path(folder) / f"{stem}.{each}" for each in formats]
        paths += style.save(draw(picked, names, kind, width=width, column=column), files)
    return paths
