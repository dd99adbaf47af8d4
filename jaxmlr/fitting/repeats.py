"""Equal rows as one row of their total weight, so that weights and repetitions are one and the same data."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Distinct(NamedTuple):
    """Rows that all differ, in an order that does not depend on that in which they came."""

    phi: np.ndarray  # (n, d)
    y: np.ndarray  # (n,)
    weight: np.ndarray  # (n,), above 0
    terms: dict[str, np.ndarray]  # what else is told of the rows


def distinct(
    phi: np.ndarray, y: np.ndarray, weight: np.ndarray, terms: Mapping[str, np.ndarray] | None = None
) -> Distinct:
    """The rows that differ, by y first; those of weight 0 are left out.

    Args:
      phi: (N, d).
      y: (N,).
      weight: (N,), at least 0.
      terms: arrays (N,) or (N, m), in which equal rows are equal too.
    """
    terms = dict(terms or {})
    columns = [y, *phi.T, *(column for values in terms.values() for column in values.reshape(len(y), -1).T)]
    place = np.flatnonzero(weight > 0)
    order = place[np.argsort(y[place], kind="stable")]
    if np.any(y[order][1:] == y[order][:-1]):  # only then other columns matter
        order = place[np.lexsort([column[place] for column in reversed(columns)])]
        new = np.concatenate(
            [[True], np.any([each[order][1:] != each[order][:-1] for each in columns], axis=0)]
        )
        weight = np.bincount(np.cumsum(new) - 1, weight[order])
        order = order[new]
    else:
        weight = weight[order]
    return Distinct(phi[order], y[order], weight, {name: values[order] for name, values in terms.items()})
