"""Lines through some rows, and the mixture around a set of lines: what starts are made of."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxmlr.batch import steps
from jaxmlr.batch.solve import solve
from jaxmlr.batch.starts.draws import uniform
from jaxmlr.mixture import Mixture

CANDIDATES = 16  # lines tried for each one taken


class Rows(NamedTuple):
    """Checked rows."""

    phi: jax.Array  # (n, d)
    y: jax.Array  # (n,)
    weight: jax.Array  # (n,), 0 where a row does not count
    columns: jax.Array | None = None  # () int32, how many columns of phi are not zeros that fill it up

    @property
    def dim(self) -> ArrayLike:
        """The number of regressors, which may be traced."""
        return self.phi.shape[1] if self.columns is None else self.columns


def squares(data: Rows, lines: jax.Array) -> jax.Array:
    """Squared residuals (c, n) of lines (c, d)."""
    fitted = jnp.einsum("cd,nd->cn", lines, data.phi, precision="highest")
    return jnp.square(data.y[None, :] - fitted)


def correction(phi: jax.Array, error: jax.Array, weight: jax.Array) -> jax.Array:
    """Weighted least squares of error (n,) on phi (n, d): (sum w phi phi')^-1 sum w phi e."""
    gram = jnp.einsum("n,ni,nj->ij", weight, phi, phi, precision="highest")
    return solve(gram, jnp.einsum("n,ni->i", weight * error, phi, precision="highest"))


def candidates(
    key: jax.Array, data: Rows, chance: jax.Array, count: int = CANDIDATES, often: jax.Array | None = None
) -> jax.Array:
    """`count` lines (count, d), each through rows drawn with probability proportional to `chance` (n,).

    Some pass through d rows, which is likeliest to stay within one component; the others through 3 d rows,
    which noise and near-collinear rows tilt less. A quarter draw their rows by `often` (n,), if that is
    given and not all 0.
    """
    n, most = data.phi.shape
    below = jnp.cumsum(chance)
    u = uniform(key, (count, 3 * most + 1), data.y.dtype)
    rows = jnp.minimum(jnp.searchsorted(below, u[:, 1:] * below[-1], side="right"), n - 1)
    if often is not None:
        sums = jnp.cumsum(often)
        others = jnp.minimum(jnp.searchsorted(sums, u[:, 1:] * sums[-1], side="right"), n - 1)
        quarter = jnp.arange(count, dtype=jnp.int32) % 4 == 3
        rows = jnp.where(quarter[:, None] & (sums[-1] > 0), others, rows)
    taken = jnp.where(u[:, :1] < 0.5, 3, 1) * data.dim
    counts = jnp.arange(3 * most, dtype=jnp.int32)[None, :] < taken
    return jax.vmap(correction)(data.phi[rows], data.y[rows], counts.astype(data.y.dtype))


def quantile(value: jax.Array, weight: jax.Array, fraction: jax.Array) -> jax.Array:
    """The least entry of value (n,) that at least `fraction` of the weight does not exceed."""
    order = jnp.argsort(value)
    below = jnp.cumsum(weight[order])
    reached = jnp.argmax(below >= fraction * below[-1])
    return value[order][reached]


def around(
    data: Rows,
    lines: jax.Array,
    components: ArrayLike,
    label: jax.Array | None = None,
    grouped: ArrayLike = True,
) -> Mixture:
    """The mixture of lines (K, d) whose rows are those nearest to each, with one variance for all.

    A common variance at the start keeps a line through few rows from swallowing the likelihood. The first
    `components` lines count, which may be traced; the others get weight 0. Where `grouped`, the rows of a
    line are those of a `label` (n,), and weights and variances are those of its group.
    """
    total = jnp.maximum(jnp.sum(data.weight), float(jnp.finfo(data.y.dtype).tiny))
    present = jnp.arange(lines.shape[0], dtype=jnp.int32) < components
    lines = jnp.where(present[:, None], lines, 0)
    square = squares(data, lines)
    own = jnp.argmin(jnp.where(present[:, None], square, jnp.inf), axis=0).astype(jnp.int32)
    if label is not None:
        own = jnp.where(grouped, label, own)
    member = jax.nn.one_hot(own, lines.shape[0], axis=0, dtype=data.y.dtype) * data.weight[None, :]
    size, errors = jnp.sum(member, axis=1), jnp.sum(member * square, axis=1)
    variance = jnp.broadcast_to(jnp.sum(errors) / total, size.shape)
    # No component begins empty: its weight would stay near 0 for many steps.
    even = 1 / jnp.asarray(components, data.y.dtype)
    weights = jnp.where(present, 0.5 * size / total + 0.5 * even, 0)
    if label is not None:
        apart = jnp.where(size > 0, errors / jnp.where(size > 0, size, 1), 0)
        apart = jnp.where(size > 0, apart, jnp.max(apart))
        variance, weights = jnp.where(grouped, apart, variance), jnp.where(grouped, size / total, weights)
    return Mixture(lines, weights, jnp.maximum(variance, steps.resolution(data.y, data.weight)))


def line_variance(data: Rows) -> jax.Array:
    """Residual variance of least squares on all rows, (): the reference that variances are measured by."""
    error = data.y - jnp.einsum(
        "nd,d->n", data.phi, correction(data.phi, data.y, data.weight), precision="highest"
    )
    total = jnp.maximum(jnp.sum(data.weight), float(jnp.finfo(data.y.dtype).tiny))
    return jnp.sum(data.weight * error * error) / total
