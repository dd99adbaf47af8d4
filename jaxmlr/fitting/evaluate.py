"""What a mixture that is known says of rows at hand, in NumPy's float64: only draws of a law are compiled."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit, logsumexp

from jaxmlr.batch.families import Law
from jaxmlr.mixture import Mixture


class Terms(NamedTuple):
    """What is told of n rows beside regressors and response, and the gate; None where nothing is told."""

    gate: np.ndarray | None = None  # (K, m) alpha: weights are softmax(alpha_k' z)
    concomitant: np.ndarray | None = None  # (n, m) z, the same in all rows of a group
    groups: np.ndarray | None = None  # (n,) whole numbers from 0 on; rows of one group share their component
    known: np.ndarray | None = None  # (n, K) bool, the components that a row may belong to
    weight: np.ndarray | None = None  # (n,) how much a row counts in its group
    law: Law | None = None  # of the responses; None where they are normal


NONE = Terms()


def linear_predictors(mixture: Mixture, phi: np.ndarray) -> np.ndarray:
    """beta_k' phi, (n, K), for phi (n, d)."""
    return np.asarray(phi, np.float64) @ np.asarray(mixture.coefficients, np.float64).T


def weights(mixture: Mixture, terms: Terms = NONE) -> np.ndarray:
    """P(z_i = k) before the response is seen, (n, K) with a gate, else (1, K)."""
    if terms.gate is None or terms.concomitant is None:
        return np.asarray(mixture.weights, np.float64)[None, :]
    score = np.asarray(terms.concomitant, np.float64) @ np.asarray(terms.gate, np.float64).T
    return np.asarray(np.exp(score - logsumexp(score, axis=1, keepdims=True)))


def _joint(mixture: Mixture, phi: np.ndarray, y: np.ndarray, terms: Terms) -> np.ndarray:
    """Log P(z = k, y) of the rows, (n, K), or of the groups, (G, K)."""
    variance = np.broadcast_to(np.asarray(mixture.noise_variance, np.float64), mixture.weights.shape)
    eta, response = linear_predictors(mixture, phi), np.asarray(y, np.float64)[:, None]
    if terms.law is None:
        joint = -0.5 * (np.log(2 * np.pi * variance) + (response - eta) ** 2 / variance)
    else:
        joint = terms.law.log_density(eta, response, variance) + terms.law.base(response)
    with np.errstate(divide="ignore"):
        prior, known = np.log(weights(mixture, terms)), terms.known
    if terms.groups is not None:
        joint = joint if terms.weight is None else terms.weight[:, None] * joint
        joint = np.column_stack([np.bincount(terms.groups, column) for column in joint.T])
        first = np.unique(terms.groups, return_index=True)[1]
        prior = prior[first] if len(prior) > 1 else prior
        if known is not None:
            common = np.ones(joint.shape, bool)
            np.logical_and.at(common, terms.groups, known)
            known = common
    joint = joint + prior
    return joint if known is None else np.where(known, joint, -np.inf)


def log_density(mixture: Mixture, phi: np.ndarray, y: np.ndarray, terms: Terms = NONE) -> np.ndarray:
    """Log sum_k weights[k] f(y; beta_k' phi, sigma_k^2) of the rows (n,), or of the groups (G,)."""
    return np.asarray(logsumexp(_joint(mixture, phi, y, terms), axis=1))


def outliers(mixture: Mixture, phi: np.ndarray, y: np.ndarray, c: float, terms: Terms = NONE) -> np.ndarray:
    """Probability that each row is an outlier, c / (c + f), under an outlier density c, (n,)."""
    return np.asarray(expit(np.log(c) - log_density(mixture, phi, y, terms)))


def posterior(mixture: Mixture, phi: np.ndarray, y: np.ndarray, terms: Terms = NONE) -> np.ndarray:
    """P(z_i = k | all that is told), (n, K): rows of one group have one posterior."""
    joint = _joint(mixture, phi, y, terms)
    posterior = np.exp(joint - joint.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    return posterior if terms.groups is None else posterior[terms.groups]


def means(mixture: Mixture, phi: np.ndarray, terms: Terms = NONE) -> np.ndarray:
    """E[y | phi] under each component, (n, K)."""
    eta = linear_predictors(mixture, phi)
    return eta if terms.law is None else np.asarray(terms.law.mean(eta))


def mean(mixture: Mixture, phi: np.ndarray, terms: Terms = NONE) -> np.ndarray:
    """E[y | phi, z], (n,)."""
    return np.asarray(np.sum(means(mixture, phi, terms) * weights(mixture, terms), axis=1))


def draw(
    random: np.random.RandomState, mixture: Mixture, phi: np.ndarray, count: int, terms: Terms = NONE
) -> np.ndarray:
    """Responses drawn at phi (n, d), (n, count); rows of one group share their component in each draw."""
    shape = len(phi), count
    edges = np.cumsum(np.broadcast_to(weights(mixture, terms), (len(phi), len(mixture.weights))), axis=1)
    uniform = random.uniform(size=shape)
    if terms.groups is not None:
        uniform = uniform[np.unique(terms.groups, return_index=True)[1]][terms.groups]
    label = (uniform[:, :, None] > edges[:, None, :-1]).sum(axis=2)
    spread = np.broadcast_to(np.asarray(mixture.noise_variance, np.float64), edges.shape[1:])[label]
    line = np.take_along_axis(linear_predictors(mixture, phi), label, axis=1)
    if terms.law is None:
        return np.asarray(line + np.sqrt(spread) * random.normal(size=shape))
    with jax.enable_x64(True):
        key = jax.random.key(random.randint(2**31 - 1))
        return np.asarray(terms.law.draw(key, jnp.asarray(line), jnp.asarray(spread)))


def variance(mixture: Mixture, phi: np.ndarray, terms: Terms = NONE) -> np.ndarray:
    """Var[y | phi, z] = sum_k weights[k] (v_k + mu_k^2) - E[y | phi, z]^2, (n,).

    Here mu_k and v_k are mean and variance of y under component k.
    """
    own, prior = means(mixture, phi, terms), weights(mixture, terms)
    apart = own - np.sum(own * prior, axis=1, keepdims=True)
    within = np.broadcast_to(np.asarray(mixture.noise_variance, np.float64), mixture.weights.shape)
    if terms.law is not None:
        within = terms.law.variance(own, within)
    return np.asarray(np.sum((np.square(apart) + within) * prior, axis=1))
