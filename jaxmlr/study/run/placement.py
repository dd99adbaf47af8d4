"""Where blocks are computed: on a thread for each local device, or by any executor."""

import concurrent.futures
import queue
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import jax

from jaxmlr.study.compute.plan import Chosen
from jaxmlr.study.compute.program import Values, program
from jaxmlr.study.declare.spec import Study
from jaxmlr.study.run.coverage import Unit
from jaxmlr.study.run.parts import Parts

WINDOW = 64  # blocks given to an executor at a time; more where it has more workers


def run_block(study: Study, block: int | range, device: int = 0, chosen: Chosen | None = None) -> Values:
    """Metrics of one block of trials: a pure function of the study and the block.

    Args:
      study: the study.
      block: index of the block, from 0; or the range of its trials, at most as many as a block has.
      device: index into `jax.local_devices()`; it does not change the numbers.
      chosen: method -> which of its rows are computed; None computes all rows of all methods.

    Returns:
      estimator -> metric -> (rows, records, trials), NaN behind the study's last trial; `finite` is 1
      where the estimate is. A method's rows are the grid points that differ for it.
    """
    compute = program(study, jax.local_devices()[device], chosen)
    if isinstance(block, int):
        return compute(block * study.block_size)
    return jax.tree.map(lambda x: x[..., : len(block)], compute(block.start))


class Calls(NamedTuple):
    """The arguments of `run_block` for every unit."""

    study: Study
    parts: Parts
    work: Mapping[str, Chosen]  # group -> rows

    def chosen(self, group: str) -> Chosen | None:
        """The rows of a group; None where they are all."""
        rows = self.work[group]
        every = all(len(rows.get(name, ())) == len(listed) for name, listed in self.parts.saved.items())
        return None if every else rows

    def of(self, unit: Unit) -> tuple[int | range, Chosen | None]:
        """Which trials, by the index of their block where they are one, and which rows."""
        size, chosen = self.study.block_size, self.chosen(unit.group)
        block, off = divmod(unit.first, size)
        nominal = off == 0 and unit.stop == min(unit.first + size, self.study.trials)
        return (block if nominal and chosen is None else range(unit.first, unit.stop)), chosen


def check_executor(executor: Executor | None) -> None:
    """Raise ValueError where an executor would hang: JAX's threads do not survive a fork."""
    context = getattr(executor, "_mp_context", None)
    if isinstance(executor, ProcessPoolExecutor) and context and context.get_start_method() == "fork":
        raise ValueError(
            "executor must not fork, as JAX hangs in a forked process; use"
            ' ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))'
        )


@contextmanager
def placement(
    calls: Calls, executor: Executor | None, units: int
) -> Iterator[tuple[Callable[[Unit], "Future[Values]"], int, Callable[[], None]]]:
    """A function that submits a unit, how many to have under way, and one that waits for compilation."""
    study = calls.study
    if executor is not None:

        def there(unit: Unit) -> "Future[Values]":
            block, chosen = calls.of(unit)
            rest = () if chosen is None else (0, chosen)
            return executor.submit(run_block, study, block, *rest)

        yield there, max(WINDOW, 2 * getattr(executor, "_max_workers", 0)), lambda: None
        return
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    devices = range(min(len(jax.local_devices()), units))
    for device in devices:
        free.put(device)

    def on_free_device(unit: Unit) -> Values:
        device = free.get()
        try:
            block, chosen = calls.of(unit)
            return run_block(study, block, device, chosen)
        finally:
            free.put(device)

    with concurrent.futures.ThreadPoolExecutor(len(devices)) as threads:
        every = [calls.chosen(group) for group in calls.work]
        programs = [
            threads.submit(program, study, jax.local_devices()[device], chosen)
            for chosen in every
            for device in devices
        ]

        def ready() -> None:
            for each in programs:
                each.result()

        yield (lambda unit: threads.submit(on_free_device, unit)), 2 * len(devices), ready
