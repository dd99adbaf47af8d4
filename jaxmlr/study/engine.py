"""Running a study: blocks of trials on all devices, saved as they finish, merged in order."""

import concurrent.futures
import queue
import signal
import threading
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
from jaxmlr.study.program import ORACLE, Values, limits, program
from jaxmlr.study.progress import TrialProgress
from jaxmlr.study.spec import Study
from jaxmlr.study.statistics import Summary
from jaxmlr.study.store import Store, versions


def run_block(study: Study, block: int, device: int = 0) -> Values:
    """Metrics of one block of trials: a pure function of the study and the block's index.

    Args:
      study: the study.
      block: index of the block, from 0.
      device: index into `jax.local_devices()`; it does not change the numbers.

    Returns:
      estimator -> metric -> (points, records, trials), NaN behind the study's last trial; `finite` is 1
      where the estimate is.
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
      KeyboardInterrupt: on Ctrl-C, once the blocks under way are saved.
    """
    began = time.perf_counter()
    store = None if out is None else Store(study, Path(out))
    missing = list(range(study.blocks)) if store is None else store.missing()
    if store is not None and not missing and (finished := store.published()) is not None:
        return finished
    merger = _Merger(study, store, set(missing))
    there = study.trials - sum(_trials(study, block) for block in missing)
    compile_seconds = compute_seconds = 0.0
    with (
        concurrent.futures.ThreadPoolExecutor(1) as beside,
        TrialProgress(study.name, study.trials, there, show=progress) as shown,
    ):
        bounds = beside.submit(limits, study, jax.local_devices()[0])
        if missing:
            with _placement(study, executor, len(missing)) as (submit, compile_seconds):
                shown.start()
                clock = time.perf_counter()
                for block, found in _finished({submit(block): block for block in missing}):
                    if store is not None:
                        store.save(block, found)
                    merger.add(block, found)
                    shown.advance(_trials(study, block))
                compute_seconds = time.perf_counter() - clock
    merged, diverged = merger.finish()
    steps_run = sum(_trials(study, block) for block in missing) * _observations(study)
    attributes = versions(study) | {
        "devices": len(jax.local_devices()),
        "compile_seconds": round(compile_seconds, 3),
        "compute_seconds": round(compute_seconds, 3),
        "wall_seconds": round(time.perf_counter() - began, 3),
        "trial_steps_per_second": round(steps_run / compute_seconds) if compute_seconds else 0,
    }
    oracle = merged.pop(ORACLE, {})
    dataset = results.dataset(study, merged, diverged, oracle, bounds.result(), attributes)
    if store is not None:
        store.publish(dataset)
    return dataset


def _finished(futures: "dict[Future[Values], int]") -> Iterator[tuple[int, Values]]:
    """Values as they finish; an interrupt waits for those under way and drops those not begun."""
    with _interrupt_noted() as interrupted:
        try:
            while futures:
                first = concurrent.futures.FIRST_COMPLETED
                done, _ = concurrent.futures.wait(futures, timeout=0.2, return_when=first)
                # A block that failed comes last, so that those finished beside it are not lost.
                for future in sorted(done, key=lambda future: future.exception() is not None):
                    yield futures.pop(future), future.result()
                if interrupted.is_set():
                    futures = {future: block for future, block in futures.items() if not future.cancel()}
        finally:
            for future in futures:
                future.cancel()
    if interrupted.is_set():
        raise KeyboardInterrupt


@contextmanager
def _interrupt_noted() -> Iterator[threading.Event]:
    """Ctrl-C sets the event, once; a second one interrupts as ever."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: Any) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


class _Merger:
    """Values together, in the order of their index whatever the order in which they finish."""

    def __init__(self, study: Study, store: Store | None, missing: set[int]):
        self._study, self._store, self._missing = study, store, missing
        self._early: dict[int, Values] = {}
        self._next = 0
        self._merged: dict[str, dict[str, Summary]] = {}
        self._diverged: dict[str, Any] = {}

    def add(self, block: int, found: Values) -> None:
        """Take a computed block; it waits until those before it are there."""
        self._early[block] = found
        self._advance()

    def finish(self) -> tuple[dict[str, dict[str, Summary]], dict[str, np.ndarray]]:
        """Statistics over all blocks, and the number of diverged trials."""
        self._advance()
        return self._merged, self._diverged

    def _advance(self) -> None:
        while self._next < self._study.blocks:
            if self._next in self._early:
                self._merge(self._early.pop(self._next))
            elif self._store is not None and self._next not in self._missing:
                self._merge(self._store.load(self._next))
            else:
                return
            self._next += 1

    def _merge(self, found: Values) -> None:
        for name, table in found.items():
            here = self._merged.setdefault(name, {})
            lost = table["finite"] == 0
            self._diverged[name] = self._diverged.get(name, 0) + np.sum(lost, axis=-1)
            for metric in table.keys() - {"finite"}:
                summary = statistics.summarise(np.where(lost, np.nan, table[metric]))
                here[metric] = statistics.merge(here[metric], summary) if metric in here else summary


def _trials(study: Study, block: int) -> int:
    return min(study.block_size, study.trials - block * study.block_size)


def _observations(study: Study) -> int:
    """Observations that the methods take in, in one trial at all grid points."""
    points = int(np.prod([len(values) for values in study.grid.values()]))
    fitted = sum(sum(study.make_batch(name).steps) for name in study.batch)
    return points * (len(study.recursive) * int(study.recorded[-1]) + fitted)


@contextmanager
def _placement(
    study: Study, executor: Executor | None, blocks: int
) -> Iterator[tuple[Callable[[int], "Future[Values]"], float]]:
    """A function that submits a block, and the seconds that compilation took."""
    if executor is not None:
        yield (lambda block: executor.submit(run_block, study, block)), 0.0
        return
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    devices = range(min(len(jax.local_devices()), blocks))
    for device in devices:
        free.put(device)

    def on_free_device(block: int) -> Values:
        device = free.get()
        try:
            return run_block(study, block, device)
        finally:
            free.put(device)

    with concurrent.futures.ThreadPoolExecutor(len(devices)) as threads:
        began = time.perf_counter()
        list(threads.map(lambda device: program(study, jax.local_devices()[device]), devices))
        yield (lambda block: threads.submit(on_free_device, block)), time.perf_counter() - began
