"""Regressor processes: where phi[n] comes from.

A process is two pure functions of standard normals, so it needs no random state of its own:

    init(normals (d,)) -> state                        before step 1
    step(state, n, normals (d,)) -> (state, phi (d,))  phi[n], and the state of step n + 1

`n` counts from 1 and arrives as a scalar of the data's dtype. Parameters are keyword arguments and
may be traced, so they can be axes of a grid.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxmlr import _check


class Process(NamedTuple):
    """A regressor process, as the module's docstring defines it."""

    init: Callable[[jax.Array], Any]
    step: Callable[[Any, jax.Array, jax.Array], tuple[Any, jax.Array]]


def decaying_ar(pole: ArrayLike = 0.8, decay: ArrayLike = 0.1) -> Process:
    """Autoregression whose excitation dies out, eq. (17) of arXiv 2503.18500; not persistently exciting.

    phi[n+1] = pole phi[n] + n^(-decay) e[n+1],   e ~ N(0, I),   phi[1] ~ N(0, I)

    The law of e and of phi[1] is this project's choice; the paper's could not be seen. With the
    defaults lambda_min(n) of sum phi phi' grows like 3.47 n^0.8.

    Args:
      pole: in (-1, 1).
      decay: at least 0; 0 gives a stationary autoregression in the limit.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.number("pole", pole, above=-1, below=1, scalar=True)
    _check.number("decay", decay, at_least=0, scalar=True)

    def step(phi: jax.Array, n: jax.Array, normals: jax.Array) -> tuple[jax.Array, jax.Array]:
        scale = n ** -jnp.asarray(decay, phi.dtype)
        return jnp.asarray(pole, phi.dtype) * phi + scale * normals, phi

    return Process(lambda normals: normals, step)


def gaussian(mean: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> Process:
    """Independent normal regressors: phi[n] = mean + scale e[n], e ~ N(0, I).

    Args:
      mean: scalar or (d,).
      scale: scalar or (d,), greater than 0.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.number("mean", mean)
    _check.number("scale", scale, above=0)

    def step(state: tuple[()], n: jax.Array, normals: jax.Array) -> tuple[tuple[()], jax.Array]:
        del n
        dtype = normals.dtype
        return state, jnp.asarray(mean, dtype) + jnp.asarray(scale, dtype) * normals

    return Process(lambda normals: (), step)


def ar(pole: ArrayLike = 0.8, scale: ArrayLike = 1.0) -> Process:
    """Stationary autoregression: phi[n+1] = pole phi[n] + scale e[n+1], started in its own law.

    Var phi = scale^2 / (1 - pole^2) in each coordinate; persistently exciting.

    Args:
      pole: in (-1, 1).
      scale: greater than 0.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.number("pole", pole, above=-1, below=1, scalar=True)
    _check.number("scale", scale, above=0)

    def init(normals: jax.Array) -> jax.Array:
        a = jnp.asarray(pole, normals.dtype)
        return jnp.asarray(scale, normals.dtype) / jnp.sqrt(1 - a * a) * normals

    def step(phi: jax.Array, n: jax.Array, normals: jax.Array) -> tuple[jax.Array, jax.Array]:
        del n
        dtype = phi.dtype
        return jnp.asarray(pole, dtype) * phi + jnp.asarray(scale, dtype) * normals, phi

    return Process(init, step)


def growing(delta: ArrayLike = 0.25, scale: ArrayLike = 1.0) -> Process:
    """Unbounded regressors with |phi[n]|^2 = scale^2 d n^delta exactly, uniform on that sphere.

    The growth of Assumption 3 of arXiv 2503.18500, |phi[n]|^2 = O(n^delta) with delta in [0, 1/2).

    Args:
      delta: at least 0; the theorem asks for less than 1/2, larger values are allowed on purpose.
      scale: greater than 0.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.number("delta", delta, at_least=0, scalar=True)
    _check.number("scale", scale, above=0)

    def step(state: tuple[()], n: jax.Array, normals: jax.Array) -> tuple[tuple[()], jax.Array]:
        dtype = normals.dtype
        radius = jnp.asarray(scale, dtype) * n ** (jnp.asarray(delta, dtype) / 2)
        # In float32 about one pair of normals in 3e7 is (0, 0), which has no direction.
        normals = jnp.where(jnp.any(normals != 0), normals, 1)
        return state, radius * normals / jnp.sqrt(jnp.mean(normals * normals))

    return Process(lambda normals: (), step)


def unexcited(direction: ArrayLike | None = None, scale: ArrayLike = 1.0) -> Process:
    """Independent normal regressors that never visit one direction v: phi[n] = scale (e - v v'e).

    lambda_min of sum phi phi' is 0 for ever: coefficients along v cannot be learnt, yet clustering can.

    Args:
      direction: (d,), not zero, of any length; None means (1, ..., 1).
      scale: greater than 0.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    if direction is not None:
        _check.number("direction", direction)
        _check.nonzero("direction", direction)
    _check.number("scale", scale, above=0)

    def step(state: tuple[()], n: jax.Array, normals: jax.Array) -> tuple[tuple[()], jax.Array]:
        del n
        dtype = normals.dtype
        v = jnp.ones_like(normals) if direction is None else jnp.asarray(direction, dtype)
        if v.shape != normals.shape:
            raise ValueError(f"direction must have shape {normals.shape}, not {v.shape}")
        projected = normals - v * (jnp.sum(v * normals) / jnp.sum(v * v))
        return state, jnp.asarray(scale, dtype) * projected

    return Process(lambda normals: (), step)
