"""From a table to regressors and a response, by a formula. Needs the extra `data`."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from formulaic import Formula
from formulaic.errors import DataMismatchWarning

from jaxmlr.fitting.tables import read


class Observations(NamedTuple):
    """The rows of a table that can be used."""

    phi: np.ndarray  # (n, d) float64
    y: np.ndarray  # (n,) float64
    rows: np.ndarray  # (n,) int64, their numbers in the table, from 1
    dropped: int  # rows left out because an entry that is needed is missing


@dataclass(frozen=True)
class Design:
    """What a formula makes of the columns of a table; learnt from the first rows, applied to all."""

    formula: str
    response: str
    names: tuple[str, ...]  # of the d regressors
    variables: tuple[str, ...]  # columns of the table that are read
    levels: dict[str, list[str]]  # of the categories among them
    spec: Any  # formulaic's, which holds what its transformations have learnt

    @property
    def intercept(self) -> int | None:
        """The place of the column of ones, or None."""
        return self.names.index("Intercept") if "Intercept" in self.names else None

    @classmethod
    def learn(
        cls, frame: pd.DataFrame, response: str | None, formula: str | None
    ) -> tuple[Self, Observations]:
        """The design of a table, and its rows.

        Args:
          frame: of `read.read`, or the first of `read.chunks`.
          response: name of a column, or None where the formula has a left side.
          formula: as in R, "y ~ x1 + log(x2)" or its right side alone, with an intercept unless it says
            "- 1"; None takes all other columns.

        Returns:
          A Design, and the rows of `frame`.

        Raises:
          ValueError: no such column, a formula that cannot be read or evaluated, or entries that are not
            finite numbers; row and column are named.
        """
        text = _whole(frame, response, formula)
        parsed = _parse(text, list(frame.columns))
        left = sorted(map(str, parsed.lhs.required_variables))
        variables = sorted(map(str, parsed.required_variables))
        if not left:
            raise ValueError(f"formula {text!r}: its left side names no column")
        typed = read.typed(frame, variables, left, None).dropna()
        if typed.empty:
            raise ValueError(
                "no row has all the entries that are needed" if len(frame) else "there are no rows"
            )
        levels = {
            name: sorted(typed[name].unique()) for name in variables if typed[name].dtype == np.dtype(object)
        }
        count = sum(map(len, levels.values()))
        if count > len(typed):
            most = max(levels, key=lambda name: len(levels[name]))
            raise ValueError(
                f"column {most!r} holds {len(levels[most])} different texts in {len(typed)} rows;"
                " it names rows rather than groups"
            )
        matrices = _evaluate(text, parsed, _categories(typed, levels))
        names = tuple(matrices.rhs.model_spec.column_names)
        if len(matrices.lhs.model_spec.column_names) != 1:
            raise ValueError(f"formula {text!r}: the left side must be one column")
        if not names:
            raise ValueError(f"formula {text!r}: the right side has no term")
        response = matrices.lhs.model_spec.column_names[0]
        design = cls(text, response, names, tuple(variables), levels, matrices.model_spec)
        return design, design._observations(matrices, typed, len(frame))

    def observations(self, frame: pd.DataFrame) -> Observations:
        """The rows of `frame`, a table or a chunk with the same columns.

        Raises:
          ValueError: as `learn`; or a text that the rows it was learnt from do not have.
        """
        known = self.levels
        typed = read.typed(frame, self.variables, (), known).dropna()
        if typed.empty:
            return Observations(
                np.empty((0, len(self.names))), np.empty(0), np.empty(0, np.int64), len(frame)
            )
        matrices = _evaluate(self.formula, self.spec, _categories(typed, known))
        return self._observations(matrices, typed, len(frame))

    def _observations(self, matrices: Any, typed: pd.DataFrame, total: int) -> Observations:
        phi = np.asarray(matrices.rhs, np.float64)
        y = np.asarray(matrices.lhs, np.float64)[:, 0]
        for values, names in ((y[:, None], [self.response]), (phi, self.names)):
            bad = ~np.isfinite(values)
            if bad.any():
                i, j = np.argwhere(bad)[0]
                raise ValueError(f"row {typed.index[i]}: {names[j]} is {values[i, j]}; it must be finite")
        return Observations(phi, y, typed.index.to_numpy(np.int64), total - len(typed))


def _whole(frame: pd.DataFrame, response: str | None, formula: str | None) -> str:
    """The formula with both its sides."""
    if response is not None:
        read.column(frame, response)
    if formula is None:
        if response is None:
            raise ValueError("name the response column, or give a formula with a left side")
        others = [name for name in frame.columns if name != response]
        if not others:
            raise ValueError(f"the table has no column beside {response!r}")
        return f"{_quoted(response)} ~ {' + '.join(map(_quoted, others))}"
    left, tilde, right = formula.partition("~")
    if not tilde:
        left, right = "", formula
    left, right = left.strip(), right.strip()
    if not right:
        raise ValueError(f"formula {formula!r}: the right side has no term")
    if response is None:
        if not left:
            raise ValueError("name the response column, or give a formula with a left side")
        return f"{left} ~ {right}"
    if left and left.strip("`") != response:
        raise ValueError(f"the formula's response is {left!r}, not {response!r}; give one of them")
    return f"{left or _quoted(response)} ~ {right}"


def _quoted(name: str) -> str:
    if "`" in name:
        raise ValueError(f"column {name!r}: a name must not hold a backtick")
    return f"`{name}`"


def _parse(text: str, columns: list[str]) -> Any:
    with _formula_errors(text):
        parsed: Any = Formula(text, _context={"__formulaic_variables_available__": columns})
    if not all(hasattr(getattr(parsed, side, None), "required_variables") for side in ("lhs", "rhs")):
        raise ValueError(f"formula {text!r} must have one left and one right side")
    return parsed


def _evaluate(text: str, spec: Any, frame: pd.DataFrame) -> Any:
    with _formula_errors(text), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error", DataMismatchWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # what is not finite is found and named
        return spec.get_model_matrix(frame, na_action="ignore", output="numpy")


def _categories(typed: pd.DataFrame, levels: dict[str, list[str]]) -> pd.DataFrame:
    return typed.assign(**{name: pd.Categorical(typed[name], known) for name, known in levels.items()})


@contextmanager
def _formula_errors(text: str) -> Iterator[None]:
    """A formula is a program of the user's: whatever it raises is said in one line."""
    try:
        yield
    except Exception as error:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()
        raise ValueError(f"formula {text!r}: {plain[0] if plain else type(error).__name__}") from error
