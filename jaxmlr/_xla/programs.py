"""Programs kept as StableHLO beside those compiled: a later command need not trace them again."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxmlr._xla.jit import QUICK_OPTIONS, core

Shapes = list[jax.ShapeDtypeStruct]

_compiled: dict[str, "Future[Any]"] = {}
_lock = threading.Lock()
_ahead = ContextVar("_ahead", default=False)


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """Inside, a program that is called begins to compile in the background, and its `like` is returned."""
    token = _ahead.set(True)
    try:
        yield
    finally:
        _ahead.reset(token)


class Program(NamedTuple):
    """A function of pytrees, compiled on the CPU with `QUICK_OPTIONS` for the shapes of its arguments.

    Where `cache.keep` gave a folder, the program is kept there under its name, those shapes, the `statics`,
    this package's own text and the version of jax.
    """

    function: Callable[..., Any]
    name: str
    statics: Any  # what the function was made with
    like: Any  # a result, of which structure and shapes count

    def begin(self, *args: Any) -> "Future[Any]":
        """Begin to compile in the background, where that has not begun; only shapes of arguments count."""
        leaves, structure = jax.tree.flatten(args)
        keys = {i: str(jax.random.key_impl(leaf)) for i, leaf in enumerate(leaves) if _is_key(leaf)}
        shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in map(_data, leaves)]
        folder: str | None = jax.config.values["jax_compilation_cache_dir"]
        facts = (
            *(self.name, shapes, self.statics, structure, keys),
            *(_source(), jax.__version__, QUICK_OPTIONS, folder),
        )
        mark = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]

        def flat(*plain: jax.Array) -> list[jax.Array]:
            own = [
                jax.random.wrap_key_data(leaf, impl=keys[i]) if i in keys else leaf
                for i, leaf in enumerate(plain)
            ]
            return jax.tree.leaves(self.function(*jax.tree.unflatten(structure, own)))

        double = jax.config.values["jax_enable_x64"]

        def work(compiled: "Future[Any]") -> None:
            try:
                with jax.enable_x64(double):
                    function = jax.jit(
                        _exported(flat, shapes, folder, f"{self.name}-{mark}"), compiler_options=QUICK_OPTIONS
                    )
                    compiled.set_result(function.lower(*shapes).compile())
            except Exception as error:
                compiled.set_exception(error)

        with _lock:
            if mark not in _compiled:
                _compiled[mark] = Future()
                threading.Thread(target=work, args=(_compiled[mark],)).start()
            return _compiled[mark]

    @core
    def __call__(self, *args: Any) -> Any:
        """The function's result."""
        compiled = self.begin(*args)
        if _ahead.get():
            return self.like
        result = compiled.result()(*(_data(leaf) for leaf in jax.tree.leaves(args)))
        return jax.tree.unflatten(jax.tree.structure(self.like), result)


def _data(leaf: Any) -> np.ndarray:
    """A leaf as programs take it: NumPy's arrays are bound to no device, and cost no program of their own."""
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _exported(
    function: Callable[..., Any], shapes: Shapes, folder: str | None, name: str
) -> Callable[..., Any]:
    if folder is None:
        return function
    path = Path(folder) / f"{name}.npz"
    # Written and read in the first run too, so that the compiler sees one text and its cache holds for both.
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, BadZipFile):  # absent or cut short
        return _read(path, shapes).call
    exported = jax.export.export(jax.jit(function), platforms=["cpu"])(*shapes)
    with contextlib.suppress(OSError):  # a folder that cannot be written only costs time
        _write(path, exported)
        return _read(path, shapes).call
    return exported.call


def _write(path: Path, exported: jax.export.Exported) -> None:
    """Keep a program; jax's own way to write it needs one package more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    with partial.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            module=np.frombuffer(exported.mlir_module_serialized, np.uint8),
            kept=np.array(exported.module_kept_var_idx, np.int64),
            results=np.array(json.dumps([(each.shape, str(each.dtype)) for each in exported.out_avals])),
        )
    os.replace(partial, path)


def _read(path: Path, shapes: Shapes) -> jax.export.Exported:
    """The program of `_write`, put in the place of one with the same arguments and results."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        module, kept = file["module"].tobytes(), tuple(map(int, file["kept"]))
        results = [
            jax.ShapeDtypeStruct(tuple(shape), dtype) for shape, dtype in json.loads(str(file["results"]))
        ]

    def outline(*_: jax.Array) -> list[jax.Array]:
        return [jnp.zeros(each.shape, each.dtype) for each in results]

    exported = jax.export.export(jax.jit(outline), platforms=["cpu"])(*shapes)
    return dataclasses.replace(exported, mlir_module_serialized=module, module_kept_var_idx=kept)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


@functools.cache
def _source() -> str:
    """A hash of this package's text: another version of it has other programs."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for folder in ("_xla", "batch"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def finish() -> None:
    """Wait until every program that was begun is compiled.

    Raises:
      Exception: what went wrong with one.
    """
    for compiled in list(_compiled.values()):
        compiled.result()
