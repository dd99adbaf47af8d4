"""The number of components."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture
from jaxmlr.batch import Fit, bic, bootstrap_test, em, select
from jaxmlr.batch.outcome import BITS
from jaxmlr.batch.select import _least, _warn_where_likelihood_falls

TRUTH = Mixture(np.array([[1.0, 2.0], [-1.0, -1.0]]), np.array([0.6, 0.4]), np.array([0.25, 0.25]))
KINDS = {"random_lines": 6}


def draw(n=200):
    rng = np.random.default_rng(4)
    phi = np.column_stack([np.ones(n), rng.normal(size=n)])
    label = (rng.random(n) >= 0.6).astype(int)
    return phi, np.sum(phi * TRUTH.coefficients[label], axis=1) + 0.5 * rng.normal(size=n)


@pytest.mark.slow
def test_select_finds_two():
    phi, y = draw()
    chosen = select(phi, y, jax.random.key(0), (1, 2), starts=KINDS)
    assert chosen.best.mixture.weights.shape == (2,)
    assert chosen.components == (1, 2)
    assert chosen.aic.shape == chosen.bic.shape == chosen.icl.shape == (2,)
    wanted = em(phi, y, TRUTH)
    assert_allclose(chosen.bic[1], bic(wanted, len(y)), rtol=1e-8)
    beta = np.linalg.lstsq(phi, y)[0]
    variance = np.mean((y - phi @ beta) ** 2)
    assert_allclose(chosen.fits[0].mixture.coefficients[0], beta, rtol=1e-9)
    assert_allclose(chosen.fits[0].log_likelihood, -100 * (np.log(2 * np.pi * variance) + 1), rtol=1e-10)
    with pytest.raises(ValueError, match="criterion must be one of 'aic', 'bic', 'icl', not 'best'"):
        select(phi, y, jax.random.key(0), criterion="best")
    with pytest.raises(ValueError, match="components must hold at least one number"):
        select(phi, y, jax.random.key(0), ())


@pytest.mark.slow
def test_bootstrap_rejects_one_component_and_keeps_its_own():
    phi, y = draw()
    test = bootstrap_test(phi, y, 1, jax.random.key(0), replicates=19, starts=KINDS)
    assert_allclose(test.p_value, 1 / 20)
    one = phi @ np.array([1.0, 2.0]) + np.random.default_rng(9).normal(size=len(phi))
    test = bootstrap_test(phi, one, 1, jax.random.key(0), replicates=19, starts=KINDS)
    assert float(test.p_value) > 0.05
    assert test.simulated.shape == (19,)
    assert np.all(test.simulated > -1e-6)


def fit_with(likelihood, spurious=False):
    ending = jnp.int32(BITS["spurious"] if spurious else 0)
    return Fit(TRUTH, likelihood, jnp.zeros(1), jnp.int32(3), jnp.asarray(True), ending=ending)


def test_a_refused_fit_is_not_the_best_one():
    fits = [fit_with(-10.0), fit_with(-5.0, spurious=True), fit_with(-9.0)]
    assert _least(jnp.array([3.0, 1.0, 2.0]), fits) is fits[2]
    assert _least(jnp.array([3.0, 1.0]), [fit_with(-1.0, True), fit_with(-2.0, True)]).log_likelihood == -2.0


def test_it_is_said_where_the_likelihood_falls_with_more_components():
    _warn_where_likelihood_falls((1, 2, 3), [fit_with(-10.0), fit_with(-8.0, spurious=True), fit_with(-9.0)])
    with pytest.warns(RuntimeWarning, match="falls from -10 with 1 components to -11 with 2"):
        _warn_where_likelihood_falls((2, 1), [fit_with(-11.0), fit_with(-10.0)])
