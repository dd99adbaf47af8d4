"""Normal equations, singular or not."""

import jax
import jax.numpy as jnp
from jax import lax


def solve(gram: jax.Array, right: jax.Array) -> jax.Array:
    """gram^-1 right for gram (..., d, d) positive semidefinite, any units, singular or not.

    Columns are scaled to unit length and the diagonal is lifted by rounding errors. The right side is a
    residual's, so the lift slows the approach in directions without data but does not move the optimum.
    """
    d = gram.shape[-1]
    info = jnp.finfo(gram.dtype)
    diagonal = jnp.diagonal(gram, axis1=-2, axis2=-1)
    scale = jnp.where(diagonal > info.tiny, lax.rsqrt(jnp.maximum(diagonal, info.tiny)), 1)
    lift = jnp.where(jnp.eye(d, dtype=bool), 100 * d * float(info.eps), 0).astype(gram.dtype)
    scaled = gram * scale[..., :, None] * scale[..., None, :]
    factor = jnp.linalg.cholesky(scaled + jnp.broadcast_to(lift, scaled.shape))
    solution = scale * jax.scipy.linalg.cho_solve((factor, True), (right * scale)[..., None])[..., 0]
    return jnp.where(jnp.all(jnp.isfinite(solution), axis=-1, keepdims=True), solution, 0)
