"""Following a method along a stream in constant memory: its metrics at any step, the true labels known."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxmlr import _check
from jaxmlr.data.drifts import Drift
from jaxmlr.data.simulate import SimulatedRow
from jaxmlr.estimator import Estimator, Info, nearest, plain_step
from jaxmlr.evaluation import diagnostics, theory
from jaxmlr.evaluation.metrics import METRICS, of_estimate, running_means
from jaxmlr.mixture import Mixture


class Tracker(NamedTuple):
    """Something that follows a stream of observations and can say where it stands.

    Fields:
      init: `init(dim, key, dtype) -> state`.
      step: `step(state, n, observation) -> state`, observation n of the stream, n from 1.
      values: `values(state, n) -> {name: ()}` after n observations.
    """

    init: Callable[[int, jax.Array, DTypeLike], Any]
    step: Callable[[Any, jax.Array, SimulatedRow], Any]
    values: Callable[[Any, jax.Array], dict[str, jax.Array]]


class _Progress(NamedTuple):
    """State of an estimator's tracker: what the metrics that are asked for need."""

    estimate: Any
    running: dict[str, Any]  # the state of each running mean
    observed: jax.Array | None = None  # () int32, responses so far; None where none is missing


def track(
    estimator: Estimator,
    truth: Mixture,
    metrics: tuple[str, ...],
    *,
    own: Mapping[str, Callable[[Mixture, Mixture], Any]] | None = None,
    drift: Drift | None = None,
    gaps: bool = False,
) -> Tracker:
    """Follow one method on data of a known mixture.

    misclassification      (1/n) sum_k 1{label[k] != z[k]}, labels from the estimate before observation k
    within_cluster_error   (1/n) sum_k (y[k+1] - beta_label' phi[k])^2, from the same estimate
    coefficient_error, scale   of the estimate after observation n
    diagnostics.METRICS    the numbers and alarms of a `diagnostics.Report` after observation n

    With a drift the truth is that which produced observation n. With gaps the running means are those of the
    responses that are observed, and NaN before the first.

    Where the method has another number of components than the truth, components cannot be matched:
    coefficient_error and misclassification are NaN. So is scale where it has not two.

    Args:
      estimator: the method.
      truth: the mixture that produces the data.
      metrics: names out of `jaxmlr.metrics.METRICS`; excess metrics stand for what they are the excess of.
      own: further metrics, `f(estimate, truth) -> ()` after observation n, by name.
      drift: of the truth.
      gaps: whether responses may be NaN, which is not observed.

    Returns:
      A Tracker whose values are the metrics and `finite`, whether the estimate is.

    Raises:
      ValueError: an unknown metric.
    """
    for name in metrics:
        _check.choice("metrics", name, tuple(METRICS))
    wanted = {METRICS[name].excess_of or name for name in metrics}
    watched = wanted & {*diagnostics.METRICS}
    if watched:
        estimator = diagnostics.diagnosed(estimator)
    # A unit, which `lanes` may leave to vmap where it is long.
    update = jax.jit(estimator.step if gaps else plain_step(estimator))

    def take(state: Any, n: jax.Array, row: SimulatedRow) -> tuple[Any, Info]:
        del n
        return update(state, (row.phi, row.y))

    tracker = _track(estimator.init, take, estimator.mixture, truth, wanted, own=own, drift=drift, gaps=gaps)
    if not watched:
        return tracker

    def values(state: _Progress, n: jax.Array) -> dict[str, jax.Array]:
        report = diagnostics.values(state.estimate)
        return tracker.values(state, n) | {name: report[name] for name in watched}

    return tracker._replace(values=values)


def track_truth(truth: Mixture, metrics: tuple[str, ...], *, drift: Drift, gaps: bool = False) -> Tracker:
    """Follow the true coefficients of each step, which know their drift; as `track` otherwise."""

    def take(state: tuple[()], n: jax.Array, row: SimulatedRow) -> tuple[tuple[()], Info]:
        return state, nearest(drift.at(truth, n).linear_predictors(row.phi), row.y)

    return _track(lambda *_: (), take, lambda state: truth, truth, {*metrics}, drift=None, gaps=gaps)


def _track(
    start: Callable[..., Any],
    take: Callable[[Any, jax.Array, SimulatedRow], tuple[Any, Info]],
    mixture_of: Callable[[Any], Mixture],
    truth: Mixture,
    wanted: set[str],
    *,
    own: Mapping[str, Callable[[Mixture, Mixture], Any]] | None = None,
    drift: Drift | None,
    gaps: bool,
) -> Tracker:
    """A tracker of what `take(state, n, row) -> (state, info)` learns."""
    components = truth.coefficients.shape[0]
    running = running_means(wanted)

    def init(dim: int, key: jax.Array, dtype: DTypeLike) -> _Progress:
        return _Progress(
            start(dim, key, dtype),
            {name: mean.start(components, dtype) for name, mean in running.items()},
            jnp.zeros((), jnp.int32) if gaps else None,
        )

    def step(state: _Progress, n: jax.Array, observation: SimulatedRow) -> _Progress:
        estimate, info = take(state.estimate, n, observation)
        seen = jnp.isfinite(observation.y) if gaps else None
        means = {
            name: mean.add(state.running[name], info, observation.label, seen)
            for name, mean in running.items()
        }
        observed = state.observed
        if observed is not None and seen is not None:
            observed = observed + seen.astype(jnp.int32)
        return _Progress(estimate, means, observed)

    def values(state: _Progress, n: jax.Array) -> dict[str, jax.Array]:
        mixture = mixture_of(state.estimate)
        dtype = mixture.coefficients.dtype
        measured = {"finite": jnp.all(jnp.isfinite(mixture.coefficients)).astype(dtype)}
        present = truth if drift is None else drift.at(truth, n)
        measured |= of_estimate(wanted, mixture, present, own)
        observed = n if state.observed is None else state.observed
        for name, mean in running.items():
            value = mean.mean(state.running[name], observed, mixture, present)
            measured[name] = jnp.where(observed > 0, value, jnp.nan) if gaps else value
        return measured

    return Tracker(init, step, values)


def track_limits(
    mixture: Mixture,
    metrics: tuple[str, ...],
    *,
    symmetric: bool,
    drift: Drift | None = None,
    gaps: bool = False,
) -> Tracker:
    """Follow along a stream what the limits of `metrics` are made of, by their records.

    A `Limit.mean` is averaged over the stream. For a `Limit.bound` it is the sum over the stream of
    (s (x) phi)(s (x) phi)' with s the score at the truth, whose mean over trials is the Fisher information
    about the stacked coefficients, weights and variances known; there is none of a truth that drifts.
    Where responses are missing all are those of the observed ones: the means are NaN before the first.

    Args:
      mixture: the truth.
      metrics: names out of `metrics.METRICS`.
      symmetric: whether the model knows that its two lines are opposite; then only beta is unknown.
      drift: of the truth. What is then to be estimated is no constant: there is no information about it.
      gaps: whether responses may be NaN, which is not observed.

    Returns:
      A Tracker whose values are those means and sums, by the names of the metrics.
    """
    components = mixture.coefficients.shape[0]
    limits = {name: limit for name in METRICS if name in metrics and (limit := METRICS[name].limit)}
    means = {name: limit.mean for name, limit in limits.items() if limit.mean}
    bounded = [name for name, limit in limits.items() if limit.bound and drift is None]

    def init(dim: int, key: jax.Array, dtype: DTypeLike) -> dict[str, jax.Array]:
        del key
        state = {name: jnp.zeros((), dtype) for name in means}
        if gaps:
            state["observed"] = jnp.zeros((), dtype)
        size = dim if symmetric else components * dim
        return state | {name: jnp.zeros((size, size), dtype) for name in bounded}

    def step(state: dict[str, jax.Array], n: jax.Array, observation: SimulatedRow) -> dict[str, jax.Array]:
        phi = observation.phi
        truth = mixture if drift is None else drift.at(mixture, n)
        count = n.astype(phi.dtype)
        seen = jnp.isfinite(observation.y)
        before = state
        if gaps:
            count = state["observed"] + 1
            state = state | {"observed": count}
        state = state | {
            name: state[name] + (limit(truth, phi) - state[name]) / count for name, limit in means.items()
        }
        if bounded:
            s = theory.line_score(mixture, phi, observation.y)
            lines = (s[:1] - s[1:]) if symmetric else s
            gradient = (lines[:, None] * phi[None, :]).reshape(-1)
            product = gradient[:, None] * gradient[None, :]
            state = state | {name: state[name] + product for name in bounded}
        return {name: jnp.where(seen, x, before[name]) for name, x in state.items()} if gaps else state

    def values(state: dict[str, jax.Array], n: jax.Array) -> dict[str, jax.Array]:
        del n
        if not gaps:
            return state
        averaged = {name: jnp.where(state["observed"] > 0, state[name], jnp.nan) for name in means}
        return averaged | {name: state[name] for name in bounded}

    return Tracker(init, step, values)
