"""Least squares without a prior: exact on data whose answer is known, in any units, from the first row on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import least_squares, run
from jaxmlr.recursive.triangular import UNROLLED


def test_a_polynomial_of_degree_5_is_found():
    x = np.arange(21.0)  # Wampler's first problem: every coefficient is 1 and nothing is left over
    phi = x[:, None] ** np.arange(6)
    state, _ = run(least_squares(form="information"), phi, phi.sum(axis=1))
    np.testing.assert_allclose(state.direction, np.ones(6), rtol=1e-7)
    assert state.noise_variance < 1e-12


@pytest.mark.parametrize("dim", [3, UNROLLED + 2])
@pytest.mark.parametrize("delta", [0.0, 0.7])
def test_every_prefix_is_least_squares(dim, delta):
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(40, dim)) * 10.0 ** rng.integers(-6, 7, dim)
    y = 1e3 + rng.normal(size=40)
    estimator = least_squares(form="information", delta=delta)
    states = jax.lax.scan(lambda s, row: (estimator.step(s, row)[0],) * 2, estimator.init(dim), (phi, y))[1]
    root = np.arange(1, 41) ** (-delta / 2)
    for n in (dim, dim + 1, 40):
        rows, scale = phi[:n] * root[:n, None], np.abs(phi).max(axis=0)
        wanted, squares, *_ = np.linalg.lstsq(rows / scale, y[:n] * root[:n])
        np.testing.assert_allclose(states.direction[n - 1], wanted / scale, rtol=1e-9)
        if n > dim:
            np.testing.assert_allclose(states.noise_variance[n - 1], squares[0] / (n - dim), rtol=1e-6)


def test_what_was_not_seen_has_the_coefficient_0():
    estimator = least_squares(form="information")
    state = estimator.init(3)
    np.testing.assert_array_equal(state.direction, np.zeros(3))
    for k in range(6):
        state, info = estimator.step(state, (jnp.array([1.0, 7.0, 0.0]), jnp.array(5.0 + k % 2)))
    np.testing.assert_allclose(state.direction, [5.5, 0, 0])
    np.testing.assert_allclose(state.noise_variance, 6 * 0.25 / 5)
    state, _ = estimator.step(state, (jnp.array([1.0, 8.0, 0.0]), jnp.array(7.5)))
    np.testing.assert_allclose(state.direction, [-8.5, 2, 0])
    np.testing.assert_allclose(info.residual, 6 - 5.4)


@pytest.mark.parametrize(
    "option", [{"forgetting": 0.9}, {"initial_covariance": 2.0}, {"initial_direction": 1.0}]
)
def test_it_has_no_prior_and_forgets_nothing(option):
    with pytest.raises(ValueError, match=f"takes no {next(iter(option))}; take form 'sqrt' or 'outer'"):
        least_squares(form="information", **option)
