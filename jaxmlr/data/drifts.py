"""Drifts of the truth: coefficients that change while a method learns them.

A drift is a pure function of the coefficients that are declared and of the step n, from 1:

    coefficients(beta (K, d), n ()) -> (K, d)      those that produce the response of step n

`n` arrives as a scalar of the data's dtype. Weights and variances stay. Parameters may be traced.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr.mixture import Mixture


class Drift(NamedTuple):
    """A drift of the truth, as the module's docstring defines it."""

    coefficients: Callable[[jax.Array, jax.Array], jax.Array]

    def at(self, mixture: Mixture, n: jax.Array) -> Mixture:
        """The mixture that produces the response of step n."""
        number = n.astype(mixture.coefficients.dtype)
        return mixture._replace(coefficients=self.coefficients(mixture.coefficients, number))

    def mirrored(self) -> "Drift":
        """The drift of a symmetric mixture: that of its first line, and its opposite for the second."""

        def coefficients(beta: jax.Array, n: jax.Array) -> jax.Array:
            moved = self.coefficients(beta[:1], n)
            return jnp.concatenate([moved, -moved])

        return Drift(coefficients)


def jump(at: ArrayLike, change: ArrayLike) -> Drift:
    """Other coefficients from one step on: beta for n < at, beta + change from n = at on.

    Args:
      at: the first step of the new coefficients, at least 1.
      change: a number, (d,) for all lines alike, or (K, d).

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.number("at", at, at_least=1, scalar=True)
    _check.number("change", change)

    def coefficients(beta: jax.Array, n: jax.Array) -> jax.Array:
        return beta + jnp.where(n >= jnp.asarray(at, beta.dtype), _like("change", change, beta), 0)

    return Drift(coefficients)


def slope(rate: ArrayLike) -> Drift:
    """Coefficients that move at one speed: beta + (n - 1) rate.

    Args:
      rate: change a step, a number, (d,) for all lines alike, or (K, d).

    Raises:
      ValueError: a concrete rate is not finite.
    """
    _check.number("rate", rate)
    return Drift(lambda beta, n: beta + (n - 1) * _like("rate", rate, beta))


def rotation(angle: ArrayLike, plane: Sequence[int] | np.ndarray = (0, 1)) -> Drift:
    """Lines that turn about the origin: R((n - 1) angle) beta, all in one plane of two coordinates.

    Args:
      angle: radians a step.
      plane: the two coordinates i != j, from 0; positive angles turn i towards j.

    Raises:
      ValueError: a concrete angle is not finite, or the plane is not of two coordinates that exist.
    """
    _check.number("angle", angle, scalar=True)
    axes = np.asarray(plane)
    if axes.shape != (2,) or np.any(axes != np.round(axes)) or axes[0] == axes[1] or axes.min() < 0:
        raise ValueError(f"plane must be two different coordinates from 0, not {plane}")
    i, j = map(int, axes)

    def coefficients(beta: jax.Array, n: jax.Array) -> jax.Array:
        if max(i, j) >= beta.shape[-1]:
            raise ValueError(f"plane must be two of the {beta.shape[-1]} coordinates, from 0, not {plane}")
        turned = (n - 1) * jnp.asarray(angle, beta.dtype)
        cosine, sine = jnp.cos(turned), jnp.sin(turned)
        # Unit vectors rather than indices: scatters do not vectorise over trials.
        first, second = (jnp.asarray(np.eye(beta.shape[-1])[None, k], beta.dtype) for k in (i, j))
        a, b = beta[:, i, None], beta[:, j, None]
        return beta + ((cosine - 1) * a - sine * b) * first + ((cosine - 1) * b + sine * a) * second

    return Drift(coefficients)


def _like(name: str, value: ArrayLike, beta: jax.Array) -> jax.Array:
    """A number, (d,) or (K, d) as (K, d)."""
    components, dim = beta.shape
    if np.shape(value) not in ((), (dim,), beta.shape):
        wanted = f"a number, ({dim},)" + (f" or ({components}, {dim})" if components > 1 else "")
        raise ValueError(f"{name} must be {wanted}, not of shape {np.shape(value)}")
    return jnp.broadcast_to(jnp.asarray(value, beta.dtype), beta.shape)
