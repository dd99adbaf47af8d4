"""Online EM for any number of lines with any weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr.estimator import Estimator, Info, Row, nearest
from jaxmlr.mixture import Mixture
from jaxmlr.recursive.rls import check_covariance, check_forgetting, fader, mean_gain, start, update

LEAST_INFORMATION = 0.05  # of g_k: the curvature of one observation can be negative
LAG = 20  # added to n in the gains of variance and weights: a start counts as that many rows


class RecursiveEmState(NamedTuple):
    """State of `recursive_em`."""

    coefficients: jax.Array  # (K, d) beta_k
    covariance: jax.Array  # (K, d, d) P_k
    weights: jax.Array  # (K,) p_k
    noise_variance: jax.Array  # () or (K,) sigma^2
    n: jax.Array  # () int32, n, from 1


def recursive_em(
    components: int,
    noise_variance: ArrayLike = 1.0,
    *,
    weights: ArrayLike | None = None,
    gain: str = "newton",
    learn_weights: bool = True,
    learn_variance: bool = False,
    forgetting: ArrayLike = 1.0,
    initial_coefficients: ArrayLike | None = None,
    initial_scale: ArrayLike = 1.0,
    initial_covariance: ArrayLike = 1.0,
    outlier_density: ArrayLike | None = None,
) -> Estimator:
    """Online EM for K lines with arbitrary weights, the problem of Liu, Liu and Guo (ICML 2024).

    With e_k = y - beta_k' phi and g_k the posterior P(z = k | phi, y), all from the estimate before the
    update:

        a_k      = 1 / (1/h_k + phi' P_k phi)
        beta_k  += (a_k / h_k) P_k phi g_k e_k
        P_k     -= a_k P_k phi phi' P_k                          so  P_k^-1 grows by h_k phi phi'
        p_k     += (g_k - p_k) / (n + 20)                        learn_weights
        sigma^2 += (sum_k g_k e_k^2 - sigma^2) / (n + 20)        learn_variance, one for all components
        sigma_k^2 += g_k (e_k^2 - sigma_k^2) / (p_k (n + 20))    or one for each

    gain="em" has h_k = g_k, the recursive M-step of weighted least squares. gain="newton" has the
    curvature of the log-likelihood in beta_k, h_k = g_k max(1 - (1 - g_k) e_k^2 / sigma_k^2, .05):
    plain EM slows down where most of the information on a label is missing. The paper's displayed
    equations could not be seen: all of this is derived. Convergence is local; equal starts never separate.

    With `outlier_density` c a further component of constant density takes the outliers (Coretto and Hennig
    2016, for batches), c being added to the denominator of g_k; p_k then moves by g_k - p_k sum_j g_j. All
    else stays: h_k is the curvature of log(c + sum_k p_k N(y; beta_k' phi, sigma_k^2)).

    Args:
      components: K, at least 2.
      noise_variance: () one variance for all, or (K,) one for each; with `learn_variance` its start, too
        large rather than too small.
      weights: (K,) known, or the start with `learn_weights`; None means 1/K.
      gain: "newton" or "em".
      learn_weights: whether to estimate the weights.
      learn_variance: whether to estimate the variance, in the form in which it was given.
      forgetting: lambda in (0, 1], along phi and in proportion to g_k; for running means 1 - lambda.
      initial_coefficients: (K, d); None draws N(0, initial_scale^2 I) from init's key (key 0 where it
        has none).
      initial_scale: standard deviation of a random start, greater than 0.
      initial_covariance: P_k[0] for every k, positive: scalar, (d,) diagonal or (d, d).
      outlier_density: c > 0, in units of 1/y; 0.001 / sigma is a good choice. None is 0. A start far from
        the data then learns nothing, as all of them are outliers to it.

    Returns:
      An Estimator whose state is an `RecursiveEmState`.

    Raises:
      ValueError: a concrete argument is out of range or of a wrong shape.
    """
    _check.whole("components", components, at_least=2)
    _check.choice("gain", gain, ("newton", "em"))
    _check.number("noise_variance", noise_variance, above=0)
    if np.shape(noise_variance) not in ((), (components,)):
        raise ValueError(
            f"noise_variance must have shape () or ({components},), not {np.shape(noise_variance)}"
        )
    if weights is not None:
        _check.number("weights", weights, above=0)
        if np.shape(weights) != (components,):
            raise ValueError(f"weights must have shape ({components},), not {np.shape(weights)}")
    if initial_coefficients is not None:
        _check.number("initial_coefficients", initial_coefficients)
        if np.ndim(initial_coefficients) != 2 or np.shape(initial_coefficients)[0] != components:
            shape = np.shape(initial_coefficients)
            raise ValueError(f"initial_coefficients must have shape ({components}, d), not {shape}")
    _check.number("initial_scale", initial_scale, above=0, scalar=True)
    check_covariance(initial_covariance)
    check_forgetting(forgetting)
    if outlier_density is not None:
        _check.number("outlier_density", outlier_density, above=0, scalar=True)
    fade = fader(forgetting)

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> RecursiveEmState:
        dtype = jnp.result_type(float) if dtype is None else dtype
        if initial_coefficients is None:
            draw = jax.random.normal(jax.random.key(0) if key is None else key, (components, dim), dtype)
            beta = jnp.asarray(initial_scale, dtype) * draw
        else:
            beta = jnp.asarray(initial_coefficients, dtype)
        P = start(dim, dtype, 0.0, initial_covariance)[1]
        probabilities = jnp.broadcast_to(
            jnp.asarray(1.0 if weights is None else weights, dtype), (components,)
        )
        return RecursiveEmState(
            beta,
            jnp.stack([P] * components),
            probabilities / jnp.sum(probabilities),
            jnp.asarray(noise_variance, dtype),
            jnp.ones((), jnp.int32),
        )

    def step(state: RecursiveEmState, row: Row) -> tuple[RecursiveEmState, Info]:
        dtype = state.coefficients.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        current = mixture(state)
        linear_predictors = current.linear_predictors(phi)
        g, inlier = current.posterior(phi, y), jnp.ones((), dtype)
        if outlier_density is not None:
            log_density = current.log_likelihood(phi[None, :], y[None])
            inlier = jax.nn.sigmoid(log_density - jnp.log(jnp.asarray(outlier_density, dtype)))
            g = g * inlier
        error = y - linear_predictors
        variance = jnp.broadcast_to(state.noise_variance, g.shape)

        h = g
        if gain == "newton":
            h = g * jnp.maximum(1 - (1 - g) * error * error / variance, LEAST_INFORMATION)
        # Nothing is learnt from a posterior of 0, whose inverse weight would be infinite.
        h = jnp.maximum(h, jnp.finfo(dtype).tiny ** 0.5)
        target = linear_predictors + g / h * error
        updated = []
        for k in range(components):
            P = fade(state.covariance[k], phi, g[k])
            updated.append(update(state.coefficients[k], P, phi, target[k], 1 / h[k]))
        coefficients = jnp.stack([theta for theta, _ in updated])
        covariance = jnp.stack([P for _, P in updated])

        rate = mean_gain(state.n + LAG, forgetting, dtype)
        probabilities, noise = state.weights, state.noise_variance
        if learn_weights:
            probabilities = jnp.maximum(
                probabilities + rate * (g - inlier * probabilities), jnp.finfo(dtype).eps
            )
        if learn_variance:
            square = error * error - variance
            if noise.ndim == 0:
                noise = noise + rate * jnp.sum(g * square)
            else:
                noise = noise + jnp.minimum(rate * g / state.weights, 1) * square
            noise = jnp.maximum(noise, jnp.finfo(dtype).tiny ** 0.5)
        info = nearest(linear_predictors, y)
        return RecursiveEmState(coefficients, covariance, probabilities, noise, state.n + 1), info

    def mixture(state: RecursiveEmState) -> Mixture:
        return Mixture(state.coefficients, state.weights, state.noise_variance)

    return Estimator(init, step, mixture)
