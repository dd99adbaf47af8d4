"""Drifts of the truth: closed forms, data that follow them, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import drifts, processes, simulate, symmetric

BETA = np.array([[1.0, -1.5], [0.5, 2.0]], np.float32)


def at(drift, n, beta=BETA):
    return np.asarray(drift.coefficients(jnp.asarray(beta), jnp.float32(n)))


@pytest.mark.parametrize(
    ("drift", "n", "expected"),
    [
        (drifts.jump(10, [0.5, 0.0]), 9, BETA),
        (drifts.jump(10, [0.5, 0.0]), 10, BETA + np.array([0.5, 0.0])),
        (drifts.jump(10, -BETA), 11, 0 * BETA),
        (drifts.slope(0.01), 1, BETA),
        (drifts.slope(BETA / 100), 51, 1.5 * BETA),
        (drifts.rotation(np.pi / 200), 101, np.array([[1.5, 1.0], [-2.0, 0.5]])),
        (drifts.rotation(np.pi / 200, plane=[1, 0]), 101, np.array([[-1.5, -1.0], [2.0, -0.5]])),
    ],
)
def test_coefficients_are_the_closed_form(drift, n, expected):
    np.testing.assert_allclose(at(drift, n), expected, atol=1e-5)


def test_a_rotation_in_a_plane_leaves_other_coordinates_and_lengths():
    beta = np.array([[1.0, 2.0, 3.0]], np.float32)
    turned = at(drifts.rotation(0.3, plane=(0, 2)), 4, beta)
    np.testing.assert_allclose(np.linalg.norm(turned), np.linalg.norm(beta), rtol=1e-6)
    assert turned[0, 1] == 2.0
    np.testing.assert_allclose(turned[0, 0], np.cos(0.9) - 3 * np.sin(0.9), rtol=1e-5)


def test_a_symmetric_mixture_stays_symmetric():
    moved = at(drifts.slope([0.1, 0.0]).mirrored(), 11, np.stack([BETA[0], -BETA[0]]))
    np.testing.assert_allclose(moved, [[2.0, -1.5], [-2.0, 1.5]], rtol=1e-6)


def test_data_follow_the_drift_on_the_same_noise():
    truth, key = symmetric(jnp.asarray(BETA[0]), 0.7, 1e-6), jax.random.key(1)
    drift = drifts.slope([0.1, -0.2]).mirrored()
    still = simulate(key, truth, processes.gaussian(), 30)
    phi, y, label = simulate(key, truth, processes.gaussian(), 30, drift=drift)
    np.testing.assert_array_equal(phi, still.phi)
    np.testing.assert_array_equal(label, still.label)
    beta = BETA[0] + np.arange(30)[:, None] * [0.1, -0.2]
    expected = np.where(label == 0, 1, -1) * np.sum(beta * np.asarray(phi), axis=1)
    np.testing.assert_allclose(y, expected, atol=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: drifts.jump(0, 1.0), "at must be at least 1"),
        (lambda: drifts.slope([np.nan, 1.0]), "rate must be finite"),
        (lambda: drifts.rotation(0.1, plane=(1, 1)), "two different coordinates"),
        (lambda: at(drifts.rotation(0.1, plane=(0, 2)), 2), "two of the 2 coordinates"),
    ],
)
def test_what_is_no_drift_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
