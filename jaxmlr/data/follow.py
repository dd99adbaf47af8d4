"""The loop of every simulation: draw a row, take a step, and record at some steps."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxmlr import _check
from jaxmlr.data.simulate import Stream
from jaxmlr.estimator import Estimator, plain_step


def follow(
    estimator: Estimator,
    source: Stream,
    dim: int,
    steps: Sequence[int] | np.ndarray,
    record: Callable[[Any], Any] | None = None,
    *,
    key: jax.Array | None = None,
    dtype: DTypeLike | None = None,
) -> Any:
    """Run a method along a simulated stream and record its state at some steps; nothing else is stored.

    Pure: it may be vmapped over trials and hyper-parameters, compiled, and differentiated forwards.

    Args:
      estimator: the method.
      source: one trial's data, of `jaxmlr.data.simulate.stream`.
      dim: d, the number of regressors.
      steps: n at which to record, increasing, from 1.
      record: `record(state)`, a pytree of arrays; None is `estimator.mixture`.
      key: of the method's start, where it has a random one.
      dtype: of the method's state; None means JAX's default float.

    Returns:
      What `record` returned at every one of the steps, stacked: each leaf has a first axis (len(steps),).

    Raises:
      ValueError: steps are not increasing whole numbers from 1.
    """
    update, measure = plain_step(estimator), record or estimator.mixture  # simulated rows have no gaps

    def advance(n: jax.Array, carry: Any) -> Any:
        data, row = source.step(carry[0], n)
        return data, update(carry[1], (row.phi, row.y))[0]

    start = source.init(), estimator.init(dim, key, dtype)
    return at_steps(advance, start, steps, lambda carry, n: measure(carry[1]))


def at_steps(
    advance: Callable[[jax.Array, Any], Any],
    start: Any,
    steps: Sequence[int] | np.ndarray,
    record: Callable[[Any, jax.Array], Any],
) -> Any:
    """Fold `advance(n, carry)` over n = 1, 2, ... and stack `record(carry, n)` of the given steps.

    Args:
      advance: from the carry before step n to that after it.
      start: the carry before step 1.
      steps: n at which to record, increasing, from 1.
      record: what to keep of the carry after step n.

    Raises:
      ValueError: steps are not increasing whole numbers from 1.
    """
    for n in steps:
        _check.whole("steps", n, at_least=1)
    if not len(steps) or np.any(np.diff(steps) <= 0):
        raise ValueError(f"steps must increase, not {list(steps)}")
    stops = np.asarray(steps).astype(np.int32) + 1
    starts = np.concatenate([np.ones(1, np.int32), stops[:-1]])

    def segment(carry: Any, ends: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
        carry = jax.lax.fori_loop(ends[0], ends[1], advance, carry)
        return carry, record(carry, ends[1] - 1)

    return jax.lax.scan(segment, start, (jnp.asarray(starts), jnp.asarray(stops)))[1]
