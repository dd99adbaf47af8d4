"""Uniform numbers: their law, by tests of SciPy, and how they depend on keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmlr.batch.starts.draws import derived, uniform


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_numbers_are_uniform_and_independent_of_their_neighbours(seed):
    u = np.asarray(uniform(jax.random.key(seed), (200_000,), np.float64))
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    cells = np.histogram2d(u[:-1], u[1:], bins=16, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(cells.reshape(-1)).pvalue > 1e-3


def test_streams_of_neighbouring_numbers_are_independent():
    draw = jax.vmap(lambda k: uniform(derived(jax.random.key(0), 3, k), (8,), np.float64))
    u = np.asarray(draw(jnp.arange(20_000, dtype=jnp.int32)))
    assert len(np.unique(u[:, 0])) > 19_950  # of 2^24 numbers some 12 pairs agree
    assert stats.kstest(u.reshape(-1), "uniform").pvalue > 1e-3
    correlation = np.corrcoef(np.concatenate([u[:-1], u[1:]], axis=1).T)
    assert np.abs(correlation - np.eye(16)).max() < 5 / np.sqrt(len(u))


def test_a_number_of_double_precision_is_that_of_single():
    key = jax.random.key(4)
    single, double = (uniform(key, (2, 50), dtype) for dtype in (np.float32, np.float64))
    assert single.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(single, np.float64), double)


def test_typed_and_raw_keys_of_any_length_are_taken():
    np.testing.assert_array_equal(
        uniform(jax.random.key(7), (3,), np.float32), uniform(jax.random.PRNGKey(7), (3,), np.float32)
    )
    long = jax.random.key(7, impl="rbg")
    other = jax.random.wrap_key_data(jax.random.key_data(long).at[3].add(jnp.uint32(1)), impl="rbg")
    assert not np.any(uniform(long, (3,), np.float32) == uniform(other, (3,), np.float32))
