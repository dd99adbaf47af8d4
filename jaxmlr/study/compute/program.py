"""The compiled part of a study: one block of trials, from noise to metrics, as one program.

    problem (vmap) x options of a method (vmap) x chunk of trials (map) x trial (lanes)
        x recorded segment (scan) x step (loop that draws its own noise)

A block is a pure function of its first trial. Nothing is stored over time: only the metrics at recorded
steps leave the device.
"""

import copy
import functools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr import recursive
from jaxmlr._xla import host
from jaxmlr._xla.jit import CPU_OPTIONS, GPU_OPTIONS
from jaxmlr._xla.lanes.transform import lanes
from jaxmlr.data import noise
from jaxmlr.data.follow import at_steps
from jaxmlr.data.simulate import Stream
from jaxmlr.estimator import Estimator
from jaxmlr.evaluation import metrics
from jaxmlr.evaluation.tracking import Tracker, track, track_truth
from jaxmlr.study.compute import chunks, prefixes
from jaxmlr.study.compute.numbers import SEED, numbers, structure
from jaxmlr.study.compute.plan import PROBLEM, Cell, Chosen, Variant, plan
from jaxmlr.study.declare import measured
from jaxmlr.study.declare.spec import Study

ORACLE = PROBLEM  # what the reference run on the same data is called inside a block

Values = dict[str, dict[str, Any]]  # estimator -> metric -> (rows, records, trials)


def begin(study: Study, trackers: Mapping[str, Tracker], trial: jax.Array) -> tuple[Stream, Any]:
    """The data of one trial as a stream, and what the loop over its steps carries at the start."""
    source = study.problem.source(study.seed, trial, study.precision)
    start_key = noise.method_key(noise.key_words(jax.random.key(study.seed)), trial)
    states = {name: t.init(study.problem.dim, start_key, study.precision) for name, t in trackers.items()}
    return source, (source.init(), states)


def follow_trial(
    study: Study, trackers: Mapping[str, Tracker], trial: jax.Array
) -> dict[str, dict[str, jax.Array]]:
    """Values of every tracker at the recorded steps of one trial: tracker -> name -> (records,)."""
    source, start = begin(study, trackers, trial)

    def advance(n: jax.Array, carry: Any) -> Any:
        data, states = carry
        data, observation = source.step(data, n)
        return data, {name: t.step(states[name], n, observation) for name, t in trackers.items()}

    def values(carry: Any, n: jax.Array) -> dict[str, dict[str, jax.Array]]:
        return {name: t.values(carry[1][name], n) for name, t in trackers.items()}

    recorded: dict[str, dict[str, jax.Array]] = at_steps(advance, start, study.recorded, values)
    return recorded


def trackers_of(study: Study, methods: Mapping[str, Estimator]) -> dict[str, Tracker]:
    """What follows every method, and the oracle where a metric is measured against it."""
    truth = study.problem.mixture(study.precision)
    cumulative = tuple(metrics.running_means(study.metric_names))
    drift, gaps, own = study.problem.drifting(), study.problem.gaps, measured.own(study.metrics)
    wanted = tuple(name for name in study.metric_names if name not in own)
    trackers = {
        key: track(method, truth, wanted, own=own, drift=drift, gaps=gaps) for key, method in methods.items()
    }
    if cumulative and drift is not None:
        trackers[ORACLE] = track_truth(truth, cumulative, drift=drift, gaps=gaps)
    elif cumulative:
        trackers[ORACLE] = track(recursive.oracle(truth), truth, cumulative, gaps=gaps)
    return trackers


def _trial(
    study: Study, trackers: Mapping[str, Tracker], trial: jax.Array
) -> dict[str, dict[str, jax.Array]]:
    """Metrics of every method, and of the oracle on the same data, in one trial at one problem."""
    wanted, cumulative = study.metric_names, metrics.running_means(study.metric_names)
    values = follow_trial(study, trackers, trial)
    for key in [key for key in trackers if key != ORACLE]:
        for excess, mean in metrics.excesses(wanted).items():
            values[key][excess] = values[key][mean] - values[ORACLE][mean]
        values[key] = {m: values[key][m] for m in (*wanted, "finite")}
    if cumulative:
        values[ORACLE] = {metric: values[ORACLE][metric] for metric in (*cumulative, "finite")}
    return values


Options = dict[str, dict[str, Any]]  # key of a variant -> path -> its numbers
Points = dict[str, Any]  # "index", "problem": path -> its numbers, "options": Options


def _streamed(
    study: Study, variants: Mapping[str, Variant], options: Options, trials: jax.Array, problems: int
) -> Values:
    """Values of the recursive methods at one of `problems`: key -> metric -> (E, records, trials).

    One vmap a method over its own options: what does not depend on them, as the data and the other
    methods, is not computed again, and `out_axes` would refuse it if it were.
    """
    copies = {key: len(x) for key, table in options.items() for x in table.values()}

    def run(options: Options) -> Any:
        methods = {key: study.make(v.name, {**v.static, **options[key]}) for key, v in variants.items()}
        trackers = trackers_of(study, methods)
        _, states = jax.eval_shape(lambda: begin(study, trackers, trials[0])[1])
        carried = problems * sum(copies.get(key, 1) * chunks.nbytes(state) for key, state in states.items())
        size = chunks.side_by_side(len(trials), carried)
        values = chunks.in_chunks(lanes(lambda trial: _trial(study, trackers, trial)), trials, size)
        return jax.tree.map(lambda x: x.T, values)

    varied = [key for key in variants if options[key]]
    for key in varied:
        own: dict[str, int | None] = {other: 0 if other == key else None for other in options}
        outputs = {other: own[other] for other in variants}
        oracle = {ORACLE: None} if metrics.running_means(study.metric_names) else {}
        run = jax.vmap(run, in_axes=(own,), out_axes=outputs | oracle)
    values: Values = run(options)
    return {
        key: {name: x if key in varied else x[None] for name, x in table.items()}
        for key, table in values.items()
    }


def _block(
    study: Study,
    variants: Mapping[str, Variant],
    size: int,
    first: jax.Array,
    points: Points,
    numbers: Mapping[str, jax.Array],
) -> Values:
    """Values of the block of trials that starts at `first`, at the first `size` points or more.

    Returns:
      key -> metric -> (P, E, records, trials), NaN behind the last trial of the study; behind the block may
      be more trials, which fill registers, so that a trial's bits do not depend on its place.
    """
    study = study.at(numbers)
    trials = first + jnp.arange(chunks.filled(study.block_size), dtype=jnp.int32)
    batch, problems = study.batch, len(points["index"])
    recursive, fitted = (
        {key: v for key, v in variants.items() if (v.name in batch) == wanted} for wanted in (False, True)
    )

    def masked(values: Values, trials: jax.Array) -> Values:
        return jax.tree.map(lambda x: jnp.where(trials < study.trials, x, jnp.nan), values)

    def stream(points: Points) -> Values:
        at_point = study.at(points["problem"])
        return masked(_streamed(at_point, recursive, points["options"], trials, problems), trials)

    def fit(points: Points) -> Values:
        at_point, own = study.at(points["problem"]), trials[: study.block_size]
        return masked(prefixes.values(at_point, fitted, points["options"], own), own)

    # Fits of one problem after another, as within it: none waits for the slowest.
    real = jax.tree.map(lambda x: x[:size], points)
    return {**everywhere(stream, points), **(jax.lax.map(fit, real) if fitted else {})}


def everywhere(values: Callable[[Points], Any], points: Points) -> Any:
    """`values` at all points; without numbers that vary, without vmap: tracing would take a third longer."""
    if points["problem"]:
        return jax.vmap(values)(points)
    alone = values(jax.tree.map(lambda x: x[0], points))
    return jax.tree.map(lambda x: x[None], alone)


def block_of(study: Study, cell: Cell) -> Callable[[jax.Array, Points, Mapping[str, jax.Array]], Values]:
    """What is compiled of a cell: from a block's first trial, its numbers and the study's, to values."""
    variants = {f"{v.name}#{k}": v for k, v in enumerate(cell.variants)}
    return functools.partial(_block, study.at(cell.static), variants, cell.size)


class Program:
    """A study's compiled blocks on one device; calling it with a first trial gives arrays on the host."""

    def __init__(self, study: Study, device: jax.Device, chosen: Chosen | None = None):
        self._study, self._device = study, device
        self._plan = plan(study, chosen)
        self._numbers = placed(numbers(study), study, device)
        self.trace_seconds = 0.0
        with jax.enable_x64(study.precision == "float64"):
            self._cells = [self._compile(cell) for cell in self._plan.cells]

    def of(self, study: Study, chosen: Chosen | None = None) -> "Program":
        """The program of a study of the same structure: the same code, with its own numbers."""
        if study is self._study:
            return self
        other = copy.copy(self)
        other._study, other._plan = study, plan(study, chosen)
        other._numbers = placed(numbers(study), study, self._device)
        return other

    def _compile(self, cell: Cell) -> tuple[jax.stages.Compiled, Points]:
        points = points_of(self._study, cell, self._device)
        args = self._first(0), points, self._numbers
        run, seconds = compiled(block_of(self._study, cell), self._device, *args)
        self.trace_seconds += seconds
        if self._device.platform == "cpu":
            self._check_memory(_bytes_of(run))
        return run, points

    def _check_memory(self, needed: int) -> None:
        """Raise MemoryError before the system kills a process that asks for more than it has."""
        there = host.memory()
        if there is not None and needed > there:
            what = f"a block of {self._study.block_size:,} trials needs {needed / 2**20:,.0f} MiB"
            raise MemoryError(f"{what}, of {there / 2**20:,.0f} MiB that there are")

    def _first(self, trial: int) -> jax.Array:
        return jax.device_put(np.int32(trial), self._device)

    @property
    def memory(self) -> int:
        """Bytes that the largest of the programs holds while it runs."""
        return max((_bytes_of(run) for run, _ in self._cells), default=0)

    def __call__(self, first: int) -> Values:
        """Metrics, and `finite`, of a block: estimator -> metric -> (rows, records, trials)."""
        with jax.enable_x64(self._study.precision == "float64"):
            running = [run(self._first(first), points, self._numbers) for run, points in self._cells]
            size = self._study.block_size
            computed = [jax.tree.map(lambda x: x[..., :size], jax.device_get(values)) for values in running]
        values: Values = {}
        for name, places in ((name, places) for name, places in self._plan.places.items() if places):
            tables = [computed[at.cell][f"{name}#{at.variant}"] for at in places]
            values[name] = {
                metric: np.stack(
                    [t[metric][at.problem, at.option] for t, at in zip(tables, places, strict=True)]
                )
                for metric in tables[0]
            }
        if ORACLE in computed[0] and self._plan.problems:
            values[ORACLE] = {
                metric: np.stack(
                    [computed[at.cell][ORACLE][metric][at.problem, 0] for at in self._plan.problems]
                )
                for metric in computed[0][ORACLE]
            }
        return values


def _bytes_of(run: jax.stages.Compiled) -> int:
    analysis = run.memory_analysis()
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes) if analysis else 0


def points_of(study: Study, cell: Cell, device: jax.Device) -> Points:
    """A cell's numbers, on the device.

    One point of an axis stands there twice: it is then computed as many are, and its bits stay the same as
    the axis grows.
    """
    copies = 2 if cell.problem and cell.size == 1 else 1

    def repeated(columns: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        tables = {path: np.concatenate([x] * copies) for path, x in columns.items()}
        return placed(tables, study, device)

    options = {f"{v.name}#{k}": repeated(v.own) for k, v in enumerate(cell.variants)}
    index = jax.device_put(np.arange(copies * cell.size, dtype=np.int32), device)
    return {"index": index, "problem": repeated(cell.problem), "options": options}


def placed(values: Mapping[str, Any], study: Study, device: jax.Device) -> dict[str, jax.Array]:
    """Numbers by path as arguments of a program."""
    kinds = {path: np.uint32 if path == SEED else np.dtype(study.precision) for path in values}
    with jax.enable_x64(study.precision == "float64"):
        return {path: jax.device_put(np.asarray(x, kinds[path]), device) for path, x in values.items()}


def compiled(
    function: Callable[..., Any], device: jax.Device, *args: Any
) -> tuple[jax.stages.Compiled, float]:
    """A function compiled for a device and arguments of these shapes, and the CPU seconds of tracing it."""
    options = {"cpu": CPU_OPTIONS, "gpu": GPU_OPTIONS}.get(device.platform)
    with _tracing:
        began = time.thread_time()
        lowered = jax.jit(function, compiler_options=options).lower(*args)
        seconds = time.thread_time() - began
    return lowered.compile(), seconds


# Two threads that trace share one interpreter and slow each other down; compiling runs beside tracing.
_tracing = threading.Lock()


PROGRAMS = 16  # kept compiled; a program of many methods holds hundreds of megabytes

_Key = tuple[Any, ...]
_programs: OrderedDict[_Key, Program] = OrderedDict()
_compiling: dict[_Key, threading.Lock] = {}
_lock = threading.Lock()


def key_of(study: Study, device: jax.Device, chosen: Chosen | None = None) -> _Key:
    """What tells the program of some rows of a study from all others."""
    # A structure knows functions by their names only, and two can share one.
    functions = tuple(study.functions.values())
    rows = None if chosen is None else tuple((name, tuple(listed)) for name, listed in sorted(chosen.items()))
    return structure(study), rows, device, functions


def program(study: Study, device: jax.Device, chosen: Chosen | None = None) -> Program:
    """The compiled program of a study, or of some rows of it, made once a process while it is in use."""
    key = key_of(study, device, chosen)
    with _lock:
        mine = _compiling.setdefault(key, threading.Lock())
    with mine:
        with _lock:
            kept = _programs.get(key)
        if kept is None:
            kept = Program(study, device, chosen)
    with _lock:
        _programs[key] = kept
        _programs.move_to_end(key)
        while len(_programs) > PROGRAMS:
            del _compiling[_programs.popitem(last=False)[0]]
    return kept.of(study, chosen) if study.arguments else kept
