"""Every value computed once: equal entries are one, and what several loops would recompute is stored.

XLA on CPU makes each stored result a loop of its own, without results in common, and fuses into it all that
it needs, however often other loops have computed the same. For thousands of entries that repetition is most
of the run time and nearly all of the compile time. `shared` finds the values that are worth a loop of their
own and keeps them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core

from jaxmlr._xla.lanes.entry_rules import Eqn, bind
from jaxmlr._xla.materialise import stored

MOST_REPEATED = 4  # operations on a vector of trials that several loops repeat rather than load their result
MOST_REPEATED_SCALAR = 40  # the same where no trial matters: once a loop, not once a trial

_COMMUTATIVE = "add mul max min and or xor"
_FREE = "bitcast_convert_type broadcast_in_dim convert_element_type copy imag real reshape slice squeeze"
_DEAR = (
    "acos acosh asin asinh atan atan2 atanh cbrt cos cosh digamma div erf erf_inv erfc exp exp2 expm1"
    " integer_pow lgamma log log1p logistic pow rem rsqrt sin sinh sqrt tan tanh"
)
_COST = dict.fromkeys(_FREE.split(), 0) | dict.fromkeys(_DEAR.split(), 10)  # of other operations 1


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, of and to pytrees of arrays, with each of its values computed once."""

    def once(*args: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        values = _evaluate(closed, _distinct(closed.jaxpr), jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), values)

    return once


class Loop:
    """A loop's step with each of its values computed once, and each part of its carry carried once.

    Parts are the same where they start the same and the step keeps them so, as the two halves of a symmetric
    matrix: that is found by taking all that start the same for one, and parting those that one step parts.
    """

    def __init__(
        self,
        step: Callable[[Any, Any], tuple[list[jax.Array], Any]],
        carry: Sequence[jax.Array],
        keys: Sequence[Any],
        row: Any,
    ):
        """Of `step(carry, row) -> (carry, y)`; equal `keys` say which parts of the carry start the same."""
        size, parted, self._of = len(carry), _first_places(keys), [-1]  # the part that stands for each
        while parted != self._of:
            self._of, self._kept = parted, sorted(set(parted))
            self._closed, (_, y) = jax.make_jaxpr(
                lambda few, row: step(self.all(few), row), return_shape=True
            )(self.few(carry), row)
            nodes, results = _distinct(self._closed.jaxpr)
            names = [id(name) if isinstance(name, core.Literal) else name for name in results[:size]]
            parted = _first_places(list(zip(self._of, names, strict=True)))
        self._y = jax.tree.structure(y)
        self._distinct = nodes, [results[k] for k in self._kept] + results[size:]

    def few(self, carry: Sequence[jax.Array]) -> list[jax.Array]:
        """The parts that are carried."""
        return [carry[k] for k in self._kept]

    def all(self, few: Sequence[jax.Array]) -> list[jax.Array]:
        """All parts, from those that are carried."""
        return [few[self._kept.index(k)] for k in self._of]

    def step(self, few: Sequence[jax.Array], row: Any) -> tuple[list[jax.Array], Any]:
        """One step of the parts that are carried."""
        values = _evaluate(self._closed, self._distinct, [*few, *jax.tree.leaves(row)])
        return values[: len(few)], jax.tree.unflatten(self._y, values[len(few) :])


def _first_places(keys: Sequence[Any]) -> list[int]:
    """Where each key stands first."""
    first: dict[Any, int] = {}
    return [first.setdefault(key, place) for place, key in enumerate(keys)]


def _evaluate(
    closed: Any, distinct: tuple[list["_Node"], list[Any]], args: Sequence[jax.Array]
) -> list[jax.Array]:
    """The results named in `distinct`, with what is worth it stored."""
    nodes, results = distinct
    nodes = _needed(nodes, results)
    kept = _worth_storing(nodes, results)
    inputs = [*closed.jaxpr.constvars, *closed.jaxpr.invars]
    env = dict(zip(inputs, [*closed.consts, *args], strict=True))
    for eqn, names in nodes:
        outputs = bind(eqn, [_read(env, name) for name in names])
        for var, value in zip(eqn.outvars, outputs, strict=True):
            env[var] = stored(value) if var in kept else value
    return [_read(env, name) for name in results]


class _Node(NamedTuple):
    """An equation whose operands are named by what computed their value first."""

    eqn: Eqn
    names: list[Any]  # variables and literals


def _read(env: dict[Any, Any], name: Any) -> Any:
    return name.val if isinstance(name, core.Literal) else env[name]


def _variables(names: Sequence[Any]) -> list[Any]:
    return [name for name in names if not isinstance(name, core.Literal)]


def _distinct(jaxpr: Any) -> tuple[list[_Node], list[Any]]:
    """The equations that repeat none before them, and the names of the results."""
    first: dict[Any, Eqn] = {}
    same: dict[Any, Any] = {}

    def name(atom: Any) -> Any:
        return atom if isinstance(atom, core.Literal) else same.get(atom, atom)

    nodes = []
    for eqn in jaxpr.eqns:
        names = [name(atom) for atom in eqn.invars]
        try:
            twin = first.setdefault(_value(eqn, names), eqn)
        except TypeError:  # a parameter that cannot be compared
            twin = eqn
        if twin is eqn or eqn.effects:
            nodes.append(_Node(eqn, names))
        else:
            same.update(zip(eqn.outvars, twin.outvars, strict=True))
    return nodes, [name(atom) for atom in jaxpr.outvars]


def _value(eqn: Eqn, names: Sequence[Any]) -> tuple[Any, ...]:
    """What two equations have in common exactly where their results are equal."""
    operands = [
        (str(name.aval), np.asarray(name.val).tobytes()) if isinstance(name, core.Literal) else name
        for name in names
    ]
    if eqn.primitive.name in _COMMUTATIVE.split():
        operands.sort(key=hash)
    return (eqn.primitive, *operands, *sorted(eqn.params.items(), key=lambda item: item[0]))


def _needed(nodes: Sequence[_Node], results: Sequence[Any]) -> list[_Node]:
    wanted = set(_variables(results))
    kept = []
    for node in reversed(nodes):
        if node.eqn.effects or not wanted.isdisjoint(node.eqn.outvars):
            wanted.update(_variables(node.names))
            kept.append(node)
    return kept[::-1]


def _alone(eqn: Eqn) -> bool:
    """Whether XLA fuses an equation with nothing: then its operands, too, are stored one by one."""
    return eqn.primitive.multiple_results or eqn.primitive.name == "concatenate"


def _worth_storing(nodes: Sequence[_Node], results: Sequence[Any]) -> set[Any]:
    """The variables that more than one loop needs, and that cost more to compute than to load."""
    unaided = _used_apart(nodes, results, _costs(nodes, set()))
    # Beside what is stored by now, much of it has become cheap.
    return _used_apart(nodes, results, _costs(nodes, unaided))


def _costs(nodes: Sequence[_Node], kept: set[Any]) -> dict[Any, int]:
    """Operations that each variable takes where those in `kept` are loaded."""
    costs: dict[Any, int] = {}
    for eqn, names in nodes:
        if _alone(eqn):
            continue
        below = sum(costs.get(name, 0) for name in {*_variables(names)} - kept)
        costs[eqn.outvars[0]] = below + _COST.get(eqn.primitive.name, 1)
    return costs


def _used_apart(nodes: Sequence[_Node], results: Sequence[Any], costs: dict[Any, int]) -> set[Any]:
    """The dear variables that more than one loop needs, found from the results backwards."""
    several = object()
    loop: dict[Any, Any] = {}  # the one loop that needs a variable, or `several`

    def use(name: Any, where: Any) -> None:
        loop[name] = where if loop.get(name, where) is where else several

    kept = set()
    for name in _variables(results):
        use(name, name)
    for eqn, names in reversed(nodes):
        if _alone(eqn):
            for name in _variables(names):
                use(name, object())
            continue
        (var,) = eqn.outvars
        user = loop.get(var)
        most = MOST_REPEATED if var.aval.shape else MOST_REPEATED_SCALAR
        if user is several and costs[var] > most:
            kept.add(var)
            user = var
        for name in _variables(names):
            use(name, user)
    return kept
