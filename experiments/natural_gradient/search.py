"""K lines through rows that are at hand: many starts, EM, and the likeliest. For methods that keep rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmlr.mixture import Mixture
from jaxmlr.recursive.online_em import Statistics, maximise, solve

BLOCK = 256  # rows that one pass of the loop over rows takes
STARTS = 16
FINALISTS = 3
LINES = 10  # through d rows, of which a start takes the best
SCREENED = 512  # rows, at most, on which starts are compared
SWEEPS = 12  # of EM from every start
MORE_SWEEPS = 30  # from the finalists


def likeliest(rows: jax.Array, n: jax.Array, current: Mixture) -> Mixture:
    """The likeliest of several mixtures that EM reaches, with one noise variance, heaviest first.

    Starts are lines through d rows, taken greedily: of `LINES` candidates, whose rows are drawn in proportion
    to the squared distance from the nearest line so far, the one that leaves the least sum of squared
    distances (k-means++ carried over to lines). They and `current` are compared after `SWEEPS` sweeps of EM
    on at most `SCREENED` rows; the best go on on all rows.

    Args:
      rows: (B, d + 1), phi and y of each, in units in which they are of the order of 1.
      n: () int32, how many of the rows count, the first ones.
      current: a further start, with noise_variance ().
    """
    components = current.weights.shape[0]
    few, columns = jnp.minimum(n, SCREENED), rows.T
    uniform = np.random.default_rng(0).random((STARTS, components, LINES, rows.shape[1] - 1))
    draws = jnp.asarray(uniform, rows.dtype)
    pool = jax.tree.map(lambda leaf: jnp.stack([leaf] * (STARTS + 1)), current)  # the last one stays
    unseen = jnp.full((STARTS + 1,), -jnp.inf, rows.dtype)

    def climb(turn: jax.Array, carry: _Pool) -> _Pool:
        pool, score, final = carry
        # The finalists are, one after another, the best of those that have not gone on yet.
        screening = turn <= STARTS
        best = jnp.argmax(jnp.where(jnp.isnan(score), -jnp.inf, score)).astype(jnp.int32)
        place = jnp.where(screening, turn, best)
        mixture = jax.tree.map(lambda leaf: leaf[place], pool)
        mixture = lax.cond(
            turn < STARTS,
            lambda: _greedy(draws[jnp.minimum(turn, STARTS - 1)], rows[:SCREENED], few, current),
            lambda: mixture,
        )
        count = jnp.where(screening, few, n)
        sweeps = jnp.where(screening, SWEEPS, MORE_SWEEPS)
        mixture, reached = em(columns, count, mixture, sweeps)
        pool = jax.tree.map(lambda leaf, new: leaf.at[place].set(new), pool, mixture)
        score = score.at[place].set(jnp.where(screening, reached, -jnp.inf))
        return _Pool(pool, score, jnp.where(screening, final, final.at[place].set(reached)))

    turns = jnp.asarray(STARTS + 1 + FINALISTS, jnp.int32)
    ended = lax.fori_loop(jnp.zeros_like(turns), turns, climb, _Pool(pool, unseen, unseen))
    best = jnp.argmax(jnp.where(jnp.isnan(ended.final), -jnp.inf, ended.final))
    beta, weights, variance = jax.tree.map(lambda leaf: leaf[best], ended.mixtures)
    beta, weights = heaviest_first(beta, weights)  # or their order would depend on the start
    return Mixture(beta, weights, variance)


def heaviest_first(beta: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Lines (K, d) and weights (K,) in descending order of weight, ties as they stand; without a sort."""
    index = jnp.arange(weights.shape[0], dtype=jnp.int32)
    before = (weights[None, :] > weights[:, None]) | (
        (weights[None, :] == weights[:, None]) & (index[None, :] < index[:, None])
    )
    place = jnp.sum(before, axis=1, dtype=jnp.int32)
    move = (place[None, :] == index[:, None]).astype(weights.dtype)
    return move @ beta, move @ weights


class _Pool(NamedTuple):
    """Mixtures on their way up: leaves with an axis of starts in front."""

    mixtures: Mixture
    score: jax.Array  # (starts,) log-likelihood of the screened rows, -inf for those that have gone on
    final: jax.Array  # (starts,) log-likelihood of all rows, of those


def _greedy(uniform: jax.Array, rows: jax.Array, n: jax.Array, like: Mixture) -> Mixture:
    """A start from uniform numbers (K, LINES, d)."""
    phi, y = rows[:, :-1], rows[:, -1]
    dtype, tiny = rows.dtype, jnp.finfo(rows.dtype).tiny
    counted = jnp.where(jnp.arange(rows.shape[0], dtype=jnp.int32) < n, 1, 0).astype(dtype)

    def line(uniform: jax.Array, chance: jax.Array) -> jax.Array:
        reached = jnp.sum(chance[None, :] < uniform[:, None] * chance[-1], axis=1, dtype=jnp.int32)
        x, t = phi[reached], y[reached]
        gram = jnp.sum(x[:, :, None] * x[:, None, :], axis=0)
        small = 1e-4 * jnp.eye(phi.shape[1], dtype=dtype)
        return solve(gram + small, jnp.sum(x * t[:, None], axis=0))

    def add(left: jax.Array, uniform: jax.Array) -> tuple[jax.Array, jax.Array]:
        lines = jax.vmap(line, in_axes=(0, None))(uniform, jnp.cumsum(left * counted + tiny))
        square = jnp.square(y[None, :] - jnp.einsum("cd,nd->cn", lines, phi, precision="highest"))
        after = jnp.minimum(left[None, :], square)
        best = jnp.argmin(jnp.sum(after * counted[None, :], axis=1))
        return after[best], lines[best]

    far = jnp.full(y.shape, 1e6, dtype)
    left, lines = lax.scan(add, far, uniform)
    variance = jnp.sum(left * counted) / jnp.sum(counted)
    return like._replace(
        coefficients=lines,
        weights=jnp.full_like(like.weights, 1 / like.weights.shape[0]),
        noise_variance=jnp.maximum(variance, jnp.finfo(dtype).eps),
    )


def em(columns: jax.Array, n: jax.Array, start: Mixture, sweeps: jax.Array) -> tuple[Mixture, jax.Array]:
    """EM on the first n of `columns` (d + 1, B), and the log-likelihood before the last sweep."""

    def sweep(_: jax.Array, carry: tuple[Mixture, jax.Array]) -> tuple[Mixture, jax.Array]:
        mixture, _ = carry
        statistics, score = _expected(columns, n, mixture)
        new = maximise(statistics, mixture)
        least = jnp.finfo(columns.dtype).eps
        return new._replace(noise_variance=jnp.maximum(new.noise_variance, least)), score

    return lax.fori_loop(0, sweeps, sweep, (start, jnp.zeros((), columns.dtype)))


def _expected(columns: jax.Array, n: jax.Array, mixture: Mixture) -> tuple[Statistics, jax.Array]:
    """Sums over the first n observations of the statistics of EM and of the log-likelihood, by blocks.

    The observations lie along the last axis, so that the inner loops of the compiled program are long.
    """
    (components, dim), dtype = mixture.coefficients.shape, columns.dtype
    size = min(BLOCK, columns.shape[1])
    offset = jnp.log(mixture.weights) - 0.5 * jnp.log(2 * jnp.pi * mixture.noise_variance)

    def block(i: jax.Array, sums: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        part = lax.dynamic_slice_in_dim(columns, i * size, size, axis=1)
        phi, y = part[:-1], part[-1]
        counted = jnp.where(i * size + jnp.arange(size, dtype=jnp.int32) < n, 1, 0).astype(dtype)
        lines = jnp.sum(mixture.coefficients[:, :, None] * phi[None, :, :], axis=1)
        error = y[None, :] - lines
        joint = offset[:, None] - 0.5 * error * error / mixture.noise_variance
        most = jnp.max(joint, axis=0)
        density = jnp.exp(joint - most[None, :])
        total = jnp.sum(density, axis=0)
        g = density * (counted / total)[None, :]
        square = (phi[:, None, :] * phi[None, :, :]).reshape(dim * dim, size)
        features = jnp.concatenate([jnp.ones_like(part[:1]), square, phi * y[None, :], (y * y)[None, :]])
        added = jnp.einsum("kn,mn->km", g, features, precision="highest")
        return sums[0] + added, sums[1] + jnp.sum(counted * (most + jnp.log(total)))

    blocks = (n + size - 1) // size
    none = jnp.zeros((components, dim * dim + dim + 2), dtype)
    sums, score = lax.fori_loop(0, blocks, block, (none, jnp.zeros((), dtype)))
    gram = sums[:, 1 : 1 + dim * dim].reshape(components, dim, dim)
    return Statistics(sums[:, 0], gram, sums[:, 1 + dim * dim : -1], sums[:, -1]), score
