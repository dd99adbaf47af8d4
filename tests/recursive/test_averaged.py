"""The running mean of a method's estimates: its value, its labels, and what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmlr import Mixture, averaged, processes, run, simulate, symmetric
from jaxmlr.fitting import methods
from jaxmlr.recursive import online_em, symmetric_em, two_step
from jaxmlr.study.declare import resolve

TRUTH = symmetric(jnp.array([1.0, -1.5]), 0.6)
START = Mixture(jnp.array([[0.5, -0.5], [-0.5, 0.5]]), jnp.array([0.5, 0.5]), jnp.array(4.0))


def data(steps, trial=0):
    return simulate(jax.random.key(2), TRUTH, processes.gaussian(), steps, trial=trial)[:2]


@pytest.mark.parametrize("after", [0, 1, 25, 60])
def test_the_estimate_is_the_mean_of_the_estimates_since(after):
    phi, y = data(60)
    inner = two_step(1.0, gain="newton")
    _, path = lax.scan(lambda state, row: _after(inner, state, row), inner.init(2), (phi, y))
    method = averaged(inner, after=after)
    state, info = run(method, phi, y)
    first = after if after < 60 else 59
    for mean, estimates in zip(method.mixture(state), path, strict=True):
        np.testing.assert_allclose(mean, np.mean(np.asarray(estimates)[first:], axis=0), rtol=1e-12)
    assert int(info.label[0]) == int(run(inner, phi[:1], y[:1])[1].label[0])


def _after(method, state, row):
    state, _ = method.step(state, row)
    return state, method.mixture(state)


def test_the_mean_is_several_times_nearer_than_online_em_itself():
    phi, y = (jnp.stack(part) for part in zip(*(data(6_000, t) for t in range(6)), strict=True))

    def error(method):
        end = jax.jit(jax.vmap(lambda phi, y: method.mixture(run(method, phi, y)[0]).coefficients))(phi, y)
        return float(jnp.sqrt(jnp.mean((end - TRUTH.coefficients[None]) ** 2)))

    method = online_em(START)
    assert error(averaged(method, after=600)) < 0.5 * error(method)


def test_studies_and_tables_take_it_as_an_option_of_any_method():
    phi, y = data(40)
    wanted = averaged(symmetric_em(1.0), after=10)
    table = {"method": "symmetric_em", "average_after": 10}
    for method in (
        resolve.estimator("one", table, TRUTH),
        methods.estimator(
            "symmetric_em", 2, {"average_after": 10, "learn_weights": False, "learn_variance": False}
        ),
    ):
        actual, right = (m.mixture(run(m, phi, y)[0]).coefficients for m in (method, wanted))
        np.testing.assert_array_equal(actual, right)
    with pytest.raises(ValueError, match=r"estimators\.one\.average_after must be at least 0"):
        resolve.estimator("one", {"method": "two_step", "average_after": -1}, TRUTH)


@pytest.mark.parametrize(
    ("estimator", "after", "message"),
    [(two_step, 5, "estimator must be an Estimator"), (two_step(1.0), -1, "after must be at least 0")],
)
def test_what_cannot_be_averaged_is_named(estimator, after, message):
    with pytest.raises(ValueError, match=message):
        averaged(estimator, after=after)
