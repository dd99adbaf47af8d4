"""Running a study: blocks of trials on all devices, saved as they finish, merged in order."""

import concurrent.futures
import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from jaxmlr.study import results, statistics
from jaxmlr.study.program import ORACLE, program
from jaxmlr.study.progress import TrialProgress
from jaxmlr.study.spec import Study
from jaxmlr.study.statistics import Summary
from jaxmlr.study.store import Blocks, Store, provenance


def run_block(study: Study, block: int, device: int = 0) -> Blocks:
    """Summaries of one block of trials: a pure function of the study and the block's index.

    Args:
      study: the study.
      block: index of the block, from 0.
      device: index into `jax.local_devices()`; it does not change the numbers.

    Returns:
      estimator -> metric -> field of a `statistics.Summary` -> array (points, records, ...).
    """
    return program(study, jax.local_devices()[device])(block)


def run_study(
    study: Study,
    out: str | Path | None = None,
    *,
    executor: Executor | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Run a study and return its statistics.

    Args:
      study: what to run.
      out: a folder for blocks and results; blocks that are there already are not computed again.
      executor: where blocks are computed, any `concurrent.futures.Executor`; None takes one thread for
        each local device.
      progress: whether to show progress on standard error.

    Returns:
      A dataset with dims (estimator, *grid axes, step); see `jaxmlr.study.results.dataset`.

    Raises:
      ValueError: `out` cannot be written, or holds another study.
    """
    began = time.perf_counter()
    store = None if out is None else Store(study, Path(out))
    missing = list(range(study.blocks)) if store is None else store.missing()
    if store is not None and not missing and (finished := store.published()) is not None:
        return finished
    computed: dict[int, Blocks] = {}
    size = study.block_size
    there = study.trials - sum(_trials(study, block) for block in missing)
    compile_seconds = compute_seconds = 0.0
    with TrialProgress(study.name, study.trials, there, show=progress) as shown:
        if missing:
            with _placement(study, executor, len(missing)) as (submit, compile_seconds):
                shown.start()
                clock = time.perf_counter()
                futures = {submit(block): block for block in missing}
                try:
                    for future in concurrent.futures.as_completed(futures):
                        block = futures[future]
                        if store is None:
                            computed[block] = future.result()
                        else:
                            store.save(block, future.result())
                        shown.advance(_trials(study, block))
                except BaseException:
                    for future in futures:
                        future.cancel()
                    if store is not None:
                        for future in futures:
                            if future.done() and not future.cancelled() and not future.exception():
                                store.save(futures[future], future.result())
                    raise
                compute_seconds = time.perf_counter() - clock
    merged, diverged = _merge(study, computed.__getitem__ if store is None else store.load)
    limits = program(study, jax.local_devices()[0]).limits()
    steps_run = sum(_trials(study, block) for block in missing) * study.steps * _width(study)
    attributes = provenance(study) | {
        "devices": len(jax.local_devices()),
        "block": size,
        "compile_seconds": round(compile_seconds, 3),
        "compute_seconds": round(compute_seconds, 3),
        "wall_seconds": round(time.perf_counter() - began, 3),
        "trial_steps_per_second": round(steps_run / compute_seconds) if compute_seconds else 0,
    }
    oracle = merged.pop(ORACLE, {})
    dataset = results.dataset(study, merged, diverged, oracle, limits, attributes)
    if store is not None:
        store.publish(dataset)
    return dataset


def _trials(study: Study, block: int) -> int:
    return min(study.block_size, study.trials - block * study.block_size)


def _width(study: Study) -> int:
    """Recursions that run side by side on one trial's noise: grid points times methods."""
    return int(np.prod([len(values) for values in study.grid.values()])) * len(study.estimators)


@contextmanager
def _placement(
    study: Study, executor: Executor | None, blocks: int
) -> Iterator[tuple[Callable[[int], "Future[Blocks]"], float]]:
    """A function that submits a block, and the seconds that compilation took."""
    if executor is not None:
        yield (lambda block: executor.submit(run_block, study, block)), 0.0
        return
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    devices = range(min(len(jax.local_devices()), blocks))
    for device in devices:
        free.put(device)

    def on_free_device(block: int) -> Blocks:
        device = free.get()
        try:
            return run_block(study, block, device)
        finally:
            free.put(device)

    with concurrent.futures.ThreadPoolExecutor(len(devices)) as threads:
        began = time.perf_counter()
        list(threads.map(lambda device: program(study, jax.local_devices()[device]), devices))
        yield (lambda block: threads.submit(on_free_device, block)), time.perf_counter() - began


def _merge(
    study: Study, load: Callable[[int], Blocks]
) -> tuple[dict[str, dict[str, Summary]], dict[str, np.ndarray]]:
    """All blocks together, in the order of their index whatever the order in which they finished."""
    merged: dict[str, dict[str, Summary]] = {}
    diverged: dict[str, Any] = {}
    for block in range(study.blocks):
        for name, table in load(block).items():
            here = merged.setdefault(name, {})
            for metric, fields in table.items():
                if metric == "diverged":
                    diverged[name] = diverged.get(name, 0) + fields["count"].astype(np.int64)
                    continue
                found = statistics.host(fields)
                here[metric] = statistics.merge(here[metric], found) if metric in here else found
    return merged, diverged
