"""Label models: which component produces each response, where that is no independent draw.

A label model is pure functions of uniform numbers, so it needs no random state of its own:

    init(uniform ()) -> state                                     before step 1
    draw(state, phi (d,), uniform ()) -> (state, label () int32)  the component of this step, from 0

Uniform numbers are in (0, 1]. Functions that make one get the mixture's `weights` if they ask for them.
Parameters may be traced.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot


class LabelModel(NamedTuple):
    """A law of the labels, as the module's docstring defines it."""

    init: Callable[[jax.Array], Any]
    draw: Callable[[Any, jax.Array, jax.Array], tuple[Any, jax.Array]]


def markov(weights: ArrayLike, stay: ArrayLike = 0.9) -> LabelModel:
    """A Markov chain: the label stays with probability `stay`, else it is drawn anew by the weights.

    P(z[n+1] = k | z[n] = j) = stay 1{k = j} + (1 - stay) weights[k]. The weights are its stationary law, in
    which it starts; stay = 0 is independent labels.

    Args:
      weights: (K,) of the mixture.
      stay: in [0, 1).

    Raises:
      ValueError: a concrete stay is out of range.
    """
    _check.number("stay", stay, at_least=0, below=1, scalar=True)

    def draw(label: jax.Array, phi: jax.Array, uniform: jax.Array) -> tuple[jax.Array, jax.Array]:
        del phi
        kept = jnp.asarray(stay, uniform.dtype)
        new = jnp.where(uniform <= kept, label, _drawn(weights, (uniform - kept) / (1 - kept)))
        return new, new

    return LabelModel(lambda uniform: _drawn(weights, uniform), draw)


def gated(weights: ArrayLike, slope: ArrayLike) -> LabelModel:
    """Labels that depend on the regressors, as in a mixture of experts: a softmax of linear functions.

    P(z = k | phi) = weights[k] exp(slope_k' phi) / sum_j weights[j] exp(slope_j' phi)

    Args:
      weights: (K,) of the mixture: the probabilities where phi = 0.
      slope: (K, d); or (d,) of the first of two components, the other's being 0.

    Raises:
      ValueError: slope is not finite, or of another shape.
    """
    _check.number("slope", slope)

    def draw(state: tuple[()], phi: jax.Array, uniform: jax.Array) -> tuple[tuple[()], jax.Array]:
        components, dtype = np.shape(weights)[0], uniform.dtype
        rows = jnp.asarray(slope, dtype)
        if rows.shape == phi.shape and components == 2:
            rows = jnp.stack([rows, jnp.zeros_like(rows)])
        if rows.shape != (components, *phi.shape):
            wanted = f"({components}, {phi.shape[0]})"
            raise ValueError(f"slope must be {wanted}, or (d,) for two components, not {rows.shape}")
        scores = jnp.log(jnp.asarray(weights, dtype)) + dot(rows, jnp.broadcast_to(phi, rows.shape))
        return state, _drawn(jax.nn.softmax(scores), uniform)

    return LabelModel(lambda uniform: (), draw)


def _drawn(weights: ArrayLike, uniform: jax.Array) -> jax.Array:
    """The component of a uniform number, as independent labels have it."""
    threshold = jnp.cumsum(jnp.asarray(weights, uniform.dtype))[:-1]
    return jnp.sum(uniform > threshold, dtype=jnp.int32)
