"""The design of a file that need not fit into memory: from its first rows, or from all where it must be."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from jaxmlr.fitting.tables import read
from jaxmlr.fitting.tables.design import Design, TableRows, read_formula
from jaxmlr.fitting.tables.dialect import Reading
from jaxmlr.fitting.tables.formula import Formula

OPENING = 65_536  # rows from which a design is learnt, however the file is cut


class Survey(NamedTuple):
    """What is known of a file before it is run through."""

    design: Design
    rows: TableRows  # a sample that shows all of it
    pieces: Iterator[pd.DataFrame]  # of the file, from its beginning
    whole: bool  # whether `rows` are all there are


Pieces = Callable[[], Iterator[pd.DataFrame]]


def survey(
    source: str | Path, response: str | None, formula: str | None, reading: Reading | None, chunk: int
) -> Survey:
    """The design of a file, rows that show all of it, and the pieces of the file.

    The first `OPENING` rows do where all the columns of the formula are numbers that vary there. If not, the
    file is read through for what comes later: a level, the first entry of a column, a change in a column.
    So the design and its units do not depend on `chunk`. Standard input is kept in memory for that.

    Args:
      source: as in `read.read`.
      response: as in `Design.learn`.
      formula: as in `Design.learn`.
      reading: as in `read.read`.
      chunk: rows of a piece.

    Raises:
      ValueError: as `read.chunks` and `Design.learn`.
    """
    rest = read.chunks(source, chunk, reading)
    begun: list[pd.DataFrame] = []
    while sum(map(len, begun)) <= OPENING and (frame := next(rest, None)) is not None:
        begun.append(frame)
    opening = _joined(begun).iloc[:OPENING]
    if sum(map(len, begun)) <= OPENING:  # that was all
        return Survey(*Design.learn(opening, response, formula), iter(begun), True)
    if _tells_all(opening, response, formula):
        design, rows = Design.learn(opening, response, formula)
        pieces: Iterator[pd.DataFrame] = itertools.chain(begun, rest)
    else:
        if str(source) == "-":
            again: Pieces = functools.partial(iter, [*begun, *rest])
        else:
            texts = _texts(opening, response, formula)
            again = functools.partial(read.chunks, source, chunk, reading, texts=texts)
        known = _first_entries(again, opening)
        parsed, _ = read_formula(known, response, formula)
        sample = _sample(again, parsed)
        # Other columns matter to "." only, by whether they are empty.
        others = known.columns.difference(sample.columns)
        sample = sample.assign(**{name: None if known[name].isna().all() else 0.0 for name in others})
        sample.attrs = known.attrs
        design, rows = Design.learn(sample[list(known.columns)], response, formula)
        pieces = again()
    if design.parsed.stateful:
        note = f"functions such as poly and scale have learnt from the first {OPENING:,} rows"
        design = dataclasses.replace(design, notes=(*design.notes, note))
    return Survey(design, rows, pieces, False)


def _tells_all(opening: pd.DataFrame, response: str | None, formula: str | None) -> bool:
    """Whether later rows can bring nothing new but numbers."""
    parsed, _ = read_formula(opening, response, formula)
    used = opening[list(dict.fromkeys(parsed.columns.values()))]
    if parsed.factors or not all(map(pd.api.types.is_numeric_dtype, used.dtypes)):
        return False
    if (formula is None or "." in formula) and opening.isna().all().any():
        return False
    return bool((used.dropna().nunique() > 1).all())


def _texts(opening: pd.DataFrame, response: str | None, formula: str | None) -> list[str]:
    """Columns whose entries are to stay as they are written: factors."""
    parsed, _ = read_formula(opening, response, formula)
    factors = {parsed.columns[word] for word in parsed.factors}
    texts = {name for name in opening if opening[name].dtype == object or opening[name].dtype == "str"}
    return sorted(factors | {name for name in texts if not opening[name].isna().all()})


def _first_entries(pieces: Pieces, opening: pd.DataFrame) -> pd.DataFrame:
    """The beginning of the table, and the first row with an entry of every column that is empty there."""
    rows = []
    empty = set(opening.columns[opening.isna().all()])
    for frame in pieces() if empty else ():
        for name in sorted(empty):
            at = frame[name].first_valid_index()
            if at is not None:
                empty.discard(name)
                rows.append(frame.loc[[at]])
        if not empty:
            break
    return _joined([opening, *rows])


def _sample(pieces: Pieces, parsed: Formula) -> pd.DataFrame:
    """The first `OPENING` complete rows, and every later one that is the first with a level or a change."""
    variables = list(dict.fromkeys(parsed.columns.values()))
    factors = {parsed.columns[word] for word in parsed.factors}
    parts: list[pd.DataFrame] = []
    taken, seen = 0, {name: set[Any]() for name in variables}
    for frame in pieces():
        complete = frame[variables].dropna()
        part = complete.iloc[: max(OPENING - taken, 0)]
        later = complete.iloc[len(part) :]
        taken += len(part)
        new = pd.Series(False, index=later.index)
        for name in variables:
            for values, first in ((part[name], False), (later[name], True)):
                is_number = name not in factors and pd.api.types.is_numeric_dtype(values.dtype)
                if is_number and len(seen[name]) > 1:
                    continue
                once = values[~values.duplicated() & ~values.isin(seen[name])]
                once = once.iloc[: 2 - len(seen[name])] if is_number else once
                seen[name].update(once)
                if first:
                    new[once.index] = True
        parts += [part, later[new]]
    return _joined([part for part in parts if len(part)] or parts[:1])


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    joined = pd.concat(frames) if len(frames) > 1 else frames[0]
    joined.attrs = frames[0].attrs
    return joined
