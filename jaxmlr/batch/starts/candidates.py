"""Lines through some rows, and the mixture around a set of lines: what starts are made of."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmlr.batch import steps
from jaxmlr.batch.partition import from_posterior
from jaxmlr.mixture import Mixture

CANDIDATES = 16  # lines tried for each one taken


class Data(NamedTuple):
    """Checked rows."""

    phi: jax.Array  # (n, d)
    y: jax.Array  # (n,)
    weight: jax.Array  # (n,), 0 where a row does not count


def squares(data: Data, lines: jax.Array) -> jax.Array:
    """Squared residuals (c, n) of lines (c, d)."""
    fitted = jnp.einsum("cd,nd->cn", lines, data.phi, precision="highest")
    return jnp.square(data.y[None, :] - fitted)


def correction(phi: jax.Array, error: jax.Array, weight: jax.Array) -> jax.Array:
    """Weighted least squares of error (n,) on phi (n, d): (sum w phi phi')^-1 sum w phi e."""
    gram = jnp.einsum("n,ni,nj->ij", weight, phi, phi, precision="highest")
    return steps.solve(gram, jnp.einsum("n,ni->i", weight * error, phi, precision="highest"))


def candidates(key: jax.Array, data: Data, chance: jax.Array, count: int = CANDIDATES) -> jax.Array:
    """`count` lines (count, d), each through rows drawn with probability proportional to `chance` (n,).

    Some pass through d rows, which is likeliest to stay within one component; the others through 3 d rows,
    which noise and near-collinear rows tilt less.
    """
    n, d = data.phi.shape
    below = jnp.cumsum(chance)
    u = jax.random.uniform(key, (count, 3 * d + 1), data.y.dtype)
    rows = jnp.minimum(jnp.searchsorted(below, u[:, 1:] * below[-1], side="right"), n - 1)
    counts = (u[:, :1] < 0.5) | (jnp.arange(3 * d, dtype=jnp.int32) < d)[None, :]
    return jax.vmap(correction)(data.phi[rows], data.y[rows], counts.astype(data.y.dtype))


def quantile(value: jax.Array, weight: jax.Array, share: jax.Array) -> jax.Array:
    """The least entry of value (n,) that at least `share` of the weight does not exceed."""
    order = jnp.argsort(value)
    below = jnp.cumsum(weight[order])
    reached = jnp.argmax(below >= share * below[-1])
    return value[order][reached]


def around(data: Data, lines: jax.Array) -> Mixture:
    """The mixture of lines (K, d) whose rows are those nearest to each, with one variance for all.

    A common variance at the start keeps a line through few rows from swallowing the likelihood.
    """
    square = squares(data, lines)
    components = lines.shape[0]
    nearest = jnp.argmin(square, axis=0).astype(jnp.int32)
    total = jnp.maximum(jnp.sum(data.weight), float(jnp.finfo(data.y.dtype).tiny))
    share = jnp.sum(jax.nn.one_hot(nearest, components, axis=0, dtype=data.y.dtype) * data.weight[None, :], 1)
    variance = jnp.sum(data.weight * jnp.min(square, axis=0)) / total
    variance = jnp.maximum(variance, steps.resolution(data.y, data.weight))
    # No component begins empty: its weight would stay near 0 for many steps.
    return Mixture(lines, 0.5 * share / total + 0.5 / components, jnp.broadcast_to(variance, (components,)))


def one_line(data: Data, components: int) -> Mixture:
    """Least squares on all rows, `components` times: the reference that variances are measured by."""
    posterior = jnp.full((data.y.shape[0], components), 1 / components, data.y.dtype)
    return from_posterior(data.phi, data.y, posterior, row_weights=data.weight)
