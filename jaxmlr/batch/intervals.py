"""Confidence intervals and bands of a fit, from its covariance."""

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr._xla.namespace import einsum, namespace, special
from jaxmlr.batch.outcome import Fit
from jaxmlr.mixture import Mixture


def confidence_intervals(fit: Fit, errors: Mixture, level: ArrayLike = 0.95) -> tuple[Mixture, Mixture]:
    """Confidence intervals of every entry of a mixture, symmetric where each is closest to normal.

        coefficients   b +- z se
        weights        logit w +- z se / (w (1 - w))
        noise_variance log v +- z se / v

    Wald intervals with the delta method, z the normal quantile of (1 + level) / 2.

    Args:
      fit: of a batch method.
      errors: of `standard_errors`.
      level: in (0, 1).

    Returns:
      The lower and the upper ends, as two Mixtures (whose weights need not sum to 1); NaN where `errors` is.

    Raises:
      ValueError: `level` is out of range.
    """
    _check.number("level", level, above=0, below=1)
    beta, weights, variance = fit.mixture
    xp, functions = namespace(fit.mixture, errors), special(fit.mixture, errors)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = functions.ndtri((1 + xp.asarray(level, beta.dtype)) / 2)
        logit = xp.log(weights) - xp.log1p(-weights)
        # One component has weight 1 without error, and no logit.
        reach = xp.where(errors.weights == 0, 0, z * errors.weights / (weights * (1 - weights)))
        ratio = xp.exp(z * errors.noise_variance / variance)
        return (
            Mixture(beta - z * errors.coefficients, functions.expit(logit - reach), variance / ratio),
            Mixture(beta + z * errors.coefficients, functions.expit(logit + reach), variance * ratio),
        )


def bands(
    fit: Fit, covariance: ArrayLike, phi: ArrayLike, level: ArrayLike = 0.95
) -> tuple[jax.Array, jax.Array]:
    """Pointwise confidence bands of the lines: beta_k' phi +- z sqrt(phi' C_k phi), C_k = cov(beta_k).

    Args:
      fit: of a batch method.
      covariance: (q, q) of `covariance`.
      phi: (m, d), where to draw.
      level: in (0, 1).

    Returns:
      The lower and the upper ends, each (m, K).

    Raises:
      ValueError: `level` is out of range, or phi does not fit.
    """
    _check.number("level", level, above=0, below=1)
    components, d = fit.mixture.coefficients.shape
    if np.ndim(phi) != 2 or np.shape(phi)[1] != d:
        raise ValueError(f"phi must have shape (m, {d}), not {np.shape(phi)}")
    beta = fit.mixture.coefficients
    xp, functions = namespace(beta, covariance, phi), special(beta, covariance, phi)
    blocks = xp.asarray(covariance)[: components * d, : components * d].reshape(components, d, components, d)
    own, points = einsum("kdke->kde", blocks), xp.asarray(phi)
    spread = xp.sqrt(einsum("md,kde,me->mk", points, own, points))
    fitted = einsum("md,kd->mk", points, beta)
    z = functions.ndtri((1 + xp.asarray(level, fitted.dtype)) / 2)
    return fitted - z * spread, fitted + z * spread
