"""What a mixture that is known says of rows at hand, in NumPy's float64: nothing is compiled."""

import numpy as np
from scipy.special import logsumexp

from jaxmlr.mixture import Mixture


def lines(mixture: Mixture, phi: np.ndarray) -> np.ndarray:
    """beta_k' phi, (n, K), for phi (n, d)."""
    return np.asarray(phi, np.float64) @ np.asarray(mixture.coefficients, np.float64).T


def log_joint(mixture: Mixture, phi: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Entries log weights[k] + log N(y; beta_k' phi, sigma_k^2), (n, K)."""
    weights = np.asarray(mixture.weights, np.float64)
    variance = np.broadcast_to(np.asarray(mixture.noise_variance, np.float64), weights.shape)
    error = np.asarray(y, np.float64)[:, None] - lines(mixture, phi)
    with np.errstate(divide="ignore"):
        return np.log(weights) - 0.5 * np.log(2 * np.pi * variance) - 0.5 * error**2 / variance


def log_density(mixture: Mixture, phi: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log sum_k weights[k] N(y; beta_k' phi, sigma_k^2), (n,)."""
    return logsumexp(log_joint(mixture, phi, y), axis=1)


def posterior(mixture: Mixture, phi: np.ndarray, y: np.ndarray) -> np.ndarray:
    """P(z = k | phi, y), (n, K)."""
    joint = log_joint(mixture, phi, y)
    share = np.exp(joint - joint.max(axis=1, keepdims=True))
    return share / share.sum(axis=1, keepdims=True)


def mean(mixture: Mixture, phi: np.ndarray) -> np.ndarray:
    """E[y | phi], (n,)."""
    return lines(mixture, phi) @ np.asarray(mixture.weights, np.float64)


def variance(mixture: Mixture, phi: np.ndarray) -> np.ndarray:
    """Var[y | phi] = sum_k weights[k] (sigma_k^2 + (beta_k' phi)^2) - E[y | phi]^2, (n,)."""
    weights = np.asarray(mixture.weights, np.float64)
    own = lines(mixture, phi)
    apart = own - (own @ weights)[:, None]
    within = np.broadcast_to(np.asarray(mixture.noise_variance, np.float64), weights.shape)
    return np.square(apart) @ weights + within @ weights
