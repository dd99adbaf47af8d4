"""Numbers and choices inside nested tables and dataclasses: found, replaced, checked, made plain."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import jax
import numpy as np

from jaxmlr.study.declare.errors import Path, StudyError, check_key, dotted


def from_table(path: Path, kind: type, table: Mapping[str, Any]) -> Any:
    """A dataclass from a table with the names of its fields.

    Raises:
      StudyError: a name is unknown or missing.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in table:
        check_key(path, key, fields)
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in table:
            raise StudyError(path, f"{dotted((*path, name))} is missing")
    return kind(**table)


def beside(table: Mapping[str, Any], folder: FilePath) -> Mapping[str, Any]:
    """A study's table with a recording's file as it is found from anywhere, not from `folder` alone."""
    problem = table.get("problem")
    process = problem.get("process") if isinstance(problem, Mapping) else None
    if not isinstance(process, Mapping) or not isinstance(process.get("file"), str):
        return table
    file = str((folder / process["file"]).resolve())
    return {**table, "problem": {**problem, "process": {**process, "file": file}}} if problem else table


def with_field(node: Any, **changes: Any) -> Any:
    """A copy of a frozen dataclass with other values, which are not checked: they may be traced."""
    changed = copy.copy(node)
    for name, value in changes.items():
        object.__setattr__(changed, name, value)
    return changed


def replaced(node: Any, keys: Sequence[str], value: Any, path: str, *, existing: bool = False) -> Any:
    """`node` with the leaf at `keys` replaced; only options of methods and processes may be new.

    Args:
      node: nested tables and dataclasses.
      keys: the parts of `path` between its dots; a key of a table may have dots itself.
      value: what stands there from now on; it is not checked.
      path: what messages call the leaf.
      existing: refuse to put one kind of value in the place of another, as an axis of a grid must not.

    Raises:
      StudyError: there is no such leaf.
    """
    if not keys:
        if existing:
            _check_leaf(path, node, value)
        return value
    head, *rest = keys
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        check_key((path,), head, [field.name for field in dataclasses.fields(node)])
        changed = replaced(getattr(node, head), rest, value, path, existing=existing)
        return with_field(node, **{head: changed})
    if not isinstance(node, Mapping):
        raise StudyError((path,), f"{path}: there is nothing called {head!r} inside a value")
    for k in range(len(keys), 0, -1):
        if ".".join(keys[:k]) in node:
            head, rest = ".".join(keys[:k]), list(keys[k:])
            break
    if rest and head not in node:
        check_key((path,), head, node)
    return {**node, head: replaced(node.get(head), rest, value, path, existing=existing)}


def _check_leaf(path: str, node: Any, value: Any) -> None:
    """Raise StudyError unless a value of an axis may stand where `node` stood."""
    if path.endswith(".method"):
        raise StudyError((path,), f"{path} is not a number")
    if isinstance(value, str) and (
        isinstance(node, str) or (node is None and path.startswith("estimators."))
    ):
        return
    if isinstance(value, bool) and (isinstance(node, bool) or node is None):
        return
    if isinstance(value, Mapping) and isinstance(node, Mapping) and path != "problem":
        return
    wanted_kind = "a table" if isinstance(node, Mapping) and path.count(".") else "a number"
    whole = dataclasses.is_dataclass(node) or isinstance(node, Mapping | Sequence)
    if whole and not isinstance(node, str):
        raise StudyError((path,), f"{path} is not {wanted_kind}")
    check_numbers((path,), value, scalar=True)


def check_numbers(path: Path, value: Any, *, scalar: bool = False) -> None:
    """Raise StudyError unless `value` is made of numbers, or is one."""
    if isinstance(value, jax.core.Tracer):
        return
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "fiu" or (scalar and array.ndim):
        raise StudyError(path, f"{dotted(path)} must be {'a number' if scalar else 'numbers'}, not {value!r}")


def name_of(value: Any) -> Any:
    """A function as "module:name"; anything else as it is."""
    if not callable(value):
        return value
    return f"{value.__module__}:{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value)


def plain_or_same(value: Any) -> Any:
    """Arrays inside tables and lists as lists, all else as it is."""
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(value).tolist()
    if isinstance(value, Mapping):
        return {key: plain_or_same(x) for key, x in value.items()}
    return type(value)(map(plain_or_same, value)) if type(value) in (list, tuple) else value


def plain(value: Any) -> Any:
    """What JSON cannot write, as what it can."""
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(value).tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if callable(value):
        return name_of(value)
    raise TypeError(f"a study cannot hold {value!r}")
