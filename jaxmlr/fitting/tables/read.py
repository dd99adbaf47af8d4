"""Tables from CSV and Parquet files or standard input, whole or in chunks. Needs the extra `data`."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
