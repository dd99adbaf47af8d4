"""Outliers set apart from a cold start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special, stats

from jaxmlr import Mixture
from jaxmlr.batch import Constraints, Fit, fit, outliers
from jaxmlr.batch.constraints import MStepOptions
from jaxmlr.batch.pools import linear_rows, narrowed
from jaxmlr.batch.starts.candidates import Rows

LINES = np.array([[1.0, -1.0], [0.0, 1.0]])


def drawn(share, size, seed=0, n=400):
    """Two lines with sigma 0.3, and errors of a size, all above, on a share of the rows."""
    rng = np.random.default_rng(seed)
    phi = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = np.sum(phi * LINES[rng.integers(0, 2, n)], axis=1) + 0.3 * rng.normal(size=n)
    bad = rng.random(n) < share
    return phi, np.where(bad, size * (1 + rng.random(n)), y), bad


def density_for(y):
    return 0.001 / (1.4826 * np.median(np.abs(y - np.median(y))))


@pytest.mark.slow
@pytest.mark.parametrize("size", [30.0, 1e9])
@pytest.mark.parametrize("share", [0.1, 0.2])
def test_gross_errors_of_any_size(share, size):
    """Lines and sigma as without them, within four standard errors of n rows; and which rows they are."""
    phi, y, bad = drawn(share, size)
    fitted = fit(phi, y, 2, jax.random.key(0), outlier_density=density_for(y), equal_variance=True)
    assert fitted.result == "converged"
    assert_allclose(fitted.mixture.coefficients, LINES, atol=0.12)
    assert_allclose(np.sqrt(fitted.mixture.noise_variance), 0.3, rtol=0.12)
    probability = np.asarray(outliers(fitted, phi, y))
    assert np.all(probability[bad] > 0.99)
    assert np.mean(probability[~bad] > 0.5) < 0.01
    assert abs(probability.mean() - bad.mean()) < 0.01


def test_the_probability_of_an_outlier():
    phi, y, _ = drawn(0.2, 30.0, n=50)
    c, weights, v = 0.01, np.array([0.3, 0.7]), np.array([0.1, 0.2])
    mixture = Mixture(*map(jnp.asarray, (LINES, weights, v)))
    zero = jnp.zeros(())
    options = MStepOptions(jnp.zeros(2), zero, zero, jnp.asarray(c))
    fitted = Fit(mixture, zero, zero[None], zero, zero > 0, constraints=Constraints(), options=options)
    joint = stats.norm.logpdf(y[:, None], phi @ LINES.T, np.sqrt(v)) + np.log(weights)
    wanted = c / (c + np.exp(special.logsumexp(joint, axis=1)))
    assert_allclose(outliers(fitted, phi, y), wanted, rtol=1e-10)
    with pytest.raises(ValueError, match="fit must have been made with an outlier_density"):
        outliers(fitted._replace(options=None), phi, y)


def test_starts_do_not_see_gross_errors():
    """Nor rows of weight 0, which fill tables up."""
    phi, y, _ = drawn(0.2, 1e9, n=300)
    y[-50:], weight = 1e6, np.append(np.ones(250), np.zeros(50))
    data = Rows(*map(jnp.asarray, (phi, y, weight)))
    assert np.abs(linear_rows(data, None, None).y).max() < 30
    start = Mixture(jnp.asarray(LINES)[None], jnp.full((1, 2), 0.5), jnp.full((1, 2), 1e12))
    assert_allclose(np.sqrt(narrowed(start, data).noise_variance), 0.3, rtol=0.3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"outlier_density": -1.0}, "outlier_density must be greater than 0"),
        ({"outlier_density": 0.1, "groups": np.arange(50) // 5}, "outlier_density must be None with groups"),
        ({"outlier_density": 0.1, "family": "student"}, "outlier_density must not be given with"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(given, message):
    phi, y, _ = drawn(0.1, 30.0, n=50)
    with pytest.raises(ValueError, match=message):
        fit(phi, y, 2, jax.random.key(0), **given)
