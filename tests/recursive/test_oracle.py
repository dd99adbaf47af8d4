"""The oracle labels with the truth, for ever."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmlr import Mixture, oracle, processes, run, simulate, symmetric

THREE = Mixture(jnp.array([[2.0, 0.0], [-1.0, 2.0], [0.0, -2.0]]), jnp.array([0.5, 0.3, 0.2]), jnp.array(0.5))


@pytest.mark.parametrize(
    "truth", [THREE, symmetric(jnp.array([1.0, -1.5]), 0.6)], ids=["general", "symmetric"]
)
def test_labels_are_those_of_the_nearest_line_and_the_state_never_moves(truth):
    phi, y, _ = simulate(jax.random.key(2), truth, processes.gaussian(), 200)
    estimator = oracle(truth)
    state, info = run(estimator, phi, y)
    lines = np.asarray(phi) @ np.asarray(truth.coefficients).T
    nearest = np.abs(np.asarray(y)[:, None] - lines).argmin(1)
    np.testing.assert_array_equal(info.label, nearest)
    np.testing.assert_allclose(info.residual, y - lines[np.arange(200), nearest], rtol=1e-12, atol=1e-13)
    for a, b in zip(estimator.mixture(state), truth, strict=True):
        np.testing.assert_array_equal(a, b)


def test_misclassification_is_the_normal_tail():
    """On the symmetric mixture the nearest line errs with probability Phi(-|m| / sigma), whatever p."""
    truth = symmetric(jnp.array([1.0, -1.5]), 0.6)
    phi, y, label = simulate(jax.random.key(3), truth, processes.decaying_ar(), 40_000)
    _, info = run(oracle(truth), phi, y)
    chance = stats.norm.sf(np.abs(np.asarray(phi) @ [1.0, -1.5]))
    errors = np.count_nonzero(info.label != label)
    assert abs(errors - chance.sum()) < 5.5 * np.sqrt(np.sum(chance * (1 - chance)))


def test_the_dtype_is_the_data_s():
    phi, y, _ = simulate(jax.random.key(2), THREE, processes.gaussian(), 5)
    state, info = run(oracle(THREE), phi.astype(jnp.float32), y.astype(jnp.float32))
    assert {leaf.dtype.name for leaf in (*state, info.residual)} == {"float32"}


def test_another_dimension_is_refused():
    with pytest.raises(ValueError, match="the mixture has d = 2, the data d = 3"):
        oracle(THREE).init(3)


def test_an_invalid_mixture_is_refused():
    with pytest.raises(ValueError, match="weights must sum to 1"):
        oracle(THREE._replace(weights=jnp.array([0.5, 0.3, 0.3])))
