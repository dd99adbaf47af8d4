"""How many rows coefficients rest on."""

import jax
import numpy as np
import pytest

from jaxmlr import Mixture
from jaxmlr.batch import em, fit, standard_errors
from jaxmlr.batch.support import few_rows


def with_dummy(rare, seed=0, n=200):
    """Two lines far apart, and a dummy that is 1 in so many rows of the second, or 0 in so many."""
    rng = np.random.default_rng(seed)
    second = np.arange(n) < 60
    x, dummy = rng.normal(size=n), rng.integers(0, 2, n).astype(float)
    dummy[second] = rare < 0
    dummy[: abs(rare)] = rare > 0
    truth = Mixture(
        np.array([[0.0, 2.0, 1.0], [30.0, -1.0, 1.0]]), np.array([0.7, 0.3]), np.array([0.25, 0.25])
    )
    phi = np.column_stack([np.ones(n), x, dummy])
    y = np.sum(phi * truth.coefficients[second.astype(int)], axis=1) + 0.5 * rng.normal(size=n)
    return phi, y, truth


@pytest.mark.parametrize(("rare", "few"), [(4, True), (-4, True), (5, False), (-5, False), (0, True)])
def test_a_dummy_rests_on_its_rarer_level(rare, few):
    phi, y, truth = with_dummy(rare)
    np.testing.assert_array_equal(few_rows(truth, phi, y), [[False] * 3, [False, False, few]])


def test_a_component_of_few_rows_and_rows_that_do_not_count():
    phi, y, truth = with_dummy(20)
    weight = np.ones(200)
    weight[4:60] = 0
    np.testing.assert_array_equal(few_rows(truth, phi, y, weight), [[False] * 3, [True] * 3])
    one = Mixture(truth.coefficients[:1], np.ones(1), np.ones(()))
    assert not np.any(few_rows(one, phi, y, weight))


def test_ordinary_fits_have_no_such_coefficient():
    """200 designs: uniform, normal, heavy-tailed and integer regressors, factors and few rows."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, components = int(rng.integers(60, 500)), 2 + seed % 2
        kinds = [rng.uniform(size=n), rng.normal(size=n), rng.standard_t(2, n), rng.integers(0, 4, n)]
        phi = np.column_stack([np.ones(n), kinds[seed % 4], rng.permutation(n) % 3 == 0]).astype(float)
        beta = np.column_stack([4.0 * np.arange(components), rng.normal(size=(components, 2))])
        label = rng.permutation(n) % components
        y = np.sum(phi * beta[label], axis=1) + rng.normal(size=n)
        truth = Mixture(beta, np.full(components, 1 / components), np.ones(components))
        assert not np.any(few_rows(truth, phi, y)), seed


@pytest.mark.slow
def test_such_a_coefficient_is_marked_and_has_no_interval():
    phi, y, truth = with_dummy(2)
    fitted = fit(phi, y, 2, jax.random.key(0), starts={"spread_lines": 4, "sequential_robust": 4})
    assert fitted.result == "converged; a coefficient rests on fewer than five rows"
    errors = standard_errors(em(phi, y, truth), phi, y)
    np.testing.assert_array_equal(np.isnan(errors.coefficients), [[False] * 3, [False, False, True]])
