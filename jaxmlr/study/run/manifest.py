"""Whose folder it is: one study's from the first moment, among any number of processes and hosts.

The manifest is created by exactly one process before anything is computed. A study that differs in what
identifies it is refused. What a study grows in is free: trials, methods, grid points, block size, metrics,
recorded steps and what is made of the values; the manifest then holds the newest form.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import inspect
import json
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import tomli_w

import jaxmlr
from jaxmlr.study.declare import grid
from jaxmlr.study.declare.modules import root_of
from jaxmlr.study.declare.spec import Study
from jaxmlr.study.run.files import create, write

FORMAT = 3
ENVIRONMENT = ("format", "jaxmlr", "code", "jax", "jaxlib", "device", "machine")
FREE = ("fingerprint", "recorded", "block", "study", "folders")  # of the manifest: no part of the identity
GROWING = ("trials", "block", "grid", "metrics", "diagnostics", "record", "until", "keep", "reference")


def environment() -> dict[str, Any]:
    """What decides a study's numbers to the last bit besides the study itself, as plain values."""
    device = jax.devices()[0]
    return {
        "format": FORMAT,
        "jaxmlr": jaxmlr.__version__,
        "code": code_digest(),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "device": device.device_kind,
        "machine": platform.machine(),
    }


@functools.cache
def code_digest() -> str:
    """A digest of this package's source: a changed formula is another study."""
    root = Path(jaxmlr.__file__).parent
    content = b"".join(path.read_bytes() for path in sorted(root.rglob("*.py")))
    return hashlib.sha256(content).hexdigest()[:16]


def own_functions(study: Study) -> dict[str, str]:
    """A digest of the file that holds each function that is not this package's, by its path in the study.

    Raises:
      ValueError: a function cannot be found again by its name, so nobody could tell whose results these are.
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


def own_folders(study: Study) -> list[str]:
    """Where the modules of those functions lie, to run the study again from its folder of results."""
    names = {str(getattr(function, "__module__", "")) for function in study.functions.values()}
    roots = {root_of(sys.modules.get(name.partition(".")[0])) for name in names}
    return sorted(str(root) for root in roots if root is not None)


def describe(study: Study) -> dict[str, Any]:
    """The manifest of a study, as this process would compute it."""
    return {
        **environment(),
        "fingerprint": study.fingerprint(),
        "recorded": study.recorded.tolist(),
        "block": study.block_size,
        "functions": own_functions(study),
        "folders": own_folders(study),
        "study": study.to_table(),
    }


def check_same(theirs: Mapping[str, Any], ours: Mapping[str, Any], folder: Path) -> None:
    """Raise ValueError where a folder's manifest is that of another study."""
    if difference := _difference(theirs, ours):
        raise ValueError(f"{folder} holds another study: {difference}; choose another folder")


def claim(study: Study, folder: Path) -> tuple[dict[str, Any], str]:
    """Take a folder for a study, or go on in it.

    Returns:
      The manifest, and in which way the study has grown or shrunk since it was here last, as words.

    Raises:
      ValueError: the folder cannot be written, or is another study's or something else.
    """
    path = folder / "manifest.json"
    ours = describe(study)
    content = json.dumps(ours, indent=1).encode()
    try:
        # A temporary file is that of another process, which begins at this moment, or was killed.
        occupied = folder.exists() and any(p.suffix != ".tmp" for p in folder.iterdir())
    except OSError as error:
        raise ValueError(f"{folder} is not a folder that can be used: {error.strerror}") from error
    if occupied and not path.is_file():
        raise ValueError(f"{folder} is not empty and holds no study; choose another folder")
    change = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not create(path, content):
            theirs = read(folder)
            check_same(theirs, ours, folder)
            if theirs != ours:
                change = _change(theirs, ours)
                write(path, content)
        toml = tomli_w.dumps(study.to_table()).encode()
        if not (folder / "study.toml").is_file() or (folder / "study.toml").read_bytes() != toml:
            write(folder / "study.toml", toml)
        (folder / "blocks").mkdir(exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder} cannot be written: {error.strerror}") from error
    return ours, change


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a folder.

    Raises:
      OSError: there is none, or it cannot be read.
      ValueError: it is not a manifest.
    """
    path = folder / "manifest.json"
    for last in (False, True):
        try:
            manifest = json.loads(path.read_bytes())
            keys = ("fingerprint", "recorded", "functions", "study")
            if not isinstance(manifest, dict) or not all(key in manifest for key in keys):
                raise ValueError("it is not a study's, or that of an earlier version")
            return manifest
        except (ValueError, RecursionError) as error:
            if last:
                raise ValueError(f"{path} cannot be read: {error}") from error
            time.sleep(0.1)  # on disks without links another process may be writing it at this moment
    raise AssertionError


def block_of(folder: Path) -> int | None:
    """The size of blocks of the study in a folder; None where there is none."""
    return int(read(folder)["block"]) if (folder / "manifest.json").is_file() else None


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """The first thing that tells two studies apart, as a sentence, or nothing."""
    before, after = _identity(theirs), _identity(ours)
    axes = {*_axes(theirs), *_axes(ours)}
    shared = {*theirs["functions"]} & {*ours["functions"]}
    methods = [{*_estimators(table)} for table in (theirs, ours)]
    for path in sorted({*before, *after} - axes):
        place, _, name = path.partition(".")
        if place == "functions" and name not in shared:
            continue
        if place == "estimators" and not all(name.startswith(tuple(f"{m}." for m in ms)) for ms in methods):
            continue
        if before.get(path) != after.get(path):
            return f"its {path} is {before.get(path)!r}, this one's {after.get(path)!r}"
    return ""


def _identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    study = {key: value for key, value in manifest["study"].items() if key not in GROWING}
    others = {k: v for k, v in manifest.items() if k not in FREE}
    return _leaves(others | study)


def _estimators(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    table: Mapping[str, Any] = manifest["study"].get("estimators", {})
    return table


def _axes(manifest: Mapping[str, Any]) -> list[str]:
    with contextlib.suppress(ValueError):
        return [path for path, _, _ in grid.paths(manifest["study"].get("grid", {}))]
    return []


def _change(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    before, after = theirs["study"], ours["study"]
    changes = [
        f"{key} was {before.get(key)!r} and is {after.get(key)!r}"
        for key in GROWING
        if before.get(key) != after.get(key)
    ]
    old, new = ({*_estimators(table)} for table in (theirs, ours))
    changes += [f"{name} is new" for name in sorted(new - old)]
    changes += [f"{name} is left out" for name in sorted(old - new)]
    return "; ".join(changes)


def _leaves(node: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(node, Mapping):
        return {path: node}
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        leaves |= _leaves(value, f"{path}.{key}" if path else key)
    return leaves
