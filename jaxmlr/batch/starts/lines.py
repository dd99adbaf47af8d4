"""Starts by partition and by lines through rows; each function draws one start from a key."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxmlr.batch import steps
from jaxmlr.batch.starts.candidates import Rows, around, candidates, correction, quantile, squares
from jaxmlr.mixture import Mixture


def random_partition(key: jax.Array, data: Rows, components: int, used: ArrayLike | None = None) -> Mixture:
    """Least squares in random groups of rows (flexmix's default): all lines begin near one another.

    Args:
      key: of this start.
      data: phi (n, d), y (n,), weight (n,).
      components: K.
      used: how many of the K count, the first ones, where that is not all; it may be traced.

    Returns:
      A Mixture with noise_variance (K,), as every start.
    """
    phi, y, weight, _ = data
    label = jax.random.randint(key, y.shape, 0, components if used is None else used, jnp.int32)
    member = jax.nn.one_hot(label, components, axis=0, dtype=y.dtype) * weight[None, :]
    lines = jax.vmap(correction, (None, None, 0))(phi, y, member)
    size = jnp.sum(member, axis=1)
    tiny = float(jnp.finfo(y.dtype).tiny)
    variance = jnp.sum(member * squares(data, lines), axis=1) / jnp.maximum(size, tiny)
    variance = jnp.where(size > 0, variance, jnp.max(variance))
    return Mixture(
        lines,
        size / jnp.maximum(jnp.sum(weight), tiny),
        jnp.maximum(variance, steps.resolution(y, weight)),
    )


def random_lines(key: jax.Array, data: Rows, components: int, used: ArrayLike | None = None) -> Mixture:
    """Lines through random rows, d of them or 3 d.

    Args:
      key: of this start.
      data: phi (n, d), y (n,), weight (n,).
      components: K.
      used: how many of the K count, the first ones, where that is not all; it may be traced.

    Returns:
      A Mixture.
    """
    lines = candidates(key, data, data.weight, components)
    return around(data, lines, components if used is None else used)


def spread_lines(key: jax.Array, data: Rows, components: int, used: ArrayLike | None = None) -> Mixture:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007) carried over to lines; the carrying over is ours.

    The rows of a candidate line are drawn with probability proportional to the squared distance from the
    nearest line so far; the candidate is taken that leaves the least sum of squared distances.

    Args:
      key: of this start.
      data: phi (n, d), y (n,), weight (n,).
      components: K.
      used: how many of the K count, the first ones, where that is not all; it may be traced.

    Returns:
      A Mixture.
    """
    start = jnp.full_like(data.y, jnp.inf)
    least = steps.resolution(data.y, data.weight)

    keys = jax.random.split(key, components)

    def add(k: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        distance, taken = carry
        chance = data.weight * jnp.where(jnp.isinf(distance), 1, distance + least)
        lines = candidates(keys[k], data, chance)
        left = jnp.minimum(distance[None, :], squares(data, lines))
        best = jnp.argmin(jnp.sum(data.weight[None, :] * left, axis=1))
        return left[best], taken.at[k].set(lines[best])

    count = components if used is None else used
    none = jnp.zeros((components, data.phi.shape[1]), data.y.dtype)
    _, lines = lax.fori_loop(0, count, add, (start, none))
    return around(data, lines, count)


def sequential_robust(key: jax.Array, data: Rows, components: int, used: ArrayLike | None = None) -> Mixture:
    """One line at a time by robust regression on the rows that no line so far explains.

    The idea of Mix-IRLS (Zilber and Nadler, NeurIPS 2023): to the component at hand the rows of all others
    are outliers, so imbalance helps instead of hurting. From the best candidate line, iterate

        w_i  = free_i exp(-e_i^2 / (2 s^2)),   e_i = y_i - beta' phi_i
        beta = (sum w phi phi')^-1 sum w phi y,   s^2 = 2 sum w e^2 / sum w

    which keeps s at the sigma of a Gaussian core; then rows with |e_i| < 3 s are no longer free. Weights
    (Welsch's), scale and candidates are this project's, not the paper's.

    Args:
      key: of this start.
      data: phi (n, d), y (n,), weight (n,).
      components: K.
      used: how many of the K count, the first ones, where that is not all; it may be traced.

    Returns:
      A Mixture.
    """
    phi, y, weight, _ = data
    tiny = float(jnp.finfo(y.dtype).tiny)
    least = jnp.sqrt(steps.resolution(y, weight))
    keys = jax.random.split(key, components)
    count = components if used is None else used

    def add(k: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        free, taken = carry
        remaining = jnp.asarray(count - k, y.dtype)
        lines = candidates(keys[k], data, free)
        square = squares(data, lines)
        # A sum of logarithms is lowered by many small residuals and hardly raised by large ones.
        spread = quantile(jnp.min(square, axis=0), free, 0.5 / remaining) + jnp.square(least)
        best = jnp.argmin(jnp.sum(free[None, :] * jnp.log(square + spread), axis=1))
        scale = jnp.sqrt(quantile(square[best], free, 0.5 / remaining))

        def refine(_: int, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            beta, scale = now
            scale = jnp.maximum(scale, least)
            error = y - fitted(beta)
            w = free * jnp.exp(-0.5 * jnp.square(error / scale))
            beta = beta + correction(phi, error, w)
            error = y - fitted(beta)
            return beta, jnp.sqrt(2 * jnp.sum(w * error * error) / jnp.maximum(jnp.sum(w), tiny))

        def fitted(beta: jax.Array) -> jax.Array:
            return jnp.einsum("nd,d->n", phi, beta, precision="highest")

        beta, scale = lax.fori_loop(0, 30, refine, (lines[best], scale))
        explained = jnp.abs(y - fitted(beta)) < 3 * jnp.maximum(scale, least)
        rest = jnp.where(explained, 0, free)
        # Where too few rows are left for a line, the next is drawn from all of them again.
        enough = jnp.sum(rest > 0, dtype=jnp.int32) > data.dim
        return jnp.where(enough, rest, weight), taken.at[k].set(beta)

    none = jnp.zeros((components, phi.shape[1]), y.dtype)
    _, lines = lax.fori_loop(0, count, add, (weight, none))
    return around(data, lines, count)
