"""Laws of the simulation error w, of which y = beta_z' phi + sigma_z w is made.

A disturbance is a pure function of standard normals, as regressor processes are, so it needs no random state
of its own and stays a function of (key, trial, step):

    draw(normals (m,), phi (d,)) -> w ()

w has mean 0 and variance 1, so that the mixture's noise_variance means what it says; only `contaminated`
departs from that, on purpose. Parameters may be traced.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxmlr import _check


class Disturbance(NamedTuple):
    """A law of w, as the module's docstring defines it."""

    normals: int  # m, how many standard normals one w is made of
    draw: Callable[[jax.Array, jax.Array], jax.Array]


def gaussian() -> Disturbance:
    """Standard normal, the model of every method here: w = e."""
    return Disturbance(1, lambda normals, phi: normals[0])


def student_t(df: ArrayLike = 3.0) -> Disturbance:
    """Student's t with `df` degrees of freedom, scaled to variance 1.

    w = sqrt((df - 2) / df) e_1 sqrt(df (exp(r^2 / df) - 1) / r^2),   r^2 = e_1^2 + e_2^2

    The polar method of Bailey (1994), exact for every real df; exp(-r^2 / 2) is its uniform number.

    Args:
      df: greater than 2.

    Raises:
      ValueError: a concrete df is out of range.
    """
    _check.number("df", df, above=2, scalar=True)

    def draw(normals: jax.Array, phi: jax.Array) -> jax.Array:
        del phi
        nu = jnp.asarray(df, normals.dtype)
        square = jnp.maximum(normals[0] ** 2 + normals[1] ** 2, jnp.finfo(normals.dtype).tiny)
        return normals[0] * jnp.sqrt((nu - 2) * jnp.expm1(square / nu) / square)

    return Disturbance(2, draw)


def laplace() -> Disturbance:
    """Double exponential of variance 1: half a difference of two chi-squared numbers, over sqrt(2)."""

    def draw(normals: jax.Array, phi: jax.Array) -> jax.Array:
        del phi
        square = normals * normals
        return (square[0] + square[1] - square[2] - square[3]) * 8**-0.5

    return Disturbance(4, draw)


def skewed(share: ArrayLike = 1.0) -> Disturbance:
    """Skewness 2 share^3: w = share (x - 1) + sqrt(1 - share^2) e, x standard exponential.

    Args:
      share: in [0, 1].

    Raises:
      ValueError: a concrete share is out of range.
    """
    _check.number("share", share, at_least=0, scalar=True)
    _check.number("1 - share", 1 - share, at_least=0)

    def draw(normals: jax.Array, phi: jax.Array) -> jax.Array:
        del phi
        a = jnp.asarray(share, normals.dtype)
        exponential = (normals[0] ** 2 + normals[1] ** 2) / 2
        return a * (exponential - 1) + jnp.sqrt(1 - a * a) * normals[2]

    return Disturbance(3, draw)


def contaminated(share: ArrayLike = 0.2, scale: ArrayLike = 10.0, shift: ArrayLike = 0.0) -> Disturbance:
    """Gross errors (Tukey 1960): w = e, but shift + scale e with probability `share`.

    The mixture's noise_variance is that of the good observations, so that errors of the estimates compare.

    Args:
      share: in [0, 1].
      scale: of the gross errors, at least 0.
      shift: mean of the gross errors.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.number("share", share, at_least=0, scalar=True)
    _check.number("1 - share", 1 - share, at_least=0)
    _check.number("scale", scale, at_least=0, scalar=True)
    _check.number("shift", shift, scalar=True)

    def draw(normals: jax.Array, phi: jax.Array) -> jax.Array:
        del phi
        dtype = normals.dtype
        uniform = jnp.exp(-(normals[1] ** 2 + normals[2] ** 2) / 2)
        gross = jnp.asarray(shift, dtype) + jnp.asarray(scale, dtype) * normals[0]
        return jnp.where(uniform < jnp.asarray(share, dtype), gross, normals[0])

    return Disturbance(3, draw)


def heteroscedastic(share: ArrayLike = 0.5) -> Disturbance:
    """A variance that grows with the regressors: w = e sqrt(1 - share + share |phi|^2 / d).

    It has mean 1 where the regressors have unit variance.

    Args:
      share: in [0, 1].

    Raises:
      ValueError: a concrete share is out of range.
    """
    _check.number("share", share, at_least=0, scalar=True)
    _check.number("1 - share", 1 - share, at_least=0)

    def draw(normals: jax.Array, phi: jax.Array) -> jax.Array:
        a = jnp.asarray(share, normals.dtype)
        return normals[0] * jnp.sqrt(1 - a + a * jnp.mean(phi * phi))

    return Disturbance(1, draw)
