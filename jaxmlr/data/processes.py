"""Regressor processes: where phi[n] comes from.

A process is pure functions of standard normals, so it needs no random state of its own:

    init(normals (d,)) -> state                        before step 1
    step(state, n, normals (d,)) -> (state, phi (d,))  phi[n], and the state of step n + 1
    observe(state, phi (d,), y ()) -> state            what y[n+1] changes in it; None in an open loop

`n` counts from 1 and arrives as a scalar of the data's dtype. Parameters are keyword arguments and
may be traced, so they can be axes of a grid.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot
from jaxmlr.estimator import Estimator, plain_step
from jaxmlr.recursive.two_step import two_step


class Process(NamedTuple):
    """A regressor process, as the module's docstring defines it."""

    init: Callable[[jax.Array], Any]
    step: Callable[[Any, jax.Array, jax.Array], tuple[Any, jax.Array]]
    observe: Callable[[Any, jax.Array, jax.Array], Any] | None = None
    of_trial: Callable[[Any], "Process"] | None = None  # the process of a trial, where trials differ
    steps: int | None = None  # the most steps that it has, None where there is no end
    trials: int | None = None  # the most trials, likewise
    answer: Callable[[jax.Array], tuple[jax.Array, jax.Array]] | None = None  # y and label of n, if given
    components: int | None = None  # how many those labels tell apart; 0 where they are not known, but -1


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


class _Loop(NamedTuple):
    """State of `closed_loop`."""

    outputs: jax.Array  # (d - 1,) y[n], y[n-1], ...
    method: Any  # the controller's state


def closed_loop(
    pole: ArrayLike = 0.9,
    dither: ArrayLike = 1.0,
    decay: ArrayLike = 0.1,
    limit: ArrayLike = 10.0,
    controller: Estimator | None = None,
) -> Process:
    """An ARX plant under certainty-equivalence control: phi depends on past responses and estimates.

    phi[n] = (y[n], ..., y[n-d+2], u[n]), beta = (a, b): y[n+1] = z (a' (y[n], ...) + b u[n]) + w. The
    input places the pole of the loop as if the current estimate (a_hat, b_hat) of its first line were true:

        u[n] = (pole y[n] + dither n^(-decay) e[n] - a_hat' (y[n], ...)) / b_hat,     clipped to +- limit

    Under the right estimate beta' phi = pole y[n] + dither n^(-decay) e[n]: with d = 2 lambda_min(n) grows
    like n^(1 - 2 decay). With dither = 0 only the moves of the estimate excite, less and less. Where |b_hat|
    is below .1 it counts as +- .1. The setting is what the general data conditions of arXiv 2503.18500 are
    for; the plant and the control law are this project's.

    Args:
      pole: in (-1, 1).
      dither: amplitude of the probing signal, at least 0.
      decay: at least 0.
      limit: largest |u|, greater than 0.
      controller: the method whose estimate controls; None means two_step(gain="newton", bound=3.0), with
        sigma^2 = 1. It sees the data as they come; methods under study see the same data.

    Raises:
      ValueError: a concrete argument is out of range; the plant has fewer than 2 coefficients.
    """
    _check.number("pole", pole, above=-1, below=1, scalar=True)
    _check.number("dither", dither, at_least=0, scalar=True)
    _check.number("decay", decay, at_least=0, scalar=True)
    _check.number("limit", limit, above=0, scalar=True)
    method = two_step(gain="newton", bound=3.0) if controller is None else controller

    def init(normals: jax.Array) -> _Loop:
        if normals.shape[0] < 2:
            raise ValueError(f"closed_loop needs at least 2 coefficients, not {normals.shape[0]}")
        return _Loop(normals[:-1], method.init(normals.shape[0], None, normals.dtype))

    def step(state: _Loop, n: jax.Array, normals: jax.Array) -> tuple[_Loop, jax.Array]:
        dtype = normals.dtype
        beta = method.mixture(state.method).coefficients[0]
        probe = jnp.asarray(dither, dtype) * n ** -jnp.asarray(decay, dtype) * normals[-1]
        wanted = jnp.asarray(pole, dtype) * state.outputs[0] + probe
        gain = jnp.where(beta[-1] < 0, jnp.minimum(beta[-1], -0.1), jnp.maximum(beta[-1], 0.1))
        u = (wanted - dot(beta[:-1], state.outputs)) / gain
        largest = jnp.asarray(limit, dtype)
        return state, jnp.concatenate([state.outputs, jnp.clip(u, -largest, largest)[None]])

    def observe(state: _Loop, phi: jax.Array, y: jax.Array) -> _Loop:
        outputs = jnp.concatenate([y[None], state.outputs[:-1]])
        return _Loop(outputs, plain_step(method)(state.method, (phi, y))[0])

    return Process(init, step, observe)
