"""Tables from CSV, Parquet, Arrow, SQLite or standard input, whole or in chunks. Needs the extra `data`."""

import bz2
import csv
import gzip
import io
import itertools
import lzma
import re
import sys
import warnings
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from jaxmlr.fitting.tables import arrow, dialect, numerals, sqlite
from jaxmlr.fitting.tables.dialect import Dialect, Reading

SAMPLE = 1 << 18  # bytes in which a dialect is recognised
_OPEN: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# Numbers to the last bit, which pandas does by itself from 3.1 on.
_EXACT = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
_NAMELESS = re.compile(
    r"Unnamed: \d+(\.\d+|_level_\d+)*|__index_level_\d+__"
)  # pandas' words for a column without a name


def read(source: str | Path, reading: Reading | None = None) -> pd.DataFrame:
    """The whole table of a file.

    Args:
      source: a text file (`.gz`, `.bz2`, `.xz`, `.zst` and `.zip` are unpacked), Parquet or Arrow by its
        suffix `.parquet`, `.pq`, `.feather`, `.arrow` or `.ipc`, "-" for text on standard input, or a
        database as in `sqlite.chunks`.
      reading: what is known of its dialect; the rest is recognised where it is certain.

    Returns:
      A DataFrame whose index counts rows from 1, the header apart, whose `attrs["notes"]` say in sentences
      how it was read and what was left out, and whose `attrs["missing"]` are the entries that the user calls
      missing.

    Raises:
      OSError: the file cannot be opened.
      ValueError: it is empty, cut short, not what its suffix says, or its dialect is not certain.
    """
    reading = reading or Reading()
    with _named(source):
        if sqlite.is_database(source):
            return _finished(pd.concat(sqlite.chunks(str(source), 1 << 16)), 0, None, reading)
        if arrow.is_arrow(source):
            return _finished(arrow.read(source), 0, None, reading)
        with _text(source, reading) as (lines, recognised):
            return _finished(pd.read_csv(lines, **_arguments(recognised, reading)), 0, recognised, reading)


def chunks(
    source: str | Path, rows: int, reading: Reading | None = None, *, texts: Collection[str] = ()
) -> Iterator[pd.DataFrame]:
    """The table of a file in pieces of at most `rows` rows, so that it need not fit into memory.

    Args:
      source: as in `read`.
      rows: at least 1.
      reading: as in `read`.
      texts: columns whose entries stay text, in every piece.

    Yields:
      DataFrames whose indices go on counting rows from 1.

    Raises:
      OSError: as `read`.
      ValueError: as `read`.
    """
    reading = reading or Reading()
    seen = 0
    with _named(source):
        if sqlite.is_database(source):
            for frame in sqlite.chunks(str(source), rows):
                yield _finished(frame, seen, None, reading, texts)
                seen += len(frame)
        elif arrow.is_arrow(source):
            for frame in arrow.chunks(source, rows):
                yield _finished(frame, seen, None, reading)
                seen += len(frame)
        else:
            with _text(source, reading) as (lines, recognised):
                arguments = _arguments(recognised, reading) | {"dtype": dict.fromkeys(texts, str)}
                with pd.read_csv(lines, chunksize=rows, **arguments) as reader:
                    for piece in reader:
                        yield _finished(piece, seen, recognised, reading, texts)
                        seen += len(piece)
    if not seen:
        raise ValueError(f"{_name(source)} has no rows")


def rows_in(source: str | Path) -> int | None:
    """How many rows a file has, where that is known without reading it."""
    if not arrow.is_parquet(source):
        return None
    with _named(source):
        return arrow.rows_in(source)


def _finished(
    frame: pd.DataFrame, seen: int, recognised: Dialect | None, reading: Reading, texts: Collection[str] = ()
) -> pd.DataFrame:
    """Numbers out of texts, days out of dates on request, no column without a name."""
    notes = list(recognised.notes if recognised else frame.attrs.get("notes", ()))
    frame.columns = frame.columns.map(str)
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"two columns are called {twice!r}; give one of them another name")
    frame = frame.set_axis(pd.RangeIndex(seen + 1, seen + 1 + len(frame)))
    nameless = [name for name in frame.columns if _NAMELESS.fullmatch(name)]
    known = recognised.names if recognised else frame.columns
    notes += [f"column {name!r} counts or names rows; it is left out" for name in nameless if name in known]
    converted = {}
    for name in frame.columns.difference([*nameless, *texts], sort=False):
        values = frame[name]
        if recognised is None and reading.missing:
            values = values.mask(_stand_for_none(values, reading.missing))
        if values.dtype == object or pd.api.types.is_string_dtype(values.dtype):
            values, said = _numbers(values, recognised, reading)
            notes += [said] if said else []
        elif reading.dates and pd.api.types.is_datetime64_any_dtype(values.dtype):
            values, said = numerals.days(values), f"column {name!r}: dates are days since 1970-01-01"
            notes.append(said)
        elif pd.api.types.is_numeric_dtype(values.dtype) and numerals.looks_like_packed_dates(values):
            notes.append(numerals.PACKED.format(name, values.dropna().iloc[0]))
        converted[name] = values
    frame = frame.assign(**converted).drop(columns=nameless)
    frame.attrs |= {"notes": tuple(notes), "missing": reading.missing}
    return frame


def _stand_for_none(values: "pd.Series[Any]", missing: Collection[str]) -> "pd.Series[Any]":
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.isin(pd.to_numeric(pd.Series(list(missing)), errors="coerce").dropna())
    return values.astype(str).isin(missing)


def _numbers(
    values: "pd.Series[Any]", recognised: Dialect | None, reading: Reading
) -> "tuple[pd.Series[Any], str]":
    """A column of texts or objects as numbers, where all of its entries are numbers or truth values."""
    present = values.dropna()
    if not present.map(lambda entry: isinstance(entry, str)).all():
        if present.map(lambda entry: isinstance(entry, bool | np.bool_)).all():
            return values.astype(np.float64), ""
        return values, ""
    if reading.dates and len(present) and numerals.looks_like_dates(present):
        return numerals.days(values), f"column {values.name!r}: dates are days since 1970-01-01"
    if len(present) and recognised:
        parsed = numerals.numbers(values, recognised.marks)
        if parsed is not None:
            numbers, done = parsed
            return numbers, f"column {values.name!r}: {done}" if done else ""
    return values, ""


def _arguments(recognised: Dialect, reading: Reading) -> dict[str, Any]:
    free = (name for i in itertools.count() if (name := f"Unnamed: {i}") not in recognised.names)
    names = [each or next(free) for each in recognised.names]
    same = recognised.marks.decimal == recognised.separator  # such numbers are in quotes, and read as text
    return {
        "sep": recognised.separator,
        "decimal": "." if same else recognised.marks.decimal,
        "quotechar": recognised.quote,
        "names": names,
        "header": None,
        "index_col": False,
        "na_values": list(reading.missing),
        "low_memory": False,
        "skipinitialspace": True,
        **_EXACT,
    }


@contextmanager
def _text(source: str | Path, reading: Reading) -> Iterator[tuple[Any, Dialect]]:
    """The lines of a text file behind its header, and its dialect."""
    with _opened(source) as file:
        sample = file.read(SAMPLE)
        rest = file.read(1)
        recognised = dialect.recognise(sample, not rest, _name(source), reading)
        joined = io.BufferedReader(_Joined(sample + rest, file))
        lines: Any = io.TextIOWrapper(joined, encoding=recognised.encoding, newline="")
        if recognised.first:
            lines = _Lines(lines, recognised.first, None)
        yield (_Lines(lines, 0, recognised.comment) if recognised.comment else lines), recognised


@contextmanager
def _opened(source: str | Path) -> Iterator[Any]:
    path = Path(source)
    if str(source) == "-":
        yield sys.stdin.buffer
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if not name.endswith("/")]
            if len(members) != 1:
                raise ValueError(f"{source} holds {len(members)} files; give it one")
            with archive.open(members[0]) as file:
                yield file
    elif path.suffix == ".zst":
        with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as file:
            yield file
    else:
        with _OPEN.get(path.suffix, open)(path, "rb") as file:
            yield file


class _Joined(io.RawIOBase):
    """What was read of a file already, and then the rest of it."""

    def __init__(self, begun: bytes, file: Any):
        self.begun, self.file = begun, file

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer."""
        size = len(buffer)
        part, self.begun = self.begun[:size], self.begun[size:]
        part = part or self.file.read(size)
        buffer[: len(part)] = part
        return len(part)


class _Lines(io.TextIOBase):
    """Text without its first lines, and without those that begin with a comment."""

    def __init__(self, lines: Any, skip: int, comment: str | None):
        self.lines, self.comment = lines, comment
        for _ in range(skip):
            lines.readline()

    def read(self, size: int | None = -1) -> str:
        """At least `size` characters where there are as many, in whole lines."""
        if self.comment is None:
            return str(self.lines.read(size))
        parts, length = [], 0
        for line in self.lines:
            if not dialect.is_comment(line, self.comment):
                parts.append(line)
                length += len(line)
                if 0 <= (size or -1) <= length:
                    break
        return "".join(parts)

    def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
        """The next line."""
        return next((line for line in self.lines if not dialect.is_comment(line, self.comment or "\0")), "")


def _name(source: str | Path) -> str:
    return "standard input" if str(source) == "-" else str(source)


@contextmanager
def _named(source: str | Path) -> Iterator[None]:
    """Whatever a reader finds wrong becomes an error that names the file."""
    kind = "Parquet" if arrow.is_parquet(source) else "Arrow" if arrow.is_arrow(source) else "CSV"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{_name(source)} has no rows") from error
    except UnicodeError as error:
        raise ValueError(
            f"{_name(source)} is not {getattr(error, 'encoding', 'text')}; give --encoding"
        ) from error
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        pa.ArrowException,
        EOFError,
        csv.Error,
        zipfile.BadZipFile,
    ) as error:
        raise ValueError(f"{_name(source)} is not a whole {kind} file: {error}") from error
    except OSError as error:
        if error.strerror:  # the system's, about the file itself
            raise
        raise ValueError(f"{_name(source)} is not a whole {kind} file: {error}") from error
