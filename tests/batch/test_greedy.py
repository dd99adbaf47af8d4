"""Mixtures that grow by one line: the best addition, starts from a smaller fit, and exact values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture
from jaxmlr.batch import em, fit, select
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.batch.starts.greedy import FRACTIONS, best_addition, from_smaller, repeated, roomy


def rows(n=60, seed=0):
    rng = np.random.default_rng(seed)
    phi = np.column_stack([np.ones(n), rng.standard_normal(n)])
    y = np.where(rng.random(n) < 0.7, 1, -1) * phi[:, 1] + 0.3 * rng.standard_normal(n)
    return Rows(jnp.asarray(phi), jnp.asarray(y), jnp.ones(n))


def zeros(n=200, seed=0):
    """A wide line, and exact zeros in a tenth of the rows."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    y = 1 + x + rng.standard_normal(n)
    y[rng.random(n) < 0.1] = 0
    return np.column_stack([np.ones(n), x]), y


def test_the_best_addition_is_that_of_all():
    rng = np.random.default_rng(1)
    square, weight = rng.random((5, 80)) ** 4, rng.random(80)
    density = -2 - rng.random(80)
    line, variance, share = best_addition(*map(jnp.asarray, (square, weight, density)), jnp.asarray(1e-9), 2)
    best = (-np.inf, 0, 0.0, 0.0)
    for candidate in range(5):
        order = np.argsort(square[candidate])
        below = np.cumsum(weight[order])
        for a in FRACTIONS:
            count = max(int(np.argmax(below >= a * below[-1])) + 1, 5)
            v = np.sum((weight * square[candidate])[order[:count]]) / below[count - 1]
            normal = np.exp(-square[candidate] / (2 * v)) / np.sqrt(2 * np.pi * v)
            value = np.sum(weight * np.log((1 - a) * np.exp(density) + a * normal))
            best = max(best, (value, candidate, v, a))
    assert int(line) == best[1]
    assert_allclose([variance, share], best[2:], rtol=1e-10)


def test_repeated_rows():
    y = jnp.array([3.0, 1.0, 3.0, 2.0, 3.0, 3.0, 1.0, 3.0, 0.0])
    weight = jnp.array([1.0, 1, 1, 1, 2, 1, 1, 1, 0])
    data = Rows(jnp.ones((9, 2)), y, weight)
    assert repeated(data).tolist() == [1, 0, 1, 0, 2, 1, 0, 1, 0]
    assert not repeated(Rows(jnp.ones((9, 3)), y, weight)).any()  # five are too few for three regressors


def test_starts_from_a_smaller_fit_are_not_below_it():
    data = rows()
    small = Mixture(np.array([[0.0, 0.5]]), np.ones(1), np.array(0.8))
    starts = from_smaller(jax.random.key(0), data, roomy(small, 3, 2), 1, 3)
    values = [
        float(Mixture(*(leaf[i] for leaf in starts)).log_likelihood(data.phi, data.y)) for i in range(4)
    ]
    assert_allclose(values[-1], small.log_likelihood(data.phi, data.y), rtol=1e-12)
    assert min(values[:-1]) > values[-1]
    assert_allclose(jnp.sum(starts.weights, axis=1), 1, rtol=1e-12)


@pytest.mark.slow
def test_exact_zeros_across_a_wide_line_are_found_from_every_key():
    phi, y = zeros()
    line = np.linalg.lstsq(phi[y != 0], y[y != 0], rcond=None)[0]
    start = Mixture(np.array([[0, 0], line]), np.array([0.1, 0.9]), np.array([1e-6, 1.0]))
    wanted = em(phi, y, start, variance_floor=1e-6)
    for key in range(4):
        result = fit(phi, y, 2, jax.random.key(key), variance_floor=1e-6)
        assert_allclose(result.log_likelihood, wanted.log_likelihood, rtol=1e-9)


@pytest.mark.slow
def test_the_likelihood_rises_with_the_number_of_components():
    phi, y = zeros(seed=2)
    chosen = select(phi, y, jax.random.key(0), (3, 1, 2, 4), variance_floor=1e-4, equal_variance=True)
    values = dict(zip(chosen.components, (float(each.log_likelihood) for each in chosen.fits), strict=True))
    assert values[1] < values[2] <= values[3] + 1e-6
    assert values[3] <= values[4] + 1e-6


def test_bad_smaller_fits():
    data = rows()
    small = Mixture(np.zeros((2, 2)), np.full(2, 0.5), np.ones(2))
    with pytest.raises(ValueError, match="smaller must have 2 coefficients a component and fewer than 2"):
        fit(data.phi, data.y, 2, jax.random.key(0), smaller=small)
