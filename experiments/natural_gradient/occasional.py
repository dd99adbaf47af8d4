"""A costly computation that is due at few steps of a scan, also under `vmap`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap


def occasionally(function: Callable[..., Any], due: jax.Array, otherwise: Any, *operands: Any) -> Any:
    """`function(*operands)` where `due` (), else `otherwise`, of the same structure and dtypes.

    `vmap` would make both sides of a condition that differs from trial to trial be computed at every step;
    here `function` is computed for all trials where it is due for one, and not at all where for none.
    """
    leaves, structure = jax.tree.flatten((otherwise, operands))

    def taken(*leaves: jax.Array) -> list[jax.Array]:
        _, operands = jax.tree.unflatten(structure, leaves)
        return jax.tree.leaves(function(*operands))

    flat = _conditional(taken, len(jax.tree.leaves(otherwise)))(due, *leaves)
    return jax.tree.unflatten(jax.tree.structure(otherwise), flat)


def _conditional(taken: Callable[..., list[jax.Array]], kept: int) -> Callable[..., list[jax.Array]]:
    """A function of due and leaves: `taken(*leaves)`, or the first `kept` of the leaves."""

    @custom_vmap
    def conditional(due: jax.Array, *leaves: jax.Array) -> list[jax.Array]:
        return lax.cond(due, taken, lambda *leaves: list(leaves[:kept]), *leaves)

    @conditional.def_vmap
    def _(size: int, batched: Any, due: jax.Array, *leaves: jax.Array) -> tuple[list[jax.Array], list[bool]]:
        together = [
            leaf if axis else jnp.broadcast_to(leaf, (size, *leaf.shape))
            for leaf, axis in zip(leaves, batched[1:], strict=True)
        ]
        each_due = jnp.broadcast_to(due, (size,))

        def all_taken(each_due: jax.Array, *leaves: jax.Array) -> list[jax.Array]:
            new = jax.vmap(taken)(*leaves)
            return [
                jnp.where(each_due.reshape(-1, *[1] * (a.ndim - 1)), a, b)
                for a, b in zip(new, leaves, strict=False)
            ]

        # Conditional again, as there may be another `vmap` around.
        def with_due(*leaves: jax.Array) -> list[jax.Array]:
            return all_taken(leaves[-1], *leaves[:-1])

        new = _conditional(with_due, kept)(jnp.any(due), *together, each_due)
        return new, [True] * kept

    return conditional
