"""What every batch method promises, for every method of the table in tests/conftest.py."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr.batch import Fit
from jaxmlr.mixture import Mixture
from jaxmlr.testing import check_method

KEY = jax.random.key(5)
DTYPES = (jnp.float32, jnp.float64)


def data(n=60, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(n, 2))
    y = np.where(rng.random(n) < 0.7, 1, -1) * (phi @ np.array([1.0, -1.5])) + 0.3 * rng.normal(size=n)
    return phi.astype(dtype), y.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fit_is_a_mixture_and_how_it_was_reached(batch_method, dtype):
    phi, y = data(dtype=dtype)
    found = batch_method(phi, y, KEY)
    assert isinstance(found, Fit)
    assert isinstance(found.mixture, Mixture)
    chex.assert_shape(found.mixture.coefficients, (2, 2))
    chex.assert_shape(found.mixture.weights, (2,))
    assert found.mixture.noise_variance.shape in ((), (2,))
    chex.assert_shape((found.log_likelihood, found.iterations, found.converged), ())
    chex.assert_shape(found.trace, (51,))
    chex.assert_type([*found.mixture, found.log_likelihood, found.trace], dtype)
    chex.assert_type([found.iterations, found.converged], [jnp.int32, jnp.bool_])
    chex.assert_tree_all_finite(found)
    rtol = 1e-4 if dtype == jnp.float32 else 1e-10
    np.testing.assert_allclose(jnp.sum(found.mixture.weights), 1, rtol=rtol)
    np.testing.assert_allclose(found.log_likelihood, found.mixture.log_likelihood(phi, y), rtol=rtol)


def test_it_keeps_the_contract(batch_method):
    check_method(batch_method)


LARGE = {
    "large": lambda phi, y: (1e6 * phi, 1e6 * y),
    "large regressors": lambda phi, y: (1e6 * phi, y),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_data_leave_the_fit_finite_in_single_precision_too(batch_method, dtype):
    cases = [change(*data(dtype=dtype)) for change in LARGE.values()]
    phi, y = (jnp.stack([jnp.asarray(x, dtype) for x in part]) for part in zip(*cases, strict=True))
    found = jax.jit(jax.vmap(lambda phi, y: batch_method(phi, y, KEY)))(phi, y)
    finite = [
        all(bool(jnp.isfinite(leaf[k]).all()) for leaf in jax.tree.leaves(found)) for k in range(len(cases))
    ]
    assert [name for name, fine in zip(LARGE, finite, strict=True) if not fine] == []
