"""K lines from a cold start: EM on the first rows, then the natural gradient on everything at once.

A method under trial: near batch EM where it was tried, but it takes seconds to compile and 1.6 us a step,
so that it is no method of the package yet (experiments/cold_start.md).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot
from jaxmlr.estimator import Estimator, Info, Row, nearest
from jaxmlr.mixture import Mixture
from jaxmlr.recursive.rls import check_forgetting, fader, forget_root, update_root
from natural_gradient.occasional import occasionally
from natural_gradient.search import BLOCK, likeliest

FIRST = 8  # the first search is made on one of so many parts of the buffer
PRIOR = 10.0  # standard deviation of every parameter, in units of the order of 1
LARGEST_STEP = 0.5  # of log sigma^2 by one observation
LARGEST_LOG_ODDS = 12.0


class Learnt(NamedTuple):
    """What a search gives and the recursion goes on with, in x = phi / scale and r = y / spread."""

    parameters: jax.Array  # (q,) beta_k, log(p_k / p_K) for k < K, log sigma^2; q = K (d + 1)
    root: jax.Array  # (q, q) S, the inverse of their information is S S'
    scale: jax.Array  # (d,) root mean squares of the regressors
    spread: jax.Array  # () root mean square of the responses


class NaturalGradientState(NamedTuple):
    """State of `natural_gradient`."""

    rows: jax.Array  # (buffer, d + 1) phi and y of the first observations
    learnt: Learnt
    n: jax.Array  # () int32, n, from 1


def natural_gradient(components: int, *, buffer: int | None = None, forgetting: ArrayLike = 1.0) -> Estimator:
    """K lines with nothing known but K: weights, one noise variance and coefficients, from a cold start.

    The first B = `buffer` rows are kept. After B/8 and after B of them EM goes from many starts through them
    (`search.likeliest`). Before the first search all lines are 0. In between and from then on
    xi = (beta_k, log p_k / p_K, log sigma^2) follows the score g of one observation, scaled by the inverse of
    the information that outer products of scores estimate:

        P[n+1]^-1 = P[n]^-1 + g g',      xi[n+1] = xi[n] + P[n+1] g(xi[n]; phi[n], y[n+1])

    with, for e_k = y - beta_k' phi and g_k the posterior P(z = k | phi, y),

        g = ( g_k e_k phi / sigma^2,   g_k - p_k,   sum_k g_k (e_k^2 / sigma^2 - 1) / 2 )

    A search hands over P of its rows and takes one step of the same kind on all of them (Berndt, Hall, Hall
    and Hausman 1974). This is the natural gradient (Amari 1998) with the empirical information, and
    recursive maximum likelihood (Titterington 1984) in its cheapest form: it knows how lines, weights and
    variance are correlated, which `recursive_em` does not. The combination is this project's.

    experiments/cold_start.md compares it with batch EM from the truth.

    Args:
      components: K, at least 2.
      buffer: B, at least 8; beyond 256 rounded up to a multiple of it. None means 100 K (d + 1).
      forgetting: lambda in (0, 1]: before each step the information along the score is scaled by lambda
        (`rls.forget_root`).

    Returns:
      An Estimator whose state is a `NaturalGradientState`: a step costs O(K^2 d^2), a search some hundred
      sweeps of EM over B rows. `forgetting` may be traced. Heavier components come first. init's key is not
      used: the starts are drawn from key 0.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.whole("components", components, at_least=2)
    if buffer is not None:
        _check.whole("buffer", buffer, at_least=FIRST)
    check_forgetting(forgetting)
    fade = fader(forgetting, forget_root)

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> NaturalGradientState:
        del key
        dtype = jnp.result_type(float) if dtype is None else dtype
        size = components * (dim + 1)
        wanted = 100 * size if buffer is None else buffer
        capacity = wanted if wanted <= BLOCK else -(-wanted // BLOCK) * BLOCK
        learnt = Learnt(
            jnp.zeros((size,), dtype),
            PRIOR * jnp.eye(size, dtype=dtype),
            jnp.ones((dim,), dtype),
            jnp.ones((), dtype),
        )
        return NaturalGradientState(jnp.zeros((capacity, dim + 1), dtype), learnt, jnp.ones((), jnp.int32))

    def step(state: NaturalGradientState, row: Row) -> tuple[NaturalGradientState, Info]:
        learnt, capacity = state.learnt, state.rows.shape[0]
        dtype = state.rows.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        info = nearest(mixture(state).linear_predictors(phi), y)

        # Beyond the buffer the last row is written anew: it is read no more.
        place = jnp.minimum(state.n, capacity) - 1
        rows = lax.dynamic_update_slice(
            state.rows, jnp.append(phi, y)[None, :], (place, jnp.zeros_like(place))
        )
        moved = advance(learnt, phi, y, components, fade)
        moved = jax.tree.map(lambda a, b: jnp.where(state.n > capacity // FIRST, a, b), moved, learnt)
        due = (state.n == capacity // FIRST) | (state.n == capacity)
        learnt = occasionally(searched, due, moved, moved, rows, state.n)
        return NaturalGradientState(rows, learnt, state.n + 1), info

    def searched(learnt: Learnt, rows: jax.Array, n: jax.Array) -> Learnt:
        return search(learnt, rows, n, components)

    def mixture(state: NaturalGradientState) -> Mixture:
        learnt = state.learnt
        scaled = unpack(learnt.parameters, components)
        coefficients = scaled.coefficients * (learnt.spread / learnt.scale)[None, :]
        return Mixture(coefficients, scaled.weights, scaled.noise_variance * learnt.spread**2)

    return Estimator(init, step, mixture)


def unpack(parameters: jax.Array, components: int) -> Mixture:
    """The mixture of xi."""
    rest = parameters[-components:]
    log_odds = jnp.concatenate([rest[:-1], jnp.zeros_like(rest[:1])])
    beta = parameters[:-components].reshape(components, -1)
    return Mixture(beta, jax.nn.softmax(log_odds), jnp.exp(rest[-1]))


def pack(mixture: Mixture) -> jax.Array:
    """The parameters xi of a mixture."""
    log_odds = jnp.log(mixture.weights[:-1]) - jnp.log(mixture.weights[-1])
    tau = jnp.log(mixture.noise_variance)
    return jnp.concatenate([mixture.coefficients.reshape(-1), log_odds, tau[None]])


def score(parameters: jax.Array, x: jax.Array, r: jax.Array, components: int) -> jax.Array:
    """Gradient of the log-likelihood of one observation (x (d,), r ()) in xi, (q,)."""
    mixture = unpack(parameters, components)
    g = mixture.posterior(x, r)
    error, variance = r - mixture.linear_predictors(x), mixture.noise_variance
    of_lines = (g * error / variance)[:, None] * x[None, :]
    of_variance = jnp.sum(g * (error * error / variance - 1)) / 2
    return jnp.concatenate([of_lines.reshape(-1), (g - mixture.weights)[:-1], of_variance[None]])


def advance(learnt: Learnt, phi: jax.Array, y: jax.Array, components: int, fade: Any) -> Learnt:
    """One step of the recursion; a step that is not finite is not taken."""
    xi, one = learnt.parameters, jnp.ones_like(y)
    g = score(xi, phi / learnt.scale, y / learnt.spread, components)
    change, root = update_root(jnp.zeros_like(xi), fade(learnt.root, g), g, one, one)
    moved = bounded(xi + change, xi, components)
    sound = jnp.isfinite(jnp.sum(moved)) & jnp.isfinite(jnp.sum(root))
    return learnt._replace(parameters=jnp.where(sound, moved, xi), root=jnp.where(sound, root, learnt.root))


def bounded(moved: jax.Array, old: jax.Array, components: int) -> jax.Array:
    """The new xi with log-odds and the step of log sigma^2 kept in their range."""
    tau = jnp.clip(moved[-1:], old[-1:] - LARGEST_STEP, old[-1:] + LARGEST_STEP)
    least = jnp.log(jnp.asarray(jnp.finfo(moved.dtype).eps, moved.dtype))
    log_odds = jnp.clip(moved[-components:-1], -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    return jnp.concatenate([moved[:-components], log_odds, jnp.maximum(tau, least)])


def search(learnt: Learnt, rows: jax.Array, n: jax.Array, components: int) -> Learnt:
    """What the first n rows tell. The first search chooses the units, for good."""
    capacity, count = rows.shape[0], n.astype(rows.dtype)
    square = jnp.sqrt(jnp.sum(rows * rows, axis=0) / count)
    units = jnp.where(square > 0, square, 1)
    first = n < capacity
    scale = jnp.where(first, units[:-1], learnt.scale)
    spread = jnp.where(first, units[-1], learnt.spread)
    scaled = rows / jnp.append(scale, spread)[None, :]
    best = pack(likeliest(scaled, n, unpack(learnt.parameters, components)))

    def add(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        root, total = carry
        g = score(best, scaled[i, :-1], scaled[i, -1], components)
        one = jnp.ones_like(count)
        return update_root(total, root, g, one, one)[1], total + g

    root = PRIOR * jnp.eye(best.shape[0], dtype=rows.dtype)
    root, total = lax.fori_loop(0, n, add, (root, jnp.zeros_like(best)))
    change = dot(root, dot(root.T, total))
    # Far from the optimum, where the step would be long, EM's answer is the better one.
    shrink = 1 / jnp.maximum(1, jnp.max(jnp.abs(change)))
    moved = bounded(best + shrink * change, best, components)
    sound = jnp.isfinite(jnp.sum(moved)) & jnp.isfinite(jnp.sum(root))
    return jax.tree.map(
        lambda new, old: jnp.where(sound, new, old), Learnt(moved, root, scale, spread), learnt
    )
