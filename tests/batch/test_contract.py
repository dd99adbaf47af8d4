"""What every batch method promises, for every method of the table in tests/conftest.py."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import batch
from jaxmlr.batch import Fit
from jaxmlr.mixture import Mixture, symmetric
from jaxmlr.testing import check_method

KEY = jax.random.key(5)
WIDE = pytest.mark.parametrize("wide", [False, True], ids=["single", "double"])


def data(n=40, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(n, 2))
    y = np.where(rng.random(n) < 0.7, 1, -1) * (phi @ np.array([1.0, -1.5])) + 0.3 * rng.normal(size=n)
    return phi.astype(dtype), y.astype(dtype)


# Single precision as users have it, without 64 bits; rows as many as in `check_method`, to share programs.
@WIDE
def test_a_fit_is_a_mixture_and_how_it_was_reached(batch_method, wide):
    dtype = np.float64 if wide else np.float32
    phi, y = data(dtype=dtype)
    with jax.enable_x64(wide):
        fitted = batch_method(phi, y, KEY)
    assert isinstance(fitted, Fit)
    assert isinstance(fitted.mixture, Mixture)
    chex.assert_shape(fitted.mixture.coefficients, (2, 2))
    chex.assert_shape(fitted.mixture.weights, (2,))
    assert fitted.mixture.noise_variance.shape in ((), (2,))
    chex.assert_shape((fitted.log_likelihood, fitted.iterations, fitted.converged), ())
    chex.assert_shape(fitted.trace, (51,))
    chex.assert_type([*fitted.mixture, fitted.log_likelihood, fitted.trace], dtype)
    chex.assert_type([fitted.iterations, fitted.converged], [jnp.int32, jnp.bool_])
    chex.assert_tree_all_finite(fitted)
    rtol = 1e-4 if dtype == jnp.float32 else 1e-10
    np.testing.assert_allclose(jnp.sum(fitted.mixture.weights), 1, rtol=rtol)
    np.testing.assert_allclose(fitted.log_likelihood, fitted.mixture.log_likelihood(phi, y), rtol=rtol)


def test_it_keeps_the_contract(batch_method):
    check_method(batch_method)


LARGE = {
    "large": lambda phi, y: (1e6 * phi, 1e6 * y),
    "large regressors": lambda phi, y: (1e6 * phi, y),
}


@WIDE
@pytest.mark.parametrize("change", LARGE.values(), ids=LARGE)
def test_large_data_leave_the_fit_finite_in_single_precision_too(batch_method, wide, change):
    phi, y = change(*data(dtype=np.float64 if wide else np.float32))
    with jax.enable_x64(wide):
        chex.assert_tree_all_finite(batch_method(phi, y, KEY))


@WIDE
def test_integers_are_numbers(batch_method, wide):
    """As rows, also in lists, and as a mixture to start from (in the table of methods)."""
    rng = np.random.default_rng(3)
    phi = rng.integers(-9, 10, size=(40, 2))
    y = rng.choice([-1, 1], 40) * (phi @ np.array([1, -2])) + rng.integers(-1, 2, size=40)
    with jax.enable_x64(wide):
        fitted = batch_method(phi, y.tolist(), KEY)
        dtype = np.float64 if wide else np.float32
        wanted = batch_method(phi.astype(dtype), y.astype(dtype), KEY)
    assert fitted.log_likelihood.dtype == dtype
    chex.assert_trees_all_equal(fitted, wanted)


EMPTY = {
    "no row": (lambda phi, y: (phi[:0], y[:0], {}), "phi must have at least one row"),
    "no column": (lambda phi, y: (phi[:, :0], y, {}), "phi must have at least one column"),
    "all masked": (lambda phi, y: (phi, y, {"mask": np.zeros(40, bool)}), "mask must keep at least one row"),
    "no weight": (lambda phi, y: (phi, y, {"row_weights": np.zeros(40)}), "row_weights must not be all 0"),
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_data_are_refused(name):
    change, message = EMPTY[name]
    phi, y, options = change(*data())
    start = symmetric(np.ones(2), 0.5)
    for method in (batch.em, batch.hard_em, batch.gradient):
        with pytest.raises(ValueError, match=message):
            method(phi, y, start, **options)
    with pytest.raises(ValueError, match=message):
        batch.fit(phi, y, 2, KEY, **options)
    with pytest.raises(ValueError, match=message):
        batch.select(phi, y, KEY, (1, 2), **options)


# `fit` goes on longer, and needs a floor, as from many starts it meets lines through few rows.
OWN_DEFAULTS = {("fit", "max_iterations"), ("fit", "variance_floor")}


def test_an_argument_of_several_methods_has_one_default_and_one_type():
    known = {}
    for name in ("em", "hard_em", "gradient", "fit"):
        for argument in inspect.signature(getattr(batch, name)).parameters.values():
            if (name, argument.name) not in OWN_DEFAULTS:
                known.setdefault(argument.name, (argument.default, argument.annotation, name))
                assert (argument.default, argument.annotation) == known[argument.name][:2], (
                    name,
                    argument.name,
                )
    assert {"tie", "equal_variance", "common", "ridge", "mask", "row_weights"} <= set(known)
