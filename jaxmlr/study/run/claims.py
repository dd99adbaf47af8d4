"""Who computes what, when several processes work in one folder.

A claim is a file that only one process can create. Its owner touches it while it lives. It is void at once
where it cannot be read, or where its owner was a process of this host that is gone: another boot, a process
number without a process, or one that began at another time or lives another life. All other claims are void
once nobody has touched them for `STALE_SECONDS`, so that nobody waits longer. Two processes that void the
same claim at once may both do the work: they write the same bytes.
"""

import contextlib
import functools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from jaxmlr.study.run.files import create

STALE_SECONDS = 60.0  # the lease of a claim
_LIFE = uuid.uuid4().hex  # tells this process from an earlier one of its number


class Owner(NamedTuple):
    """What tells a process from all others, also from its own earlier lives."""

    host: str
    boot: str | None  # identity of the kernel's boot; None where the system has none
    pid: int
    started: str | None  # in clock ticks since the boot; None where the system does not say
    life: str


class Claims:
    """The claims that this process holds in a folder; a context manager that gives them back."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._held: set[Path] = set()
        self._seen: dict[Path, tuple[int, float]] = {}  # others': last touch, since when
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
            if create(path, json.dumps(_me()._asdict()).encode()):
                with self._lock:
                    self._held.add(path)
                return True
            if not self._void(path):
                return False
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                path.unlink()
        return False

    def release(self, what: object) -> None:
        """Give back a claim."""
        self._give_back(self._path(what))

    def holder(self, what: object) -> str:
        """Who holds a claim, as words."""
        owner = _owner(self._path(what))
        return f"process {owner.pid} on {owner.host!r}" if owner else "another process"

    def sweep(self, finished: Callable[[str], bool]) -> None:
        """Remove what killed processes left: claims of what is finished, and void ones."""
        for path in self._folder.glob("*.claim"):
            if finished(path.stem) or self._void(path):
                path.unlink(missing_ok=True)

    def _give_back(self, path: Path) -> None:
        with self._lock:
            self._held.discard(path)
        path.unlink(missing_ok=True)

    def _keep_alive(self) -> None:
        while not self._over.wait(STALE_SECONDS / 6):
            with self._lock:
                for path in self._held:
                    with contextlib.suppress(OSError):  # void while this process was asleep
                        os.utime(path)

    def _void(self, path: Path) -> bool:
        """Whether a claim's owner is gone."""
        try:
            touched, empty = path.stat().st_mtime_ns, not path.stat().st_size
        except FileNotFoundError:
            return True
        owner = _owner(path)
        if owner is None and not empty:  # an empty one may be another's that is being written
            return True
        if owner is not None and owner.host == socket.gethostname() and not _lives(owner):
            return True
        # The clock of the disk may be another one, or jump: what has not moved here for so long is void too.
        before, since = self._seen.get(path, (None, 0.0))
        if before != touched:
            since = time.monotonic()
            self._seen[path] = touched, since
        return max(time.time() - touched / 1e9, time.monotonic() - since) > STALE_SECONDS


def _owner(path: Path) -> Owner | None:
    """What a claim says; None where that is nothing."""
    try:
        said = json.loads(path.read_bytes())
        owner = Owner(**said)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts = (owner.host, owner.life, owner.boot or "", owner.started or "")
    number = type(owner.pid) is int and 0 < owner.pid < 2**31
    return owner if number and all(isinstance(text, str) for text in texts) else None


def _me() -> Owner:
    return Owner(socket.gethostname(), _boot(), os.getpid(), _started(os.getpid()), _LIFE)


def _lives(owner: Owner) -> bool:
    """Whether a process of this host is the one that it was."""
    me = _me()
    if owner.boot != me.boot:
        return False
    if owner.pid == me.pid:
        return owner.life == me.life
    started = _started(owner.pid)
    if started is not None:
        return started == owner.started
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return me.started is None  # or it is a zombie


@functools.cache
def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """When a process began; None where there is none, it is a zombie, or the system does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields: list[Any] = text.rpartition(")")[2].split()  # the name before may hold anything
    return None if fields[0] in ("Z", "X") else str(fields[19])
