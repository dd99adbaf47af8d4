"""Small products as multiply-and-sum: they fuse into loops, and no GPU rounds them to TF32."""

import jax
import jax.numpy as jnp


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """The inner product a'b over the last axis: (..., d) with (d,) or (..., d) -> (...).

    Raises:
      ValueError: the lengths d differ.
    """
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"vectors must have one length, not {a.shape[-1]} and {b.shape[-1]}")
    return jnp.sum(a * jnp.broadcast_to(b, a.shape), axis=-1)
