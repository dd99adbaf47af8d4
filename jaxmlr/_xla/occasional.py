"""A costly computation that is due at few steps of a scan, also where trials run side by side."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap, sequential_vmap


def occasionally(function: Callable[..., Any], due: jax.Array, otherwise: Any, *operands: Any) -> Any:
    """`function(*operands)` where `due` (), else `otherwise`, of the same structure, shapes and dtypes.

    Under `vmap` nothing is computed at a step at which it is due for no trial; else the trials for which it
    is due are computed one after another, so that each is computed as it would be alone. A condition by
    itself would become a selection there, and both of its sides be computed at every step.
    """

    def one(due: jax.Array, otherwise: Any, operands: Any) -> Any:
        return lax.cond(due, lambda: function(*operands), lambda: otherwise)

    return _guarded(sequential_vmap(one))(due, due, otherwise, operands)


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(due, otherwise, operands)` where the first argument holds, else `otherwise`."""

    @custom_vmap
    def guarded(any_due: jax.Array, due: jax.Array, otherwise: Any, operands: Any) -> Any:
        return lax.cond(
            any_due, function, lambda due, otherwise, operands: otherwise, due, otherwise, operands
        )

    @guarded.def_vmap
    def _(size: int, batched: Any, any_due: jax.Array, *arguments: Any) -> tuple[Any, Any]:
        together = jax.tree.map(
            lambda leaf, axis: leaf if axis else jnp.broadcast_to(leaf, (size, *leaf.shape)),
            arguments,
            tuple(batched[1:]),
        )
        # Guarded again, as there may be another `vmap` around.
        new = _guarded(jax.vmap(function))(jnp.any(any_due), *together)
        return new, jax.tree.map(lambda _: True, new)

    return guarded
