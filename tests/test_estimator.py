"""What every recursive method promises, for every method of the table in conftest.py; the errors of `run`."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmlr import Mixture, lanes, processes, run, simulate, symmetric, two_step
from jaxmlr._xla.lanes import transform
from jaxmlr.estimator import Info, nearest

DIM = 2
TRUTH = symmetric(jnp.array([1.0, -1.5]), 0.7)

KEY = jax.random.key(5)
DTYPES = (jnp.float32, jnp.float64)


@functools.cache
def data(steps=40, dtype=jnp.float64, trial=0):
    phi, y, _ = simulate(jax.random.key(1), TRUTH, processes.decaying_ar(), steps, trial=trial)
    return phi.astype(dtype), y.astype(dtype)


def assert_close(a, b, rtol=1e-12, atol=1e-12):
    chex.assert_trees_all_equal_shapes_and_dtypes(a, b)
    chex.assert_trees_all_close(a, b, rtol=rtol, atol=atol)


def floats(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


# ---- shapes and names -----------------------------------------------------------------------------


def test_the_default_dtype_is_that_of_jax(estimator):
    assert {leaf.dtype for leaf in floats(estimator.init(DIM, KEY))} == {jnp.result_type(float)}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_keeps_the_shape_of_the_state(estimator, dtype):
    row = jax.ShapeDtypeStruct((DIM,), dtype), jax.ShapeDtypeStruct((), dtype)
    state = estimator.init(DIM, KEY, dtype)
    assert {leaf.dtype for leaf in floats(state)} == {jnp.dtype(dtype)}
    new, info = jax.eval_shape(estimator.step, state, row)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, new)
    assert isinstance(info, Info)
    chex.assert_shape(tuple(info), ())
    assert info.label.dtype == jnp.int32
    assert info.residual.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_estimate_is_a_mixture(estimator, dtype):
    phi, y = data(dtype=dtype)
    for state in (estimator.init(DIM, KEY, dtype), run(estimator, phi, y, KEY)[0]):
        mixture = estimator.mixture(state)
        assert isinstance(mixture, Mixture)
        components = len(mixture.weights)
        chex.assert_shape(mixture.coefficients, (components, DIM))
        assert mixture.noise_variance.shape in ((), (components,))
        chex.assert_type(list(mixture), dtype)
        np.testing.assert_allclose(jnp.sum(mixture.weights), 1, rtol=1e-6)
        chex.assert_tree_all_finite(mixture)


def test_state_and_data_may_differ_in_dtype(estimator):
    row = jax.ShapeDtypeStruct((DIM,), jnp.float64), jax.ShapeDtypeStruct((), jnp.float64)
    state = estimator.init(DIM, KEY, jnp.float32)
    new, _ = jax.eval_shape(estimator.step, state, row)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, new)


# ---- meaning --------------------------------------------------------------------------------------


def test_label_and_residual_come_from_the_estimate_before_the_update(estimator):
    phi, y = data()
    state = estimator.init(DIM, KEY)
    for row in zip(phi[:20], y[:20], strict=True):
        lines = estimator.mixture(state).coefficients @ row[0]
        state, info = jax.jit(estimator.step)(state, row)
        assert int(info.label) == np.argmin(np.abs(row[1] - lines))
        np.testing.assert_allclose(info.residual, row[1] - lines[info.label], rtol=1e-10, atol=1e-12)


def test_nothing_is_changed_behind_the_scenes(estimator):
    phi, y = data()
    state = estimator.init(DIM, KEY)
    copy = jax.tree.map(np.array, state)
    first, second = (estimator.step(state, (phi[0], y[0])) for _ in range(2))
    chex.assert_trees_all_equal(first, second)
    chex.assert_trees_all_equal(copy, jax.tree.map(np.asarray, state))
    chex.assert_trees_all_equal(estimator.init(DIM, KEY), state)


def test_scan_is_a_loop_traced_once(estimator):
    phi, y = data()
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(estimator.step, n=1))
    state, infos = estimator.init(DIM, KEY), []
    for row in zip(phi, y, strict=True):
        state, info = step(state, row)
        infos.append(info)
    looped = state, jax.tree.map(lambda *leaves: jnp.stack(leaves), *infos)
    assert_close(run(estimator, phi, y, KEY), looped)
    assert_close(lax.scan(estimator.step, estimator.init(DIM, KEY), (phi, y)), looped)


@pytest.mark.parametrize("batched", ["vmap", "entry by entry", "arrays kept whole"])
def test_a_batch_is_its_trials_one_by_one(estimator, batched, monkeypatch):
    longest = 0 if batched == "arrays kept whole" else 10**6
    monkeypatch.setattr(transform, "LONG", longest)

    @jax.jit
    def one(phi, y):
        return lax.scan(estimator.step, estimator.init(DIM, KEY), (phi, y))

    rows = [data(trial=trial) for trial in range(3)]
    together = jax.jit((jax.vmap if batched == "vmap" else lanes)(one))(
        *map(jnp.stack, zip(*rows, strict=True))
    )
    alone = [one(*row) for row in rows]
    assert_close(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone), rtol=1e-11)


def test_single_precision_is_near_double(estimator):
    """From one start: jax draws other random numbers in another precision."""
    start = estimator.init(DIM, KEY, jnp.float64)
    rounded = jax.tree.map(lambda a, b: a.astype(b.dtype), start, estimator.init(DIM, KEY, jnp.float32))
    double, _ = lax.scan(estimator.step, start, data(80))
    single, _ = lax.scan(estimator.step, rounded, data(80, jnp.float32))
    for a, b in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


DEGENERATE = {
    "zero regressors": lambda phi, y: (0 * phi, y),
    "zero data": lambda phi, y: (0 * phi, 0 * y),
    "constant response": lambda phi, y: (phi, jnp.ones_like(y)),
    "one row repeated": lambda phi, y: (jnp.broadcast_to(phi[0], phi.shape), jnp.broadcast_to(y[0], y.shape)),
    "one coordinate": lambda phi, y: (phi.at[:, 1:].set(0), y),
    "tiny regressors": lambda phi, y: (1e-6 * phi, y),
    "huge response": lambda phi, y: (phi, 1e6 * y),
    "tiny data": lambda phi, y: (1e-6 * phi, 1e-6 * y),
    "large regressors": lambda phi, y: (1e2 * phi, y),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_degenerate_data_leave_the_state_finite(estimator, dtype):
    cases = [change(*data(40, dtype)) for change in DEGENERATE.values()]

    @jax.jit
    @jax.vmap
    def finite(phi, y):
        state, info = lax.scan(estimator.step, estimator.init(DIM, KEY, dtype), (phi, y))
        leaves = jax.tree.leaves((state, info, estimator.mixture(state)))
        return jnp.array([jnp.isfinite(leaf).all() for leaf in leaves]).all()

    found = finite(*map(jnp.stack, zip(*cases, strict=True)))
    assert [name for name, fine in zip(DEGENERATE, found, strict=True) if not fine] == []


def test_huge_regressors_leave_the_state_finite_in_double_precision(estimator):
    phi, y = data()
    state, info = run(estimator, 1e6 * phi, 1e6 * y, KEY)
    chex.assert_tree_all_finite((state, info))


# ---- run ------------------------------------------------------------------------------------------

PHI, Y = np.ones((4, DIM)), np.ones(4)
BAD = [
    (PHI[0], Y, r"phi must have shape \(n, d\) and y shape \(n,\), not \(2,\) and \(4,\)"),
    (PHI, PHI, r"y shape \(n,\), not \(4, 2\) and \(4, 2\)"),
    (PHI, Y[:3], r"not \(4, 2\) and \(3,\)"),
    (PHI.astype(int), Y, "phi must hold floating-point numbers, not int64"),
    (PHI, Y.astype(bool), "y must hold floating-point numbers, not bool"),
    (PHI * [[1], [np.nan], [1], [np.inf]], Y, "phi must be finite: 2 bad rows, the first is row 1"),
    (PHI, Y * [1, 1, 1, np.inf], "y must be finite: 1 bad rows, the first is row 3"),
]


@pytest.mark.parametrize(("phi", "y", "message"), BAD)
def test_run_refuses_what_is_not_data(phi, y, message):
    with pytest.raises(ValueError, match=message):
        run(two_step(1.0), phi, y)


def test_run_lets_traced_data_through():
    lost = jax.jit(lambda phi: run(two_step(1.0), phi, jnp.asarray(Y))[0])(jnp.asarray(PHI * np.nan))
    assert np.isnan(lost.direction).all()


def test_run_takes_the_dtype_of_the_data():
    state, _ = run(two_step(1.0), PHI.astype(np.float32), Y.astype(np.float32))
    assert state.direction.dtype == np.float32


def test_run_gives_the_key_to_the_method():
    def init(dim, key=None, dtype=None):
        return jax.random.normal(key, (dim,), dtype)

    random = two_step(1.0)._replace(init=init, step=lambda state, row: (state, None))
    state, _ = run(random, PHI, Y, KEY)
    np.testing.assert_array_equal(state, jax.random.normal(KEY, (DIM,), np.float64))


@pytest.mark.parametrize(
    ("lines", "y", "label", "residual"),
    [([1.0, -1.0], 0.0, 0, -1.0), ([3.0, 2.0, 2.5], 2.4, 2, -0.1), ([5.0], 1.0, 0, -4.0)],
)
def test_the_nearest_line_and_ties_to_the_lower(lines, y, label, residual):
    info = nearest(jnp.array(lines), jnp.array(y))
    assert info.label == label
    np.testing.assert_allclose(info.residual, residual, rtol=1e-12)
