"""How `lanes` evaluates one primitive on values: entry by entry, or by `vmap`."""

import functools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmlr._xla.lanes.values import (
    LARGE,
    Entries,
    Trials,
    Value,
    entries,
    leading,
    regroup,
    trailing,
    varies,
    vector,
)

_log = logging.getLogger("jaxmlr.lanes")

Eqn = Any  # a jaxpr equation; jax does not type their attributes
Rule = Callable[[Eqn, Sequence[Value], Trials], list[Value]]


def bind(eqn: Eqn, inputs: Sequence[Any]) -> list[Any]:
    with eqn.ctx.manager:
        outputs = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(eqn.params))
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


def by_vmap(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    """The primitive under `vmap`: right for everything."""
    _say_fallback(eqn.primitive.name)
    axes = [0 if varies(value) else None for value in inputs]
    # The trials in front, though not kept so: with other axes bitcast_convert_type fails.
    arrays = [leading(v, trials.number) if varies(v) else jnp.asarray(v) for v in inputs]
    outputs = jax.vmap(lambda *xs: bind(eqn, xs), in_axes=axes)(*arrays)
    return [trailing(output, trials.large) for output in outputs]


@functools.cache
def _say_fallback(name: str) -> None:
    _log.debug("lanes leaves the primitive %r to vmap: it has no rule that fits", name)


def known(value: Value) -> bool:
    """Whether a value is there while a function is traced."""
    return not varies(value) and not isinstance(value, jax.core.Tracer)


def folded(eqn: Eqn, inputs: Sequence[Value]) -> list[Value] | None:
    """The results of an equation of known numbers, if it is one of those that make starting values.

    They are exact here as in XLA: moves, comparisons, and operations of one rounding.
    """
    name = eqn.primitive.name
    if name not in _FOLDED:
        return None
    out = eqn.outvars[0].aval
    avals = [atom.aval for atom in eqn.invars]
    if math.prod(out.shape) > LARGE or not all(map(known, inputs)) or not all(map(_plain, (out, *avals))):
        return None
    if out.dtype.kind != "f" and any(aval.dtype.kind == "f" for aval in avals) and out.dtype.kind != "b":
        return None  # numbers out of range become others here
    numbers = [np.asarray(x, aval.dtype) for x, aval in zip(inputs, avals, strict=True)]
    with np.errstate(all="ignore"):
        constant = np.asarray(_FOLDED[name](eqn, *numbers), out.dtype)
    return [constant.reshape(out.shape)]


def _plain(aval: Any) -> bool:
    return getattr(aval.dtype, "kind", "") in "biuf"


def _aligned(entries: Sequence[Any], size: int) -> Sequence[Any]:
    """Entries of one shape: all scalars, or all vectors."""
    if any(np.ndim(entry) for entry in entries):
        return [vector(entry, size) for entry in entries]
    return entries


def _elementwise(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    shape = eqn.outvars[0].aval.shape
    params = {key: None if key == "sharding" else value for key, value in eqn.params.items()}
    operands = [np.broadcast_to(entries(value), shape).reshape(-1) for value in inputs]
    flat = [
        eqn.primitive.bind(*_aligned(chosen, trials.number), **params)
        for chosen in zip(*operands, strict=True)
    ]
    return [regroup(flat, shape)]


def _bitcast(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    """Elementwise, unless the width changes, and with it the shape."""
    same = eqn.invars[0].aval.shape == eqn.outvars[0].aval.shape
    return (_elementwise if same else by_vmap)(eqn, inputs, trials)


def _moves(move: Callable[[Entries, Eqn], Entries]) -> Rule:
    """A rule that only rearranges entries."""
    return lambda eqn, inputs, trials: [move(entries(inputs[0]), eqn)]


def _broadcast(x: Entries, eqn: Eqn) -> Entries:
    shape, dims = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    placed = x.reshape([x.shape[dims.index(i)] if i in dims else 1 for i in range(len(shape))])
    return np.broadcast_to(placed, shape)


def _slice(x: Entries, eqn: Eqn) -> Entries:
    p = eqn.params
    strides = p["strides"] or (1,) * x.ndim
    return x[tuple(map(slice, p["start_indices"], p["limit_indices"], strides))]


def _concatenate(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    del trials
    return [np.concatenate([entries(value) for value in inputs], axis=eqn.params["dimension"])]


def _stack(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    del trials
    return [np.stack([entries(value) for value in inputs], axis=eqn.params["axis"])]


def _unstack(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    del trials
    rows = np.moveaxis(entries(inputs[0]), eqn.params["axis"], 0)
    return [rows[k : k + 1].reshape(rows.shape[1:]) for k in range(len(rows))]


def _fold(combine: Callable[[Any, Any], Any]) -> Rule:
    """A reduction as a chain of `combine`."""

    def rule(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
        x, axes = entries(inputs[0]), eqn.params["axes"]
        kept = [i for i in range(x.ndim) if i not in axes]
        shape = [x.shape[i] for i in kept]
        rows = x.transpose([*kept, *axes]).reshape(-1, x.size // int(np.prod(shape)))
        flat = [functools.reduce(lambda a, b: combine(*_aligned((a, b), trials.number)), row) for row in rows]
        return [regroup(flat, tuple(shape))]

    return rule


def place_of(better: Callable[[Any, Any], Any], terms: Sequence[jax.Array], dtype: Any) -> jax.Array:
    """Where the best of `terms` stands; the first of equals wins, and NaN beats numbers, as in lax."""
    best, *rest = terms
    place = jnp.zeros_like(best, dtype)
    for k, term in enumerate(rest, start=1):
        wins = better(term, best) | ((term != term) & (best == best))
        best, place = lax.select(wins, term, best), lax.select(wins, jnp.full_like(place, k), place)
    return place


def _argument(better: Callable[[Any, Any], Any]) -> Rule:
    """Argmin and argmax along one axis."""

    def rule(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
        (axis,), dtype = eqn.params["axes"], eqn.params["index_dtype"]
        rows = np.moveaxis(entries(inputs[0]), axis, -1)
        each = (_aligned(list(rows[index]), trials.number) for index in np.ndindex(rows.shape[:-1]))
        return [regroup([place_of(better, row, dtype) for row in each], rows.shape[:-1])]

    return rule


def _dot_general(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    """Sums of products in the output's precision."""
    if eqn.outvars[0].aval.dtype == bool:
        return by_vmap(eqn, inputs, trials)
    (sum_a, sum_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
    a, b = (entries(value) for value in inputs)
    aval = eqn.outvars[0].aval
    batch = int(np.prod([a.shape[i] for i in batch_a]))
    terms = int(np.prod([a.shape[i] for i in sum_a]))
    free_a = [i for i in range(a.ndim) if i not in (*sum_a, *batch_a)]
    free_b = [i for i in range(b.ndim) if i not in (*sum_b, *batch_b)]
    a = a.transpose([*batch_a, *free_a, *sum_a]).reshape(batch, -1, terms)
    b = b.transpose([*batch_b, *free_b, *sum_b]).reshape(batch, -1, terms)
    flat = []
    for k in range(batch):
        for left in a[k]:
            for right in b[k]:
                pairs = (_aligned(pair, trials.number) for pair in zip(left, right, strict=True))
                products = [x.astype(aval.dtype) * y.astype(aval.dtype) for x, y in pairs]
                flat.append(
                    functools.reduce(lambda x, y: lax.add(*_aligned((x, y), trials.number)), products)
                )
    return [regroup(flat, aval.shape)]


_FOLDED: dict[str, Callable[..., Any]] = {
    "add": lambda eqn, x, y: x + y,
    "and": lambda eqn, x, y: x & y,
    "broadcast_in_dim": lambda eqn, x: _broadcast(x, eqn),
    "convert_element_type": lambda eqn, x: x,
    "eq": lambda eqn, x, y: x == y,
    "ge": lambda eqn, x, y: x >= y,
    "iota": lambda eqn: np.indices(eqn.params["shape"])[eqn.params["dimension"]],
    "mul": lambda eqn, x, y: x * y,
    "reshape": lambda eqn, x: x,
    "select_n": lambda eqn, which, *cases: np.choose(which.astype(int), cases),
    "sqrt": lambda eqn, x: np.sqrt(x),
    "squeeze": lambda eqn, x: x,
}

ELEMENTWISE = (
    "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp complex conj"
    " convert_element_type copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt"
    " imag integer_pow is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or"
    " population_count pow real reduce_precision rem round rsqrt select_n shift_left shift_right_arithmetic"
    " shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor"
)

MOVES = (  # no operations on entries
    "squeeze expand_dims reshape transpose rev broadcast_in_dim slice concatenate stack unstack"
)

COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "reduce_sum": lax.add,
    "reduce_prod": lax.mul,
    "reduce_max": lax.max,
    "reduce_min": lax.min,
    "reduce_and": lax.bitwise_and,
    "reduce_or": lax.bitwise_or,
}

BETTER: dict[str, Callable[[Any, Any], Any]] = {"argmin": lax.lt, "argmax": lax.gt}

RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(("squeeze", "expand_dims"), _moves(lambda x, e: x.reshape(e.outvars[0].aval.shape))),
    "bitcast_convert_type": _bitcast,
    "reshape": _moves(lambda x, e: x.reshape(e.params["new_sizes"])),
    "transpose": _moves(lambda x, e: x.transpose(e.params["permutation"])),
    "rev": _moves(lambda x, e: np.flip(x, e.params["dimensions"])),
    "broadcast_in_dim": _moves(_broadcast),
    "slice": _moves(_slice),
    "concatenate": _concatenate,
    "stack": _stack,
    "unstack": _unstack,
    **{name: _fold(combine) for name, combine in COMBINE.items()},
    **{name: _argument(better) for name, better in BETTER.items()},
    "dot_general": _dot_general,
}
