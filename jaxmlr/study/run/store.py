"""A study's folder: one file a block, written whole or not at all, and a manifest that says whose they are.

DIR/manifest.json       the study, its fingerprint, and the versions that compute it
DIR/study.toml          the study, to read and to run again
DIR/blocks/000000.npz   the metrics of block 0's trials at the recorded steps, then their SHA-256
DIR/blocks/0.claim      who computes block 0, while it is computed
DIR/results.zarr        the dataset, once all blocks are there
"""

import functools
import hashlib
import importlib.metadata
import inspect
import io
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tomli_w
import xarray as xr

import jaxmlr
from jaxmlr.study.compute.program import Values
from jaxmlr.study.declare.spec import Study

FORMAT = 2
DIGEST_BYTES = hashlib.sha256().digest_size


def versions(study: Study) -> dict[str, Any]:
    """What decides a study's numbers to the last bit, as plain values."""
    device = jax.devices()[0]
    return {
        "format": FORMAT,
        "fingerprint": study.fingerprint(),
        "jaxmlr": jaxmlr.__version__,
        "code": code_digest(),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "device": device.device_kind,
        "machine": platform.machine(),
        "block": study.block_size,
    }


def _own_methods(study: Study) -> dict[str, str]:
    """A digest of the file that holds each function that is not this package's.

    Raises:
      ValueError: a method cannot be found again by its name, so nobody could tell whose results these are.
    """
    digests = {}
    for path, function in study.functions.items():
        again: Any = sys.modules.get(getattr(function, "__module__", ""))
        for key in getattr(function, "__qualname__", "<unnamed>").split("."):
            again = getattr(again, key, None)
        source = inspect.getsourcefile(function) if again is function else None
        if source is None or not Path(source).is_file():
            raise ValueError(
                f"{path} must be a function of a module, which can be found again,"
                f" to be saved in a folder; it is {function!r}"
            )
        digests[path] = hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16]
    return digests


@functools.cache
def code_digest() -> str:
    """A digest of this package's source: a changed formula is another study."""
    root = Path(jaxmlr.__file__).parent
    content = b"".join(path.read_bytes() for path in sorted(root.rglob("*.py")))
    return hashlib.sha256(content).hexdigest()[:16]


class Store:
    """The blocks of one study in one folder.

    Raises:
      ValueError: the folder cannot be written, or holds another study or something else.
    """

    def __init__(self, study: Study, folder: Path):
        self._study, self.folder = study, folder
        self.blocks = folder / "blocks"
        self._claim()

    def _claim(self) -> None:
        manifest = self.folder / "manifest.json"
        whose = {"methods": _own_methods(self._study), "study": self._study.to_table()}
        ours = versions(self._study) | whose
        try:
            # A temporary file is that of another process, which begins at this moment, or was killed.
            occupied = self.folder.exists() and any(p.suffix != ".tmp" for p in self.folder.iterdir())
        except OSError as error:
            raise ValueError(f"{self.folder} is not a folder that can be used: {error.strerror}") from error
        if occupied and not manifest.is_file():
            raise ValueError(f"{self.folder} is not empty and holds no study; choose another folder")
        if occupied:
            try:
                theirs = json.loads(manifest.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ValueError(f"{manifest} cannot be read: {error}") from error
            difference = _difference(theirs, ours)
            begun = any(self.blocks.glob("*.npz")) or (self.folder / "results.zarr").exists()
            if difference and begun:
                raise ValueError(f"{self.folder} holds another study: {difference}; choose another folder")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(manifest, json.dumps(ours, indent=1).encode())
            write(self.folder / "study.toml", tomli_w.dumps(self._study.to_table()).encode())
            self.blocks.mkdir(exist_ok=True)
        except OSError as error:
            raise ValueError(f"{self.folder} cannot be written: {error.strerror}") from error

    def _path(self, block: int) -> Path:
        return self.blocks / f"{block:06d}.npz"

    def missing(self) -> list[int]:
        """Blocks that are still to be computed, in order; a damaged file counts as missing."""
        return [block for block in range(self._study.blocks) if not self._sound(block)]

    def has(self, block: int) -> bool:
        """Whether a block has been saved."""
        return self._path(block).is_file()

    def _sound(self, block: int) -> bool:
        if not self.has(block):
            return False
        try:
            self.load(block)
        except (OSError, ValueError) as error:
            print(f"{self._path(block)} is damaged and is computed again: {error}", file=sys.stderr)
            self._path(block).unlink()
            return False
        return True

    def save(self, block: int, found: Values) -> None:
        """Write a block's metrics."""
        content = io.BytesIO()
        flat = {f"{name}/{metric}": x for name, table in found.items() for metric, x in table.items()}
        np.savez_compressed(content, **flat)
        whole = content.getvalue()
        write(self._path(block), whole + hashlib.sha256(whole).digest())

    def load(self, block: int) -> Values:
        """Read a block's metrics.

        Raises:
          ValueError: the file is not what was written.
        """
        found: Values = {}
        content = self._path(block).read_bytes()
        whole, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
        if hashlib.sha256(whole).digest() != digest:
            raise ValueError("its checksum is another one")
        with np.load(io.BytesIO(whole), allow_pickle=False) as file:
            for key in file.files:
                name, metric = key.rsplit("/", 1)
                found.setdefault(name, {})[metric] = file[key]
        return found

    def published(self) -> xr.Dataset | None:
        """The dataset, if it has been written."""
        return load(self.folder) if (self.folder / "results.zarr").is_dir() else None

    def publish(self, dataset: xr.Dataset) -> None:
        """Write the dataset as `results.zarr`, in place of an earlier one."""
        target = self.folder / "results.zarr"
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="results.", suffix=".tmp") as work:
            fresh = Path(work) / "fresh"
            dataset.to_zarr(fresh, mode="w", zarr_format=2, consolidated=True)
            if target.exists():
                os.replace(target, Path(work) / "old")
            os.replace(fresh, target)


def load(folder: str | Path) -> xr.Dataset:
    """The results of the study in `folder`, in memory.

    Raises:
      ValueError: there are none.
    """
    path = Path(folder) / "results.zarr"
    if not path.is_dir():
        if (there := len(list((Path(folder) / "blocks").glob("*.npz")))) or (
            Path(folder) / "manifest.json"
        ).is_file():
            raise ValueError(
                f"{folder} holds no results yet: {there} blocks are there;"
                f" `jaxmlr run {folder}/study.toml --out {folder}` goes on"
            )
        raise ValueError(f"{folder} holds no results; `jaxmlr run STUDY.toml --out {folder}` makes them")
    with xr.open_zarr(path) as dataset:
        return dataset.load()


def block_of(folder: Path) -> int | None:
    """The size of blocks of the study in a folder; None where there is none."""
    try:
        return int(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["block"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / 'manifest.json'} cannot be read: {error}") from error


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also when the power fails.

    Raises:
      OSError: it cannot be written, as on a full disk; the message names it.
    """
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with open(descriptor, "wb", buffering=0) as file:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        os.chmod(fresh, 0o644)
        os.replace(fresh, path)
    except OSError as error:
        os.unlink(fresh)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        os.unlink(fresh)
        raise


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """The first thing in which two manifests differ, as a sentence, or nothing."""
    before, after = _leaves(theirs), _leaves(ours)
    for path in sorted({*before, *after} - {"fingerprint"}):
        if before.get(path) != after.get(path):
            return f"its {path} is {before.get(path)!r}, this one's {after.get(path)!r}"
    same = theirs.get("fingerprint") == ours["fingerprint"]
    return "" if same else "its axes or methods are in another order"


def _leaves(node: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(node, Mapping):
        return {path.removeprefix("study."): node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= _leaves(value, f"{path}.{key}" if path else key)
    return found
