"""The loop of a simulation against a scan over the data of the same trial."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmlr
from jaxmlr._xla.target import aimed_at
from jaxmlr.data.follow import steps_per_iteration
from jaxmlr.data.simulate import stream

TRUTH = jaxmlr.symmetric(np.array([1.0, -1.5]), 0.7)
KEY = jax.random.key(3)


def source(trial=2):
    return stream(KEY, TRUTH, jaxmlr.processes.ar(0.5), trial)


def test_what_is_recorded_is_the_state_of_a_scan_at_these_steps():
    method = jaxmlr.two_step(1.0)
    phi, y, _ = jaxmlr.simulate(KEY, TRUTH, jaxmlr.processes.ar(0.5), 50, trial=2)

    def keep(state, row):
        state, _ = method.step(state, row)
        return state, method.mixture(state).coefficients

    path = jax.lax.scan(keep, method.init(2), (phi, y))[1]
    recorded = jax.jit(lambda: jaxmlr.follow(method, source(), 2, [1, 7, 50]))()
    np.testing.assert_allclose(recorded.coefficients, path[jnp.array([0, 6, 49])], rtol=1e-9)
    counts = jaxmlr.follow(method, source(), 2, [4, 5], lambda state: state.n)
    np.testing.assert_array_equal(counts - counts[0], [0, 1])


@pytest.mark.parametrize("steps", [[], [0, 1], [3, 3], [5, 2], [1.5]])
def test_steps_must_increase_from_one(steps):
    with pytest.raises(ValueError, match="steps must"):
        jaxmlr.follow(jaxmlr.two_step(1.0), source(), 2, steps)


@pytest.mark.parametrize("steps", [[1, 3, 4, 5, 17, 22], [10]])
def test_for_other_devices_several_steps_are_one_iteration_and_the_records_the_same(steps, monkeypatch):
    monkeypatch.setattr("jaxmlr.data.follow.UNIT", 3)
    method = jaxmlr.two_step(1.0)
    expected = jaxmlr.follow(method, source(), 2, steps, lambda state: state)
    with aimed_at("gpu"):
        units = jaxmlr.follow(method, source(), 2, steps, lambda state: state)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-9), units, expected)


def test_what_does_not_fit_into_registers_is_carried_step_by_step():
    with aimed_at("gpu"):
        assert steps_per_iteration({"small": jnp.zeros((2, 3)), "n": 0}) > 1
        assert steps_per_iteration(jnp.zeros((10, 10))) == 1
    assert steps_per_iteration(0) == 1
