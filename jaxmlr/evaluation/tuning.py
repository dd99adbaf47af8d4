"""Settings of a recursive method by gradient, through the scan, over a batch of trials."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr._xla.lanes.transform import lanes
from jaxmlr.data.disturbances import Disturbance
from jaxmlr.data.follow import follow
from jaxmlr.data.processes import Process
from jaxmlr.data.simulate import stream
from jaxmlr.estimator import Estimator
from jaxmlr.evaluation import metrics
from jaxmlr.mixture import Mixture


class Tuned(NamedTuple):
    """What `tune` returns. Gains are in log error: .1 is an error smaller by 10 %."""

    settings: dict[str, float]
    loss: np.ndarray  # (iterations + 1,) on the training trials, at the start and after every iteration
    gain: float  # mean over held-out trials of the loss of the start minus that of `settings`
    gain_se: float  # its standard error; differences are paired


def tune(
    make: Callable[..., Estimator],
    start: Mapping[str, float],
    ranges: Mapping[str, tuple[float, float]],
    truth: Mixture,
    process: Process,
    steps: int,
    key: ArrayLike,
    *,
    trials: int = 128,
    held_out: int = 512,
    iterations: int = 60,
    record: int = 12,
    transformation: optax.GradientTransformation | None = None,
    disturbance: Disturbance | None = None,
) -> Tuned:
    """Choose settings that make the coefficient error small along the whole stream.

    The loss of a trial is the mean of log(coefficient error) at `record` log-spaced steps; that of a setting
    is its mean over `trials` trials, the same in every iteration. Each setting is low + (high - low) / (1 +
    exp(-x)), and x follows `transformation` along the exact gradient in forward mode: its cost is that of as
    many runs as there are settings, plus one, and its memory does not grow with the steps.

    The settings of the least training loss are compared with the start on other trials.

    Args:
      make: `make(**settings)` is the method; all tuned settings may be traced there.
      start: setting -> value to start from.
      ranges: setting -> (low, high), open; the start lies inside.
      truth: the mixture; its dtype is that of the computation.
      process: the regressors.
      steps: n, at least 10.
      key: of the noise; training trials are 0, 1, ... and held-out trials follow.
      trials: for training, at least 1.
      held_out: at least 2.
      iterations: at least 1.
      record: number of steps at which the error counts, at least 1.
      transformation: of optax; None means adam(0.2).
      disturbance: the law of the noise, as in `simulate`.

    Raises:
      ValueError: an argument is out of range; the names differ; a loss or a gradient is not finite.
    """
    if not start or set(start) != set(ranges):
        raise ValueError(f"ranges must name the settings of start, {sorted(start)}, not {sorted(ranges)}")
    for name, (least, most) in ranges.items():
        _check.number(f"start[{name!r}]", start[name], above=least, below=most, scalar=True)
    for name, count, lowest in (
        ("steps", steps, 10),
        ("trials", trials, 1),
        ("held_out", held_out, 2),
        ("iterations", iterations, 1),
        ("record", record, 1),
    ):
        _check.whole(name, count, at_least=lowest)
    truth = truth.validated()
    dtype = truth.coefficients.dtype
    names = sorted(start)
    low, high = (jnp.asarray([ranges[name][k] for name in names], dtype) for k in (0, 1))

    def settings(x: jax.Array) -> dict[str, jax.Array]:
        values = low + (high - low) * jax.nn.sigmoid(x)
        return {name: values[k] for k, name in enumerate(names)}

    ends = np.unique(np.geomspace(max(2, steps // 100), steps, record).round().astype(np.int32))
    dim = truth.coefficients.shape[1]

    def losses(x: jax.Array, index: jax.Array) -> jax.Array:
        estimator = make(**settings(x))

        def trial(number: jax.Array) -> jax.Array:
            source = stream(key, truth, process, number, disturbance)

            def log_error(state: Any) -> jax.Array:
                return jnp.log(metrics.coefficient_error(estimator.mixture(state), truth))

            return jnp.mean(follow(estimator, source, dim, ends, log_error, dtype=dtype))

        return lanes(trial)(index)

    train = jnp.arange(trials, dtype=jnp.int32)
    other = jnp.arange(trials, trials + held_out, dtype=jnp.int32)
    rule = optax.adam(0.2) if transformation is None else transformation

    @jax.jit
    def advance(x: jax.Array, state: Any) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
        def loss(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            value = jnp.mean(losses(x, train))
            return value, value

        slope, value = jax.jacfwd(loss, has_aux=True)(x)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            moves, state = rule.update(slope, state, x)
        return value, slope, optax.apply_updates(x, moves), state

    inside = (jnp.asarray([start[name] for name in names], dtype) - low) / (high - low)
    x = begin = jnp.log(inside / (1 - inside))
    best, state, trace = begin, rule.init(begin), []
    for _ in range(iterations + 1):
        value, slope, moved, state = advance(x, state)
        trace.append(float(value))
        if not np.isfinite(np.append(slope, value)).all():
            raise ValueError(
                f"make must have a finite loss and gradient, not {trace[-1]} and {np.asarray(slope)} at"
                f" { {name: float(v) for name, v in settings(x).items()} }"
            )
        if trace[-1] == min(trace):
            best = x
        x = moved

    before, after = (np.asarray(jax.jit(losses)(at, other), np.float64) for at in (begin, best))
    gain = before - after
    return Tuned(
        {name: float(value) for name, value in settings(best).items()},
        np.asarray(trace),
        float(gain.mean()),
        float(gain.std(ddof=1) / math.sqrt(held_out)),
    )
