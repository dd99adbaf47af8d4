"""K lines through rows that are at hand: many starts, EM, and the likeliest. For methods that keep rows."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BLOCK = 256  # rows that one pass of the loop over rows takes
STARTS = 12
GROUP = 4  # mixtures that climb at a time; as many go on from the starts to all rows
LINES = 10  # through d rows, of which a start takes the best
SCREENED = 2  # blocks, at most, on which starts are compared
SWEEPS = 16  # of EM


def expectation(mixture: jax.Array, columns: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The E-step of rows that lie along columns.

    Args:
      mixture: (K, d + 2), beta_k, log p_k and log sigma^2 of every component.
      columns: (d + 1, N), phi and y of every row.

    Returns:
      Residuals and posteriors of the components, (K, N), and the log-density up to a constant, (N,).
    """
    beta, log_weights, tau = mixture[:, :-2], mixture[:, -2:-1], mixture[:, -1:]
    error = columns[-1:] - jnp.matmul(beta, columns[:-1], precision="highest")
    joint = log_weights - tau / 2 - error * error * (jnp.exp(-tau) / 2)
    most = jnp.max(joint, axis=0)
    density = jnp.exp(joint - most[None])
    total = jnp.sum(density, axis=0)
    return error, density / total[None], most + jnp.log(total)


class Rows(NamedTuple):
    """The first n of B rows, laid out for long loops; the others are 0, and B is a multiple of `BLOCK`."""

    columns: jax.Array  # (d + 1, B), phi and y
    products: jax.Array  # ((d + 1)^2 + 1, B), all products of two columns, and 1 for rows that count, else 0
    gram: jax.Array  # (d + 1, d + 1), the sums of all products
    n: jax.Array  # () how many rows count
    blocks: jax.Array  # () int32, in which they are

    @property
    def floor(self) -> jax.Array:
        """The least noise variance."""
        eps, tiny = jnp.finfo(self.n.dtype).eps, jnp.finfo(self.n.dtype).tiny ** 0.5
        return eps * self.gram[-1, -1] / self.n + tiny


def laid_out(rows: jax.Array, n: jax.Array) -> Rows:
    """Rows (B, d + 1), of which the first n () int32 count."""
    columns, width = rows.T, rows.shape[1]
    counted = (jnp.arange(rows.shape[0], dtype=jnp.int32) < n).astype(rows.dtype)
    products = (columns[:, None] * columns[None]).reshape(-1, rows.shape[0])
    products = jnp.concatenate([products, counted[None]])
    gram = jnp.sum(products[:-1], axis=1).reshape(width, width)
    return Rows(columns, products, gram, n.astype(rows.dtype), lax.div(n + (BLOCK - 1), jnp.int32(BLOCK)))


def likeliest(rows: Rows, components: int) -> jax.Array:
    """The likeliest of several mixtures that EM reaches, with one noise variance, heaviest first.

    Starts are lines through d rows, taken greedily: of `LINES` candidates, whose rows are drawn in proportion
    to the squared distance from the nearest line so far, the one that leaves the least sum of squared
    distances (k-means++ carried over to lines). They are compared after `SWEEPS` sweeps of EM on the first
    rows; the best `GROUP` go on on all rows, with as many.

    Args:
      rows: phi and y of rows.
      components: K.

    Returns:
      The mixture, (K, d + 2), as in `expectation`.
    """
    dtype = rows.columns.dtype

    def climb(turn: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        pool, score = carry
        first = turn < STARTS // GROUP  # the finalists' turn comes after them
        taken = jnp.where(
            first, turn * GROUP + jnp.arange(GROUP, dtype=jnp.int32), _descending(score)[:GROUP]
        )
        blocks = jnp.where(first, jnp.minimum(rows.blocks, SCREENED), rows.blocks)
        group, reached = _em(rows, blocks, pool[taken])
        # What has gone on to all rows is compared with its like alone.
        score = jnp.where(first, score, -jnp.inf).at[taken].set(reached)
        return pool.at[taken].set(group), score

    carry = _greedy(rows, components), jnp.full((STARTS,), -jnp.inf, dtype)
    pool, score = lax.fori_loop(0, STARTS // GROUP + 1, climb, carry)
    best = pool[jnp.argmax(score)]
    return best[_descending(best[:, -2])]  # or the order would depend on the start


def _descending(x: jax.Array) -> jax.Array:
    """The order (m,) of x from its largest entry on, ties as they stand; a sort is slow to compile."""
    index = jnp.arange(x.shape[0], dtype=jnp.int32)
    before = (x[None, :] > x[:, None]) | ((x[None, :] == x[:, None]) & (index[None, :] < index[:, None]))
    place = jnp.sum(before, axis=1, dtype=jnp.int32)
    return jnp.sum(jnp.where(place[None, :] == index[:, None], index[None, :], 0), axis=1, dtype=jnp.int32)


def _greedy(table: Rows, components: int) -> jax.Array:
    """The starts, from the first rows: (STARTS, K, d + 2)."""
    size = min(SCREENED * BLOCK, table.columns.shape[1])
    columns, counted = table.columns[:, :size], table.products[-1:, :size]
    dim, dtype = columns.shape[0] - 1, columns.dtype
    uniform = np.random.default_rng(0).random((components, STARTS, LINES * dim))

    def add(left: jax.Array, uniform: jax.Array) -> tuple[jax.Array, jax.Array]:
        # Rows (STARTS, LINES, d) drawn by their distance `left` (STARTS, size), through which lines are laid.
        chance = _cumulative(left * counted)
        below = chance[:, None, :] < (uniform * chance[:, -1:])[:, :, None]
        reached = jnp.sum(below, axis=2, dtype=jnp.int32).reshape(STARTS * LINES, dim)
        z = columns.T[jnp.minimum(reached, size - 1)]  # (STARTS * LINES, d, d + 1)
        gram = jnp.sum(z[:, :, :, None] * z[:, :, None, :], axis=1)
        gram = gram * (1 + 1e-4 * jnp.eye(dim + 1, dtype=dtype))[None]
        lines = sweep(gram, dim)[:, :dim, dim].reshape(STARTS, LINES, dim)
        fitted = jnp.einsum("sld,dn->sln", lines, columns[:-1], precision="highest")
        after = jnp.minimum(left[:, None, :], jnp.square(columns[None, -1:] - fitted) * counted[None])
        best = jnp.argmin(jnp.sum(after, axis=2), axis=1).astype(jnp.int32)
        chosen = (jnp.arange(STARTS, dtype=jnp.int32), best)
        return after[chosen], lines[chosen]

    far = jnp.broadcast_to(jnp.finfo(dtype).max ** 0.5 * counted, (STARTS, size))
    left, lines = lax.scan(add, far, jnp.asarray(uniform, dtype))
    tau = jnp.log(jnp.sum(left, axis=1) / jnp.minimum(table.n, size) + table.floor)
    rest = jnp.stack([jnp.full_like(tau, -np.log(components)), tau], axis=1)
    rest = jnp.broadcast_to(rest[:, None], (STARTS, components, 2))
    return jnp.concatenate([jnp.swapaxes(lines, 0, 1), rest], axis=2)


def _cumulative(x: jax.Array) -> jax.Array:
    """Sums along the last axis, whose length is a multiple of `BLOCK`, in two stages."""
    width = 32
    parts = x.reshape(x.shape[0], -1, width)

    def up_to(x: jax.Array, own: int) -> jax.Array:
        included = np.tri(x.shape[-1], k=own - 1).T
        return jnp.matmul(x, jnp.asarray(included, x.dtype), precision="highest")

    within = up_to(parts, 1)
    return (within + up_to(within[:, :, -1], 0)[:, :, None]).reshape(x.shape)


def _em(table: Rows, blocks: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
    """EM on blocks of rows from start (m, K, d + 2), and the log-likelihood before the last sweep, (m,)."""
    group, components, width = start.shape
    dim, dtype = width - 2, start.dtype

    def once(_: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        def block(i: jax.Array, sums: jax.Array) -> jax.Array:
            part = functools.partial(lax.dynamic_slice_in_dim, axis=1, allow_negative_indices=False)
            columns, products = (part(x, i * BLOCK, BLOCK) for x in (table.columns, table.products))
            _, g, density = jax.vmap(expectation, in_axes=(0, None))(carry[0], columns)
            weighed = jnp.concatenate([g.reshape(-1, BLOCK), density])
            return sums + jnp.einsum("an,bn->ab", weighed, products, precision="highest")

        none = jnp.zeros((group * (components + 1), table.products.shape[0]), dtype)
        sums = lax.fori_loop(jnp.zeros_like(blocks), blocks, block, none)
        of_components, score = sums[:-group], sums[-group:, -1]
        solved = sweep(of_components[:, :-1].reshape(-1, dim + 1, dim + 1), dim)
        solved = solved.reshape(group, components, dim + 1, dim + 1)
        n = of_components[:, -1].reshape(group, components, 1)
        total, eps = jnp.sum(n, axis=1, keepdims=True), jnp.finfo(dtype).eps
        left = jnp.maximum(jnp.sum(solved[:, :, dim, dim:], axis=1, keepdims=True), 0)
        tau = jnp.log(left / total + table.floor)
        parts = solved[:, :, :dim, dim], jnp.log(n / total + eps), jnp.broadcast_to(tau, n.shape)
        return jnp.concatenate(parts, axis=2), score

    return lax.fori_loop(0, SWEEPS, once, (start, jnp.zeros((group,), dtype)))


def sweep(A: jax.Array, pivots: int) -> jax.Array:
    """The sweep operator on the first rows and columns of matrices A (b, m, m), symmetric and semidefinite.

    Of [[X'X, X'y], [y'X, y'y]], swept on the columns of X, it makes [[-(X'X)^-1, b], [b', RSS]] with the
    least-squares b and its residual sum of squares. A column without a pivot is left out, with b = 0.
    One loop, whose body is compiled once, whatever the number of pivots (Goodnight 1979).
    """
    index = jnp.arange(A.shape[-1], dtype=jnp.int32)
    eps, tiny = jnp.finfo(A.dtype).eps * A.shape[-1], jnp.finfo(A.dtype).tiny

    def one(k: jax.Array, swept: jax.Array) -> jax.Array:
        at = (index == k)[None, :]
        row = _entry(swept, k, 1)
        pivot = _entry(row, k, 1)[:, None]
        usable = pivot > eps * _entry(_entry(A, k, 1), k, 1)[:, None] + tiny
        root = jnp.where(usable, 1 / jnp.sqrt(jnp.where(usable, pivot, 1)), 0)
        u = row * root
        edge = jnp.where(at, -root * root, u * root)
        rest = swept - u[:, :, None] * u[:, None, :]
        beside = jnp.where(at[:, None, :], edge[:, :, None], rest)
        return jnp.where(at[:, :, None], edge[:, None, :], beside)

    return lax.fori_loop(jnp.int32(0), jnp.int32(pivots), one, A)


def _entry(x: jax.Array, k: jax.Array, axis: int) -> jax.Array:
    return lax.dynamic_index_in_dim(x, k, axis, keepdims=False, allow_negative_indices=False)
