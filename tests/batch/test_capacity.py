"""Data sets that are filled up: the optimum of the same data as they are."""

import jax
import numpy as np
import pytest

from jaxmlr._xla import programs
from jaxmlr.batch import ahead, covariance, em, fit
from jaxmlr.batch.constraints import Constraints


def lines(n, d, components, seed=0):
    rng = np.random.default_rng(seed)
    phi = np.column_stack([np.ones(n), rng.normal(size=(n, d - 1))])
    beta, label = 3 * rng.normal(size=(components, d)), rng.integers(0, components, n)
    return phi, np.sum(phi * beta[label], axis=1) + 0.3 * rng.normal(size=n)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d", "components"), [(400, 3, 2), (900, 6, 2), (500, 2, 1), (1500, 3, 4)])
def test_the_optimum_is_that_of_em_on_the_rows_as_they_are(n, d, components):
    phi, y = lines(n, d, components)
    with jax.enable_x64(True):
        best = fit(phi, y, components, jax.random.key(0))
        plain = em(phi, y, best.mixture)
        assert best.result == "converged"
        assert best.mixture.coefficients.shape == (components, d)
        assert best.options.ridge.shape == (d,)
        np.testing.assert_allclose(best.log_likelihood, plain.log_likelihood, rtol=1e-10)
        for one, other in zip(best.mixture, plain.mixture, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
        # Constraints that are not filled up take the general path: here they say nothing new.
        general = plain._replace(constraints=Constraints(known_weights=components == 1))
        np.testing.assert_allclose(
            covariance(plain, phi, y), covariance(general, phi, y), rtol=1e-6, atol=1e-12
        )


@pytest.mark.slow
def test_tables_of_other_sizes_compile_nothing():
    """What `ahead.begin` compiles serves tables of all sizes, and both K of a capacity."""
    with jax.enable_x64(True):
        ahead.begin([1, 2])
        begun = set(programs._compiled)
        for n, d, components in ((300, 3, 2), (700, 8, 2), (150, 2, 1)):
            phi, y = lines(n, d, components)
            covariance(fit(phi, y, components, jax.random.key(n)), phi, y)
        assert set(programs._compiled) == begun
