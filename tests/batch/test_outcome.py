"""A fit knows how it was made and how it ended."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture, symmetric
from jaxmlr.batch import Constraints, Fit, bic, em, gradient, icl, standard_errors
from jaxmlr.batch.select import parameters


def draw(n=300, seed=1):
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(n, 2))
    return phi, rng.choice([1, -1], n, p=[0.6, 0.4]) * (phi @ np.array([1.0, -1.5])) + rng.normal(size=n)


START = symmetric(np.array([1.0, -1.0]), 0.6)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 4 + 1 + 2),
        ({"equal_variance": True}, 4 + 1 + 1),
        ({"tie": "symmetric", "known_weights": True, "equal_variance": True}, 2 + 1),
        ({"tie": "symmetric", "known_weights": True, "known_variance": True}, 2),
        ({"tie": "common"}, 2 + 1 + 2),
    ],
    ids=str,
)
def test_criteria_count_what_was_estimated(options, count):
    phi, y = draw()
    fit = em(phi, y, START, max_iterations=5, **options)
    assert fit.constraints == Constraints(**options)
    assert parameters(fit) == count
    assert_allclose(bic(fit, 300), -2 * fit.log_likelihood + count * np.log(300))
    doubt = -2 * np.sum(np.log(np.max(fit.mixture.posterior(phi, y), axis=1)))
    assert_allclose(icl(fit, phi, y), bic(fit, 300) + doubt)


@pytest.mark.slow
def test_known_weights_have_no_standard_error_and_sharpen_the_others():
    phi, y = draw()
    known = em(phi, y, START, tie="symmetric", known_weights=True, equal_variance=True, tolerance=1e-12)
    free = em(phi, y, START, tie="symmetric", equal_variance=True)
    errors = standard_errors(known, phi, y)
    assert np.isnan(errors.weights).all()
    assert np.isfinite(errors.coefficients).all()
    assert np.all(errors.coefficients < standard_errors(free, phi, y).coefficients)
    # By differences of the likelihood in the three numbers that are free.

    def likelihood(theta):
        return symmetric(theta[:2], 0.6, theta[2]).log_likelihood(phi, y)

    theta = jnp.append(known.mixture.coefficients[0], known.mixture.noise_variance)
    wanted = np.sqrt(np.diag(np.linalg.inv(-jax.hessian(likelihood)(theta))))
    assert_allclose(errors.coefficients[0], wanted[:2], rtol=1e-7)
    assert_allclose(errors.noise_variance, wanted[2], rtol=1e-7)


@pytest.mark.slow
def test_errors_see_the_outlier_density_and_the_ridge():
    phi, y = draw()
    start = Mixture(np.zeros((1, 2)), np.ones(1), np.ones(()))
    options = {"outlier_density": 0.01, "ridge": 3.0, "equal_variance": True, "tolerance": 1e-12}
    fit = em(phi, y, start, **options)

    def objective(theta):
        beta, variance = theta[:2], theta[2]
        error = y - phi @ beta
        density = jnp.exp(-(error**2) / (2 * variance)) / jnp.sqrt(2 * jnp.pi * variance)
        return jnp.sum(jnp.log(0.01 + density)) - 3.0 * jnp.sum(beta**2) / (2 * variance)

    theta = jnp.append(fit.mixture.coefficients[0], fit.mixture.noise_variance)
    assert np.abs(jax.grad(objective)(theta)).max() < 1e-6
    wanted = np.sqrt(np.diag(np.linalg.inv(-jax.hessian(objective)(theta))))
    errors = standard_errors(fit, phi, y)
    assert_allclose(np.append(errors.coefficients[0], errors.noise_variance), wanted, rtol=1e-9)


def test_constraints_pass_through_jit_vmap_and_tree_map():
    phi, y = draw()
    options = {"tie": "symmetric", "known_weights": True}

    def method(y):
        return em(phi, y, START, max_iterations=40, **options)

    fits = jax.jit(jax.vmap(method))(np.stack([y, 1e3 * y]))
    assert isinstance(fits, Fit)
    first = jax.tree.map(lambda leaf: leaf[0], fits)
    assert fits.constraints == first.constraints == Constraints(**options)
    assert_allclose(jax.jit(bic)(first, 300), bic(method(y), 300))
    assert bic(fits, 300).shape == (2,)
    assert fits.result.tolist() == ["converged", "converged"]
    assert jax.tree.map(np.asarray, first).result == "converged"


def test_the_result_is_read_outside_of_transformations():
    with pytest.raises(ValueError, match="result must be read outside of jit and vmap"):
        jax.jit(lambda y: em(draw()[0], y, START).result)(draw()[1])


def exact_lines():
    rng = np.random.default_rng(0)
    phi = np.column_stack([np.ones(60), rng.normal(size=60)])
    lines = np.array([[1.0, 2.0], [-1.0, -1.0]])
    start = Mixture(lines + 0.1, np.array([0.5, 0.5]), np.array([0.1, 0.1]))
    return phi, np.sum(phi * lines[np.arange(60) % 2], axis=1), start


@pytest.mark.parametrize("method", [em, gradient])
def test_a_search_says_where_it_ran_out_of_steps(method):
    fit = method(*draw(), START, max_iterations=2)
    assert not fit.converged
    assert fit.result == "ran out of steps"


def test_a_variance_on_its_floor_is_said_and_has_no_errors():
    phi, y, start = exact_lines()
    fit = em(phi, y, start, variance_floor=1e-6)
    assert fit.result == "converged; a variance rests on its floor"
    errors = standard_errors(fit, phi, y)
    assert np.isnan(errors.coefficients).all()
    assert np.isnan(errors.noise_variance).all()


@pytest.mark.parametrize("scale", [(1e-20, 1e-20), (1.0, 1e-20), (1e-20, 1.0), (1.0, 1e25)])
def test_squares_out_of_range_are_not_convergence(scale):
    phi, y = draw()
    single = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), START)
    fit = em(np.float32(phi * scale[0]), np.float32(y * scale[1]), single, max_iterations=20)
    assert not fit.converged
    assert "squares of the rows leave the range of their dtype" in fit.result


def test_fits_made_by_hand_have_words_too():
    fit = Fit(START, jnp.zeros(()), jnp.zeros(1), jnp.zeros((), jnp.int32), jnp.asarray(True))
    assert fit.result == "converged"
    assert fit._replace(converged=jnp.asarray(False)).result == "ran out of steps"
