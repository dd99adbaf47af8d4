"""The columns that a formula names, as numbers or as factors."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from jaxmlr.fitting.tables import codes, numerals
from jaxmlr.fitting.tables.formula import Formula, quoted

MOST_LEVELS = 20  # of a text column that becomes a factor without being asked to
_PERSONS = re.compile(
    r"(?i)(^|[\W_])(id|subj(ect)?|patient|participant|person|respondent)([\W_]?(id|no|nr))?$"
)
_LIKE_NUMBER = re.compile(r"\s*[-+<>~(]*\s*[^\w\s]{0,2}\s*[.,]?\d")


def typed(frame: pd.DataFrame, formula: Formula, levels: Mapping[str, list[str]] | None) -> pd.DataFrame:
    """The columns of a formula under its words, as float64 or as categories.

    A text column is a factor if it has at most `MOST_LEVELS` levels and no sign of being numbers or dates;
    `C(column)` makes a factor of any column. Truth values count as 0 and 1.

    Args:
      frame: of `read.read` or `read.chunks`.
      formula: of `formula.read`.
      levels: of every factor by its word, where they are known from earlier rows; None to find them.

    Returns:
      A DataFrame with NaN where an entry is missing.

    Raises:
      ValueError: no such column, text among numbers, an infinite number, a new level, or a column that is
        empty, holds neither numbers nor text, or numbers among which one seems to stand for a missing entry;
        row, column and what to do are named.
    """
    typed = pd.DataFrame(
        {word: _typed(column(frame, name), word, formula, levels) for word, name in formula.columns.items()},
        index=frame.index,
    )
    if levels is None:
        for word in typed.select_dtypes("number"):
            codes.check(typed[word].rename(formula.columns[word]), frame.attrs.get("missing", ()))
    return typed


def column(frame: pd.DataFrame, name: str) -> "pd.Series[Any]":
    """The column `name`.

    Raises:
      ValueError: there is none; the message suggests the nearest name.
    """
    if name in frame.columns:
        return frame[name]
    near = difflib.get_close_matches(name, map(str, frame.columns), n=1, cutoff=0.6)
    shown = ", ".join(map(str, frame.columns[:20])) + (", ..." if len(frame.columns) > 20 else "")
    hint = f"did you mean {near[0]!r}?" if near else f"the table has {shown}"
    raise ValueError(f"no column {name!r}; {hint}")


def is_empty(values: "pd.Series[Any]") -> bool:
    """Whether every entry is missing, in a table that has rows."""
    return len(values) > 0 and bool(values.isna().all())


def numbering(values: "pd.Series[Any]", shown: str) -> str:
    """What is to be said of whole numbers that seem to number rows, or blocks or persons of several; or "".

    Args:
      values: a column.
      shown: its name as a formula has it.
    """
    if len(values) < 10 or not pd.api.types.is_integer_dtype(values.dtype) or values.isna().any():
        return ""
    steps = np.diff(values.to_numpy(np.float64))
    if (steps == 1).all():
        does = "counts the rows" if values.iloc[0] in (0, 1) else "rises by 1 from row to row"
        return f"column {values.name!r} {does}; '. - {shown}' leaves it out"
    blocks = ((steps == 0) | (steps == 1)).all() and 9 <= steps.sum() < len(values) / 2
    if blocks or (_PERSONS.search(str(values.name)) and values.nunique() > 2):
        does = f"numbers {int(steps.sum()) + 1} blocks of rows" if blocks else "is a number for the fit"
        return (
            f"column {values.name!r} {does}; if it names persons or groups, '. - {shown}' leaves it out and"
            f" --group {shown} tells which rows belong together"
        )
    return ""


def _typed(
    values: "pd.Series[Any]", word: str, formula: Formula, levels: Mapping[str, list[str]] | None
) -> "pd.Series[Any]":
    name, number = str(values.name), values.name in formula.numbers
    if pd.api.types.is_complex_dtype(values.dtype):
        raise ValueError(f"column {name!r} holds complex numbers; it must hold numbers or text")
    if levels is None and is_empty(values):
        raise ValueError(f"column {name!r} is empty: all of its entries are missing; leave it out")
    if levels is not None and word in levels:
        return _of_levels(values, levels[word])
    if word in formula.factors:
        return _factor(texts(values))
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        raise ValueError(
            f"column {name!r} holds dates: --dates makes them numbers of days, or {without(formula, name)}"
        )
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        return _finite(values.astype(np.float64))
    text = texts(values)
    parsed = pd.to_numeric(text, errors="coerce")
    bad = text.notna() & parsed.isna()
    if not bad.any():
        return _finite(parsed.astype(np.float64))
    row = bad.idxmax()
    what = f"row {row}, column {name!r}: {text[row]!r} is not a number"
    like_numbers = text.dropna().map(_is_like_number)
    if levels is not None or number:
        raise ValueError(f"{what}; {_instead(text[row])}")
    if numerals.looks_like_dates(text.dropna()):
        raise ValueError(
            f"column {name!r} holds dates: --dates makes them numbers of days, or {without(formula, name)}"
        )
    if (like_numbers & text.dropna().map(lambda entry: ":" in entry)).all():
        raise ValueError(f"{what}; write times as numbers, or leave them out: {without(formula, name)}")
    if 2 * like_numbers.sum() >= len(like_numbers):
        raise ValueError(f"{what}; {_instead(text[row])}, C({quoted(name)}) in the formula makes a factor")
    different = len(text.dropna().unique())
    if different > MOST_LEVELS:
        raise ValueError(
            f"column {name!r} holds {different} different texts, such as {text.dropna().iloc[0]!r};"
            f" C({quoted(name)}) in the formula makes a factor of it; or leave it out:"
            f" {without(formula, name)}"
        )
    return _factor(text)


def without(formula: Formula, name: str) -> str:
    """The option that leaves a column out of a formula that was ".", or that names it as groups of rows."""
    words = {word for word, each in formula.columns.items() if each == name}
    if words & set(formula.gate.split()):
        return f"rows that share their component are told by --group {quoted(name)}"
    return f'--formula "{quoted(formula.response)} ~ . - {quoted(name)}"'


def _is_like_number(entry: str) -> bool:
    return bool(_LIKE_NUMBER.match(entry)) or numerals.is_number(entry)


def _instead(entry: str) -> str:
    if _is_like_number(entry):
        return "write it as a plain number"
    return f"if it stands for a missing entry give --missing {entry!r}"


def _factor(text: "pd.Series[Any]") -> "pd.Series[Any]":
    """Categories in the order of `ordered`."""
    return pd.Series(pd.Categorical(text, ordered(text.dropna().unique())), index=text.index)


def ordered(entries: Iterable[str]) -> list[str]:
    """Texts in the order of their numbers, where all are numbers, else in their own."""
    levels = sorted(entries)
    numbers = pd.to_numeric(pd.Series(levels, dtype=object), errors="coerce")
    if numbers.notna().all():
        levels = [levels[i] for i in np.argsort(numbers.to_numpy(), kind="stable")]
    return levels


def _of_levels(values: "pd.Series[Any]", levels: list[str]) -> "pd.Series[Any]":
    text = texts(values)
    new = text.notna() & ~text.isin(levels)
    if new.any():
        row = new.idxmax()
        raise ValueError(
            f"row {row}, column {values.name!r}: {text[row]!r} is none of the levels,"
            f" {', '.join(map(repr, levels[:10]))}{', ...' if len(levels) > 10 else ''}"
        )
    return pd.Series(pd.Categorical(text, levels), index=text.index)


def texts(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Entries as text without blanks around them, None where missing; whole numbers without a point."""
    present = values.astype(object).dropna()
    if not present.map(lambda entry: isinstance(entry, str | int | float | bool | np.generic)).all():
        kind = type(present.iloc[0]).__name__
        raise ValueError(f"column {values.name!r} holds entries of type {kind}; it must hold numbers or text")
    text = present.map(_word)
    return text[text != ""].reindex(values.index).astype(object)


def _word(entry: Any) -> str:
    if isinstance(entry, float | np.floating) and float(entry).is_integer() and abs(float(entry)) < 2**53:
        return str(int(entry))
    return str(entry).strip()


def _finite(values: "pd.Series[Any]") -> "pd.Series[Any]":
    infinite = np.isinf(values.to_numpy(np.float64))
    if infinite.any():
        row = values.index[int(np.argmax(infinite))]
        raise ValueError(f"row {row}, column {values.name!r}: {values[row]} is not finite")
    return values
