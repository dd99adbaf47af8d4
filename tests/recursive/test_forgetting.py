import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmlr
from jaxmlr.recursive import least_squares


def stream(n=300, d=3, seed=0):
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(n, d))
    return phi, phi @ np.arange(1.0, d + 1) + rng.normal(size=n)


def weighted(phi, y, weights, prior, start):
    """The minimiser in closed form; `prior` is the information that the start still carries."""
    information = prior * np.eye(phi.shape[1]) + (phi * weights[:, None]).T @ phi
    return np.linalg.solve(information, prior * start + phi.T @ (weights * y)), np.linalg.inv(information)


@pytest.mark.parametrize("form", ["outer", "sqrt"])
@pytest.mark.parametrize("forgetting", [1.0, 0.97])
def test_exponential_forgetting_is_weighted_least_squares(form, forgetting):
    phi, y = stream()
    n = len(y)
    method = least_squares(
        delta=0.2,
        forgetting=forgetting,
        guard=False,
        form=form,
        initial_direction=0.3,
        initial_covariance=2.0,
    )
    state, _ = jaxmlr.run(method, phi, y)
    k = np.arange(1.0, n + 1)
    theta, P = weighted(phi, y, forgetting ** (n - k) * k**-0.2, forgetting**n / 2, np.full(3, 0.3))
    np.testing.assert_allclose(state.direction, theta, rtol=1e-9)
    covariance = state.covariance if form == "outer" else state.covariance @ state.covariance.T
    np.testing.assert_allclose(covariance, P, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("form", ["outer", "sqrt"])
def test_guard_forgets_along_the_regressor_only(form):
    phi, y = stream(60)
    phi[7] = 0
    state, _ = jaxmlr.run(least_squares(forgetting=0.9, form=form), phi, y)
    information, theta = np.eye(3), np.zeros(3)
    for x, target in zip(phi, y, strict=True):
        if x.any():
            information = information - 0.1 * np.outer(x, x) / (x @ np.linalg.solve(information, x))
        information = information + np.outer(x, x)
        theta = theta + np.linalg.solve(information, x) * (target - theta @ x)
    np.testing.assert_allclose(state.direction, theta, rtol=1e-9)
    covariance = state.covariance if form == "outer" else state.covariance @ state.covariance.T
    np.testing.assert_allclose(covariance, np.linalg.inv(information), rtol=1e-8)


@pytest.mark.parametrize("form", ["outer", "sqrt"])
def test_forms_agree_without_forgetting(form):
    phi, y = stream()
    plain, _ = jaxmlr.run(least_squares(initial_covariance=jnp.array([1.0, 2.0, 3.0])), phi, y)
    other, _ = jaxmlr.run(least_squares(form=form, initial_covariance=jnp.array([1.0, 2.0, 3.0])), phi, y)
    np.testing.assert_allclose(other.direction, plain.direction, rtol=1e-10)


@pytest.mark.parametrize("form", ["outer", "sqrt"])
def test_guard_stops_wind_up_and_still_tracks(form):
    """One direction is never visited; the coefficients in the other jump half way."""
    n, rng = 20_000, np.random.default_rng(1)
    phi = rng.normal(size=(n, 1)) * np.array([[1.0, 0.0]])
    y = np.where(np.arange(n) < n // 2, 2.0, -1.0) * phi[:, 0] + 0.1 * rng.normal(size=n)
    phi, y = phi.astype(np.float32), y.astype(np.float32)
    guarded, _ = jaxmlr.run(least_squares(forgetting=0.95, form=form), phi, y)
    assert abs(guarded.direction[0] + 1) < 0.1
    assert float(jnp.max(jnp.abs(guarded.covariance))) <= 1.0
    wound_up, _ = jaxmlr.run(least_squares(forgetting=0.95, form=form, guard=False), phi, y)
    assert not np.isfinite(wound_up.covariance).all()


def test_square_root_keeps_float32_accurate():
    """The stream of the accuracy table: forgetting .95 and regressors of condition 1e3."""
    rng, d, n = np.random.default_rng(2), 6, 10_000
    phi = rng.normal(size=(n, d)) * np.logspace(0, -3, d)
    y = phi @ np.ones(d) + 0.1 * rng.normal(size=n)
    errors = {}
    for form in ("outer", "sqrt"):
        method = least_squares(forgetting=0.95, guard=False, form=form, initial_covariance=100.0)
        exact, _ = jaxmlr.run(method, phi, y)
        single, _ = jaxmlr.run(method, phi.astype(np.float32), y.astype(np.float32))
        exact = np.asarray(exact.direction)
        errors[form] = np.linalg.norm(np.asarray(single.direction) - exact) / np.linalg.norm(exact)
    assert errors["sqrt"] < min(1e-5, errors["outer"])


def test_forgetting_follows_a_rotation():
    """Slow rotation of beta: the error stays bounded with forgetting and grows without."""
    n, rng = 4_000, np.random.default_rng(3)
    angle = 2 * np.pi * np.arange(n) / n
    truth = np.stack([np.cos(angle), np.sin(angle)], 1)
    phi = rng.normal(size=(n, 2))
    y = (phi * truth).sum(1) + 0.1 * rng.normal(size=n)
    errors = {
        value: np.linalg.norm(jaxmlr.run(least_squares(forgetting=value), phi, y)[0].direction - truth[-1])
        for value in (1.0, 0.9)
    }
    assert errors[0.9] < 0.1 < 0.5 < errors[1.0]


def test_forgetting_may_be_traced():
    phi, y = stream(50)
    values = jnp.array([1.0, 0.9])
    grid = jax.vmap(lambda value: jaxmlr.run(least_squares(forgetting=value), phi, y)[0].direction)(values)
    for value, traced in zip(values, grid, strict=True):
        one, _ = jaxmlr.run(least_squares(forgetting=float(value)), phi, y)
        np.testing.assert_allclose(traced, one.direction, rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"forgetting": 0.0}, "forgetting"),
        ({"forgetting": 1.1}, "1 - forgetting"),
        ({"form": "joseph"}, "form"),
        ({"delta": -1.0}, "delta"),
        ({"initial_covariance": 0.0}, "initial_covariance"),
    ],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        least_squares(**arguments)
