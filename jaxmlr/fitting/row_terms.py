"""What is told of rows in arrays, checked: groups, labels known in part, concomitants."""

from typing import Any

import numpy as np


def row_terms(
    n: int, components: int, *, groups: Any = None, known_labels: Any = None, concomitant: Any = None
) -> dict[str, np.ndarray]:
    """The terms of n rows by the names of a batch method's arguments, those that are given.

    Args:
      n: how many rows.
      components: K.
      groups: (n,) of anything that can be sorted; numbered from 0 on.
      known_labels: (n,) components from 0 on, -1 where nothing is known, or (n, K) bool; it is `known`.
      concomitant: (n, m) numbers; it gets an intercept in front.

    Raises:
      ValueError: another shape, dtype or range.
    """
    terms = {}
    if groups is not None:
        values = np.asarray(groups)
        if values.ndim != 1:
            raise ValueError(f"groups must have shape ({n},), not {values.shape}")
        terms["groups"] = np.unique(values, return_inverse=True)[1].reshape(-1)
    if known_labels is not None:
        terms["known"] = _known(np.asarray(known_labels), components)
    if concomitant is not None:
        z = np.asarray(concomitant)
        if z.ndim != 2 or z.dtype.kind not in "fiub" or not np.isfinite(z).all():
            raise ValueError(
                f"concomitant must be finite numbers of shape ({n}, m), not {z.dtype} of {z.shape}"
            )
        terms["concomitant"] = np.column_stack([np.ones(len(z)), z.astype(np.float64)])
    for name, values in terms.items():
        if len(values) != n:
            raise ValueError(f"{name} must have as many rows as X, {n}, not {len(values)}")
    return terms


def _known(values: np.ndarray, components: int) -> np.ndarray:
    if values.ndim == 2 and values.dtype == np.bool_ and values.shape[1] == components:
        return values
    whole = values.ndim == 1 and values.dtype.kind in "iu"
    if not whole or np.any(values < -1) or np.any(values >= components):
        raise ValueError(
            f"known_labels must be whole numbers from -1 to {components - 1} or booleans (n, {components})"
        )
    return (values[:, None] == np.arange(components)) | (values[:, None] == -1)
