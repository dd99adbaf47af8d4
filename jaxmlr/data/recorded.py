"""Regressors, and perhaps responses, from a file: one recording for all trials, or one for each."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr.data.processes import Process


class Recording(NamedTuple):
    """What a file holds, each with a first axis of recordings, one or as many as trials."""

    phi: np.ndarray  # (recordings, n, d)
    y: np.ndarray | None  # (recordings, n)
    label: np.ndarray | None  # (recordings, n) int32


def recorded(file: str | Path, sha256: str | None = None, responses: bool | None = None) -> Process:
    """Regressors phi[n] as they were recorded, and responses if the file has them; else they are drawn.

    Args:
      file: NPZ with an array `phi`, (n, d) for all trials or (trials, n, d), and perhaps `y` and `label`,
        (n,) or (trials, n), labels from 0; or Parquet with a column for each regressor, in their order, and
        perhaps columns `y` and `label`, and `trial`, from 0, whose rows are as many for each trial.
      sha256: of the file; None takes it as it is. A study keeps it, so that a changed file is refused.
      responses: whether the file's `y` are taken; None: if it has any. Coefficients are then what estimates
        are compared with, and without `label` there is no misclassification.

    Raises:
      ValueError: the file cannot be read, holds anything but finite numbers of these shapes, or has changed.
    """
    path = Path(file)
    try:
        state = path.stat()
        whole, digest = _read(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise ValueError(f"file: {file} cannot be read: {error.strerror or error}") from error
    if sha256 is not None and sha256 != digest:
        raise ValueError(f"file: {file} has changed: its SHA-256 is {digest}, not {sha256}")
    if responses and whole.y is None:
        raise ValueError(f"responses: {file} has no array y")
    phi, taken = whole.phi, whole.y is not None and responses is not False

    def of_trial(trial: Any) -> Process:
        def at(table: np.ndarray, n: jax.Array) -> jax.Array:
            place, array = n.astype(jnp.int32) - 1, jnp.asarray(table)
            return array[0, place] if len(table) == 1 else array[jnp.asarray(trial, jnp.int32), place]

        def step(state: tuple[()], n: jax.Array, normals: jax.Array) -> tuple[tuple[()], jax.Array]:
            return state, at(phi.astype(normals.dtype), n)

        def answer(n: jax.Array) -> tuple[jax.Array, jax.Array]:
            assert whole.y is not None
            label = jnp.full((), -1, jnp.int32) if whole.label is None else at(whole.label, n)
            return at(whole.y, n), label

        return Process(lambda normals: (), step, answer=answer if taken else None)

    return of_trial(0)._replace(
        of_trial=of_trial,
        steps=phi.shape[1],
        trials=None if len(phi) == 1 else len(phi),
        components=None if not taken else 0 if whole.label is None else int(whole.label.max()) + 1,
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
def _read(path: Path, modified: int, size: int) -> tuple[Recording, str]:
    """The recordings and the digest of a file, read once while it stays as it is."""
    del modified, size
    arrays = _arrays(path)
    phi = arrays["phi"]
    if phi.ndim not in (2, 3) or phi.dtype.kind not in "fiu" or not phi.size:
        raise ValueError(f"file: phi in {path} must be numbers (n, d) or (trials, n, d), not {phi.shape}")
    if phi.shape[-2] >= 2**24:
        raise ValueError(f"file: {path} must have fewer than {2**24} rows a trial, not {phi.shape[-2]}")
    for name, array in arrays.items():
        kinds = "iu" if name == "label" else "fiu"
        if array.dtype.kind not in kinds or (name != "phi" and array.shape != phi.shape[:-1]):
            what = "whole numbers" if name == "label" else "numbers"
            raise ValueError(f"file: {name} in {path} must be {what} {phi.shape[:-1]}, not {array.shape}")
        if not np.isfinite(array).all() or (name == "label" and array.min() < 0):
            raise ValueError(f"file: {name} in {path} must be finite" + ", from 0" * (name == "label"))
    each = {name: array if phi.ndim == 3 else array[None] for name, array in arrays.items()}
    y = each["y"].astype(np.float64) if "y" in each else None
    label = each["label"].astype(np.int32) if "label" in each else None
    return Recording(each["phi"].astype(np.float64), y, label), digest_of(path)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            _check_names(path, arrays.files)
            return {name: arrays[name] for name in arrays.files}
    if path.suffix != ".parquet":
        raise ValueError(f"file must end in .npz or .parquet, not {path}")
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise ValueError(f"file: {error}; pip install 'jaxmlr[export]'") from error
    table = pd.read_parquet(path)
    trials = table.pop("trial").to_numpy() if "trial" in table else None
    answers = {name: table.pop(name).to_numpy() for name in ("y", "label") if name in table}
    _check_names(path, ["phi"] * bool(table.shape[1]) + [*answers])
    arrays = {"phi": table.to_numpy(np.float64), **answers}
    if trials is None:
        return arrays
    numbers, counts = np.unique(trials, return_counts=True)
    if not np.array_equal(numbers, np.arange(len(numbers))) or len({*counts}) > 1:
        raise ValueError(f"file: trials in {path} must be 0, 1, ... with as many rows each")
    order, shape = np.argsort(trials, kind="stable"), (len(numbers), counts[0])
    return {name: array[order].reshape(*shape, *array.shape[1:]) for name, array in arrays.items()}


def _check_names(path: Path, held: Sequence[str]) -> None:
    names = {*held}
    if "phi" not in names or names - {"phi", "y", "label"} or names == {"phi", "label"}:
        wanted = "phi, and perhaps y, and label beside it"
        raise ValueError(f"file: {path} must hold {wanted}, not {', '.join(held)}")
