"""Tables from CSV and Parquet files or standard input, whole or in chunks. Needs the extra `data`."""

import difflib
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

PARQUET = (".parquet", ".pq")
_CSV: dict[str, Any] = {"index_col": False, "low_memory": False, "skipinitialspace": True}


def read(source: str | Path) -> pd.DataFrame:
    """The whole table of a file.

    Args:
      source: a CSV file (`.tsv` for tabs, `.gz` and its like are unpacked), a Parquet file by its suffix
        `.parquet` or `.pq`, or "-" for CSV on standard input.

    Returns:
      A DataFrame whose index counts rows from 1, the header apart.

    Raises:
      OSError: the file cannot be opened.
      ValueError: it is empty, cut short, or not what its suffix says.
    """
    with _named(source):
        if _is_parquet(source):
            table = pq.read_table(source).to_pandas(ignore_metadata=True)
        else:
            table = pd.read_csv(_stream(source), sep=_separator(source), **_CSV)
        return _checked(table, 0)


def chunks(source: str | Path, rows: int) -> Iterator[pd.DataFrame]:
    """The table of a file in pieces of at most `rows` rows, so that it need not fit into memory.

    Args:
      source: as in `read`.
      rows: at least 1.

    Yields:
      DataFrames whose indices go on counting rows from 1.

    Raises:
      OSError: as `read`.
      ValueError: as `read`.
    """
    seen = 0
    with _named(source):
        if _is_parquet(source):
            with pq.ParquetFile(source) as file:
                for batch in file.iter_batches(rows):
                    yield _checked(pa.Table.from_batches([batch]).to_pandas(ignore_metadata=True), seen)
                    seen += batch.num_rows
        else:
            with pd.read_csv(_stream(source), sep=_separator(source), chunksize=rows, **_CSV) as reader:
                for piece in reader:
                    yield _checked(piece, seen)
                    seen += len(piece)
    if not seen:
        raise ValueError(f"{_name(source)} has no rows")


def rows_in(source: str | Path) -> int | None:
    """How many rows a file has, where that is known without reading it."""
    if not _is_parquet(source):
        return None
    with _named(source):
        return int(pq.read_metadata(source).num_rows)


def typed(
    frame: pd.DataFrame, names: Iterable[str], response: Iterable[str], levels: Mapping[str, list[str]] | None
) -> pd.DataFrame:
    """The columns `names` as float64 or as categories.

    A text column is a category, unless at least half of its entries read as numbers: then it is a column of
    numbers with text in it. Truth values count as 0 and 1.

    Args:
      frame: of `read` or `chunks`.
      names: columns to take.
      response: those among them that must hold numbers.
      levels: of every category, where they are known from an earlier chunk; None to find them.

    Returns:
      A DataFrame with NaN and None where an entry is missing.

    Raises:
      ValueError: no such column, text among numbers, an infinite number, a new level, or a column that
        holds neither numbers nor text; row and column are named.
    """
    numbers = set(response)
    return pd.DataFrame(
        {name: _column(column(frame, name), name in numbers, levels) for name in names}, index=frame.index
    )


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


def _column(
    values: "pd.Series[Any]", number: bool, levels: Mapping[str, list[str]] | None
) -> "pd.Series[Any]":
    name = values.name
    if pd.api.types.is_complex_dtype(values.dtype):
        raise ValueError(f"column {name!r} holds complex numbers; it must hold numbers or text")
    if levels is None or name not in levels:
        if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
            return _finite(values.astype(np.float64))
        text = _text(values)
        parsed = pd.to_numeric(text, errors="coerce")
        bad = text.notna() & parsed.isna()
        if levels is not None or number or not bad.any() or 2 * bad.sum() <= text.notna().sum():
            if bad.any():
                row = bad.idxmax()
                raise ValueError(f"row {row}, column {name!r}: {text[row]!r} is not a number")
            return _finite(parsed.astype(np.float64))
        return text
    text = _text(values)
    new = text.notna() & ~text.isin(levels[str(name)])
    if new.any():
        row = new.idxmax()
        raise ValueError(
            f"row {row}, column {name!r}: {text[row]!r} is none of the values in the first rows,"
            f" {', '.join(map(repr, levels[str(name)][:10]))}"
        )
    return text


def _text(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Entries as text without blanks around them, None where missing."""
    found = values.astype(object)
    some = found.dropna()
    if not some.map(lambda entry: isinstance(entry, str | int | float | bool | np.generic)).all():
        kind = type(some.iloc[0]).__name__
        raise ValueError(f"column {values.name!r} holds entries of type {kind}; it must hold numbers or text")
    text = some.map(lambda entry: str(entry).strip())
    return text[text != ""].reindex(values.index).astype(object)


def _finite(values: "pd.Series[Any]") -> "pd.Series[Any]":
    infinite = np.isinf(values.to_numpy())
    if infinite.any():
        row = values.index[int(np.argmax(infinite))]
        raise ValueError(f"row {row}, column {values.name!r}: {values[row]} is not finite")
    return values


def _checked(frame: pd.DataFrame, seen: int) -> pd.DataFrame:
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"two columns are called {twice!r}")
    frame.columns = frame.columns.map(str)
    return frame.set_axis(pd.RangeIndex(seen + 1, seen + 1 + len(frame)))


def _is_parquet(source: str | Path) -> bool:
    return Path(source).suffix.lower() in PARQUET


def _separator(source: str | Path) -> str:
    return "\t" if ".tsv" in Path(source).suffixes else ","


def _stream(source: str | Path) -> Any:
    return sys.stdin.buffer if str(source) == "-" else source


def _name(source: str | Path) -> str:
    return "standard input" if str(source) == "-" else str(source)


@contextmanager
def _named(source: str | Path) -> Iterator[None]:
    """Whatever a reader finds wrong becomes an error that names the file."""
    kind = "Parquet" if _is_parquet(source) else "CSV"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{_name(source)} is empty") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeError, pa.ArrowException) as error:
        raise ValueError(f"{_name(source)} is not a whole {kind} file: {error}") from error
    except OSError as error:
        if error.strerror:  # the system's, about the file itself
            raise
        raise ValueError(f"{_name(source)} is not a whole {kind} file: {error}") from error
