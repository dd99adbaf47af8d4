"""Types of Parquet and Arrow as numbers, text or dates."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxmlr.fitting.tables import read
from jaxmlr.fitting.tables.dialect import Reading

DAY = datetime.datetime(1970, 1, 3, 6)
NUMBERS = {
    "decimal": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("3")], pa.decimal128(8, 2)),
    "int": pa.array([1, None, 3], pa.int32()),
    "uint": pa.array([1, None, 3], pa.uint64()),
    "half": pa.array(np.array([1, 0, 3], np.float16), mask=np.array([False, True, False])),
    "bool": pa.array([True, None, False]),
    "dictionary": pa.array([7.0, None, 9.0]).dictionary_encode(),
    "null": pa.nulls(3),
}


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_types_that_are_numbers(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    table = pa.table(NUMBERS)
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    for frame in (read.read(path), next(read.chunks(path, 5))):
        assert set(frame.dtypes) == {np.dtype(np.float64)}
        assert frame["decimal"].tolist()[::2] == [1.25, 3]
        assert frame["bool"].tolist()[::2] == [1, 0]
        assert frame["dictionary"].tolist()[::2] == [7, 9]
        said = "column 'dictionary' has categories that are numbers; C(...) makes a factor"
        assert (said in frame.attrs["notes"]) == (suffix != "parquet")  # which does not keep them
        assert frame.iloc[1].isna().all()


def test_dates_are_days_on_request(tmp_path):
    stamps = pa.array([DAY, None], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"at": stamps, "day": pa.array([DAY.date(), None])}), tmp_path / "t.parquet")
    frame = read.read(tmp_path / "t.parquet", Reading(dates=True))
    assert frame["at"].tolist()[0] == 2.25
    assert frame["day"].tolist()[0] == 2
    assert frame.attrs["notes"][0] == "column 'at': dates are days since 1970-01-01"
    assert pd.api.types.is_datetime64_any_dtype(read.read(tmp_path / "t.parquet")["day"])


def test_text_and_the_index_of_pandas(tmp_path):
    frame = pd.DataFrame(
        {"g": pd.Categorical(["a", "b"]), "x": pd.array([1, None], "Int64")}, index=["u", "v"]
    )
    frame.to_parquet(tmp_path / "t.parquet")
    again = read.read(tmp_path / "t.parquet")
    assert again["g"].tolist() == ["a", "b"]
    assert list(again) == ["g", "x"]
    assert again.attrs["notes"] == ("column '__index_level_0__' counts or names rows; it is left out",)


def test_numbers_that_look_like_dates_are_said(tmp_path):
    rows = ["20200131,20200131,1", "20200229,20200199,2", "20210301,20200301,3"]
    (tmp_path / "t.csv").write_text("\n".join(["day,count,y", *rows, ""]))
    (note,) = read.read(tmp_path / "t.csv").attrs["notes"]
    assert note.startswith("column 'day': numbers as 20200131 look like dates")
    assert "give --dates" in note
