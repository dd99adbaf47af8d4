"""Tables from Parquet and Arrow files."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jaxmlr._xla import host

PARQUET = (".parquet", ".pq")
ARROW = (".feather", ".arrow", ".ipc")
COPIES = 8  # of a table's numbers that are in memory together while it is fitted


def is_parquet(source: str | Path) -> bool:
    """Whether a file is Parquet, by its suffix."""
    return Path(source).suffix.lower() in PARQUET


def is_arrow(source: str | Path) -> bool:
    """Whether a file is Parquet or Arrow, by its suffix."""
    return Path(source).suffix.lower() in (*PARQUET, *ARROW)


def rows_in(source: str | Path) -> int:
    """How many rows a Parquet file has."""
    return int(pq.read_metadata(source).num_rows)


def read(source: str | Path) -> pd.DataFrame:
    """The whole table of a file; `attrs["notes"]` are sentences on what its columns are.

    Raises:
      ValueError: a Parquet file, packed as it is, holds more numbers than there is memory for.
    """
    if is_parquet(source):
        size, there = pq.read_metadata(source), host.memory()
        needed = 8 * COPIES * size.num_rows * size.num_columns
        if there is not None and needed > there:
            raise ValueError(
                f"{source}: {size.num_rows:,} rows of {size.num_columns} columns need about"
                f" {needed / 2**30:.3g} GiB of memory to be fitted at once, and there are"
                f" {there / 2**30:.3g}; a recursive method reads them in pieces"
            )
    return _frame(_whole(source))


def chunks(source: str | Path, rows: int) -> Iterator[pd.DataFrame]:
    """The table of a file in pieces of at most `rows` rows."""
    if is_parquet(source):
        with pq.ParquetFile(source) as file:
            for batch in file.iter_batches(rows):
                yield _frame(pa.Table.from_batches([batch]))
    else:
        table = _whole(source)
        for start in range(0, len(table), rows):
            yield _frame(table.slice(start, rows))


def _whole(source: str | Path) -> pa.Table:
    if is_parquet(source):
        return pq.read_table(source)
    with pa.memory_map(str(source)) as file:
        try:
            return pa.ipc.open_file(file).read_all()
        except pa.ArrowInvalid:
            file.seek(0)
            return pa.ipc.open_stream(file).read_all()


def _frame(table: pa.Table) -> pd.DataFrame:
    """Columns as float64, text or dates, whatever Arrow's type for them is."""
    notes = []
    for i, field in enumerate(table.schema):
        column, kind = table.column(i), field.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
            if pa.types.is_integer(kind) or pa.types.is_floating(kind):
                notes.append(f"column {field.name!r} has categories that are numbers; C(...) makes a factor")
        if pa.types.is_decimal(kind) or pa.types.is_null(kind) or pa.types.is_float16(kind):
            column = column.cast(pa.float64())
        elif pa.types.is_boolean(kind) and column.null_count:
            column = column.cast(pa.int8()).cast(pa.float64())
        elif pa.types.is_date(kind):
            column = column.cast(pa.timestamp("ms"))
        elif pa.types.is_duration(kind) or pa.types.is_time(kind):
            raise ValueError(f"column {field.name!r} holds times of type {kind}; write them as numbers")
        table = table.set_column(i, field.name, column)
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    frame.attrs["notes"] = notes
    return frame
