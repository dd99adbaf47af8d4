"""What a recursive method is: three pure functions, and the one scan that runs them."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr.mixture import Mixture

Row = tuple[jax.Array, jax.Array]


class Info(NamedTuple):
    """What one step learns about its observation, from the estimate BEFORE the update."""

    label: jax.Array  # () int32, the component whose line is nearest to y, eq. (13)
    residual: jax.Array  # () y - beta_label' phi


class Init(Protocol):
    """How a method starts."""

    def __call__(self, dim: int, key: jax.Array | None = None, dtype: DTypeLike | None = None) -> Any:
        """The state before any observation; `dtype` None means JAX's default float."""


class Estimator(NamedTuple):
    """A recursive method: `lax.scan(est.step, est.init(d), (phi, y))` runs it.

    Fields:
      init: `init(dim, key=None, dtype=None) -> state`; the key matters to methods with a random start.
      step: `step(state, (phi (d,), y ())) -> (state, info)`, pure and shape-static; it never raises on
        values. phi and y are taken in the dtype of the state.
      mixture: `mixture(state) -> Mixture`, the current estimate.
    """

    init: Init
    step: Callable[[Any, Row], tuple[Any, Info]]
    mixture: Callable[[Any], Mixture]


def nearest(mixture_lines: jax.Array, y: jax.Array) -> Info:
    """Label and residual of the nearest line: argmin_k |y - line_k|, lines (K,), ties to the lower k."""
    error = y - mixture_lines
    label = jnp.argmin(jnp.abs(error)).astype(jnp.int32)
    chosen = jnp.arange(error.shape[0], dtype=jnp.int32) == label
    return Info(label, jnp.sum(jnp.where(chosen, error, 0)))


def run(estimator: Estimator, phi: ArrayLike, y: ArrayLike, key: jax.Array | None = None) -> tuple[Any, Info]:
    """Run a method over a data set: one `lax.scan` from `init`.

    Args:
      estimator: the method.
      phi: (n, d), row k is the regressor that y[k] answers.
      y: (n,), the dtype of phi.
      key: for methods with a random start.

    Returns:
      The final state, and `info` with a leading axis n.

    Raises:
      ValueError: wrong shapes or dtypes, or (where the values are concrete) NaN or infinity.
    """
    phi, y = jnp.asarray(phi), jnp.asarray(y)
    _check.observations(phi, y)
    state = estimator.init(phi.shape[1], key, jnp.result_type(phi, y))
    return jax.lax.scan(estimator.step, state, (phi, y))
