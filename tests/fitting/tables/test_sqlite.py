"""Tables and queries of SQLite databases give the numbers of the same table in a file."""

import sqlite3
from urllib.parse import quote_plus

import numpy as np
import pandas as pd
import pytest

from jaxmlr.fitting.tables import read


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    group = np.where(rng.random(7) < 0.5, "a", "b")
    x = [1.5, None, *rng.normal(size=5)]
    return pd.DataFrame({"x": x, "group by": group, "n": range(7), "y": rng.normal(size=7)})


@pytest.fixture
def path(table, tmp_path):
    path = tmp_path / "a b.db"
    with sqlite3.connect(path) as connection:
        table.to_sql('odd "name"', connection, index=False)
    connection.close()
    return path


def test_a_table_a_query_and_pieces_are_the_file(table, path, tmp_path):
    table.to_csv(tmp_path / "t.csv", index=False)
    wanted = read.read(tmp_path / "t.csv")
    named = f"sqlite:///{path}?table=odd+%22name%22"
    query = quote_plus('SELECT * FROM "odd ""name"""')
    for source in (f"sqlite:///{path}", named, f"sqlite:///{path}?query={query}"):
        pd.testing.assert_frame_equal(read.read(source), wanted, check_dtype=False)
        pieces = list(read.chunks(source, 3))
        assert [len(each) for each in pieces] == [3, 3, 1]
        pd.testing.assert_frame_equal(pd.concat(pieces), wanted, check_dtype=False)


def test_a_piece_without_an_entry_is_of_numbers(tmp_path):
    path = tmp_path / "t.db"
    with sqlite3.connect(path) as connection:
        pd.DataFrame({"x": [None, None, 1.5], "y": [1, 2, 3]}).to_sql("t", connection, index=False)
    connection.close()
    assert [piece["x"].dtype for piece in read.chunks(f"sqlite:///{path}", 2)] == [np.float64] * 2


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("?table=other", r"a b\.db: it has no table 'other'; its tables are odd \"name\""),
        ("?tabel=other", r"behind the file stands \?table=NAME or \?query=SELECT \.\.\., not \?tabel=other"),
        ("?query=SELEC+1", r"a b\.db: .*syntax error"),
        ("?query=DROP+TABLE+'odd+\"name\"'", r"a b\.db: .*readonly database"),
    ],
)
def test_what_is_asked_wrongly_is_said(path, asked, sentence):
    with pytest.raises(ValueError, match=sentence):
        read.read(f"sqlite:///{path}{asked}")


def test_no_file_no_database_and_two_tables_are_named(path, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        read.read(f"sqlite:///{tmp_path}/absent.db?table=t")
    (tmp_path / "text.db").write_text("x,y\n1,2\n" * 100)
    with pytest.raises(ValueError, match=r"text\.db: file is not a database"):
        read.read(f"sqlite:///{tmp_path}/text.db")
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE second (x)")
    connection.close()
    with pytest.raises(ValueError, match=r"give \?table=; its tables are odd \"name\", second"):
        read.read(f"sqlite:///{path}")
    with pytest.raises(ValueError, match="has no rows"):
        list(read.chunks(f"sqlite:///{path}?table=second", 10))
