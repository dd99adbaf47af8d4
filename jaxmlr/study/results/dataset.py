"""From merged summaries to an `xarray.Dataset` that explains itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tomli_w
import xarray as xr

from jaxmlr.evaluation import diagnostics
from jaxmlr.study.declare import grid
from jaxmlr.study.declare.spec import Study
from jaxmlr.study.results import statistics
from jaxmlr.study.results.statistics import Summary

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}

LONG_NAMES = {
    "coefficient_error": "root mean squared error of the coefficients, in the best order",
    "misclassification": "share of wrong labels up to n",
    "within_cluster_error": "mean squared distance to the nearest line up to n",
    "excess_misclassification": "share of wrong labels above that of the true coefficients on the same data",
    "excess_within_cluster_error": "within-cluster error above that of the true coefficients, same data",
    "scale": "q, the estimate of 1 / |2p - 1|",
    "excitation": "lambda_min of the sum of phi phi'",
    "excitation_exponent": "growth exponent of lambda_min, 1 where persistently exciting",
    "growth_exponent": "delta in |phi|^2 = O(n^delta)",
    "at_upper": "share of recent steps with q at the upper end of D_n",
    "at_one": "share of recent steps with q at 1",
    "direction_z": "evidence against theta = 0, standard normal if it is 0",
    "residual_share": "recent mean square distance to the nearest line over that to 0",
    **{f"alarm_{name}": text for name, text in diagnostics.ADVICE.items()},
}


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
    here, across = (*axes, "step"), ("estimator", *axes, "step")

    def shaped(x: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
        return (x if at is None else x[at]).reshape(*sizes, x.shape[-1])

    def of_problem(x: np.ndarray) -> np.ndarray:
        return shaped(x, problem_rows)

    def stacked(pick: Any) -> np.ndarray:
        return np.stack([shaped(pick(name), rows[name] if rows else None) for name in study.estimators])

    variables: dict[str, Any] = {}
    for metric in study.metrics:
        label = {"long_name": LONG_NAMES[metric], "units": "1"}
        tables = {name: _numbers(merged[name][metric]) for name in study.estimators}
        for statistic in next(iter(tables.values())):
            values = stacked(lambda name, s=statistic, t=tables: t[name][s])
            variables[f"{metric}_{statistic}"] = (across, values, label | {"statistic": statistic})
        if metric in oracle:
            label = label | {"estimator": "true coefficients, same data"}
            variables[f"{metric}_oracle"] = (here, of_problem(oracle[metric].mean), label)
            variables[f"{metric}_oracle_se"] = (
                here,
                of_problem(statistics.standard_error(oracle[metric])),
                label,
            )
        if metric in limits:
            label = {"long_name": f"limit of: {LONG_NAMES[metric]}", "units": "1"}
            variables[f"{metric}_theory"] = (here, of_problem(limits[metric].astype(np.float64)), label)
        if differences:
            label = {"long_name": f"difference from {study.reference} of: {LONG_NAMES[metric]}", "units": "1"}
            for statistic, of in (("mean", _mean), ("se", statistics.standard_error)):
                values = np.stack(
                    [shaped(of(t[metric]), at) for t, at in (differences[name] for name in study.estimators)]
                )
                variables[f"{metric}_difference_{statistic}"] = (
                    across,
                    values,
                    label | {"statistic": statistic},
                )
        if kept:
            values = stacked(lambda name, m=metric: np.concatenate(kept[name][m], axis=-1))
            label = {"long_name": f"one trial's {LONG_NAMES[metric]}, at the last step", "units": "1"}
            variables[f"{metric}_trial"] = (("estimator", *axes, "trial"), values, label)
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
    return xr.Dataset(variables, coordinates, {**described, **attributes})


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
    name = f"{metric}_{statistic}"
    if name not in results:
        raise ValueError(f"the results have no {name!r}; they have {', '.join(map(str, results.data_vars))}")
    values = results[name].isel(step=-1)
    for dim in over:
        if dim not in values.dims:
            raise ValueError(
                f"over must be dims of the results, {', '.join(map(str, values.dims))}, not {dim!r}"
            )
    if not over:
        raise ValueError("over must name at least one dim")
    stacked = values.stack(choice=list(over))
    where = stacked.fillna(np.inf).argmin("choice")
    errors = results[f"{metric}_se"].isel(step=-1).stack(choice=list(over)).isel(choice=where)
    found = {
        "value": stacked.isel(choice=where).drop_vars(["choice", *over]),
        "se": errors.drop_vars(["choice", *over]),
    }
    chosen = {dim: stacked[dim].isel(choice=where).drop_vars(["choice", *over]) for dim in over}
    found |= {f"best {dim}": x.rename(None) for dim, x in chosen.items()}
    return xr.Dataset(found, attrs={"metric": metric, "statistic": statistic})


def to_dataframe(results: xr.Dataset) -> Any:
    """A tidy table, a `pandas.DataFrame`: a row for every method, grid point, recorded step and metric.

    Columns: `estimator`, the grid's axes, `step`, `diverged`, `metric`, and the statistics `mean`, `se`, ...;
    `theory` and `oracle` where there are any.
    """
    across = results["diverged"].dims
    names = [str(name).removesuffix("_mean") for name in results.data_vars if str(name).endswith("_mean")]
    metrics = [name for name in names if not name.endswith("_difference")]
    tables = []
    for metric in metrics:
        statistic = {
            str(name).removeprefix(f"{metric}_"): results[name].broadcast_like(results["diverged"])
            for name in results.data_vars
            if str(name).startswith(f"{metric}_") and set(results[name].dims) <= set(across)
        }
        table = xr.Dataset({"diverged": results["diverged"], **statistic}).expand_dims(metric=[metric])
        tables.append(table.to_dataframe(dim_order=[*map(str, across), "metric"]))
    import pandas as pd

    return pd.concat(tables).reset_index()


def _coordinate(values: Sequence[Any]) -> np.ndarray:
    """Numbers as float64, choices as texts."""
    labels = [grid.label(value) for value in values]
    return np.asarray(labels, np.float64) if all(map(grid.is_number, values)) else np.asarray(labels, str)


def _mean(summary: Summary) -> np.ndarray:
    return np.where(summary.count > 0, summary.mean, np.nan)


def _numbers(summary: Summary) -> dict[str, np.ndarray]:
    n = summary.count
    some = n > 0
    numbers = {
        "mean": _mean(summary),
        "se": statistics.standard_error(summary),
        "rms": np.where(some, np.sqrt(summary.mean**2 + summary.m2 / np.maximum(n, 1)), np.nan),
        "sd": np.sqrt(summary.m2 / np.where(n > 1, n - 1, np.nan)),
        "min": np.where(some, summary.minimum, np.nan),
        "max": np.where(some, summary.maximum, np.nan),
    }
    return numbers | {name: statistics.quantile(summary, q) for name, q in QUANTILES.items()}
