"""The limits that metrics are compared with: what a method that knows everything can reach.

All are conditional on the regressor phi, so a study averages them over its own regressors. With lines
m_k = beta_k' phi and the nearest-line rule, component k is labelled right when y falls into its cell,
which reaches half-way to the next line on either side:

    cell_k = (m_k - below_k / 2, m_k + above_k / 2),   above_k = min_{m_j > m_k} m_j - m_k

For the symmetric mixture with m = beta' phi they reduce to Phi(-|m| / sigma) and
sigma^2 + 4 m^2 Phi(-|m| / sigma) - 2 |m| sigma sqrt(2 / pi) exp(-m^2 / (2 sigma^2)).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr.mixture import Mixture

_NODES = 128


def _cells(mixture: Mixture, phi: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Linear predictors (K,) and the lower and upper ends (K,) of their cells."""
    means = mixture.linear_predictors(phi)
    gap = means[None, :] - means[:, None]
    above = jnp.min(jnp.where(gap > 0, gap, jnp.inf), axis=1)
    below = jnp.min(jnp.where(gap < 0, -gap, jnp.inf), axis=1)
    # Of lines that coincide the first takes the whole cell, as `nearest` gives it the labels.
    index = jnp.arange(means.shape[0], dtype=jnp.int32)
    second = jnp.any((gap == 0) & (index[None, :] < index[:, None]), axis=1)
    return means, means - jnp.where(second, 0, below / 2), means + jnp.where(second, 0, above / 2)


def least_misclassification(mixture: Mixture, phi: jax.Array) -> jax.Array:
    """P(nearest line is not the right one | phi (d,)); shape ().

    sum_k weights[k] (Phi(-above_k / (2 sigma_k)) + Phi(-below_k / (2 sigma_k)))
    """
    means, low, high = _cells(mixture, phi)
    sigma = jnp.sqrt(jnp.broadcast_to(mixture.noise_variance, means.shape))
    return jnp.sum(mixture.weights * (norm.cdf((low - means) / sigma) + norm.cdf((means - high) / sigma)))


def within_cluster_error(mixture: Mixture, phi: jax.Array) -> jax.Array:
    """E[min_j (y - m_j)^2 | phi (d,)] under the mixture; shape ().

    Sums E[(y - m_j)^2; y in cell_j | z = k] over j and k by the moments of the truncated normal. It is
    what the true coefficients reach, not a minimum: other lines can lie closer to the data.
    """
    means, low, high = _cells(mixture, phi)
    sigma = jnp.sqrt(jnp.broadcast_to(mixture.noise_variance, means.shape))[:, None]
    a, b = (low[None, :] - means[:, None]) / sigma, (high[None, :] - means[:, None]) / sigma
    offset = means[:, None] - means[None, :]
    mass = norm.cdf(b) - norm.cdf(a)
    edges = _edge(b) - _edge(a)
    first = norm.pdf(a) - norm.pdf(b)
    square = sigma**2 * (mass - edges) + 2 * sigma * offset * first + offset**2 * mass
    return jnp.sum(mixture.weights * jnp.sum(square, axis=1))


def _edge(t: jax.Array) -> jax.Array:
    """The product t pdf(t), which is 0 at infinity."""
    finite = jnp.isfinite(t)
    safe = jnp.where(finite, t, 0)
    return jnp.where(finite, safe * norm.pdf(safe), 0)


def information(mixture: Mixture, phi: jax.Array) -> jax.Array:
    """Fisher information about the lines m in one response at phi (d,); shape (K, K).

    M[i, j] = E[s_i s_j],  s_i = P(z = i | y) (y - m_i) / sigma_i^2,

    by Gauss-Hermite quadrature over y, with weights and variances known. The information about the
    stacked coefficients is M (x) phi phi'.
    """
    nodes, masses = np.polynomial.hermite_e.hermegauss(_NODES)
    dtype = mixture.coefficients.dtype
    means = mixture.linear_predictors(phi)
    variance = jnp.broadcast_to(mixture.noise_variance, means.shape)
    # Axes: quadrature node, component that produced y, component of the score.
    y = means[None, :] + jnp.sqrt(variance)[None, :] * jnp.asarray(nodes, dtype)[:, None]
    error = y[:, :, None] - means[None, None, :]
    log_weight = jnp.log(mixture.weights / jnp.sqrt(variance))[None, None, :]
    posterior = jax.nn.softmax(log_weight - error**2 / (2 * variance)[None, None, :], axis=-1)
    score = posterior * error / variance[None, None, :]
    weight = jnp.asarray(masses / math.sqrt(2 * math.pi), dtype)[:, None] * mixture.weights[None, :]
    return jnp.sum(weight[:, :, None, None] * score[..., :, None] * score[..., None, :], axis=(0, 1))


def line_score(mixture: Mixture, phi: jax.Array, y: jax.Array) -> jax.Array:
    """Derivative of log sum_k weights[k] N(y; m_k, sigma_k^2) by the lines m; shape (K,).

    s_k = P(z = k | phi, y) (y - m_k) / sigma_k^2, for phi (d,) and y (); its variance is `information`.
    """
    means = mixture.linear_predictors(phi)
    variance = jnp.broadcast_to(mixture.noise_variance, means.shape)
    error = y - means
    exponent = jnp.log(mixture.weights / jnp.sqrt(variance)) - error * error / (2 * variance)
    likelihood = jnp.exp(exponent - jnp.max(exponent))
    return likelihood / jnp.sum(likelihood) * error / variance


def cramer_rao(information: np.ndarray, components: int) -> np.ndarray:
    """Least root mean squared coefficient error of an unbiased method: sqrt(trace(I^-1) / components).

    Args:
      information: (..., m, m) Fisher information about m coefficients, symmetric.
      components: over how many components the squared error is averaged; 1 for the symmetric model.

    Returns:
      (...), infinite where the information is singular: a direction is not excited, or n is too small.
    """
    values = np.linalg.eigvalsh(np.asarray(information, np.float64))
    regular = values[..., 0] > 1e-6 * values[..., -1]
    safe = np.where(regular[..., None], values, 1)
    return np.where(regular, np.sqrt(np.sum(1 / safe, axis=-1) / components), np.inf)


def bayes_misclassification(mixture: Mixture, phi: jax.Array) -> jax.Array:
    """P(the most probable component is not the right one | phi (d,)); shape (): the least of any rule.

    1 - sum_k weights[k] P(k is the most probable | z = k), each by a sum over 2,049 nodes within 6 sigma_k of
    its line, good to about 1e-3. `least_misclassification` is that of the nearest line, which uses neither
    weights nor variances; where both are equal the two agree.
    """
    means = mixture.linear_predictors(phi)
    dtype = means.dtype
    sigma = jnp.sqrt(jnp.broadcast_to(mixture.noise_variance, means.shape))
    # Nodes about each line in its own unit: a far line or a small sigma loses no accuracy.
    z = jnp.linspace(-6, 6, 2049, dtype=dtype)
    y = means[:, None] + sigma[:, None] * z[None, :]
    u = (y[:, :, None] - means[None, None, :]) / sigma[None, None, :]
    joint = jnp.log(mixture.weights / sigma)[None, None, :] - u * u / 2
    index = jnp.arange(means.shape[0], dtype=jnp.int32)[:, None]
    right = jnp.argmax(joint, axis=-1).astype(jnp.int32) == index
    correct = jnp.sum(jnp.where(right, norm.pdf(z)[None, :], 0), axis=1) * (12 / 2048)
    return 1 - jnp.sum(mixture.weights * correct)


def kappa(delta: float) -> float:
    """Exponent kappa = 1/2 + delta of the rate n^kappa / lambda_min(n) for |phi|^2 = O(n^delta).

    Reconstructed: the summary of arXiv 2503.18500 says only that kappa < 1 for delta < 1/2.

    Raises:
      ValueError: delta is negative.
    """
    _check.number("delta", delta, at_least=0, scalar=True)
    return 0.5 + delta


class Rate(NamedTuple):
    """A power law n^slope and how well it is known."""

    slope: float
    low: float  # ends of the confidence interval
    high: float


def fitted_rate(steps: ArrayLike, squares: ArrayLike, level: float = 0.95) -> Rate:
    """The slope of log(mean of squares over trials) on log n, by least squares over the recorded steps.

    Errors of one trial at different n are correlated, so the standard error is the jackknife's over trials
    (Efron 1982), and the interval is normal.

    Args:
      steps: (records,) n, at least 2 of them, greater than 0.
      squares: (trials, records) squared errors, finite, at least 2 trials.
      level: of the interval, in (0, 1).

    Raises:
      ValueError: wrong shapes or ranges.
    """
    n, x = np.asarray(steps, np.float64), np.asarray(squares, np.float64)
    if n.ndim != 1 or n.size < 2 or x.ndim != 2 or x.shape[0] < 2 or x.shape[1] != n.size:
        raise ValueError(
            f"squares must have shape (trials, records) for steps (records,), not {x.shape} and {n.shape}"
        )
    _check.number("steps", n, above=0)
    _check.number("squares", x, at_least=0)
    _check.number("level", level, above=0, below=1, scalar=True)
    centred = np.log(n) - np.log(n).mean()
    weights = centred / np.sum(centred**2)
    trials = len(x)
    slope = float(np.log(x.mean(axis=0)) @ weights)
    without = np.log((x.sum(axis=0) - x) / (trials - 1)) @ weights
    error = np.sqrt((trials - 1) * without.var())
    width = float(norm.ppf((1 + level) / 2) * error)
    return Rate(slope, slope - width, slope + width)
