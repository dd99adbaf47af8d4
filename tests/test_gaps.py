"""Rows that are not observed change nothing, whatever the method and however it is run."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from sklearn.base import clone

from jaxmlr import Estimator, diagnosed, lanes, processes, river, run, simulate, symmetric, two_step
from jaxmlr.estimator import plain_step
from jaxmlr.fitting.stream import OnlineFit
from jaxmlr.sklearn import MixtureOfLinearRegressions

DIM, KEY = 2, jax.random.key(5)
GAPS = {3: ("y", np.nan), 4: ("phi", np.nan), 11: ("y", np.inf), 12: ("phi", -np.inf), 29: ("y", -np.inf)}


def with_gaps(steps=40):
    truth = symmetric(jnp.array([1.0, -1.5]), 0.7)
    phi, y, _ = simulate(jax.random.key(1), truth, processes.decaying_ar(), steps)
    phi, y = np.array(phi), np.array(y)
    for row, (where, value) in GAPS.items():
        if where == "y":
            y[row] = value
        else:
            phi[row, 1] = value
    return phi, y, np.setdiff1d(np.arange(steps), list(GAPS))


def assert_same_bits(a, b):
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_state_is_that_of_the_rows_that_are_there(estimator):
    phi, y, there = with_gaps()
    step, start = jax.jit(estimator.step), estimator.init(DIM, KEY)

    def looped(rows):
        state, infos = start, []
        for row in rows:
            before = state
            state, info = step(state, (phi[row], y[row]))
            infos.append(info)
            if row in GAPS:
                assert_same_bits(state, before)
                assert int(info.label) == int(jnp.argmax(estimator.mixture(before).weights))
                assert np.isnan(info.residual)
        return state, [info for row, info in zip(rows, infos, strict=True) if row not in GAPS]

    assert_same_bits(looped(range(len(y))), looped(there))


def test_a_scan_and_a_stream_skip_gaps_too():
    phi, y, there = with_gaps()
    method = two_step(1.0)
    state, info = run(method, phi, y)
    alone, labelled = run(method, phi[there], y[there])
    assert_same_bits(state, alone)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(info.residual)), sorted(GAPS))
    np.testing.assert_array_equal(info.label[there], labelled.label)
    stream = OnlineFit(method, DIM)
    streamed = stream.update(phi, y)
    assert_same_bits(stream.state, state)
    np.testing.assert_array_equal(streamed.label, info.label)


@pytest.mark.slow
def test_trials_side_by_side_may_have_gaps_of_their_own():
    phi, y, there = with_gaps()
    method = two_step(1.0)
    rows = (
        jnp.stack([phi, np.nan_to_num(phi, neginf=1.0)]),
        jnp.stack([y, np.nan_to_num(y, posinf=1, neginf=1)]),
    )
    together, _ = lanes(lambda phi, y: lax.scan(method.step, method.init(DIM), (phi, y)))(*rows)
    alone, _ = run(method, phi[there], y[there])
    np.testing.assert_array_equal(together.n, [len(there) + 1, len(y) + 1])
    np.testing.assert_allclose(together.direction[0], alone.direction, rtol=1e-12)


def test_what_a_state_in_single_precision_cannot_hold_is_not_observed():
    method = two_step(1.0)
    state = method.init(DIM, None, jnp.float32)
    after, info = method.step(state, (jnp.ones(DIM), jnp.float64(1e300)))
    assert_same_bits(after, state)
    assert info.residual.dtype == jnp.float32


def test_derivatives_through_gaps_are_finite():
    phi, y, there = with_gaps()

    def loss(variance, phi, y):
        return jnp.sum(
            run(two_step(variance), phi, y)[0].direction * 3 + run(two_step(variance), phi, y)[0].scale
        )

    with_them, without = (jax.grad(loss)(1.0, *rows) for rows in ((phi, y), (phi[there], y[there])))
    np.testing.assert_allclose(with_them, without, rtol=1e-12)


def test_a_method_of_ones_own_skips_gaps_without_knowing_of_them():
    base = two_step(1.0)
    own = Estimator(base.init, lambda state, row: plain_step(base)(state, row), base.mixture)
    phi, y, there = with_gaps()
    assert_same_bits(run(own, phi, y), run(base, phi, y))
    assert Estimator(*base) == base
    wrapped = Estimator(base.init, functools.wraps(base.step)(lambda state, row: (state, None)), base.mixture)
    assert plain_step(wrapped)(1, None) == (1, None)
    # One that counts rows within another sees the same rows as it.
    assert int(run(diagnosed(own), phi, y)[0].sums.n) == len(there)


@pytest.mark.parametrize("gap", [{"a": np.nan}, {"a": np.inf, "b": 1.0}])
def test_river_skips_gaps(gap):
    model = river.MixtureOfLinearRegressions(1, method="least_squares")
    model.learn_one({"a": 1.0, "b": 2.0}, 3.0)
    before = model._stream.state
    model.learn_one({"b": 1.0} | gap, 1.0)
    model.learn_one({"a": 1.0, "b": 1.0}, np.nan)
    assert_same_bits(model._stream.state, before)


def test_scikit_learn_skips_gaps_in_a_stream_and_no_others():
    phi, y, there = with_gaps()
    model = MixtureOfLinearRegressions(1, method="least_squares", fit_intercept=False)
    whole, alone = clone(model).partial_fit(phi, y), clone(model).partial_fit(phi[there], y[there])
    np.testing.assert_array_equal(whole.coef_, alone.coef_)
    with pytest.raises(ValueError, match="contains NaN"):
        model.fit(phi, y)
