"""`lanes`: vmap's meaning, one vector of trials per scalar entry.

`vmap` puts the batch axis in front of small vectors and matrices, which compilers turn into short,
strided inner loops. Here the per-trial function is traced once, and its jaxpr is evaluated with the
trials along the last axis of everything. Every scalar entry of every small array (P[0,0], P[0,1], ...) is
held as a vector of its own, of shape (trials,), or as a scalar where it does not depend on the trial:
elementwise primitives act on entries, shape primitives move entries about, products and reductions become
sums of entries. Arrays of more than `LARGE` entries are kept whole; and so are all arrays of a function
under `jax.jit` that holds such an array, or that takes more than `LONG` operations on entries, which would
take minutes to compile. What has no rule is done by `vmap`, one primitive at a time.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from jaxmlr._xla.lanes.array_rules import WHOLE
from jaxmlr._xla.lanes.cse import Loop, shared
from jaxmlr._xla.lanes.dependence import (
    CALLS,
    all_or_none,
    dependent,
    dependent_scan,
    dependent_while,
    inner,
    scan_carry,
    while_carry,
)
from jaxmlr._xla.lanes.entry_rules import MOVES, RULES, Eqn, Rule, bind, by_vmap, folded, known
from jaxmlr._xla.lanes.values import LARGE as LARGE
from jaxmlr._xla.lanes.values import (
    Batched,
    Trials,
    Value,
    leading,
    origins,
    pack,
    scalars,
    small,
    trailing,
    unpack,
    varies,
    whole,
)
from jaxmlr._xla.materialise import stored

LONG = 5000  # two_step takes 554 at d = 10, fisher_scoring 1,911 at d = 3 and 4,328 at d = 5


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

        def results(*leaves: Any) -> list[jax.Array]:
            values = [trailing(leaf, LARGE) for leaf in leaves]
            return [leading(value, size) for value in _evaluate(jaxpr, values, Trials(size))]

        values = shared(results)(*map(jnp.asarray, leaves))
        return jax.tree.unflatten(jax.tree.structure(out_shape), values)

    return batched


def _evaluate(closed: Any, args: Sequence[Value], trials: Trials) -> list[Value]:
    """Evaluate a closed jaxpr on values."""
    jaxpr = closed.jaxpr
    env: dict[Any, Value] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *args], strict=True))

    def read(atom: Any) -> Value:
        return atom.val if isinstance(atom, core.Literal) else env[atom]

    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        env.update(zip(eqn.outvars, _rule(eqn, inputs, trials)(eqn, inputs, trials), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _rule(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> Rule:
    """How to evaluate an equation."""
    name = eqn.primitive.name
    if not any(map(varies, inputs)):
        return _inline if name in CALLS and all(map(known, inputs)) else _for_all_trials
    if name in _CONTROL:
        return _CONTROL[name]
    large = any(math.prod(atom.aval.shape) > trials.large for atom in (*eqn.invars, *eqn.outvars))
    empty = any(0 in atom.aval.shape for atom in (*eqn.invars, *eqn.outvars))
    return by_vmap if empty else (WHOLE if large else RULES).get(name, by_vmap)


def _for_all_trials(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    return folded(eqn, inputs) or bind(eqn, inputs)


# ---- control flow -----------------------------------------------------------------------------------


def _scan(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    p = eqn.params
    first, last = scan_carry(eqn)
    depends = dependent_scan(eqn, [varies(value) for value in inputs])
    varying, y_varies = depends[: last - first], depends[last - first :]
    shapes = [var.aval.shape for var in eqn.outvars[: last - first]]
    x_varies = [varies(x) for x in inputs[last:]]
    rows = [whole(x, trials.number) if varies(x) else x for x in inputs[last:]]

    def step(flat: Sequence[jax.Array], row: Sequence[jax.Array]) -> tuple[Any, Any]:
        x = [small(Batched(r), trials.large) if v else r for r, v in zip(row, x_varies, strict=True)]
        carry = unpack(flat, varying, shapes, trials)
        out = _evaluate(p["jaxpr"], [*inputs[:first], *carry, *x], trials)
        pairs = zip(out[last - first :], y_varies, strict=True)
        ys = [whole(y, trials.number) if v else scalars(y) for y, v in pairs]
        return pack(out[: last - first], varying, trials), ys

    start = pack(inputs[first:last], varying, trials)
    same = origins(inputs[first:last], varying, trials)
    loop = Loop(step, start, same, [jax.ShapeDtypeStruct(row.shape[1:], row.dtype) for row in rows])
    how = {"length": p["length"], "reverse": p["reverse"], "unroll": p["unroll"]}
    flat, columns = lax.scan(loop.step, loop.few(start), rows, **how)
    flat = loop.all(flat)
    ys = [small(Batched(y), trials.large) if v else y for y, v in zip(columns, y_varies, strict=True)]
    return [*unpack(flat, varying, shapes, trials), *ys]


def _while(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    p = eqn.params
    first, last = while_carry(eqn)
    given = [varies(value) for value in inputs]
    varying = dependent_while(eqn, given)
    if dependent(p["cond_jaxpr"], [*given[:first], *varying])[0]:  # trials stop at different times
        return by_vmap(eqn, inputs, trials)
    shapes = [var.aval.shape for var in eqn.outvars]

    def body(flat: Sequence[jax.Array], _: Any) -> tuple[list[jax.Array], None]:
        carry = unpack(flat, varying, shapes, trials)
        moved = _evaluate(p["body_jaxpr"], [*inputs[first:last], *carry], trials)
        return pack(moved, varying, trials), None

    start = pack(inputs[last:], varying, trials)
    loop = Loop(body, start, origins(inputs[last:], varying, trials), None)

    def go_on(flat: Sequence[jax.Array]) -> jax.Array:
        carry = unpack(loop.all(flat), varying, shapes, trials)
        return scalars(_evaluate(p["cond_jaxpr"], [*inputs[:first], *carry], trials)[0])

    end = lax.while_loop(go_on, lambda flat: loop.step(flat, None)[0], loop.few(start))
    return unpack(loop.all(end), varying, shapes, trials)


def _cond(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    """By `vmap`, one branch for all trials: what it costs to move the trials in front is paid in it alone.

    Where the branch varies, the first one is taken as long as all trials take it, else a selection.
    """
    varying, shapes = [*map(varies, inputs)], [np.shape(atom.aval) for atom in eqn.invars]
    every = [True] * len(eqn.outvars)

    def branch(function: Callable[..., Any]) -> Callable[..., list[jax.Array]]:
        axes = [0 if each else None for each in varying]

        def evaluate(*flat: jax.Array) -> list[jax.Array]:
            values = unpack(flat, varying, shapes, trials)
            arrays = [
                leading(value, trials.number) if each else scalars(value)
                for value, each in zip(values, varying, strict=True)
            ]
            outputs = jax.vmap(function, axes, axis_size=trials.number)(*arrays)
            return pack([trailing(output, trials.large) for output in outputs], every, trials)

        return evaluate

    closed = [core.jaxpr_as_fun(each) for each in eqn.params["branches"]]
    of_operands = [lambda index, *operands, run=run: run(*operands) for run in closed]

    def selected(index: jax.Array, *operands: jax.Array) -> list[jax.Array]:
        outputs = [run(*operands) for run in closed]
        return [lax.select_n(index, *cases) for cases in zip(*outputs, strict=True)]

    if varying[0]:
        which = jnp.minimum(jnp.max(whole(inputs[0], trials.number)), 1)
        branches = [branch(of_operands[0]), branch(selected)]
    else:
        which, branches = scalars(inputs[0]), [*map(branch, of_operands)]
    flat = lax.switch(which, branches, *pack(inputs, varying, trials))
    return unpack(flat, every, [var.aval.shape for var in eqn.outvars], trials)


def _own_vmap(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    """Inlined: the rule that a function has for `vmap` is not needed for a condition, see `_cond`."""
    return _evaluate(eqn.params["call"], inputs, trials)


def _inline(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    return _evaluate(inner(eqn), inputs, trials)


def _called(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    """Inlined, entry by entry or with all arrays kept whole."""
    if _length(inner(eqn).jaxpr) <= LONG:
        return _inline(eqn, inputs, trials)
    values = _inline(eqn, inputs, trials._replace(large=1))
    return [small(value, trials.large) if isinstance(value, Batched) else value for value in values]


def _length(jaxpr: Any) -> float:
    """Operations on entries in a jaxpr, bodies of loops counted once; infinite where an array is large."""
    total = 0.0
    for eqn in jaxpr.eqns:
        inner = [p.jaxpr for p in eqn.params.values() if hasattr(p, "jaxpr") and hasattr(p, "consts")]
        sizes = [math.prod(atom.aval.shape) for atom in (*eqn.invars, *eqn.outvars)]
        if max(sizes, default=0) > LARGE:
            return math.inf
        if inner:
            total += sum(map(_length, inner))
        elif eqn.primitive.name not in RULES:
            total += 1
        elif eqn.primitive.name == "dot_general":
            ((summed, _), _) = eqn.params["dimension_numbers"]
            terms = math.prod(eqn.invars[0].aval.shape[axis] for axis in summed)
            total += 2 * sizes[-1] * terms
        elif eqn.primitive.name not in MOVES.split():
            total += max(sizes)
    return total


def _with_own_derivative(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    """Inlined, but differentiated by `vmap`, which keeps the rule that the function came with."""
    varying = [varies(value) for value in inputs]
    shapes = [atom.aval.shape for atom in eqn.invars]
    out_varying = all_or_none(eqn, varying)
    out_shapes = [var.aval.shape for var in eqn.outvars]

    @jax.custom_jvp
    def inlined(*flat: jax.Array) -> list[jax.Array]:
        return pack(_inline(eqn, unpack(flat, varying, shapes, trials), trials), out_varying, trials)

    @inlined.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        def ruled(*flat: jax.Array) -> list[jax.Array]:
            return pack(by_vmap(eqn, unpack(flat, varying, shapes, trials), trials), out_varying, trials)

        return jax.jvp(ruled, primals, tangents)

    return unpack(inlined(*pack(inputs, varying, trials)), out_varying, out_shapes, trials)


def _barrier(eqn: Eqn, inputs: Sequence[Value], trials: Trials) -> list[Value]:
    varying = [varies(value) for value in inputs]
    flat = stored(pack(inputs, varying, trials))
    return unpack(flat, varying, [var.aval.shape for var in eqn.outvars], trials)


_CONTROL: dict[str, Rule] = {
    **dict.fromkeys(CALLS, _called),
    **dict.fromkeys(("custom_jvp_call", "custom_vjp_call"), _with_own_derivative),
    "optimization_barrier": _barrier,
    "cond": _cond,
    "custom_vmap_call": _own_vmap,
    "scan": _scan,
    "while": _while,
}
