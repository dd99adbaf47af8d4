"""The three forms that a value takes in `lanes`, and the flat lists of arrays that loops carry."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LARGE = 256  # entries; with more, arrays kept whole are nearly as fast and compile much sooner

Entries = np.ndarray[Any, np.dtype[np.object_]]  # each entry a jax array of shape () or (batch,)


class Trials(NamedTuple):
    """What is evaluated side by side."""

    number: int
    large: int = LARGE  # entries; arrays with more are kept whole


class Batched(NamedTuple):
    """An array kept whole, with the trials along its last axis."""

    array: jax.Array


Value = Any  # Entries, Batched, or a jax array that no trial changes


def varies(value: Value) -> bool:
    return isinstance(value, Batched) or (isinstance(value, np.ndarray) and value.dtype == object)


def entries(value: Value) -> Entries:
    """Any value, entry by entry."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return value
    array = value.array if isinstance(value, Batched) else value
    if not isinstance(array, jax.Array):
        return regroup(list(np.asarray(array).reshape(-1)), np.shape(array))
    kept = int(isinstance(value, Batched))  # axes of trials, behind those of the entries
    shape = array.shape[: array.ndim - kept]
    # lax, not indexing: these calls are most of what tracing costs.
    flat = lax.reshape(array, (math.prod(shape), *array.shape[array.ndim - kept :]))
    return regroup([lax.index_in_dim(flat, k, 0, keepdims=False) for k in range(math.prod(shape))], shape)


def vector(entry: Any, number: int) -> jax.Array:
    """An entry as a vector of trials."""
    return entry if np.ndim(entry) else lax.broadcast(entry, (number,))


def regroup(flat: Sequence[jax.Array], shape: tuple[int, ...]) -> Entries:
    out = np.empty(len(flat), object)
    for k, entry in enumerate(flat):
        out[k] = entry
    return out.reshape(shape)


def small(value: Batched, large: int) -> Value:
    """Entries, unless there are more than `large`, or none to depend on the trial."""
    size = math.prod(value.array.shape[:-1])
    if size == 0:
        return value.array[..., 0]
    return entries(value) if size <= large else value


def trailing(array: jax.Array, large: int) -> Value:
    """The value of an array whose first axis is the trials."""
    return small(Batched(jnp.moveaxis(array, 0, -1)), large)


def whole(value: Value, number: int) -> jax.Array:
    """Any value as one array with the trials along its last axis."""
    if isinstance(value, Batched):
        return value.array
    if not varies(value):
        value = jnp.asarray(value)
        return lax.broadcast_in_dim(value, (*value.shape, number), tuple(range(value.ndim)))
    rows = [lax.expand_dims(vector(entry, number), (0,)) for entry in value.reshape(-1)]
    return lax.reshape(lax.concatenate(rows, 0), (*value.shape, number))


def leading(value: Value, number: int) -> jax.Array:
    """Any value as one array with the trials along its first axis."""
    return jnp.moveaxis(whole(value, number), -1, 0)


def scalars(value: Value) -> jax.Array:
    """A value that no trial changes, as one array."""
    if not varies(value):
        return jnp.asarray(value)
    return jnp.stack(list(value.reshape(-1))).reshape(value.shape)


def _size(value: Value) -> int:
    """Entries of a value."""
    return math.prod(value.array.shape[:-1] if isinstance(value, Batched) else np.shape(value))


def pack(values: Sequence[Value], varying: Sequence[bool], trials: Trials) -> list[jax.Array]:
    """Values as one flat list of arrays: whole, or, where they vary and are not large, entry by entry."""
    flat = []
    for value, does_vary in zip(values, varying, strict=True):
        if not does_vary:
            flat.append(scalars(value))
        elif _size(value) > trials.large:
            flat.append(whole(value, trials.number))
        else:
            flat.extend(vector(entry, trials.number) for entry in entries(value).reshape(-1))
    return flat


def origins(values: Sequence[Value], varying: Sequence[bool], trials: Trials) -> list[Any]:
    """For every array that `pack` makes, a key; equal keys stand for equal arrays."""
    keys: list[Any] = []
    for value, does_vary in zip(values, varying, strict=True):
        size = _size(value)
        if not does_vary or size > trials.large:
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
    flat: Sequence[jax.Array], varying: Sequence[bool], shapes: Sequence[tuple[int, ...]], trials: Trials
) -> list[Value]:
    """The values that `pack` packed, whose shapes for one trial are `shapes`."""

    def take(source: Iterator[jax.Array], does_vary: bool, shape: tuple[int, ...]) -> Value:
        if not does_vary:
            return next(source)
        if math.prod(shape) > trials.large:
            return Batched(next(source))
        return regroup([next(source) for _ in range(math.prod(shape))], shape)

    source = iter(flat)
    return [take(source, *each) for each in zip(varying, shapes, strict=True)]
