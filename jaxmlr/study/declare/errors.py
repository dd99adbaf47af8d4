"""What is wrong with a study, and where: an error knows the keys of the value that it is about."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jaxmlr._xla.jit import Reached

Path = tuple[str | int, ...]  # keys of nested tables, and places in lists


class StudyError(ValueError):
    """A study that cannot be run as it is declared.

    Attributes:
      path: the keys that lead to what is wrong: `("estimators", "em, C = 3", "tolerance")`; places in lists
        are integers. Empty where it is the study as a whole.
      reason: a sentence that names the value, what it was and what it must be.
      where: the file and line of the key, where the study comes from a file that has it.
    """

    def __init__(self, path: Path, reason: str, where: str = ""):
        super().__init__(path, reason, where)
        self.path, self.reason, self.where = path, reason, where

    def __str__(self) -> str:
        return f"{self.reason} ({self.where})" if self.where else self.reason


def dotted(path: Path) -> str:
    """A path as it is written in messages: `problem.p`."""
    return ".".join(map(str, path)) or "study"


@contextmanager
def blamed_on(path: Path, prefix: str = "") -> Iterator[None]:
    """Turn a ValueError or TypeError into a StudyError at `path`, its first line behind `prefix`."""
    try:
        yield
    except StudyError:
        raise
    except (ValueError, TypeError) as error:
        raise StudyError(path, prefix + str(error).partition("\n")[0]) from error


def check_key(path: Path, key: Any, keys: Iterable[str]) -> None:
    """Raise StudyError unless the table at `path` may have `key`; the message suggests the nearest name."""
    _check_known(path, (*path, key), key, keys)


def check_choice(path: Path, value: Any, choices: Iterable[str]) -> None:
    """Raise StudyError unless the value at `path` is one of the choices; the message suggests the nearest."""
    _check_known(path, path, value, choices)


def _check_known(named: Path, blamed: Path, name: Any, names: Iterable[str]) -> None:
    names = sorted(names)
    if name in names:
        return
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"it must be one of {', '.join(names)}"
    raise StudyError(blamed, f"{dotted(named)}: unknown name {str(name)!r}; {hint}")


def narrowed(path: Path, table: Mapping[str, Any], check: Callable[[Mapping[str, Any]], Any]) -> Any:
    """`check(table)`, whose errors about the table as a whole are put down to the key that causes them.

    That is the first key without which there is no error, or else the first without which it is another; of
    these one that the error names comes before.
    """
    try:
        return check(table)
    except StudyError as error:
        if error.path != path:
            raise
        reasons = {key: _reason({k: v for k, v in table.items() if k != key}, check) for key in table}
        cures = [key for key, reason in reasons.items() if reason is None]
        changes = [key for key, reason in reasons.items() if reason != error.reason]
        named = [key for key in changes if str(key) in error.reason]
        for key in (*cures, *named, *changes):
            raise StudyError((*path, key), error.reason) from error
        raise


def _reason(table: Mapping[str, Any], check: Callable[[Mapping[str, Any]], Any]) -> str | None:
    try:
        check(table)
    except ValueError as error:
        return str(error)
    except Reached:
        return None
    return None
