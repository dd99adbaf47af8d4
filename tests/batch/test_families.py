"""Poisson, binomial, gamma and Student's t responses, against their likelihoods as SciPy writes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, special, stats

from jaxmlr import Mixture
from jaxmlr.batch import (
    Constraints,
    Fit,
    bic,
    covariance,
    em,
    fit,
    gate_errors,
    icl,
    posterior,
    predict,
    select,
    standard_errors,
)
from jaxmlr.batch.gamma_shape import shape_of, stirling
from jaxmlr.batch.inference import errors_of
from jaxmlr.batch.select import responses

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
    fitted = jax.tree.map(lambda leaf: leaf[0], fits)

    def value(theta):
        return log_likelihood(theta, family, phi, y, 1, **trials)

    theta = point(fitted)
    assert_allclose(fitted.log_likelihood, value(theta), rtol=1e-12)
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
        assert_allclose(fitted.mixture.coefficients[0], beta, rtol=1e-8)
        matrix = jax.jit(lambda rows: covariance(fitted, rows, y, **trials))(phi)
        errors = errors_of(fitted, matrix)
        assert_allclose(errors.coefficients[0], np.sqrt(np.diag(np.linalg.inv(information))), rtol=1e-8)
        assert np.all(np.isnan(errors.noise_variance))


@pytest.mark.slow
@FAMILIES
def test_a_mixture_is_a_maximum_of_its_likelihood(family):
    phi, y, trials = drawn(family, n=400)
    start = Mixture(TRUTH, np.array([0.5, 0.5]), np.array([0.1, 0.1]))
    fitted = em(phi, y, start, **options(family), **EXACT, **trials)
    assert fitted.result == "converged"
    assert np.all(np.diff(fitted.trace) > -1e-9)

    def value(theta):
        return log_likelihood(theta, family, phi, y, 2, **trials)

    theta = point(fitted)
    assert_allclose(fitted.log_likelihood, value(theta), rtol=1e-12)
    assert_allclose(gradient(value, theta), 0, atol=1e-4)
    inverse = np.linalg.inv(-hessian(value, theta))
    errors = standard_errors(fitted, phi, y, **trials)
    assert_allclose(np.ravel(errors.coefficients), np.sqrt(np.diag(inverse))[:4], rtol=1e-4)
    if FREE[family]:
        relative = errors.noise_variance / fitted.mixture.noise_variance
        assert_allclose(relative, np.sqrt(np.diag(inverse))[5:], rtol=1e-4)
    assert np.all(np.abs(fitted.mixture.coefficients - TRUTH) < 4 * errors.coefficients)
    v = np.broadcast_to(fitted.mixture.noise_variance, 2)
    joint = np.stack(
        [
            np.log(fitted.mixture.weights[k])
            + log_density(family, phi @ fitted.mixture.coefficients[k], y, v[k], trials.get("trials"))
            for k in range(2)
        ],
        axis=1,
    )
    wanted = special.softmax(joint, axis=1)
    assert_allclose(posterior(fitted, phi, y, **trials), wanted, rtol=1e-9, atol=1e-14)
    assert_allclose(
        icl(fitted, phi, y, **trials), bic(fitted, 400) - 2 * np.log(wanted.max(axis=1)).sum(), rtol=1e-10
    )


def check_optimum(fitted, family, phi, y, trials):
    """A maximum of the likelihood as SciPy writes it, within four standard errors of the truth."""

    def value(theta):
        return log_likelihood(theta, family, phi, y, 2, **trials)

    assert fitted.result == "converged"
    theta = point(fitted)
    assert_allclose(fitted.log_likelihood, value(theta), rtol=1e-11)
    assert_allclose(gradient(value, theta), 0, atol=2e-3)
    order = np.argsort(TRUTH[:, -1])
    errors = standard_errors(fitted, phi, y, **trials)
    assert np.all(np.abs(fitted.mixture.coefficients - TRUTH[order]) < 4 * errors.coefficients)


FEW = {"starts": {"spread_lines": 4}, "finalists": 2}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["binomial", "gamma", "student"])  # counts: in the test below
def test_from_nothing(family):
    phi, y, trials = drawn(family, n=300)
    fitted = fit(phi, y, 2, jax.random.key(0), **FEW, **options(family), **trials)
    check_optimum(fitted, family, phi, y, trials)


@pytest.mark.slow
def test_the_number_of_components_of_counts():
    """Padded rows and components, grown starts and the criteria; draws of the fit have its means."""
    phi, y, _ = drawn("poisson", n=300)
    chosen = select(phi, y, jax.random.key(1), range(1, 4), family="poisson", **FEW)
    assert chosen.best.mixture.weights.shape == (2,)
    check_optimum(chosen.best, "poisson", phi, y, {})
    assert np.all(np.diff([each.log_likelihood for each in chosen.fits]) > -1e-6)
    assert_allclose(chosen.bic[1], -2 * chosen.fits[1].log_likelihood + 5 * np.log(300), rtol=1e-12)
    keys = jax.random.split(jax.random.key(2), 400)
    draws = jax.vmap(lambda key: responses(key, chosen.best, jnp.asarray(phi[:20])))(keys)
    assert_allclose(draws.mean(axis=0), predict(chosen.best, phi[:20]), rtol=0.25)
    assert np.all(draws == np.floor(draws))


@pytest.mark.slow
def test_groups_concomitants_and_common_coefficients_of_counts():
    """Together, every step raises the likelihood; with the truth known, errors are a few standard errors."""
    rng = np.random.default_rng(3)
    group, w = np.repeat(np.arange(60), 5), np.repeat(rng.normal(size=60), 5)
    z, phi = np.column_stack([np.ones(300), w]), np.column_stack([np.ones(300), rng.normal(size=(300, 2))])
    beta = np.array([[0.2, 0.5, 0.3], [1.2, -0.5, 0.3]])
    label = (rng.random(60) < special.expit(1.5 * w[::5])).astype(int)[group]
    y = rng.poisson(np.exp(np.sum(phi * beta[label], axis=1))).astype(float)
    start = Mixture(np.array([[0.0, 0.1, 0.0], [1.0, -0.1, 0.0]]), np.array([0.5, 0.5]), np.ones(2))
    told = {"groups": group, "concomitant": z}
    fitted = em(phi, y, start, family="poisson", common=[2], **told, **EXACT)
    assert np.all(np.diff(fitted.trace) > -1e-9)
    assert fitted.result == "converged"
    matrix = covariance(fitted, phi, y, **told)
    assert np.all(np.abs(fitted.mixture.coefficients - beta) < 4 * errors_of(fitted, matrix).coefficients)
    assert np.abs(fitted.gate[1, 1] - 1.5) < 4 * gate_errors(fitted, matrix)[1, 1]
    assert np.mean(posterior(fitted, phi, y, **told).argmax(axis=1) != label) < 0.05


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
