"""Online EM for the symmetric mixture: one recursion for beta, local but efficient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot
from jaxmlr.estimator import Estimator, Info, Row, nearest
from jaxmlr.mixture import Mixture
from jaxmlr.recursive.rls import check_covariance, check_forgetting, fader, mean_gain, start, update

LEAST_INFORMATION = 0.05  # of a complete observation; keeps P from standing still near beta = 0
LAG = 10  # added to n in the gains of variance and weight: a start counts as that many rows
RANDOM_START = 0.5  # standard deviation of a random start


class SymmetricEmState(NamedTuple):
    """State of `symmetric_em`."""

    coefficients: jax.Array  # (d,) beta
    covariance: jax.Array  # (d, d) P
    weight: jax.Array  # () p
    noise_variance: jax.Array  # () sigma^2
    n: jax.Array  # () int32, n, from 1


def symmetric_em(
    noise_variance: ArrayLike = 1.0,
    *,
    p: ArrayLike = 0.5,
    gain: str = "newton",
    learn_weights: bool = False,
    learn_variance: bool = False,
    forgetting: ArrayLike = 1.0,
    initial_coefficients: ArrayLike | None = None,
    initial_covariance: ArrayLike = 1.0,
) -> Estimator:
    """Online EM for y = z beta' phi + w, z = +-1: the balanced method of arXiv 2311.18506, reconstructed.

    With b = beta[n]' phi and lambda = log(p / (1 - p)) / 2 (0 where the weights are learnt):

        s         = y tanh(b y / sigma^2 + lambda)                      y times the mean of z given y
        a         = 1 / (1/h + phi' P phi)
        beta[n+1] = beta[n] + (a / h) P phi (s - b)
        P[n+1]    = P[n] - a P phi phi' P,    so  P^-1 grows by h phi phi'

    with h = 1 for gain="em", the recursive M-step, and for gain="newton" the lower bound
    h = max(2u^2 / (1 + 2u^2), .05), u = b / sigma, of the share of information that survives not seeing z.
    Plain EM stalls where that share is below one half. With p = 1/2 the recursion is right for every p,
    as y tanh(b y / sigma^2) is even in y; the true p makes it a little more efficient, a wrong one
    biases it.

        sigma^2 += (y^2 - 2 s b + b^2 - sigma^2) / (n + 10)             learn_variance
        p       += ((1 + tanh(b y / sigma^2 + lambda(p))) / 2 - p) / (n + 10)   learn_weights; not fed back

    beta = 0 and the directions orthogonal to the truth are unstable equilibria, so a start must have a
    component along it; a poor one is slow. The paper's displayed equations could not be seen: these are
    derived. The Newton gain, the learnt variance and weights and forgetting are this project's.

    Args:
      noise_variance: sigma^2, or its start with `learn_variance`: then take it too large.
      p: known P(z = 1), or its start with `learn_weights`; in (0, 1).
      gain: "newton" or "em".
      learn_weights: whether to estimate p.
      learn_variance: whether to estimate sigma^2.
      forgetting: lambda in (0, 1], along phi only (`least_squares.forget`), for running means 1 - lambda.
      initial_coefficients: beta[0], scalar or (d,), not zero; None draws N(0, I/4) from init's key (key 0
        where it has none).
      initial_covariance: P[0], positive: scalar, (d,) diagonal or (d, d).

    Returns:
      An Estimator whose state is a `SymmetricEmState`.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.choice("gain", gain, ("newton", "em"))
    _check.number("noise_variance", noise_variance, above=0, scalar=True)
    _check.number("p", p, above=0, below=1, scalar=True)
    check_forgetting(forgetting)
    if initial_coefficients is not None:
        _check.number("initial_coefficients", initial_coefficients)
        _check.nonzero("initial_coefficients", initial_coefficients)
    check_covariance(initial_covariance)
    fade = fader(forgetting)

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> SymmetricEmState:
        dtype = jnp.result_type(float) if dtype is None else dtype
        beta = initial_coefficients
        if beta is None:
            beta = RANDOM_START * jax.random.normal(jax.random.key(0) if key is None else key, (dim,), dtype)
        beta, P = start(dim, dtype, beta, initial_covariance)
        return SymmetricEmState(
            beta, P, jnp.asarray(p, dtype), jnp.asarray(noise_variance, dtype), jnp.ones((), jnp.int32)
        )

    def step(state: SymmetricEmState, row: Row) -> tuple[SymmetricEmState, Info]:
        beta, P, weight, variance, count = state
        dtype = beta.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        b = dot(beta, phi)
        info = nearest(jnp.stack([b, -b]), y)
        half_log_odds = jnp.log(weight / (1 - weight)) / 2
        s = y * jnp.tanh(b * y / variance + (0 if learn_weights else half_log_odds))

        h = surviving_information(b, variance) if gain == "newton" else jnp.ones_like(b)
        beta, P = update(beta, fade(P, phi), phi, b + (s - b) / h, 1 / h)

        rate = mean_gain(count + LAG, forgetting, dtype)
        if learn_weights:
            positive = (1 + jnp.tanh(b * y / variance + half_log_odds)) / 2
            weight = jnp.clip(weight + rate * (positive - weight), 0.001, 0.999)
        if learn_variance:
            square = y * y - 2 * s * b + b * b
            variance = jnp.maximum(variance + rate * (square - variance), jnp.finfo(dtype).tiny ** 0.5)
        return SymmetricEmState(beta, P, weight, variance, count + 1), info

    def mixture(state: SymmetricEmState) -> Mixture:
        beta, weight = state.coefficients, state.weight
        return Mixture(jnp.stack([beta, -beta]), jnp.stack([weight, 1 - weight]), state.noise_variance)

    return Estimator(init, step, mixture)


def surviving_information(b: jax.Array, variance: jax.Array) -> jax.Array:
    """The share max(2 u^2 / (1 + 2 u^2), .05), u = b / sigma, of what seeing z would tell about beta."""
    signal = 2 * b * b
    return jnp.maximum(signal / (variance + signal), LEAST_INFORMATION)
