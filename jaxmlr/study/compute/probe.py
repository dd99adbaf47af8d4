"""What a run would do and cost, found out before it: layout, memory, time, and a good size of blocks."""

import dataclasses
import math
import sys
import time
from typing import NamedTuple

import jax
import numpy as np

from jaxmlr.study.compute.plan import plan
from jaxmlr.study.compute.program import Program
from jaxmlr.study.declare.spec import Study

STEPS = 500  # of a shortened trial, on which speed is measured
SIZES = {  # of blocks, tried by `block_size`; a GPU is idle until a step has some 10^5 trials
    "cpu": (128, 256, 512, 1024, 2048),
    "gpu": (1024, 4096, 16_384, 65_536, 262_144, 1_048_576),
}
CLOSE = 1.05  # a smaller block is taken if it is at most this much slower a trial


class Outlook(NamedTuple):
    """What a run would do.

    Fields:
      points: grid points.
      rows: of every method, the grid points that differ for it.
      blocks, block_size: of trials.
      programs: how many are compiled, for each device.
      compile_seconds: of one short program of this layout, measured.
      memory: bytes that the process holds at its most, everything counted: this one's after it has compiled
        the programs, and what they need on every device while they run a block.
      disk: bytes that the blocks take, before they are compressed by a tenth or more.
      seconds: of computation on all local devices; None where only batch methods take part.
    """

    points: int
    rows: dict[str, int]
    blocks: int
    block_size: int
    programs: int
    compile_seconds: float
    memory: int
    disk: int
    seconds: float | None


def outlook(study: Study) -> Outlook:
    """Lay a study out and measure one block of its recursive methods, over at most 500 steps.

    Time is taken to grow with the steps, as it does; what recording and batch methods cost is not in it.
    """
    import zarr  # noqa: F401  # what writes the results is there too, at the end of a run

    before = _resident()
    layout = plan(study)
    rows = {name: len(places) for name, places in layout.places.items()}
    seconds, compiled = None, 0.0
    if study.recursive:
        short, seconds_of_block = _block_seconds(study, study.block_size)
        compiled = short.compile_seconds
        rounds = math.ceil(study.blocks / len(jax.local_devices()))
        seconds = seconds_of_block * rounds * int(study.recorded[-1]) / min(STEPS, study.steps)
    whole = Program(study, jax.local_devices()[0])  # a run finds it in the cache of compiled programs
    # The other devices compile theirs at the same time, and the limits theirs.
    others = len(jax.local_devices()) * (_resident() - before)
    values = sum(map(len, layout.places.values())) * len(study.recorded) * (1 + len(study.metrics))
    copies = 3 * np.dtype(study.precision).itemsize * study.block_size * values  # fetched, merged, and saved
    memory = _resident() + others + len(jax.local_devices()) * (whole.memory + copies)
    disk = study.trials * values * np.dtype(study.precision).itemsize
    return Outlook(
        study.size, rows, study.blocks, study.block_size, len(layout.cells), compiled, memory, disk, seconds
    )


def _resident() -> int:
    """Bytes that this process has held at its most; 0 where the system does not say."""
    try:
        import resource
    except ModuleNotFoundError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


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
    each = [_block_seconds(study, size)[1] / size for size in sizes]
    return next(size for size, s in zip(sizes, each, strict=True) if s <= CLOSE * min(each))


def _block_seconds(study: Study, size: int) -> tuple[Program, float]:
    """A program of the recursive methods over few steps, and the least of three times of a block."""
    steps = min(STEPS, study.steps)
    tables = {name: table for name, table in study.estimators.items() if name in study.recursive}
    # Without the axes of what is left out.
    gone = tuple(f"estimators.{name}." for name in study.batch)
    axes = {axis.name: axis.columns for axis in study.axes if not axis.name.startswith(gone or "\n")}
    grid = {"zip": [columns for columns in axes.values()]} if axes else {}
    short = dataclasses.replace(
        study, estimators=tables, grid=grid, steps=steps, record=1, block=size, reference=None, until=None
    )
    program = Program(short, jax.local_devices()[0])
    program(0)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        program(0)
        seconds.append(time.perf_counter() - began)
    return program, min(seconds)
