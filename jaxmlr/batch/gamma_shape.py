"""The shape of a gamma law: its estimate and its part of the density, exact where it is large."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxmlr._xla.namespace import namespace, special


def shape_of(mean: jax.Array) -> jax.Array:
    """The shape a (K,) with log a - digamma(a) = mean, by Newton's method on log a from within 1.5 %.

    Minka (2002) has the start.
    """
    tiny = float(jnp.finfo(mean.dtype).tiny) ** 0.5
    s = jnp.maximum(mean, tiny)
    first = (3 - s + jnp.sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)

    def step(log_shape: jax.Array, _: None) -> tuple[jax.Array, None]:
        shape = jnp.exp(log_shape)
        value, slope = _log_less_digamma(shape)
        move = jnp.where(slope < 0, (value - s) / jnp.where(slope < 0, slope * shape, 1), 0)
        return log_shape - jnp.clip(move, -1, 1), None

    return jnp.exp(jax.lax.scan(step, jnp.log(first), None, length=5)[0])


def _log_less_digamma(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The difference log a - digamma(a) of a (K,) and its derivative, without the cancellation of large a."""
    count = 10  # of steps up the recurrence, beyond which the asymptotic series has 13 digits
    b, each = a + count, 1 / (a[None] + jnp.arange(count, dtype=a.dtype)[:, None])
    inverse = 1 / (b * b)
    series = 0.5 / b + inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
    slope = 1 / b + inverse / 2
    slope = slope + inverse / b * (1 / 6 - inverse * (1 / 30 - inverse * (1 / 42 - inverse / 30)))
    value = series + jnp.sum(each - jnp.log1p(each), axis=0)
    return value, 1 / a - jnp.sum(each * each, axis=0) - slope


def stirling(a: Any) -> Any:
    """The sum a log a - a - log Gamma(a), without the cancellation of large a."""
    xp, log_gamma = namespace(a), special(a).gammaln
    small, large = xp.minimum(a, 20), xp.maximum(a, 20)
    inverse = 1 / (large * large)
    series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse / 1680))) / large
    far = 0.5 * xp.log(large / (2 * math.pi)) - series
    return xp.where(a > 20, far, small * xp.log(small) - small - log_gamma(small))
