"""How sure a fit is: covariance, standard errors, confidence intervals and bands."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.special import ndtri
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr.batch import steps
from jaxmlr.batch.em import Fit
from jaxmlr.batch.parameters import free
from jaxmlr.batch.rows import Rows, checked, pack
from jaxmlr.mixture import Mixture


def covariance(
    fit: Fit,
    phi: ArrayLike,
    y: ArrayLike,
    *,
    form: str = "observed",
    known_weights: bool = False,
    known_variance: bool = False,
    tie: str = "none",
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
) -> jax.Array:
    """Covariance matrix of the estimate of the mixture.

        observed   J H^-1 J'             H = - sum_i w_i d^2 log f_i / d theta^2
        sandwich   J H^-1 S H^-1 J'      S = sum_i w_i (d log f_i / d theta)(d log f_i / d theta)'

    theta holds the coefficients, log-odds of the weights and log variances, J = d mixture / d theta, all
    by automatic differentiation. Textbook forms (Louis 1982 for the first, White 1982 for the second, which
    stays right where the noise is not Gaussian); exact at a maximum of the likelihood.

    Args:
      fit: of `em` on the same rows. A noise_variance of shape () is taken as one estimate for all.
      phi: (n, d).
      y: (n,).
      form: "observed" or "sandwich".
      known_weights: as given to `em`; the known part has variance 0.
      known_variance: as given to `em`.
      tie: as given to `em`.
      mask: as given to `em`.
      row_weights: as given to `em`.

    Returns:
      (q, q), in the order of the entries of `fit.mixture`: coefficients row by row, weights, noise_variance.
      Not finite where the information is singular.

    Raises:
      ValueError: as `em`, or another form.
    """
    _check.choice("form", form, ("observed", "sandwich"))
    _check.choice("tie", tie, ("none", *steps.SIGNS))
    rows = pack(*checked(phi, y, mask, row_weights))
    matrix: jax.Array = _covariance(
        rows, fit.mixture, form=form, known_weights=known_weights, known_variance=known_variance, tie=tie
    )
    return matrix


@functools.partial(jax.jit, static_argnames=("form", "known_weights", "known_variance", "tie"))
def _covariance(
    rows: Rows, mixture: Mixture, *, form: str, known_weights: bool, known_variance: bool, tie: str
) -> jax.Array:
    point, back = free(mixture, known_weights, known_variance, tie)
    theta, unravel = ravel_pytree(point)

    def densities(theta: jax.Array, part: Rows) -> jax.Array:
        return steps.log_density(part, back(unravel(theta)))

    def add(total: tuple[jax.Array, jax.Array], part: Rows) -> tuple[tuple[jax.Array, jax.Array], None]:
        hessian = jax.hessian(lambda t: jnp.sum(part.weight * densities(t, part)))(theta)
        outer = jnp.zeros_like(hessian)
        if form == "sandwich":
            score = jax.jacfwd(densities)(theta, part)
            outer = jnp.einsum("tl,tli,tlj->ij", part.weight, score, score, precision="highest")
        return (total[0] - hessian, total[1] + outer), None

    zero = jnp.zeros((theta.size, theta.size), theta.dtype)
    (information, outer), _ = lax.scan(add, (zero, zero), rows)
    inner = jnp.linalg.inv(information)
    if form == "sandwich":
        inner = _congruent(inner, outer)
    jacobian = jax.jacfwd(lambda t: ravel_pytree(back(unravel(t)))[0])(theta)
    return _congruent(jacobian, inner)


def _congruent(a: jax.Array, b: jax.Array) -> jax.Array:
    """A B A'."""
    return jnp.einsum("ij,jk,lk->il", a, b, a, precision="highest")


def standard_errors(
    fit: Fit,
    phi: ArrayLike,
    y: ArrayLike,
    *,
    form: str = "observed",
    known_weights: bool = False,
    known_variance: bool = False,
    tie: str = "none",
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
) -> Mixture:
    """Standard errors of a fit: the square roots of the diagonal of `covariance`.

    Args:
      fit: of `em` on the same rows.
      phi: (n, d).
      y: (n,).
      form: "observed" or "sandwich".
      known_weights: as given to `em`.
      known_variance: as given to `em`.
      tie: as given to `em`.
      mask: as given to `em`.
      row_weights: as given to `em`.

    Returns:
      A Mixture that holds the standard error of each entry of `fit.mixture`; that of sigma is the entry of
      noise_variance over 2 sigma. NaN where the information is not positive definite.

    Raises:
      ValueError: as `covariance`.
    """
    matrix = covariance(
        fit,
        phi,
        y,
        form=form,
        known_weights=known_weights,
        known_variance=known_variance,
        tie=tie,
        mask=mask,
        row_weights=row_weights,
    )
    errors: Mixture = ravel_pytree(fit.mixture)[1](jnp.sqrt(jnp.diagonal(matrix)))
    return errors


def confidence_intervals(fit: Fit, errors: Mixture, level: ArrayLike = 0.95) -> tuple[Mixture, Mixture]:
    """Confidence intervals of every entry of a mixture, symmetric where each is closest to normal.

        coefficients   b +- z se
        weights        logit w +- z se / (w (1 - w))
        noise_variance log v +- z se / v

    Wald intervals with the delta method, z the normal quantile of (1 + level) / 2.

    Args:
      fit: of `em`.
      errors: of `standard_errors`.
      level: in (0, 1).

    Returns:
      The lower and the upper ends, as two Mixtures (whose weights need not sum to 1).

    Raises:
      ValueError: `level` is out of range.
    """
    _check.number("level", level, above=0, below=1)
    beta, weights, variance = fit.mixture
    z = ndtri((1 + jnp.asarray(level, beta.dtype)) / 2)
    logit = jnp.log(weights) - jnp.log1p(-weights)
    # One component has weight 1 without error, and no logit.
    reach = jnp.where(errors.weights == 0, 0, z * errors.weights / (weights * (1 - weights)))
    ratio = jnp.exp(z * errors.noise_variance / variance)
    return (
        Mixture(beta - z * errors.coefficients, jax.nn.sigmoid(logit - reach), variance / ratio),
        Mixture(beta + z * errors.coefficients, jax.nn.sigmoid(logit + reach), variance * ratio),
    )


def bands(
    fit: Fit, covariance: jax.Array, phi: ArrayLike, level: ArrayLike = 0.95
) -> tuple[jax.Array, jax.Array]:
    """Pointwise confidence bands of the lines: beta_k' phi +- z sqrt(phi' C_k phi), C_k = cov(beta_k).

    Args:
      fit: of `em`.
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
    blocks = covariance[: components * d, : components * d].reshape(components, d, components, d)
    component = jnp.arange(components)
    own = blocks[component, :, component, :]
    points = jnp.asarray(phi)
    spread = jnp.sqrt(jnp.einsum("md,kde,me->mk", points, own, points, precision="highest"))
    lines = fit.mixture.lines(points)
    z = ndtri((1 + jnp.asarray(level, lines.dtype)) / 2)
    return lines - z * spread, lines + z * spread
