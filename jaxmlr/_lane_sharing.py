"""Compute once: equal entries are one, and entries that several loops would recompute are stored.

XLA on CPU turns each result into a loop of its own and recomputes inside of it, as often as it is used,
whatever another loop has computed already. For a function on thousands of entries that is most of the run
time and nearly all of the compile time. `shared` finds the entries that are not worth recomputing and puts
each of them behind an `optimization_barrier`, which makes it a loop of its own.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.extend import core

from jaxmlr._lane_rules import Eqn, bind

RECOMPUTED = 4  # operations on vectors that several loops may each repeat rather than load the result
RECOMPUTED_SCALAR = 40  # the same for what no trial changes: one number instead of a vector of trials

_COMMUTATIVE = frozenset(("add", "mul", "max", "min", "and", "or", "xor"))
_MOVES = frozenset(("broadcast_in_dim", "reshape", "squeeze", "slice", "convert_element_type", "real", "imag", "copy", "bitcast_convert_type"))
_DEAR = frozenset(
    "acos acosh asin asinh atan atan2 atanh cbrt cos cosh digamma div erf erf_inv erfc exp exp2 expm1 lgamma"
    " log log1p logistic pow rem rsqrt sin sinh sqrt tan tanh".split()
)


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of pytrees of arrays, with the same results, each value computed once."""

    def tidy(*args: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        results = _Program(closed)(jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return tidy


class _Program:
    """The distinct equations of a jaxpr that its results need, and which of their values are stored."""

    def __init__(self, closed: Any):
        self._closed = closed
        self._same: dict[Any, Any] = {}
        self._eqns = _needed(self._distinct(), [self._name(atom) for atom in closed.jaxpr.outvars])
        self._stored = self._choose()

    def _name(self, atom: Any) -> Any:
        """What stands for an atom: the first variable of equal value, or a literal by its value."""
        if isinstance(atom, core.Literal):
            return atom
        return self._same.get(atom, atom)

    def _distinct(self) -> list[tuple[Eqn, list[Any]]]:
        first: dict[Any, Eqn] = {}
        found = []
        for eqn in self._closed.jaxpr.eqns:
            inputs = [self._name(atom) for atom in eqn.invars]
            twin = None if eqn.effects else _twin(first, eqn, inputs)
            if twin is None:
                found.append((eqn, inputs))
            else:
                self._same.update(zip(eqn.outvars, twin.outvars, strict=True))
        return found

    def _choose(self) -> set[Any]:
        """Variables that are stored: dear to recompute, and needed in more than one loop."""
        cost: dict[Any, float] = {}

        def weigh(stored: set[Any]) -> None:
            for eqn, inputs in self._eqns:
                below = sum(0 if v in stored else cost.get(v, 0) for v in {id(v): v for v in inputs if not isinstance(v, core.Literal)}.values())
                for var in eqn.outvars:
                    cost[var] = _own_cost(eqn, below)

        stored: set[Any] = set()
        for _ in range(3):
            weigh(stored)
            # the loop in which a value is used: one root, or _MANY
            home: dict[Any, Any] = {}

            def use(var: Any, root: Any) -> None:
                home[var] = root if home.get(var, root) is root else _MANY

            stored = set()
            for k, atom in enumerate(self._closed.jaxpr.outvars):
                name = self._name(atom)
                if not isinstance(name, core.Literal):
                    use(name, name)
            for eqn, inputs in reversed(self._eqns):
                var = eqn.outvars[0]
                if len(eqn.outvars) > 1 or _opaque(eqn):
                    root = var
                else:
                    root = home.get(var)
                    if root is _MANY:
                        scalar = not var.aval.shape
                        if cost[var] > (RECOMPUTED_SCALAR if scalar else RECOMPUTED):
                            stored.add(var)
                            root = var
                for v in inputs:
                    if not isinstance(v, core.Literal):
                        use(v, object() if _opaque(eqn) else root)
        return stored

    def __call__(self, args: list[Any]) -> list[Any]:
        jaxpr = self._closed.jaxpr
        env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*self._closed.consts, *args], strict=True))

        def read(name: Any) -> Any:
            return name.val if isinstance(name, core.Literal) else env[name]

        for eqn, inputs in self._eqns:
            for var, value in zip(eqn.outvars, bind(eqn, [read(name) for name in inputs]), strict=True):
                env[var] = lax.optimization_barrier(value) if var in self._stored else value
        return [read(self._name(atom)) for atom in jaxpr.outvars]


_MANY = object()


def _opaque(eqn: Eqn) -> bool:
    return eqn.primitive.name in ("scan", "while", "cond", "optimization_barrier", "concatenate") or eqn.primitive.multiple_results


def _own_cost(eqn: Eqn, below: float) -> float:
    name = eqn.primitive.name
    if _opaque(eqn):
        return 0
    if name in _MOVES:
        return below
    return below + (10 if name in _DEAR else 1)


def _twin(first: dict[Any, Eqn], eqn: Eqn, inputs: list[Any]) -> Eqn | None:
    """An earlier equation of the same value; if there is none, this one is remembered."""
    names = [
        (v.aval.dtype, v.aval.shape, v.val.tobytes() if hasattr(v.val, "tobytes") else repr(v.val)) if isinstance(v, core.Literal) else id(v)
        for v in inputs
    ]
    if eqn.primitive.name in _COMMUTATIVE:
        names.sort(key=repr)
    try:
        key = (eqn.primitive, *names, *sorted(eqn.params.items(), key=lambda item: item[0]))
        found = first.setdefault(key, eqn)
    except TypeError:  # a parameter that cannot be compared
        return None
    return None if found is eqn else found


def _needed(eqns: list[tuple[Eqn, list[Any]]], results: list[Any]) -> list[tuple[Eqn, list[Any]]]:
    wanted = {v for v in results if not isinstance(v, core.Literal)}
    kept = []
    for eqn, inputs in reversed(eqns):
        if eqn.effects or not wanted.isdisjoint(eqn.outvars):
            wanted.update(v for v in inputs if not isinstance(v, core.Literal))
            kept.append((eqn, inputs))
    return kept[::-1]
