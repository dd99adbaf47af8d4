"""Poisson, binomial, gamma and Student's t responses, against their likelihoods as SciPy writes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, special, stats

from jaxmlr import Mixture
from jaxmlr.batch import Constraints, Fit, bic, covariance, em, icl, posterior, predict, standard_errors
from jaxmlr.batch.gamma_shape import shape_of, stirling
from jaxmlr.batch.inference import errors_of

EXACT = {"max_iterations": 3000, "tolerance": 1e-12}
TRUTH = np.array([[0.4, 0.8], [1.6, -0.5]])
DEGREES = 3.0
FREE = {"poisson": False, "binomial": False, "gamma": True, "student": True}  # whether v is estimated
FAMILIES = pytest.mark.parametrize("family", FREE)


def log_density(family, eta, y, v, trials):
    """Log f(y | eta, v) by SciPy."""
    if family == "poisson":
        return stats.poisson.logpmf(y, np.exp(eta))
    if family == "binomial":
        return stats.binom.logpmf(y, trials, special.expit(eta))
    if family == "gamma":
        return stats.gamma.logpdf(y, 1 / v, scale=v * np.exp(eta))
    return stats.t.logpdf(y, DEGREES, eta, np.sqrt(v))


def drawn(family, components=2, n=90, seed=0):
    """Regressors, responses and trials, which only binomial ones have."""
    rng = np.random.default_rng(seed)
    phi = np.column_stack([np.ones(n), rng.uniform(-1, 2, n)])
    eta = np.sum(phi * TRUTH[rng.integers(0, components, n)], axis=1)
    trials = rng.integers(10, 30, n)
    y = {
        "poisson": lambda: rng.poisson(np.exp(eta)),
        "binomial": lambda: rng.binomial(trials, special.expit(eta)),
        "gamma": lambda: rng.gamma(8.0, np.exp(eta) / 8),
        "student": lambda: eta + 0.2 * rng.standard_t(DEGREES, n),
    }[family]()
    return phi, y.astype(float), {"trials": trials} if family == "binomial" else {}


def options(family):
    return {"family": family} | ({"degrees": DEGREES} if family == "student" else {})


def log_likelihood(theta, family, phi, y, components, trials=None):
    """Of coefficients, log-odds of the weights and log dispersions, in one vector."""
    size = 2 * components
    beta = theta[:size].reshape(components, 2)
    log_weights = special.log_softmax(np.append(theta[size : size + components - 1], 0.0))
    v = np.exp(theta[size + components - 1 :]) if FREE[family] else np.ones(components)
    joint = [log_weights[k] + log_density(family, phi @ beta[k], y, v[k], trials) for k in range(components)]
    return np.sum(special.logsumexp(joint, axis=0))


def point(fit):
    beta, weights, v = (np.asarray(leaf, np.float64) for leaf in fit.mixture)
    odds = np.log(weights[:-1] / weights[-1])
    return np.concatenate([beta.ravel(), odds, np.log(v) if FREE[fit.constraints.family] else []])


def gradient(function, theta, step=1e-5):
    moves = step * np.eye(len(theta))
    return np.array([(function(theta + move) - function(theta - move)) / (2 * step) for move in moves])


def hessian(function, theta):
    return gradient(lambda each: gradient(function, each, 1e-4), theta, 1e-4)


@pytest.mark.parametrize(
    "family",
    ["poisson", "gamma", *(pytest.param(name, marks=pytest.mark.slow) for name in ("binomial", "student"))],
)
def test_one_component_is_a_generalised_linear_model(family):
    """From afar too: every step raises the likelihood, and ends at the maximum that SciPy finds."""
    phi, y, trials = drawn(family, components=1)
    starts = np.array([[[0.0, 0.0]], [[3.0, -4.0]]])
    climb = jax.vmap(
        lambda beta: em(phi, y, Mixture(beta, np.ones(1), np.ones(1)), **options(family), **EXACT, **trials)
    )
    fits = climb(starts)
    assert np.all(np.diff(fits.trace) > -1e-9)
    assert list(fits.result) == ["converged"] * 2
    assert_allclose(fits.mixture.coefficients[1], fits.mixture.coefficients[0], rtol=1e-8)
    fit = jax.tree.map(lambda leaf: leaf[0], fits)

    def value(theta):
        return log_likelihood(theta, family, phi, y, 1, **trials)

    theta = point(fit)
    assert_allclose(fit.log_likelihood, value(theta), rtol=1e-12)
    best = optimize.minimize(lambda each: -value(each), theta + 0.1, method="BFGS", options={"gtol": 1e-6})
    assert_allclose(theta, best.x, rtol=1e-5, atol=1e-6)
    if not FREE[family]:  # iteratively reweighted least squares, with its standard errors
        m = trials.get("trials", 1)
        mean, slope = (np.exp, np.exp) if family == "poisson" else (
            lambda eta: m * special.expit(eta), lambda eta: m * special.expit(eta) * special.expit(-eta)
        )  # fmt: skip
        beta = np.zeros(2)
        for _ in range(30):
            eta = phi @ beta
            information = phi.T @ (slope(eta)[:, None] * phi)
            beta = beta + np.linalg.solve(information, phi.T @ (y - mean(eta)))
        assert_allclose(fit.mixture.coefficients[0], beta, rtol=1e-8)
        matrix = jax.jit(lambda rows: covariance(fit, rows, y, **trials))(phi)
        errors = errors_of(fit, matrix)
        assert_allclose(errors.coefficients[0], np.sqrt(np.diag(np.linalg.inv(information))), rtol=1e-8)
        assert np.all(np.isnan(errors.noise_variance))


@pytest.mark.slow
@FAMILIES
def test_a_mixture_is_a_maximum_of_its_likelihood(family):
    phi, y, trials = drawn(family, n=400)
    start = Mixture(TRUTH, np.array([0.5, 0.5]), np.array([0.1, 0.1]))
    fit = em(phi, y, start, **options(family), **EXACT, **trials)
    assert fit.result == "converged"
    assert np.all(np.diff(fit.trace) > -1e-9)

    def value(theta):
        return log_likelihood(theta, family, phi, y, 2, **trials)

    theta = point(fit)
    assert_allclose(fit.log_likelihood, value(theta), rtol=1e-12)
    assert_allclose(gradient(value, theta), 0, atol=1e-4)
    inverse = np.linalg.inv(-hessian(value, theta))
    errors = standard_errors(fit, phi, y, **trials)
    assert_allclose(np.ravel(errors.coefficients), np.sqrt(np.diag(inverse))[:4], rtol=1e-4)
    if FREE[family]:
        relative = errors.noise_variance / fit.mixture.noise_variance
        assert_allclose(relative, np.sqrt(np.diag(inverse))[5:], rtol=1e-4)
    assert np.all(np.abs(fit.mixture.coefficients - TRUTH) < 4 * errors.coefficients)
    v = np.broadcast_to(fit.mixture.noise_variance, 2)
    joint = np.stack(
        [
            np.log(fit.mixture.weights[k])
            + log_density(family, phi @ fit.mixture.coefficients[k], y, v[k], trials.get("trials"))
            for k in range(2)
        ],
        axis=1,
    )
    wanted = special.softmax(joint, axis=1)
    assert_allclose(posterior(fit, phi, y, **trials), wanted, rtol=1e-9, atol=1e-14)
    assert_allclose(
        icl(fit, phi, y, **trials), bic(fit, 400) - 2 * np.log(wanted.max(axis=1)).sum(), rtol=1e-10
    )


def fit_of(family, beta):
    """A fit with these coefficients, without rows."""
    mixture = Mixture(jnp.asarray(beta), jnp.array([0.3, 0.7]), jnp.ones(2))
    zero = jnp.zeros(())
    return Fit(mixture, zero, zero[None], zero, zero > 0, constraints=Constraints(family=family))


def test_means_are_those_of_the_family():
    phi, beta = np.array([[1.0, 0.0], [1.0, 2.0]]), np.array([[0.5, 1.0], [1.0, -1.0]])
    eta, weights, trials = phi @ beta.T, np.array([0.3, 0.7]), np.array([3.0, 1.0])
    for family, means in (
        ("normal", eta), ("student", eta), ("poisson", np.exp(eta)), ("gamma", np.exp(eta)),
        ("binomial", special.expit(eta)),
    ):  # fmt: skip
        assert_allclose(predict(fit_of(family, beta), phi), means @ weights, rtol=1e-12)
    assert_allclose(
        predict(fit_of("binomial", beta), phi, trials=trials), trials * (means @ weights), rtol=1e-12
    )


def test_the_shape_of_a_gamma_law():
    shape = np.array([1e-3, 0.1, 1.0, 19.0, 21.0, 1e3, 1e7])
    with np.errstate(all="ignore"):
        mean = np.where(
            shape > 1e5, 0.5 / shape + 1 / (12 * shape**2), np.log(shape) - special.digamma(shape)
        )
    assert_allclose(shape_of(jnp.asarray(mean)), shape, rtol=1e-9)
    direct = shape * np.log(shape) - shape - special.gammaln(shape)
    assert_allclose(stirling(shape), direct, rtol=1e-7)
    assert_allclose(stirling(jnp.asarray(shape)), stirling(shape), rtol=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"family": "tweedie"}, "family must be one of 'normal', 'poisson'"),
        ({"family": "poisson", "y": [-1.0]}, "y must be whole numbers of at least 0 with family='poisson'"),
        ({"family": "poisson", "y": [0.5]}, "the first is row 3 with 0.5"),
        ({"family": "binomial", "y": [2.0]}, "whole numbers from 0 to the number of trials"),
        ({"family": "gamma", "y": [0.0]}, "y must be greater than 0 with family='gamma'"),
        ({"family": "poisson", "outlier_density": 0.1}, "outlier_density must not be given with"),
        ({"family": "binomial", "equal_variance": True}, "equal_variance must not be given with"),
        ({"family": "gamma", "ridge": 1.0}, "ridge must not be given with family='gamma'"),
        ({"family": "gamma", "ddof": 1}, "ddof must not be given with family='gamma'"),
        ({"family": "poisson", "degrees": 3.0}, "degrees must be None with family='poisson'"),
        ({"family": "student", "degrees": -1.0}, "degrees must be greater than 0"),
        ({"family": "poisson", "trials": np.ones(8)}, "trials must be None with family='poisson'"),
        ({"family": "binomial", "trials": np.zeros(8)}, "trials must be at least 1"),
        ({"family": "binomial", "trials": np.ones(3)}, r"trials must have shape \(8,\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(given, message):
    y = np.ones(8)
    y[3] = np.ravel(given.pop("y", 1.0))[0]
    start = Mixture(np.array([[0.0], [1.0]]), np.array([0.5, 0.5]), np.ones(2))
    with pytest.raises(ValueError, match=message):
        em(np.ones((8, 1)), y, start, **given)


def test_a_fit_is_asked_about_rows_of_its_own_family():
    fit, phi, y = fit_of("poisson", np.array([[0.0], [1.0]])), np.ones((8, 1)), np.arange(8.0)
    with pytest.raises(ValueError, match="y must be whole numbers"):
        posterior(fit, phi, y - 0.5)
    with pytest.raises(ValueError, match="trials must be None"):
        predict(fit, phi, trials=np.ones(8))
