"""A mixture as a point without constraints: what gradients and Hessians are taken in."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr.batch.constraints import Constraints
from jaxmlr.mixture import Mixture


class Free(NamedTuple):
    """The parts of a mixture that are estimated; None where a part is known."""

    coefficients: jax.Array  # (K, d), or where restricted (q,), of which they are made
    log_odds: jax.Array | None  # (K - 1,) log weights[k] / weights[K - 1]
    log_variance: jax.Array | None  # (), (K,), or one for each class
    gate: jax.Array | None = None  # (K - 1, m) alpha of all components but the first


def free(
    mixture: Mixture, constraints: Constraints, gate: jax.Array | None = None
) -> tuple[Free, Callable[[Free], Mixture]]:
    """The free parameters of `mixture`, and the way back: smooth, onto all mixtures that share the known.

    With a gate (K, m) its parameters stand for those of the weights, and the way back keeps the weights.
    """
    beta, weights, variance = (jnp.asarray(leaf) for leaf in mixture)
    layout = constraints.layout(*beta.shape) if constraints.restricted else None
    classes, number = None, variance
    if constraints.variance_classes:
        _, first, classes = np.unique(constraints.variance_classes, return_index=True, return_inverse=True)
        number = variance[first]
    # A weight of 0 has no log-odds; the least normal number stands for it.
    log_weights = jnp.log(jnp.maximum(weights, float(jnp.finfo(weights.dtype).tiny)))
    point = Free(
        beta if layout is None else layout.gathered(beta),
        None if constraints.known_weights or gate is not None else log_weights[:-1] - log_weights[-1],
        None if constraints.known_variance else jnp.log(number),
        None if gate is None else gate[1:],
    )

    def back(point: Free) -> Mixture:
        coefficients, log_odds, log_variance, _ = point
        if layout is not None:
            coefficients = layout.spread(coefficients, beta)
        new_weights = weights
        if log_odds is not None:
            new_weights = jax.nn.softmax(jnp.concatenate([log_odds, jnp.zeros(1, log_odds.dtype)]))
        if log_variance is None:
            return Mixture(coefficients, new_weights, variance)
        new_variance = jnp.exp(log_variance)
        return Mixture(coefficients, new_weights, new_variance if classes is None else new_variance[classes])

    return point, back


def whole_gate(point: Free) -> jax.Array | None:
    """The gate (K, m) at a point, with 0 for the first component; None where there is none."""
    return None if point.gate is None else jnp.pad(point.gate, ((1, 0), (0, 0)))
