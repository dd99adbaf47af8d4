"""The loop of every simulation: draw a row, take a step, and record at some steps."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxmlr import _check
from jaxmlr._xla.target import target
from jaxmlr.data.simulate import Stream
from jaxmlr.estimator import Estimator, plain_step

Advance = Callable[[jax.Array, Any], Any]

# Not on a CPU: steps of one kernel, and numbers that a kernel may carry, each an argument and a result.
UNIT, REGISTERS = 5, 40


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
    advance: Advance,
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

    loop = segment if target() == "cpu" else segment_in_units

    def until_record(carry: Any, ends: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
        carry = loop(advance, *ends, carry)
        return carry, record(carry, ends[1] - 1)

    return jax.lax.scan(until_record, start, (jnp.asarray(starts), jnp.asarray(stops)))[1]


def segment(advance: Advance, first: jax.Array, end: jax.Array, carry: Any) -> Any:
    """Steps n = first, ..., end - 1, one after another."""
    return jax.lax.fori_loop(first, end, advance, carry)


def segment_in_units(advance: Advance, first: jax.Array, end: jax.Array, carry: Any) -> Any:
    """The same, `UNIT` steps an iteration, of which the last iteration may drop some.

    What is carried stays in a kernel's registers within a unit. The step's number is carried too: all that
    follows from it alone would be computed by kernels of their own.
    """
    size = steps_per_iteration(carry)

    def unit(_: jax.Array, loop: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
        n, carry = loop
        for i in range(size):
            moved, within = advance(n + i, carry), n + i < end
            carry = jax.tree.map(lambda new, old, go=within: jnp.where(go, new, old), moved, carry)
        return n + size, carry

    return jax.lax.fori_loop(0, (end - first + size - 1) // size, unit, (first, carry))[1]


def steps_per_iteration(carry: Any) -> int:
    """How many steps an iteration of the loop takes that carries this: on a CPU one."""
    numbers = sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(carry))
    return UNIT if numbers <= REGISTERS and target() != "cpu" else 1
