"""Online EM on sufficient statistics, with a step-size schedule (Cappe and Moulines 2009)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot
from jaxmlr._xla.materialise import stored
from jaxmlr.estimator import Estimator, Info, Row, nearest
from jaxmlr.mixture import Mixture


class Statistics(NamedTuple):
    """Averages over the stream of g_k times 1, phi phi', phi y and y^2."""

    weights: jax.Array  # (K,)
    gram: jax.Array  # (K, d, d)
    cross: jax.Array  # (K, d)
    square: jax.Array  # (K,)


class OnlineEmState(NamedTuple):
    """State of `online_em`."""

    estimate: Mixture
    statistics: Statistics
    n: jax.Array  # () int32, n, from 1


def online_em(start: Mixture, *, exponent: ArrayLike = 0.6, warm_up: ArrayLike = 20) -> Estimator:
    """Online EM of Cappe and Moulines (2009, J. R. Statist. Soc. B 71) for K lines; the paper's form.

    With g_k the posterior P(z = k | phi, y) under the estimate before the update,

        s_n   = s_{n-1} + gamma_n (g_k (1, phi phi', phi y, y^2) - s_{n-1})
        gamma = 1/n up to n = warm_up, then n^(-exponent)
        p_k   = s^(1) / sum,   beta_k = (s^(phi phi'))^-1 s^(phi y)
        sigma_k^2 = (s^(yy) - beta_k' s^(phi y)) / s^(1)

    where the last two lines, the M-step, are first taken at n = warm_up. A step costs O(K d^3). It has the
    form of the start: one noise variance for all components where the start has one. A direction that has not
    been excited keeps the coefficient 0 from elimination, not the start's. The exponent forgets: drift is
    followed at the rate n^(-exponent); 1 never forgets.

    Args:
      start: the initial estimate; its components must differ.
      exponent: in (1/2, 1] for convergence; at least 0 here.
      warm_up: observations before the first M-step, at least 1; more than d K of them to be safe.

    Returns:
      An Estimator whose state is a `OnlineEmState`.

    Raises:
      ValueError: `start` is not a valid Mixture, or a concrete argument is out of range.
    """
    start = start.validated()
    _check.number("exponent", exponent, at_least=0, scalar=True)
    _check.number("warm_up", warm_up, at_least=1, scalar=True)

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> OnlineEmState:
        del key
        components, width = start.coefficients.shape
        if width != dim:
            raise ValueError(f"start has d = {width}, the data d = {dim}")
        dtype = jnp.result_type(float) if dtype is None else dtype
        shapes = ((components,), (components, dim, dim), (components, dim), (components,))
        return OnlineEmState(
            Mixture(*(jnp.asarray(leaf, dtype) for leaf in start)),
            Statistics(*(jnp.zeros(shape, dtype) for shape in shapes)),
            jnp.ones((), jnp.int32),
        )

    def step(state: OnlineEmState, row: Row) -> tuple[OnlineEmState, Info]:
        old = state.estimate
        dtype = old.coefficients.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        info = nearest(old.linear_predictors(phi), y)
        g = old.posterior(phi, y)

        n = state.n.astype(dtype)
        warm = state.n <= jnp.asarray(warm_up, state.n.dtype)
        gamma = jnp.where(warm, 1 / n, n ** -jnp.asarray(exponent, dtype))
        square = phi[:, None] * phi[None, :]  # first, so that the averages are exactly symmetric
        new = Statistics(g, g[:, None, None] * square[None], g[:, None] * (phi * y)[None], g * (y * y))
        statistics = jax.tree.map(lambda s, x: s + gamma * (x - s), state.statistics, new)

        fitted = maximise(statistics, old)
        ready = state.n >= jnp.asarray(warm_up, state.n.dtype)
        estimate = jax.tree.map(lambda a, b: jnp.where(ready, a, b), fitted, old)
        return OnlineEmState(estimate, statistics, state.n + 1), info

    return Estimator(init, step, lambda state: state.estimate)


def maximise(statistics: Statistics, old: Mixture) -> Mixture:
    """The M-step, in the variance form of `old`; an emptied component keeps its old line."""
    dtype = old.coefficients.dtype
    smallest = jnp.finfo(dtype).tiny ** 0.5
    occupied = statistics.weights > jnp.finfo(dtype).eps
    weights = jnp.where(occupied, statistics.weights, jnp.finfo(dtype).eps)
    lines = [solve(gram, cross) for gram, cross in zip(statistics.gram, statistics.cross, strict=True)]
    beta = jnp.where(occupied[:, None], jnp.stack(lines), old.coefficients)
    left = jnp.maximum(statistics.square - dot(beta, statistics.cross), 0)
    if old.noise_variance.ndim == 0:
        variance = jnp.sum(left) / jnp.sum(weights)
    else:
        variance = jnp.where(occupied, left / weights, old.noise_variance)
    return Mixture(beta, weights / jnp.sum(weights), jnp.maximum(variance, smallest))


def solve(A: jax.Array, b: jax.Array) -> jax.Array:
    """Solve A x = b for A (d, d) exactly symmetric, semidefinite; x is 0 where elimination finds no pivot.

    Cholesky's elimination in elementwise operations, which fuse into the step where LAPACK would not:
    with u = A[0] / sqrt(A[0, 0]) what is left is A - u u', exactly symmetric, in one dimension less.
    """
    least = jnp.finfo(A.dtype).eps * A.shape[0]
    diagonal = [A[k, k] for k in range(A.shape[0])]
    factor, right = [], []  # L without its zeros, column by column, and L^-1 b
    for k in range(A.shape[0]):
        pivot = A[0, 0]
        usable = pivot > least * jnp.maximum(diagonal[k], jnp.finfo(A.dtype).tiny ** 0.5)
        inverse = jnp.where(usable, 1 / jnp.sqrt(jnp.where(usable, pivot, 1)), 0)
        u, z = inverse * A[0], inverse * b[0]
        # Recomputed with another rounding in each use they would no longer eliminate what they should.
        inverse, u, z = stored((inverse, u, z))
        factor.append((inverse, u[1:]))
        right.append(z)
        A, b = A[1:, 1:] - u[1:, None] * u[None, 1:], b[1:] - z * u[1:]
    x = b  # empty by now
    for (inverse, u), z in zip(reversed(factor), reversed(right), strict=True):
        x = jnp.concatenate([(inverse * (z - dot(u, x)))[None], x])
    return x
