"""The blocks of a run as they finish, and what signals do to them."""

import concurrent.futures
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from jaxmlr.study.compute.program import Values
from jaxmlr.study.run.claims import Claims
from jaxmlr.study.run.coverage import Unit
from jaxmlr.study.run.progress import TrialProgress
from jaxmlr.study.run.store import Store

POLL_SECONDS = 0.2
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """A signal has ended a run whose finished blocks are saved.

    Attributes:
      signal: its number.
    """

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.signal = number


class Blocks:
    """Blocks as they finish, here or in other processes that work in the same folder."""

    def __init__(
        self,
        missing: Sequence[Unit],
        submit: "Callable[[Unit], Future[Values]]",
        window: int,
        store: Store | None,
        claims: Claims | None,
        shown: TrialProgress,
    ):
        self._shown = shown
        self._waiting, self._total = deque(missing), len(missing)
        self._submit, self._window = submit, window
        self._store, self._claims = store, claims
        self._running: dict[Future[Values], Unit] = {}

    def run(self) -> Generator[tuple[Unit, Values | None], None, None]:
        """Yield (unit, values), and (unit, None) for one that another process has saved.

        An interrupt waits for the blocks under way and begins no other.
        """
        finished = 0
        with _signals_noted() as signals:
            try:
                while self._running or (self._waiting and not signals):
                    if signals:
                        self._running = {f: unit for f, unit in self._running.items() if not f.cancel()}
                    else:
                        for unit in self._begin():
                            finished += 1
                            yield unit, None
                    first = concurrent.futures.FIRST_COMPLETED
                    done, _ = concurrent.futures.wait(self._running, timeout=POLL_SECONDS, return_when=first)
                    if not self._running and self._waiting:  # the others are computing what is left
                        if self._claims is not None:
                            name = self._waiting[0].name
                            self._shown.wait(f"block {name}, which {self._claims.holder(name)} computes")
                        time.sleep(POLL_SECONDS)
                    ordered = [future for future in self._running if future in done]
                    # A block that failed comes last, so that those finished beside it are not lost.
                    for future in sorted(ordered, key=lambda future: future.exception() is not None):
                        finished += 1
                        yield self._running.pop(future), future.result()
            finally:
                for future in self._running:
                    future.cancel()
        if signals and finished < self._total:
            raise Interrupted(f"{self._total - finished} blocks of this run are left", signals[0])

    def _begin(self) -> Iterator[Unit]:
        """Submit as many units as the window has room for; yield those found to be saved already."""
        for _ in range(len(self._waiting)):
            if len(self._running) >= self._window:
                return
            unit = self._waiting.popleft()
            if self._claims is not None and self._store is not None:
                if not self._store.has(unit.name) and not self._claims.take(unit.name):
                    self._waiting.append(unit)
                    continue
                if self._store.has(unit.name):
                    self._claims.release(unit.name)
                    yield unit
                    continue
            self._running[self._submit(unit)] = unit


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """A first signal is noted in the list; a second one does what it did before."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, _: Any) -> None:
        noted.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    before = {number: before[number] for number in taken}
    for number in taken:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
