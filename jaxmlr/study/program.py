"""The compiled part of a study: one block of trials, from noise to metrics, as one program.

    grid point (vmap) x trial (lanes) x recorded segment (scan) x step (loop that draws its own noise)

A block is a pure function of its first trial. Nothing is stored over time: only the metrics at recorded
steps leave the device.
"""

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr import metrics, recursive, theory
from jaxmlr.data import noise
from jaxmlr.data.simulate import stream
from jaxmlr.lanes import lanes
from jaxmlr.metrics import Tracker
from jaxmlr.study import prefixes
from jaxmlr.study.spec import Study

ORACLE = "<oracle>"  # what the reference run on the same data is called inside a block

LIMIT_TRIALS = 256  # limits are conditional expectations: few trials average them well

Values = dict[str, dict[str, Any]]  # estimator -> metric -> (points, records, trials)


def _follow(
    study: Study, trackers: Mapping[str, Tracker], trial: jax.Array
) -> dict[str, dict[str, jax.Array]]:
    """Values of every tracker at the recorded steps of one trial: tracker -> name -> (records,)."""
    problem = study.problem
    truth = problem.mixture(study.precision)
    key = jax.random.key(study.seed)
    source = stream(key, truth, problem.regressors(), trial, problem.disturbance())
    start_key = noise.method_key(noise.key_words(key), trial)
    start = {name: t.init(problem.dim, start_key, study.precision) for name, t in trackers.items()}

    def advance(n: jax.Array, carry: Any) -> Any:
        data, states = carry
        data, observation = source.step(data, n)
        return data, {name: t.step(states[name], n, observation) for name, t in trackers.items()}

    def segment(carry: Any, ends: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
        carry = jax.lax.fori_loop(ends[0], ends[1], advance, carry)
        states = carry[1]
        return carry, {name: t.values(states[name], ends[1] - 1) for name, t in trackers.items()}

    stops = study.recorded.astype(np.int32) + 1
    starts = np.concatenate([np.ones(1, np.int32), stops[:-1]])
    return jax.lax.scan(segment, (source.init(), start), (jnp.asarray(starts), jnp.asarray(stops)))[1]


def _trial(study: Study, trial: jax.Array) -> dict[str, dict[str, jax.Array]]:
    """Metrics of every method, and of the oracle on the same data, in one trial at one grid point."""
    truth = study.problem.mixture(study.precision)
    wanted = tuple(study.metrics)
    cumulative = tuple(name for name in metrics.CUMULATIVE if name in wanted or f"excess_{name}" in wanted)
    trackers = {name: metrics.track(study.make(name), truth, wanted) for name in study.recursive}
    if cumulative:
        trackers[ORACLE] = metrics.track(recursive.oracle(truth), truth, cumulative)
    values = _follow(study, trackers, trial)
    for name in study.recursive:
        for metric in cumulative:
            values[name][f"excess_{metric}"] = values[name][metric] - values[ORACLE][metric]
        values[name] = {m: values[name][m] for m in (*wanted, "finite")}
    if cumulative:
        values[ORACLE] = {metric: values[ORACLE][metric] for metric in (*cumulative, "finite")}
    return values


def _block(study: Study, first: jax.Array, points: dict[str, jax.Array]) -> Values:
    """Values of the block of trials that starts at `first`, NaN behind the last trial of the study."""
    trials = first + jnp.arange(study.block_size, dtype=jnp.int32)
    keep = trials < study.trials

    def masked(values: Any) -> Any:
        return jax.tree.map(lambda x: jnp.where(keep[:, None], x, jnp.nan).T, values)

    def streamed(point: dict[str, jax.Array]) -> Any:
        return masked(lanes(lambda trial: _trial(study.at(point), trial))(trials))

    def fitted(point: dict[str, jax.Array]) -> Any:
        return masked(prefixes.values(study.at(point), trials))

    if not points:
        return jax.tree.map(lambda x: x[None], {**streamed({}), **fitted({})})
    # Fits of one grid point after another, as within it: none waits for the slowest.
    return {**jax.vmap(streamed)(points), **(jax.lax.map(fitted, points) if study.batch else {})}


def _limits(study: Study, points: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """What the limits are made of, averaged over the first trials: name -> (points, records, ...)."""
    trials = jnp.arange(min(study.trials, LIMIT_TRIALS), dtype=jnp.int32)

    def at(point: dict[str, jax.Array]) -> dict[str, jax.Array]:
        here = study.at(point)
        truth = here.problem.mixture(study.precision)
        # The limits are those of normal noise; with another law there are none.
        names = tuple(study.metrics) if study.problem.noise is None else ()
        tracker = theory.track(truth, names, symmetric=study.problem.symmetric)
        values = lanes(lambda trial: _follow(here, {"limit": tracker}, trial)["limit"])(trials)
        found = {name: jnp.mean(x, axis=0) for name, x in values.items()}
        if "scale" in study.metrics:
            found["scale"] = jnp.broadcast_to(metrics.scale(truth), (len(study.recorded),))
        return found

    return jax.vmap(at)(points) if points else jax.tree.map(lambda x: x[None], at({}))


class Program:
    """A study's compiled block on one device; calling it with a block's index gives arrays on the host."""

    def __init__(self, study: Study, device: jax.Device):
        self._study, self._device = study, device
        with jax.enable_x64(study.precision == "float64"):
            self._points = _place(study, device)
            began = time.perf_counter()
            self._run = self._compile()
            self.compile_seconds = time.perf_counter() - began

    def _first(self, block: int) -> jax.Array:
        return jax.device_put(np.int32(block * self._study.block_size), self._device)

    def _compile(self) -> Callable[..., Any]:
        block = functools.partial(_block, self._study)
        return _compiled(block, self._device, self._first(0), self._points)

    def __call__(self, block: int) -> Values:
        """Metrics of block `block`, and `finite`: estimator -> metric -> (points, records, trials)."""
        with jax.enable_x64(self._study.precision == "float64"):
            found: Values = jax.device_get(self._run(self._first(block), self._points))
        return found


def limits(study: Study, device: jax.Device) -> dict[str, np.ndarray]:
    """Limits of the study's metrics: metric -> (points, records)."""
    with jax.enable_x64(study.precision == "float64"):
        points = _place(study, device)
        run = _compiled(functools.partial(_limits, study), device, points)
        found: dict[str, np.ndarray] = jax.device_get(run(points))
    if "information" in found:
        shares = 1 if study.problem.symmetric else len(study.problem.weights)
        found["coefficient_error"] = theory.cramer_rao(found.pop("information"), shares)
    return found


def _place(study: Study, device: jax.Device) -> dict[str, jax.Array]:
    """The grid's points, on the device."""
    points: Mapping[str, np.ndarray] = study.points
    return {path: jax.device_put(x.astype(study.precision), device) for path, x in points.items()}


def _compiled(function: Callable[..., Any], device: jax.Device, *args: Any) -> Callable[..., Any]:
    options = {"xla_cpu_prefer_vector_width": 512} if device.platform == "cpu" else None
    return jax.jit(function, compiler_options=options).lower(*args).compile()


_Key = tuple[Any, ...]
_programs: dict[_Key, Program] = {}
_compiling: dict[_Key, threading.Lock] = {}
_lock = threading.Lock()


def program(study: Study, device: jax.Device) -> Program:
    """The compiled program of a study on a device, made once a process."""
    # The fingerprint knows functions by their names only, and two can share one.
    functions = tuple(table["method"] for table in study.estimators.values() if callable(table["method"]))
    key = (study.fingerprint(), device, functions)
    with _lock:
        mine = _compiling.setdefault(key, threading.Lock())
    with mine:
        if key not in _programs:
            _programs[key] = Program(study, device)
    return _programs[key]
