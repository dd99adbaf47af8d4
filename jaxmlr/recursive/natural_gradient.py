"""K lines from a cold start: EM on the first rows, then the natural gradient of all parameters at once."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._xla.occasional import occasionally
from jaxmlr.estimator import Estimator, Info, Row, nearest, skipping
from jaxmlr.mixture import Mixture
from jaxmlr.recursive.rls import check_forgetting, fader, update
from jaxmlr.recursive.search import BLOCK, expectation, laid_out, likeliest, sweep

PARTS = (32, 8, 1)  # a search is made where one of so many parts of the buffer is full
CAUTION = 2.0  # the covariance of what a search finds, over that if all labels were known
LARGEST_STEP = 0.5  # of log sigma^2 by one observation
LARGEST_LOG_ODDS = 12.0


class NaturalGradientState(NamedTuple):
    """State of `natural_gradient`."""

    rows: jax.Array  # (more than buffer, d + 1) phi and y of the first observations, then 0
    parameters: jax.Array  # (q,) xi = (beta_k, log(p_k / p_K) for k < K, log sigma^2); q = K (d + 1)
    covariance: jax.Array  # (q, q) P, the inverse of the information
    n: jax.Array  # () int32, n, from 1


def natural_gradient(components: int, *, buffer: int | None = None, forgetting: ArrayLike = 1.0) -> Estimator:
    """K lines with nothing known but K: weights, one noise variance and coefficients, from a cold start.

    The first B = `buffer` rows are kept. After B/32, B/8 and B of them, and no fewer than q = K (d + 1), EM
    goes from several starts through them (`search.likeliest`). Before the first search all lines are 0. In
    between and from then on xi = (beta_k, log p_k / p_K, log sigma^2) follows the score g of one observation,
    scaled by the inverse of the information that outer products of scores estimate:

        P[n+1]^-1 = P[n]^-1 + g g',      xi[n+1] = xi[n] + P[n+1] g(xi[n]; phi[n], y[n+1])

    with, for e_k = y - beta_k' phi and g_k the posterior P(z = k | phi, y),

        g = ( g_k e_k phi / sigma^2,   g_k - p_k,   sum_k g_k (e_k^2 / sigma^2 - 1) / 2 )

    A search hands over twice the P that its rows would have if their labels were known. This is the natural
    gradient (Amari 1998) with the empirical information, and recursive maximum likelihood (Titterington 1984)
    in its cheapest form: it knows how lines, weights and variance are correlated, which `recursive_em` does
    not. The combination is this project's.

    experiments/cold_start.md compares it with batch EM from the truth.

    Args:
      components: K, at least 1.
      buffer: B, at least 1. None means 100 K (d + 1). Where a line is rare, more rows are worth it.
      forgetting: lambda in (0, 1]: before each step the information along the score is scaled by lambda
        (`rls.forget`).

    Returns:
      An Estimator whose state is a `NaturalGradientState`: a step costs O(K^2 d^2), a search some hundred
      sweeps of EM over the rows. `forgetting` may be traced. Heavier components come first. init's key is not
      used: the starts are drawn from seed 0.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.whole("components", components, at_least=1)
    if buffer is not None:
        _check.whole("buffer", buffer, at_least=1)
    check_forgetting(forgetting)
    fade = fader(forgetting)

    def capacity(dim: int) -> int:
        return 100 * components * (dim + 1) if buffer is None else buffer

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> NaturalGradientState:
        del key
        dtype = jnp.result_type(float) if dtype is None else dtype
        size = components * (dim + 1)
        blocks = capacity(dim) // BLOCK + 1  # at least one row of zeros is left over
        return NaturalGradientState(
            jnp.zeros((blocks * BLOCK, dim + 1), dtype),
            jnp.zeros((size,), dtype),
            jnp.eye(size, dtype=dtype),
            jnp.ones((), jnp.int32),
        )

    def step(state: NaturalGradientState, row: Row) -> tuple[NaturalGradientState, Info]:
        dtype = state.rows.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        info = nearest(mixture(state).linear_predictors(phi), y)
        full = capacity(phi.shape[0])
        due = [max(full // parts, min(len(state.parameters), full)) for parts in PARTS]

        # Beyond the buffer zeros are written over zeros.
        added = jnp.where(state.n <= full, jnp.append(phi, y), 0)
        place = jnp.minimum(state.n - 1, full)
        rows = lax.dynamic_update_slice(state.rows, added[None, :], (place, jnp.zeros_like(place)))
        column = jnp.append(phi, y)[:, None]
        g = score(spread_out(state.parameters, components), column)[:, 0]
        # Nothing is learnt before the first search, nor from what is not finite.
        sound = (state.n > due[0]) & jnp.isfinite(jnp.sum(g * g))
        g = jnp.where(sound, g, 0)
        learnt = advance(state.parameters, state.covariance, g, components, fade)
        now = (state.n == due[0]) | (state.n == due[1]) | (state.n == due[2])
        parameters, covariance = occasionally(search, now, learnt, learnt, rows, state.n)
        return NaturalGradientState(rows, parameters, covariance, state.n + 1), info

    def search(learnt: tuple[jax.Array, jax.Array], rows: jax.Array, n: jax.Array) -> Any:
        return from_rows(*learnt, rows, n, components)

    def mixture(state: NaturalGradientState) -> Mixture:
        return unpack(state.parameters, components)

    return Estimator(init, skipping(step, mixture, keep), mixture)


def keep(observed: jax.Array, new: NaturalGradientState, old: NaturalGradientState) -> NaturalGradientState:
    """The new state where a row is observed, else the old one; of rows both are the same then.

    In the place of what is not observed zeros are written over zeros: to choose between all rows would take
    longer than all else.
    """
    kept = jax.tree.map(lambda a, b: jnp.where(observed, a, b), new[1:], old[1:])
    return NaturalGradientState(new.rows, *kept)


def unpack(parameters: jax.Array, components: int) -> Mixture:
    """The mixture of xi."""
    rest = parameters[-components:]
    log_odds = jnp.concatenate([rest[:-1], jnp.zeros_like(rest[:1])])
    beta = parameters[:-components].reshape(components, -1)
    return Mixture(beta, jax.nn.softmax(log_odds), jnp.exp(rest[-1]))


def spread_out(xi: jax.Array, components: int) -> jax.Array:
    """Parameters xi as a row (beta_k, log p_k, log sigma^2) for every component, (K, d + 2)."""
    rest = xi[-components:]
    log_odds = jnp.append(rest[:-1], 0)[:, None]
    log_weights = log_odds - jax.nn.logsumexp(log_odds)
    beta = xi[:-components].reshape(components, -1)
    return jnp.concatenate([beta, log_weights, jnp.broadcast_to(rest[-1:, None], log_odds.shape)], axis=1)


def score(mixture: jax.Array, columns: jax.Array) -> jax.Array:
    """Gradients of the log-likelihood of single rows in xi, (q, N).

    Args:
      mixture: (K, d + 2), as in `search.expectation`.
      columns: (d + 1, N), phi and y of every row.
    """
    error, g, _ = expectation(mixture, columns)
    precision = jnp.exp(-mixture[:, -1:])
    of_lines = (g * error * precision)[:, None] * columns[None, :-1]
    of_weights = (g - jnp.exp(mixture[:, -2:-1]))[:-1]
    of_variance = jnp.sum(g * (error * error * precision - 1), axis=0, keepdims=True) / 2
    return jnp.concatenate([of_lines.reshape(-1, columns.shape[1]), of_weights, of_variance])


def advance(
    xi: jax.Array, P: jax.Array, g: jax.Array, components: int, fade: Any
) -> tuple[jax.Array, jax.Array]:
    """One step of the recursion along the score g (q,), with log-odds and log sigma^2 kept in their range."""
    one = jnp.ones((), xi.dtype)
    change, covariance = update(jnp.zeros_like(xi), fade(P, g), g, one, one)
    moved, least = xi + change, float(np.log(np.finfo(xi.dtype).tiny)) / 2
    tau = jnp.maximum(xi[-1:] + jnp.clip(change[-1:], -LARGEST_STEP, LARGEST_STEP), least)
    log_odds = jnp.clip(moved[-components:-1], -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    return jnp.concatenate([moved[:-components], log_odds, tau]), covariance


@functools.partial(jax.jit, static_argnames="components")
def from_rows(
    xi: jax.Array, P: jax.Array, rows: jax.Array, n: jax.Array, components: int
) -> tuple[jax.Array, jax.Array]:
    """Parameters and P that the first n rows tell, or what they were where those are not finite.

    P is `CAUTION` times the inverse of the information that the rows would hold if their labels were known:
    p_k sum(phi phi') / sigma^2 of beta_k, since labels do not depend on regressors.
    """
    table = laid_out(rows, n)
    best = likeliest(table, components)
    beta, log_weights, tau = best[:, :-2], best[:, -2:-1], best[0, -1:]
    moved = jnp.concatenate([beta.reshape(-1), (log_weights[:-1] - log_weights[-1:])[:, 0], tau])

    dim, dtype = beta.shape[1], beta.dtype
    # A little of what all regressors hold, in case one has not been excited.
    ridge = 8 * jnp.finfo(dtype).eps * jnp.trace(table.gram[:dim, :dim]) * jnp.eye(dim + 1, dtype=dtype)
    inverse = -sweep((table.gram + ridge)[None], dim)[0, :dim, :dim] * jnp.exp(tau)[:, None]
    rare = jnp.exp(-log_weights[:, 0])  # 1 / p_k
    own = jnp.concatenate([jnp.repeat(rare, dim), rare])[:, None]
    of_line, of_odds, any_odds, of_variance = (jnp.asarray(mask, dtype) for mask in _masks(components, dim))
    of_lines = jnp.pad(jnp.tile(inverse, (components, components)), (0, components))
    of_rest = (of_odds * own + any_odds * rare[-1] + 2 * of_variance) / table.n
    covariance = CAUTION * (of_line * own * of_lines + of_rest)
    sound = jnp.isfinite(jnp.sum(moved)) & jnp.isfinite(jnp.sum(covariance))
    return jnp.where(sound, moved, xi), jnp.where(sound, covariance, P)


def _masks(components: int, dim: int) -> Sequence[np.ndarray]:
    """Which entries of P (q, q) belong to one line, to one log-odds, to any two of them, to log sigma^2."""
    lines, odds, variance = np.split(np.eye(components * (dim + 1)), [components * dim, -1])
    of_line = lines.T @ np.kron(np.eye(components), np.ones((dim, dim))) @ lines
    of_any = np.outer(odds.sum(axis=0), odds.sum(axis=0))
    return of_line, odds.T @ odds, of_any, variance.T @ variance
