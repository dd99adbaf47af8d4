"""What of a grid is computed: every method at the points that concern it, and nothing twice.

An axis over an option of one method is no axis of the others. Numbers that the method's function can take
as traced values vary inside one compiled program. Choices (texts, booleans, tables, and numbers that must
be known when a program is compiled) of a method are further methods on the same data; choices of the
problem make further programs, each a `Cell`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlr.study.declare import grid
from jaxmlr.study.declare.check_grid import check_traced
from jaxmlr.study.declare.spec import Study

PROBLEM = "<oracle>"  # the rows of the problem are those of the reference run on the same data


class Variant(NamedTuple):
    """A method with its choices made, and the numbers that vary."""

    name: str
    static: dict[str, Any]  # path -> choice
    own: dict[str, np.ndarray]  # path -> (P, E): E options at each of the cell's P problems


class Cell(NamedTuple):
    """One compiled program: a problem with its choices made, at P vectors of numbers."""

    static: dict[str, Any]
    problem: dict[str, np.ndarray]  # path -> (P,)
    size: int  # P
    variants: tuple[Variant, ...]


class Place(NamedTuple):
    """Where a row of results comes from."""

    cell: int
    variant: int
    problem: int
    option: int


class Rows(NamedTuple):
    """The grid points that differ for a method, or for the problem."""

    first: list[int]  # where each of them stands first in the grid
    of: np.ndarray  # (points,), the row that stands at each grid point


Chosen = Mapping[str, Sequence[int]]  # method -> which of its rows


class Plan(NamedTuple):
    """The programs, and where each method's rows come from and go to."""

    cells: tuple[Cell, ...]
    places: dict[str, list[Place]]  # method -> one for each of its rows that is computed
    rows: dict[str, np.ndarray]  # method -> (points,), the row that stands at each grid point
    problems: list[Place]  # one for each different problem that is computed
    problem_rows: np.ndarray  # (points,)


def rows(study: Study) -> dict[str, Rows]:
    """The rows of every method, and those of the problem, which are called `PROBLEM`."""
    points, size = study.points, study.size
    problem = {path: column for path, column in points.items() if path.startswith("problem.")}
    own = {
        name: {path: c for path, c in points.items() if path.startswith(f"estimators.{name}.")}
        for name in study.estimators
    }
    return {
        PROBLEM: Rows(*grid.distinct(problem, size)),
        **{name: Rows(*grid.distinct({**problem, **columns}, size)) for name, columns in own.items()},
    }


def plan(study: Study, chosen: Chosen | None = None) -> Plan:
    """Lay out the grid of a study, or of those rows alone that are chosen."""
    points, size = study.points, study.size
    static = {path for path in points if is_static(study, path, points[path])}
    problem = {path: column for path, column in points.items() if path.startswith("problem.")}
    cell_first, cell_of = grid.distinct({p: c for p, c in problem.items() if p in static}, size)
    every = rows(study)
    problem_first, problem_rows = every[PROBLEM]
    taken = {name: every[name].first for name in study.estimators}
    if chosen is not None:
        taken = {name: [first[row] for row in chosen.get(name, ())] for name, first in taken.items()}
        used = {int(problem_rows[k]) for first in taken.values() for k in first}
        problem_first = [problem_first[row] for row in sorted(used | {*chosen.get(PROBLEM, ())})]
    inside: list[list[int]] = [[] for _ in cell_first]  # the points that stand for each cell's problems
    for k in problem_first:
        inside[cell_of[k]].append(k)
    inside = [ks for ks in inside if ks]
    index_of = {k: (c, p) for c, ks in enumerate(inside) for p, k in enumerate(ks)}
    problem_place = {int(problem_rows[k]): Place(index_of[k][0], 0, index_of[k][1], 0) for k in problem_first}

    variants: list[list[Variant]] = [[] for _ in inside]
    places: dict[str, list[Place]] = {}
    for name in study.estimators:
        own = {path: c for path, c in points.items() if path.startswith(f"estimators.{name}.")}
        choices = {path: column for path, column in own.items() if path in static}
        numbers = {path: column for path, column in own.items() if path not in static}
        choice_first, choice_of = grid.distinct(choices, size)
        options: dict[tuple[int, int], list[list[int]]] = {}  # (cell, choice) -> for each problem its points
        places[name] = []
        for k in taken[name]:
            at = problem_place[int(problem_rows[k])]
            if (at.cell, int(choice_of[k])) not in options:
                options[at.cell, int(choice_of[k])] = [[] for _ in inside[at.cell]]
            listed = options[at.cell, int(choice_of[k])]
            listed[at.problem].append(k)
            places[name].append(Place(at.cell, int(choice_of[k]), at.problem, len(listed[at.problem]) - 1))
        index = {}
        for (cell, choice), listed in options.items():
            index[cell, choice] = len(variants[cell])
            chosen_here = {path: column[choice_first[choice]] for path, column in choices.items()}
            variants[cell].append(Variant(name, chosen_here, _table(numbers, listed)))
        places[name] = [p._replace(variant=index[p.cell, p.variant]) for p in places[name]]

    cells = tuple(
        Cell(
            {path: column[ks[0]] for path, column in problem.items() if path in static},
            {path: _column(column, ks) for path, column in problem.items() if path not in static},
            len(ks),
            tuple(variants[c]),
        )
        for c, ks in enumerate(inside)
    )
    of = {name: every[name].of for name in study.estimators}
    shown = problem_place if chosen is None else chosen.get(PROBLEM, ())
    return Plan(cells, places, of, [problem_place[row] for row in shown], problem_rows)


def is_static(study: Study, path: str, values: Sequence[Any]) -> bool:
    """Whether an axis must be known when a program is compiled."""
    if not all(map(grid.is_number, values)):
        return True
    try:
        with jax.enable_x64(study.precision == "float64"):
            traced = jax.ShapeDtypeStruct((), study.precision)
            jax.eval_shape(lambda value: check_traced(study, path, value), traced)
    except (TypeError, ValueError, jax.errors.JAXTypeError):
        return True  # `at` has taken each value as it is: only a traced one is refused
    return False


def _column(column: Sequence[Any], at: Sequence[int]) -> np.ndarray:
    return np.asarray([column[k] for k in at], np.float64)


def _table(columns: Mapping[str, Sequence[Any]], listed: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """Columns as (P, E); problems with fewer options than others repeat their last, or any, one."""
    most = max(map(len, listed))
    anything = next(ks for ks in listed if ks)
    full = [[*ks, *[(ks or anything)[-1]] * (most - len(ks))] for ks in listed]
    return {path: np.stack([_column(column, ks) for ks in full]) for path, column in columns.items()}
