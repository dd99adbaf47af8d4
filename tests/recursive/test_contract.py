"""What every recursive method promises, over one table of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmlr
from jaxmlr import recursive

START = jaxmlr.Mixture(jnp.array([[1.0, 0.5], [-0.5, 0.2]]), jnp.array([0.6, 0.4]), jnp.array([1.0, 2.0]))
SYMMETRIC = jaxmlr.symmetric(jnp.array([0.5, -0.5]), 0.6, 1.0)

METHODS = {
    "two_step": lambda: recursive.two_step(1.0),
    "two_step newton": lambda: recursive.two_step(1.0, gain="newton", bound=3.0, delay=10),
    "least_squares": lambda: recursive.least_squares(forgetting=0.98),
    "least_squares sqrt": lambda: recursive.least_squares(forgetting=0.98, form="sqrt"),
    "symmetric_em": lambda: recursive.symmetric_em(),
    "symmetric_em all": lambda: recursive.symmetric_em(
        4.0, gain="em", learn_weights=True, learn_variance=True, forgetting=0.98
    ),
    "midpoint_em": lambda: recursive.midpoint_em(4.0, learn_variance=True, forgetting=0.98),
    "online_em": lambda: recursive.online_em(3, gain="em"),
    "online_em all": lambda: recursive.online_em(
        2, jnp.array([4.0, 4.0]), learn_variance=True, forgetting=0.98
    ),
    "statistics_em": lambda: recursive.statistics_em(START),
    "online_gradient": lambda: recursive.online_gradient(
        optax.adam(1e-2), START, learn_weights=True, learn_variance=True
    ),
    "online_gradient symmetric": lambda: recursive.online_gradient(
        optax.sgd(1e-3), SYMMETRIC, symmetric=True
    ),
    "second_moment": lambda: recursive.second_moment(),
    "adaptive": lambda: recursive.adaptive(burn_in=20),
    "adaptive_lines": lambda: recursive.adaptive_lines(3, candidates=3, burn_in=10, search=30),
    "adaptive forgetting": lambda: recursive.adaptive(burn_in=20, forgetting=0.98),
}


def stream(n=60, dtype=np.float64):
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(n, 2))
    y = np.where(rng.random(n) < 0.7, 1, -1) * (phi @ np.array([1.0, -1.5])) + 0.5 * rng.normal(size=n)
    return phi.astype(dtype), y.astype(dtype)


TWO = tuple(np.stack([x, y]) for x, y in zip(stream(), (2 * stream()[0], stream()[1]), strict=True))


def run_of(method, key):
    return lambda phi, y: method.mixture(jaxmlr.run(method, phi, y, key)[0])


DEGENERATE = {
    "zero regressors": lambda phi, y: (0 * phi, y),
    "zero responses": lambda phi, y: (phi, 0 * y),
    "constant responses": lambda phi, y: (phi, 0 * y + 3),
    "all zero": lambda phi, y: (0 * phi, 0 * y),
    "repeated rows": lambda phi, y: (0 * phi + phi[0], 0 * y + y[0]),
    "one line without noise": lambda phi, y: (phi, phi @ np.ones(2, phi.dtype)),
    "large": lambda phi, y: (1e6 * phi, 1e6 * y),
    "large regressors": lambda phi, y: (1e6 * phi, y),
    "large responses": lambda phi, y: (phi, 1e6 * y),
    "small": lambda phi, y: (1e-6 * phi, 1e-6 * y),
}


def all_finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", METHODS)
def test_shapes_dtypes_and_agreement_of_loop_scan_and_vmap(name):
    method = METHODS[name]()
    phi, y = stream()
    key = jax.random.key(3)
    state = method.init(2, key, jnp.float64)
    step = jax.jit(method.step)
    labels = []
    for row in zip(phi, y, strict=True):
        state, info = step(state, row)
        labels.append(int(info.label))
    scanned, infos = jax.jit(lambda p, t: jaxmlr.run(method, p, t, key))(phi, y)
    np.testing.assert_array_equal(infos.label, labels)
    assert infos.label.dtype == jnp.int32
    assert infos.residual.shape == (60,)
    mixture = method.mixture(scanned)
    components = mixture.coefficients.shape[0]
    assert mixture.coefficients.shape == (components, 2)
    np.testing.assert_allclose(jnp.sum(mixture.weights), 1, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10), state, scanned)

    by_vmap = jax.jit(jax.vmap(run_of(method, key)))(*TWO)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-7, atol=1e-10), by_vmap, mixture)


@pytest.mark.parametrize(
    "name", ["midpoint_em", "online_em all", "statistics_em", "adaptive forgetting", "online_gradient"]
)
def test_lanes_agree_with_vmap(name):
    run = run_of(METHODS[name](), jax.random.key(3))
    by_vmap, by_lanes = jax.jit(jax.vmap(run))(*TWO), jax.jit(jaxmlr.lanes(run))(*TWO)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10), by_vmap, by_lanes)


@pytest.mark.parametrize("name", METHODS)
def test_single_precision_on_degenerate_streams(name):
    """All streams in one vmapped scan; the state keeps its dtype and stays finite."""
    method = METHODS[name]()
    streams = [spoil(*stream(200, np.float32)) for spoil in DEGENERATE.values()]
    phi, y = (np.stack(part).astype(np.float32) for part in zip(*streams, strict=True))
    state, info = jax.jit(jax.vmap(lambda p, t: jaxmlr.run(method, p, t)))(phi, y)
    mixture = jax.vmap(method.mixture)(state)
    assert {leaf.dtype for leaf in mixture} == {jnp.dtype(jnp.float32)}
    for k, case in enumerate(DEGENERATE):
        parts = jax.tree.map(lambda leaf, k=k: leaf[k], (state, info, mixture))
        assert all_finite(parts), case


@pytest.mark.parametrize("name", METHODS)
def test_regressors_in_another_precision_are_cast_to_the_state(name):
    method = METHODS[name]()
    phi, y = stream(3, np.float32)
    state = method.init(2, None, jnp.float64)
    state, info = method.step(state, (jnp.asarray(phi[0]), jnp.asarray(y[0])))
    assert method.mixture(state).coefficients.dtype == jnp.float64
    assert info.residual.dtype == jnp.float64
