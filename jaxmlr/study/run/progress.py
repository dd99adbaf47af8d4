"""How far a study has come: a bar in a terminal, plain lines elsewhere, nothing when silent."""

import math
import sys
import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jaxmlr.fitting.terminal import Terminal, printable, say
from jaxmlr.study.run.claims import STALE_SECONDS

_SECONDS_BETWEEN_LINES = 5.0


class TrialProgress:
    """Counts finished trials; use as a context manager and call `advance` after every block."""

    def __init__(self, name: str, trials: int, done: float, *, show: bool):
        self._name, self._trials, self._done, self._show = printable(name), trials, done, show
        self._computed = 0.0
        self._began = self._said = time.perf_counter()
        self._waited = -math.inf
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        """Start the bar."""
        console = Terminal(stderr=True)
        if self._show and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("trials  {task.fields[rate]}  left"),
                TimeRemainingColumn(),
                console=console,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self._name, total=self._trials, completed=round(self._done), rate="compiling"
            )
        elif self._show:
            self._line(f"{self._name}: {round(self._done)} of {self._trials} trials are there, compiling")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the bar."""
        if self._bar:
            self._bar.stop()

    def start(self) -> None:
        """Compilation is over: the clock of the rate starts."""
        self._began = time.perf_counter()

    def advance(self, trials: float, worst_error: float = math.nan, diverged: int = 0) -> None:
        """So many more trials are finished.

        Args:
          trials: how many; a part of the methods counts as part of them.
          worst_error: the largest standard error so far; NaN is not shown.
          diverged: estimates that are not finite so far.
        """
        self._done += trials
        self._computed += trials
        now = time.perf_counter()
        rate = self._computed / max(now - self._began, 1e-9)
        note = f"standard error <= {worst_error:.2g}, " if math.isfinite(worst_error) else ""
        note += f"{diverged:,} diverged, " if diverged else ""
        if self._bar:
            self._bar.update(self._task, completed=round(self._done), rate=f"{note}{rate:,.0f}/s")
        elif self._show and (now - self._said > _SECONDS_BETWEEN_LINES or round(self._done) == self._trials):
            self._said = now
            left = (self._trials - self._done) / rate
            there = f"{round(self._done)} of {self._trials} trials"
            self._line(f"{self._name}: {there}, {note}{rate:,.1f}/s, {left:.0f} s left")

    def wait(self, what: str) -> None:
        """Say, now and then, what another process has to finish first."""
        now = time.perf_counter()
        if self._show and now - self._waited > _SECONDS_BETWEEN_LINES:
            self._waited = now
            lease = f"taken over once it gives no sign for {STALE_SECONDS:.0f} s"
            self._line(f"{self._name}: waiting for {what}; {lease}")

    @staticmethod
    def _line(text: str) -> None:
        say(text, file=sys.stderr)
