"""The kernel of least squares without a prior: a triangular factor of phi'phi, one rotation a regressor.

For rows phi_k of weight w_k there is an orthogonal Q with Q' [sqrt(w_k) phi_k, sqrt(w_k) y_k] = [R z; 0 r].
R is upper triangular, R theta = z gives the least-squares solution and r^2 is its sum of squares (Golub 1965;
in recursive form Gentleman 1974, AS 75). Nothing is squared: phi'phi would lose twice as many digits.
"""

import jax
import jax.numpy as jnp
from jax import lax

UNROLLED = 8  # regressors up to which the rotations are written out


def add_row(factor: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rotate a row into the factor.

    Args:
      factor: [R z], (d, d + 1).
      row: [phi, y], (d + 1,), times the root of its weight.

    Returns:
      The new factor, and what is left of y, whose square is the growth of the sum of squares.
    """

    def rotate(i: jax.Array | int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        factor, row = carry
        line = factor[i]
        # What rounding leaves of a regressor that those before it explain would carry y's residual away.
        left = jnp.where(jnp.abs(row[i]) > rounding[i], row[i], 0)
        length = jnp.hypot(line[i], left)
        positive = length > 0
        safe = jnp.where(positive, length, 1)
        cosine, sine = jnp.where(positive, line[i] / safe, 1), jnp.where(positive, left / safe, 0)
        rotated = cosine * row - sine * line
        return factor.at[i].set(cosine * line + sine * row), rotated.at[i].set(0)

    d = factor.shape[0]
    rounding = 8 * d * jnp.finfo(factor.dtype).eps * jnp.abs(row)
    if d <= UNROLLED:
        for i in range(d):
            factor, row = rotate(i, (factor, row))
    else:
        factor, row = lax.fori_loop(0, d, rotate, (factor, row))
    return factor, row[d]


def solution(factor: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The solution (d,) of R theta = z and the rank of R.

    What the rows have not shown yet has the coefficient 0: a regressor whose pivot is within rounding of its
    length, as long as it is a combination of those in front of it.
    """
    d = factor.shape[0]
    pivots = jnp.abs(jnp.diagonal(factor))
    lengths = jnp.sqrt(jnp.sum(jnp.triu(factor[:, :d]) ** 2, axis=0))
    known = pivots > 8 * d * jnp.finfo(factor.dtype).eps * lengths

    def back(k: jax.Array | int, theta: jax.Array) -> jax.Array:
        i = d - 1 - k
        left = factor[i, d] - jnp.sum(jnp.where(jnp.arange(d) > i, factor[i, :d] * theta, 0))
        return theta.at[i].set(jnp.where(known[i], left / jnp.where(known[i], factor[i, i], 1), 0))

    theta = jnp.zeros(d, factor.dtype)
    if d <= UNROLLED:
        for k in range(d):
            theta = back(k, theta)
    else:
        theta = lax.fori_loop(0, d, back, theta)
    return theta, jnp.sum(known, dtype=jnp.int32)
