"""Which values of a jaxpr depend on the trial: in `lanes`, what is the same for all trials stays a scalar."""

from collections.abc import Callable, Sequence
from typing import Any

from jax.extend import core

from jaxmlr._xla.lanes.entry_rules import Eqn
from jaxmlr._xla.target import target

CALLS = ("jit", "pjit", "closed_call")


def inner(eqn: Eqn) -> Any:
    return eqn.params.get("jaxpr") or eqn.params["call_jaxpr"]


def scan_carry(eqn: Eqn) -> tuple[int, int]:
    """Where the carry lies among a scan's inputs; before it are constants, behind it the rows."""
    if "ft_in" in eqn.params:  # the quirk "counted_carries"
        consts, carry = (len(part) for part in eqn.params["ft_in"].unpack()[:2])
    else:
        consts, carry = eqn.params["num_consts"], eqn.params["num_carry"]
    return consts, consts + carry


def while_carry(eqn: Eqn) -> tuple[int, int]:
    """Where a while loop's constants of the condition and of the body end; the carry lies behind."""
    return eqn.params["cond_nconsts"], eqn.params["cond_nconsts"] + eqn.params["body_nconsts"]


def dependent(closed: Any, varying: Sequence[bool]) -> list[bool]:
    """Which results of a jaxpr depend on the trial, given which arguments do."""
    jaxpr = closed.jaxpr
    env = dict.fromkeys(jaxpr.constvars, False) | dict(zip(jaxpr.invars, varying, strict=True))

    def read(atom: Any) -> bool:
        return not isinstance(atom, core.Literal) and env[atom]

    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        depends = _RULES.get(eqn.primitive.name, all_or_none)(eqn, inputs)
        env.update((var, f and 0 not in var.aval.shape) for var, f in zip(eqn.outvars, depends, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def all_or_none(eqn: Eqn, varying: Sequence[bool]) -> list[bool]:
    return [any(varying)] * len(eqn.outvars)


def _dependent_carry(
    body: Any, before: Sequence[bool], carry: Sequence[bool], after: Sequence[bool]
) -> tuple[list[bool], list[bool]]:
    """The least part of a loop's carry that depends on the trial and stays so, and the body's results."""
    carry = list(carry)
    while True:
        depends = dependent(body, [*before, *carry, *after])
        wider = [old or new for old, new in zip(carry, depends[: len(carry)], strict=True)]
        if wider == carry:
            return carry, depends
        carry = wider


def dependent_scan(eqn: Eqn, varying: Sequence[bool]) -> list[bool]:
    first, last = scan_carry(eqn)
    carry, depends = _dependent_carry(
        eqn.params["jaxpr"], varying[:first], varying[first:last], varying[last:]
    )
    return [*carry, *depends[len(carry) :]]


def dependent_while(eqn: Eqn, varying: Sequence[bool]) -> list[bool]:
    first, last = while_carry(eqn)
    body, cond = eqn.params["body_jaxpr"], eqn.params["cond_jaxpr"]

    def carried(start: Sequence[bool]) -> tuple[list[bool], bool]:
        carry, _ = _dependent_carry(body, varying[first:last], start, ())
        return carry, dependent(cond, [*varying[:first], *carry])[0]

    carry, ragged = carried(varying[last:])
    if ragged:
        return [True] * len(carry)
    if target() != "cpu":  # a number that all trials share would be a kernel of its own, every step
        read = {atom for e in cond.jaxpr.eqns for atom in e.invars if not isinstance(atom, core.Literal)}
        own, alone = carried([var not in read for var in cond.jaxpr.invars[first:]])
        carry = carry if alone else own
    return carry


_RULES: dict[str, Callable[[Eqn, Sequence[bool]], list[bool]]] = {
    **dict.fromkeys(CALLS, lambda eqn, varying: dependent(inner(eqn), varying)),
    "optimization_barrier": lambda eqn, varying: list(varying),
    "scan": dependent_scan,
    "while": dependent_while,
}
