"""From a table to regressors and a response, by a formula. Needs the extra `data`."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import formulaic
import numpy as np
import pandas as pd
from formulaic.errors import DataMismatchWarning

from jaxmlr.fitting.tables import columns, formula
from jaxmlr.fitting.tables.formula import Formula, quoted
from jaxmlr.fitting.tables.functions import FUNCTIONS, INDICATOR
from jaxmlr.fitting.tables.weights import Weights

_CONTEXT = {name: function for name, function in FUNCTIONS.items() if function is not None}
_CONTEXT[INDICATOR] = lambda truth: truth.astype(np.float64)


class TableRows(NamedTuple):
    """The rows of a table that can be used."""

    phi: np.ndarray  # (n, d) float64
    y: np.ndarray  # (n,) float64, the response less the offset; NaN where it is not read
    rows: np.ndarray  # (n,) int64, their numbers in the table, from 1
    dropped: int  # rows left out because an entry that is needed is missing
    offset: np.ndarray  # (n,) float64, the sum of the formula's offset(...) terms
    weight: np.ndarray | None = None  # (n,) float64 above 0, how much a row counts; None: as much as any
    sampled: bool = False  # whether weights are inverse probabilities of being in the table


@dataclass(frozen=True)
class Design:
    """What a formula makes of the columns of a table; learnt from the first rows, applied to all."""

    formula: str  # as it was written
    response: str
    names: tuple[str, ...]  # of the d regressors, in the words of the file and the formula
    intercept: int | None  # the place of the column of ones, or None
    levels: dict[str, list[str]]  # of the factors, by their words in `parsed`
    notes: tuple[str, ...]  # what was left out of the table and why, one sentence each
    parsed: Formula
    left: Any  # formulaic's specifications of both sides, which hold what their functions have learnt
    right: Any
    offsets: tuple[int, ...]  # columns of the right side that are added with coefficient 1

    @property
    def variables(self) -> tuple[str, ...]:
        """The columns of the table that are read."""
        return tuple(dict.fromkeys(self.parsed.columns.values()))

    @classmethod
    def learn(
        cls,
        frame: pd.DataFrame,
        response: str | None,
        formula: str | None,
        *,
        weights: Weights | None = None,
    ) -> tuple[Self, TableRows]:
        """The design of a table, and its rows.

        Args:
          frame: of `read.read`, or the first of `read.chunks`.
          response: name of a column, or None where the formula has a left side.
          formula: in Wilkinson notation, "y ~ x1 + log(x2)" or its right side alone, with an intercept
            unless it says "0 +" or "- 1"; None is ".", all other columns that are not empty.
          weights: the column that says how much a row counts, and how that is meant.

        Returns:
          A Design, and the rows of `frame`.

        Raises:
          ValueError: no such column, a formula that cannot be read or evaluated, or entries that are not
            finite numbers; row and column are named.
        """
        aside = None if weights is None else weights.column
        parsed, notes = read_formula(frame, response, formula, aside)
        typed = columns.typed(frame, parsed, None).dropna()
        weight, zeros = None, 0
        if weights is not None:
            weight, zeros, said = weights.of(frame, typed.index)
            notes += said
            typed = typed.loc[weight.index]
        if typed.empty:
            raise ValueError(
                "no row has all the entries that are needed" if len(frame) else "there are no rows"
            )
        for word in typed.select_dtypes("category"):  # levels of the rows that are used
            typed[word] = typed[word].cat.remove_unused_categories()
        levels = {word: list(typed[word].cat.categories) for word in typed.select_dtypes("category")}
        for word, texts in levels.items():
            if len(texts) > len(typed) / 2 and len(texts) > columns.MOST_LEVELS:
                raise ValueError(
                    f"column {parsed.columns[word]!r} holds {len(texts)} different entries in {len(typed)}"
                    " rows; it names rows rather than groups"
                )
            if len(texts) == 1:
                notes += (f"column {parsed.columns[word]!r} holds {texts[0]!r} only and adds no regressor",)
        left, right = (_first(parsed, side, typed) for side in (f"0 + {parsed.left}", parsed.right))
        if len(left.column_names) != 1:
            raise ValueError(f"formula {parsed.text!r}: the left side must be one column of numbers")
        offsets = tuple(i for i, name in enumerate(right.column_names) if name.startswith("offset("))
        for i, name in enumerate(right.column_names):
            if "offset(" in name and (i not in offsets or not name.endswith(")") or ":" in name):
                raise ValueError(f"formula {parsed.text!r}: an offset is a column of numbers, by itself")
        kept = [name for i, name in enumerate(right.column_names) if i not in offsets]
        if not kept:
            raise ValueError(f"formula {parsed.text!r}: the right side has no term")
        intercept = kept.index("Intercept") if "Intercept" in kept else None
        names = [parsed.label(name) for name in kept]
        if intercept is not None and names.count("Intercept") > 1:
            names[intercept] = "(Intercept)"  # a column of the table has that name
        design = cls(
            parsed.text, parsed.response, tuple(names), intercept, levels, notes, parsed, left, right, offsets
        )
        rows = design._observations(typed, len(frame), response=True)
        if weights is not None and weight is not None:
            missing = rows.dropped - zeros
            rows = rows._replace(
                weight=weight.to_numpy(), sampled=weights.kind == "sampling", dropped=missing
            )
        return design, rows

    def observations(self, frame: pd.DataFrame, *, response: bool = True) -> TableRows:
        """The rows of `frame`: a chunk of the table, or new rows, which need no response.

        Raises:
          ValueError: as `learn`; or a level that the rows it was learnt from do not have.
        """
        parsed = self.parsed if response else self.parsed.right_only()
        typed = columns.typed(frame, parsed, self.levels).dropna()
        return self._observations(typed, len(frame), response)

    def _observations(self, typed: pd.DataFrame, total: int, response: bool) -> TableRows:
        n = len(typed)
        whole = self._evaluate(self.right, typed) if n else np.empty((0, len(self.right.column_names)))
        is_offset = np.isin(np.arange(whole.shape[1]), self.offsets)
        phi, offset = whole[:, ~is_offset], whole[:, is_offset].sum(axis=1)
        y = self._evaluate(self.left, typed)[:, 0] if response and n else np.full(n, np.nan)
        checked = [(phi, self.names), (offset[:, None], ["the offset"])]
        for values, names in [(y[:, None], [self.response]), *checked] if response else checked:
            bad = ~np.isfinite(values)
            if bad.any():
                i, j = np.argwhere(bad)[0]
                raise ValueError(f"row {typed.index[i]}: {names[j]} is {values[i, j]}; it must be finite")
        return TableRows(phi, y - offset, typed.index.to_numpy(np.int64), total - n, offset)

    def _evaluate(self, spec: Any, typed: pd.DataFrame) -> np.ndarray:
        with _formula_errors(self.parsed):
            return np.asarray(
                spec.get_model_matrix(typed, context=_CONTEXT, na_action="ignore", output="numpy"), np.float64
            )


def read_formula(
    frame: pd.DataFrame,
    response: str | None,
    text: str | None,
    weights: str | None = None,
) -> tuple[Formula, tuple[str, ...]]:
    """The formula of a table, and what `.` leaves out; arguments as those of `Design.learn`."""
    names = [str(name) for name in frame.columns]
    empty = [name for name in names if columns.is_empty(frame[name])]
    default = [name for name in names if name not in (*empty, weights)]
    left, tilde, right = (".", "", "") if text is None else text.partition("~")
    if not tilde:
        left, right = "", left
    left, right = left.strip(), right.strip()
    if response is not None:
        columns.column(frame, response)
        if left and left.strip("`") != response:
            raise ValueError(f"the formula's response is {left!r}, not {response!r}; give one of them")
    elif not left:
        shown = f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
        raise ValueError(
            "name the response column (--response), or give a formula with a left side (--formula);"
            f" the columns are {shown}"
        )
    if right == "." and not [name for name in default if name != response]:
        raise ValueError(f"the table has no column beside {response or left!r}")
    verbatim = response is not None
    parsed = formula.read(response or left, right, names, default, verbatim=verbatim)
    notes = tuple(frame.attrs.get("notes", ()))
    if "." in right:
        unused = [name for name in empty if name not in parsed.columns.values()]
        notes += tuple(f"column {name!r} is empty and left out" for name in unused)
        for name in dict.fromkeys(parsed.columns.values()):
            if columns.counts_rows(frame[name]):
                notes += (f"column {name!r} counts the rows; '. - {quoted(name)}' leaves it out",)
    return parsed, notes


def _first(parsed: Formula, side: str, typed: pd.DataFrame) -> Any:
    """Formulaic's specification of a side, learnt from its first rows."""
    with _formula_errors(parsed):
        terms: Any = formulaic.Formula(side, _parser=formula.parser())
        matrix = terms.get_model_matrix(typed, context=_CONTEXT, na_action="ignore", output="numpy")
        return matrix.model_spec


@contextmanager
def _formula_errors(parsed: Formula) -> Iterator[None]:
    """Whatever formulaic finds wrong is said in one line, in the words of the formula's author."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error", DataMismatchWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # what is not finite is found and named
        try:
            yield
        except Exception as error:
            plain = re.sub(r"\x1b\[[0-9;]*m", "", parsed.label(str(error))).splitlines()
            what = plain[0] if plain else type(error).__name__
            raise ValueError(f"formula {parsed.text!r}: {what}") from error
