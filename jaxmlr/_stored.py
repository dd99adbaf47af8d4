"""Ask the compiler to compute a value once and keep it."""

from typing import Any

import jax


def stored(value: Any) -> Any:
    """`value`, a pytree of arrays, computed apart from what uses it, where that is faster.

    XLA on CPU fuses a value into every loop that uses it and computes it anew in each. Elsewhere it fuses
    several results into one loop, and a barrier would only send them through memory.
    """
    return jax.lax.optimization_barrier(value) if jax.default_backend() == "cpu" else value
