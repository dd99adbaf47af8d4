"""Distances to the truth: matching, errors, confusion, and the tracker against a plain loop."""

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from scipy.optimize import linear_sum_assignment

from jaxmlr import Mixture, oracle, processes, run, simulate, symmetric, two_step
from jaxmlr.evaluation import metrics, tracking

matching = jax.jit(metrics.matching)
error = jax.jit(metrics.coefficient_error)


def general(coefficients):
    coefficients = jnp.asarray(coefficients)
    count = coefficients.shape[0]
    return Mixture(coefficients, jnp.full(count, 1 / count), jnp.array(1.0))


pairs = st.sampled_from([1, 2, 3, 4]).flatmap(
    lambda k: st.tuples(*[hnp.arrays(np.float64, (k, 2), elements=st.floats(-5, 5, width=32))] * 2)
)


@settings(deadline=None, max_examples=80)
@given(pairs)
def test_matching_is_the_cheapest_assignment(pair):
    estimate, truth = pair
    order = np.asarray(matching(*pair))
    costs = np.sum((estimate[:, None] - truth[None]) ** 2, axis=-1)
    rows, columns = linear_sum_assignment(costs)
    assert sorted(order) == list(range(len(truth)))
    np.testing.assert_allclose(
        costs[order, np.arange(len(truth))].sum(), costs[rows, columns].sum(), rtol=1e-12
    )
    expected = np.sqrt(costs[rows, columns].sum() / len(truth))
    np.testing.assert_allclose(error(general(estimate), general(truth)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 0, 2], [0, 1, 2], [1, 2, 0]])
def test_matching_says_which_estimate_stands_for_which_truth(order):
    truth = jnp.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    matched = np.asarray(matching(truth[jnp.array(order)], truth))
    np.testing.assert_array_equal(np.array(order)[matched], [0, 1, 2])


@settings(deadline=None, max_examples=40)
@given(*[hnp.arrays(np.float64, 3, elements=st.floats(-5, 5, width=32))] * 2)
def test_symmetric_error_is_the_smaller_over_the_sign(a, b):
    actual = error(symmetric(jnp.asarray(a), 0.7), symmetric(jnp.asarray(b), 0.6))
    expected = min(np.linalg.norm(a - b), np.linalg.norm(a + b))
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_misclassification_follows_the_order():
    confusion = jnp.array([[1, 30], [60, 9]], jnp.int32)
    np.testing.assert_allclose(metrics.wrong_fraction(confusion, jnp.array([1, 0], jnp.int32)), 0.10)
    np.testing.assert_allclose(metrics.wrong_fraction(confusion, jnp.array([0, 1], jnp.int32)), 0.90)
    empty = metrics.wrong_fraction(jnp.zeros((2, 2), jnp.int32), jnp.array([0, 1], jnp.int32))
    assert empty == 0


@pytest.mark.parametrize("p", [0.75, 0.2])
def test_scale_is_the_inverse_of_the_imbalance(p):
    np.testing.assert_allclose(metrics.scale(symmetric(jnp.ones(2), p)), 1 / abs(2 * p - 1), rtol=1e-12)


# ---- the tracker ------------------------------------------------------------------------------------


def follow(estimator, truth, names, observed):
    """Values of the tracker after every step."""
    tracker = tracking.track(estimator, truth, names)

    def step(state, row):
        n, observation = row
        state = tracker.step(state, n, observation)
        return state, tracker.values(state, n)

    steps = observed.y.shape[0]
    start = tracker.init(truth.coefficients.shape[1], jax.random.key(0), observed.phi.dtype)
    return jax.jit(lambda: lax.scan(step, start, (jnp.arange(1, steps + 1, dtype=jnp.int32), observed)))()[1]


@pytest.mark.parametrize("p", [0.75, 0.25])
def test_the_tracker_is_a_loop_over_the_run(p):
    truth = symmetric(jnp.array([1.0, -1.5]), p)
    observed = simulate(jax.random.key(4), truth, processes.decaying_ar(), 120)
    estimator = two_step(gain="newton", bound=3.0)
    names = ("coefficient_error", "misclassification", "within_cluster_error", "scale")
    tracked = follow(estimator, truth, names, observed)

    phi, y, z = (np.asarray(leaf) for leaf in observed)
    beta, wrong, squares = np.array([1.0, -1.5]), 0, 0.0
    for n in (1, 10, 120):
        state, info = run(estimator, phi[:n], y[:n])
        estimate = float(state.scale) * np.asarray(state.direction)
        near = np.linalg.norm(estimate - beta) <= np.linalg.norm(estimate + beta)
        labels = np.asarray(info.label) if near else 1 - np.asarray(info.label)
        wrong, squares = np.sum(labels != z[:n]), np.sum(np.asarray(info.residual) ** 2)
        distance = min(np.linalg.norm(estimate - beta), np.linalg.norm(estimate + beta))
        np.testing.assert_allclose(tracked["coefficient_error"][n - 1], distance, rtol=1e-10)
        np.testing.assert_allclose(tracked["misclassification"][n - 1], wrong / n, rtol=1e-12)
        np.testing.assert_allclose(tracked["within_cluster_error"][n - 1], squares / n, rtol=1e-10)
        np.testing.assert_allclose(tracked["scale"][n - 1], state.scale, rtol=1e-10)
    assert np.all(np.asarray(tracked["finite"]) == 1)


def test_the_tracker_of_the_truth_counts_what_the_noise_confuses():
    truth = symmetric(jnp.array([1.0, -1.5]), 0.7)
    observed = simulate(jax.random.key(5), truth, processes.gaussian(), 200)
    tracked = follow(oracle(truth), truth, ("misclassification", "within_cluster_error"), observed)
    line = np.asarray(observed.phi) @ np.array([1.0, -1.5])
    side = np.where(line * np.asarray(observed.y) >= 0, 0, 1)
    n = np.arange(1, 201)
    wrong = np.cumsum(side != np.asarray(observed.label)) / n
    np.testing.assert_allclose(tracked["misclassification"], wrong, rtol=1e-12)
    squares = np.cumsum((np.abs(observed.y) - np.abs(line)) ** 2) / n
    np.testing.assert_allclose(tracked["within_cluster_error"], squares, rtol=1e-10)


def test_a_lost_estimate_is_not_finite():
    truth = symmetric(jnp.ones(2), 0.7)
    lost = symmetric(jnp.ones(2), 0.7)
    lost = lost._replace(coefficients=lost.coefficients * jnp.nan)
    tracker = tracking.track(
        oracle(truth)._replace(mixture=lambda state: lost), truth, ("coefficient_error",)
    )
    state = tracker.init(2, jax.random.key(0), jnp.float64)
    values = tracker.values(state, jnp.int32(1))
    assert values["finite"] == 0
    assert np.isnan(values["coefficient_error"])


def test_only_what_is_asked_for_is_kept():
    truth = symmetric(jnp.ones(2), 0.7)
    state = tracking.track(oracle(truth), truth, ("scale",)).init(2, jax.random.key(0), jnp.float64)
    assert (state.running, state.observed) == ({}, None)


def test_the_sum_of_squares_goes_on_growing_in_single_precision():
    """A float32 sum of ones stops at 2^24; the compensated one does not."""
    term, start = jnp.float32(1), jnp.float32(2**24)

    @jax.jit
    def sums():
        def step(i, carry):
            naive, total = carry
            return naive + term, metrics._added(total, term)

        return lax.fori_loop(0, 1000, step, (start, (start, jnp.float32(0))))

    naive, total = sums()
    assert naive == 2**24
    assert float(total[0]) + float(total[1]) == 2**24 + 1000


# ---- bad arguments ----------------------------------------------------------------------------------


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"the estimate must have shape \(2, 3\), not \(3, 3\)"):
        metrics.matching(jnp.ones((3, 3)), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="at most 6 components, not 7"):
        metrics.matching(jnp.ones((7, 1)), jnp.ones((7, 1)))
    with pytest.raises(ValueError, match="scale is defined for 2 components, not 3"):
        metrics.scale(general(jnp.ones((3, 1))))
    truth = symmetric(jnp.ones(2), 0.7)
    with pytest.raises(ValueError, match=r"metrics must be one of .* not 'accuracy'"):
        tracking.track(oracle(truth), truth, ("accuracy",))
