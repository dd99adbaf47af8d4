"""How many trials a block computes side by side: on a CPU only as many as its cache holds."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxmlr._xla.target import target
from jaxmlr._xla.versions import applies

CACHE = 2**16  # bytes that a step may carry: what one step writes is then still at hand for the next
MOST = 512  # trials: more gain nothing
LEAST = MOST if applies("kernel_for_every_array") else 128  # fewer cost more in loops begun
VECTOR = 16  # trials in a register: a rest that does not fill one is computed and rounded otherwise


def filled(trials: int) -> int:
    """So many trials that registers are full: elsewhere than on a CPU, `trials`."""
    return VECTOR * -(-trials // VECTOR) if target() == "cpu" else trials


def side_by_side(trials: int, carried: int) -> int:
    """The size of the chunks for `trials` trials, of which each step carries `carried` bytes a trial.

    Elsewhere than on a CPU all of them: other devices want as many as there are.
    """
    if target() != "cpu":
        return trials
    fitting = max(LEAST, min(MOST, CACHE // max(carried, 1)))
    chunks = -(-trials // fitting)
    return filled(-(-trials // chunks))


def in_chunks(function: Callable[[jax.Array], Any], trials: jax.Array, size: int) -> Any:
    """`function(trials)` in chunks of `size`, one after another, for trials (n,); leaves are (n, ...).

    Trials are consecutive: the last chunk runs on behind them, and what it finds there is dropped.
    """
    count = trials.shape[0]
    places = jnp.arange(size, dtype=trials.dtype)
    if size >= count:
        return jax.tree.map(lambda x: x[:count], function(trials[0] + places))
    starts = trials[0] + size * jnp.arange(-(-count // size), dtype=trials.dtype)
    values = jax.lax.map(lambda start: function(start + places), starts)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], values)


def nbytes(tree: Any) -> int:
    """Bytes of a pytree of arrays or their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
