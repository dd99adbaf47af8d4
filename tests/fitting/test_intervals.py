"""Prediction sets: their probability, and that nothing shorter has it."""

import numpy as np
import pytest
from scipy.stats import norm

from jaxmlr.fitting.intervals import densest


def probability(ends, mean, weights, sigma):
    """Of the parts of one row, by the mixture's distribution function."""
    finite = ends[~np.isnan(ends[:, 0])]
    below = weights @ norm.cdf(finite.T[:, None, :], np.asarray(mean)[None, :, None], sigma[None, :, None])
    return float((below[1] - below[0]).sum())


def test_one_normal_has_the_central_interval():
    ends = densest(np.array([[3.0]]), np.ones((1, 1)), np.array([2.0]), 0.95)
    np.testing.assert_allclose(ends, [[[3 - 2 * norm.ppf(0.975), 3 + 2 * norm.ppf(0.975)]]], rtol=1e-6)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("mean", "weights", "sigma", "parts"),
    [
        ([0.0, 100.0], [0.6, 0.4], [1.0, 2.0], 2),
        ([0.0, 0.5], [0.5, 0.5], [1.0, 1.0], 1),
        ([0.0, 0.0], [0.9, 0.1], [1.0, 0.01], 1),
        ([-50.0, 0.0, 50.0], [0.3, 0.4, 0.3], [1.0, 1.0, 1.0], 3),
    ],
)
def test_the_parts_have_the_level_and_equal_density_at_every_end(level, mean, weights, sigma, parts):
    weights, sigma = np.array(weights), np.array(sigma)
    ends = densest(np.array([mean]), weights[None], sigma, level)[0]
    assert probability(ends, mean, weights, sigma) == pytest.approx(level, abs=1e-6)
    finite = ends[~np.isnan(ends[:, 0])]
    if level > 0.8:
        assert len(finite) == parts
    height = weights @ norm.pdf(finite.reshape(-1)[None, :], np.array(mean)[:, None], sigma[:, None])
    np.testing.assert_allclose(height, height[0], rtol=1e-5)


def test_rows_with_fewer_parts_end_in_nan():
    mean, weights = np.array([[0.0, 100.0], [0.0, 0.1]]), np.full((2, 2), 0.5)
    ends = densest(mean, weights, np.ones(2), 0.9)
    assert ends.shape == (2, 2, 2)
    assert np.isnan(ends[1, 1]).all()
    assert not np.isnan(ends[0]).any()
