"""Recursive weighted least squares against normal equations and the reference answers."""

import json
from pathlib import Path

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmlr import least_squares, run
from jaxmlr.recursive.rls import update

DATA = Path(__file__).resolve().parents[1] / "oracles" / "data"
ANSWERS = json.loads((DATA.parent / "sym_iid_d3.json").read_text())
SYM = np.loadtxt(DATA / "sym_iid_d3.csv", delimiter=",", skiprows=1)
PHI, Y = SYM[:, :3], SYM[:, 3]


@pytest.mark.parametrize("answer", ANSWERS["weighted_rls"], ids=lambda a: f"t={a['t']}, delta={a['delta']}")
def test_equals_the_reference_answers(answer):
    t = answer["t"]
    state, _ = run(least_squares(delta=answer["delta"]), PHI[:t], Y[:t])
    np.testing.assert_allclose(state.direction, answer["theta"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        -np.linalg.slogdet(state.covariance)[1], answer["logdet_Pinv"], rtol=0, atol=1e-9
    )


def test_a_flat_prior_gives_ordinary_least_squares():
    state, _ = run(least_squares(initial_covariance=1e8), PHI, Y)
    np.testing.assert_allclose(state.direction, ANSWERS["ols"], rtol=0, atol=1e-8)


def test_noise_variance_is_the_mean_squared_prediction_error():
    estimator = least_squares()
    state, info = run(estimator, PHI, Y)
    np.testing.assert_allclose(state.noise_variance, np.mean(np.square(info.residual)), rtol=1e-12)
    before = run(estimator, PHI[:99], Y[:99])[0].direction
    np.testing.assert_allclose(info.residual[99], Y[99] - PHI[99] @ before, rtol=1e-12)
    np.testing.assert_array_equal(info.label, np.zeros(len(Y), int))


def test_the_mixture_is_one_line():
    estimator = least_squares()
    state, _ = run(estimator, PHI, Y)
    mixture = estimator.mixture(state).validated()
    np.testing.assert_array_equal(mixture.coefficients, state.direction[None])
    np.testing.assert_array_equal(mixture.weights, [1.0])


tame = st.floats(-10, 10, width=32)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float64, (3, 3), elements=tame),
    hnp.arrays(np.float64, 3, elements=tame),
    hnp.arrays(np.float64, 3, elements=tame),
    tame,
    st.floats(0.25, 4),
)
def test_one_update_adds_the_weight_of_one_row(root, theta, phi, y, inverse_weight):
    """P'^-1 = P^-1 + w phi phi' and P'^-1 theta' = P^-1 theta + w phi y, for any P > 0."""
    P = root @ root.T / 10 + np.eye(3)
    information, moment = np.linalg.inv(P), np.linalg.solve(P, theta)
    information = information + np.outer(phi, phi) / inverse_weight
    moment = moment + phi * y / inverse_weight
    new_theta, new_P = jax.jit(update)(*map(jnp.asarray, (theta, P, phi, y, inverse_weight)))
    np.testing.assert_allclose(new_P @ information, np.eye(3), rtol=0, atol=1e-8)
    np.testing.assert_allclose(new_theta, np.linalg.solve(information, moment), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e2])
def test_the_covariance_stays_symmetric_and_positive(dtype, scale):
    state, _ = run(least_squares(), (scale * PHI).astype(dtype), Y.astype(dtype))
    np.testing.assert_array_equal(state.covariance, state.covariance.T)
    assert np.linalg.eigvalsh(np.asarray(state.covariance, np.float64)).min() > 0


def test_regressors_in_large_units_do_not_diverge_in_single_precision():
    state, _ = run(least_squares(), (1e5 * PHI).astype(np.float32), Y.astype(np.float32))
    assert np.isfinite(state.direction).all()


def test_regressors_in_large_units_do_not_diverge_in_double_precision():
    state, _ = run(least_squares(), 1e5 * PHI, Y)
    np.testing.assert_allclose(1e5 * state.direction, ANSWERS["ols"], rtol=1e-5)


BAD = [
    (dict(delta=-1.0), "delta must be at least 0"),
    (dict(initial_direction=np.nan), "initial_direction must be finite"),
    (dict(initial_direction=np.ones(2)), r"initial_direction must have shape \(\) or \(3,\), not \(2,\)"),
    (dict(initial_covariance=-1.0), "initial_covariance must be greater than 0"),
    (dict(initial_covariance=np.zeros((3, 3))), "smallest eigenvalue of initial_covariance"),
    (dict(initial_covariance=np.ones((1, 3))), "initial_covariance must be a symmetric matrix"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        least_squares(**options).init(3)
