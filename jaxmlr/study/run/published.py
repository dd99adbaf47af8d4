"""The dataset in a study's folder: every byte is under a checksum, and what is broken is made again."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import xarray as xr

from jaxmlr.fitting.terminal import say
from jaxmlr.study.run.files import write
from jaxmlr.study.run.merge import Merger
from jaxmlr.study.run.store import Store
from jaxmlr.study.run.summary import summary

Digests = dict[str, str]  # path inside results.zarr -> SHA-256


def publish(folder: Path, dataset: xr.Dataset) -> None:
    """Write the dataset as `results.zarr`, in place of an earlier one; for one process at a time.

    The checksums of the new one are added before it takes its place, and those of the old one go after it.
    """
    target, sums = folder / "results.zarr", folder / "results.json"
    clear(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix="results.", suffix=".tmp") as work:
        fresh = Path(work) / "fresh"
        dataset.to_zarr(fresh, mode="w", zarr_format=2, consolidated=True)
        new = _digests(fresh)
        write(sums, json.dumps([*_listed(sums), new]).encode())
        if target.is_symlink() or not target.is_dir():
            target.unlink(missing_ok=True)
        else:
            os.replace(target, Path(work) / "old")
        os.replace(fresh, target)
        write(sums, json.dumps([new]).encode())


def clear(folder: Path) -> None:
    """Remove what killed processes left of results; for the one that may write them."""
    for left in folder.glob("results.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


def published(folder: Path) -> xr.Dataset | None:
    """The dataset in a folder, in memory, if it is there and not a byte of it has changed.

    What has changed is named on standard error.
    """
    path = folder / "results.zarr"
    if not path.exists() and not path.is_symlink():
        return None
    try:
        present, listed = _digests(path), _listed(folder / "results.json")
        if present not in listed:
            say(f"{_broken(path, present, listed)} is damaged", file=sys.stderr)
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with xr.open_zarr(path) as dataset:
                return dataset.load()
    except OSError as error:
        say(f"{error.filename or path} is damaged: {error.strerror}", file=sys.stderr)
        return None


def load(folder: str | Path) -> xr.Dataset:
    """The results of the study in `folder`, in memory.

    Of a study that is not finished, and where the saved results are damaged, they are made of the blocks
    that are there: the statistics of the first trials that all methods have at all grid points;
    `attrs["trials"]` says how many, and `attrs["unfinished"]` is 1. No code that the study names is run.

    Raises:
      ValueError: there are none.
    """
    folder = Path(folder)
    if not (folder / "manifest.json").is_file():
        raise ValueError(f"{folder} holds no results; `jaxmlr run STUDY.toml --out {folder}` makes them")
    store = Store.read(folder)
    whole = published(folder)
    if whole is not None and whole.attrs.get("fingerprint") == store.fingerprint:
        return whole
    missing = store.missing()
    merger = Merger(store.study, store.parts, store, missing, store.block_size)
    if merger.trials:
        finished = merger.trials == store.study.trials or merger.settled
        attributes = {"fingerprint": store.fingerprint} | ({} if finished else {"unfinished": 1})
        return summary(store.study, merger, store.limits() or {}, attributes)
    if whole is not None:
        return whole
    count = len(list(store.blocks.glob("*.npz")))
    raise ValueError(
        f"{folder} holds no results yet: {count} blocks are there;"
        f" `jaxmlr run {folder}/study.toml --out {folder}` goes on"
    )


def _digests(path: Path) -> Digests:
    """SHA-256 of every file of a store; of what is no file, its kind."""
    digests = {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file():
            digests[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        elif not file.is_dir():
            digests[name] = "no file"
    return digests


def _listed(sums: Path) -> list[Digests]:
    """The checksums of the stores that may stand in a folder; none where they cannot be read."""
    try:
        listed = json.loads(sums.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _broken(path: Path, present: Digests, listed: list[Digests]) -> Path:
    """The first file that is not as it was written."""
    if not listed:
        return path.parent / "results.json"
    expected = listed[-1]
    return path / next(
        name for name in sorted({*present, *expected}, key=str) if present.get(name) != expected.get(name)
    )
