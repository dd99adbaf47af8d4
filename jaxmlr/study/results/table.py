"""A study's last recorded step as tables for the terminal."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from rich.table import Table

from jaxmlr.evaluation.metrics import record
from jaxmlr.study.results.dataset import metrics_of, notes, variable

MOST_TABLES = 6  # grid points that have a table of their own


def with_error(value: float, error: float) -> str:
    """A value and its standard error, to the error's second digit: 0.0563 ± 0.0012."""
    if not np.isfinite(value):
        return str(value)
    if not np.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _cell(at: xr.Dataset, metric: str, **which: Any) -> str:
    """The mean and standard error at one point, `which` as in `variable`; empty where there is none."""
    mean, error = variable(at, metric, "mean", **which), variable(at, metric, "se", **which)
    return "" if mean is None or error is None else with_error(float(mean), float(error))


def tables(results: xr.Dataset) -> Iterator[Table]:
    """One table for every grid point: mean ± standard error over trials, a row for every method.

    Diagnostics, if the study has them, are a second table of that point: a row for each of them.
    """
    axes = [str(dim) for dim in results["diverged"].dims if dim not in ("estimator", "step")]
    metrics = [name for name in metrics_of(results) if record(name).heading]
    diagnostics = [name for name in metrics_of(results) if not record(name).heading]
    last = results.isel(step=-1)
    for values in itertools.product(*(results[axis].values.tolist() for axis in axes)):
        point = dict(zip(axes, values, strict=True))
        at = last.sel(point)
        place = ", ".join(
            f"{axis} = {value:g}" if isinstance(value, int | float) else f"{axis} = {value}"
            for axis, value in point.items()
        )
        title = f"{results.attrs['name']}: n = {int(last['step']):,}, {results.attrs['trials']:,} trials"
        table = Table(title=f"{title}, {place}" if place else title, caption=notes(results) or None)
        table.add_column("method", no_wrap=True)
        for metric in metrics:
            table.add_column(record(metric).heading, justify="right")
        table.add_column("diverged", justify="right")
        compared = [metric for metric in metrics if variable(results, metric, difference=True) is not None]
        reference = json.loads(results.attrs["study"]).get("reference")
        for metric in compared:
            table.add_column(f"{record(metric).heading} - {reference}'s", justify="right")
        for name in at["estimator"].values.tolist():
            mine = at.sel(estimator=name)
            cells = [_cell(mine, m) for m in metrics]
            differences = [_cell(mine, m, difference=True) for m in compared]
            table.add_row(
                name,
                *cells,
                str(int(mine["diverged"])),
                *([""] * len(compared) if name == reference else differences),
            )
        table.add_section()
        cells = [_cell(at, m, reference="oracle") for m in metrics]
        if any(cells):
            table.add_row("true coefficients", *cells, "")
        limits = [variable(at, m, "limit", reference="theory") for m in metrics]
        table.add_row("theory", *("" if limit is None else f"{float(limit):.4g}" for limit in limits), "")
        yield table
        if diagnostics:
            beside = Table(title=f"{table.title}: diagnostics")
            beside.add_column("mean over trials", no_wrap=True)
            names = at["estimator"].values.tolist()
            for name in names:
                beside.add_column(name, justify="right")
            for metric in diagnostics:
                beside.add_row(metric, *(_cell(at.sel(estimator=name), metric) for name in names))
            yield beside
