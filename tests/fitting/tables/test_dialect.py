"""Files as programs and people write them: read as they are meant, or refused with the option to give."""

import gzip
import io
import re
import sys

import numpy as np
import pandas as pd
import pytest

from jaxmlr.fitting.tables import read
from jaxmlr.fitting.tables.dialect import Reading

WANTED = {"x": [1.5, 1200.25, -3.0], "y": [0.5, 2.0, 4.125]}
XY = ["1.5", "0.5"], ["1200.25", "2"], ["-3", "4.125"]


def written(separator=",", header=("x", "y"), rows=XY, end=""):
    return "".join(separator.join(row) + end + "\n" for row in (header, *rows))


READ = {
    "plain": (written(), ""),
    "semicolon": (written(";"), "read with separator ';'"),
    "tab": (written("\t"), "read with separator tab"),
    "bar": (written("|"), "read with separator '|'"),
    "blanks": ("x   y\n1.5   0.5\n1200.25 2\n  -3 4.125\n", "read with separator space"),
    "blank after comma": (written(", "), ""),
    "decimal comma": ("x;y\n1,5;0,5\n1200,25;2\n-3;4,125\n", "read with separator ';' and decimal ','"),
    "decimal comma, points": ("x;y\n1,5;0,5\n1.200,25;2\n-3;4,125\n", "thousands '.'"),
    "decimal comma in quotes": ('x,y\n"1,5","0,5"\n"1200,25",2\n-3,"4,125"\n', "read with decimal ','"),
    "thousands": ('x,y\n1.5,.5\n"1,200.25",2\n-3,4.125\n', "column 'x': thousands ',' are taken off"),
    "thousands of Switzerland": ("x,y\n1.5,.5\n1'200.25,2\n-3,4.125\n", 'thousands "\'" are taken off'),
    "thousands of France": ("x;y\n1,5;,5\n1\u00a0200,25;2\n-3;4,125\n", "thousands '\\xa0' are taken off"),
    "currency": ('x,y\n€1.5,0.5\n"€1,200.25",2\n-€3,4.125\n', "currency signs and thousands ','"),
    "currency by its letters": ("x,y\nUSD 1.5,.5\nUSD 1200.25,2\nUSD -3,4.125\n", "currency signs"),
    "a sign for the row number": ("#,x,y\n7,1.5,.5\n5,1200.25,2\n1,-3,4.125\n", "column 1, which has no"),
    "a nameless index of an index": (
        ",Unnamed: 0,x,y\n0,0,1.5,.5\n1,1,1200.25,2\n2,2,-3,4.125\n",
        "column 'Unnamed: 0'",
    ),
    "currency behind": ("x,y\n1.5 $,.5\n1200.25 $,2\n-3 $,4.125\n", "currency signs"),
    "minus sign": (written(rows=(XY[0], XY[1], ["\u22123", "4.125"])), ""),
    "comments": ("# made 2024\n\n# by us\n" + written(), "comments behind '#'"),
    "comments within": (written(rows=(XY[0], ["# stop"], *XY[1:])), "comments behind '#'"),
    "header as a comment": ("# x y\n1.5 .5\n1200.25 2\n-3 4.125\n", "separator space"),
    "hint of Excel": ("sep=;\n" + written(";"), "separator ';'"),
    "units": (written(rows=(["m", "kg"], *XY)), "the first row, 'm', 'kg', holds units and is left out"),
    "units behind": (
        "x,y\n1.5 mm,0.5%\n1200.25 mm,2 %\n-3 mm,4.125%\n",
        "column 'x': units 'mm' are taken off",
    ),
    "units of some": (written(rows=(["[m]", ""], *XY)), "the first row, '[m]', '', holds units"),
    "windows": (written().replace("\n", "\r\n"), ""),
    "old Macintosh": (written().replace("\n", "\r"), ""),
    "byte order mark": ("\ufeff" + written(), ""),
    "quotes": ('"x","y"\n' + written().split("\n", 1)[1], ""),
    "single quotes": ("'x';'y'\n" + written(";").split("\n", 1)[1], "separator ';'"),
    "write.csv": ('"","x","y"\n"1",1.5,.5\n"2",1200.25,2\n"3",-3,4.125\n', "column 1, which has no name"),
    "write.table": ('"x" "y"\n"1" 1.5 .5\n"2" 1200.25 2\n"3" -3 4.125\n', "column 1, which has no name"),
    "pandas": (",x,y\n0,1.5,.5\n1,1200.25,2\n2,-3,4.125\n", "column 1, which has no name"),
    "pandas twice": (
        "Unnamed: 0,x,y\n0,1.5,.5\n1,1200.25,2\n2,-3,4.125\n",
        "'Unnamed: 0' counts or names rows",
    ),
    "trailing": (written(end=","), ""),
    "Fortran": ("x,y\n0.15D+01,0.5\n0.120025D+04,2\n-3,4.125\n", ""),
    "trailing rows": ("x,y\n" + written(end=",").split("\n", 1)[1], ""),
}


def numbers(frame):
    return {name: frame[name].tolist() for name in frame}


@pytest.mark.parametrize(("text", "said"), READ.values(), ids=READ)
def test_what_is_certain_is_recognised_and_said(tmp_path, monkeypatch, text, said):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    frame = read.read(path)
    assert numbers(frame) == WANTED
    notes = "; ".join(frame.attrs["notes"])
    assert (said in notes) if said else notes == ""
    pieces = list(read.chunks(path, 2))
    assert [list(piece.index) for piece in pieces] == [[1, 2], [3]]
    assert numbers(pd.concat(pieces)) == WANTED
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert numbers(read.read("-")) == WANTED


REFUSED = {
    "comma before three digits": (b'x,y\n"1,200",1\n"3,400",2\n', "--thousands , or --decimal ,"),
    "both decimal signs": (b"x;y\n1,5;1.5\n2,5;2.5\n", "--decimal , or --decimal ."),
    "latin": ("x,y\n1,2\nÄ,3\n".encode("cp1252"), "line 3 is not utf-8 (byte 0xc4); give --encoding"),
    "wide": (written().encode("utf-16-le"), "--encoding, for example utf-16"),
    "title": (b"Report of May\n\nx,y\n1,2\n3,4\n", "--skip-rows"),
    "titles": (b"Site: A\nDate: 2024\n\nx,y\n1,2\n3,4\n5,6\n", "--skip-rows"),
    "pairs": (b"site,A\ndate,2024-01-01\nx,y\n1,2\n3,4\n5,6\n", "give --skip-rows 2"),
    "too long": (b"x,y\n1,2,3\n1,2,4\n1,3,5\n", "row 1 has 3 entries and the header 2"),
    "no header": (b"1.5,2\n1,3\n4,5\n", "put a line of names in front"),
    "twice": (b"x,y,x\n1,2,3\n", "two columns are called 'x'"),
    "two separators": (b"a,b;c,d\n1,2;3,4\n5,6;7,8\n", "--separator ',' or --separator ';'"),
    "empty": (b"\n\n", "is empty"),
    "Excel": (b"PK\x03\x04\0\0", "an Excel workbook: save its sheet as CSV"),
    "packed": (gzip.compress(b"x,y\n1,2\n"), "packed by gzip: name it .gz"),
    "Parquet": (b"PAR1\x15\0", "a Parquet file: name it .parquet"),
    "JSON": (b'[{"x": 1, "y": 2}]', "JSON: write the table as CSV"),
    "JSON of lines": (b'{"x":1,"y":2}\n{"x":2,"y":3}\n', "JSON: write the table as CSV"),
    "HTML": (b'<table border="1">\n<tr>\n', "HTML or XML: write the table"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_certain_names_the_option(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        read.read(path)
    with pytest.raises(ValueError, match=re.escape(message)):
        list(read.chunks(path, 2))


SETTLED = {
    "thousands": ('x,y\n"1,200",1\n"3,400",2\n', {"thousands": ","}, {"x": [1200, 3400], "y": [1, 2]}),
    "decimal": ('x,y\n"1,200",1\n"3,400",2\n', {"decimal": ","}, {"x": [1.2, 3.4], "y": [1, 2]}),
    "points": ("x;y\n1.200;1\n3.400;2\n", {"decimal": ","}, {"x": [1200, 3400], "y": [1, 2]}),
    "latin": ("\xc4,y\n1,2\n", {"encoding": "cp1252"}, {"Ä": [1], "y": [2]}),
    "title": ("Report\nof May\nx,y\n1,2\n3,4\n", {"skip_rows": 2}, {"x": [1, 3], "y": [2, 4]}),
    "separator": ("a,b;c,d\n1,2;3,4\n", {"separator": ","}, {"a": [1], "b;c": ["2;3"], "d": [4]}),
    "tab": ("a b\tc\n1\t2\n", {"separator": "tab"}, {"a b": [1], "c": [2]}),
    "comment": ("! made\nx,y\n1,2\n! stop\n3,4\n", {"comment": "!"}, {"x": [1, 3], "y": [2, 4]}),
    "dates": ("x,y\n1970-01-02,1\n1970-01-03 12:00,2\n", {"dates": True}, {"x": [1, 2.5], "y": [1, 2]}),
    "German dates": ("x,y\n02.01.1970,1\n03.01.1970,2\n", {"dates": True}, {"x": [1, 2], "y": [1, 2]}),
    "British dates": ("x,y\n02/01/1970,1\n13/01/1970,2\n", {"dates": True}, {"x": [1, 12], "y": [1, 2]}),
    "American dates": ("x,y\n1/2/1970,1\n1/13/1970,2\n", {"dates": True}, {"x": [1, 12], "y": [1, 2]}),
    "months": ("x,y\n02-Jan-1970,1\n01-Feb-1970,2\n", {"dates": True}, {"x": [1, 31], "y": [1, 2]}),
}


@pytest.mark.parametrize(("text", "options", "wanted"), SETTLED.values(), ids=SETTLED)
def test_options_settle_it(tmp_path, text, options, wanted):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode("cp1252" if "encoding" in options else "utf-8"))
    assert numbers(read.read(path, Reading(**options))) == wanted


def test_missing_entries(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("x,y\n-999,1\n2,.\n3,NA\n4,n/a\n")
    frame = read.read(path, Reading(missing=("-999", ".")))
    np.testing.assert_array_equal(frame["x"], [np.nan, 2, 3, 4])
    np.testing.assert_array_equal(frame["y"], [1, np.nan, np.nan, np.nan])
    frame.to_parquet(tmp_path / "t.parquet")
    assert read.read(tmp_path / "t.parquet", Reading(missing=("2",)))["x"].isna().tolist() == [1, 1, 0, 0]


def test_signs_of_comments_that_begin_an_entry(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("%,y\n#N/A,1\n2.5,2\n#DIV/0!,3\n#stop\n-,4\n")
    for frame in (read.read(path), next(read.chunks(path, 9))):
        np.testing.assert_array_equal(frame["%"], [np.nan, 2.5, np.nan, np.nan])
        assert frame.attrs["notes"][-1] == "column '%': '#DIV/0!', '-' stands for a missing entry"


@pytest.mark.parametrize("name", ["{x}", "<x>", "[x]", "{", "<"])
def test_a_name_may_begin_as_other_files_do(tmp_path, name):
    path = tmp_path / "table.csv"
    path.write_text(f"{name},y\n1,2\n3,4\n")
    assert numbers(read.read(path)) == {name: [1, 3], "y": [2, 4]}


def test_packed_files_and_all_digits(tmp_path):
    values = np.random.default_rng(0).normal(size=1000)
    text = "x,y\n" + "".join(f"{value!r},0\n" for value in values.tolist())
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write(text)
    pd.read_csv(io.StringIO(text)).to_csv(tmp_path / "t.csv.zip", index=False)
    for name in ("t.csv.gz", "t.csv.zip"):
        assert (read.read(tmp_path / name)["x"] == values).all()


def test_a_point_alone_is_no_number(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("x,y\n.,1\n2.5,2\n")
    frame = read.read(path)
    np.testing.assert_array_equal(frame["x"], [np.nan, 2.5])
    assert frame.attrs["notes"] == ("column 'x': '.' stands for a missing entry",)


def test_dates_that_may_begin_with_the_day_or_the_month(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("x,y\n1/2/1970,1\n1/3/1970,2\n")
    with pytest.raises(ValueError, match="'1/2/1970' may begin with the day or the month"):
        read.read(path, Reading(dates=True))


BAD = [
    {"decimal": ";"},
    {"separator": "ab"},
    {"encoding": "ebdic"},
    {"thousands": "x"},
    {"decimal": ",", "thousands": ","},
]


@pytest.mark.parametrize("options", BAD)
def test_options_that_cannot_be(options):
    with pytest.raises(ValueError, match=f"--{next(iter(options))}"):
        Reading(**options)
