"""Recursive weighted least squares: the shared core of the recursive methods, and a method itself."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._linear import dot
from jaxmlr.estimator import Estimator, Info, Row
from jaxmlr.mixture import Mixture


class LeastSquaresState(NamedTuple):
    """State of `least_squares`."""

    direction: jax.Array  # (d,) theta
    covariance: jax.Array  # (d, d) P
    count: jax.Array  # type: ignore[assignment]  # () int32, n, from 1
    noise_variance: jax.Array  # () running mean of the squared prediction errors


def start(
    dim: int, dtype: DTypeLike, direction: ArrayLike, covariance: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """theta[0] (d,) from a scalar or vector, P[0] (d, d) from a scalar, diagonal or matrix."""
    theta, P = jnp.asarray(direction, dtype), jnp.asarray(covariance, dtype)
    if theta.shape not in ((), (dim,)):
        raise ValueError(f"initial_direction must have shape () or ({dim},), not {theta.shape}")
    if P.shape not in ((), (dim,), (dim, dim)):
        raise ValueError(f"initial_covariance must have shape (), ({dim},) or ({dim}, {dim}), not {P.shape}")
    if P.ndim < 2:
        P = jnp.where(jnp.eye(dim, dtype=bool), jnp.broadcast_to(P, (dim,))[:, None], 0)
    return jnp.broadcast_to(theta, (dim,)), P


def update(
    theta: jax.Array, P: jax.Array, phi: jax.Array, y: jax.Array, inverse_weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """One weighted least-squares step, (8a)-(8c) of arXiv 2503.18500 as reconstructed.

        a      = 1 / (1/w + phi' P phi)
        theta' = theta + a P phi (y - theta' phi)
        P'     = P - a (P phi)(P phi)'

    so that P'^-1 = P^-1 + w phi phi'. What is subtracted is u u' with u = sqrt(a) P phi, which keeps P
    exactly symmetric in any precision.
    """
    g = dot(P, phi)
    root = 1 / jnp.sqrt(inverse_weight + dot(g, phi))
    u = root * g
    theta = theta + u * (root * (y - dot(theta, phi)))
    return theta, P - u[:, None] * u[None, :]


def regressor_weight(count: jax.Array, delta: ArrayLike, dtype: DTypeLike) -> jax.Array:
    """n^delta, the inverse weight of (8c). n counts from 1: 0^delta would stall P for ever (trap T1)."""
    return count.astype(dtype) ** jnp.asarray(delta, dtype)


def least_squares(
    *,
    delta: ArrayLike = 0.0,
    initial_direction: ArrayLike = 0.0,
    initial_covariance: ArrayLike = 1.0,
) -> Estimator:
    """Recursive weighted least squares of y on phi: one line, weights n^(-delta).

    theta[n] = argmin sum_{k<=n} k^(-delta) (y_k - t' phi_k)^2 + (t - theta[0])' P[0]^-1 (t - theta[0])

    On a symmetric mixture it estimates (2p - 1) beta. Its mixture has one component.

    Args:
      delta: at least 0.
      initial_direction: theta[0], scalar or (d,).
      initial_covariance: P[0], positive: scalar, (d,) diagonal or (d, d).

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.number("delta", delta, at_least=0, scalar=True)
    _check.number("initial_direction", initial_direction)
    check_covariance(initial_covariance)

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> LeastSquaresState:
        del key
        dtype = jnp.result_type(float) if dtype is None else dtype
        theta, P = start(dim, dtype, initial_direction, initial_covariance)
        return LeastSquaresState(theta, P, jnp.ones((), jnp.int32), jnp.ones((), dtype))

    def step(state: LeastSquaresState, row: Row) -> tuple[LeastSquaresState, Info]:
        dtype = state.direction.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        residual = y - dot(state.direction, phi)
        weight = regressor_weight(state.count, delta, dtype)
        theta, P = update(state.direction, state.covariance, phi, y, weight)
        n = state.count.astype(dtype)
        variance = state.noise_variance + (residual * residual - state.noise_variance) / n
        return (
            LeastSquaresState(theta, P, state.count + 1, variance),
            Info(jnp.zeros((), jnp.int32), residual),
        )

    def mixture(state: LeastSquaresState) -> Mixture:
        theta = state.direction
        return Mixture(theta[None, :], jnp.ones((1,), theta.dtype), state.noise_variance)

    return Estimator(init, step, mixture)


def check_covariance(value: ArrayLike) -> None:
    """Raise ValueError unless a concrete P[0] is positive: scalar, diagonal or symmetric definite matrix."""
    if isinstance(value, jax.core.Tracer):
        return
    if np.ndim(value) < 2:
        return _check.number("initial_covariance", value, above=0)
    _check.number("initial_covariance", value)
    P = np.asarray(value, np.float64)
    if P.ndim != 2 or P.shape[0] != P.shape[1] or not np.allclose(P, P.T):
        raise ValueError(f"initial_covariance must be a symmetric matrix, not {value}")
    _check.number("the smallest eigenvalue of initial_covariance", np.min(np.linalg.eigvalsh(P)), above=0)
