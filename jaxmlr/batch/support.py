"""How many rows a coefficient rests on."""

import numpy as np
from jax.typing import ArrayLike

from jaxmlr.batch.families import Law
from jaxmlr.mixture import Mixture

LEAST = 5  # rows, below which a coefficient and its error are not to be trusted


def few_rows(
    mixture: Mixture,
    phi: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    law: Law | None = None,
) -> np.ndarray:
    """Which coefficients rest on fewer than five rows, (K, d) bool; none does with a single component.

    A coefficient rests on those rows of its component whose regressor differs from the least, the greatest
    or the median value in the column, whichever leaves fewest: of a dummy, on its rarer level. In a column
    of one value all rows of the component count. Rows count by their posterior.

    Args:
      mixture: a fit to the rows, whose entries are concrete.
      phi: (n, d).
      y: (n,).
      weight: (n,), 0 where a row does not count; None: all count.
      law: of the responses; None where they are normal.
    """
    beta, weights, variance = (np.asarray(leaf, np.float64) for leaf in mixture)
    counts = np.ones(np.shape(y), bool) if weight is None else np.asarray(weight) > 0
    x, response = np.asarray(phi, np.float64)[counts], np.asarray(y, np.float64)[counts]
    if len(weights) < 2 or not len(x):
        return np.zeros(beta.shape, bool)
    with np.errstate(divide="ignore", over="ignore", under="ignore", invalid="ignore"):
        eta, response = x @ beta.T, response[:, None]
        if law is None:
            density = -0.5 * (np.log(variance) + (response - eta) ** 2 / variance)
        else:
            density = law.log_density(eta, response, np.broadcast_to(variance, weights.shape))
        joint = np.log(weights) + density
        posterior = np.exp(joint - joint.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
    size = np.broadcast_to(posterior.sum(axis=0)[:, None], beta.shape)
    least, most = x.min(axis=0), x.max(axis=0)
    middle = np.partition(x, len(x) // 2, axis=0)[len(x) // 2]
    differing = [np.where(least < most, posterior.T @ (x != value), size) for value in (least, most, middle)]
    few: np.ndarray = np.min(differing, axis=0) < LEAST
    return few
