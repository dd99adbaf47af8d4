"""Data of a mixture of linear regressions, one trial as a stream: the problem of every study."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr.data import disturbances, noise
from jaxmlr.data.disturbances import Disturbance
from jaxmlr.data.drifts import Drift
from jaxmlr.data.labels import LabelModel
from jaxmlr.data.processes import Process
from jaxmlr.mixture import Mixture


class SimulatedRow(NamedTuple):
    """What one step reveals, and the label that it hides."""

    phi: jax.Array  # (d,) regressor phi[n]
    y: jax.Array  # () response y[n+1], NaN where it is not observed
    label: jax.Array  # () int32, the component that produced y, from 0; -1 where a recording has none


class Stream(NamedTuple):
    """One trial's data: `init() -> state`, then `step(state, n) -> (state, Observation)`, n = 1, 2, ..."""

    init: Callable[[], Any]
    step: Callable[[Any, jax.Array], tuple[Any, SimulatedRow]]


def stream(
    key: ArrayLike,
    mixture: Mixture,
    process: Process,
    trial: ArrayLike = 0,
    disturbance: Disturbance | None = None,
    *,
    missing: ArrayLike | None = None,
    drift: Drift | None = None,
    labels: LabelModel | None = None,
) -> Stream:
    """The data of trial `trial` under `key`, step by step.

    y[n+1] = beta_z' phi[n] + sigma_z w[n+1],  P(z = k) = weights[k] or by `labels`,  w ~ N(0, 1) or the
    `disturbance`

    Noise is a function of (key, trial, step) alone; step 0 starts the process. The other arguments are those
    of `simulate`.
    """
    process = process if process.of_trial is None else process.of_trial(trial)
    words = noise.key_words(key)
    components, dim = mixture.coefficients.shape
    dtype = mixture.coefficients.dtype
    threshold = jnp.cumsum(mixture.weights)[:-1]
    law = disturbances.gaussian() if disturbance is None else disturbance
    deviation = jnp.sqrt(jnp.broadcast_to(mixture.noise_variance, (components,)))

    def init() -> Any:
        normals, uniform = noise.row(words, trial, 0, dim, dtype)
        return process.init(normals), (() if labels is None else labels.init(uniform))

    def step(states: Any, n: jax.Array) -> tuple[Any, SimulatedRow]:
        state, labelling = states
        normals, uniform = noise.row(words, trial, n, dim + law.normals, dtype)
        state, phi = process.step(state, n.astype(dtype), normals[:dim])
        if labels is None:
            label = jnp.sum(uniform > threshold, dtype=jnp.int32)
        else:
            labelling, label = labels.draw(labelling, phi, uniform)
        chosen = jnp.arange(components, dtype=jnp.int32) == label
        truth = mixture if drift is None else drift.at(mixture, n)
        mean = jnp.sum(jnp.where(chosen, truth.linear_predictors(phi), 0))
        y = mean + jnp.sum(jnp.where(chosen, deviation, 0)) * law.draw(normals[dim:], phi)
        if process.answer is not None:
            given, label = process.answer(n)
            y = given.astype(dtype)
        if process.observe is not None:
            state = process.observe(state, phi, y)
        if missing is not None:
            lost = noise.further_uniform(words, trial, n, 0, dtype) <= jnp.asarray(missing, dtype)
            y = jnp.where(lost, jnp.nan, y)
        return (state, labelling), SimulatedRow(phi, y, label)

    return Stream(init, step)


def simulate(
    key: ArrayLike,
    mixture: Mixture,
    process: Process,
    steps: int,
    *,
    trial: ArrayLike = 0,
    disturbance: Disturbance | None = None,
    missing: ArrayLike | None = None,
    drift: Drift | None = None,
    labels: LabelModel | None = None,
) -> SimulatedRow:
    """Draw a data set: the very data that trial `trial` of a study with this seed sees.

    A study with `seed = s` draws with `jax.random.key(s)`; trial t of it is `trial=t` here. The noise is
    the same bit for bit; y may differ in its last bit, where one program fuses a product and a sum into
    one rounding and another does not.

    Args:
      key: a threefry key, `jax.random.key(seed)`.
      mixture: the truth; its dtype is the data's.
      process: the regressors.
      steps: n, at least 1.
      trial: index of the trial, from 0; may be vmapped.
      disturbance: the law of the noise, out of `jaxmlr.disturbances`; None means normal.
      missing: share of the responses that are not observed, in [0, 1), each by a chance of its own: y is NaN
        there. What the process observes, as a closed loop does, is whole.
      drift: of the coefficients, out of `jaxmlr.drifts`; None means none.
      labels: the law of the labels, out of `jaxmlr.labels`; None means independent draws by the weights.

    Returns:
      (phi (n, d), y (n,), label (n,) int32).

    Raises:
      ValueError: the mixture is not one (shapes, weights, variances), steps is not a positive integer, the
        process has fewer steps or trials, or missing is out of range.
    """
    _check.whole("steps", steps, at_least=1)
    if missing is not None:
        _check.number("missing", missing, at_least=0, below=1, scalar=True)
    if process.steps is not None and steps > process.steps:
        raise ValueError(f"steps must be at most {process.steps}, the process's, not {steps}")
    if (
        process.trials is not None
        and not isinstance(trial, jax.core.Tracer)
        and np.max(trial) >= process.trials
    ):
        raise ValueError(f"trial must be less than {process.trials}, the process's, not {trial}")
    source = stream(
        key, mixture.validated(), process, trial, disturbance, missing=missing, drift=drift, labels=labels
    )
    _, observed = jax.lax.scan(source.step, source.init(), jnp.arange(1, steps + 1, dtype=jnp.int32))
    return observed
