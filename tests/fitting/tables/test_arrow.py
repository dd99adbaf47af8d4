"""Parquet files that are small on the disk and large in memory."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxmlr._xla import host
from jaxmlr.fitting.tables import read


def test_a_table_larger_than_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "zeros.parquet"
    zeros = pa.array(np.zeros(100_000, np.int8))
    pq.write_table(pa.table({"x": zeros, "y": zeros}), path, compression="zstd")
    assert path.stat().st_size < 5_000
    monkeypatch.setattr(host, "memory", lambda: 10_000_000)
    with pytest.raises(ValueError, match=r"zeros.parquet: 100,000 rows of 2 columns need about .* GiB"):
        read.read(path)
    assert sum(len(piece) for piece in read.chunks(path, 30_000)) == 100_000
    monkeypatch.setattr(host, "memory", lambda: 20_000_000)
    assert read.read(path).shape == (100_000, 2)
