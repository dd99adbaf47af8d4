"""The rows of a data set as batch methods read them: checked, weighted, and packed for one pass."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxmlr import _check

BLOCK = 4096  # rows; what the E-step keeps of a block (residuals, posteriors, weighted rows) stays in cache


class Rows(NamedTuple):
    """Blocks of m rows, the last padded with rows of weight 0; rows lie along the fast axis."""

    phi: jax.Array  # (blocks, d, m)
    y: jax.Array  # (blocks, m)
    weight: jax.Array  # (blocks, m), 0 where a row does not count


def checked(
    phi: ArrayLike, y: ArrayLike, mask: ArrayLike | None = None, row_weights: ArrayLike | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Regressors (n, d), responses (n,) and row weights (n,), with zeros where the mask is False.

    Raises:
      ValueError: wrong shapes or dtypes; a row that counts holds NaN or infinity; a negative weight.
    """
    shape = np.shape(y)
    if mask is not None:
        if np.shape(mask) != shape or jnp.result_type(mask) != jnp.bool_:
            raise ValueError(
                f"mask must be boolean of shape {shape}, not {jnp.result_type(mask)} of {np.shape(mask)}"
            )
        # A missing row is often a NaN, and 0 * NaN is NaN: it must go before any arithmetic.
        if np.ndim(phi) == 2 and np.shape(phi)[:1] == shape:
            phi = jnp.where(jnp.asarray(mask)[:, None], phi, 0)
            y = jnp.where(jnp.asarray(mask), y, 0)
    _check.observations(phi, y)
    phi, y = jnp.asarray(phi), jnp.asarray(y)
    dtype = jnp.result_type(phi, y)
    weight = jnp.ones(shape, dtype)
    if row_weights is not None:
        if np.shape(row_weights) != shape:
            raise ValueError(f"row_weights must have shape {shape}, not {np.shape(row_weights)}")
        _check.number("row_weights", row_weights, at_least=0)
        weight = jnp.asarray(row_weights, dtype)
    if mask is not None:
        weight = jnp.where(jnp.asarray(mask), weight, 0)
    return phi, y, weight


def pack(phi: jax.Array, y: jax.Array, weight: jax.Array) -> Rows:
    """Rows of phi (n, d), y (n,) and weight (n,) in blocks of at most `BLOCK`."""
    n, d = phi.shape
    blocks = max(1, -(-n // BLOCK))
    m = -(-n // blocks)
    pad = blocks * m - n
    phi = jnp.pad(phi, ((0, pad), (0, 0))).reshape(blocks, m, d)
    y, weight = (jnp.pad(x, (0, pad)).reshape(blocks, m) for x in (y, weight))
    return Rows(phi.transpose(0, 2, 1), y, weight)
