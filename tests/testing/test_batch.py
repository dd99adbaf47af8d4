"""What `check_method` says of batch methods that keep the contract, and of those that break it."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import Mixture, em
from jaxmlr.testing import check_method

counter = itertools.count(1)


def line(
    phi,
    y,
    *,
    gram=lambda phi: phi.T @ phi + jnp.eye(phi.shape[1], dtype=phi.dtype),
    variance=lambda phi, y: 1 + jnp.mean(y * y),
):
    """Ridge regression: a mixture of one line."""
    beta = jnp.linalg.solve(gram(phi), phi.T @ y)
    one = jnp.ones(1, phi.dtype)
    return Mixture(beta[None], one, jnp.asarray(variance(phi, y), phi.dtype))


def test_a_strangers_fit_keeps_the_contract():
    check_method(line)


@pytest.mark.slow
@pytest.mark.parametrize("method", [em, "hard_em"])
def test_a_start_is_given_where_it_is_asked_for(method):
    check_method(method, dim=3, max_iterations=5)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (dict(gram=lambda phi: phi.T @ phi), "must leave everything finite, not so: zero regressors"),
        (dict(variance=lambda phi, y: next(counter)), "a fit must be pure"),
        (dict(variance=lambda phi, y: 1.0 if y[0] > 0 else 2.0), "must not depend on values in Python"),
        (dict(variance=lambda phi, y: -1.0), "noise_variance must be greater than 0"),
        (dict(variance=lambda phi, y: y.no_such), "a fit must not raise AttributeError"),
    ],
)
def test_a_broken_promise_is_named(parts, message):
    with pytest.raises(AssertionError, match=f"^line: .*{message}"):
        check_method(line, **parts)


def test_what_is_no_fit_is_told():
    with pytest.raises(AssertionError, match="must return a Fit or a Mixture, not tuple"):
        check_method(lambda phi, y: (np.float64(1), y))
