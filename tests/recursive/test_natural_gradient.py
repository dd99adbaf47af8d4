"""Several lines from a cold start, as well as batch EM finds them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxmlr
from jaxmlr import lanes, processes, recursive
from jaxmlr.estimator import plain_step
from jaxmlr.recursive.natural_gradient import score, spread_out, unpack
from jaxmlr.recursive.search import sweep

TRUTH = jaxmlr.Mixture(
    jnp.array([[3.0, 1.0], [-2.0, 2.0], [0.0, -3.0]]), jnp.array([0.6, 0.3, 0.1]), jnp.array(1.5)
)
XI = jnp.array([3.0, 1.0, -2.0, 2.0, 0.0, -3.0, np.log(6), np.log(3), np.log(1.5)])


def data(steps, trial=0):
    return jaxmlr.simulate(jax.random.key(5), TRUTH, processes.gaussian(), steps, trial=trial)[:2]


def test_the_score_is_the_gradient_of_the_likelihood():
    rows = jnp.array([[0.7, -1.2, 1.3], [2.0, 0.1, -8.0]])
    wanted = [jax.grad(lambda xi, z=z: unpack(xi, 3).log_likelihood(z[None, :2], z[2:]))(XI) for z in rows]
    np.testing.assert_allclose(score(spread_out(XI, 3), rows.T), np.stack(wanted, axis=1), rtol=1e-10)
    for leaf, same in zip(unpack(XI, 3), TRUTH, strict=True):
        np.testing.assert_allclose(leaf, same, atol=1e-15)


def test_the_sweep_operator_is_least_squares():
    x = np.random.default_rng(0).normal(size=(2, 9, 4))
    x[1, :, 1] = 0  # a column without a pivot
    swept = np.asarray(sweep(jnp.asarray(np.einsum("bni,bnj->bij", x, x)), 3))
    for z, got in zip(x, swept, strict=True):
        right, *_ = np.linalg.lstsq(z[:, :3], z[:, 3])
        np.testing.assert_allclose(got[:3, 3], right, atol=1e-12)
        np.testing.assert_allclose(got[3, 3], ((z[:, 3] - z[:, :3] @ right) ** 2).sum())
        np.testing.assert_allclose(-got[:3, :3], np.linalg.pinv(z[:, :3].T @ z[:, :3]), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_three_lines_are_near_those_of_batch_em_in_any_units(dtype):
    """The squared distance from batch EM, which started at the truth, over the latter's squared error."""
    method = recursive.natural_gradient(3)
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), TRUTH)
    apart, error = [], []
    for trial in range(4):
        phi, y = (part.astype(dtype) for part in data(6_000, trial))
        batch = jaxmlr.em(phi, y, start, equal_variance=True, max_iterations=100).mixture
        unit = 10.0 ** (2 * trial - 3)
        estimate = method.mixture(jaxmlr.run(method, phi, y * jnp.asarray(unit, dtype))[0])
        assert estimate.coefficients.dtype == dtype
        apart.append(jnp.sum((estimate.coefficients / unit - batch.coefficients) ** 2))
        error.append(jnp.sum((batch.coefficients - start.coefficients) ** 2))
        np.testing.assert_allclose(estimate.weights, TRUTH.weights, atol=0.05)
        np.testing.assert_allclose(estimate.noise_variance / unit**2, 1.5, atol=0.15)
    assert np.sum(apart) < 0.1 * np.sum(error)


def test_one_line_is_least_squares_where_the_buffer_is_full():
    phi, y = data(100)
    method = recursive.natural_gradient(1, buffer=100)
    estimate = method.mixture(jaxmlr.run(method, phi, y)[0])
    beta, rss, *_ = np.linalg.lstsq(phi, y)
    np.testing.assert_allclose(estimate.coefficients[0], beta, rtol=1e-9)
    np.testing.assert_allclose(estimate.noise_variance, rss[0] / 100)
    np.testing.assert_array_equal(estimate.weights, 1)


@pytest.mark.slow
def test_trials_side_by_side_are_those_alone_to_the_last_digits():
    method, step = (made := recursive.natural_gradient(3, buffer=400)), plain_step(made)
    phi, y = map(jnp.stack, zip(*(data(700, trial) for trial in range(3)), strict=True))

    def follow(phi, y, step=step):
        return lax.scan(lambda s, r: (step(s, r)[0], None), method.init(2), (phi, y))[0].parameters

    alone = np.stack([jax.jit(follow)(*rows) for rows in zip(phi, y, strict=True)])
    np.testing.assert_allclose(jax.jit(lanes(follow))(phi, y), alone, rtol=1e-10)
    gaps = jnp.where(jnp.arange(700)[None, :] % 7 < jnp.arange(3)[:, None], jnp.nan, y)  # the counts differ
    together = jax.jit(jax.vmap(lambda p, t: follow(p, t, method.step)))(phi, gaps)
    for trial in range(3):
        there = np.isfinite(gaps[trial])
        np.testing.assert_allclose(
            together[trial], jax.jit(follow)(phi[trial][there], y[trial][there]), rtol=1e-10
        )


def test_before_the_first_search_all_lines_are_0():
    method = recursive.natural_gradient(2, buffer=80)
    state = method.init(2, None, jnp.float32)
    np.testing.assert_array_equal(method.mixture(state).coefficients, 0)
    np.testing.assert_allclose(method.mixture(state).weights, 0.5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="components"):
        recursive.natural_gradient(0)
    with pytest.raises(ValueError, match="buffer"):
        recursive.natural_gradient(2, buffer=0)
    with pytest.raises(ValueError, match="forgetting"):
        recursive.natural_gradient(2, forgetting=1.5)
