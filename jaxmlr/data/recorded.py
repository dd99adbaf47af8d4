"""Regressors from a file: one recording for all trials, or one for each."""

import functools
import hashlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr.data.processes import Process


def recorded(file: str | Path, sha256: str | None = None) -> Process:
    """Regressors phi[n] as they were recorded; labels and noise are drawn as for any process.

    Args:
      file: NPZ with an array `phi`, (n, d) for all trials or (trials, n, d); or Parquet with a column for
        each regressor, in their order, and perhaps a column `trial`, from 0, whose rows are as many for
        each trial.
      sha256: of the file; None takes it as it is. A study keeps it, so that a changed file is refused.

    Raises:
      ValueError: the file cannot be read, holds anything but finite regressors, or has changed.
    """
    path = Path(file)
    try:
        state = path.stat()
        phi, digest = _read(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise ValueError(f"file: {file} cannot be read: {error.strerror or error}") from error
    if sha256 is not None and sha256 != digest:
        raise ValueError(f"file: {file} has changed: its SHA-256 is {digest}, not {sha256}")

    def of_trial(trial: Any) -> Process:
        def step(state: tuple[()], n: jax.Array, normals: jax.Array) -> tuple[tuple[()], jax.Array]:
            place = n.astype(jnp.int32) - 1
            table = jnp.asarray(phi, normals.dtype)
            if len(phi) == 1:
                return state, table[0, place]
            return state, table[jnp.asarray(trial, jnp.int32), place]

        return Process(lambda normals: (), step)

    return of_trial(0)._replace(
        of_trial=of_trial, steps=phi.shape[1], trials=None if len(phi) == 1 else len(phi)
    )


def digest_of(file: str | Path) -> str:
    """The SHA-256 of a recording.

    Raises:
      ValueError: it cannot be read.
    """
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"file: {file} cannot be read: {error.strerror or error}") from error


@functools.lru_cache(maxsize=8)
def _read(path: Path, modified: int, size: int) -> tuple[np.ndarray, str]:
    """The regressors (recordings, n, d) and the digest of a file, read once while it stays as it is."""
    del modified, size
    phi = _array(path)
    if phi.ndim not in (2, 3) or phi.dtype.kind not in "fiu" or not phi.size:
        raise ValueError(f"file: phi in {path} must be numbers (n, d) or (trials, n, d), not {phi.shape}")
    if not np.isfinite(phi).all():
        raise ValueError(f"file: phi in {path} must be finite")
    if phi.shape[-2] >= 2**24:
        raise ValueError(f"file: {path} must have fewer than {2**24} rows a trial, not {phi.shape[-2]}")
    return (phi if phi.ndim == 3 else phi[None]).astype(np.float64), digest_of(path)


def _array(path: Path) -> np.ndarray:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            if arrays.files != ["phi"]:
                raise ValueError(f"file: {path} must hold one array, phi, not {', '.join(arrays.files)}")
            return arrays["phi"]
    if path.suffix != ".parquet":
        raise ValueError(f"file must end in .npz or .parquet, not {path}")
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise ValueError(f"file: {error}; pip install 'jaxmlr[export]'") from error
    table = pd.read_parquet(path)
    if "trial" not in table:
        return table.to_numpy(np.float64)
    trials = table.pop("trial").to_numpy()
    numbers, counts = np.unique(trials, return_counts=True)
    if not np.array_equal(numbers, np.arange(len(numbers))) or len({*counts}) > 1:
        raise ValueError(f"file: trials in {path} must be 0, 1, ... with as many rows each")
    order = np.argsort(trials, kind="stable")
    return table.to_numpy(np.float64)[order].reshape(len(numbers), counts[0], -1)
