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
from jaxmlr.evaluation import diagnostics
from jaxmlr.evaluation.metrics import CUMULATIVE, METRICS, comparable, matching, of_estimate, wrong_fraction
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
    """State of an estimator's tracker; what no metric asks for is None."""

    estimate: Any
    confusion: jax.Array | None  # (K, K) int32
    squares: tuple[jax.Array, jax.Array] | None  # sum of squared residuals, and what rounding lost of it
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
    wanted = {name.removeprefix("excess_") for name in metrics}
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
        return state, nearest(drift.at(truth, n).lines(row.phi), row.y)

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

    def init(dim: int, key: jax.Array, dtype: DTypeLike) -> _Progress:
        zero = jnp.zeros((), dtype)
        return _Progress(
            start(dim, key, dtype),
            jnp.zeros((components, components), jnp.int32) if "misclassification" in wanted else None,
            (zero, zero) if "within_cluster_error" in wanted else None,
            jnp.zeros((), jnp.int32) if gaps else None,
        )

    def step(state: _Progress, n: jax.Array, observation: SimulatedRow) -> _Progress:
        estimate, info = take(state.estimate, n, observation)
        confusion, squares, observed = state.confusion, state.squares, state.observed
        seen = jnp.isfinite(observation.y)
        if confusion is not None:
            index = jnp.arange(components, dtype=jnp.int32)
            pair = (index == info.label)[:, None] & (index == observation.label)[None, :]
            confusion = confusion + (pair & seen if gaps else pair).astype(jnp.int32)
        if squares is not None:
            square = info.residual * info.residual
            squares = _add(squares, jnp.where(seen, square, 0) if gaps else square)
        if observed is not None:
            observed = observed + seen.astype(jnp.int32)
        return _Progress(estimate, confusion, squares, observed)

    def values(state: _Progress, n: jax.Array) -> dict[str, jax.Array]:
        mixture = mixture_of(state.estimate)
        dtype = mixture.coefficients.dtype
        measured = {"finite": jnp.all(jnp.isfinite(mixture.coefficients)).astype(dtype)}
        present = truth if drift is None else drift.at(truth, n)
        measured |= of_estimate(wanted, mixture, present, own)
        if state.confusion is not None:
            measured["misclassification"] = jnp.full((), jnp.nan, dtype)
            if comparable(mixture, truth):
                order = matching(mixture.coefficients, present.coefficients)
                measured["misclassification"] = wrong_fraction(state.confusion, order).astype(dtype)
        if state.squares is not None:
            measured["within_cluster_error"] = (state.squares[0] + state.squares[1]) / n.astype(dtype)
        if state.observed is not None:
            measured |= _of_observed(measured, n, state.observed)
        return measured

    return Tracker(init, step, values)


def _of_observed(
    measured: Mapping[str, jax.Array], n: jax.Array, observed: jax.Array
) -> dict[str, jax.Array]:
    """Running means as they are where only some of n responses are observed; NaN where none is."""
    means = {name: measured[name] for name in CUMULATIVE if name in measured}
    if (error := means.get("within_cluster_error")) is not None:
        means["within_cluster_error"] = error * (n.astype(error.dtype) / observed.astype(error.dtype))
    return {name: jnp.where(observed > 0, x, jnp.nan) for name, x in means.items()}


def _add(total: tuple[jax.Array, jax.Array], term: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Compensated sum (Kahan 1965): a float32 sum would stop growing after 10^7 terms."""
    corrected = term + total[1]
    summed = total[0] + corrected
    return summed, corrected - (summed - total[0])
