"""What a signal does to a command that saves as it goes."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxmlr.fitting.terminal import say


@contextlib.contextmanager
def leaving_at_once(out: Path) -> Iterator[None]:
    """A signal that nothing else takes ends the process; what is saved stays, and its claims are void."""
    from jaxmlr.study.run.blocks import SIGNALS

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: Any) -> None:
        say(f"jaxmlr: left at once; finished blocks are saved; run again to go on in {out}", file=sys.stderr)
        os._exit(128 + number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in taken:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
