"""Narrow components: those that chance explains are refused, and no others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture
from jaxmlr.batch import em, fit
from jaxmlr.batch.spurious import distinct, plausible
from jaxmlr.batch.starts.candidates import Rows

KINDS = {"spread_lines": 8, "sequential_robust": 8, "random_lines": 4}


def crossing(n, weight, sigma, seed=0):
    """A narrow line of this weight across a wide one, and where they lie."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 10, n)
    narrow = rng.random(n) < weight
    y = np.where(narrow, 8 - 0.6 * x + sigma * rng.normal(size=n), 2 + x + rng.normal(size=n))
    truth = Mixture([[2.0, 1.0], [8.0, -0.6]], [1 - weight, weight], np.array([1.0, sigma**2]))
    return np.column_stack([np.ones(n), x]), y, truth


MOST = 2000  # rows, that all tests fill up to so that they share their programs


def rows_of(phi, y):
    rest = MOST - len(y)
    weight = np.pad(np.ones(len(y)), (0, rest))
    return Rows(*map(jnp.asarray, (np.pad(phi, ((0, rest), (0, 0))), np.pad(y, (0, rest)), weight)))


@jax.jit
def climbed(data, start):
    fit = em(data.phi, data.y, start, row_weights=data.weight, variance_floor=1e-7)
    return fit.mixture, plausible(fit, data, distinct(data))


def judged(phi, y, start):
    return bool(climbed(rows_of(phi, y), Mixture(*map(jnp.asarray, start)))[1])


@pytest.mark.parametrize(
    ("n", "weight", "sigma"),
    [pytest.param(2000, 0.1, 0.06, marks=pytest.mark.slow), (400, 0.25, 0.08), (200, 0.1, 0.01)],
)
def test_a_narrow_minority_is_found(n, weight, sigma):
    phi, y, truth = crossing(n, weight, sigma)
    assert judged(phi, y, truth)


@pytest.mark.slow
def test_a_narrow_minority_is_found_from_nothing():
    phi, y, truth = crossing(500, 0.1, 0.06)
    fitted = fit(phi, y, 2, jax.random.key(0), starts=KINDS)
    assert fitted.result == "converged"
    assert_allclose(fitted.log_likelihood, em(phi, y, truth).log_likelihood, rtol=1e-9)


def test_rows_on_an_exact_line_are_a_component():
    """Zeros in four of ten rows, as where a process is switched off."""
    rng = np.random.default_rng(0)
    phi = np.column_stack([np.ones(400), rng.normal(size=400)])
    y = np.where(rng.random(400) < 0.4, 0.0, 1 + 2 * phi[:, 1] + rng.normal(size=400))
    assert judged(phi, y, Mixture([[1.0, 2.0], [0.0, 0.0]], [0.6, 0.4], [1.0, 0.01]))


@pytest.mark.parametrize("rows", [3, 4])
def test_a_line_through_few_rows_is_refused(rows):
    rng = np.random.default_rng(rows)
    phi = np.column_stack([np.ones(120), rng.normal(size=120)])
    y = 1 + 2 * phi[:, 1] + rng.normal(size=120)
    y[:rows] = phi[:rows] @ np.array([1.5, 1.0]) + 1e-4 * rng.normal(size=rows)
    trap = Mixture([[1.0, 2.0], [1.5, 1.0]], [0.95, 0.05], [1.0, 1e-7])
    mixture, sound = climbed(rows_of(phi, y), Mixture(*map(jnp.asarray, trap)))
    assert float(mixture.noise_variance[1]) < 1e-6
    assert not bool(sound)


def test_equal_rows_are_one_point():
    rng = np.random.default_rng(0)
    phi = np.column_stack([np.ones(110), rng.normal(size=110)])
    y = 1 + 2 * phi[:, 1] + rng.normal(size=110)
    phi[:10], y[:10] = phi[0], y[0]
    start = Mixture([[1.0, 2.0], [y[0] - phi[0, 1], 1.0]], [0.9, 0.1], [1.0, 1e-4])
    assert not judged(phi, y, start)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distinct_rows(dtype):
    """Copies count once, but as often as the setting has distinct responses."""
    phi = np.array([[1, 2], [1, 2], [1, 2], [2, 1], [1, 2], [0, 0], [0, 0], [5, 5], [5, 5]], dtype)
    y = np.array([3, 3, 3, 3, 4, 0, 0, 7, 7], dtype)
    weight = np.array([0, 1, 1, 1, 1, 0, 0, 1, 1], dtype)
    own = distinct(Rows(*map(jnp.asarray, (phi, y, weight))))
    np.testing.assert_array_equal(own, [0, 1, 1, 1, 1, 0, 0, 1, 0])


def test_repeated_readings_at_few_settings_are_a_component():
    """Six settings, responses to one decimal: most rows of the narrow line are equal to others."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, 300).astype(float)
    narrow = rng.random(300) < 0.25
    y = np.where(narrow, 1 + 2 * x + 0.03 * rng.normal(size=300), 12 - x + rng.normal(size=300)).round(1)
    phi = np.column_stack([np.ones(300), x])
    assert judged(phi, y, Mixture([[12.0, -1.0], [1.0, 2.0]], [0.75, 0.25], [1.0, 0.01]))


def test_a_component_that_noise_makes_is_refused():
    """The likeliest of many climbs on one line of 500 rows: a tenth to a third of the sigma on a few rows."""
    rng = np.random.default_rng(3)
    phi = np.column_stack([np.ones(500), rng.uniform(0, 10, 500)])
    y = 1 + 2 * phi[:, 1] + rng.normal(size=500)
    narrow = refused = 0
    for _ in range(30):
        rows = rng.choice(500, 2, replace=False)
        line = np.linalg.solve(phi[rows], y[rows])
        start = Mixture([[1.0, 2.0], line], [0.97, 0.03], [1.0, 0.01])
        mixture, sound = climbed(rows_of(phi, y), Mixture(*map(jnp.asarray, start)))
        sigma = np.sqrt(mixture.noise_variance)
        narrow += sigma.min() < 0.3 * sigma.max()
        refused += not bool(sound)
    assert narrow >= 5
    assert refused >= narrow


@pytest.mark.slow
def test_weights_and_their_multiples_are_one_fit():
    phi, y, _ = crossing(200, 0.2, 0.05)
    weight = np.random.default_rng(1).uniform(0.5, 2, 200)
    fitted = fit(phi, y, 2, jax.random.key(0), starts=KINDS, row_weights=weight)
    for factor in (1 / np.sum(weight), 1e6):
        scaled = fit(phi, y, 2, jax.random.key(0), starts=KINDS, row_weights=factor * weight)
        jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-6), scaled.mixture, fitted.mixture)
        assert_allclose(scaled.log_likelihood, factor * fitted.log_likelihood, rtol=1e-9)
        assert (scaled.result, int(scaled.agreed)) == (fitted.result, int(fitted.agreed))
