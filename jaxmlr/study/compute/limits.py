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
from jaxmlr.evaluation import metrics, theory
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


def _limits(study: Study, points: Points, numbers: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """What the limits are made of, averaged over the first trials: name -> (P, records, ...)."""
    study = study.at(numbers)
    trials = jnp.arange(min(study.trials, LIMIT_TRIALS), dtype=jnp.int32)

    def at(points: Points) -> dict[str, jax.Array]:
        at_point = study.at(points["problem"])
        truth = at_point.problem.mixture(study.precision)
        without = without_limit(vars(at_point.problem))
        names = tuple(name for name in study.metric_names if name not in without)
        drift, gaps = at_point.problem.drifting(), at_point.problem.gaps
        tracker = theory.track(truth, names, symmetric=at_point.problem.symmetric, drift=drift, gaps=gaps)
        values = lanes(lambda trial: follow_trial(at_point, {"limit": tracker}, trial)["limit"])(trials)
        mean = jnp.nanmean if gaps else jnp.mean  # over the trials of which a response has been seen
        means = {name: mean(x, axis=0) for name, x in values.items()}
        if "scale" in names:
            means["scale"] = jnp.broadcast_to(metrics.scale(truth), (len(study.recorded),))
        return means

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
        if "information" in reference:
            shares = 1 if study.problem.symmetric else len(study.problem.weights)
            reference["coefficient_error"] = theory.cramer_rao(reference.pop("information"), shares)
        return reference

    return compute
