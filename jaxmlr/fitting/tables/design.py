"""From a table to regressors and a response, by a formula. Needs the extra `data`."""

import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import formulaic
import numpy as np
import pandas as pd
from formulaic.errors import DataMismatchWarning

from jaxmlr.fitting.tables import codes, columns, formula
from jaxmlr.fitting.tables.formula import Formula, quoted
from jaxmlr.fitting.tables.functions import FUNCTIONS, INDICATOR
from jaxmlr.fitting.tables.parser import parser
from jaxmlr.fitting.tables.terms import Terms, groups_of, read_terms
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
    groups: np.ndarray | None = None  # (n,) int64 from 0 on; rows of one group share their component
    group_names: tuple[str, ...] = ()  # (G,) as they are written in the table
    concomitant: np.ndarray | None = None  # (n, m) float64, what the weights depend on
    known: np.ndarray | None = None  # (n, L + 1) bool, of `terms.labels_of`

    def terms(self) -> dict[str, np.ndarray]:
        """Groups and concomitants by the names of a batch method's arguments, where there are such."""
        both = {"groups": self.groups, "concomitant": self.concomitant}
        return {name: values for name, values in both.items() if values is not None}

    def known_of(self, components: int) -> dict[str, np.ndarray]:
        """The components, of so many, that each row may belong to: `known` (n, K) bool, or nothing."""
        if self.known is None:
            return {}
        named = self.known.shape[1] - 1
        return {"known": self.known[:, [min(k, named) for k in range(components)]]}


class Gate(NamedTuple):
    """What the formula makes of the concomitants."""

    names: tuple[str, ...]  # of the m variables
    intercept: int | None  # the place of the column of ones, or None
    spec: Any  # formulaic's specification


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
    gate: Gate | None = None  # what the weights depend on
    group: str | None = None  # the column whose entries say which rows share their component
    labels: tuple[str, ...] = ()  # names of the first components, where labels are known in part
    common: tuple[int, ...] = ()  # regressors whose coefficient all components share

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
        terms: Terms | None = None,
    ) -> tuple[Self, TableRows]:
        """The design of a table, and its rows.

        Args:
          frame: of `read.read`, or the first of `read.chunks`.
          response: name of a column, or None where the formula has a left side.
          formula: in Wilkinson notation, "y ~ x1 + log(x2)" or its right side alone, with an intercept
            unless it says "0 +" or "- 1"; None is ".", all other columns that are not empty. Behind a bar
            stand concomitants, as "y ~ x | z".
          weights: the column that says how much a row counts, and how that is meant.
          terms: groups of rows, concomitants, labels known in part, and common coefficients.

        Returns:
          A Design, and the rows of `frame`.

        Raises:
          ValueError: no such column, a formula that cannot be read or evaluated, or entries that are not
            finite numbers; row and column are named.
        """
        terms = terms or Terms()
        aside = terms.columns if weights is None else (*terms.columns, weights.column)
        extra = terms.concomitant, terms.common
        parsed, notes = read_formula(frame, response, formula, aside, *extra)
        typed = columns.typed(frame, parsed, None)
        missing = frame.attrs.get("missing", ())
        for word in typed.select_dtypes("number"):
            notes += tuple(codes.remarks(typed[word].rename(parsed.columns[word]), missing))
        gaps = _gaps(typed, parsed)
        notes += (gaps,) * bool(gaps)
        typed = typed.dropna()
        if terms.group is not None:
            typed = typed[groups_of(frame, terms.group, typed.index).notna()]
        weight, zeros = None, 0
        if weights is not None:
            weight, zeros, said = weights.of(frame, typed.index)
            notes += said
            typed = typed.loc[weight.index]
        if typed.empty:
            without = f": {gaps}" if gaps else ""
            raise ValueError(
                f"no row has all the entries that are needed{without}" if len(frame) else "there are no rows"
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
        gate = _gate(parsed, typed) if parsed.gate else None
        of_rows = read_terms(terms, frame, typed.index)
        names, intercept = _named(parsed, kept)
        common = _common(parsed, right, kept)
        notes += of_rows.notes
        if common:
            notes += (f"common to all components: {', '.join(names[j] for j in common)}",)
        whole = names, intercept, levels, notes, parsed, left, right, offsets
        design = cls(parsed.text, parsed.response, *whole, gate, terms.group, of_rows.labels, common)
        rows = design._observations(typed, len(frame), response=True)
        rows = rows._replace(
            dropped=rows.dropped - zeros,
            groups=of_rows.groups,
            group_names=of_rows.names,
            known=of_rows.known,
        )
        if weights is not None and weight is not None:
            rows = rows._replace(weight=weight.to_numpy(), sampled=weights.kind == "sampling")
        return design, rows

    def observations(self, frame: pd.DataFrame, *, response: bool = True) -> TableRows:
        """The rows of `frame`: a chunk of the table, or new rows, which need no response and no groups.

        Raises:
          ValueError: as `learn`; or a level that the rows it was learnt from do not have.
        """
        parsed = self.parsed if response else self.parsed.right_only()
        typed = columns.typed(frame, parsed, self.levels).dropna()
        terms = Terms(self.group if self.group in frame else None)
        if terms.group is not None:
            typed = typed[groups_of(frame, terms.group, typed.index).notna()]
        rows = self._observations(typed, len(frame), response)
        of_rows = read_terms(terms, frame, typed.index)
        return rows._replace(groups=of_rows.groups, group_names=of_rows.names)

    def _observations(self, typed: pd.DataFrame, total: int, response: bool) -> TableRows:
        n = len(typed)
        whole = self._evaluate(self.right, typed) if n else np.empty((0, len(self.right.column_names)))
        is_offset = np.isin(np.arange(whole.shape[1]), self.offsets)
        phi, offset = whole[:, ~is_offset], whole[:, is_offset].sum(axis=1)
        concomitant = None
        y = self._evaluate(self.left, typed)[:, 0] if response and n else np.full(n, np.nan)
        checked = [(phi, self.names), (offset[:, None], ("the offset",))]
        if self.gate is not None:
            m = len(self.gate.names)
            concomitant = self._evaluate(self.gate.spec, typed) if n else np.empty((0, m))
            checked.append((concomitant, self.gate.names))
        for values, names in [(y[:, None], (self.response,)), *checked] if response else checked:
            bad = ~np.isfinite(values)
            if bad.any():
                i, j = np.argwhere(bad)[0]
                raise ValueError(f"row {typed.index[i]}: {names[j]} is {values[i, j]}; it must be finite")
        numbers = typed.index.to_numpy(np.int64)
        return TableRows(phi, y - offset, numbers, total - n, offset, concomitant=concomitant)

    def _evaluate(self, spec: Any, typed: pd.DataFrame) -> np.ndarray:
        with _formula_errors(self.parsed):
            return np.asarray(
                spec.get_model_matrix(typed, context=_CONTEXT, na_action="ignore", output="numpy"), np.float64
            )


def read_formula(
    frame: pd.DataFrame,
    response: str | None,
    text: str | None,
    aside: Collection[str] = (),
    concomitant: str | None = None,
    common: str | None = None,
) -> tuple[Formula, tuple[str, ...]]:
    """The formula of a table, and what `.` leaves out beside `aside`; others as of `Design.learn`."""
    names = [str(name) for name in frame.columns]
    empty = [name for name in names if columns.is_empty(frame[name])]
    default = [name for name in names if name not in (*empty, *aside)]
    left, tilde, right = (".", "", "") if text is None else text.partition("~")
    if not tilde:
        left, right = "", left
    left, (right, gate) = left.strip(), formula.split(right.strip())
    if gate is not None and concomitant is not None:
        raise ValueError(f"--concomitant: the formula {text!r} names concomitants too; give one of them")
    gate = concomitant if gate is None else gate
    if gate is not None and not gate.strip():
        raise ValueError(f"formula {text!r}: no concomitants stand behind the bar")
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
    parsed = formula.read(
        response or left,
        right,
        names,
        default,
        verbatim=verbatim,
        gate=(gate or "").strip(),
        common=common or "",
    )
    notes = tuple(frame.attrs.get("notes", ()))
    if "." in right:
        unused = [name for name in empty if name not in parsed.columns.values()]
        notes += tuple(f"column {name!r} is empty and left out" for name in unused)
        for name in dict.fromkeys(parsed.columns.values()):
            if said := columns.numbering(frame[name], quoted(name)):
                notes += (said,)
    return parsed, notes


def _gaps(typed: pd.DataFrame, parsed: Formula) -> str:
    """Which columns lack the most entries, where more than half of the rows lack one; else ""."""
    lacking = typed.isna()
    total = int(lacking.any(axis=1).sum())
    if 2 * total <= len(typed):
        return ""
    counts = lacking.sum().sort_values(ascending=False, kind="stable")
    shown = [
        f"column {parsed.columns[str(word)]!r} in {count:,}" for word, count in counts[counts > 0].items()
    ]
    return f"{total:,} of {len(typed):,} rows lack an entry: {', '.join(shown[:3])}"


def _named(parsed: Formula, columns: list[str]) -> tuple[tuple[str, ...], int | None]:
    """Columns of one of formulaic's matrices in the author's words, and the place of the intercept."""
    intercept = columns.index("Intercept") if "Intercept" in columns else None
    names = [parsed.label(name) for name in columns]
    if intercept is not None and names.count("Intercept") > 1:
        names[intercept] = "(Intercept)"  # a column of the table has that name
    return tuple(names), intercept


def _gate(parsed: Formula, typed: pd.DataFrame) -> Gate:
    spec = _first(parsed, parsed.gate, typed)
    if not spec.column_names or any("offset(" in name for name in spec.column_names):
        raise ValueError(f"formula {parsed.text!r}: concomitants must be terms with coefficients")
    return Gate(*_named(parsed, list(spec.column_names)), spec)


def _common(parsed: Formula, right: Any, kept: list[str]) -> tuple[int, ...]:
    """The places of the regressors that the common terms make."""
    if not parsed.common:
        return ()
    places = {str(term): right.term_indices[term] for term in right.term_indices}
    names = []
    with _formula_errors(parsed):
        common = list(formulaic.Formula(parsed.common, _parser=parser(intercept=False)))
    for term in map(str, common):
        shown = "the intercept, 1" if term == "1" else parsed.label(term)
        if term not in places:
            raise ValueError(f"--common: {shown} is no term of the formula {parsed.text!r}")
        names += [right.column_names[i] for i in places[term]]
    if any(name not in kept for name in names):
        raise ValueError(f"--common: an offset has no coefficient, in the formula {parsed.text!r}")
    return tuple(sorted(kept.index(name) for name in names))


def _first(parsed: Formula, side: str, typed: pd.DataFrame) -> Any:
    """Formulaic's specification of a side, learnt from its first rows."""
    with _formula_errors(parsed):
        terms: Any = formulaic.Formula(side, _parser=parser())
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
