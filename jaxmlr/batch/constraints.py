"""What a batch method is told of the mixture, and the numbers of its M-step: a `Fit` carries both."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr import _check

SIGNS = {"symmetric": (1.0, -1.0), "common": (1.0,)}  # beta_k = sign_k beta


@jax.tree_util.register_static
@dataclass(frozen=True)
class Constraints:
    """What is not estimated, or estimated in common; static and hashable, a pytree without leaves.

    Fields:
      known_weights: the weights were given.
      known_variance: the noise variances were given.
      equal_variance: one sigma^2 for all components.
      tie: "none"; "symmetric", beta_k = +-beta with two components; "common", beta_k = beta.
      known_labels: the components that rows may belong to were given.
      grouped: the rows of a group share their component.
      concomitants: m, of how many variables the weights are a softmax; 0 where they are constant.
    """

    known_weights: bool = False
    known_variance: bool = False
    equal_variance: bool = False
    tie: str = "none"
    known_labels: bool = False
    grouped: bool = False
    concomitants: int = 0

    def __post_init__(self) -> None:
        _check.choice("tie", self.tie, ("none", *SIGNS))
        if self.known_weights and self.concomitants:
            raise ValueError(
                "concomitant must be None where weights are known, not an array that models them"
            )

    def check_components(self, components: int) -> None:
        """Raise ValueError where a mixture of so many components cannot be tied like this."""
        if self.tie == "symmetric" and components != 2:
            raise ValueError(f"tie='symmetric' must have 2 components, not {components}")

    def signs(self, components: int, dtype: Any) -> jax.Array:
        """sign_k in beta_k = sign_k beta, (K,), of a mixture that is tied."""
        return jnp.asarray(np.resize(SIGNS[self.tie], components), dtype)

    def project(self, coefficients: jax.Array) -> jax.Array:
        """The nearest coefficients (..., K, d) that are tied."""
        if self.tie == "none":
            return coefficients
        sign = self.signs(coefficients.shape[-2], coefficients.dtype)[:, None]
        sign = jnp.broadcast_to(sign, coefficients.shape)
        return sign * jnp.mean(sign * coefficients, axis=-2, keepdims=True)

    def parameters(self, components: int, d: int) -> int:
        """How many are estimated: K d coefficients (d where tied), K - 1 weights, K or 1 variances.

        With m concomitants (K - 1) m numbers stand for the weights.
        """
        lines = d if self.tie != "none" else components * d
        weights = 0 if self.known_weights else (components - 1) * max(self.concomitants, 1)
        return lines + weights + (0 if self.known_variance else 1 if self.equal_variance else components)


class MStepOptions(NamedTuple):
    """The numbers of the M-step; all may be traced."""

    ridge: jax.Array  # (d,)
    variance_floor: jax.Array  # ()
    ddof: jax.Array  # ()
    outlier_density: jax.Array | None = None  # (), None means 0
