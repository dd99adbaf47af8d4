"""Recursive weighted least squares: one line."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot
from jaxmlr.estimator import Estimator, Info, Row
from jaxmlr.mixture import Mixture
from jaxmlr.recursive.rls import (
    check_covariance,
    check_forgetting,
    fader,
    forget,
    forget_root,
    inverse_weight,
    mean_gain,
    start,
    update,
    update_root,
)
from jaxmlr.recursive.triangular import add_row, solution


class LeastSquaresState(NamedTuple):
    """State of `least_squares`."""

    direction: jax.Array  # (d,) theta
    covariance: jax.Array  # (d, d) P; in the "sqrt" form its factor S, P = S S'
    n: jax.Array  # () int32, n, from 1
    noise_variance: jax.Array  # () running mean of the squared prediction errors


class TriangularState(NamedTuple):
    """State of `least_squares` in the "information" form, which has no prior."""

    direction: jax.Array  # (d,) theta, 0 where the rows do not tell it yet
    factor: jax.Array  # (d, d + 1) [R z], R upper triangular
    n: jax.Array  # () int32, n, from 1
    squares: jax.Array  # () sum of squares about theta
    noise_variance: jax.Array  # () that sum over n less the rank; 1 before there are as many rows


def least_squares(
    *,
    delta: ArrayLike = 0.0,
    forgetting: ArrayLike = 1.0,
    guard: bool = True,
    form: str = "outer",
    initial_direction: ArrayLike = 0.0,
    initial_covariance: ArrayLike = 1.0,
) -> Estimator:
    """Recursive weighted least squares of y on phi: one line, weights lambda^(n-k) k^(-delta).

    Without the guard, or with lambda = 1, it is the exact minimiser

        theta[n] = argmin  sum_{k<=n} lambda^(n-k) k^(-delta) (y_k - t' phi_k)^2
                           + lambda^n (t - theta[0])' P[0]^-1 (t - theta[0])

    With lambda < 1 that forgets everything at one rate, and in directions that the regressors stop
    visiting P grows as lambda^(-n) until it overflows (wind-up). The guard forgets along phi only
    (Kulhavy 1987), so P stays bounded and what is not observed is kept.

    On a symmetric mixture theta estimates (2p - 1) beta. The mixture has one component.

    Args:
      delta: at least 0.
      forgetting: lambda in (0, 1]; the memory is about 1 / (1 - lambda) observations, with the guard
        about d / (1 - lambda), as each observation is then forgotten only by those in its direction.
      guard: forget along phi only.
      form: "outer" subtracts outer products from P; "sqrt" updates a square root of P (Potter 1963), at
        about 1.5 times the cost and, in float32 with forgetting or bad scaling, far more accurately.
        "information" keeps a triangular factor of P^-1 with P[0]^-1 = 0: the least-squares solution itself,
        whatever the units of the rows, at several times the cost; it forgets nothing and has no prior.
      initial_direction: theta[0], scalar or (d,).
      initial_covariance: P[0], positive: scalar, (d,) diagonal or (d, d).

    Returns:
      An Estimator whose state is a `LeastSquaresState`, or a `TriangularState` in the "information" form. All
      arguments but `guard` and `form` may be traced.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.choice("form", form, ("outer", "sqrt", "information"))
    _check.number("delta", delta, at_least=0, scalar=True)
    check_forgetting(forgetting)
    _check.number("initial_direction", initial_direction)
    check_covariance(initial_covariance)
    if form == "information":
        given = {"forgetting": (forgetting, 1), "initial_direction": (initial_direction, 0)}
        given["initial_covariance"] = (initial_covariance, 1)
        for name, (value, neutral) in given.items():
            if isinstance(value, jax.core.Tracer) or np.any(np.asarray(value) != neutral):
                raise ValueError(f"form 'information' takes no {name}; take form 'sqrt' or 'outer'")
        return _without_prior(delta)
    measure, along, power = (update, forget, -1.0) if form == "outer" else (update_root, forget_root, -0.5)
    fade = fader(forgetting, along if guard else lambda P, phi, memory: P * memory**power)

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> LeastSquaresState:
        del key
        dtype = jnp.result_type(float) if dtype is None else dtype
        theta, P = start(dim, dtype, initial_direction, initial_covariance)
        if form == "sqrt":
            P = jnp.linalg.cholesky(P)
        return LeastSquaresState(theta, P, jnp.ones((), jnp.int32), jnp.ones((), dtype))

    def step(state: LeastSquaresState, row: Row) -> tuple[LeastSquaresState, Info]:
        dtype = state.direction.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        residual = y - dot(state.direction, phi)
        weight = inverse_weight(state.n, delta, dtype)
        theta, P = measure(state.direction, fade(state.covariance, phi), phi, y, weight)
        gain = mean_gain(state.n, forgetting, dtype)
        variance = state.noise_variance + gain * (residual * residual - state.noise_variance)
        return (
            LeastSquaresState(theta, P, state.n + 1, variance),
            Info(jnp.zeros((), jnp.int32), residual),
        )

    def mixture(state: LeastSquaresState) -> Mixture:
        theta = state.direction
        return Mixture(theta[None, :], jnp.ones((1,), theta.dtype), state.noise_variance)

    return Estimator(init, step, mixture)


def _without_prior(delta: ArrayLike) -> Estimator:
    """The "information" form."""

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> TriangularState:
        del key
        dtype = jnp.result_type(float) if dtype is None else dtype
        zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
        factor = jnp.zeros((dim, dim + 1), dtype)
        return TriangularState(jnp.zeros(dim, dtype), factor, jnp.ones((), jnp.int32), zero, one)

    def step(state: TriangularState, row: Row) -> tuple[TriangularState, Info]:
        dtype = state.direction.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        residual = y - dot(state.direction, phi)
        root = 1 / jnp.sqrt(inverse_weight(state.n, delta, dtype))
        factor, left = add_row(state.factor, root * jnp.concatenate([phi, y[None]]))
        theta, rank = solution(factor)
        squares = state.squares + left * left
        free = (state.n - rank).astype(dtype)
        variance = jnp.where(free > 0, squares / jnp.maximum(free, 1), state.noise_variance)
        info = Info(jnp.zeros((), jnp.int32), residual)
        return TriangularState(theta, factor, state.n + 1, squares, variance), info

    def mixture(state: TriangularState) -> Mixture:
        theta = state.direction
        return Mixture(theta[None, :], jnp.ones((1,), theta.dtype), state.noise_variance)

    return Estimator(init, step, mixture)
