"""From merged summaries to an `xarray.Dataset` that explains itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tomli_w
import xarray as xr

from jaxmlr.evaluation.metrics import METRICS, record
from jaxmlr.study.declare import grid
from jaxmlr.study.declare.problem import without_limit
from jaxmlr.study.declare.spec import Study
from jaxmlr.study.results import statistics
from jaxmlr.study.results.statistics import Summary

STATISTICS = ("mean", "se", "rms", "sd", "min", "max", "q05", "q25", "q50", "q75", "q95")
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}


def dataset(
    study: Study,
    merged: Mapping[str, Mapping[str, Summary]],
    diverged: Mapping[str, np.ndarray],
    oracle: Mapping[str, Summary],
    limits: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
    *,
    rows: Mapping[str, np.ndarray] | None = None,
    problem_rows: np.ndarray | None = None,
    differences: Mapping[str, tuple[Mapping[str, Summary], np.ndarray]] | None = None,
    kept: Mapping[str, Mapping[str, Sequence[np.ndarray]]] | None = None,
) -> xr.Dataset:
    """The results of a study.

    Args:
      study: what was run.
      merged: estimator -> metric -> statistics of shape (rows, records).
      diverged: estimator -> number of trials whose estimate is not finite, (rows, records).
      oracle: cumulative metric -> statistics of the true coefficients on the same data.
      limits: metric -> theoretical value, (points, records).
      attributes: what else is to be known about the run.
      rows: estimator -> (points,), the row that stands at each grid point; None where rows are points.
      problem_rows: the same for `oracle` and `limits`.
      differences: estimator -> (metric -> statistics of differences from the reference, rows of them).
      kept: estimator -> metric -> blocks of values at the last recorded step, (rows, kept trials).

    Returns:
      dims (estimator, *grid axes, step). For every metric `_mean`, `_se` (standard error of the mean),
      `_rms`, `_sd`, `_min`, `_max`, `_q05`, `_q25`, `_q50`, `_q75`, `_q95`; without the estimator dim
      `_oracle` and `_oracle_se` (true coefficients, same data) and `_theory`; and `diverged`, a count of
      trials, which are left out of the statistics at that step. With a reference `_difference_mean` and
      `_difference_se`, of the metric minus the reference's in the same trial; with `keep` `_trial`, the
      values of single trials at the last step, with a dim `trial`.
    """
    axes = [axis.name for axis in study.axes]
    sizes = [len(axis) for axis in study.axes]
    of_axes, across = (*axes, "step"), ("estimator", *axes, "step")

    def shaped(x: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
        return (x if at is None else x[at]).reshape(*sizes, x.shape[-1])

    def of_problem(x: np.ndarray) -> np.ndarray:
        return shaped(x, problem_rows)

    def stacked(pick: Any) -> np.ndarray:
        return np.stack([shaped(pick(name), rows[name] if rows else None) for name in study.estimators])

    variables: dict[str, Any] = {}
    for metric in study.metric_names:
        known = record(metric)
        label = {"long_name": known.long_name, "units": known.units, "metric": metric}
        tables = {name: _numbers(merged[name][metric]) for name in study.estimators}
        for statistic in next(iter(tables.values())):
            values = stacked(lambda name, s=statistic, t=tables: t[name][s])
            variables[f"{metric}_{statistic}"] = (across, values, label | {"statistic": statistic})
        if metric in oracle:
            of_oracle = label | {"estimator": "true coefficients, same data", "reference": "oracle"}
            for suffix, statistic, of in (("", "mean", _mean), ("_se", "se", statistics.standard_error)):
                numbers = of_problem(of(oracle[metric]))
                variables[f"{metric}_oracle{suffix}"] = (
                    of_axes,
                    numbers,
                    of_oracle | {"statistic": statistic},
                )
        if metric in limits:
            limit = label | {"long_name": f"limit of: {known.long_name}", "reference": "theory"}
            numbers = of_problem(limits[metric].astype(np.float64))
            variables[f"{metric}_theory"] = (of_axes, numbers, limit | {"statistic": "limit"})
        if differences:
            difference = label | {
                "long_name": f"difference from {study.reference} of: {known.long_name}",
                "difference_from": study.reference,
            }
            for statistic, of in (("mean", _mean), ("se", statistics.standard_error)):
                values = np.stack(
                    [shaped(of(t[metric]), at) for t, at in (differences[name] for name in study.estimators)]
                )
                variables[f"{metric}_difference_{statistic}"] = (
                    across,
                    values,
                    difference | {"statistic": statistic},
                )
        if kept:
            values = stacked(lambda name, m=metric: np.concatenate(kept[name][m], axis=-1))
            one = label | {"long_name": f"one trial's {known.long_name}, at the last step"}
            across_trials = ("estimator", *axes, "trial")
            variables[f"{metric}_trial"] = (across_trials, values, one | {"statistic": "trial"})
    count = {"long_name": "trials whose estimate is not finite", "units": "trials"}
    variables["diverged"] = (across, stacked(lambda name: diverged[name]), count)

    coordinates: dict[str, Any] = {"estimator": list(study.estimators)}
    for axis in study.axes:
        coordinates[axis.name] = np.arange(len(axis))  # of a union; otherwise replaced by its own values
        for path, column in axis.columns.items():
            coordinates[path] = (axis.name, _coordinate(column), {"long_name": path, "units": "1"})
    coordinates["step"] = ("step", study.recorded, {"long_name": "observations n", "units": "1"})
    if kept:
        trials = np.arange(0, attributes.get("trials", study.trials), study.keep)
        coordinates["trial"] = ("trial", trials, {"long_name": "index of the trial", "units": "1"})
    table = study.to_table()
    described = {
        "study": json.dumps(table),
        "study_toml": tomli_w.dumps(table),
        "name": study.name,
        "seed": study.seed,
        "trials": study.trials,
    }
    reasons = {
        name: why for name, why in without_limit(table["problem"]).items() if name in study.metric_names
    }
    if reasons:
        described["without_limit"] = json.dumps(reasons)
    return xr.Dataset(variables, coordinates, {**described, **attributes})


def notes(results: xr.Dataset) -> str:
    """What is to be known of the limits of a study's metrics, as a text; empty where there is nothing."""
    reasons = json.loads(results.attrs.get("without_limit", "{}"))
    return "; ".join(f"no limit of {name}: {why}" for name, why in reasons.items())


def variable(
    results: xr.Dataset,
    metric: str,
    statistic: str = "mean",
    *,
    reference: str | None = None,
    difference: bool = False,
) -> xr.DataArray | None:
    """The variable of a statistic of a metric, found by its attributes; None where there is none.

    Args:
      results: what `run_study` returns, or what was saved of it.
      metric: name.
      statistic: "mean", "se", "q50" ...; "limit" of the reference "theory"; "trial", the kept trials.
      reference: None, "oracle" (the true coefficients on the same data) or "theory".
      difference: whether the statistic is of differences from the study's reference method.
    """
    for name, array in results.variables.items():
        says = [array.attrs.get(key) for key in ("metric", "statistic", "reference")]
        if says == [metric, statistic, reference] and ("difference_from" in array.attrs) == difference:
            return results[name]
    return None


def statistic_of(results: xr.Dataset, metric: str, statistic: str) -> xr.DataArray:
    """As `variable`.

    Raises:
      ValueError: the results have no such statistic.
    """
    if (array := variable(results, metric, statistic)) is None:
        names = ", ".join(map(str, results.data_vars))
        raise ValueError(f"the results have no {f'{metric}_{statistic}'!r}; they have {names}")
    return array


def metrics_of(results: xr.Dataset) -> list[str]:
    """The metrics of results, in the order of `METRICS`, then one's own by name: a store has lost theirs."""
    names = {str(array.attrs["metric"]) for array in results.variables.values() if "metric" in array.attrs}
    return [*(name for name in METRICS if name in names), *sorted(names - {*METRICS})]


def best(
    results: xr.Dataset, metric: str, statistic: str = "mean", *, over: Sequence[str] = ("estimator",)
) -> xr.Dataset:
    """Where a statistic is smallest at the last recorded step.

    Args:
      results: what `run_study` returns.
      metric: for example "coefficient_error".
      statistic: "mean", "rms", "q50" or another of the dataset's.
      over: dims to choose from: "estimator", axes of the grid, or several of them together.

    Returns:
      dims: the grid's and `estimator` without `over`. Variables: `value`, its standard error `se`, and what
      was chosen of each dim of `over`. Where all is NaN, so is `value`, and the first is chosen.

    Raises:
      ValueError: the results have no such statistic or dim.
    """
    array, error = statistic_of(results, metric, statistic), statistic_of(results, metric, "se")
    values, errors = (x.isel(step=-1).load() for x in (array, error))  # small, also where results are dask's
    for dim in over:
        if dim not in values.dims:
            raise ValueError(
                f"over must be dims of the results, {', '.join(map(str, values.dims))}, not {dim!r}"
            )
    if not over:
        raise ValueError("over must name at least one dim")
    stacked = values.stack(choice=list(over))
    where = stacked.fillna(np.inf).argmin("choice")
    errors = errors.stack(choice=list(over)).isel(choice=where)
    variables = {
        "value": stacked.isel(choice=where).drop_vars(["choice", *over]),
        "se": errors.drop_vars(["choice", *over]),
    }
    chosen = {dim: stacked[dim].isel(choice=where).drop_vars(["choice", *over]) for dim in over}
    variables |= {f"best {dim}": x.rename(None) for dim, x in chosen.items()}
    return xr.Dataset(variables, attrs={"metric": metric, "statistic": statistic})


def to_dataframe(results: xr.Dataset, *, trials: bool = False) -> Any:
    """A tidy table, a `pandas.DataFrame`: a row for every method, grid point, recorded step and metric.

    Columns: `estimator`, the grid's axes, `step`, `diverged`, `metric`, and the statistics `mean`, `se`, ...;
    `theory` and `oracle` where there are any.

    Args:
      results: what `run_study` returns, or `xarray.open_zarr(DIR / "results.zarr")`, with dask or without.
      trials: the kept trials instead: `estimator`, the axes, `trial`, `metric` and its `value` at the last
        step.

    Raises:
      ValueError: kept trials are asked for and there are none.
    """
    import pandas as pd

    dims = [str(dim) for dim in results["diverged"].dims]
    tables = []
    if trials:
        order = [*(dim for dim in dims if dim != "step"), "trial", "metric"]
        for metric in metrics_of(results):
            if (values := variable(results, metric, "trial")) is None:
                raise ValueError("the results hold no single trials; a study keeps them with keep = 1")
            one = xr.Dataset({"value": values}).expand_dims(metric=[metric])
            tables.append(one.to_dataframe(dim_order=order))
        return pd.concat(tables).reset_index()
    for metric in metrics_of(results):
        columns = {
            _column(array): array.broadcast_like(results["diverged"])
            for array in results.data_vars.values()
            if array.attrs.get("metric") == metric and set(array.dims) <= set(dims)
        }
        columns = {name: columns[name] for name in sorted(columns, key=_place)}
        table = xr.Dataset({"diverged": results["diverged"], **columns}).expand_dims(metric=[metric])
        tables.append(table.to_dataframe(dim_order=[*dims, "metric"]))
    return pd.concat(tables).reset_index()


def _column(array: xr.DataArray) -> str:
    """What a variable is called beside others of its metric, by its attributes."""
    statistic, reference = str(array.attrs["statistic"]), array.attrs.get("reference")
    if reference is not None:
        return f"{reference}_{statistic}" if statistic == "se" else str(reference)
    return f"difference_{statistic}" if "difference_from" in array.attrs else statistic


def _place(column: str) -> tuple[int, str]:
    """Where a statistic stands among the columns: in the order of `STATISTICS`, references behind."""
    return (STATISTICS.index(column) if column in STATISTICS else len(STATISTICS)), column


def _coordinate(values: Sequence[Any]) -> np.ndarray:
    """Numbers as float64, choices as texts."""
    labels = [grid.label(value) for value in values]
    return np.asarray(labels, np.float64) if all(map(grid.is_number, values)) else np.asarray(labels, str)


def _mean(summary: Summary) -> np.ndarray:
    return np.where(summary.n > 0, summary.mean, np.nan)


def _numbers(summary: Summary) -> dict[str, np.ndarray]:
    n = summary.n
    counted = n > 0
    numbers = {
        "mean": _mean(summary),
        "se": statistics.standard_error(summary),
        "rms": np.where(counted, np.sqrt(summary.mean**2 + summary.m2 / np.maximum(n, 1)), np.nan),
        "sd": np.sqrt(summary.m2 / np.where(n > 1, n - 1, np.nan)),
        "min": np.where(counted, summary.minimum, np.nan),
        "max": np.where(counted, summary.maximum, np.nan),
    }
    return numbers | {name: statistics.quantile(summary, q) for name, q in QUANTILES.items()}
