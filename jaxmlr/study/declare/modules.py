"""Where the modules that a study's file names come from: its own folder, or what is installed.

The folder that a command happens to be run in is neither: its modules are refused. Nothing is imported before
it is known where it lies.
"""

import contextlib
import importlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path as FilePath
from types import ModuleType
from typing import Any

from jaxmlr.study.declare.errors import Path, StudyError, dotted

_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_folders: set[FilePath] = set()  # of the studies whose modules this process has imported


def admit(table: Mapping[str, Any], folder: FilePath) -> None:
    """Import what a study's table names from the study's folder; refuse what is neither there nor installed.

    Python's standard library is not: what it runs, a study's own module has to run.

    Raises:
      StudyError: a module lies elsewhere, or another one of its name is in the way.
    """
    own = {each.resolve() for each in (folder, *_recorded(folder))}
    for path, name in _named((), table):
        top = name.partition(":")[0].partition(".")[0]
        if top in sys.stdlib_module_names:  # os:system takes a command line, and is no method
            raise StudyError(path, f"{dotted(path)}: {name!r} is in Python's standard library")
        mine = next((each for each in own if PathFinder.find_spec(top, [str(each)])), None)
        if mine is not None and top not in sys.modules:
            _import(top, mine)
        root = root_of(sys.modules.get(top) or _spec(top))
        if root is None or root == mine:
            continue
        if mine is not None:
            reason = f"{name!r} is hidden by another module {top!r}, in {root}; rename the study's own"
            raise StudyError(path, f"{dotted(path)}: {reason}")
        if root in _folders or root in _working_folder():
            reason = f"{name!r} is in {root}, which is neither the study's folder, {folder}, nor installed"
            raise StudyError(path, f"{dotted(path)}: {reason}")


def _named(path: Path, node: Any) -> Iterator[tuple[Path, str]]:
    """Every "package.module:function" where a function may stand, and where it is."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _named((*path, key), value)
    elif isinstance(node, list | tuple):
        for k, value in enumerate(node):
            yield from _named((*path, k), value)
    elif path and (path[0] == "metrics" or path[-1] in ("kind", "method")) and _NAME.fullmatch(str(node)):
        yield path, str(node)


def _recorded(folder: FilePath) -> list[FilePath]:
    """Where the modules of a study lay that has been run, if `folder` is that of its results."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        return [FilePath(each) for each in json.loads((folder / "manifest.json").read_bytes())["folders"]]
    return []


def _import(top: str, folder: FilePath) -> None:
    """Import a module of a study's folder, which later processes find too; its own errors come later."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        importlib.import_module(top)
    except Exception:
        return
    finally:
        sys.path.remove(str(folder))
    _folders.add(folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _spec(top: str) -> ModuleSpec | None:
    with contextlib.suppress(ImportError, ValueError):
        return find_spec(top)
    return None


def root_of(module: ModuleType | ModuleSpec | None) -> FilePath | None:
    """The folder in which a top-level module or package lies; None where it is in no file."""
    spec = module if isinstance(module, ModuleSpec) else getattr(module, "__spec__", None)
    inside = list(getattr(spec, "submodule_search_locations", None) or [])
    file = inside[0] if inside else getattr(spec, "origin", None)
    return FilePath(file).resolve().parent if file and os.path.exists(file) else None


def _working_folder() -> set[FilePath]:
    """The current folder, unless PYTHONPATH says that it is one of modules, or this package is in it."""
    given = {FilePath(each).resolve() for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each}
    return {FilePath.cwd()} - given - {root_of(sys.modules["jaxmlr"])}
