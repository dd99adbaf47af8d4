"""Tables and queries of SQLite databases, `sqlite:///FILE?table=NAME`, which are read and never written."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd

PREFIX = "sqlite:///"


def is_database(source: str | Path) -> bool:
    """Whether a source is named as a database's."""
    return str(source).startswith(PREFIX)


def chunks(source: str, rows: int) -> Iterator[pd.DataFrame]:
    """The rows of a table or a query, in pieces of at most `rows`; a first piece comes always.

    Args:
      source: "sqlite:///FILE", of an absolute path with four slashes; behind it `?table=NAME`, which may be
        left out where there is one table, or `?query=SELECT ...`, with + for a blank or percent signs.
      rows: at least 1.

    Raises:
      OSError: no such file.
      ValueError: it is no database, has no such table, or the query is no query.
    """
    path, _, asked = source.removeprefix(PREFIX).partition("?")
    given = parse_qsl(asked, keep_blank_values=True)
    options = dict(given)
    if not set(options) <= {"table", "query"} or len(given) > 1:
        raise ValueError(f"{source}: behind the file stands ?table=NAME or ?query=SELECT ..., not ?{asked}")
    with _opened(Path(path)) as connection:
        query = options["query"] if "query" in options else _all_of(connection, path, options.get("table"))
        for frame in pd.read_sql_query(query, connection, chunksize=rows):
            empty = frame.columns[frame.isna().all()]  # whose type this piece does not tell
            yield frame.astype(dict.fromkeys(empty, np.float64))


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with path.open("rb"):  # SQLite's own word for a file that is not there does not name it
        pass
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            yield connection
    except (sqlite3.Error, pd.errors.DatabaseError) as error:
        raise ValueError(f"{path}: {str(error).splitlines()[-1]}") from error


def _all_of(connection: sqlite3.Connection, path: str, asked: str | None) -> str:
    kinds = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
    names = sorted(name for (name,) in connection.execute(kinds))
    table = asked if asked is not None else names[0] if len(names) == 1 else None
    if table is None or table not in names:
        what = "give ?table=" if table is None else f"it has no table {table!r}"
        raise ValueError(f"{path}: {what}; its tables are {', '.join(names[:20]) or 'none'}")
    quoted = table.replace('"', '""')
    return f'SELECT * FROM "{quoted}"'
