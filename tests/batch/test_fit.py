"""Starts, and the best of many of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture
from jaxmlr.batch import em, fit, starts
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.batch.starts.draws import derived
from jaxmlr.batch.starts.kinds import pool, random_partition, sequential_robust, spectral, tensor
from jaxmlr.evaluation.agreement import match

RARE = Mixture(
    np.array([[1.0, 2.0, -1.0, 0.5], [-1.0, -2.0, 0.5, 1.0], [3.0, 0.0, 2.0, -2.0]]),
    np.array([0.7, 0.2, 0.1]),
    np.full(3, 0.25),
)


def imbalanced(n=1000, seed=5):
    """Three components in shares .7, .2 and .1."""
    rng = np.random.default_rng(seed)
    phi = np.column_stack([np.ones(n), rng.normal(size=(n, 3))])
    label = rng.choice(3, n, p=RARE.weights)
    return phi, np.sum(phi * RARE.coefficients[label], axis=1) + 0.5 * rng.normal(size=n)


CROSSING = Mixture(np.array([[2.0, 1.0], [18.0, -1.0]]), np.array([0.6, 0.4]), np.full(2, 0.05**2))


def ordered_stream(n=3740, seed=7):
    """Two lines that cross over one x range; most rows stay, in runs, at two settings with hardly any spread.

    Pairing the clusters the wrong way (two level lines) is a local optimum with wide basins: the clusters
    hold few slopes, and the rows between them, which decide, are one in twenty.
    """
    rng = np.random.default_rng(seed)
    runs = n // 20
    high = np.repeat(rng.random(runs) < 0.5, 20)
    x = np.where(high, 9.0, 7.0) + np.repeat(0.02 * rng.normal(size=runs), 20)
    x = np.where(rng.random(n) < 0.05, rng.uniform(7, 9, n), x)
    label = (rng.random(n) > np.where(high, 0.3, 0.9)).astype(int)
    phi = np.column_stack([np.ones(n), x])
    return phi, np.sum(phi * CROSSING.coefficients[label], axis=1) + 0.05 * rng.normal(size=n)


def data_of(phi, y):
    return Rows(jnp.asarray(phi), jnp.asarray(y), jnp.ones(len(y), y.dtype))


SIMULATED = {"imbalanced": (imbalanced, RARE), "ordered_stream": (ordered_stream, CROSSING)}


def reached(phi, y, components, best, calls):
    likelihoods = [float(fit(phi, y, components, jax.random.key(k)).log_likelihood) for k in range(calls)]
    return sum(abs(value - best) < 1e-6 * abs(best) for value in likelihoods)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in SIMULATED])
def test_default_calls_reach_the_best_optimum_simulated(name):
    make, truth = SIMULATED[name]
    phi, y = make()
    best = float(em(phi, y, truth).log_likelihood)
    assert reached(phi, y, len(truth.weights), best, 10) == 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sim_pitch", "sim_curve", "sim_factors", "sim_k2_d2", "engel", "sim_small"])
def test_default_calls_reach_the_best_optimum(oracles, datasets, name):
    answers, phi, y = datasets.oracle(oracles, name)
    best = answers["mle"]
    assert reached(phi, y, len(best["lambda"]), best["loglik"], 10) == 10


@pytest.mark.slow
def test_random_partitions_alone_fail_on_the_stream():
    phi, y = ordered_stream()
    best = em(phi, y, CROSSING).log_likelihood
    keys = jax.random.split(jax.random.key(0), 20)
    pool = jax.vmap(lambda key: random_partition(key, data_of(phi, y), 2))(keys)
    likelihoods = jax.vmap(lambda start: em(phi, y, start, max_iterations=300).log_likelihood)(pool)
    assert np.all(likelihoods < best - 100)


@pytest.mark.slow
def test_spurious_optimum_is_refused():
    """Eight of 120 rows lie on a line to 1e-5: EM started there wins by likelihood, and means nothing."""
    rng = np.random.default_rng(3)
    n = 120
    phi = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = np.sum(phi * np.array([[1.0, 1.5], [-1.0, -1.5]])[np.arange(n) % 2], axis=1) + rng.normal(size=n)
    y[:8] = phi[:8] @ np.array([0.3, 4.0]) + 1e-5 * rng.normal(size=8)
    trap = Mixture(np.array([[0.3, 4.0], [0.0, 0.0]]), np.array([0.07, 0.93]), np.array([1e-8, 4.0]))
    spurious = em(phi, y, trap)
    kinds = {"random_lines": 20, "spread_lines": 5}
    fitted = fit(phi, y, 2, jax.random.key(0), starts=kinds)
    assert float(spurious.log_likelihood) > float(fitted.log_likelihood)
    assert float(jnp.min(fitted.mixture.noise_variance)) > 0.1
    assert bool(fitted.converged)


@pytest.mark.slow
def test_known_parts_masks_and_batches():
    phi, y = imbalanced(300)
    keep = np.arange(300) < 250
    kinds = {"sequential_robust": 6, "random_partition": 2}
    options = {"starts": kinds, "weights": RARE.weights, "noise_variance": np.array(0.25)}
    hidden = np.where(keep, y, np.nan)
    masked = fit(phi, hidden, 3, jax.random.key(0), mask=keep, **options)
    assert_allclose(masked.mixture.noise_variance, 0.25)
    assert_allclose(masked.mixture.weights, RARE.weights)
    assert_allclose(masked.mixture.coefficients, RARE.coefficients, atol=0.5)
    start = match(RARE, masked.mixture)._replace(weights=masked.mixture.weights)
    known = em(
        phi[keep],
        y[keep],
        start._replace(noise_variance=np.array(0.25)),
        known_weights=True,
        known_variance=True,
    )
    assert_allclose(masked.log_likelihood, known.log_likelihood, rtol=1e-7)
    batch = jax.vmap(lambda key: fit(phi, y, 3, key, starts=kinds).log_likelihood)(
        jax.random.split(jax.random.key(1), 2)
    )
    assert np.all(np.isfinite(batch))


@pytest.mark.slow
def test_a_pool_holds_what_the_functions_of_its_kinds_draw():
    phi, y = imbalanced(100)
    kinds = tuple((name, 2) for name in starts.KINDS)
    key, rows = jax.random.key(4), data_of(phi, y)
    drawn = jax.jit(lambda key: pool(key, rows, 2, kinds=kinds, components=3))(key)
    for number, (name, count) in enumerate(kinds):
        keys = jnp.stack([derived(key, number, place) for place in range(count)])
        alone = jax.jit(jax.vmap(lambda k, name=name: starts.KINDS[name](k, rows, 3, 2)))(keys)
        for one, other in zip(drawn, alone, strict=True):
            assert_allclose(one[2 * number : 2 * number + 2], other, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", list(starts.KINDS))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_kind_of_start_is_finite(kind, dtype):
    phi, y = imbalanced(100)
    rows = Rows(jnp.asarray(phi, dtype), jnp.asarray(y, dtype), jnp.asarray(np.arange(100) % 2, dtype))
    flat = rows._replace(phi=jnp.zeros_like(rows.phi), y=jnp.zeros_like(rows.y))
    both = jax.tree.map(lambda *x: jnp.stack(x), rows, flat)
    start = jax.vmap(lambda rows: starts.KINDS[kind](jax.random.key(0), rows, 3))(both)
    assert {leaf.dtype for leaf in start} == {np.dtype(dtype)}
    assert all(np.all(np.isfinite(leaf)) for leaf in start)
    assert np.all(start.noise_variance > 0)
    assert_allclose(jnp.sum(start.weights, axis=1), 1, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [spectral, tensor, sequential_robust])
def test_starts_that_know_where_the_lines_are(kind):
    """On Gaussian regressors: the span of the lines (spectral), or the lines, before any EM."""
    rng = np.random.default_rng(11)
    beta = np.array([[3.0, 0.0, 1.0, 0.0], [0.0, -3.0, 0.0, 1.0]])
    phi = rng.normal(size=(20_000, 4))
    label = rng.choice(2, 20_000, p=[0.6, 0.4])
    y = np.sum(phi * beta[label], axis=1) + 0.3 * rng.normal(size=20_000)
    truth = Mixture(beta, np.array([0.6, 0.4]), np.full(2, 0.09))
    rows = data_of(phi, y)
    pool = jax.vmap(lambda key: match(kind(key, rows, 2), truth))(jax.random.split(jax.random.key(2), 8))
    if kind is spectral:
        _, size, directions = np.linalg.svd(pool.coefficients.reshape(-1, 4), full_matrices=False)
        assert size[2] < 1e-10 * size[0]
        error = np.linalg.norm(beta - beta @ directions[:2].T @ directions[:2], axis=1)
    else:
        error = np.median(np.linalg.norm(pool.coefficients - beta[None], axis=2), axis=0)
    assert error.max() < 0.8  # of lines of length 3.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"components": 0}, "components must be a whole number of at least 1, not 0"),
        ({"starts": {"magic": 3}}, "starts must be one of 'random_partition'"),
        ({"starts": {}}, "starts must hold at least one start, not 0"),
        (
            {"components": 5, "starts": {"tensor": 1}},
            "components must be at most d = 4 for a tensor start, not 5",
        ),
        ({"weights": np.ones(2) / 2}, r"weights must have shape \(3,\), not \(2,\)"),
        ({"noise_variance": np.ones(2)}, r"noise_variance must have shape \(\) or \(3,\), not \(2,\)"),
        ({"tie": "symmetric"}, "tie='symmetric' must have 2 components, not 3"),
        ({"finalists": 0}, "finalists must be a whole number of at least 1, not 0"),
    ],
)
def test_bad_arguments_are_named(change, message):
    phi, y = imbalanced(50)
    with pytest.raises(ValueError, match=message):
        fit(phi, y, **{"components": 3, "key": jax.random.key(0), **change})
