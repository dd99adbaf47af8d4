"""Gradients reach EM's optimum; plain descent is gradient EM."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture
from jaxmlr.batch import em, gradient

TRUTH = Mixture(np.array([[1.0, 2.0], [-1.0, 0.5]]), np.array([0.6, 0.4]), np.array([0.25, 0.5]))
START = Mixture(np.array([[0.5, 1.0], [-0.5, 1.0]]), np.array([0.5, 0.5]), np.array([1.0, 1.0]))


def draw(n=300, scale=1.0):
    rng = np.random.default_rng(0)
    phi = np.column_stack([np.ones(n), scale * rng.normal(size=n)])
    label = (rng.random(n) >= TRUTH.weights[0]).astype(int)
    beta = TRUTH.coefficients / np.array([1.0, scale])
    y = np.sum(phi * beta[label], axis=1) + np.sqrt(TRUTH.noise_variance[label]) * rng.normal(size=n)
    return phi, y


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_lbfgs_reaches_the_optimum_in_any_units(scale):
    phi, y = draw(scale=scale)
    start = START._replace(coefficients=START.coefficients / np.array([1.0, scale]))
    wanted = em(phi, y, start, tolerance=1e-11)
    fitted = gradient(phi, y, start)
    assert bool(fitted.converged)
    assert int(fitted.iterations) < 100
    assert_allclose(fitted.log_likelihood, wanted.log_likelihood, rtol=1e-11)
    assert_allclose(fitted.mixture.coefficients, wanted.mixture.coefficients, rtol=1e-5)
    assert_allclose(fitted.trace[-1], fitted.mixture.log_likelihood(phi, y), rtol=1e-11)


def test_adam_with_known_parts_masks_and_weights():
    phi, y = draw()
    keep, times = np.arange(300) < 250, np.arange(300) % 3
    known = {"known_weights": True, "known_variance": True, "mask": keep, "row_weights": times}
    hidden = np.where(keep, y, np.nan)
    wanted = em(phi, hidden, TRUTH, tolerance=1e-11, **known)
    fitted = gradient(phi, hidden, TRUTH, optax.adam(0.01), tolerance=1e-7, **known)
    assert bool(fitted.converged)
    assert_allclose(fitted.mixture.coefficients, wanted.mixture.coefficients, rtol=1e-5)
    assert_allclose(fitted.mixture.weights, TRUTH.weights)


def test_plain_descent_is_gradient_em():
    phi, y = draw()
    known = {"known_weights": True, "known_variance": True}
    fitted = gradient(phi, y, START, optax.sgd(0.1), max_iterations=1, **known)
    posterior = START.posterior(phi, y)
    error = y[:, None] - phi @ START.coefficients.T
    surrogate = (posterior * error / START.noise_variance[None]).T @ phi / len(y)
    unit = np.sqrt(np.mean(y**2)) / np.sqrt(np.mean(phi**2, axis=0))
    assert_allclose(
        fitted.mixture.coefficients, START.coefficients + 0.1 * surrogate * unit[None] ** 2, rtol=1e-10
    )


@pytest.mark.slow
def test_tied_common_variance_single_precision_and_batches():
    phi, y = draw()
    start = Mixture(np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([0.6, 0.4]), np.array(1.0))
    wanted = em(phi, y, start, tie="symmetric", equal_variance=True, tolerance=1e-10)
    fitted = gradient(phi, y, start, tie="symmetric")
    assert_allclose(fitted.log_likelihood, wanted.log_likelihood, rtol=1e-10)
    single = jax.tree.map(lambda x: x.astype(np.float32), start)
    batch = jax.vmap(lambda y: gradient(phi.astype(np.float32), y, single, max_iterations=50))(
        jnp.stack([y, y + 1]).astype(np.float32)
    )
    assert batch.log_likelihood.dtype == np.float32
    assert np.all(np.isfinite(batch.log_likelihood))


def test_bad_arguments_are_named():
    phi, y = draw()
    with pytest.raises(ValueError, match="start must have 2 coefficients a component, not 3"):
        gradient(phi, y, START._replace(coefficients=np.ones((2, 3))))
    with pytest.raises(ValueError, match="tolerance must be at least 0"):
        gradient(phi, y, START, tolerance=-1.0)
