"""Whether the values of a grid may stand where their paths say."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxmlr.study.declare import check
from jaxmlr.study.declare import grid as grids
from jaxmlr.study.declare.errors import StudyError, blamed_on

if TYPE_CHECKING:
    from jaxmlr.study.declare.spec import Study


def check_grid(study: "Study") -> None:
    """Raise StudyError unless every axis of a study's grid takes every value that is declared for it."""
    for path, declared, place in grids.paths(study.grid):
        if path.partition(".")[0] not in ("problem", "estimators"):
            reason = f"grid: {path} is neither a number of the problem nor a method's option"
            raise StudyError(place, reason)
        with blamed_on(place):
            values = grids.values(path, declared)
        listed = isinstance(declared, list | tuple)
        numbers = all(map(grids.is_number, values))
        for value in grids.representatives(values) if numbers else values:
            try:
                _check_value(study, path, value, shapes=not numbers)
            except StudyError as error:
                where = (*place, values.index(value)) if listed else place
                raise StudyError(where, f"grid: {error.reason}") from error
    with blamed_on(("grid",)):
        axes = study.axes
    for axis in axes:
        columns = {path: [repr(value) for value in column] for path, column in axis.columns.items()}
        if len(grids.distinct(columns, len(axis))[0]) < len(axis):
            reason = f"grid: {axis.name} must not repeat a value: {axis.columns[axis.name]}"
            raise StudyError(("grid", axis.name), reason)


def _check_value(study: "Study", path: str, value: Any, *, shapes: bool) -> None:
    """Raise StudyError unless `value` may stand at `path`; shapes are those of the study for numbers."""
    changed = study.at({path: value})
    if path.startswith("problem."):
        changed.problem.check_values()
        if shapes:
            changed.problem.check_shapes()
    truth = changed.problem.mixture(study.precision, np)
    for name, table in changed.estimators.items():
        if path.startswith((f"estimators.{name}.", "problem.missing")):
            # A share that varies enters the program as a number, 0 included.
            gaps = changed.problem.gaps or path == "problem.missing"
            check.check_method(name, table, truth, study.steps, study.precision, gaps=gaps)


def check_traced(study: "Study", path: str, value: jax.Array) -> None:
    """Raise ValueError or TypeError unless a traced number may stand at `path` when it is computed."""
    changed = study.at({path: value})
    truth = changed.problem.mixture(study.precision)
    changed.problem.regressors()
    changed.problem.disturbance()
    if (moves := changed.problem.drifting()) is not None:
        check.check_drift(("problem", "drift"), moves, truth)
    if (law := changed.problem.labelling(study.precision)) is not None:
        check.check_labels(("problem", "labels"), law, changed.problem.dim, study.precision)
    for name, table in changed.estimators.items():
        if path.startswith(("problem.", f"estimators.{name}.")):
            check.check_method(name, table, truth, study.steps, study.precision)
