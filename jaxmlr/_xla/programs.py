"""Programs kept as StableHLO beside those compiled: a later command need not trace them again."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxmlr._xla.jit import CPU_OPTIONS, core

_loaded: dict[str, Any] = {}


@core
def call(function: Callable[..., Any], *args: Any, name: str, statics: Any, like: Any) -> Any:
    """`function(*args)` of pytrees on the CPU, compiled with `CPU_OPTIONS`.

    Where `cache.keep` gave a folder, the program is kept there under its name, its arguments' shapes, the
    `statics` that it was made with, this package's own text and the versions of jax. The result has the
    structure of `like`.
    """
    leaves, structure = jax.tree.flatten(args)
    keys = {i: str(jax.random.key_impl(leaf)) for i, leaf in enumerate(leaves) if _is_key(leaf)}
    plain = [jax.random.key_data(leaf) if i in keys else jnp.asarray(leaf) for i, leaf in enumerate(leaves)]

    def flat(*plain: jax.Array) -> list[jax.Array]:
        own = [
            jax.random.wrap_key_data(leaf, impl=keys[i]) if i in keys else leaf
            for i, leaf in enumerate(plain)
        ]
        return jax.tree.leaves(function(*jax.tree.unflatten(structure, own)))

    result = _run(flat, plain, name, (repr(statics), repr(structure), repr(keys)))
    return jax.tree.unflatten(jax.tree.structure(like), result)


def _run(function: Callable[..., Any], leaves: list[jax.Array], name: str, statics: tuple[str, ...]) -> Any:
    folder: str | None = jax.config.values["jax_compilation_cache_dir"]
    shapes = [(leaf.shape, str(leaf.dtype)) for leaf in leaves]
    facts = (name, shapes, statics, _source(), jax.__version__, CPU_OPTIONS, folder)
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
    if key not in _loaded:
        _loaded[key] = jax.jit(
            _exported(function, leaves, folder, f"{name}-{key}"), compiler_options=CPU_OPTIONS
        )
    return _loaded[key](*leaves)


def _exported(
    function: Callable[..., Any], leaves: list[jax.Array], folder: str | None, name: str
) -> Callable[..., Any]:
    if folder is None:
        return function
    path = Path(folder) / f"{name}.npz"
    # Written and read in the first run too, so that the compiler sees one text and its cache holds for both.
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, BadZipFile):  # absent or cut short
        return _read(path, leaves).call
    exported = jax.export.export(jax.jit(function), platforms=["cpu"])(*leaves)
    with contextlib.suppress(OSError):  # a folder that cannot be written only costs time
        _write(path, exported)
        return _read(path, leaves).call
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


def _read(path: Path, leaves: list[jax.Array]) -> jax.export.Exported:
    """The program of `_write`, put in the place of one with the same arguments and results."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        module, kept = file["module"].tobytes(), tuple(map(int, file["kept"]))
        results = [
            jax.ShapeDtypeStruct(tuple(shape), dtype) for shape, dtype in json.loads(str(file["results"]))
        ]

    def outline(*_: jax.Array) -> list[jax.Array]:
        return [jnp.zeros(each.shape, each.dtype) for each in results]

    exported = jax.export.export(jax.jit(outline), platforms=["cpu"])(*leaves)
    return dataclasses.replace(exported, mlir_module_serialized=module, module_kept_var_idx=kept)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


@functools.cache
def _source() -> str:
    """A hash of this package's text: another version of it has other programs."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for folder in ("_xla", "batch"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
