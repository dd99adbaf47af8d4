"""How far an estimate is from the truth.

Labels and components are only defined up to their order. The order used everywhere is the one that
brings the current coefficients closest to the true ones, so the sign that a symmetric model leaves open
and the order of general components are settled in one way for every metric.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr.estimator import Info
from jaxmlr.evaluation import diagnostics, theory
from jaxmlr.mixture import Mixture


class Running(NamedTuple):
    """A metric that is a mean over the observations, of what a method said of each before it learnt it.

    A stream is added up observation by observation, in a state of fixed size; a fit has all rows at once.

    Fields:
      start: `start(components, dtype) -> state`.
      add: `add(state, info, label, seen) -> state` with one observation and its true label; `seen`, whether
        its response is observed, is None where all are.
      mean: `mean(state, n, estimate, truth) -> ()` of n observed ones.
      of_rows: `of_rows(info, label, estimate, truth) -> (n,)`, what the mean is of, in arrays of n rows.
    """

    start: Callable[[int, Any], Any]
    add: Callable[[Any, Info, jax.Array, jax.Array | None], Any]
    mean: Callable[[Any, jax.Array, Mixture, Mixture], jax.Array]
    of_rows: Callable[[Info, jax.Array, Mixture, Mixture], jax.Array]


class Limit(NamedTuple):
    """What a method that knows everything reaches of a metric; one of `mean`, `bound` and `constant`.

    Fields:
      label: what pictures call it.
      mean: `mean(truth, phi) -> ()` of one observation; the limit is the mean of it over the observations.
      bound: `bound(information, components) -> ()` of the Fisher information in them about the coefficients,
        in NumPy; see `theory.cramer_rao`.
      constant: `constant(truth) -> ()`, the same for every n.
      normal: whether it holds for normal noise only.
      drifting: why there is none where the truth drifts; empty where there is.
    """

    label: str = "theory"
    mean: Callable[[Mixture, jax.Array], jax.Array] | None = None
    bound: Callable[[np.ndarray, int], np.ndarray] | None = None
    constant: Callable[[Mixture], jax.Array] | None = None
    normal: bool = True
    drifting: str = ""


class Metric(NamedTuple):
    """All that is known of a metric: to add one is to add a record.

    What it is, is one of `of`, `running` and `excess_of`; a metric without any is a diagnostic of streams.

    Fields:
      name: what it is called in studies.
      long_name: what it is, in a line.
      heading: of its column in tables and of its panel in pictures; empty where they do not show it.
      of: `of(estimate, truth) -> ()` of the mixture after n observations.
      running: how it is a mean over the observations.
      excess_of: the running mean that it is above the true coefficients' on the same data.
      limit: what it is compared with; None where there is nothing.
      matched: whether it takes the estimated components to be matched with the true ones.
      of_labels: whether it takes the true labels.
      components: the number that it is defined for; None for any.
      label: the heading in pictures, with mathematics; empty where it is the heading.
      panel: of the standard picture; of several metrics in one the last of `METRICS` is drawn. 0 for none.
      banded: whether pictures show the median and quantiles rather than the mean.
      logarithmic: whether it is drawn on a logarithmic axis.
      lowest: lower end of its axis in pictures.
      units: of its values.
    """

    name: str
    long_name: str
    heading: str = ""
    of: Callable[[Mixture, Mixture], jax.Array] | None = None
    running: Running | None = None
    excess_of: str | None = None
    limit: Limit | None = None
    matched: bool = False
    of_labels: bool = False
    components: int | None = None
    label: str = ""
    panel: int = 0
    banded: bool = False
    logarithmic: bool = True
    lowest: float | None = None
    units: str = "1"


MOST_COMPONENTS = 6  # all orders are tried: 720


def matching(estimate: jax.Array, truth: jax.Array) -> jax.Array:
    """The order of estimated components that is closest to the true ones.

    Args:
      estimate: (K, d) coefficients.
      truth: (K, d) coefficients.

    Returns:
      (K,) int32: component `matching[k]` of the estimate stands for component k of the truth; it
      minimises sum_k |estimate[matching[k]] - truth[k]|^2 over all orders.

    Raises:
      ValueError: the shapes differ or K is greater than 6.
    """
    if estimate.shape != truth.shape:
        raise ValueError(f"the estimate must have shape {truth.shape}, not {estimate.shape}")
    components = truth.shape[0]
    if components > MOST_COMPONENTS:
        raise ValueError(
            f"matching tries all orders of at most {MOST_COMPONENTS} components, not {components}"
        )
    orders = np.array(list(itertools.permutations(range(components))), np.int32)
    distance = jnp.sum((estimate[:, None, :] - truth[None, :, :]) ** 2, axis=-1)
    costs = [sum(distance[j, k] for k, j in enumerate(order)) for order in orders]
    best = jnp.argmin(jnp.stack(costs)).astype(jnp.int32)
    chosen = jnp.arange(len(orders), dtype=jnp.int32) == best
    return jnp.sum(jnp.where(chosen[:, None], orders, 0), axis=0, dtype=jnp.int32)


def _reordered(x: jax.Array, order: jax.Array) -> jax.Array:
    """x[order] along the first axis, by comparison: gathers do not vectorise over trials."""
    chosen = order[:, None] == jnp.arange(x.shape[0], dtype=order.dtype)[None, :]
    wide = chosen.reshape(*chosen.shape, *(1,) * (x.ndim - 1))
    return jnp.sum(jnp.where(wide, x[None], 0), axis=1, dtype=x.dtype)


def coefficient_error(estimate: Mixture, truth: Mixture) -> jax.Array:
    """Root mean over components of |beta_hat_k - beta_k|^2, in the best order; shape ().

    For a symmetric mixture this is min(|beta_hat - beta|, |beta_hat + beta|).

    Raises:
      ValueError: the two have different numbers of components or regressors.
    """
    order = matching(estimate.coefficients, truth.coefficients)
    error = _reordered(estimate.coefficients, order) - truth.coefficients
    return jnp.sqrt(jnp.sum(error * error) / truth.coefficients.shape[0])


def comparable(estimate: Mixture, truth: Mixture) -> bool:
    """Whether two mixtures have as many components, so that their components can be matched."""
    return estimate.coefficients.shape == truth.coefficients.shape


def wrong_fraction(confusion: jax.Array, order: jax.Array) -> jax.Array:
    """Share of wrong labels: 1 - sum_k confusion[order[k], k] / sum confusion.

    Args:
      confusion: (K, K) counts, confusion[j, k] of observations labelled j that component k produced.
      order: (K,) as `matching` returns it.
    """
    total = jnp.sum(confusion)
    right = jnp.trace(_reordered(confusion, order))
    dtype = jnp.result_type(float)
    return (total - right).astype(dtype) / jnp.maximum(total, 1).astype(dtype)


def scale(mixture: Mixture) -> jax.Array:
    """1 / |w_1 - w_2| of a two-component mixture: the q that `two_step` estimates; shape ().

    Raises:
      ValueError: the mixture does not have two components.
    """
    if mixture.weights.shape != (2,):
        raise ValueError(f"scale is defined for 2 components, not {mixture.weights.shape[0]}")
    return 1 / jnp.abs(mixture.weights[0] - mixture.weights[1])


def _nan(estimate: Mixture) -> jax.Array:
    return jnp.full((), jnp.nan, estimate.coefficients.dtype)


def _confusion(components: int, dtype: Any) -> jax.Array:
    del dtype
    return jnp.zeros((components, components), jnp.int32)


def _confused(confusion: jax.Array, info: Info, label: jax.Array, seen: jax.Array | None) -> jax.Array:
    index = jnp.arange(confusion.shape[0], dtype=jnp.int32)
    pair = (index == info.label)[:, None] & (index == label)[None, :]
    return confusion + (pair if seen is None else pair & seen).astype(jnp.int32)


def _misclassification(confusion: jax.Array, n: jax.Array, estimate: Mixture, truth: Mixture) -> jax.Array:
    del n  # the table holds it
    if not comparable(estimate, truth):
        return _nan(estimate)
    order = matching(estimate.coefficients, truth.coefficients)
    return wrong_fraction(confusion, order).astype(estimate.coefficients.dtype)


def _wrong_rows(info: Info, label: jax.Array, estimate: Mixture, truth: Mixture) -> jax.Array:
    dtype = info.residual.dtype
    if not comparable(estimate, truth):
        return jnp.full(label.shape, jnp.nan, dtype)
    order = matching(estimate.coefficients, truth.coefficients)
    return (info.label != order[label]).astype(dtype)


def _added(total: tuple[jax.Array, jax.Array], term: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Compensated sum (Kahan 1965): a float32 sum would stop growing after 10^7 terms."""
    corrected = term + total[1]
    summed = total[0] + corrected
    return summed, corrected - (summed - total[0])


def _squares(total: Any, info: Info, label: jax.Array, seen: jax.Array | None) -> Any:
    del label
    square = info.residual * info.residual
    return _added(total, square if seen is None else jnp.where(seen, square, 0))


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "coefficient_error",
            "root mean squared error of the coefficients, in the best order",
            "coefficient error",
            of=lambda estimate, truth: (
                coefficient_error(estimate, truth) if comparable(estimate, truth) else _nan(estimate)
            ),
            limit=Limit(
                "Cramér-Rao bound",
                bound=theory.cramer_rao,
                drifting="coefficients that drift have no Cramér-Rao bound",
            ),
            matched=True,
            panel=1,
            banded=True,
        ),
        Metric(
            "misclassification",
            "fraction of wrong labels up to n",
            "misclassification",
            running=Running(_confusion, _confused, _misclassification, _wrong_rows),
            limit=Limit(mean=theory.least_misclassification),
            matched=True,
            of_labels=True,
            panel=2,
        ),
        Metric(
            "within_cluster_error",
            "mean squared distance to the nearest line up to n",
            "within-cluster error",
            running=Running(
                lambda components, dtype: (jnp.zeros((), dtype), jnp.zeros((), dtype)),
                _squares,
                lambda total, n, estimate, truth: (total[0] + total[1]) / n.astype(total[0].dtype),
                lambda info, label, estimate, truth: info.residual * info.residual,
            ),
            limit=Limit(mean=theory.within_cluster_error),
            panel=3,
        ),
        Metric(
            "excess_misclassification",
            "fraction of wrong labels above that of the true coefficients on the same data",
            "excess misclass.",
            excess_of="misclassification",
            matched=True,
            of_labels=True,
            label="misclassification above the optimum",
            panel=2,
            lowest=1e-5,
        ),
        Metric(
            "excess_within_cluster_error",
            "within-cluster error above that of the true coefficients, same data",
            "excess within-cl.",
            excess_of="within_cluster_error",
            label="within-cluster error above the optimum",
            panel=3,
        ),
        Metric(
            "scale",
            "q, the estimate of 1 / |2p - 1|",
            "scale q",
            of=lambda estimate, truth: scale(estimate) if estimate.weights.shape == (2,) else _nan(estimate),
            limit=Limit("true $q$", constant=scale, normal=False),
            components=2,
            label="scale $q$",
            panel=3,
            banded=True,
            logarithmic=False,
            lowest=0.9,
        ),
        *(Metric(name, text) for name, text in diagnostics.LONG_NAMES.items()),
    )
}


def running_means(wanted: Iterable[str]) -> dict[str, Running]:
    """The running means that metrics of these names are, or are the excess of, in the order of `METRICS`."""
    needed = {METRICS[name].excess_of or name for name in wanted if name in METRICS}
    return {name: metric.running for name, metric in METRICS.items() if name in needed and metric.running}


def excesses(wanted: Iterable[str]) -> dict[str, str]:
    """The metrics of these names that are excesses, and the running mean that each is the excess of."""
    means = {name: METRICS[name].excess_of for name in wanted if name in METRICS}
    return {name: mean for name, mean in means.items() if mean is not None}


def record(name: str) -> Metric:
    """All that is known of a metric; of one that is not this package's, its name."""
    words = name.replace("_", " ")
    return METRICS.get(name) or Metric(name, words, words)


def of_estimate(
    wanted: Iterable[str],
    estimate: Mixture,
    truth: Mixture,
    own: Mapping[str, Callable[[Mixture, Mixture], Any]] | None = None,
) -> dict[str, jax.Array]:
    """Those of the wanted metrics that an estimate alone decides, and one's `own` ones, each of shape ()."""
    records = [metric for name, metric in METRICS.items() if name in wanted]
    functions = {metric.name: metric.of for metric in records if metric.of is not None}
    values = {name: function(estimate, truth) for name, function in functions.items()}
    dtype = estimate.coefficients.dtype
    return values | {name: jnp.asarray(f(estimate, truth)).astype(dtype) for name, f in (own or {}).items()}
