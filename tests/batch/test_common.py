"""Common, known and partly equal coefficients, and classes of variances: R's answers and derivatives."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture, symmetric
from jaxmlr.batch import aic, bic, covariance, em, fit, gradient, hard_em, icl, standard_errors
from jaxmlr.batch.constraints import constraints_of
from jaxmlr.data.datasets import load_panel

EXACT = {"max_iterations": 5000, "tolerance": 1e-12}
NESTED = {"common": [[0, 0, 0], [1, 1, 0], [1, 2, 0]], "equal_variance": [0, 1, 1]}


@pytest.fixture(scope="module")
def panel(oracles):
    columns = load_panel().columns
    return SimpleNamespace(
        phi=np.column_stack([np.ones(300), columns["x"], columns["z"]]),
        y=columns["y"],
        start=Mixture(np.array([[1, -1, 0.7], [-1, 1, 0.7]]), np.array([0.5, 0.5]), np.array([0.7, 0.7])),
        answers=json.loads((oracles / "sim_panel.json").read_text()),
    )


@pytest.fixture(scope="module")
def three():
    """Three lines: one slope is common to the last two, one to all, and so is a variance to the last two."""
    rng = np.random.default_rng(4)
    phi = np.column_stack([np.ones(600), rng.standard_normal((600, 2))])
    beta = np.array([[2.0, 2.0, 1.0], [-2.0, -1.0, 1.0], [-2.0, 1.0, 1.0]])
    label = rng.integers(0, 3, 600)
    y = np.sum(phi * beta[label], axis=1) + np.array([0.6, 0.3, 0.3])[label] * rng.standard_normal(600)
    start = Mixture(beta, np.full(3, 1 / 3), np.array([0.4, 0.1, 0.1]))
    return SimpleNamespace(phi=phi, y=y, start=start)


def test_flexmix_with_a_common_coefficient_and_variance(panel):
    wanted = panel.answers["common_variance"]
    # flexmix counts the coefficients of one component in the 2 n rows of its stacked design
    result = em(panel.phi, panel.y, panel.start, common=[2], equal_variance=True, ddof=1.5, **EXACT)
    assert_allclose(result.mixture.coefficients, np.array(wanted["beta"])[:, [1, 2, 0]], rtol=1e-9)
    assert_allclose(np.sqrt(result.mixture.noise_variance), wanted["sigma"][0], rtol=1e-9)
    assert_allclose(result.mixture.weights, wanted["lambda"], rtol=1e-9)
    assert_allclose(result.log_likelihood, wanted["loglik"], rtol=1e-12)
    assert_allclose(bic(result, 300), wanted["BIC"], rtol=1e-12)
    assert_allclose(icl(result, panel.phi, panel.y), wanted["ICL"], rtol=1e-10)


@pytest.mark.slow
def test_flexmix_with_a_common_coefficient(panel):
    """flexmix does not weigh components by their precision: its answer is near the maximum, and below it."""
    wanted = panel.answers["common"]
    mask = np.array([False, False, True])
    result = em(panel.phi, panel.y, panel.start, common=mask, ddof=3, **EXACT)
    assert_allclose(result.mixture.coefficients, np.array(wanted["beta"])[:, [1, 2, 0]], atol=2e-4)
    assert_allclose(bic(result, 300), wanted["BIC"], rtol=1e-7)
    likeliest = em(panel.phi, panel.y, panel.start, common=[2], **EXACT)
    assert np.all(np.diff(likeliest.trace) > -1e-9)
    assert likeliest.log_likelihood > wanted["loglik"]
    other = gradient(panel.phi, panel.y, panel.start, common=[-1], tolerance=1e-8)
    assert_allclose(other.mixture.coefficients, likeliest.mixture.coefficients, rtol=1e-6)


def nested(theta):
    """Coefficients, log weights and variances of the nine free numbers of `NESTED`, and two log-odds."""
    a, b, c, d, e, f, g, h = theta[:8]
    beta = jnp.array([[a, b, c], [d, e, c], [d, f, c]])
    return beta, jax.nn.log_softmax(jnp.append(theta[8:], 0.0)), jnp.exp(jnp.array([g, h, h]))


def log_likelihood(theta, data):
    """As it is written."""
    beta, log_weights, variance = nested(theta)
    error = data.y[:, None] - data.phi @ beta.T
    density = -0.5 * (jnp.log(2 * jnp.pi * variance)[None] + error**2 / variance[None])
    return jnp.sum(jax.nn.logsumexp(density + log_weights[None], axis=1))


@pytest.mark.slow
def test_nested_terms_have_the_derivatives_of_the_likelihood(three):
    result = em(three.phi, three.y, three.start, **NESTED, **EXACT)
    assert result.result == "converged"
    assert np.all(np.diff(result.trace) > -1e-9)
    beta, weights, variance = (np.asarray(leaf) for leaf in result.mixture)
    odds = np.log(weights[:2] / weights[2])
    theta = np.r_[beta[0], beta[1, :2], beta[2, 1], np.log(variance[:2]), odds]
    assert_allclose(nested(theta)[0], beta)
    assert_allclose(nested(theta)[2], variance)
    assert_allclose(result.log_likelihood, log_likelihood(theta, three), rtol=1e-12)
    assert_allclose(jax.grad(log_likelihood)(theta, three), 0, atol=1e-5)
    assert_allclose(aic(result), -2 * result.log_likelihood + 2 * len(theta), rtol=1e-12)
    inverse = jnp.linalg.inv(-jax.hessian(log_likelihood)(theta, three))
    matrix = covariance(result, three.phi, three.y)
    a, b, c, d, e, f = range(6)
    own = np.array([a, b, c, d, e, c, d, f, c])
    assert_allclose(matrix[:9, :9], inverse[np.ix_(own, own)], rtol=1e-6, atol=1e-12)
    spread = variance * np.sqrt(np.diag(inverse)[[6, 7, 7]])
    assert_allclose(standard_errors(result, three.phi, three.y).noise_variance, spread, rtol=1e-6)


@pytest.mark.slow
def test_a_known_coefficient_is_an_offset(panel):
    """The fit is that of the response less the known part."""
    start = panel.start._replace(coefficients=np.array([[1, -1, 0.75], [-1, 1, 0.75]]))
    held = np.array([False, False, True])
    result = em(panel.phi, panel.y, start, known_coefficients=held, **EXACT)
    less = start._replace(coefficients=start.coefficients[:, :2])
    y = panel.y - 0.75 * panel.phi[:, 2]
    wanted = em(panel.phi[:, :2], y, less, **EXACT)
    assert_allclose(result.log_likelihood, wanted.log_likelihood, rtol=1e-12)
    assert_allclose(result.mixture.coefficients[:, :2], wanted.mixture.coefficients, rtol=1e-9)
    assert_allclose(result.mixture.coefficients[:, 2], 0.75)
    assert_allclose(bic(result, 300), bic(wanted, 300), rtol=1e-12)
    errors = standard_errors(result, panel.phi, panel.y)
    assert_allclose(errors.coefficients[:, :2], standard_errors(wanted, panel.phi[:, :2], y).coefficients)
    assert np.all(np.isnan(errors.coefficients[:, 2]))


@pytest.mark.slow
def test_from_a_cold_start(panel, three):
    key = jax.random.key(0)
    wanted = em(panel.phi, panel.y, panel.start, common=[2], **EXACT)
    chosen = fit(panel.phi, panel.y, 2, key, common=[2])
    assert_allclose(chosen.log_likelihood, wanted.log_likelihood, rtol=1e-9)
    assert chosen.mixture.coefficients[0, 1] < chosen.mixture.coefficients[1, 1]
    assert_allclose(bic(chosen, 300), -2 * wanted.log_likelihood + 8 * np.log(300), rtol=1e-9)
    wanted = em(three.phi, three.y, three.start, **NESTED, **EXACT)
    result = fit(three.phi, three.y, 3, key, **NESTED)
    assert_allclose(result.log_likelihood, wanted.log_likelihood, rtol=1e-9)
    known = np.array([[2.0, np.nan, np.nan], [np.nan, np.nan, 1.0], [np.nan, 1.0, np.nan]])
    result = fit(three.phi, three.y, 3, key, coefficients=known)
    start = three.start._replace(coefficients=np.where(np.isnan(known), three.start.coefficients, known))
    wanted = em(three.phi, three.y, start, known_coefficients=~np.isnan(known), **EXACT)
    assert_allclose(result.log_likelihood, wanted.log_likelihood, rtol=1e-9)
    assert_allclose(result.mixture.coefficients, wanted.mixture.coefficients, atol=1e-5)


@pytest.mark.slow
def test_all_columns_in_common_are_a_tie(panel):
    options = {"max_iterations": 5, "tolerance": 0.0}
    for method in (em, hard_em):
        tied = method(panel.phi, panel.y, panel.start, tie="common", **options)
        common = method(panel.phi, panel.y, panel.start, common=[0, 1, 2], **options)
        assert_allclose(common.mixture.coefficients, tied.mixture.coefficients, rtol=1e-12)
        assert aic(common) == aic(tied)


def test_a_layout_serves_with_64_bits_and_without():
    """It is kept from the first call to the second, in whichever width that is."""
    rng = np.random.default_rng(0)
    phi, y = rng.normal(size=(60, 2)), rng.normal(size=60)
    for wide in (True, False):
        with jax.enable_x64(wide):
            result = em(phi, y, symmetric(np.array([1.0, -1.5]), 0.7), max_iterations=5, tie="symmetric")
        assert result.log_likelihood.dtype == (np.float64 if wide else np.float32)
        first, second = result.mixture.coefficients
        assert_allclose(first, -second)


def test_how_many_are_free():
    def count(components=3, d=4, **given):
        return constraints_of(components, d, **given).parameters(components, d)

    assert count() == 12 + 2 + 3
    assert count(common=[0, 2]) == 2 + 6 + 2 + 3
    assert count(common=np.array([True, False, False, True])) == 2 + 6 + 2 + 3
    assert count(common=[[0] * 4, [1, 1, 1, 0], [1] * 4]) == 8 + 2 + 3
    assert count(held=[True, False, False, False]) == 9 + 2 + 3
    assert count(held=[True] * 4, equal_variance=[0, 1, 0]) == 0 + 2 + 2
    assert count(equal_variance=[5, 5, 5]) == count(equal_variance=True) == 12 + 2 + 1
    assert count(equal_variance=[5, 3, 4]) == 12 + 2 + 3
    assert count(1, common=[0, 1]) == 4 + 0 + 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"common": [3]}, "common must be columns from 0 to 2"),
        ({"common": [0.5]}, "common must be columns from 0 to 2"),
        ({"common": [True, False]}, "common must be columns from 0 to 2"),
        ({"common": [[0, 0, 0]]}, "common must be columns from 0 to 2"),
        ({"common": [0], "tie": "symmetric"}, "tie must be 'none' with common or known coefficients"),
        ({"equal_variance": [0, 0, 1]}, "equal_variance must be True, False or integers of shape"),
        ({"known_coefficients": [0, 1, 0]}, "known_coefficients must be boolean of shape"),
        ({"common": [0], "known_coefficients": [[True] * 3, [False] * 3]}, "known for all components"),
    ],
)
def test_bad_restrictions(panel, given, message):
    with pytest.raises(ValueError, match=message):
        em(panel.phi, panel.y, panel.start, **given)


def test_bad_known_coefficients(panel):
    for bad in (np.full(2, np.nan), np.array([np.inf, 0, 0])):
        with pytest.raises(ValueError, match="coefficients must be numbers, or NaN, of shape"):
            fit(panel.phi, panel.y, 2, jax.random.key(0), coefficients=bad)
