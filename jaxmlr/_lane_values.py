"""The three forms that a value takes in `lanes`, and the flat lists of arrays that loops carry."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LARGE = 256  # entries; compile time grows with entries, and so do the gains until about here

Entries = np.ndarray[Any, np.dtype[np.object_]]  # each entry a jax array of shape () or (batch,)


class Batched(NamedTuple):
    """An array kept whole, with a leading batch axis."""

    array: jax.Array


Value = Any  # Entries, Batched, or a jax array that no trial changes


def varies(value: Value) -> bool:
    return isinstance(value, Batched) or (isinstance(value, np.ndarray) and value.dtype == object)


def entries(value: Value) -> Entries:
    """Any value, entry by entry."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return value
    whole = value.array if isinstance(value, Batched) else value
    shape = np.shape(whole)[isinstance(value, Batched) :]
    if not isinstance(whole, jax.Array):
        return regroup(list(np.asarray(whole).reshape(-1)), shape)
    # lax, not indexing: these calls are most of what tracing costs.
    flat = lax.reshape(whole, (*whole.shape[: whole.ndim - len(shape)], math.prod(shape)))
    return regroup([lax.index_in_dim(flat, k, -1, keepdims=False) for k in range(math.prod(shape))], shape)


def vector(entry: Any, size: int) -> jax.Array:
    """An entry as a vector of trials."""
    return entry if np.ndim(entry) else lax.broadcast(entry, (size,))


def regroup(flat: Sequence[jax.Array], shape: tuple[int, ...]) -> Entries:
    out = np.empty(len(flat), object)
    for k, entry in enumerate(flat):
        out[k] = entry
    return out.reshape(shape)


def small(value: Batched) -> Value:
    """Entries, unless there are too many of them, or none to depend on the trial."""
    if value.array.size == 0:
        return value.array[0]
    return entries(value) if value.array[0].size <= LARGE else value


def join(value: Value, size: int) -> jax.Array:
    """Any value with a leading batch axis."""
    if isinstance(value, Batched):
        return value.array
    if not varies(value):
        return jnp.broadcast_to(jnp.asarray(value), (size, *np.shape(value)))
    columns = [lax.reshape(vector(entry, size), (size, 1)) for entry in value.reshape(-1)]
    return lax.reshape(lax.concatenate(columns, 1), (size, *value.shape))


def scalars(value: Value) -> jax.Array:
    """A value that no trial changes, as one array."""
    if not varies(value):
        return jnp.asarray(value)
    return jnp.stack(list(value.reshape(-1))).reshape(value.shape)


def pack(values: Sequence[Value], varying: Sequence[bool], size: int) -> list[jax.Array]:
    """Values as one flat list of arrays: whole, or, where they vary and are not large, entry by entry."""
    flat = []
    for value, does_vary in zip(values, varying, strict=True):
        if not does_vary:
            flat.append(scalars(value))
        elif math.prod(value.array.shape[1:] if isinstance(value, Batched) else np.shape(value)) > LARGE:
            flat.append(join(value, size))
        else:
            flat.extend(vector(entry, size) for entry in entries(value).reshape(-1))
    return flat


def origins(values: Sequence[Value], varying: Sequence[bool]) -> list[Any]:
    """For every array that `pack` makes, a key; equal keys stand for equal arrays."""
    keys: list[Any] = []
    for value, does_vary in zip(values, varying, strict=True):
        size = math.prod(value.array.shape[1:] if isinstance(value, Batched) else np.shape(value))
        if not does_vary or size > LARGE:
            keys.append(object())
        elif isinstance(value, Batched | jax.core.Tracer):
            keys.extend(object() for _ in range(size))
        elif varies(value):
            keys.extend(map(id, value.reshape(-1)))
        else:
            known = np.asarray(value)
            keys.extend((known.dtype.str, entry.tobytes()) for entry in known.reshape(-1))
    return keys


def unpack(
    flat: Sequence[jax.Array], varying: Sequence[bool], shapes: Sequence[tuple[int, ...]]
) -> list[Value]:
    """The values that `pack` packed, whose shapes for one trial are `shapes`."""

    def take(source: Iterator[jax.Array], does_vary: bool, shape: tuple[int, ...]) -> Value:
        if not does_vary:
            return next(source)
        if math.prod(shape) > LARGE:
            return Batched(next(source))
        return regroup([next(source) for _ in range(math.prod(shape))], shape)

    source = iter(flat)
    return [take(source, *each) for each in zip(varying, shapes, strict=True)]
