"""Units of a fit: the same model in both, and nearly collinear columns without loss of digits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr.fitting import methods
from jaxmlr.fitting.scaling import Units


def test_a_polynomial_of_degree_ten_has_the_certified_coefficients(oracles):
    """Filip, of higher difficulty: the condition number of the powers is beyond 10^14."""
    y, x = np.loadtxt(oracles / "data" / "filip.csv", delimiter=",", skiprows=1, unpack=True)
    phi = x[:, None] ** np.arange(11)[None]
    units = Units.of(phi, y, 0).orthogonal(phi)
    fit = units.fit(methods.batch("em", *units.apply(phi, y), 1, 0), len(y))
    assert fit.converged
    certified = [-1467.48961422980, -2772.17959193342, -2316.37108160893]
    assert_allclose(fit.mixture.coefficients[0, :3], certified, rtol=1e-6)
    assert_allclose(np.sqrt(fit.mixture.noise_variance * 82 / 71), 0.00334801051324544, rtol=1e-6)


def test_orthonormal_columns_are_the_same_model():
    rng = np.random.default_rng(0)
    phi = np.column_stack([np.ones(50), rng.normal(size=(50, 2))])
    phi[:, 2] = phi[:, 1] + 1e-6 * phi[:, 2]
    y = rng.normal(size=50)
    plain = Units.of(phi, y, 0)
    assert plain.orthogonal(phi[:, [0, 1, 1]] + np.eye(50, 3)).triangle is None
    units = plain.orthogonal(phi)
    x, _ = units.apply(phi, y)
    assert_allclose(x.T @ x / 50, np.eye(3), atol=1e-9)
    mixture = methods.batch("em", *units.apply(phi, y), 1, 0).mixture
    there = units.mixture(mixture)
    assert_allclose(
        phi @ there.coefficients[0], units.origin + units.unit * x @ mixture.coefficients[0], atol=1e-8
    )
    # The covariance of least squares, s^2 (phi' phi)^-1: its entries are of 10^12 times what is compared.
    matrix = units.covariance(mixture, np.diag([1.0, 1.0, 1.0, 0.0, 0.0]) / 50)
    error = phi @ matrix[:3, :3] @ phi.T
    assert_allclose(error, units.unit**2 * phi @ np.linalg.pinv(phi, rcond=1e-12), atol=1e-4)


@pytest.mark.parametrize("intercept", [0, None])
def test_entries_whose_squares_leave_the_range_are_refused(intercept):
    phi, y = np.column_stack([np.ones(9), np.arange(9.0)]), np.arange(9.0)
    for size, what in (
        (1e-160, "too small"),
        (1e-300, "too small"),
        (1e160, "too large"),
        (1e300, "too large"),
    ):
        for columns, response in ((phi * [1, size], y), (phi, y * size)):
            with pytest.raises(ValueError, match=what):
                Units.of(columns, response, intercept)
    assert Units.of(phi * [1, 0], np.full(9, 1e-200), 0).unit == 1
    assert Units.of(phi, 1e-60 * y, 0).unit == pytest.approx(1e-60 * np.std(y))
