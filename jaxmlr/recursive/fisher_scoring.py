"""The efficient recursion that knows nothing: a global start, then Fisher scoring on everything at once."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot
from jaxmlr.estimator import Estimator, Info, Row, nearest
from jaxmlr.mixture import Mixture
from jaxmlr.recursive.fisher import factor, symmetric_score
from jaxmlr.recursive.rls import check_forgetting, fader, forget_root, update_root
from jaxmlr.recursive.second_moment import SecondMomentState, advance, estimate, second_moment

LARGEST_TILT = 3.0  # keeps p in [.0025, .9975]
LARGEST_START = 0.5  # of |2p - 1|: near p = 1 a small beta would be drawn to 0
LARGEST_STEP = 0.5  # of log sigma^2 by one observation: the score's tail is exponential in it


class FisherScoringState(NamedTuple):
    """State of `fisher_scoring`."""

    start: SecondMomentState
    parameters: jax.Array  # (d + 2,) beta, log sigma^2, log(p / (1 - p)) / 2
    root: jax.Array  # (d + 2, d + 2) S, the inverse of their information is P = S S'
    spread: jax.Array  # () mean squared distance to the nearest line in the burn-in
    n: jax.Array  # () int32, n, from 1


def fisher_scoring(
    *, burn_in: ArrayLike | None = None, confidence: ArrayLike = 0.2, forgetting: ArrayLike = 1.0
) -> Estimator:
    """The symmetric mixture with nothing known: any p (1/2 included), any sigma^2, no start value.

    For the first `burn_in` observations the estimate is that of `second_moment`, which is global but not
    efficient. From then on xi = (beta, log sigma^2, log(p / (1 - p)) / 2) follows recursive Fisher scoring,
    with the score g and the expected information I of one observation (`information`), both at xi[n]:

        P[n+1]^-1 = P[n]^-1 + I(xi[n]; phi[n]),      xi[n+1] = xi[n] + P[n+1] g(xi[n]; phi[n], y[n+1])

    I has rank three and is added as three rank-one steps of `least_squares.update_root`. The recursion
    inherits the start's estimate, and as its information the share `confidence` of what the burn-in would
    have told had the labels been seen: with S = sum phi phi' over the burn-in of n observations,

        P = blockdiag( sigma^2 S^-1, 2 / n, cosh^2(lambda) / n ) / confidence

    Derived for this project; recursive scoring as such goes back to Titterington (1984).

    Its mean squared error at n = 30,000 is 1.01 to 1.05 times the Cramer-Rao bound with p and sigma known,
    1.10 to 1.46 for |beta| = .6 sigma; experiments/fisher_scoring.md has the table, and what failed.

    Args:
      burn_in: observations before the switch, at least 1; None means max(100, 5 (d^2 + d + 2)).
      confidence: in (0, 1].
      forgetting: lambda in (0, 1]: before each rank-one step the information along it is scaled by lambda
        (`rls.forget_root`), so that directions that are not visited are kept.

    Returns:
      An Estimator whose state is a `FisherScoringState`. All arguments may be traced. A step costs O(d^4),
      for the start; the sign of beta is that of the component that is more frequent in the burn-in.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    if burn_in is not None:
        _check.number("burn_in", burn_in, at_least=1, scalar=True)
    _check.number("confidence", confidence, above=0, scalar=True)
    _check.number("1 - confidence", 1 - confidence, at_least=0)
    check_forgetting(forgetting)
    fade = fader(forgetting, forget_root)
    begin = second_moment().init

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> FisherScoringState:
        del key
        dtype = jnp.result_type(float) if dtype is None else dtype
        return FisherScoringState(
            begin(dim, None, dtype),
            jnp.zeros((dim + 2,), dtype),
            jnp.eye(dim + 2, dtype=dtype),
            jnp.zeros((), dtype),
            jnp.ones((), jnp.int32),
        )

    def step(state: FisherScoringState, row: Row) -> tuple[FisherScoringState, Info]:
        dtype = state.parameters.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        n, dim = state.n.astype(dtype), phi.shape[0]
        b = dot(state.parameters[:-2], phi)
        info = nearest(jnp.stack([b, -b]), y)

        start = advance(state.start, phi, y)
        spread = state.spread + (info.residual * info.residual - state.spread) / n
        young, young_root = inherit(start, spread, n, jnp.asarray(confidence, dtype))
        grown, grown_root = score_step(state.parameters, state.root, phi, y, fade)

        wait = max(100, 5 * (dim * dim + dim + 2)) if burn_in is None else burn_in
        waiting = state.n <= jnp.asarray(wait, state.n.dtype)
        parameters = jnp.where(waiting, young, grown)
        root = jnp.where(waiting, young_root, grown_root)
        return FisherScoringState(start, parameters, root, spread, state.n + 1), info

    def mixture(state: FisherScoringState) -> Mixture:
        beta, tau, half_log_odds = split(state.parameters)
        weights = jnp.stack([1 + jnp.tanh(half_log_odds), 1 - jnp.tanh(half_log_odds)]) / 2
        return Mixture(jnp.stack([beta, -beta]), weights, jnp.exp(tau))

    return Estimator(init, step, mixture)


def split(parameters: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Beta (d,), tau = log sigma^2 () and lambda = log(p / (1 - p)) / 2 ()."""
    return parameters[:-2], parameters[-2], parameters[-1]


def score_step(
    parameters: jax.Array, root: jax.Array, phi: jax.Array, y: jax.Array, fade: Any
) -> tuple[jax.Array, jax.Array]:
    """One step of recursive Fisher scoring; a step that is not finite is not taken."""
    beta, tau, half_log_odds = split(parameters)
    S, zero, one = root, jnp.zeros((), root.dtype), jnp.ones((), root.dtype)
    for v in factor(beta, tau, half_log_odds, phi):
        _, S = update_root(parameters, fade(S, v), v, zero, one)
    moved = parameters + dot(S, dot(S.T, symmetric_score(beta, tau, half_log_odds, phi, y)))
    moved = jnp.concatenate(
        [
            moved[:-2],
            jnp.clip(moved[-2:-1], tau - LARGEST_STEP, tau + LARGEST_STEP),
            jnp.clip(moved[-1:], -LARGEST_TILT, LARGEST_TILT),
        ]
    )
    sound = jnp.isfinite(jnp.sum(moved)) & jnp.isfinite(jnp.sum(S))
    return jnp.where(sound, moved, parameters), jnp.where(sound, S, root)


def inherit(
    start: SecondMomentState, spread: jax.Array, n: jax.Array, confidence: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Parameters and S that n observations hand over.

    The moments' sigma^2 may be far too small or negative, from which scoring recovers badly: `spread` is its
    least value, biased low by choosing the nearest line but high by the errors of the early lines.
    """
    moments = estimate(start)
    dtype, dim = spread.dtype, moments.coefficients.shape[0]
    floor = jnp.maximum(spread, jnp.finfo(dtype).tiny ** 0.5)
    variance = jnp.maximum(moments.noise_variance, floor)
    half_log_odds = jnp.arctanh(jnp.minimum(2 * moments.weight - 1, jnp.asarray(LARGEST_START, dtype)))
    parameters = jnp.concatenate([moments.coefficients, jnp.stack([jnp.log(variance), half_log_odds])])

    unit = jnp.where(start.unit > 0, start.unit, 1)
    of_beta = start.root * (jnp.sqrt(variance / confidence) / unit)
    of_rest = jnp.stack([jnp.full_like(n, 2**0.5), jnp.cosh(half_log_odds)]) / jnp.sqrt(confidence * n)
    corner = jnp.where(jnp.eye(2, dtype=bool), of_rest[:, None], 0)
    none = jnp.zeros((dim, 2), dtype)
    upper = jnp.concatenate([of_beta, none], axis=1)
    return parameters, jnp.concatenate([upper, jnp.concatenate([none.T, corner], axis=1)], axis=0)
