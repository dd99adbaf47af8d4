"""A study's folder: one file a unit of work, written whole or not at all, and read only if unchanged.

DIR/manifest.json    the study, its fingerprint, and the versions that compute it
DIR/study.toml       the study, to read and to run again
DIR/blocks/*.npz     FIRST-STOP-GROUP: metrics of trials FIRST to STOP - 1 of a group of parts, and a SHA-256
DIR/blocks/*.claim   who computes them, while they are computed
DIR/limits.npz       the limits of the metrics, sealed likewise
DIR/results.zarr     the dataset, once all blocks are there
DIR/results.json     SHA-256 of every file of results.zarr
"""

import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmlr.fitting.terminal import say
from jaxmlr.study.compute.program import Values
from jaxmlr.study.declare.spec import Study
from jaxmlr.study.run import manifest
from jaxmlr.study.run.coverage import Spans, Unit, units
from jaxmlr.study.run.files import discard, sealed, unsealed, write
from jaxmlr.study.run.parts import Parts, SavedStudy, group_of, parts

_NAME = re.compile(r"(\d+)-(\d+)-([0-9a-f]{12})")


class Saved(NamedTuple):
    """The values of a unit, as its file holds them."""

    first: int
    stop: int
    tables: dict[str, list[str]]  # name of a table -> the part of each of its rows
    values: Values  # name of a table -> metric -> (rows, records, trials)


class Store:
    """The blocks of one study in one folder; what is damaged counts as missing.

    `Store(study, folder)` takes the folder; `Store.read(folder)` and `Store.look(study, folder)` only look.

    Raises:
      ValueError: the folder cannot be written, or holds another study or something else.
    """

    def __init__(self, study: Study, folder: Path):
        whose, self.change = manifest.claim(study, folder)
        self._open(study, folder, whose, tidy=True)

    @classmethod
    def look(cls, study: Study, folder: Path) -> "Store":
        """The store of a study in a folder that is there or not, without a change to anything.

        Raises:
          ValueError: the folder holds another study.
        """
        ours = manifest.describe(study)
        if (folder / "manifest.json").is_file():
            manifest.check_same(manifest.read(folder), ours, folder)
        store = cls.__new__(cls)
        store.change = ""
        store._open(study, folder, ours, tidy=False)
        return store

    @classmethod
    def read(cls, folder: Path) -> "Store":
        """The store of the study that a folder describes, without running any code that it names."""
        whose = manifest.read(folder)
        try:
            table = {**whose["study"], "record": whose["recorded"]}
            store = cls.__new__(cls)
            store.change = ""
            store._open(SavedStudy(**table), folder, whose, tidy=False)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise ValueError(f"{folder / 'manifest.json'} does not describe a study: {error}") from error
        return store

    def _open(self, study: Study, folder: Path, whose: dict[str, Any], *, tidy: bool) -> None:
        self.study, self.folder, self.blocks = study, folder, folder / "blocks"
        self.fingerprint: str = whose["fingerprint"]
        self.block_size: int = whose["block"]
        environment = {key: whose[key] for key in manifest.ENVIRONMENT}
        self.parts: Parts = parts(study, environment, whose["functions"])
        self._tidy = tidy
        self._files: dict[str, frozenset[str]] = {}  # name -> parts
        self._scan()

    def _path(self, name: str) -> Path:
        return self.blocks / f"{name}.npz"

    def _scan(self) -> None:
        """Find what is there and sound."""
        for path, there in self._of_ours(self.blocks, tidy=self._tidy):
            self._files[path.stem] = there

    def _of_ours(self, blocks: Path, *, tidy: bool) -> Iterator[tuple[Path, frozenset[str]]]:
        """The sound files of a folder that hold parts of this study, and all parts that each holds."""
        mine = {part for listed in self.parts.saved.values() for part in listed}
        for path in sorted(blocks.glob("*.npz")):
            try:
                tables = _tables(path)
            except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
                say(f"{path} is damaged and is computed again: {error}", file=sys.stderr)
                if tidy:
                    discard(path)
                continue
            there = frozenset(part for listed in tables.values() for part in listed)
            if mine & there:
                yield path, there

    def share(self, folder: Path, *, copy: bool = True) -> None:
        """Take what the folder of another study has of this one, by copies or, to look only, as if there.

        Raises:
          OSError: the folder holds no study.
        """
        manifest.read(folder)
        for path, there in self._of_ours(folder / "blocks", tidy=False):
            if copy and not self.has(path.stem):
                write(self._path(path.stem), path.read_bytes())
            self._files[path.stem] = there

    def spans(self) -> Spans:
        """Which trials of each part are there."""
        there: dict[str, list[tuple[int, int]]] = {}
        for name, listed in self._files.items():
            for part in listed:
                there.setdefault(part, []).append(_span(name)[:2])
        return there

    def missing(self) -> list[Unit]:
        """Units that are still to be computed, in the order of their trials."""
        return units(self.parts, self.spans(), self.study.trials, self.block_size)

    def has(self, name: str) -> bool:
        """Whether a unit has been saved."""
        return self._path(name).is_file()

    def save(self, unit: Unit, values: Values) -> None:
        """Write the metrics of a unit's trials: method -> metric -> (rows, records, trials)."""
        chosen = self.parts.chosen(set(unit.parts))
        tables = {name: [self.parts.saved[name][row] for row in rows] for name, rows in chosen.items()}
        names = list(tables)
        about = {"first": unit.first, "stop": unit.stop, "tables": [tables[name] for name in names]}
        flat: dict[str, Any] = {
            f"{k}/{metric}": x for k, name in enumerate(names) for metric, x in values[name].items()
        }
        content = io.BytesIO()
        np.savez_compressed(content, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **flat)
        write(self._path(unit.name), sealed(content.getvalue()))
        self.note(unit)

    def note(self, unit: Unit) -> None:
        """Take notice of a unit that this or another process has saved."""
        self._files[unit.name] = unit.parts

    def overlapping(self, first: int, stop: int) -> list[str]:
        """Names of files with trials of a range."""
        spans = ((name, _span(name)) for name in self._files)
        return sorted(name for name, span in spans if span[0] < stop and span[1] > first)

    def load(self, name: str) -> Saved:
        """Read the metrics of a unit.

        Raises:
          ValueError: the file is not what was written.
        """
        path = self._path(name)
        first, stop, _ = _span(name)
        try:
            tables, values = _tables(path), Values()
            with np.load(io.BytesIO(unsealed(path)), allow_pickle=False) as file:
                for key in file.files:
                    table, _, metric = key.partition("/")
                    if metric:
                        values.setdefault(table, {})[metric] = file[key]
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged: {error}; run again to go on") from error
        return Saved(first, stop, tables, values)

    def save_limits(self, limits: dict[str, np.ndarray]) -> None:
        """Write the limits of the metrics."""
        content = io.BytesIO()
        whose = np.frombuffer(self.parts.limits.encode(), np.uint8)
        tables: dict[str, Any] = {"fingerprint": whose, **limits}
        np.savez_compressed(content, **tables)
        write(self.folder / "limits.npz", sealed(content.getvalue()))

    def limits(self) -> dict[str, np.ndarray] | None:
        """The limits of the metrics; None where they are not there, damaged, or another study's."""
        path = self.folder / "limits.npz"
        try:
            with np.load(io.BytesIO(unsealed(path)), allow_pickle=False) as file:
                tables = {key: file[key] for key in file.files}
            whose = tables.pop("fingerprint").tobytes().decode()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            say(f"{path} is damaged: {error}", file=sys.stderr)
            return None
        return tables if whose == self.parts.limits else None


def _span(name: str) -> tuple[int, int, str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError("its name is not that of a block")
    return int(match[1]), int(match[2]), match[3]


def _tables(path: Path) -> dict[str, list[str]]:
    """The parts in a file's tables, of a file that is what was written under its name."""
    first, stop, group = _span(path.stem)
    with np.load(io.BytesIO(unsealed(path)), allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes())
    tables = {str(k): listed for k, listed in enumerate(about["tables"])}
    parts = [part for listed in tables.values() for part in listed]
    if (about["first"], about["stop"], group_of(parts)) != (first, stop, group):
        raise ValueError("it holds other trials or other methods than its name says")
    return tables
