"""Running a study: blocks of trials on all devices, saved as they finish, merged in order."""

import concurrent.futures
import contextlib
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr

from jaxmlr.fitting.terminal import say
from jaxmlr.study.compute.limits import limits
from jaxmlr.study.compute.plan import Chosen
from jaxmlr.study.compute.program import ORACLE
from jaxmlr.study.declare.spec import Study
from jaxmlr.study.run import files, manifest
from jaxmlr.study.run.blocks import POLL_SECONDS, Blocks
from jaxmlr.study.run.claims import STALE_SECONDS, Claims
from jaxmlr.study.run.coverage import units
from jaxmlr.study.run.merge import Merger
from jaxmlr.study.run.parts import parts
from jaxmlr.study.run.placement import Calls, check_executor, placement
from jaxmlr.study.run.progress import TrialProgress
from jaxmlr.study.run.published import clear, publish, published
from jaxmlr.study.run.store import Store
from jaxmlr.study.run.summary import summary


class Update(NamedTuple):
    """How far a run has come, for its callback.

    Fields:
      trials: how many are in the statistics so far.
      of: how many there are to be, at most.
      results: a function that returns the dataset of the trials so far.
    """

    trials: int
    of: int
    results: Callable[[], xr.Dataset]


def run_study(
    study: Study,
    out: str | Path | None = None,
    *,
    share: str | Path | None = None,
    executor: Executor | None = None,
    progress: bool = True,
    callback: Callable[[Update], object] | None = None,
) -> xr.Dataset:
    """Run a study and return its statistics.

    Args:
      study: what to run.
      out: a folder for blocks and results; what is there already is not computed again. A study may have
        grown or shrunk since it was here last: in trials, methods, grid points, and in what is made of them.
      share: the folder of another study; blocks that it has of this one's methods and points are copied from
        it and not computed. They are the same where problem, options, seed, steps, metrics, recorded steps,
        the paths of numeric axes, versions and device are.
      executor: where blocks are computed, any `concurrent.futures.Executor`; None takes one thread for
        each local device. Processes must be spawned, not forked.
      progress: whether to show progress on standard error.
      callback: called with an `Update` whenever a block has entered the statistics. If it returns True the
        run stops: the dataset of the trials so far is returned, with `attrs["unfinished"]` 1, and saved
        blocks stay to go on with.

    Returns:
      A dataset with dims (estimator, *grid axes, step); see `jaxmlr.study.results.dataset`.

    Raises:
      ValueError: `out` cannot be written, or holds another study; `share` is given without it; the executor
        forks.
      OSError: `share` holds no study.
      KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP, once the blocks under way are saved.
    """
    began = time.perf_counter()
    check_executor(executor)
    if share is not None:
        if out is None:
            raise ValueError("share: there is no folder to copy blocks to; give out")
        manifest.read(Path(share))  # or an error before out is made
    if out is None:
        store, whole = None, parts(study, {}, {})
        missing = units(whole, {}, study.trials, study.block_size)
    else:
        store = Store(study, Path(out))
        if store.change:
            say(f"{out}: {store.change}", file=sys.stderr)
        if share is not None:
            store.share(Path(share))
        whole, missing = store.parts, store.missing()
        finished = published(store.folder)
        current = finished is not None and finished.attrs.get("fingerprint") == store.fingerprint
        if finished is not None and current and (not missing or study.until):
            _tidy(store)
            return finished
    of_group = {unit.group: unit.parts for unit in missing}
    work = {group: whole.chosen(set(members)) for group, members in of_group.items()}
    merger = Merger(study, whole, store, missing, study.block_size)
    steps_run = 0
    compile_seconds = compute_seconds = 0.0
    every = {part for listed in whole.saved.values() for part in listed}
    fraction = {group: len(members) / len(every) for group, members in of_group.items()}
    there = study.trials - sum(unit.trials * fraction[unit.group] for unit in missing)
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(TrialProgress(study.name, study.trials, there, show=progress))
        claims = None if store is None else stack.enter_context(Claims(store.blocks))
        beside = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        needed = bool(missing) and not merger.settled
        calls = Calls(study, whole, work)
        placed = stack.enter_context(placement(calls, executor, len(missing))) if needed else None
        seen, stopped = merger.trials, False
        about = {
            **manifest.environment(),
            "fingerprint": study.fingerprint(),
            "block": study.block_size,
        }
        clock = time.perf_counter()
        theory = _Theory(study, store, beside)
        if placed is not None:
            submit, window, ready = placed
            if executor is None:  # or the seconds of computation would hold some of compilation
                ready()
                theory.compiled()  # if it failed, theory says so behind the blocks
                compile_seconds = time.perf_counter() - clock
            shown.start()
            clock = time.perf_counter()
            blocks = stack.enter_context(
                contextlib.closing(Blocks(missing, submit, window, store, claims, shown).run())
            )
            for unit, values in blocks:
                if values is not None:
                    values = jax.tree.map(lambda x, n=unit.trials: x[..., :n], values)
                    steps_run += unit.trials * _observations(study, work[unit.group])
                    if store is not None and claims is not None:
                        store.save(unit, values)
                        claims.release(unit.name)
                elif store is not None:
                    store.note(unit)
                merger.add(unit, values)
                shown.advance(unit.trials * fraction[unit.group], merger.worst, merger.lost)
                update = Update(
                    merger.trials,
                    study.trials,
                    lambda: summary(study, merger, theory.values(), {**about, "unfinished": 1}),
                )
                grown, seen = merger.trials > seen, merger.trials
                stopped = callback is not None and grown and callback(update) is True
                if merger.settled or stopped:
                    break
            compute_seconds = time.perf_counter() - clock
        attributes = {
            **about,
            "devices": len(jax.local_devices()),
            "executor": "threads" if executor is None else type(executor).__name__,
            "compile_seconds": round(compile_seconds, 3),
            "compute_seconds": round(compute_seconds, 3),
            "wall_seconds": round(time.perf_counter() - began, 3),
            "trial_steps_per_second": round(steps_run / compute_seconds) if compute_seconds else 0,
        }
        if stopped and merger.trials < study.trials:
            return summary(study, merger, theory.values(), {**attributes, "unfinished": 1})
        results = summary(study, merger, theory.values(), attributes)
        if store is None or claims is None:
            return results
        while not claims.take("results"):
            shown.wait(f"the results, which {claims.holder('results')} writes")
            time.sleep(POLL_SECONDS)
        if manifest.read(store.folder)["fingerprint"] == store.fingerprint:
            publish(store.folder, results)
        else:
            say(f"{out} has been given another form of the study; the results stay unsaved", file=sys.stderr)
        claims.sweep(store.has)
    return results


class _Theory:
    """The limits of a study's metrics, computed beside its blocks, or read where they are saved."""

    def __init__(self, study: Study, store: Store | None, beside: Executor):
        self._store = store
        self._saved = None if store is None else store.limits()
        if self._saved is None:
            self._program = beside.submit(limits, study, jax.local_devices()[0])
            self._values = beside.submit(self._compute)

    def _compute(self) -> dict[str, np.ndarray]:
        values = self._program.result()()
        if self._store is not None:
            self._store.save_limits(values)
        return values

    def compiled(self) -> None:
        """Wait until the program is compiled, or has failed."""
        if self._saved is None:
            concurrent.futures.wait([self._program])

    def values(self) -> dict[str, np.ndarray]:
        """The limits: metric -> (problems, records)."""
        return self._values.result() if self._saved is None else self._saved


def _observations(study: Study, chosen: Chosen) -> int:
    """Observations that methods take in, in one trial, at all points that differ for them."""
    last, batch = int(study.recorded[-1]), study.batch
    return sum(
        len(rows) * (sum(study.make_batch(name).steps) if name in batch else last)
        for name, rows in chosen.items()
        if name != ORACLE
    )


def _tidy(store: Store) -> None:
    """Remove what killed processes have left in a finished folder."""
    files.sweep(store.folder, STALE_SECONDS)
    left = [*store.blocks.glob("*.claim"), *store.folder.glob("results.*.tmp")]
    if left:
        with Claims(store.blocks) as claims:
            claims.sweep(store.has)
            if claims.take("results"):
                clear(store.folder)
