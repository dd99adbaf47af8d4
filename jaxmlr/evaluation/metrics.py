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

from jaxmlr.evaluation import diagnostics
from jaxmlr.mixture import Mixture


class Metric(NamedTuple):
    """All that is known of a metric: to add one that an estimate alone decides is to add a record.

    Fields:
      name: what it is called in studies.
      long_name: what it is, in a line.
      heading: of its column in tables and of its panel in pictures; empty where they do not show it.
      of: `of(estimate, truth) -> ()` of the mixture after n observations; None where it is no function of
        that alone but a running mean, an excess of one, or a diagnostic.
      excess_of: the running mean that it is above the true coefficients' on the same data.
      label: the heading in pictures, with mathematics; empty where it is the heading.
      limit: what its theoretical limit is called in pictures.
      banded: whether pictures show the median and quantiles rather than the mean.
      logarithmic: whether it is drawn on a logarithmic axis.
      units: of its values.
    """

    name: str
    long_name: str
    heading: str = ""
    of: Callable[[Mixture, Mixture], jax.Array] | None = None
    excess_of: str | None = None
    label: str = ""
    limit: str = "theory"
    banded: bool = False
    logarithmic: bool = True
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


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "coefficient_error",
            "root mean squared error of the coefficients, in the best order",
            "coefficient error",
            lambda estimate, truth: (
                coefficient_error(estimate, truth) if comparable(estimate, truth) else _nan(estimate)
            ),
            limit="Cramér-Rao bound",
            banded=True,
        ),
        Metric("misclassification", "fraction of wrong labels up to n", "misclassification"),
        Metric(
            "within_cluster_error",
            "mean squared distance to the nearest line up to n",
            "within-cluster error",
        ),
        Metric(
            "excess_misclassification",
            "fraction of wrong labels above that of the true coefficients on the same data",
            "excess misclass.",
            label="misclassification above the optimum",
            excess_of="misclassification",
        ),
        Metric(
            "excess_within_cluster_error",
            "within-cluster error above that of the true coefficients, same data",
            "excess within-cl.",
            label="within-cluster error above the optimum",
            excess_of="within_cluster_error",
        ),
        Metric(
            "scale",
            "q, the estimate of 1 / |2p - 1|",
            "scale q",
            lambda estimate, truth: scale(estimate) if estimate.weights.shape == (2,) else _nan(estimate),
            label="scale $q$",
            limit="true $q$",
            banded=True,
            logarithmic=False,
        ),
        *(Metric(name, text) for name, text in diagnostics.LONG_NAMES.items()),
    )
}
EXCESS = tuple(name for name, metric in METRICS.items() if metric.excess_of)
CUMULATIVE = tuple(METRICS[name].excess_of or "" for name in EXCESS)


def record(name: str) -> Metric:
    """All that is known of a metric; of one that is not this package's, its name."""
    words = name.replace("_", " ")
    return METRICS.get(name) or Metric(name, words, words)


def _nan(estimate: Mixture) -> jax.Array:
    return jnp.full((), jnp.nan, estimate.coefficients.dtype)


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
