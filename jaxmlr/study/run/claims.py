"""Who computes which block, when several processes work in one folder.

A claim is a file that only one process can create. Its owner touches it while it lives; a claim that nobody
has touched for `STALE_SECONDS`, or whose owner was a process of this machine that is gone, is void. Two
processes that void the same claim at once may both compute the block: they write the same bytes.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

STALE_SECONDS = 60.0


class Claims:
    """The claims that this process holds in a folder; a context manager that gives them back."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._held: set[Path] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._beat = threading.Thread(target=self._keep_alive, daemon=True)

    def __enter__(self) -> Self:
        """Start to keep claims alive."""
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back all claims."""
        self._over.set()
        self._beat.join()
        for path in list(self._held):
            self._give_back(path)

    def _path(self, what: object) -> Path:
        return self._folder / f"{what}.claim"

    def take(self, what: object) -> bool:
        """Claim something; False where another process that lives has it.

        Raises:
          OSError: the folder cannot be written.
        """
        path = self._path(what)
        for _ in range(2):
            try:
                with open(path, "x", encoding="utf-8") as file:
                    json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
            except FileExistsError:
                if not _void(path):
                    return False
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    path.unlink()
            else:
                with self._lock:
                    self._held.add(path)
                return True
        return False

    def release(self, what: object) -> None:
        """Give back a claim."""
        self._give_back(self._path(what))

    def sweep(self, finished: Callable[[int], bool]) -> None:
        """Remove what killed processes left: claims of blocks that are finished, and void ones."""
        for path in self._folder.glob("*.claim"):
            if (path.stem.isdigit() and finished(int(path.stem))) or _void(path):
                path.unlink(missing_ok=True)

    def _give_back(self, path: Path) -> None:
        with self._lock:
            self._held.discard(path)
        path.unlink(missing_ok=True)

    def _keep_alive(self) -> None:
        while not self._over.wait(STALE_SECONDS / 6):
            with self._lock:
                for path in self._held:
                    with contextlib.suppress(FileNotFoundError):  # void while this process was asleep
                        os.utime(path)


def _void(path: Path) -> bool:
    """Whether a claim's owner is gone."""
    try:
        age = time.time() - path.stat().st_mtime
        owner = json.loads(path.read_text(encoding="utf-8"))
        host, pid = owner["host"], int(owner["pid"])
    except FileNotFoundError:
        return True
    except (ValueError, KeyError, TypeError):
        return age > STALE_SECONDS  # not yet, or never, written to its end
    if host == socket.gethostname():
        if pid == os.getpid():
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it lives and is another user's
    return age > STALE_SECONDS
