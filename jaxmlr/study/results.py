"""From merged summaries to an `xarray.Dataset` that explains itself."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from jaxmlr import diagnostics
from jaxmlr.study import statistics
from jaxmlr.study.spec import Study
from jaxmlr.study.statistics import Summary

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
) -> xr.Dataset:
    """The results of a study.

    Args:
      study: what was run.
      merged: estimator -> metric -> statistics of shape (points, records).
      diverged: estimator -> number of trials whose estimate is not finite, (points, records).
      oracle: cumulative metric -> statistics of the true coefficients on the same data.
      limits: metric -> theoretical value, (points, records).
      attributes: what else is to be known about the run.

    Returns:
      dims (estimator, *grid axes, step). For every metric `_mean`, `_se` (standard error of the mean),
      `_rms`, `_sd`, `_min`, `_max`, `_q05`, `_q25`, `_q50`, `_q75`, `_q95`; without the estimator dim
      `_oracle` and `_oracle_se` (true coefficients, same data) and `_theory`; and `diverged`, a count of
      trials, which are left out of the statistics at that step.
    """
    axes = list(study.grid)
    sizes = [len(study.grid[axis]) for axis in axes]
    here, across = (*axes, "step"), ("estimator", *axes, "step")

    def shaped(x: np.ndarray) -> np.ndarray:
        return x.reshape(*sizes, x.shape[-1])

    def stacked(pick: Any) -> np.ndarray:
        return np.stack([shaped(pick(name)) for name in study.estimators])

    variables: dict[str, Any] = {}
    for metric in study.metrics:
        label = {"long_name": LONG_NAMES[metric], "units": "1"}
        tables = {name: _numbers(merged[name][metric]) for name in study.estimators}
        for statistic in next(iter(tables.values())):
            values = stacked(lambda name, s=statistic, t=tables: t[name][s])
            variables[f"{metric}_{statistic}"] = (across, values, label | {"statistic": statistic})
        if metric in oracle:
            label = label | {"estimator": "true coefficients, same data"}
            variables[f"{metric}_oracle"] = (here, shaped(oracle[metric].mean), label)
            variables[f"{metric}_oracle_se"] = (
                here,
                shaped(statistics.standard_error(oracle[metric])),
                label,
            )
        if metric in limits:
            label = {"long_name": f"limit of: {LONG_NAMES[metric]}", "units": "1"}
            variables[f"{metric}_theory"] = (here, shaped(limits[metric].astype(np.float64)), label)
    count = {"long_name": "trials whose estimate is not finite", "units": "trials"}
    variables["diverged"] = (across, stacked(lambda name: diverged[name]), count)

    coordinates: dict[str, Any] = {"estimator": list(study.estimators)}
    coordinates |= {axis: np.asarray(values, np.float64) for axis, values in study.grid.items()}
    coordinates["step"] = ("step", study.recorded, {"long_name": "observations n", "units": "1"})
    described = {"study": json.dumps(study.to_table()), "name": study.name, "trials": study.trials}
    return xr.Dataset(variables, coordinates, {**described, **attributes})


def _numbers(summary: Summary) -> dict[str, np.ndarray]:
    n = summary.count
    some = n > 0
    numbers = {
        "mean": np.where(some, summary.mean, np.nan),
        "se": statistics.standard_error(summary),
        "rms": np.where(some, np.sqrt(summary.mean**2 + summary.m2 / np.maximum(n, 1)), np.nan),
        "sd": np.sqrt(summary.m2 / np.where(n > 1, n - 1, np.nan)),
        "min": np.where(some, summary.minimum, np.nan),
        "max": np.where(some, summary.maximum, np.nan),
    }
    return numbers | {name: statistics.quantile(summary, q) for name, q in QUANTILES.items()}
