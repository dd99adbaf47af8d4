"""The moments that a pass over the rows leaves, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture
from jaxmlr.batch import rows as layout
from jaxmlr.batch import steps
from jaxmlr.batch.rows import pack, tiled

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


def problem(n, d, components, dtype, seed=0):
    """Rows, row weights with zeros among them, and a mixture."""
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(n, d)) * np.logspace(0, 1, d)
    beta = rng.normal(size=(components, d))
    y = np.sum(phi * beta[rng.integers(components, size=n)], axis=1) + 0.5 * rng.normal(size=n)
    weight = rng.integers(0, 3, size=n) + 0.5 * (n == 1)
    mixture = Mixture(beta + 0.1, rng.dirichlet(np.ones(components)), rng.uniform(0.5, 2, size=components))
    data = [np.asarray(x, dtype) for x in (phi, y, weight)]
    return data, jax.tree.map(lambda x: np.asarray(x, dtype), mixture)


def moments(phi, error, r):
    """Sums of r phi phi', r phi e, r e^2 and r for error and r (n, K)."""
    return (
        np.einsum("nk,ni,nj->kij", r, phi, phi),
        np.einsum("nk,nk,ni->ki", r, error, phi),
        np.sum(r * error**2, axis=0),
        np.sum(r, axis=0),
    )


def expected(data, mixture, outlier_density=0.0, hard=False):
    """The E-step as its docstring has it."""
    phi, y, weight = (x.astype(np.float64) for x in data)
    beta, weights, variance = (x.astype(np.float64) for x in mixture)
    error = y[:, None] - phi @ beta.T
    density = weights * np.exp(-0.5 * error**2 / variance) / np.sqrt(2 * np.pi * variance)
    if hard:
        r = np.eye(len(weights))[np.argmax(density, axis=1)]
        likelihood = weight @ np.log(np.max(density, axis=1))
    else:
        total = outlier_density + density.sum(axis=1)
        r, likelihood = density / total[:, None], weight @ np.log(total)
    return (*moments(phi, error, weight[:, None] * r), likelihood)


def check(actual, wanted, dtype):
    for name, one, other in zip(actual._fields[:5], actual[:5], wanted, strict=True):
        assert one.dtype == dtype
        scale = np.max(np.abs(other), axis=tuple(range(1, np.ndim(other))), keepdims=True)
        assert_allclose(one, other, rtol=0, atol=TOLERANCE[dtype] * scale.max(), err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "d", "components"),
    [(1, 1, 1), (63, 2, 2), (64, 3, 2), (65, 5, 3), (257, 6, 4), (1000, 10, 3), (5000, 13, 2)],
)
def test_the_e_steps(n, d, components, dtype):
    data, mixture = problem(n, d, components, dtype)
    rows = pack(*map(jnp.asarray, data))
    check(steps.e_step(rows, mixture), expected(data, mixture), dtype)
    density = jnp.asarray(0.05, dtype)
    check(steps.e_step(rows, mixture, density), expected(data, mixture, 0.05), dtype)
    check(steps.hard_e_step(rows, mixture), expected(data, mixture, hard=True), dtype)


@pytest.mark.parametrize("n", [1, 100, 1000])
def test_a_posterior_that_is_given(n):
    (phi, y, weight), _ = problem(n, 4, 3, np.float64)
    posterior = np.random.default_rng(1).dirichlet(np.ones(3), size=n)
    sums = steps.given(pack(*map(jnp.asarray, (phi, y, weight))), tiled(jnp.asarray(posterior)))
    wanted = moments(phi, np.repeat(y[:, None], 3, axis=1), weight[:, None] * posterior)
    check(sums, (*wanted, 0.0), np.float64)


def test_gram_matrices_are_exactly_symmetric():
    data, mixture = problem(700, 11, 3, np.float32)
    gram = steps.e_step(pack(*map(jnp.asarray, data)), mixture).gram
    np.testing.assert_array_equal(gram, gram.mT)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("n", [0, 1, 64, 255, 256, 257, 3000, 20_000])
def test_rows_keep_their_order_and_are_padded_with_zeros(n, backend, monkeypatch):
    """Also in the wider blocks of a GPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    values = np.arange(1, 2 * n + 1, dtype=np.float32).reshape(n, 2)
    blocks = np.asarray(tiled(jnp.asarray(values)))
    count, _, tiles, lanes = blocks.shape
    assert tiles <= layout.TILES
    assert lanes <= (layout.LANES if backend == "cpu" else layout.GPU_LANES)
    back = blocks.transpose(0, 2, 3, 1).reshape(-1, 2)
    np.testing.assert_array_equal(back[:n], values)
    np.testing.assert_array_equal(back[n:], 0)
    assert len(back) - n <= lanes * count  # a tile a block at most


def test_log_density_is_the_mixtures():
    data, mixture = problem(300, 3, 2, np.float64)
    rows = pack(*map(jnp.asarray, data))
    actual = jax.lax.map(lambda part: jnp.sum(part.weight * steps.log_density(part, mixture)), rows)
    assert_allclose(np.sum(actual), expected(data, mixture)[-1], rtol=1e-12)
