"""Seconds to fit a large table, and rows a second of a recursive method on a Parquet file.

    python experiments/table_speed.py [--rows 1000000] [--stream 10000000]

A table of 10 regressors and K = 3; the fit includes its starts and, apart, its compilation. The stream is
written to a temporary file first.
"""

import argparse
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxmlr.fitting.tables.design import Design, TableRows
from jaxmlr.fitting.tables.fit import fit_rows, fit_stream

DIM, COMPONENTS = 10, 3


def table(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    beta = 2 * rng.normal(size=(COMPONENTS, DIM))
    x = rng.normal(size=(n, DIM))
    z = rng.choice(COMPONENTS, size=n, p=[0.5, 0.3, 0.2])
    return x, np.einsum("ij,ij->i", x, beta[z]) + 0.5 * rng.normal(size=n)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--stream", type=int, default=10_000_000)
    given = options.parse_args()
    names = tuple(f"x{k}" for k in range(DIM))
    for attempt in ("with compilation", "compiled"):
        x, y = table(given.rows, 0)
        design = Design("y ~ x", "y", names, names, {}, None)
        rows = TableRows(x, y, np.arange(1, given.rows + 1), 0)
        began = time.perf_counter()
        fitted = fit_rows(design, rows, [COMPONENTS], "fit", 0)
        print(
            f"fit of {given.rows:,} x {DIM}, {attempt}: {time.perf_counter() - began:.1f} s,"
            f" sigma {np.sqrt(fitted.fit.mixture.noise_variance).round(3)}"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream.parquet"
        piece = 500_000
        schema = pa.schema([(name, pa.float32()) for name in (*names, "y")])
        with pq.ParquetWriter(path, schema) as writer:
            for _ in range(0, given.stream, piece):
                x, y = table(piece, 1)
                columns = [*x.T.astype(np.float32), y.astype(np.float32)]
                writer.write_table(pa.table(columns, schema=schema))
        for method, components in (("least_squares", 1), ("two_step", 2), ("recursive_em", 3)):
            began, first, at = time.perf_counter(), 0.0, 0
            for now, _, _ in fit_stream(path, "y", " + ".join(names), components, method, 0):
                if not first:  # the first chunk compiles
                    first, at = time.perf_counter(), now.used
            rate = (now.used - at) / (time.perf_counter() - first)
            print(f"{method}: {rate:,.0f} rows/s from Parquet, {first - began:.1f} s for the first chunk")
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}")


if __name__ == "__main__":
    main()
