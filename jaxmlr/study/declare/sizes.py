"""What no machine can hold is refused before anything is made of it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxmlr.study.declare.errors import StudyError

MOST = {
    "record": 100_000,  # steps at which statistics are kept
    "block": 10_000_000,  # trials computed together
    "coefficients": 10_000,  # regressors
    "grid": 100_000,  # points
    "values": 50_000_000,  # points x methods x recorded steps x metrics, each with a dozen statistics
}


def check(record: Any, block: Any, coefficients: Any, grid: Any, estimators: Any, metrics: Any) -> None:
    """Raise StudyError if a study is too large in any way that can be told from its declaration."""
    for name, value in (("record", record), ("block", block)):
        if _count(value) > MOST[name]:
            raise StudyError((name,), f"{name} must be at most {MOST[name]:,}, not {_count(value):,}")
    width = max((len(x) for x in _sequences(coefficients)), default=0)
    if width > MOST["coefficients"]:
        reason = f"problem.coefficients: at most {MOST['coefficients']:,} regressors, not {width:,}"
        raise StudyError(("problem", "coefficients"), reason)
    parts = grid if isinstance(grid, list | tuple) else [grid]
    points = sum(_points(part) for part in parts if isinstance(part, Mapping))
    if points > MOST["grid"]:
        raise StudyError(("grid",), f"grid must have at most {MOST['grid']:,} points, not {points:,}")
    values = max(1, points) * _count(record) * _count(estimators) * _count(metrics)
    if values > MOST["values"]:
        of = "grid points x methods x recorded steps x metrics"
        raise StudyError((), f"study: {of} must be at most {MOST['values']:,}, not {values:,}")


def _count(value: Any) -> int:
    """How many a number, a list or a table declares; one where it is something else."""
    if isinstance(value, Sequence | Mapping) and not isinstance(value, str):
        return len(value)
    return value if isinstance(value, int) else 1


def _sequences(coefficients: Any) -> Iterator[Sequence[Any]]:
    if isinstance(coefficients, list | tuple):
        yield coefficients
        if coefficients and isinstance(coefficients[0], list | tuple):
            yield coefficients[0]


def _points(part: Mapping[str, Any]) -> int:
    """Points of one grid, without making them; what is declared wrongly counts as one."""
    lengths = []
    for key, declared in part.items():
        groups = declared if key == "zip" and isinstance(declared, list | tuple) else [declared]
        for group in groups:
            columns = group.values() if key == "zip" and isinstance(group, Mapping) else [group]
            lengths.append(max(map(_length, columns), default=1))
    return math.prod(lengths)


def _length(declared: Any) -> int:
    if isinstance(declared, Mapping):
        for ends in declared.values():
            if isinstance(ends, list | tuple) and len(ends) == 3 and isinstance(ends[2], int):
                return max(1, ends[2])
        return 1
    return len(declared) if isinstance(declared, list | tuple) else 1
