"""Standard errors, intervals, bands, criteria and agreement."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture
from jaxmlr.batch import (
    aic,
    bands,
    bic,
    confidence_intervals,
    covariance,
    em,
    icl,
    standard_errors,
)
from jaxmlr.evaluation.agreement import adjusted_rand_index, match, misclassification

FAST = {"sim_pitch", "sim_pitch__equalvar", "sim_k2_d2"}
NAMES = [
    "sim_pitch",
    "sim_pitch__equalvar",
    "sim_curve",
    "sim_factors",
    "sim_small",
    "sim_small__equalvar",
    "sim_k2_d2",
    "engel",
]


def optimum(oracles, datasets, name):
    answers, phi, y = datasets.oracle(oracles, name)
    fit = em(
        phi, y, datasets.mixture(answers["mle"]), equal_variance=answers["equal_variance"], tolerance=1e-11
    )
    return answers, phi, y, fit


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST)) for name in NAMES]
)
def test_standard_errors_and_criteria(oracles, datasets, name):
    answers, phi, y, fit = optimum(oracles, datasets, name)
    wanted = answers["observed_information"]
    errors = standard_errors(fit, phi, y)
    assert_allclose(errors.coefficients, wanted["se_beta"], rtol=1e-5)
    assert_allclose(
        errors.noise_variance / (2 * np.sqrt(fit.mixture.noise_variance)), wanted["se_sigma"], rtol=1e-5
    )
    assert_allclose(errors.weights[:-1], np.ravel(wanted["se_lambda"]), rtol=1e-5)

    best = answers["mle"]
    n = len(y)
    assert_allclose(aic(fit), best["AIC"], rtol=1e-9)
    assert_allclose(bic(fit, n), best["BIC"], rtol=1e-9)
    assert_allclose(icl(fit, phi, y), best["ICL_map"], rtol=1e-8)
    assert_allclose(icl(fit, phi, y, form="entropy"), best["ICL_entropy"], rtol=1e-8)
    if "clustering" in answers:
        truth = datasets.table(oracles / answers["csv"])["label"].astype(int) - 1
        labels = fit.mixture.labels(phi, y)
        components = len(best["lambda"])
        known = answers["clustering"]
        assert_allclose(adjusted_rand_index(labels, truth, components), known["adjustedRandIndex"], rtol=1e-9)
        assert_allclose(misclassification(labels, truth, components), known["misclassification"], rtol=1e-9)


def test_standard_errors_by_complex_steps(oracles, datasets):
    """The score by hand, differentiated along imaginary steps of 1e-30: no cancellation, no JAX."""
    _, phi, y, fit = optimum(oracles, datasets, "sim_curve")
    theta = np.concatenate([np.ravel(leaf) for leaf in fit.mixture])
    theta = np.delete(theta, 7)  # the second weight follows from the first

    def score(t):
        beta, weights, variance = t[:6].reshape(2, 3), np.array([t[6], 1 - t[6]]), t[7:]
        error = y[:, None] - phi @ beta.T
        joint = np.log(weights) - 0.5 * np.log(variance) - 0.5 * error**2 / variance
        share = np.exp(joint - joint.real.max(axis=1, keepdims=True))
        share = share / share.sum(axis=1, keepdims=True)
        by_weight = np.sum(share[:, 0] / weights[0] - share[:, 1] / weights[1])
        by_variance = np.sum(share * (error**2 / variance - 1) / (2 * variance), axis=0)
        return np.concatenate([((share * error / variance).T @ phi).ravel(), [by_weight], by_variance])

    hessian = np.array([np.imag(score(theta + 1e-30j * unit)) / 1e-30 for unit in np.eye(9)])
    wanted = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    errors = standard_errors(fit, phi, y)
    assert_allclose(np.ravel(errors.coefficients), wanted[:6], rtol=1e-8)
    assert_allclose(errors.weights, wanted[6], rtol=1e-8)
    assert_allclose(errors.noise_variance, wanted[7:], rtol=1e-8)


def test_standard_errors_of_mixreg(oracles, datasets):
    """Louis's analytic information, an independent derivation."""
    answers, phi, y, fit = optimum(oracles, datasets, "engel")
    wanted = answers["mixreg"]
    errors = standard_errors(fit, phi, y)
    lines = np.array(wanted["parmat"])[:, 1]
    order = np.argsort(np.argsort(lines))  # mixreg's component j is ours order[j]
    for label, value in zip(wanted["se_names"], wanted["se"], strict=True):
        field, _, component = label.partition(".")
        k = order[int(component) - 1] if component else None
        ours = {
            "beta0": lambda k=k: errors.coefficients[k, 0],
            "beta1": lambda k=k: errors.coefficients[k, 1],
            "sigsq": lambda k=k: errors.noise_variance if k is None else errors.noise_variance[k],
            "lambda": lambda k=k: errors.weights[k],
        }[field]()
        assert_allclose(ours, value, rtol=1e-5)


def test_symmetric_standard_errors(oracles, datasets):
    answers, phi, y = datasets.oracle(oracles, "sym_iid_d3")
    beta = np.array(answers["mle_p_sigma_known"]["beta"])
    start = Mixture(np.stack([beta, -beta]), np.array([0.7, 0.3]), np.array(1.0))
    known = {"known_weights": True, "known_variance": True, "tie": "symmetric"}
    fit = em(phi, y, start, tolerance=1e-11, **known)
    errors = standard_errors(fit, phi, y)
    assert_allclose(errors.coefficients[0], answers["mle_p_sigma_known"]["se"], rtol=1e-5)
    assert_allclose(errors.coefficients[1], errors.coefficients[0])
    assert np.isnan(errors.weights).all()
    assert np.isnan(errors.noise_variance)
    assert_allclose(aic(fit), -2 * fit.log_likelihood + 2 * 3)


TRUTH = Mixture(np.array([[1.0, 2.0], [-1.0, -1.0]]), np.array([0.6, 0.4]), np.array([0.25, 0.5]))


def draw(key, n, dtype=float, scale=None):
    kx, kz, kw = jax.random.split(key, 3)
    x = jax.random.normal(kx, (n,), dtype)
    phi = jnp.stack([jnp.ones(n, dtype), x], axis=1)
    label = (jax.random.uniform(kz, (n,)) >= 0.6).astype(jnp.int32)
    noise = jax.random.normal(kw, (n,), dtype) * jnp.sqrt(jnp.asarray(TRUTH.noise_variance))[label]
    if scale is not None:
        noise = noise * scale(x)
    return phi, jnp.sum(phi * jnp.asarray(TRUTH.coefficients)[label], axis=1) + noise


@pytest.mark.slow
def test_intervals_cover():
    """95 % +- 1 % over every kind of entry: 3,000 data sets of 400 rows, 9 entries each."""

    def covered(key):
        phi, y = draw(key, 400)
        fit = em(phi, y, jax.tree.map(jnp.asarray, TRUTH), max_iterations=100, tolerance=1e-5)
        low, high = confidence_intervals(fit, standard_errors(fit, phi, y))
        return jax.tree.map(lambda a, t, b: (a <= t) & (t <= b), low, jax.tree.map(jnp.asarray, TRUTH), high)

    keys = jax.random.split(jax.random.key(0), 3000)
    hits = jax.jit(lambda keys: jax.lax.map(covered, keys, batch_size=50))(keys)
    assert abs(float(jnp.mean(hits.coefficients)) - 0.95) < 0.01
    assert abs(float(jnp.mean(hits.weights)) - 0.95) < 0.01
    assert abs(float(jnp.mean(hits.noise_variance)) - 0.95) < 0.01


@pytest.mark.slow
def test_sandwich_agrees_where_the_model_holds_and_differs_where_not():
    phi, y = draw(jax.random.key(1), 20_000)
    fit = em(phi, y, TRUTH)
    plain = standard_errors(fit, phi, y)
    robust = standard_errors(fit, phi, y, form="sandwich")
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=0.1), robust, plain)
    one = Mixture(np.array([[0.0, 0.0]]), np.array([1.0]), np.array(1.0))
    phi, y = draw(jax.random.key(1), 20_000, scale=lambda x: 1 + jnp.abs(x))
    fit = em(phi, y, one)
    robust = standard_errors(fit, phi, y, form="sandwich")
    # One component is least squares: White's heteroscedasticity-consistent form, by hand.
    bread = np.linalg.inv(phi.T @ phi)
    residual = np.asarray(y - phi @ fit.mixture.coefficients[0])
    hand = bread @ ((phi * (residual**2)[:, None]).T @ phi) @ bread
    assert_allclose(robust.coefficients[0], np.sqrt(np.diag(hand)), rtol=1e-6)


def test_bands():
    phi, y = draw(jax.random.key(2), 500)
    fit = em(phi, y, TRUTH)
    matrix = covariance(fit, phi, y)
    low, high = bands(fit, matrix, phi[:3])
    errors = standard_errors(fit, phi, y)
    at_zero = bands(fit, matrix, np.array([[1.0, 0.0]]))
    assert_allclose(at_zero[1] - at_zero[0], 2 * 1.959964 * errors.coefficients[:, 0][None], rtol=1e-6)
    assert low.shape == high.shape == (3, 2)
    assert_allclose((low + high) / 2, fit.mixture.linear_predictors(phi[:3]), rtol=1e-10)
    with pytest.raises(ValueError, match=r"level must be greater than 0 and less than 1"):
        bands(fit, matrix, phi, level=95)


def test_weights_and_mask_reach_inference():
    phi, y = draw(jax.random.key(3), 300)
    times = np.arange(300) % 3
    fit = em(phi, y, TRUTH, row_weights=times)
    repeated = (np.repeat(phi, times, axis=0), np.repeat(y, times))
    assert_allclose(
        covariance(fit, phi, y, row_weights=times, form="sandwich"),
        covariance(fit, *repeated, form="sandwich"),
        rtol=1e-7,
        atol=1e-12,
    )
    assert_allclose(
        icl(fit, phi, y, row_weights=times, mask=np.ones(300, bool)), icl(fit, *repeated), rtol=1e-9
    )


def test_agreement():
    truth = np.array([0, 0, 1, 1, 2, 2, 2, 0])
    renamed = np.array([2, 2, 0, 0, 1, 1, 1, 2])
    assert float(misclassification(renamed, truth, 3)) == 0
    assert float(adjusted_rand_index(renamed, truth, 3)) == 1
    wrong = renamed.copy()
    wrong[0] = 1
    assert_allclose(misclassification(wrong, truth, 3), 1 / 8)
    assert float(adjusted_rand_index(np.zeros(8, int), np.zeros(8, int), 3)) == 1
    assert_allclose(adjusted_rand_index(np.zeros(8, int), truth, 3), 0, atol=1e-12)
    batch = jax.vmap(lambda a: misclassification(a, truth, 3))(np.stack([renamed, wrong]))
    assert_allclose(batch, [0, 1 / 8])
    swapped = Mixture(*(np.asarray(leaf)[::-1] for leaf in TRUTH))
    jax.tree.map(assert_allclose, match(swapped, TRUTH), TRUTH)
    with pytest.raises(ValueError, match="labels must be at least 0 and less than 2"):
        misclassification(truth, truth, 2)


def test_one_component_has_weight_one_without_doubt():
    rng = np.random.default_rng(0)
    phi = np.column_stack([np.ones(40), rng.normal(size=40)])
    y = phi @ np.array([1.0, 2.0]) + rng.normal(size=40)
    fit = em(phi, y, Mixture(np.zeros((1, 2)), np.ones(1), np.ones(1)))
    low, high = confidence_intervals(fit, standard_errors(fit, phi, y))
    for end in (low, high):
        assert_allclose(end.weights, [1.0], rtol=0)
        assert np.isfinite(end.coefficients).all()
