"""Tuning: its gradient against differences, a gain on held-out trials, and its errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxmlr import processes, symmetric, tune, two_step

TRUTH = symmetric(jnp.array([1.0, -1.5], jnp.float32), 0.75)
MAKE = functools.partial(two_step, 1.0, gain="newton")
RANGES = {"initial_covariance": (0.01, 20.0), "bound": (0.5, 20.0)}


def tuned(**options):
    given = {
        "make": MAKE,
        "start": {"initial_covariance": 10.0, "bound": 1.0},
        "ranges": RANGES,
        "truth": TRUTH,
        "process": processes.gaussian(),
        "steps": 300,
        "key": jax.random.key(0),
        "trials": 64,
        "held_out": 128,
        "iterations": 15,
    }
    return tune(**{**given, **options})


@pytest.mark.slow
def test_a_bad_start_is_left_with_a_gain_on_other_trials() -> None:
    result = tuned()
    assert result.gain > 4 * result.gain_se > 0
    assert result.loss.shape == (16,)
    assert result.loss.min() < result.loss[0]
    assert all(low < result.settings[name] < high for name, (low, high) in RANGES.items())
    assert result.settings["initial_covariance"] < 5
    again = tuned()
    np.testing.assert_array_equal(result.loss, again.loss)


@pytest.mark.slow
def test_the_gradient_is_that_of_the_loss() -> None:
    # One step of plain descent moves x by -rate * slope: two runs give the slope and its check.
    def loss_and_move(covariance: float) -> tuple[float, float]:
        result = tuned(
            start={"initial_covariance": covariance},
            ranges={"initial_covariance": (0.0, 2.0)},
            iterations=1,
            transformation=optax.sgd(1e-3),
            truth=jax.tree.map(lambda x: x.astype(jnp.float64), TRUTH),
        )
        x = [np.log(c / (2 - c)) for c in (covariance, result.settings["initial_covariance"])]
        return result.loss[0], (x[0] - x[1]) / 1e-3

    base = 0.8
    value, slope = loss_and_move(base)
    x = np.log(base / (2 - base)) + 1e-4
    other, _ = loss_and_move(2 / (1 + np.exp(-x)))
    np.testing.assert_allclose(slope, (other - value) / 1e-4, rtol=1e-2)


def test_bad_arguments() -> None:
    for options, message in (
        ({"start": {"bound": 1.0}}, "ranges must name the settings"),
        ({"start": {"initial_covariance": 30.0, "bound": 1.0}}, "initial_covariance"),
        ({"steps": 5}, "steps must be"),
        ({"held_out": 1}, "held_out must be"),
        ({"iterations": 0}, "iterations must be"),
    ):
        with pytest.raises(ValueError, match=message):
            tuned(**options)
