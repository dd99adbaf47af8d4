"""Starts by partition and by lines through rows; each function draws one start from a key."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxmlr.batch import steps
from jaxmlr.batch.starts.candidates import CANDIDATES, Rows, around, candidates, correction, quantile, squares
from jaxmlr.batch.starts.draws import derived, uniform
from jaxmlr.batch.starts.greedy import best_addition, log_normal, repeated
from jaxmlr.mixture import Mixture

PARTITION, RANDOM, SPREAD, ROBUST, GREEDY = range(5)  # ways to find lines one after another
REFINEMENTS = (1, 0, 0, 30, 1)  # least squares steps of each way, at most
SETTLED = 1e-2  # a scale that moves by less than this fraction of itself is no longer refined


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
    lines, label = lines_by(PARTITION, key, data, components, used)
    return around(data, lines, components if used is None else used, label)


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
    lines, _ = lines_by(RANDOM, key, data, components, used)
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
    lines, _ = lines_by(SPREAD, key, data, components, used)
    return around(data, lines, components if used is None else used)


def sequential_robust(key: jax.Array, data: Rows, components: int, used: ArrayLike | None = None) -> Mixture:
    """One line at a time by robust regression on the rows that no line so far explains.

    The idea of Mix-IRLS (Zilber and Nadler, NeurIPS 2023): to the component at hand the rows of all others
    are outliers, so imbalance helps instead of hurting. From the best candidate line, iterate

        w_i  = free_i exp(-e_i^2 / (2 s^2)),   e_i = y_i - beta' phi_i
        beta = (sum w phi phi')^-1 sum w phi y,   s^2 = 2 sum w e^2 / sum w

    until s settles, or 30 times, which keeps s at the sigma of a Gaussian core; then rows with |e_i| < 3 s
    are no longer free. Weights (Welsch's), scale and candidates are this project's, not the paper's.

    Args:
      key: of this start.
      data: phi (n, d), y (n,), weight (n,).
      components: K.
      used: how many of the K count, the first ones, where that is not all; it may be traced.

    Returns:
      A Mixture.
    """
    lines, _ = lines_by(ROBUST, key, data, components, used)
    return around(data, lines, components if used is None else used)


def greedy(key: jax.Array, data: Rows, components: int, used: ArrayLike | None = None) -> Mixture:
    """From one line for all rows, one more at a time: that which raises the likelihood most (greedy EM).

    After Vlassis and Likas (2002), for lines; `greedy.best_addition` has the equation. Each line begins with
    a variance of its own, so that a narrow one is found where it crosses a wide one; a quarter of the
    candidates pass through rows of the most frequent response, if one is frequent.

    Args:
      key: of this start.
      data: phi (n, d), y (n,), weight (n,).
      components: K.
      used: how many of the K count, the first ones, where that is not all; it may be traced.

    Returns:
      A Mixture.
    """
    lines, label = lines_by(GREEDY, key, data, components, used)
    return around(data, lines, components if used is None else used, label)


def lines_by(
    way: int | jax.Array, key: jax.Array, data: Rows, components: int, used: ArrayLike | None
) -> tuple[jax.Array, jax.Array]:
    """Lines (K, d), one after another, and the groups (n,) of rows that `PARTITION` draws, `GREEDY` makes.

    All ways are one loop of proposing, choosing, refining and taking rows away: a program of starts of every
    kind is then hardly larger than that of one. An int is a way known to the compiler.
    """
    phi, y, weight, _ = data
    tiny = float(jnp.finfo(y.dtype).tiny)
    least = steps.resolution(y, weight)
    count = components if used is None else used
    where = uniform(derived(key, components), y.shape, y.dtype)
    random_label = jnp.floor(where * jnp.asarray(count, y.dtype)).astype(jnp.int32)
    often, one = repeated(data), jnp.ones((), y.dtype)
    known = isinstance(way, int)
    tries = components if known and way == RANDOM else max(CANDIDATES, components)
    refinements = REFINEMENTS[way] if isinstance(way, int) else jnp.asarray(REFINEMENTS, jnp.int32)[way]

    def fitted(beta: jax.Array) -> jax.Array:
        return jnp.einsum("nd,d->n", phi, beta, precision="highest")

    Carry = tuple[jax.Array, jax.Array, jax.Array]
    Refined = tuple[jax.Array, jax.Array, jax.Array, jax.Array]  # line, scale, whether it moves, steps

    def add(k: jax.Array, carry: Carry) -> Carry:
        # Squared distances from the nearest line (SPREAD), weights still free (ROBUST), log density (GREEDY).
        left, label, taken = carry
        chance = jnp.where(way == ROBUST, left, weight)
        chance = jnp.where(way == SPREAD, weight * jnp.where(jnp.isinf(left), 1, left + least), chance)
        same = jnp.where(way == GREEDY, often, 0)
        lines = candidates(derived(key, jnp.where(way == RANDOM, 0, k)), data, chance, tries, same)
        square = squares(data, lines)
        middle = 0.5 / jnp.asarray(count - k, y.dtype)

        def first() -> Carry:
            return jnp.zeros((), jnp.int32), one, one

        def in_turn() -> Carry:
            return jnp.asarray(k, jnp.int32), one, one

        def nearest() -> Carry:
            distance = jnp.sum(weight[None, :] * jnp.minimum(left[None, :], square), axis=1)
            return jnp.argmin(distance).astype(jnp.int32), one, one

        def robust() -> Carry:
            # A sum of logarithms is lowered by many small residuals and hardly raised by large ones.
            spread = quantile(jnp.min(square, axis=0), left, middle) + least
            best = jnp.argmin(jnp.sum(left[None, :] * jnp.log(square + spread), axis=1))
            return best.astype(jnp.int32), jnp.sqrt(quantile(square[best], left, middle)), one

        def likeliest() -> Carry:
            best, variance, fraction = best_addition(square, weight, left, least, data.dim)
            return best, jnp.sqrt(variance), jnp.where(k == 0, one, fraction)

        choices = (first, in_turn, nearest, robust, likeliest)
        best, scale, fraction = choices[way]() if isinstance(way, int) else lax.switch(way, choices)
        own = jnp.log(fraction) + log_normal(square[best], jnp.maximum(scale * scale, least))
        joins = (way == GREEDY) & ((k == 0) | (own > jnp.log1p(-fraction) + left))
        label = jnp.where(joins, k, label)
        grouped = (way == PARTITION) | (way == GREEDY)

        def refine(now: Refined) -> Refined:
            beta, scale, _, done = now
            error = y - fitted(beta)
            core = left * jnp.exp(-0.5 * jnp.square(error / jnp.maximum(scale, jnp.sqrt(least))))
            w = jnp.where(grouped, jnp.where(label == k, weight, 0), core)
            beta = beta + correction(phi, error, w)
            error = y - fitted(beta)
            after = jnp.sqrt(2 * jnp.sum(w * error * error) / jnp.maximum(jnp.sum(w), tiny))
            return beta, after, jnp.abs(after - scale) > SETTLED * scale, done + 1

        def unsettled(now: Refined) -> jax.Array:
            return now[2] & (now[3] < refinements)

        alone = (way == PARTITION) | ((way == GREEDY) & (k == 0))
        begun = jnp.where(alone, 0, lines[best]), scale, jnp.ones((), bool), jnp.zeros((), jnp.int32)
        line, scale, _, _ = lax.while_loop(unsettled, refine, begun)
        error = y - fitted(line)
        explained = jnp.abs(error) < 3 * jnp.maximum(scale, jnp.sqrt(least))
        rest = jnp.where(explained, 0, left)
        # Where too few rows are left for a line, the next is drawn from all of them again.
        enough = jnp.sum(rest > 0, dtype=jnp.int32) > data.dim
        free = jnp.where(enough, rest, weight)
        own = jnp.log(fraction) + log_normal(error * error, jnp.maximum(0.5 * scale * scale, least))
        grown = jnp.where(k == 0, own, jnp.logaddexp(own, jnp.log1p(-fraction) + left))
        free = jnp.where(way == GREEDY, grown, free)
        left = jnp.where(way == SPREAD, jnp.minimum(left, square[best]), free)
        return left, label, taken.at[k].set(line)

    none = jnp.zeros((components, phi.shape[1]), y.dtype)
    begin = jnp.where(way == SPREAD, jnp.inf, jnp.where(way == GREEDY, 0, weight))
    label = jnp.where(way == GREEDY, 0, random_label)
    _, label, lines = lax.fori_loop(0, count, add, (begin, label, none))
    return lines, label
