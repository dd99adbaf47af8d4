"""The two-step estimator of Liu, Liu and Guo (arXiv 2503.18500): the heart of the project."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot
from jaxmlr.estimator import Estimator, Info, Row, nearest
from jaxmlr.mixture import Mixture
from jaxmlr.recursive.rls import check_covariance, inverse_weight, start, update


class TwoStepState(NamedTuple):
    """State of `two_step`."""

    direction: jax.Array  # (d,) theta, estimates (2p - 1) beta
    covariance: jax.Array  # (d, d) P
    scale: jax.Array  # () q, estimates 1 / |2p - 1|
    precision: jax.Array  # () r
    n: jax.Array  # () int32, n, the index of the next observation, from 1


def scale_bound(n: ArrayLike, bound: ArrayLike) -> jax.Array:
    """Upper end of D_n = [1, C sqrt(log(n + e))], C = `bound`; never below 1."""
    n = jnp.asarray(n)
    n = n if jnp.issubdtype(n.dtype, jnp.floating) else n.astype(jnp.result_type(float))
    return jnp.maximum(jnp.asarray(bound, n.dtype) * jnp.sqrt(jnp.log(n + math.e)), 1)


def two_step(
    noise_variance: ArrayLike = 1.0,
    *,
    delta: ArrayLike = 0.0,
    gain: str = "em",
    bound: ArrayLike = 1.0,
    delay: ArrayLike = 0,
    initial_direction: ArrayLike = 0.1,
    initial_covariance: ArrayLike = 1.0,
    initial_scale: ArrayLike = 1.0,
    initial_precision: ArrayLike = 1.0,
) -> Estimator:
    """Direction by weighted least squares, scale by a one-dimensional EM step; needs p != 1/2.

    With x = theta[n]' phi[n] and b = q[n] x, all from the estimate before y[n+1] is used:

        label      nearest of the lines +b and -b                                        (13)
        s          = y tanh(b y / sigma^2)                                               (8f)
        r[n+1]     = r[n] + x^2                       gain="em"                          (8e)
                   = r[n] + x^2 h(b / sigma)          gain="newton", h(u) = 2u^2 / (1 + 2u^2)
        q[n+1]     = clip(q[n] + (x / r[n+1]) (s - b), D_n),  D_n = [1, C sqrt(log(n + e))]   (8d)
        theta, P   weighted least squares with gain 1 / (n^delta + phi' P phi)          (8a)-(8c)
        beta[n+1]  = q[n+1] theta[n+1]                                                   (8g)

    (8c), (8f), (8g), D_n and the projection are as the paper's summary states them; (8a), (8b), (8d) and
    (8e) are reconstructed (the only recursion consistent with the gain, and the EM M-step of a scalar q).
    `gain="newton"` is this project's: h bounds the share of information that survives not seeing the
    label, so q keeps moving where plain EM stalls on decaying regressors. `bound` and `delay` are too.

    The sign of beta is that of the more frequent component, and the mixture's first component is it:
    weights = [(1 + 1/q) / 2, (1 - 1/q) / 2].

    Args:
      noise_variance: sigma^2, known, greater than 0.
      delta: exponent of regressor growth, |phi|^2 = O(n^delta), at least 0 (the theorem: below 1/2).
      gain: "em" or "newton".
      bound: C, greater than 0; 1 is the paper's; inf switches the upper projection off. With C = 1 and
        p = .6 the true scale 5 lies outside D_n until n exceeds 7e10.
      delay: q and r wait for this many observations while theta settles, at least 0.
      initial_direction: theta[0], not zero, scalar or (d,).
      initial_covariance: P[0], positive: scalar, (d,) diagonal or (d, d). For regressors of unit size 0.1
        makes errors 5 to 15 % smaller than 1 (experiments/tuning.md).
      initial_scale: q[0], at least 1.
      initial_precision: r[0], greater than 0; for "newton" take at least sigma^2.

    Returns:
      An Estimator whose state is a `TwoStepState`. All arguments but `gain` may be traced.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.choice("gain", gain, ("em", "newton"))
    _check.number("noise_variance", noise_variance, above=0, scalar=True)
    _check.number("delta", delta, at_least=0, scalar=True)
    _check.number("bound", bound, above=0, finite=False, scalar=True)
    _check.number("delay", delay, at_least=0, scalar=True)
    _check.number("initial_direction", initial_direction)
    _check.nonzero("initial_direction", initial_direction)
    check_covariance(initial_covariance)
    _check.number("initial_scale", initial_scale, at_least=1, scalar=True)
    _check.number("initial_precision", initial_precision, above=0, scalar=True)

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> TwoStepState:
        del key
        dtype = jnp.result_type(float) if dtype is None else dtype
        theta, P = start(dim, dtype, initial_direction, initial_covariance)
        return TwoStepState(
            theta,
            P,
            jnp.asarray(initial_scale, dtype),
            jnp.asarray(initial_precision, dtype),
            jnp.ones((), jnp.int32),
        )

    def step(state: TwoStepState, row: Row) -> tuple[TwoStepState, Info]:
        theta, P, q, r, count = state
        dtype = theta.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        variance = jnp.asarray(noise_variance, dtype)

        x = dot(theta, phi)
        b = q * x
        info = nearest(jnp.stack([b, -b]), y)

        s = y * jnp.tanh(b * y / variance)
        increment = x * x
        if gain == "newton":
            signal = 2 * b * b
            increment = increment * (signal / (variance + signal))
        waiting = count <= jnp.asarray(delay, count.dtype)
        next_r = r + increment
        upper = scale_bound(count.astype(dtype), bound)
        next_q = jnp.clip(q + x / next_r * (s - b), 1, upper)
        q, r = jnp.where(waiting, q, next_q), jnp.where(waiting, r, next_r)

        weight = inverse_weight(count, delta, dtype)
        theta, P = update(theta, P, phi, y, weight)
        return TwoStepState(theta, P, q, r, count + 1), info

    def mixture(state: TwoStepState) -> Mixture:
        q = state.scale
        beta, weight = q * state.direction, (1 + 1 / q) / 2
        # Not `symmetric`: an estimate may have share 1 (q = 1), or have diverged, and must not raise.
        return Mixture(
            jnp.stack([beta, -beta]), jnp.stack([weight, 1 - weight]), jnp.asarray(noise_variance, q.dtype)
        )

    return Estimator(init, step, mixture)
