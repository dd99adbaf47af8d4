"""The EM recursions against NumPy loops, published answers, and their own claims."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmlr
from jaxmlr import lanes, processes, recursive
from jaxmlr.recursive.online_em import solve

DATA = Path(__file__).resolve().parents[1] / "oracles" / "data"


def rank_one(theta, P, phi, step, h):
    g = P @ phi
    a = 1 / (1 / h + phi @ g)
    return theta + a / h * g * step, P - a * np.outer(g, g)


def two_lines(first, second, p=0.5, n=400, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(n, len(first)))
    lines = np.stack([phi @ first, phi @ second])
    return phi, np.where(rng.random(n) < p, *lines) + noise * rng.normal(size=n)


def symmetric_loop(beta, P, phi, y, variance, half_log_odds, gain, learn):
    share = 0.5
    for n, (x, target) in enumerate(zip(phi, y, strict=True), start=1):
        b = beta @ x
        s = target * np.tanh(b * target / variance + half_log_odds)
        h = max(2 * b * b / (variance + 2 * b * b), 0.05) if gain == "newton" else 1.0
        beta, P = rank_one(beta, P, x, s - b, h)
        if learn:
            posterior = (1 + np.tanh(b * target / variance + np.log(share / (1 - share)) / 2)) / 2
            share += (posterior - share) / (n + 10)
            variance += (target**2 - 2 * s * b + b * b - variance) / (n + 10)
    return beta, P, share, variance


@pytest.mark.parametrize("gain", ["em", "newton"])
@pytest.mark.parametrize("learn", [False, True])
def test_symmetric_em_is_its_equations(gain, learn):
    phi, y = two_lines(np.array([1.0, -1.5]), np.array([-1.0, 1.5]), 0.7)
    beta = np.array([0.4, -0.1])
    method = recursive.symmetric_em(
        2.0, gain=gain, learn_weights=learn, learn_variance=learn, initial_coefficients=beta
    )
    state, _ = jaxmlr.run(method, phi, y)
    expected = symmetric_loop(beta, np.eye(2), phi, y, 2.0, 0.0, gain, learn)
    for actual, right in zip(state, expected, strict=False):
        np.testing.assert_allclose(actual, right, rtol=1e-9)


def test_a_known_share_tilts_the_posterior():
    phi, y = two_lines(np.array([1.0, -1.5]), np.array([-1.0, 1.5]), 0.8)
    state, _ = jaxmlr.run(recursive.symmetric_em(p=0.8, initial_coefficients=0.3), phi, y)
    start = np.full(2, 0.3)
    beta, *_ = symmetric_loop(start, np.eye(2), phi, y, 1.0, np.log(4.0) / 2, "newton", False)
    np.testing.assert_allclose(state.coefficients, beta, rtol=1e-9)


def test_midpoint_em_is_its_equations():
    phi, y = two_lines(np.array([1.0, -0.5]), np.array([-1.0, 1.0]))
    method = recursive.midpoint_em(1.5, initial_difference=np.array([0.5, -0.2]))
    state, _ = jaxmlr.run(method, phi, y)
    mu, P, delta, Q = np.zeros(2), np.eye(2), np.array([0.5, -0.2]), np.eye(2)
    for x, target in zip(phi, y, strict=True):
        u = target - mu @ x
        delta, Q, *_ = symmetric_loop(delta, Q, x[None], [u], 1.5, 0.0, "newton", False)
        mu, P = rank_one(mu, P, x, u, 1.0)
    np.testing.assert_allclose(state.midpoint, mu, rtol=1e-9)
    np.testing.assert_allclose(state.difference.coefficients, delta, rtol=1e-9)
    np.testing.assert_allclose(method.mixture(state).coefficients, [mu + delta, mu - delta], rtol=1e-9)


@pytest.mark.parametrize("gain", ["em", "newton"])
@pytest.mark.parametrize("noise", [4.0, [4.0, 3.0]])
def test_online_em_is_its_equations(gain, noise):
    phi, y = two_lines(np.array([1.0, -0.5]), np.array([-1.0, 2.0]), 0.3)
    start = np.array([[0.5, 0.0], [-0.5, 0.5]])
    method = recursive.recursive_em(
        2, np.asarray(noise), gain=gain, learn_variance=True, initial_coefficients=start
    )
    state, _ = jaxmlr.run(method, phi, y)
    beta, P = [*start], [np.eye(2), np.eye(2)]
    share, variance = np.full(2, 0.5), np.asarray(noise)
    for n, (x, target) in enumerate(zip(phi, y, strict=True), start=1):
        e = target - np.array([b @ x for b in beta])
        joint = share * np.exp(-(e**2) / (2 * variance)) / np.sqrt(variance)
        g = joint / joint.sum()
        h = g * np.maximum(1 - (1 - g) * e**2 / variance, 0.05) if gain == "newton" else g
        for k in range(2):
            beta[k], P[k] = rank_one(beta[k], P[k], x, g[k] * e[k], h[k])
        if variance.ndim:
            variance = variance + np.minimum(g / share / (n + 20), 1) * (e**2 - variance)
        else:
            variance = variance + (np.sum(g * e**2) - variance) / (n + 20)
        share = share + (g - share) / (n + 20)
    np.testing.assert_allclose(state.coefficients, beta, rtol=1e-8)
    np.testing.assert_allclose(state.weights, share, rtol=1e-8)
    np.testing.assert_allclose(state.noise_variance, variance, rtol=1e-8)


def test_two_components_tied_to_one_another_are_the_symmetric_recursion():
    phi, y = two_lines(np.array([1.0, -1.5]), np.array([-1.0, 1.5]))
    g = 1 / (1 + np.exp(-2 * 0.3 * y[0] * phi[0, 0]))
    general = recursive.recursive_em(
        2, gain="em", learn_weights=False, initial_coefficients=np.array([[0.3, 0], [-0.3, 0]])
    )
    state, _ = general.step(general.init(2), (jnp.asarray(phi[0]), jnp.asarray(y[0])))
    beta = state.coefficients[0] - jnp.array([0.3, 0.0])
    error = y[0] - 0.3 * phi[0, 0]
    np.testing.assert_allclose(beta, g * error * phi[0] / (1 + g * phi[0] @ phi[0]), rtol=1e-10)


def test_statistics_em_follows_the_published_path(oracles):
    answer = json.loads((oracles / "online_em__sim_k2_d2.json").read_text())
    table = np.loadtxt(DATA / "sim_k2_d2.csv", delimiter=",", skiprows=1)
    header = (DATA / "sim_k2_d2.csv").read_text().splitlines()[0].replace('"', "").split(",")
    columns = [k for k, name in enumerate(header) if name.startswith("x")]
    phi = np.column_stack([np.ones(len(table)), table[:, columns]])
    y = table[:, header.index("y")]
    start = jaxmlr.Mixture(
        *(jnp.asarray(answer["start"][name], float) for name in ("beta", "lambda", "sigma2"))
    )
    method = recursive.online_em(start)
    for name, right in answer["trajectory"].items():
        state, _ = jaxmlr.run(method, phi[: int(name[1:])], y[: int(name[1:])])
        estimate = method.mixture(state)
        np.testing.assert_allclose(estimate.coefficients, right["beta"], rtol=1e-8)
        np.testing.assert_allclose(estimate.weights, right["lambda"], rtol=1e-8)
        np.testing.assert_allclose(estimate.noise_variance, right["sigma2"], rtol=1e-8)


def test_nearly_singular_systems_are_solved_to_rounding_in_any_compilation():
    """By the backward error; there are as many rows as unknowns, so that the last pivots are small."""
    rng = np.random.default_rng(0)
    rows, right = (rng.normal(size=shape).astype(np.float32) for shape in ((3000, 10, 10), (3000, 10)))
    gram = np.einsum("nri,nrj->nij", rows, rows)
    gram = ((gram + gram.transpose(0, 2, 1)) / 2).astype(np.float32)
    full = np.linalg.cond(gram.astype(np.float64)) < 1e5  # beyond, a pivot may be taken for none
    gram, right = gram[full], right[full]
    for batched in (jax.vmap, lanes):
        solutions = np.asarray(jax.jit(batched(solve))(gram, right), np.float64)
        left = np.linalg.norm(np.einsum("nij,nj->ni", gram, solutions) - right, axis=1)
        size = np.linalg.norm(gram, axis=(1, 2)) * np.linalg.norm(solutions, axis=1) + np.linalg.norm(
            right, axis=1
        )
        assert np.max(left / (size + np.linalg.norm(right, axis=1))) < 5e-6


def test_three_lines_are_found_from_a_near_start():
    truth = jaxmlr.Mixture(
        jnp.array([[2.0, 0, -1], [-1, 2, 1], [0, -2, 2]]), jnp.array([0.5, 0.3, 0.2]), jnp.array(1.0)
    )
    phi, y, _ = jax.jit(lambda: jaxmlr.simulate(jax.random.key(0), truth, processes.ar(), 10_000))()
    method = recursive.recursive_em(
        3, 2.0, learn_variance=True, initial_coefficients=truth.coefficients + 0.3
    )
    estimate = method.mixture(jax.jit(lambda: jaxmlr.run(method, phi, y))()[0])
    np.testing.assert_allclose(estimate.coefficients, truth.coefficients, atol=0.08)
    np.testing.assert_allclose(estimate.weights, truth.weights, atol=0.03)
    np.testing.assert_allclose(estimate.noise_variance, 1.0, atol=0.08)


def test_forgetting_follows_a_jump():
    n = 3_000
    first = two_lines(np.array([1.0, -1.5]), np.array([-1.0, 1.5]), n=n, noise=0.5)
    second = two_lines(np.array([1.5, 1.0]), np.array([-1.5, -1.0]), n=n, seed=1, noise=0.5)
    phi, y = (np.concatenate(pair) for pair in zip(first, second, strict=True))
    errors = {}
    for forgetting in (1.0, 0.98):
        method = recursive.symmetric_em(
            0.25, forgetting=forgetting, initial_coefficients=np.array([0.9, -1.2])
        )
        beta = jaxmlr.run(method, phi, y)[0].coefficients
        errors[forgetting] = min(np.linalg.norm(beta - s * np.array([1.5, 1.0])) for s in (1, -1))
    assert errors[0.98] < 0.2 < errors[1.0]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: recursive.symmetric_em(0.0), "noise_variance"),
        (lambda: recursive.symmetric_em(p=1.0), "p must"),
        (lambda: recursive.symmetric_em(gain="full"), "gain"),
        (lambda: recursive.midpoint_em(initial_midpoint=np.nan), "initial_midpoint"),
        (lambda: recursive.recursive_em(1), "components"),
        (lambda: recursive.recursive_em(2, jnp.ones(3)), "noise_variance"),
        (lambda: recursive.recursive_em(2, weights=jnp.ones(3)), "weights"),
        (lambda: recursive.recursive_em(2, initial_coefficients=jnp.ones(3)), "initial_coefficients"),
        (lambda: recursive.online_em(jaxmlr.symmetric(jnp.ones(2), 0.5), warm_up=0), "warm_up"),
        (lambda: recursive.online_em(jaxmlr.symmetric(jnp.ones(2), 0.5)).init(3), "start"),
        (lambda: recursive.fisher_scoring(burn_in=0), "burn_in"),
        (lambda: recursive.fisher_scoring(confidence=2.0), "confidence"),
        (lambda: recursive.second_moment(initial_covariance=-1.0), "initial_covariance"),
    ],
)
def test_bad_arguments_are_named(make, name):
    with pytest.raises(ValueError, match=name):
        make()
