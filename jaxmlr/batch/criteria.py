"""Criteria that weigh fit against size: AIC, BIC and ICL. Smaller is better."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr.batch.em import Fit
from jaxmlr.batch.rows import checked


def parameters(
    fit: Fit, *, known_weights: bool = False, known_variance: bool = False, tie: str = "none"
) -> int:
    """How many numbers were estimated: K d coefficients (d where tied), K - 1 weights, K or 1 variances.

    Args:
      fit: a Fit, of which the shapes count.
      known_weights: as given to the method.
      known_variance: as given to the method.
      tie: as given to the method.

    Returns:
      The number of parameters.
    """
    components, d = fit.mixture.coefficients.shape[-2:]
    lines = d if tie != "none" else components * d
    # Under vmap-made batches weights are (..., K), and a common variance lacks that last axis.
    common = fit.mixture.noise_variance.ndim < fit.mixture.weights.ndim
    variances = 1 if common else components
    return lines + (0 if known_weights else components - 1) + (0 if known_variance else variances)


def aic(
    fit: Fit, *, known_weights: bool = False, known_variance: bool = False, tie: str = "none"
) -> jax.Array:
    """Akaike's criterion, -2 log L + 2 q with q = `parameters`.

    Args:
      fit: of a method that maximises the likelihood.
      known_weights: as given to the method.
      known_variance: as given to the method.
      tie: as given to the method.

    Returns:
      (), smaller is better.
    """
    q = parameters(fit, known_weights=known_weights, known_variance=known_variance, tie=tie)
    return -2 * fit.log_likelihood + 2 * q


def bic(
    fit: Fit,
    n: ArrayLike,
    *,
    known_weights: bool = False,
    known_variance: bool = False,
    tie: str = "none",
) -> jax.Array:
    """Schwarz's criterion, -2 log L + q log n with q = `parameters`.

    Args:
      fit: of a method that maximises the likelihood.
      n: rows that count, or the sum of their weights; greater than 0.
      known_weights: as given to the method.
      known_variance: as given to the method.
      tie: as given to the method.

    Returns:
      (), smaller is better.

    Raises:
      ValueError: `n` is not positive.
    """
    _check.number("n", n, above=0)
    q = parameters(fit, known_weights=known_weights, known_variance=known_variance, tie=tie)
    return -2 * fit.log_likelihood + q * jnp.log(jnp.asarray(n, fit.log_likelihood.dtype))


def icl(
    fit: Fit,
    phi: ArrayLike,
    y: ArrayLike,
    *,
    form: str = "map",
    known_weights: bool = False,
    known_variance: bool = False,
    tie: str = "none",
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
) -> jax.Array:
    """Integrated complete likelihood (Biernacki, Celeux and Govaert 2000), as an approximation by BIC.

        map      BIC - 2 sum_i w_i log max_k p_ik          (flexmix's)
        entropy  BIC - 2 sum_i w_i sum_k p_ik log p_ik

    where p is the posterior. It asks for components that can be told apart.

    Args:
      fit: of a method that maximises the likelihood.
      phi: (n, d).
      y: (n,).
      form: "map" or "entropy".
      known_weights: as given to the method.
      known_variance: as given to the method.
      tie: as given to the method.
      mask: as given to the method.
      row_weights: as given to the method.

    Returns:
      (), smaller is better.

    Raises:
      ValueError: another form, or bad rows.
    """
    _check.choice("form", form, ("map", "entropy"))
    phi, y, weight = checked(phi, y, mask, row_weights)
    posterior = fit.mixture.posterior(phi, y)
    if form == "map":
        doubt = -jnp.log(jnp.max(posterior, axis=-1))
    else:
        doubt = jnp.sum(jax.scipy.special.entr(posterior), axis=-1)
    base = bic(fit, jnp.sum(weight), known_weights=known_weights, known_variance=known_variance, tie=tie)
    return base + 2 * jnp.sum(weight * doubt)
