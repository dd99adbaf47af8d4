"""EM beyond the reference answers: what it promises on any data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture
from jaxmlr.batch import em, from_labels, hard_em

TRUTH = Mixture(np.array([[1.0, 2.0], [-1.0, 0.5]]), np.array([0.6, 0.4]), np.array([0.25, 0.5]))
START = Mixture(np.array([[0.5, 1.0], [-0.5, 1.0]]), np.array([0.5, 0.5]), np.array([1.0, 1.0]))


def draw(n=200, seed=0):
    rng = np.random.default_rng(seed)
    phi = np.column_stack([np.ones(n), rng.normal(size=n)])
    label = (rng.random(n) >= TRUTH.weights[0]).astype(int)
    y = np.sum(phi * TRUTH.coefficients[label], axis=1) + np.sqrt(TRUTH.noise_variance[label]) * rng.normal(
        size=n
    )
    return phi, y


def close(a, b, rtol):
    jax.tree.map(lambda x, z: assert_allclose(x, z, rtol=rtol, atol=rtol), a.mixture, b.mixture)
    assert_allclose(a.log_likelihood, b.log_likelihood, rtol=rtol)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"equal_variance": True},
        {"known_weights": True},
        {"known_variance": True},
        {"ridge": 3.0},
        {"ridge": np.array([0.0, 5.0]), "equal_variance": True},
        {"tie": "symmetric"},
        {"variance_floor": 0.6},
        {"row_weights": np.linspace(0, 3, 200)},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", [em, hard_em])
def test_trace_never_falls(method, options):
    fit = method(*draw(), START, max_iterations=60, tolerance=0.0, **options)
    assert np.all(np.diff(fit.trace) >= -1e-10 * np.abs(fit.trace[1:]))
    assert fit.trace.shape == (61,)


def test_optimum_is_a_zero_of_the_gradient():
    phi, y = draw()
    fit = em(phi, y, START, tolerance=1e-12)
    gradient = jax.grad(lambda beta: fit.mixture._replace(coefficients=beta).log_likelihood(phi, y))
    assert np.abs(gradient(fit.mixture.coefficients)).max() < 1e-7


def test_known_parts_stay():
    phi, y = draw()
    fit = em(phi, y, TRUTH, known_weights=True, known_variance=True)
    assert_allclose(fit.mixture.weights, TRUTH.weights, rtol=0)
    assert_allclose(fit.mixture.noise_variance, TRUTH.noise_variance, rtol=0)
    fit = em(phi, y, TRUTH._replace(noise_variance=np.array(0.3)), known_variance=True)
    assert fit.mixture.noise_variance.shape == ()


def test_mask_is_leaving_rows_out_and_may_hide_nan():
    phi, y = draw()
    keep = np.arange(200) % 5 != 0
    wanted = em(phi[keep], y[keep], START)
    y, phi = np.where(keep, y, np.nan), np.where(keep[:, None], phi, np.inf)
    close(em(phi, y, START, mask=keep), wanted, 1e-9)
    with pytest.raises(ValueError, match=r"phi must be finite: 40 bad rows, the first is row 0"):
        em(phi, y, START)


def test_row_weights_are_repeated_rows():
    phi, y = draw()
    times = np.arange(200) % 3
    close(
        em(phi, y, START, row_weights=times),
        em(np.repeat(phi, times, axis=0), np.repeat(y, times), START),
        1e-9,
    )


def test_blocks_of_rows_do_not_show():
    phi, y = draw(10_000)
    fit = em(phi, y, START, max_iterations=1, tolerance=0.0)
    posterior = START.posterior(phi, y)
    gram = np.einsum("nk,ni,nj->kij", posterior, phi, phi)
    beta = np.linalg.solve(gram, np.einsum("nk,ni,n->ki", posterior, phi, y)[..., None])[..., 0]
    assert_allclose(fit.mixture.coefficients, beta, rtol=1e-11)
    assert_allclose(fit.trace[0], START.log_likelihood(phi, y), rtol=1e-12)
    assert_allclose(fit.log_likelihood, fit.mixture.log_likelihood(phi, y), rtol=1e-12)


def test_ridge_is_a_prior():
    phi, y = draw()
    fit = em(phi, y, START, ridge=2.0, tolerance=1e-12)

    def objective(mixture):
        penalty = 2.0 * jnp.sum(mixture.coefficients**2, axis=1) / mixture.noise_variance
        return mixture.log_likelihood(phi, y) - jnp.sum(penalty) / 2

    gradient = jax.grad(objective)(fit.mixture)
    assert np.abs(gradient.coefficients).max() < 1e-6
    assert np.abs(gradient.noise_variance).max() < 1e-6
    assert_allclose(fit.trace[-1], objective(fit.mixture), rtol=1e-12)


def test_vmap_over_data_starts_and_hyperparameters():
    data = [draw(seed=s) for s in range(3)]
    phi, y = (np.stack(part) for part in zip(*data, strict=True))
    ridge = np.array([0.0, 1.0, 10.0])
    batch = jax.vmap(lambda a, b, r: em(a, b, START, ridge=r))(phi, y, ridge)
    for k in range(3):
        close(jax.tree.map(lambda x, k=k: x[k], batch), em(phi[k], y[k], START, ridge=ridge[k]), 1e-10)
    starts = jax.tree.map(lambda *x: np.stack(x), START, TRUTH)
    both = jax.vmap(lambda start: em(phi[0], y[0], start, tolerance=1e-12))(starts)
    assert_allclose(both.log_likelihood[0], both.log_likelihood[1], rtol=1e-10)


def test_single_precision():
    phi, y = draw()
    single = jax.tree.map(lambda x: x.astype(np.float32), START)
    fit = em(phi.astype(np.float32), y.astype(np.float32), single)
    assert {leaf.dtype for leaf in jax.tree.leaves(fit.mixture)} == {np.dtype(np.float32)}
    assert bool(fit.converged)
    close(fit, em(phi, y, START), 5e-3)


def test_small_noise_on_large_responses_in_single_precision():
    """sum r y^2 - ... would lose every digit here: noise 1e-3 about responses of 1e3."""
    rng = np.random.default_rng(1)
    phi = np.column_stack([np.ones(400), rng.normal(size=400)]).astype(np.float32)
    beta = np.array([[1000.0, 1.0], [1000.0, -1.0]], np.float32)
    y = np.sum(phi * beta[np.arange(400) % 2], axis=1) + 0.02 * rng.normal(size=400).astype(np.float32)
    y = y.astype(np.float32)
    start = Mixture(beta + np.float32(0.1), np.full(2, 0.5, np.float32), np.full(2, 0.1, np.float32))
    fit = em(phi, y, start)
    assert_allclose(np.sqrt(fit.mixture.noise_variance), 0.02, rtol=0.15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "case",
    ["zero phi", "constant y", "zero y", "one row repeated", "large", "small", "exact lines", "far start"],
)
@pytest.mark.parametrize("method", [em, hard_em])
def test_finite_on_degenerate_data(method, case, dtype):
    phi, y = draw(64)
    start = START
    if case == "zero phi":
        phi = np.zeros_like(phi)
    elif case == "constant y":
        y = np.ones_like(y)
    elif case == "zero y":
        y = np.zeros_like(y)
    elif case == "one row repeated":
        phi, y = np.broadcast_to(phi[:1], phi.shape), np.broadcast_to(y[:1], y.shape)
    elif case == "large":
        phi, y = phi * 1e6, y * 1e6
    elif case == "small":
        phi, y = phi * 1e-6, y * 1e-6
    elif case == "exact lines":
        y = np.sum(phi * START.coefficients[np.arange(64) % 2], axis=1)
    else:
        start = start._replace(coefficients=start.coefficients * 1e5, noise_variance=np.full(2, 1e-6))
    start = jax.tree.map(lambda x: x.astype(dtype), start)
    fit = method(phi.astype(dtype), y.astype(dtype), start, max_iterations=40)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(fit))
    assert np.all(fit.mixture.noise_variance > 0)


def test_collinear_and_scaled_columns():
    """0/1 columns that sum to the intercept make the Gram matrix singular; units must not matter."""
    phi, y = draw()
    group = (np.arange(200) % 2).astype(float)
    full = np.column_stack([phi, group])
    over = np.column_stack([phi, group, 1 - group])
    start = from_labels(full, y, np.argmin(np.abs(y[:, None] - phi @ TRUTH.coefficients.T), axis=1), 2)
    wanted = em(full, y, start, tolerance=1e-10)
    padded = start._replace(coefficients=np.pad(start.coefficients, ((0, 0), (0, 1))))
    fitted = em(over, y, padded, tolerance=1e-10)
    assert_allclose(fitted.log_likelihood, wanted.log_likelihood, rtol=1e-9)
    assert_allclose(
        fitted.mixture.linear_predictors(over), wanted.mixture.linear_predictors(full), rtol=1e-6, atol=1e-6
    )
    scale = np.array([1e5, 1e-4, 1.0])
    scaled = em(
        full * scale, y, start._replace(coefficients=start.coefficients / scale[None]), tolerance=1e-10
    )
    assert_allclose(scaled.mixture.coefficients * scale[None], wanted.mixture.coefficients, rtol=1e-7)


def test_no_component_is_dropped_and_no_start_is_replaced():
    """flexmix drops components below 5 %; mixtools underflows far away and restarts at random."""
    phi, y = draw()
    start = Mixture(
        np.array([[1.0, 2.0], [-1.0, 0.5], [40.0, 0.0]]), np.array([0.59, 0.4, 0.01]), np.full(3, 0.3)
    )
    fit = em(phi, y, start)
    assert fit.mixture.coefficients.shape == (3, 2)
    assert_allclose(fit.mixture.coefficients[2], [40.0, 0.0])
    assert_allclose(fit.trace[0], start.log_likelihood(phi, y))


def test_hard_em_with_equal_variance_and_weights_is_alternating_minimisation():
    phi, y = draw()
    start = START._replace(noise_variance=np.array(1.0))
    fit = hard_em(phi, y, start, equal_variance=True, known_weights=True, tolerance=0.0)
    beta = START.coefficients
    for _ in range(100):
        label = np.argmin(np.abs(y[:, None] - phi @ beta.T), axis=1)
        beta = np.stack([np.linalg.lstsq(phi[label == k], y[label == k])[0] for k in range(2)])
    assert_allclose(fit.mixture.coefficients, beta, rtol=1e-9)


def test_a_line_that_no_row_belongs_to_does_not_end_the_search():
    """Its move is 0/0 of its rows and its variance, which is no number to compare with the tolerance."""
    phi, y = draw()
    lines = np.vstack([START.coefficients, [1e6, 0.0]])
    start = Mixture(lines, np.array([0.5, 0.4, 0.1]), np.array([1.0, 1.0, 0.01]))
    fit = em(phi, y, start)
    wanted = em(phi, y, START)
    assert fit.iterations > 5
    assert_allclose(fit.mixture.coefficients[:2], wanted.mixture.coefficients, rtol=1e-6)
    assert fit.result == "converged; lost a component: less than one row belongs to it"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_iterations": 0}, "max_iterations must be a whole number of at least 1, not 0"),
        ({"tolerance": -1.0}, "tolerance must be at least 0"),
        ({"tie": "both"}, "tie must be one of 'none', 'symmetric', 'common', not 'both'"),
        ({"ridge": np.ones(3)}, r"ridge must have shape \(\) or \(2,\), not \(3,\)"),
        ({"mask": np.ones(3, bool)}, r"mask must be boolean of shape \(200,\), not bool of \(3,\)"),
        ({"mask": np.ones(200)}, r"mask must be boolean of shape \(200,\), not float64"),
        ({"row_weights": np.full(200, -1.0)}, "row_weights must be at least 0"),
        ({"start": TRUTH._replace(coefficients=np.ones((2, 5)))}, "start must have 2 coefficients"),
        ({"start": TRUTH._replace(weights=np.array([0.5, 0.6]))}, "weights must sum to 1, not 1.1"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(change, message):
    phi, y = draw()
    with pytest.raises(ValueError, match=message):
        em(phi, y, **{"start": START, **change})


def test_start_is_not_written_to():
    """A peer aliases its previous estimate, so it stops after one step, and edits the caller's start."""
    phi, y = draw()
    before = jax.tree.map(np.copy, START)
    fit = em(phi, y, START)
    assert int(fit.iterations) > 3
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=0), START, before)


def test_memory_is_linear_in_the_rows():
    """A peer builds n by n matrices: 75 GiB here."""
    phi, y = draw(100_000)
    lowered = jax.jit(lambda phi, y: em(phi, y, START, max_iterations=2)).lower(phi, y)
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 20 * phi.nbytes


@pytest.mark.slow
@pytest.mark.parametrize("method", [em, hard_em])
def test_forward_derivatives_are_difference_quotients(method):
    phi, y = draw(60)

    def lines(y):
        return method(phi, y, START, max_iterations=4, tolerance=0.0).mixture.coefficients

    slope = jax.jacfwd(lines)(jnp.asarray(y))[..., 7]
    step = 1e-6 * (np.arange(60) == 7)
    assert_allclose(slope, (lines(y + step) - lines(y - step)) / 2e-6, rtol=1e-4, atol=1e-7)
