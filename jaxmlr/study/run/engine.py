"""Running a study: blocks of trials on all devices, saved as they finish, merged in order."""

import concurrent.futures
import contextlib
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from jaxmlr.study.compute.plan import Plan, plan
from jaxmlr.study.compute.program import ORACLE, Values, limits, program
from jaxmlr.study.declare.spec import Study
from jaxmlr.study.results import dataset
from jaxmlr.study.run.claims import Claims
from jaxmlr.study.run.merge import Merger
from jaxmlr.study.run.progress import TrialProgress
from jaxmlr.study.run.store import Store, versions

WINDOW = 64  # blocks given to an executor at a time; more where it has more workers
POLL_SECONDS = 0.2


def run_block(study: Study, block: int, device: int = 0) -> Values:
    """Metrics of one block of trials: a pure function of the study and the block's index.

    Args:
      study: the study.
      block: index of the block, from 0.
      device: index into `jax.local_devices()`; it does not change the numbers.

    Returns:
      estimator -> metric -> (rows, records, trials), NaN behind the study's last trial; `finite` is 1
      where the estimate is. A method's rows are the grid points that differ for it.
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
    if store is not None and (not missing or study.until) and (finished := store.published()) is not None:
        return finished
    layout = plan(study)
    merger = Merger(study, layout, store, set(range(study.blocks)) - set(missing))
    computed = 0
    compile_seconds = compute_seconds = 0.0
    there = study.trials - sum(_trials(study, block) for block in missing)
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(TrialProgress(study.name, study.trials, there, show=progress))
        claims = None if store is None else stack.enter_context(Claims(store.blocks))
        beside = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        needed = bool(missing) and not merger.settled
        placed = stack.enter_context(_placement(study, executor, len(missing))) if needed else None
        clock = time.perf_counter()
        limits_program = beside.submit(limits, study, jax.local_devices()[0])
        theory = beside.submit(lambda: limits_program.result()())
        if placed is not None:
            submit, window, ready = placed
            if executor is None:  # or the seconds of computation would hold some of compilation
                ready()
                concurrent.futures.wait([limits_program])  # if it failed, theory says so behind the blocks
                compile_seconds = time.perf_counter() - clock
            shown.start()
            clock = time.perf_counter()
            blocks = stack.enter_context(
                contextlib.closing(_Blocks(missing, submit, window, store, claims, shown).run())
            )
            for block, found in blocks:
                if found is not None:
                    computed += _trials(study, block)
                    if store is not None and claims is not None:
                        store.save(block, found)
                        claims.release(block)
                merger.add(block, found)
                shown.advance(_trials(study, block), merger.worst, merger.lost)
                if merger.settled:
                    break
            compute_seconds = time.perf_counter() - clock
        steps_run = computed * _observations(study, layout)
        attributes = versions(study) | {
            "devices": len(jax.local_devices()),
            "executor": "threads" if executor is None else type(executor).__name__,
            "trials": merger.trials,
            "compile_seconds": round(compile_seconds, 3),
            "compute_seconds": round(compute_seconds, 3),
            "wall_seconds": round(time.perf_counter() - began, 3),
            "trial_steps_per_second": round(steps_run / compute_seconds) if compute_seconds else 0,
        }
        dataset = _dataset(study, layout, merger, theory.result(), attributes)
        if store is None or claims is None:
            return dataset
        while not claims.take("results"):
            shown.wait(f"the results, which {claims.holder('results')} writes")
            time.sleep(POLL_SECONDS)
        store.publish(dataset)
        claims.sweep(lambda what: what.isdigit() and store.has(int(what)))
    return dataset


def _dataset(
    study: Study, layout: Plan, merger: Merger, limits: dict[str, Any], attributes: dict[str, Any]
) -> xr.Dataset:
    summaries = dict(merger.totals.summaries)
    oracle = summaries.pop(ORACLE, {})
    compared = merger.totals.differences
    return dataset.dataset(
        study,
        summaries,
        merger.totals.diverged,
        oracle,
        limits,
        attributes,
        rows=layout.rows,
        problem_rows=layout.problem_rows,
        differences={name: (table, merger.pairs(name)[1]) for name, table in compared.items()},
        kept=merger.totals.kept,
    )


class _Blocks:
    """Blocks as they finish, here or in other processes that work in the same folder."""

    def __init__(
        self,
        missing: Sequence[int],
        submit: "Callable[[int], Future[Values]]",
        window: int,
        store: Store | None,
        claims: Claims | None,
        shown: TrialProgress,
    ):
        self._shown = shown
        self._waiting, self._total = deque(missing), len(missing)
        self._submit, self._window = submit, window
        self._store, self._claims = store, claims
        self._running: dict[Future[Values], int] = {}

    def run(self) -> Generator[tuple[int, Values | None], None, None]:
        """Yield (block, values), and (block, None) for one that another process has saved.

        An interrupt waits for the blocks under way and begins no other.
        """
        finished = 0
        with _interrupt_noted() as interrupted:
            try:
                while self._running or (self._waiting and not interrupted.is_set()):
                    if interrupted.is_set():
                        self._running = {f: block for f, block in self._running.items() if not f.cancel()}
                    else:
                        for block in self._begin():
                            finished += 1
                            yield block, None
                    first = concurrent.futures.FIRST_COMPLETED
                    done, _ = concurrent.futures.wait(self._running, timeout=POLL_SECONDS, return_when=first)
                    if not self._running and self._waiting:  # the others are computing what is left
                        if self._claims is not None:
                            block = self._waiting[0]
                            self._shown.wait(f"block {block}, which {self._claims.holder(block)} computes")
                        time.sleep(POLL_SECONDS)
                    # A block that failed comes last, so that those finished beside it are not lost.
                    for future in sorted(done, key=lambda future: future.exception() is not None):
                        finished += 1
                        yield self._running.pop(future), future.result()
            finally:
                for future in self._running:
                    future.cancel()
        if interrupted.is_set() and finished < self._total:
            raise KeyboardInterrupt(f"{self._total - finished} blocks of this run are left")

    def _begin(self) -> Iterator[int]:
        """Submit as many blocks as the window has room for; yield those found to be saved already."""
        for _ in range(len(self._waiting)):
            if len(self._running) >= self._window:
                return
            block = self._waiting.popleft()
            if self._claims is not None and self._store is not None:
                if not self._store.has(block) and not self._claims.take(block):
                    self._waiting.append(block)
                    continue
                if self._store.has(block):
                    self._claims.release(block)
                    yield block
                    continue
            self._running[self._submit(block)] = block


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


def _trials(study: Study, block: int) -> int:
    return min(study.block_size, study.trials - block * study.block_size)


def _observations(study: Study, layout: Plan) -> int:
    """Observations that the methods take in, in one trial, at all points that differ for them."""
    last, batch = int(study.recorded[-1]), study.batch
    return sum(
        len(places) * (sum(study.make_batch(name).steps) if name in batch else last)
        for name, places in layout.places.items()
    )


@contextmanager
def _placement(
    study: Study, executor: Executor | None, blocks: int
) -> Iterator[tuple[Callable[[int], "Future[Values]"], int, Callable[[], None]]]:
    """A function that submits a block, how many to have under way, and one that waits for compilation."""
    if executor is not None:
        window = max(WINDOW, 2 * getattr(executor, "_max_workers", 0))
        yield (lambda block: executor.submit(run_block, study, block)), window, lambda: None
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
        programs = [threads.submit(program, study, jax.local_devices()[device]) for device in devices]

        def ready() -> None:
            for each in programs:
                each.result()

        yield (lambda block: threads.submit(on_free_device, block)), 2 * len(devices), ready
