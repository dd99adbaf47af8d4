"""The limits of a study's metrics at each of its problems, by the same program on every device."""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr._xla.lanes.transform import lanes
from jaxmlr.evaluation.metrics import METRICS, Limit
from jaxmlr.evaluation.tracking import track_limits
from jaxmlr.study.compute.numbers import numbers
from jaxmlr.study.compute.plan import Cell, plan
from jaxmlr.study.compute.program import (
    PROGRAMS,
    Points,
    compiled,
    everywhere,
    follow_trial,
    key_of,
    placed,
    points_of,
)
from jaxmlr.study.declare.problem import without_limit
from jaxmlr.study.declare.spec import Study

LIMIT_TRIALS = 256  # limits are conditional expectations: few trials average them well

_runs: OrderedDict[Any, list[jax.stages.Compiled]] = OrderedDict()
_lock = threading.Lock()


def limits_of(study: Study) -> dict[str, Limit]:
    """The limits of the study's metrics, where there are any."""
    limits = {name: METRICS[name].limit for name in study.metric_names if name in METRICS}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _limits(study: Study, points: Points, numbers: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """What the limits are made of, averaged over the first trials: name -> (P, records, ...)."""
    study = study.at(numbers)
    trials = jnp.arange(min(study.trials, LIMIT_TRIALS), dtype=jnp.int32)

    def at(points: Points) -> dict[str, jax.Array]:
        at_point = study.at(points["problem"])
        truth = at_point.problem.mixture(study.precision)
        without = without_limit(vars(at_point.problem))
        limited = {name: limit for name, limit in limits_of(study).items() if name not in without}
        drift, gaps = at_point.problem.drifting(), at_point.problem.gaps
        symmetric = at_point.problem.symmetric
        tracker = track_limits(truth, tuple(limited), symmetric=symmetric, drift=drift, gaps=gaps)
        values = lanes(lambda trial: follow_trial(at_point, {"limit": tracker}, trial)["limit"])(trials)
        mean = jnp.nanmean if gaps else jnp.mean  # over the trials of which a response has been seen
        means = {name: mean(x, axis=0) for name, x in values.items()}
        constants = {name: limit.constant(truth) for name, limit in limited.items() if limit.constant}
        return means | {name: jnp.broadcast_to(x, (len(study.recorded),)) for name, x in constants.items()}

    return everywhere(at, points)


def compile_limits(study: Study, device: jax.Device) -> tuple[list[jax.stages.Compiled], float]:
    """The programs of the limits, one for each cell of the grid, and the seconds of tracing them."""
    arguments = placed(numbers(study), study, device)
    runs, traced = [], 0.0
    with jax.enable_x64(study.precision == "float64"):
        for cell in plan(study).cells:
            at = _problems(study, cell, device)
            run, seconds = compiled(functools.partial(_limits, study.at(cell.static)), device, at, arguments)
            runs.append(run)
            traced += seconds
    return runs, traced


def _problems(study: Study, cell: Cell, device: jax.Device) -> Points:
    return {**points_of(study, cell, device), "options": {}}


def limits(study: Study, device: jax.Device) -> Callable[[], dict[str, np.ndarray]]:
    """Compile the limits of the study's metrics.

    Returns:
      A function that computes them: metric -> (problems, records).
    """
    layout, arguments = plan(study), placed(numbers(study), study, device)
    points = [_problems(study, cell, device) for cell in layout.cells]
    key = key_of(study, device)
    with _lock:
        runs = _runs.get(key)
    if runs is None:
        runs, _ = compile_limits(study, device)
    with _lock:
        _runs[key] = runs
        _runs.move_to_end(key)
        while len(_runs) > PROGRAMS:
            _runs.popitem(last=False)

    def compute() -> dict[str, np.ndarray]:
        with jax.enable_x64(study.precision == "float64"):
            computed = [jax.device_get(run(at, arguments)) for run, at in zip(runs, points, strict=True)]
        reference = {
            name: np.stack([computed[at.cell][name][at.problem] for at in layout.problems])
            for name in computed[0]
            if all(name in table for table in computed)
        }
        shares = 1 if study.problem.symmetric else len(study.problem.weights)
        bounds = {name: limit.bound for name, limit in limits_of(study).items() if limit.bound}
        for name in bounds.keys() & reference.keys():
            reference[name] = bounds[name](reference[name], shares)
        return reference

    return compute
