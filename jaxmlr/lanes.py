"""`lanes`: vmap's meaning, one vector of trials per scalar entry.

`vmap` puts the batch axis in front of small vectors and matrices, which compilers turn into short,
strided inner loops. Here the per-trial function is traced once, and its jaxpr is evaluated with every
scalar entry of every array (P[0,0], P[0,1], ...) held as a vector of its own, of shape (batch,), or as
a scalar where it does not depend on the trial. Elementwise primitives act on entries, shape primitives
move entries about, products and reductions become sums of entries. What has no rule here, and arrays of
more than `LARGE` entries, are done by `vmap`, one primitive at a time.
"""

import functools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

LARGE = 256  # entries; compile time grows with entries, and so do the gains until about here

_log = logging.getLogger(__name__)

Entries = np.ndarray[Any, np.dtype[np.object_]]  # each entry a jax array of shape () or (batch,)


class Batched(NamedTuple):
    """An array kept whole, with a leading batch axis."""

    array: jax.Array


Value = Any  # Entries, Batched, or a jax array that no trial changes
Eqn = Any  # a jaxpr equation; jax does not type their attributes
Rule = Callable[[Eqn, Sequence[Value], int], list[Value]]


def lanes(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.vmap(function)` over the leading axis of every argument, evaluated entry by entry.

    Args:
      function: any function that `jax.vmap` accepts, written for one trial.

    Returns:
      A function of the same arguments with a leading axis of one common length on every leaf. Its
      results equal `vmap`'s up to the order of floating-point sums.

    Raises:
      ValueError: the leading axes differ or there are none.
    """

    @functools.wraps(function)
    def batched(*args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        sizes = {np.shape(leaf)[:1] for leaf in leaves}
        if len(sizes) != 1 or () in sizes:
            raise ValueError(f"every argument must have one common leading axis, not {sorted(sizes)}")
        ((size,),) = sizes
        if size == 0:
            return jax.vmap(function)(*args)
        one_trial = [jax.eval_shape(lambda x: x[0], jnp.asarray(leaf)) for leaf in leaves]

        def flat(*flat_args: Any) -> Any:
            return function(*jax.tree.unflatten(tree, flat_args))

        jaxpr, out_shape = jax.make_jaxpr(flat, return_shape=True)(*one_trial)
        values = [_small(Batched(jnp.asarray(leaf))) for leaf in leaves]
        results = [_join(value, size) for value in _evaluate(jaxpr, values, size)]
        return jax.tree.unflatten(jax.tree.structure(out_shape), results)

    return batched


# ---- the three forms of a value -------------------------------------------------------------------


def _varies(value: Value) -> bool:
    return isinstance(value, Batched) or (isinstance(value, np.ndarray) and value.dtype == object)


def _entries(value: Value) -> Entries:
    """Any value, entry by entry."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return value
    whole, lead = (value.array, 1) if isinstance(value, Batched) else (jnp.asarray(value), 0)
    shape = whole.shape[lead:]
    flat = [whole[(slice(None),) * lead + index] for index in np.ndindex(shape)]
    return _regroup(flat, shape)


def _regroup(flat: Sequence[jax.Array], shape: tuple[int, ...]) -> Entries:
    out = np.empty(len(flat), object)
    for k, entry in enumerate(flat):
        out[k] = entry
    return out.reshape(shape)


def _small(value: Batched) -> Value:
    """Entries, unless there are too many of them, or none to depend on the trial."""
    if value.array.size == 0:
        return value.array[0]
    return _entries(value) if value.array[0].size <= LARGE else value


def _join(value: Value, size: int) -> jax.Array:
    """Any value with a leading batch axis."""
    if isinstance(value, Batched):
        return value.array
    if not _varies(value):
        return jnp.broadcast_to(jnp.asarray(value), (size, *np.shape(value)))
    columns = [jnp.broadcast_to(entry, (size,)) for entry in value.reshape(-1)]
    return jnp.stack(columns, axis=-1).reshape(size, *value.shape)


def _mask(value: Value) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Which entries depend on the trial; None where the value is kept whole."""
    if isinstance(value, Batched):
        return None
    if not _varies(value):
        return np.zeros(np.shape(value), bool)
    return np.array([jnp.ndim(entry) > 0 for entry in value.reshape(-1)], bool).reshape(value.shape)


# ---- evaluation -----------------------------------------------------------------------------------


def _evaluate(closed: Any, args: Sequence[Value], size: int) -> list[Value]:
    """Evaluate a closed jaxpr on values."""
    jaxpr = closed.jaxpr
    env: dict[Any, Value] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *args], strict=True))

    def read(atom: Any) -> Value:
        return atom.val if isinstance(atom, core.Literal) else env[atom]

    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        env.update(zip(eqn.outvars, _rule(eqn, inputs)(eqn, inputs, size), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _rule(eqn: Eqn, inputs: Sequence[Value]) -> Rule:
    """How to evaluate an equation."""
    name = eqn.primitive.name
    if not any(map(_varies, inputs)):
        return _common
    if name in _CONTROL:
        return _CONTROL[name]
    large = any(math.prod(atom.aval.shape) > LARGE for atom in (*eqn.invars, *eqn.outvars))
    empty = any(0 in atom.aval.shape for atom in eqn.outvars)
    return _by_vmap if large or empty or name not in _RULES else _RULES[name]


def _bind(eqn: Eqn, inputs: Sequence[Any]) -> list[Any]:
    outputs = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(eqn.params))
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


def _common(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
    """The primitive itself: no trial changes its inputs."""
    del size
    return _bind(eqn, inputs)


def _by_vmap(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
    """The primitive under `vmap`: right for everything."""
    _say_fallback(eqn.primitive.name)
    axes = [0 if _varies(value) else None for value in inputs]
    whole = [_join(v, size) if _varies(v) else jnp.asarray(v) for v in inputs]
    outputs = jax.vmap(lambda *xs: _bind(eqn, xs), in_axes=axes)(*whole)
    return [_small(Batched(output)) for output in outputs]


@functools.cache
def _say_fallback(name: str) -> None:
    _log.debug("lanes leaves the primitive %r to vmap: no rule, or more than %d entries", name, LARGE)


# ---- primitives -----------------------------------------------------------------------------------


def _aligned(entries: Sequence[Any], size: int) -> Sequence[Any]:
    """Entries of one shape: all scalars, or all vectors."""
    if any(jnp.ndim(entry) for entry in entries):
        return [jnp.broadcast_to(entry, (size,)) for entry in entries]
    return entries


def _elementwise(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
    shape = eqn.outvars[0].aval.shape
    params = {key: None if key == "sharding" else value for key, value in eqn.params.items()}
    operands = [np.broadcast_to(_entries(value), shape).reshape(-1) for value in inputs]
    flat = [eqn.primitive.bind(*_aligned(chosen, size), **params) for chosen in zip(*operands, strict=True)]
    return [_regroup(flat, shape)]


def _bitcast(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
    """Elementwise, unless the width changes, and with it the shape."""
    same = eqn.invars[0].aval.shape == eqn.outvars[0].aval.shape
    return (_elementwise if same else _by_vmap)(eqn, inputs, size)


def _moves(move: Callable[[Entries, Eqn], Entries]) -> Rule:
    """A rule that only rearranges entries."""
    return lambda eqn, inputs, size: [move(_entries(inputs[0]), eqn)]


def _broadcast(x: Entries, eqn: Eqn) -> Entries:
    shape, dims = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    placed = x.reshape([x.shape[dims.index(i)] if i in dims else 1 for i in range(len(shape))])
    return np.broadcast_to(placed, shape)


def _slice(x: Entries, eqn: Eqn) -> Entries:
    p = eqn.params
    strides = p["strides"] or (1,) * x.ndim
    return x[tuple(map(slice, p["start_indices"], p["limit_indices"], strides))]


def _concatenate(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
    del size
    return [np.concatenate([_entries(value) for value in inputs], axis=eqn.params["dimension"])]


def _barrier(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
    masks = [_mask(value) for value in inputs]
    return _unpack(_bind(eqn, _pack(inputs, masks, size)), masks)


def _fold(combine: Callable[[Any, Any], Any]) -> Rule:
    """A reduction as a chain of `combine`."""

    def rule(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
        x, axes = _entries(inputs[0]), eqn.params["axes"]
        if x.size == 0:
            return _by_vmap(eqn, inputs, size)
        kept = [i for i in range(x.ndim) if i not in axes]
        shape = [x.shape[i] for i in kept]
        rows = x.transpose([*kept, *axes]).reshape(-1, x.size // int(np.prod(shape)))
        flat = [functools.reduce(lambda a, b: combine(*_aligned((a, b), size)), row) for row in rows]
        return [_regroup(flat, tuple(shape))]

    return rule


def _argument(better: Callable[[Any, Any], Any]) -> Rule:
    """Argmin and argmax along one axis; the first of equals wins, and NaN beats numbers, as in lax."""

    def rule(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
        (axis,), dtype = eqn.params["axes"], eqn.params["index_dtype"]
        rows = np.moveaxis(_entries(inputs[0]), axis, -1)
        flat = []
        for index in np.ndindex(rows.shape[:-1]):
            best, *rest = _aligned(list(rows[index]), size)
            place = jnp.zeros_like(best, dtype)
            for k, entry in enumerate(rest, start=1):
                wins = better(entry, best) | ((entry != entry) & (best == best))
                best, place = jnp.where(wins, entry, best), jnp.where(wins, jnp.asarray(k, dtype), place)
            flat.append(place)
        return [_regroup(flat, rows.shape[:-1])]

    return rule


def _dot_general(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
    """Sums of products in the output's precision."""
    (sum_a, sum_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
    a, b = (_entries(value) for value in inputs)
    if a.size == 0 or b.size == 0:
        return _by_vmap(eqn, inputs, size)
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
                pairs = (_aligned(pair, size) for pair in zip(left, right, strict=True))
                products = [x.astype(aval.dtype) * y.astype(aval.dtype) for x, y in pairs]
                flat.append(functools.reduce(lambda x, y: jnp.add(*_aligned((x, y), size)), products))
    return [_regroup(flat, aval.shape)]


# ---- control flow ---------------------------------------------------------------------------------


def _pack(values: Sequence[Value], masks: Sequence[Any], size: int) -> list[jax.Array]:
    """Values as one flat list of arrays: whole, or entry by entry with the masked entries as vectors."""
    flat = []
    for value, mask in zip(values, masks, strict=True):
        if mask is None:
            flat.append(_join(value, size))
        elif not mask.any():
            flat.append(_scalars(value))
        else:
            entries = zip(_entries(value).reshape(-1), mask.reshape(-1), strict=True)
            flat.extend(jnp.broadcast_to(e, (size,)) if varies else e for e, varies in entries)
    return flat


def _scalars(value: Value) -> jax.Array:
    """A value that no trial changes, as one array."""
    if not _varies(value):
        return jnp.asarray(value)
    return jnp.stack(list(value.reshape(-1))).reshape(value.shape)


def _unpack(flat: Sequence[jax.Array], masks: Sequence[Any]) -> list[Value]:
    source = iter(flat)
    values: list[Value] = []
    for mask in masks:
        if mask is None:
            values.append(Batched(next(source)))
        elif not mask.any():
            values.append(next(source))
        else:
            values.append(_regroup([next(source) for _ in range(mask.size)], mask.shape))
    return values


def _widen(old: Any, new: Any) -> Any:
    return None if old is None or new is None else old | new


def _loop_masks(
    body: Callable[[Sequence[Value]], Sequence[Value]], init: Sequence[Value], size: int
) -> list[Any]:
    """The least masks of a loop's carry that hold for its start and are kept by its body."""
    masks: list[Any] = [_mask(value) for value in init]
    while True:
        found: list[Any] = []

        def probe(flat: Sequence[jax.Array], masks: Any = masks, found: list[Any] = found) -> None:
            found.extend(_mask(value) for value in body(_unpack(flat, masks)))

        jax.eval_shape(probe, _pack(init, masks, size))
        wider = [_widen(old, new) for old, new in zip(masks, found, strict=True)]
        if all(np.array_equal(old, new) for old, new in zip(masks, wider, strict=True)):
            return masks
        masks = wider


def _scan(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
    p = eqn.params
    if "ft_in" in p:  # jax 0.12 and later
        n_consts, n_carry = (len(part) for part in p["ft_in"].unpack()[:2])
    else:
        n_consts, n_carry = p["num_consts"], p["num_carry"]
    consts, init = inputs[:n_consts], inputs[n_consts : n_consts + n_carry]
    xs = inputs[n_consts + n_carry :]
    x_varies = [_varies(x) for x in xs]
    columns = [jnp.moveaxis(_join(x, size), 1, 0) if _varies(x) else x for x in xs]
    y_varies: list[bool] = []

    def body(carry: Sequence[Value], row: Sequence[jax.Array]) -> list[Value]:
        x = [_small(Batched(r)) if v else r for r, v in zip(row, x_varies, strict=True)]
        return _evaluate(p["jaxpr"], [*consts, *carry, *x], size)

    def step(flat: Sequence[jax.Array], row: Sequence[jax.Array]) -> tuple[Any, Any]:
        out = body(_unpack(flat, masks), row)
        y_varies[:] = map(_varies, out[n_carry:])
        ys = [_join(y, size) if _varies(y) else y for y in out[n_carry:]]
        return _pack(out[:n_carry], masks, size), ys

    row = [jnp.zeros(c.shape[1:], c.dtype) for c in map(jnp.asarray, columns)]
    masks = _loop_masks(lambda carry: body(carry, row)[:n_carry], init, size)
    flat, ys = lax.scan(
        step,
        _pack(init, masks, size),
        columns,
        length=p["length"],
        reverse=p["reverse"],
        unroll=p["unroll"],
    )
    ys = [Batched(jnp.moveaxis(y, 0, 1)) if v else y for y, v in zip(ys, y_varies, strict=True)]
    return [*_unpack(flat, masks), *ys]


def _while(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
    p = eqn.params
    n_cond, n_body = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    init = inputs[n_body:]

    def go_on(carry: Sequence[Value]) -> Value:
        return _evaluate(p["cond_jaxpr"], [*inputs[:n_cond], *carry], size)[0]

    def body(carry: Sequence[Value]) -> list[Value]:
        return _evaluate(p["body_jaxpr"], [*inputs[n_cond:n_body], *carry], size)

    masks = _loop_masks(body, init, size)
    ragged: list[bool] = []
    jax.eval_shape(lambda flat: ragged.append(_varies(go_on(_unpack(flat, masks)))), _pack(init, masks, size))
    if ragged[0]:  # trials stop at different times
        return _by_vmap(eqn, inputs, size)
    flat = lax.while_loop(
        lambda flat: _scalars(go_on(_unpack(flat, masks))),
        lambda flat: _pack(body(_unpack(flat, masks)), masks, size),
        _pack(init, masks, size),
    )
    return _unpack(flat, masks)


def _inline(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
    return _evaluate(eqn.params.get("jaxpr") or eqn.params["call_jaxpr"], inputs, size)


def _with_own_derivative(eqn: Eqn, inputs: Sequence[Value], size: int) -> list[Value]:
    """Inlined, but differentiated by `vmap`, which keeps the rule that the function came with."""
    masks = [_mask(value) for value in inputs]
    shapes = [atom.aval.shape for atom in eqn.outvars]
    out_masks = [None if math.prod(shape) > LARGE else np.ones(shape, bool) for shape in shapes]

    @jax.custom_jvp
    def inlined(*flat: jax.Array) -> list[jax.Array]:
        return _pack(_inline(eqn, _unpack(flat, masks), size), out_masks, size)

    @inlined.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        def ruled(*flat: jax.Array) -> list[jax.Array]:
            return _pack(_by_vmap(eqn, _unpack(flat, masks), size), out_masks, size)

        return jax.jvp(ruled, primals, tangents)

    return _unpack(inlined(*_pack(inputs, masks, size)), out_masks)


_ELEMENTWISE = (
    "abs acos acosh add and asin asinh atan atan2 atanh cbrt ceil clamp complex conj"
    " convert_element_type copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt"
    " imag integer_pow is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or"
    " population_count pow real reduce_precision rem round rsqrt select_n shift_left shift_right_arithmetic"
    " shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor"
)

_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(("squeeze", "expand_dims"), _moves(lambda x, e: x.reshape(e.outvars[0].aval.shape))),
    "bitcast_convert_type": _bitcast,
    "reshape": _moves(lambda x, e: x.reshape(e.params["new_sizes"])),
    "transpose": _moves(lambda x, e: x.transpose(e.params["permutation"])),
    "rev": _moves(lambda x, e: np.flip(x, e.params["dimensions"])),
    "broadcast_in_dim": _moves(_broadcast),
    "slice": _moves(_slice),
    "concatenate": _concatenate,
    "reduce_sum": _fold(jnp.add),
    "reduce_prod": _fold(jnp.multiply),
    "reduce_max": _fold(jnp.maximum),
    "reduce_min": _fold(jnp.minimum),
    "reduce_and": _fold(jnp.bitwise_and),
    "reduce_or": _fold(jnp.bitwise_or),
    "argmin": _argument(jnp.less),
    "argmax": _argument(jnp.greater),
    "dot_general": _dot_general,
}

_CONTROL: dict[str, Rule] = {
    **dict.fromkeys(("jit", "pjit", "closed_call"), _inline),
    **dict.fromkeys(("custom_jvp_call", "custom_vjp_call"), _with_own_derivative),
    "optimization_barrier": _barrier,
    "scan": _scan,
    "while": _while,
}
