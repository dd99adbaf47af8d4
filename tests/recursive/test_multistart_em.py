"""Several lines from a cold start."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

import jaxmlr
from jaxmlr import processes, recursive

LINES = jnp.array([[1.0, 2.0], [-2.0, 1.0]])


def data(steps=8_000, trials=8):
    truth = jaxmlr.Mixture(LINES, jnp.array([0.7, 0.3]), jnp.array(1.0))
    simulate = lambda t: jaxmlr.simulate(jax.random.key(5), truth, processes.gaussian(), steps, trial=t)[:2]  # noqa: E731
    return jax.jit(jax.vmap(simulate))(jnp.arange(trials))


def squared_error(estimates):
    orders = itertools.permutations(range(len(LINES)))
    return min(
        float(((np.asarray(estimates)[list(order)] - np.asarray(LINES)) ** 2).sum()) for order in orders
    )


def test_two_lines_from_a_cold_start_in_any_units():
    phi, y = data()
    method = recursive.multistart_em(2, candidates=6, search=1_500)
    run = lambda p, t, k: method.mixture(jaxmlr.run(method, p, t, jax.random.key(k))[0])  # noqa: E731
    scale = jnp.where(jnp.arange(8) < 4, 1.0, 1e3)
    estimates = jax.jit(jax.vmap(run))(phi, y * scale[:, None], jnp.arange(8))
    errors = [squared_error(b / s) for b, s in zip(np.asarray(estimates.coefficients), scale, strict=True)]
    assert max(errors) < 0.03
    np.testing.assert_allclose(estimates.noise_variance / scale**2, 1.0, atol=0.15)
    np.testing.assert_allclose(jnp.max(estimates.weights, axis=1), 0.7, atol=0.05)


def test_the_leader_is_the_likeliest_and_then_stays():
    phi, y = data(400, 1)
    method = recursive.multistart_em(2, candidates=4, burn_in=20, search=200)
    searching, _ = jaxmlr.run(method, phi[0][:220], y[0][:220])
    assert int(searching.leader) == int(jnp.argmax(searching.score))
    later, _ = jaxmlr.run(method, phi[0], y[0])
    assert int(later.leader) == int(searching.leader)
    waiting, _ = jaxmlr.run(method, phi[0][:20], y[0][:20])
    start = method.init(2, None, jnp.float64)
    np.testing.assert_array_equal(waiting.candidates.coefficients, start.candidates.coefficients)


def test_in_the_burn_in_the_line_is_least_squares():
    phi, y = data(400, 1)
    method = recursive.multistart_em(2, burn_in=300, search=50)
    state, _ = jaxmlr.run(method, phi[0], y[0])
    right = np.linalg.lstsq(phi[0][:300], y[0][:300], rcond=None)[0]
    np.testing.assert_allclose(state.direction, right, atol=0.01)


def test_with_forgetting_a_line_that_jumps_is_found_again():
    """A jump long after the search: what is forgotten in the search only does not help."""
    phi, y = data(2_000, 1)
    moved = LINES.at[0].add(jnp.array([1.5, -1.0]))
    truth = jaxmlr.Mixture(moved, jnp.array([0.7, 0.3]), jnp.array(1.0))
    later = jaxmlr.simulate(jax.random.key(9), truth, processes.gaussian(), 1_000)[:2]
    rows = jnp.concatenate([phi[0], later[0]]), jnp.concatenate([y[0], later[1]])

    def error(forgetting):
        method = recursive.multistart_em(2, candidates=6, search=1_000, forgetting=forgetting)
        estimates = method.mixture(jaxmlr.run(method, *rows)[0]).coefficients
        orders = (estimates, estimates[::-1])
        return jnp.min(jnp.stack([jnp.sum((each - moved) ** 2) for each in orders]))

    forgetful, faithful = jax.jit(jax.vmap(error))(jnp.array([0.99, 1.0]))
    assert forgetful < 0.2
    assert faithful > 0.5
