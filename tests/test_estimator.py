"""The contract of recursive methods, for every method of the table in conftest.py; the errors of `run`."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmlr import lanes, processes, run, simulate, symmetric, two_step
from jaxmlr._xla.lanes import transform
from jaxmlr.estimator import nearest
from jaxmlr.testing import check_method

DIM = 2
TRUTH = symmetric(jnp.array([1.0, -1.5]), 0.7)

KEY = jax.random.key(5)
DTYPES = (jnp.float32, jnp.float64)


@functools.cache
def data(steps=80, dtype=jnp.float64, trial=0):
    phi, y, _ = simulate(jax.random.key(1), TRUTH, processes.decaying_ar(), steps, trial=trial)
    return phi.astype(dtype), y.astype(dtype)


def assert_close(a, b, rtol=1e-12, atol=1e-12):
    chex.assert_trees_all_equal_shapes_and_dtypes(a, b)
    chex.assert_trees_all_close(a, b, rtol=rtol, atol=atol)


def floats(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


# ---- every method --------------------------------------------------------------------------------


def test_it_keeps_the_contract(factory):
    check_method(factory)


@functools.partial(jax.jit, static_argnums=0)
def follow(step, start, phi, y):
    """One program for every trial and every test of a method."""
    return lax.scan(step, start, (phi, y))


def test_lanes_are_the_trials_one_by_one_where_arrays_are_kept_whole_too(estimator, monkeypatch):
    monkeypatch.setattr(transform, "LONG", 0)
    start = jax.jit(functools.partial(estimator.init, DIM, KEY))
    if max(leaf.size for leaf in jax.tree.leaves(start())) > transform.LARGE:
        return  # kept whole in any case, as `check_method` has seen
    rows = [data(trial=trial) for trial in range(3)]
    trials = jax.jit(lanes(lambda phi, y: lax.scan(estimator.step, start(), (phi, y))))
    alone = [follow(estimator.step, start(), *row) for row in rows]
    assert_close(
        trials(*map(jnp.stack, zip(*rows, strict=True))),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone),
        rtol=1e-11,
    )


def test_single_precision_is_near_double(estimator):
    """From one start: jax draws other random numbers in another precision."""
    start = jax.jit(functools.partial(estimator.init, DIM, KEY))()
    like = jax.eval_shape(functools.partial(estimator.init, DIM, KEY, jnp.float32))
    rounded = jax.tree.map(lambda a, b: a.astype(b.dtype), start, like)
    double, _ = follow(estimator.step, start, *data())
    single, _ = follow(estimator.step, rounded, *data(dtype=jnp.float32))
    for a, b in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


# ---- run ------------------------------------------------------------------------------------------

PHI, Y = np.ones((4, DIM)), np.ones(4)
BAD = [
    (PHI[0], Y, r"phi must have shape \(n, d\) and y shape \(n,\), not \(2,\) and \(4,\)"),
    (PHI, PHI, r"y shape \(n,\), not \(4, 2\) and \(4, 2\)"),
    (PHI, Y[:3], r"not \(4, 2\) and \(3,\)"),
    (PHI, Y.astype(bool), "y must hold real numbers, not bool"),
]


@pytest.mark.parametrize(("phi", "y", "message"), BAD)
def test_run_refuses_what_is_not_data(phi, y, message):
    with pytest.raises(ValueError, match=message):
        run(two_step(1.0), phi, y)


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
