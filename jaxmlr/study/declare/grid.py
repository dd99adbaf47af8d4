"""The grid of a study: which numbers and choices vary, and how they combine.

    "problem.p" = [0.6, 0.75]                           a list of numbers, texts, booleans or tables
    "problem.p" = { linspace = [0.5, 0.9, 9] }          evenly spaced, ends included
    "problem.p" = { logspace = [0.1, 10.0, 5] }         evenly spaced in the logarithm, ends included
    zip = { "problem.p" = [...], "problem.noise_variance" = [...] }    together; or a list of such tables

The entries of one grid are combined all with all. A list of grids (`[[grid]]` in TOML) is their union.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlr.study.declare.errors import Path, StudyError

ZIP, UNION = "zip", "point"
MOST_POINTS = 10**6


class Axis(NamedTuple):
    """One dimension of the results."""

    name: str
    columns: dict[str, list[Any]]  # path -> values, as many for every path

    def __len__(self) -> int:
        """How many positions it has."""
        return len(next(iter(self.columns.values())))


def paths(grid: Any) -> Iterator[tuple[str, Any, Path]]:
    """Every path of a grid, what is declared for it, and where in the study that stands.

    Raises:
      StudyError: the grid is not made of tables.
    """
    for place, part in _each(("grid",), grid):
        if not isinstance(part, Mapping):
            raise StudyError(place, f"grid must be a table, or a list of tables, not {part!r}")
        for key, declared in part.items():
            if key != ZIP:
                yield key, declared, (*place, key)
                continue
            for inner, group in _each((*place, ZIP), declared):
                if not isinstance(group, Mapping) or not group or ZIP in group:
                    reason = f"grid.zip must be a table of lists, or a list of tables, not {group!r}"
                    raise StudyError(inner, reason)
                for path, column in group.items():
                    yield path, column, (*inner, path)


def _each(place: Path, node: Any) -> Iterator[tuple[Path, Any]]:
    """A table, or the tables of a list, with where they stand."""
    if isinstance(node, list | tuple):
        yield from (((*place, k), part) for k, part in enumerate(node))
    else:
        yield place, node


def values(path: str, declared: Any) -> list[Any]:
    """The values that are declared for a path.

    Raises:
      ValueError: they are neither a list nor a range.
    """
    if isinstance(declared, Mapping):
        return _range(path, declared)
    if not isinstance(declared, Sequence) or isinstance(declared, str) or not len(declared):
        raise ValueError(
            f"grid: {path} must be a list of numbers, or of choices, or a range such as"
            f" {{ linspace = [0.0, 1.0, 5] }}, not {declared!r}"
        )
    return list(declared)


def _range(path: str, declared: Mapping[str, Any]) -> list[float]:
    (kind, ends), *more = list(declared.items()) or [("", [])]
    numbers = isinstance(ends, list | tuple) and all(
        isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end) for end in ends
    )
    if more or kind not in ("linspace", "logspace") or not numbers or len(ends) != 3:
        raise ValueError(
            f"grid: {path} must be a list, or {{ linspace = [first, last, count] }},"
            f" or {{ logspace = [first, last, count] }}, not {dict(declared)!r}"
        )
    first, last, count = ends
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"grid: {path}: the count must be a whole number of at least 1, not {count!r}")
    if count > MOST_POINTS:
        raise ValueError(f"grid: {path}: the count must be at most {MOST_POINTS:,}, not {count:,}")
    if kind == "logspace" and (first <= 0 or last <= 0):
        raise ValueError(f"grid: {path}: both ends of logspace must be greater than 0, not {first}, {last}")
    spaced = np.linspace(first, last, count) if kind == "linspace" else np.geomspace(first, last, count)
    return spaced.tolist()


def axes(grid: Any) -> list[Axis]:
    """The dimensions of a grid.

    A path that stands alone names its dimension; a `zip` has the name of its first path; the union of
    several grids is one dimension, `point`.

    Raises:
      ValueError: lists of a `zip` differ in length, a path occurs twice, or the grids of a union have
        different paths.
    """
    if not isinstance(grid, list | tuple):
        return _product(grid)
    parts = [points(_product(part)) for part in grid]
    wanted = {path for part in parts for path in part}
    for part in parts:
        for path in sorted(wanted - set(part)):
            reason = f"grid: every grid of a list must have the same paths; one lacks {path}"
            raise StudyError(("grid",), reason)
    merged: dict[tuple[Any, ...], None] = {}
    order = list(parts[0]) if parts else []
    for part in parts:
        merged |= dict.fromkeys(zip(*(map(_frozen, part[path]) for path in order), strict=True))
    thawed = {_frozen(value): value for part in parts for path in order for value in part[path]}
    return [Axis(UNION, {path: [thawed[row[k]] for row in merged] for k, path in enumerate(order)})]


def _product(grid: Mapping[str, Any]) -> list[Axis]:
    product = []
    for key, declared in grid.items():
        groups = declared if key == ZIP and isinstance(declared, list | tuple) else [declared]
        for group in groups:
            columns = {
                path: values(path, listed) for path, listed in (group if key == ZIP else {key: group}).items()
            }
            lengths = {path: len(column) for path, column in columns.items()}
            if len({*lengths.values()}) > 1:
                said = ", ".join(f"{path} has {length}" for path, length in lengths.items())
                raise StudyError(("grid", ZIP), f"grid.zip: lists must be of one length; {said}")
            product.append(Axis(next(iter(columns)), columns))
    seen: set[str] = set()
    for axis in product:
        for path in axis.columns:
            if path in seen:
                raise StudyError(("grid", path), f"grid: {path} must not occur twice")
            seen.add(path)
    return product


def points(axes: Sequence[Axis]) -> dict[str, list[Any]]:
    """All combinations of the axes' positions, the last axis fastest: path -> one value a point."""
    at = np.indices([len(axis) for axis in axes]).reshape(len(axes), math.prod(map(len, axes)))
    return {
        path: [column[k] for k in positions]
        for axis, positions in zip(axes, at, strict=True)
        for path, column in axis.columns.items()
    }


def label(value: Any) -> Any:
    """A value as a coordinate: numbers as they are, choices as texts."""
    if isinstance(value, Mapping):
        kind = value.get("kind", value.get("name"))
        options = ", ".join(f"{key}={label(x)}" for key, x in value.items() if x is not kind)
        return f"{kind}({options})" if kind and options else str(kind or options)
    return value if is_number(value) else str(value)


def representatives(values: Sequence[Any]) -> list[Any]:
    """Values that stand for a column where only their range and wholeness count: the ends of both kinds."""
    kinds: dict[tuple[type, Any], list[Any]] = {}
    for value in values:
        kind = value == int(value) if math.isfinite(value) else repr(value)
        kinds.setdefault((type(value), kind), []).append(value)
    return [end for column in kinds.values() for end in (min(column), max(column))]


def is_number(value: Any) -> bool:
    """Whether a value is a number rather than a choice."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def same(a: Any, b: Any) -> bool:
    """Whether two values name one place on an axis: numbers do to six digits, as they are printed."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)
    return bool(a == b)


def _frozen(value: Any) -> Any:
    return (str, str(value)) if isinstance(value, Mapping | list) else (type(value) is bool, value)


def distinct(columns: Mapping[str, Sequence[Any]], size: int) -> tuple[list[int], np.ndarray]:
    """Where each different row of columns stands first, and which of these every row is, (size,)."""
    rows = [tuple(_frozen(column[k]) for column in columns.values()) for k in range(size)]
    first: dict[Any, int] = {}
    for k, row in enumerate(rows):
        first.setdefault(row, k)
    number = {row: i for i, row in enumerate(first)}
    return list(first.values()), np.asarray([number[row] for row in rows], np.int64)
