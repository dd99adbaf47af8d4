"""What a run would do and cost, found out before it: layout, memory, time, and a good size of blocks."""

import math
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np

from jaxmlr.study.compute.limits import compile_limits
from jaxmlr.study.compute.plan import PROBLEM, Chosen, plan, rows
from jaxmlr.study.compute.program import Program
from jaxmlr.study.declare.paths import with_field
from jaxmlr.study.declare.spec import Study

STEPS = 500  # of a shortened trial, at least, on which the speed of long ones is measured
SAMPLE = 10**7  # trial-steps times regressors of a block of shortened trials, where that is more steps
SHORT = 4096  # trials on a CPU, which computes more of them in chunks anyway
FITS = 16  # trials to which batch methods are fitted, where a block has many
WHOLE = 10**8  # trial-steps times regressors of a block that is measured as it is
ITERATIONS = 50  # of a batch method: what it costs beside a recursive one, to choose what is measured
SIZES = {  # of blocks, tried by `block_size`; a GPU is idle until a step has some 10^5 trials
    "cpu": (128, 256, 512, 1024, 2048),
    "gpu": (1024, 4096, 16_384, 65_536, 262_144, 1_048_576),
}
MEASURED = 1.0  # seconds over which a short block is called again and again
LONG = 5.0  # seconds after which a block is not called a third time
CLOSE = 1.05  # a smaller block is taken if it is at most this much slower a trial


class Work(NamedTuple):
    """Blocks of trials of some rows of a study: what one program computes."""

    chosen: Chosen | None  # method -> which of its rows; None: all
    blocks: int


class Outlook(NamedTuple):
    """What a run would do.

    Fields:
      points: grid points.
      rows: of every method, the grid points that differ for it.
      blocks, block_size: of trials, those that are left.
      programs: how many are compiled, for each device.
      compile_seconds: of all of them, measured.
      again_seconds: the same once they are in the cache of compiled programs; as above where there is none.
      memory: bytes that the process holds at its most, everything counted.
      disk: bytes that the blocks take, before they are compressed by a tenth or more.
      seconds: of computation on all local devices.
    """

    points: int
    rows: dict[str, int]
    blocks: int
    block_size: int
    programs: int
    compile_seconds: float
    again_seconds: float
    memory: int
    disk: int
    seconds: float


def outlook(study: Study, work: Sequence[Work] | None = None) -> Outlook:
    """Lay a study out, compile all that a run compiles, and measure one block on every device.

    A long block is not run: recursive methods are measured over few steps, of which time is a multiple, and
    batch methods in few trials.

    Args:
      study: the study.
      work: what is left of it; None: all.

    Raises:
      MemoryError: a block needs more than there is.
    """
    import zarr  # noqa: F401  # what writes the results is there too, at the end of a run

    work = [Work(None, study.blocks)] if work is None else list(work)
    devices = jax.local_devices()[: sum(each.blocks for each in work)]
    began = time.perf_counter()
    with ThreadPoolExecutor(len(devices) + 1) as threads:  # as a run does
        theory = threads.submit(compile_limits, study, devices[0]) if work else None
        programs = [_programs(study, devices, each.chosen, threads) for each in work]
        traced = theory.result()[1] if theory else 0.0
    compiled = time.perf_counter() - began
    traced += sum(program.trace_seconds for each in programs for program in each)
    cached = jax.config.values["jax_compilation_cache_dir"]
    again = min(compiled, traced * _busy()) if cached else compiled

    layouts = [plan(study, each.chosen) for each in work]
    itemsize, metrics = np.dtype(study.precision).itemsize, 1 + len(study.metrics)
    values = [
        sum(map(len, layout.places.values())) * len(study.recorded) * metrics * itemsize for layout in layouts
    ]  # bytes a trial
    trials = [min(each.blocks * study.block_size, study.trials) for each in work]
    disk = sum(n * bytes_each for n, bytes_each in zip(trials, values, strict=True))
    copies = 3 * study.block_size * max(values, default=0)  # fetched, merged, and saved
    running = max((each[0].memory for each in programs), default=0)
    memory = _resident() + len(devices) * (running + copies)

    seconds = sum(
        math.ceil(each.blocks / len(devices)) * _round_seconds(study, on_devices, each.chosen)
        for each, on_devices in zip(work, programs, strict=True)
    )
    of_method = {name: len(row.first) for name, row in rows(study).items() if name != PROBLEM}
    return Outlook(
        study.size,
        of_method,
        sum(each.blocks for each in work),
        study.block_size,
        sum(len(layout.cells) for layout in layouts),
        compiled,
        again,
        memory,
        disk,
        seconds,
    )


def block_size(study: Study) -> int:
    """The size of blocks that computes a trial fastest on one device, tried out; smaller ones where close.

    Raises:
      ValueError: the study has no recursive method to try.
    """
    if not study.recursive:
        raise ValueError("block: there is no recursive method to find the best size with; give a number")
    share = math.ceil(study.trials / len(jax.local_devices()))
    kind = "cpu" if jax.default_backend() == "cpu" else "gpu"
    sizes = [size for size in SIZES[kind] if size <= share] or [share]
    each = [min(_seconds([_short(study, size, jax.local_devices()[0])])) / size for size in sizes]
    return next(size for size, s in zip(sizes, each, strict=True) if s <= CLOSE * min(each))


def _programs(
    study: Study, devices: Sequence[jax.Device], chosen: Chosen | None, threads: ThreadPoolExecutor
) -> list[Program]:
    return list(threads.map(lambda device: Program(study, device, chosen), devices))


def _round_seconds(study: Study, programs: Sequence[Program], chosen: Chosen | None) -> float:
    """Seconds in which every device computes one block."""
    every = rows(study)
    counts = {name: len(every[name].first if chosen is None else chosen.get(name, ())) for name in every}
    fits = {name: sum(study.make_batch(name).steps) for name in study.batch}
    last = int(study.recorded[-1])
    observations = sum(counts[name] * last for name in study.recursive)
    observations += sum(counts[name] * fits[name] * ITERATIONS for name in study.batch)
    if observations * study.block_size * study.problem.dim <= WHOLE:
        return _usual(_seconds(programs))
    devices, seconds = jax.local_devices()[: len(programs)], 0.0
    with ThreadPoolExecutor(len(devices)) as threads:
        if any(counts[name] for name in study.recursive):
            size = min(study.block_size, SHORT) if devices[0].platform == "cpu" else study.block_size
            each = sum(counts[name] for name in study.recursive) * size * study.problem.dim
            steps = min(last, max(STEPS, SAMPLE // each))
            short = list(threads.map(lambda d: _short(study, size, d, chosen, steps), devices))
            seconds += _usual(_seconds(short)) * (last / steps) * (study.block_size / size)
        if any(counts[name] for name in study.batch):
            few = list(threads.map(lambda d: _few(study, d, chosen), devices))
            seconds += _usual(_seconds(few)) * study.block_size / min(FITS, study.block_size)
    return seconds


def _seconds(programs: Sequence[Program]) -> list[float]:
    """Seconds in which programs on different devices compute a block side by side, call after call."""
    with ThreadPoolExecutor(len(programs)) as threads:
        times: list[float] = []
        while (len(times) < 3 and sum(times) < LONG) or (sum(times) < MEASURED and len(times) < 100):
            began = time.perf_counter()
            list(threads.map(lambda program: program(0), programs))
            times.append(time.perf_counter() - began)
    return times


def _busy() -> float:
    """How many seconds pass now while a thread computes for one."""
    began, used = time.perf_counter(), time.thread_time()
    while time.thread_time() - used < 0.2:
        pass
    return (time.perf_counter() - began) / (time.thread_time() - used)


def _usual(seconds: Sequence[float]) -> float:
    """What a call takes on a machine as busy as now; the first of several, which takes memory, left out."""
    return statistics.fmean(seconds[1:] or seconds)


def _short(
    study: Study, size: int, device: jax.Device, chosen: Chosen | None = None, steps: int = STEPS
) -> Program:
    """The recursive methods over few steps, in blocks of `size`."""
    steps = min(steps, study.steps)
    short = _only(study, study.recursive, steps=steps, record=[steps], block=size)
    return Program(short, device, _rows_of(short, chosen))


def _few(study: Study, device: jax.Device, chosen: Chosen | None) -> Program:
    """The batch methods in few trials."""
    few = _only(study, study.batch, block=min(FITS, study.block_size))
    return Program(few, device, _rows_of(few, chosen))


def _only(study: Study, names: Sequence[str], **changes: object) -> Study:
    """A study of some of its methods; axes of the others stay, and concern nobody."""
    tables = {name: study.estimators[name] for name in names}
    part: Study = with_field(study, estimators=tables, **changes)
    return part


def _rows_of(study: Study, chosen: Chosen | None) -> Chosen | None:
    if chosen is None:
        return None
    return {name: at for name, at in chosen.items() if name in study.estimators or name == PROBLEM}


def _resident() -> int:
    """Bytes that this process has held at its most; 0 where the system does not say."""
    try:
        import resource
    except ModuleNotFoundError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
