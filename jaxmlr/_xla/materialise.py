"""Ask the compiler to compute a value once and keep it."""

from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from jaxmlr._xla.target import target


@jax.jit
def stored_values(*leaves: jax.Array) -> tuple[jax.Array, ...]:
    return jax.lax.optimization_barrier(leaves)


def stored(value: Any) -> Any:
    """`value`, a pytree of arrays, computed apart from what uses it, where that is faster.

    XLA on CPU fuses a value into every loop that uses it and computes it anew in each. Elsewhere it fuses
    several results into one loop, and a barrier would only send them through memory.
    """
    if target() != "cpu":
        return value
    leaves, tree = jax.tree.flatten(value)
    # The quirk "early_dropped_barriers": what a function that is not inlined returns is kept.
    with set_xla_metadata(inlineable="false"):
        return jax.tree.unflatten(tree, stored_values(*leaves))
