"""All grid points of a study's last recorded step in one table: a row for each point and method."""

import itertools
from typing import Any

import numpy as np
import xarray as xr
from rich.table import Table

from jaxmlr.evaluation.metrics import record
from jaxmlr.study.results.dataset import metrics_of, variable
from jaxmlr.study.results.table import with_error


def long_table(
    results: xr.Dataset, *, sort: str | None = None, top: int | None = None, wide: bool = False
) -> Table:
    """The means and standard errors over trials, at the last recorded step.

    Args:
      results: what `run_study` returns.
      sort: a metric, smallest mean first, or an axis of the grid; None keeps the grid's order.
      top: only the first so many rows.
      wide: a row for each grid point and a column for each method, of one metric: the one to sort by, or the
        first.

    Raises:
      ValueError: no such metric or axis, or top is less than 1.
    """
    axes = [str(dim) for dim in results["diverged"].dims if dim not in ("estimator", "step")]
    shown = [name for name in metrics_of(results) if record(name).heading or name == sort]
    if sort is not None and sort not in (*shown, *axes):
        raise ValueError(f"--sort must be one of {', '.join((*shown, *axes))}, not {sort!r}")
    if top is not None and top < 1:
        raise ValueError(f"--top must be at least 1, not {top}")
    metric = sort if sort in shown else (shown or [""])[0]
    last = results.isel(step=-1).load()
    methods = [str(name) for name in results["estimator"].values]
    rows = []
    for point in itertools.product(*(results[axis].values.tolist() for axis in axes)):
        at = last.sel(dict(zip(axes, point, strict=True)))
        for group in [methods] if wide else [[name] for name in methods]:
            rows.append((point, group, at))

    def key(row: tuple[Any, list[str], xr.Dataset]) -> Any:
        point, group, at = row
        if sort in axes:
            return point[axes.index(str(sort))]
        means = [_number(at, name, metric, "mean") for name in group]
        return min((mean for mean in means if np.isfinite(mean)), default=np.inf)

    if sort is not None:
        rows.sort(key=key)
    title = f"{results.attrs['name']}: n = {int(last['step']):,}, {results.attrs['trials']:,} trials"
    table = Table(title=f"{title}, {record(metric).heading or metric}" if wide and metric else title)
    for axis in axes:
        table.add_column(axis, justify="right")
    columns = methods if wide else ["method", *(record(name).heading or name for name in shown), "diverged"]
    for column in columns:
        table.add_column(column, justify="left" if column == "method" else "right")
    for point, group, at in rows[:top]:
        place = [f"{value:g}" if isinstance(value, int | float) else str(value) for value in point]
        if wide:
            table.add_row(*place, *(_cell(at, name, metric) for name in group))
            continue
        (name,) = group
        cells = [_cell(at, name, each) for each in shown]
        table.add_row(*place, name, *cells, str(int(at["diverged"].sel(estimator=name))))
    return table


def _number(at: xr.Dataset, name: str, metric: str, statistic: str) -> float:
    array = variable(at, metric, statistic)
    return np.nan if array is None else float(array.sel(estimator=name))


def _cell(at: xr.Dataset, name: str, metric: str) -> str:
    return with_error(*(_number(at, name, metric, statistic) for statistic in ("mean", "se")))
