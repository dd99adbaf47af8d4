"""The kernels of recursive least squares: start, update, forget, gains; shared by the recursive methods."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot
from jaxmlr._xla.materialise import stored


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
    variance = dot(g, phi)
    # Rounding can leave P indefinite along a huge phi: then nothing is learnt, as along phi = 0.
    root = jnp.where(variance > 0, 1 / jnp.sqrt(inverse_weight + jnp.maximum(variance, 0)), 0)
    u, root = stored((root * g, root))  # or every entry of P would compute them anew
    theta = theta + u * (root * (y - dot(theta, phi)))
    return theta, P - u[:, None] * u[None, :]


def update_root(
    theta: jax.Array, S: jax.Array, phi: jax.Array, y: jax.Array, inverse_weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """`update` on a square root S of P = S S' (Potter 1963): P can never lose its definiteness.

    f = S' phi,   a = 1 / (1/w + f'f),   S' = S - a / (1 + sqrt(a / w)) (S f) f'
    """
    f = dot(S.T, phi)
    g = dot(S, f)
    a = 1 / (inverse_weight + dot(f, f))
    f, g, a = stored((f, g, a))  # or every entry of S would compute them anew
    theta = theta + g * (a * (y - dot(theta, phi)))
    shrink = a / (1 + jnp.sqrt(a * inverse_weight))
    return theta, S - (shrink * g)[:, None] * f[None, :]


def forget(P: jax.Array, phi: jax.Array, forgetting: jax.Array) -> jax.Array:
    """Scale the information along phi by lambda, and no other (Kulhavy 1987).

        P'    = P + (1/lambda - 1) (P phi)(P phi)' / (phi' P phi)
        P'^-1 = P^-1 - (1 - lambda) phi phi' / (phi' P phi)

    What phi does not excite is not forgotten, so P cannot wind up; phi = 0 forgets nothing.
    """
    g = dot(P, phi)
    u = g * (jnp.sqrt(1 / forgetting - 1) * _inverse_root(dot(g, phi)))
    return P + u[:, None] * u[None, :]


def forget_root(S: jax.Array, phi: jax.Array, forgetting: jax.Array) -> jax.Array:
    """`forget` on a square root: S' = S (I + (1/sqrt(lambda) - 1) f f' / f'f), f = S' phi."""
    f = dot(S.T, phi)
    f = f * _inverse_root(dot(f, f))
    return S + ((1 / jnp.sqrt(forgetting) - 1) * dot(S, f))[:, None] * f[None, :]


def _inverse_root(x: jax.Array) -> jax.Array:
    """1 / sqrt(x), and 0 where x vanishes."""
    positive = x > jnp.finfo(x.dtype).tiny
    return jnp.where(positive, 1 / jnp.sqrt(jnp.where(positive, x, 1)), 0)


def inverse_weight(count: jax.Array, delta: ArrayLike, dtype: DTypeLike) -> jax.Array:
    """n^delta, the inverse weight of (8c). n counts from 1: 0^delta would stall P for ever (trap T1)."""
    return count.astype(dtype) ** jnp.asarray(delta, dtype)


def mean_gain(count: jax.Array, forgetting: ArrayLike, dtype: DTypeLike) -> jax.Array:
    """Gain of a running mean over `count` observations: 1/n, and never less than 1 - lambda."""
    return jnp.maximum(1 / count.astype(dtype), 1 - jnp.asarray(forgetting, dtype))


def fader(
    forgetting: ArrayLike, fade: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] = forget
) -> Callable[..., jax.Array]:
    """`fade` as a function of (P, phi, posterior=1) at the rate 1 - posterior (1 - lambda).

    Where lambda is the number 1 it does nothing, at no cost.
    """
    if not isinstance(forgetting, jax.core.Tracer) and np.all(np.asarray(forgetting) == 1):
        return lambda P, phi, posterior=1.0: P
    return lambda P, phi, posterior=1.0: fade(P, phi, 1 - posterior * (1 - jnp.asarray(forgetting, P.dtype)))


def check_forgetting(forgetting: ArrayLike) -> None:
    """Raise ValueError unless a concrete lambda is in (0, 1]."""
    _check.number("forgetting", forgetting, above=0, scalar=True)
    _check.number("1 - forgetting", 1 - forgetting, at_least=0)


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
