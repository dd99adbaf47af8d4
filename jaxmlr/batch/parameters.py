"""A mixture as a point without constraints: what gradients and Hessians are taken in."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmlr.batch.constraints import Constraints
from jaxmlr.mixture import Mixture


class Free(NamedTuple):
    """The parts of a mixture that are estimated; None where a part is known."""

    coefficients: jax.Array  # (K, d), or (d,) where tied
    log_odds: jax.Array | None  # (K - 1,) log weights[k] / weights[K - 1]
    log_variance: jax.Array | None  # () or (K,)
    gate: jax.Array | None = None  # (K - 1, m) alpha of all components but the first


def free(
    mixture: Mixture, constraints: Constraints, gate: jax.Array | None = None
) -> tuple[Free, Callable[[Free], Mixture]]:
    """The free parameters of `mixture`, and the way back: smooth, onto all mixtures that share the known.

    With a gate (K, m) its parameters stand for those of the weights, and the way back keeps the weights.
    """
    beta, weights, variance = (jnp.asarray(leaf) for leaf in mixture)
    sign = None if constraints.tie == "none" else constraints.signs(beta.shape[0], beta.dtype)
    # A weight of 0 has no log-odds; the least normal number stands for it.
    log_weights = jnp.log(jnp.maximum(weights, float(jnp.finfo(weights.dtype).tiny)))
    point = Free(
        beta if sign is None else sign[0] * beta[0],
        None if constraints.known_weights or gate is not None else log_weights[:-1] - log_weights[-1],
        None if constraints.known_variance else jnp.log(variance),
        None if gate is None else gate[1:],
    )

    def back(point: Free) -> Mixture:
        coefficients, log_odds, log_variance, _ = point
        if sign is not None:
            coefficients = sign[:, None] * coefficients[None, :]
        new_weights = weights
        if log_odds is not None:
            new_weights = jax.nn.softmax(jnp.concatenate([log_odds, jnp.zeros(1, log_odds.dtype)]))
        return Mixture(coefficients, new_weights, variance if log_variance is None else jnp.exp(log_variance))

    return point, back


def whole_gate(point: Free) -> jax.Array | None:
    """The gate (K, m) at a point, with 0 for the first component; None where there is none."""
    return None if point.gate is None else jnp.pad(point.gate, ((1, 0), (0, 0)))
