"""How `lanes` evaluates one primitive on arrays that are kept whole, the trials along their last axis.

Sums, products and extremes are chains over slices: each slice is a long vector of trials, and so the
compiler's inner loop runs along the trials however small the axis that is summed.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax

from jaxmlr._xla.lanes.entry_rules import BETTER, COMBINE, ELEMENTWISE, Eqn, Rule, bind, by_vmap, place_of
from jaxmlr._xla.lanes.values import Batched, Trials, Value, scalars, small, varies, whole

CHAIN = 256  # terms; a longer sum is left to the compiler's own loop, four times as slow in `second_moment`
PRODUCTS = 4096  # in a matrix product; a larger one is left to the compiler's


def _whole(rule: Callable[..., jax.Array]) -> Rule:
    """A rule of `rule(eqn, *arrays) -> array`, all with the trials last."""

    def evaluate(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
        result = rule(eqn, *(whole(value, trials.number) for value in inputs))
        return [small(Batched(result), trials.large)]

    return evaluate


def _elementwise(eqn: Eqn, *inputs: jax.Array) -> jax.Array:
    shape = (*eqn.outvars[0].aval.shape, inputs[0].shape[-1])
    # Some primitives take scalars, and axes of length 1, beside longer ones.
    same = [lax.broadcast_in_dim(x, shape, range(len(shape))[-x.ndim :]) for x in inputs]
    params = {key: None if key == "sharding" else value for key, value in eqn.params.items()}
    result: jax.Array = eqn.primitive.bind(*same, **params)
    return result


def _broadcast(eqn: Eqn, x: jax.Array) -> jax.Array:
    shape, dims = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    return lax.broadcast_in_dim(x, (*shape, x.shape[-1]), (*dims, len(shape)))


def _slice(eqn: Eqn, x: jax.Array) -> jax.Array:
    p = eqn.params
    strides = p["strides"] or (1,) * (x.ndim - 1)
    return lax.slice(x, (*p["start_indices"], 0), (*p["limit_indices"], x.shape[-1]), (*strides, 1))


def _dynamic_update_slice(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    """In place, where all trials write to one place."""
    if any(map(varies, inputs[2:])):
        return by_vmap(eqn, inputs, trials)
    x, update = (whole(value, trials.number) for value in inputs[:2])
    start = [*map(scalars, inputs[2:])]
    start.append(lax.full_like(start[0], 0))
    return [small(Batched(lax.dynamic_update_slice(x, update, start)), trials.large)]


def _reshape(eqn: Eqn, x: jax.Array) -> jax.Array:
    return lax.reshape(x, (*eqn.outvars[0].aval.shape, x.shape[-1]))


def _slices(x: jax.Array, axis: int) -> list[jax.Array]:
    return [lax.index_in_dim(x, k, axis, keepdims=False) for k in range(x.shape[axis])]


def _unstack(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    parts = _slices(whole(inputs[0], trials.number), eqn.params["axis"])
    return [small(Batched(part), trials.large) for part in parts]


def _fold(combine: Callable[[Any, Any], Any]) -> Callable[..., jax.Array]:
    """A reduction, as a chain of `combine`."""

    def rule(eqn: Eqn, x: jax.Array) -> jax.Array:
        axes = eqn.params["axes"]
        kept = [i for i in range(x.ndim) if i not in axes]
        terms = math.prod(x.shape[i] for i in axes)
        if terms > CHAIN:
            return bind(eqn, [x])[0]
        x = lax.reshape(lax.transpose(x, (*axes, *kept)), (terms, *(x.shape[i] for i in kept)))
        return functools.reduce(combine, _slices(x, 0))

    return rule


def _argument(better: Callable[[Any, Any], Any]) -> Callable[..., jax.Array]:
    """Argmin and argmax along one axis."""

    def rule(eqn: Eqn, x: jax.Array) -> jax.Array:
        (axis,), dtype = eqn.params["axes"], eqn.params["index_dtype"]
        if x.shape[axis] > CHAIN:
            return bind(eqn, [x])[0]
        return place_of(better, _slices(x, axis), dtype)

    return rule


def _dot_general(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    """A chain of products, in the output's precision."""
    aval = eqn.outvars[0].aval
    (sum_a, sum_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
    terms = math.prod(eqn.invars[0].aval.shape[i] for i in sum_a)
    if terms * math.prod(aval.shape) > PRODUCTS or aval.dtype == bool:
        return by_vmap(eqn, inputs, trials)
    a, b = (whole(value, trials.number) for value in inputs)
    shape = (*aval.shape, trials.number)
    free_a = [i for i in range(a.ndim - 1) if i not in (*sum_a, *batch_a)]
    free_b = [i for i in range(b.ndim - 1) if i not in (*sum_b, *batch_b)]
    first, end, last = len(batch_a), len(batch_a) + len(free_a), len(shape) - 1

    def spread(
        x: jax.Array, summed: Sequence[int], kept: Sequence[int], places: Sequence[int]
    ) -> list[jax.Array]:
        """The slice of each term, with the axes of the result."""
        x = lax.transpose(x, (*summed, *kept, x.ndim - 1)).astype(aval.dtype)
        x = lax.reshape(x, (terms, *x.shape[len(summed) :]))
        return [lax.broadcast_in_dim(term, shape, places) for term in _slices(x, 0)]

    left = spread(a, sum_a, (*batch_a, *free_a), (*range(end), last))
    right = spread(b, sum_b, (*batch_b, *free_b), (*range(first), *range(end, len(shape))))
    products = (x * y for x, y in zip(left, right, strict=True))
    return [small(Batched(functools.reduce(lax.add, products)), trials.large)]


WHOLE: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE.split(), _whole(_elementwise)),
    **dict.fromkeys(("reshape", "squeeze", "expand_dims"), _whole(_reshape)),
    **{name: _whole(_fold(combine)) for name, combine in COMBINE.items()},
    **{name: _whole(_argument(better)) for name, better in BETTER.items()},
    "transpose": _whole(lambda eqn, x: lax.transpose(x, (*eqn.params["permutation"], x.ndim - 1))),
    "rev": _whole(lambda eqn, x: lax.rev(x, eqn.params["dimensions"])),
    "broadcast_in_dim": _whole(_broadcast),
    "slice": _whole(_slice),
    "concatenate": _whole(lambda eqn, *xs: lax.concatenate(xs, eqn.params["dimension"])),
    "stack": _whole(lambda eqn, *xs: _stack(xs, eqn.params["axis"])),
    "unstack": _unstack,
    "dot_general": _dot_general,
    "dynamic_update_slice": _dynamic_update_slice,
}


def _stack(xs: Sequence[jax.Array], axis: int) -> jax.Array:
    return lax.concatenate([lax.expand_dims(x, (axis,)) for x in xs], axis)
