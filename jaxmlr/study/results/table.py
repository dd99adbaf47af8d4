"""A study's last recorded step as tables for the terminal."""

import itertools
import json
from collections.abc import Iterator

import numpy as np
import xarray as xr
from rich.table import Table

from jaxmlr.evaluation.metrics import record
from jaxmlr.study.results.dataset import metrics_of, notes

MOST_TABLES = 6  # grid points that have a table of their own


def with_error(value: float, error: float) -> str:
    """A value and its standard error, to the error's second digit: 0.0563 ± 0.0012."""
    if not np.isfinite(value):
        return str(value)
    if not np.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def tables(results: xr.Dataset) -> Iterator[Table]:
    """One table for every grid point: mean ± standard error over trials, a row for every method."""
    axes = [str(dim) for dim in results["diverged"].dims if dim not in ("estimator", "step")]
    metrics = [name for name in metrics_of(results) if record(name).heading]
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
        compared = [metric for metric in metrics if f"{metric}_difference_mean" in results]
        reference = json.loads(results.attrs["study"]).get("reference")
        for metric in compared:
            table.add_column(f"{record(metric).heading} - {reference}'s", justify="right")
        for name in at["estimator"].values.tolist():
            mine = at.sel(estimator=name)
            cells = [with_error(float(mine[f"{m}_mean"]), float(mine[f"{m}_se"])) for m in metrics]
            differences = [
                with_error(float(mine[f"{m}_difference_mean"]), float(mine[f"{m}_difference_se"]))
                for m in compared
            ]
            table.add_row(
                name,
                *cells,
                str(int(mine["diverged"])),
                *([""] * len(compared) if name == reference else differences),
            )
        table.add_section()
        if any(f"{metric}_oracle" in at for metric in metrics):
            cells = [
                with_error(float(at[f"{m}_oracle"]), float(at[f"{m}_oracle_se"]))
                if f"{m}_oracle" in at
                else ""
                for m in metrics
            ]
            table.add_row("true coefficients", *cells, "")
        limits = [f"{float(at[f'{m}_theory']):.4g}" if f"{m}_theory" in at else "" for m in metrics]
        table.add_row("theory", *limits, "")
        yield table
