"""A study's folder: one file a block, written whole or not at all, and a manifest that says whose they are.

DIR/manifest.json       the study, its fingerprint, and the versions that compute it
DIR/study.toml          the study, to read and to run again
DIR/blocks/000000.npz   what block 0 summarised
DIR/results.zarr        the dataset, once all blocks are there
"""

import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tomli_w
import xarray as xr

import jaxmlr
from jaxmlr.study.spec import Study

FORMAT = 1

Blocks = dict[str, dict[str, dict[str, np.ndarray]]]


def provenance(study: Study) -> dict[str, Any]:
    """What decides a study's numbers to the last bit, as plain values."""
    device = jax.devices()[0]
    return {
        "format": FORMAT,
        "fingerprint": study.fingerprint(),
        "jaxmlr": jaxmlr.__version__,
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "device": device.device_kind,
        "machine": platform.machine(),
        "block": study.block_size,
    }


class Store:
    """The blocks of one study in one folder.

    Raises:
      ValueError: the folder cannot be written, or holds another study or something else.
    """

    def __init__(self, study: Study, folder: Path):
        self._study, self.folder = study, folder
        self._blocks = folder / "blocks"
        self._claim()

    def _claim(self) -> None:
        manifest = self.folder / "manifest.json"
        ours = provenance(self._study) | {"study": self._study.to_table()}
        try:
            occupied = self.folder.exists() and any(self.folder.iterdir())
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
            if difference:
                raise ValueError(f"{self.folder} holds another study: {difference}; choose another folder")
        try:
            self._blocks.mkdir(parents=True, exist_ok=True)
            write(manifest, json.dumps(ours, indent=1).encode())
            write(self.folder / "study.toml", tomli_w.dumps(self._study.to_table()).encode())
        except OSError as error:
            raise ValueError(f"{self.folder} cannot be written: {error.strerror}") from error

    def _path(self, block: int) -> Path:
        return self._blocks / f"{block:06d}.npz"

    def missing(self) -> list[int]:
        """Blocks that are still to be computed, in order."""
        return [block for block in range(self._study.blocks) if not self._path(block).is_file()]

    def save(self, block: int, found: Blocks) -> None:
        """Write a block's summaries."""
        flat = {
            "/".join((name, metric, field)): array
            for name, table in found.items()
            for metric, fields in table.items()
            for field, array in fields.items()
        }
        with tempfile.NamedTemporaryFile(dir=self._blocks, suffix=".tmp", delete=False) as file:
            np.savez_compressed(file, **flat)  # type: ignore[arg-type]
        os.replace(file.name, self._path(block))

    def load(self, block: int) -> Blocks:
        """Read a block's summaries."""
        found: Blocks = {}
        with np.load(self._path(block), allow_pickle=False) as file:
            for key in file.files:
                name, metric, field = key.rsplit("/", 2)
                found.setdefault(name, {}).setdefault(metric, {})[field] = file[key]
        return found

    def published(self) -> xr.Dataset | None:
        """The dataset, if it has been written."""
        return load(self.folder) if (self.folder / "results.zarr").is_dir() else None

    def publish(self, dataset: xr.Dataset) -> None:
        """Write the dataset as `results.zarr`, in place of an earlier one."""
        fresh = Path(tempfile.mkdtemp(dir=self.folder, prefix="results.", suffix=".tmp"))
        dataset.to_zarr(fresh, mode="w", zarr_format=2, consolidated=True)
        target = self.folder / "results.zarr"
        if target.exists():
            shutil.rmtree(target)
        fresh.chmod(0o755)
        os.replace(fresh, target)


def load(folder: str | Path) -> xr.Dataset:
    """The results of the study in `folder`, in memory.

    Raises:
      ValueError: there are none.
    """
    path = Path(folder) / "results.zarr"
    if not path.is_dir():
        raise ValueError(f"{folder} holds no results; `jaxmlr run STUDY.toml --out {folder}` makes them")
    with xr.open_zarr(path) as dataset:
        return dataset.load()


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(content)
    Path(file.name).chmod(0o644)
    os.replace(file.name, path)


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """The first thing in which two manifests differ, as a sentence, or nothing."""
    for key in ours:
        if key == "fingerprint" or theirs.get(key) == ours[key]:
            continue
        if isinstance(ours[key], Mapping) and isinstance(theirs.get(key), Mapping):
            for name in sorted({*ours[key], *theirs[key]}):
                if ours[key].get(name) != theirs[key].get(name):
                    return f"its {name} is {theirs[key].get(name)!r}, this one's {ours[key].get(name)!r}"
        return f"its {key} is {theirs.get(key)!r}, this one's {ours[key]!r}"
    return ""
