"""What is told of the rows beside regressors and response: labels known in part, and groups."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxmlr.batch.constraints import Constraints


class Terms(NamedTuple):
    """Checked terms of n rows; None where nothing is told."""

    known: jax.Array | None = None  # (n, K) bool, the components that each row may belong to
    groups: jax.Array | None = None  # (n,) int32 from 0 on; rows of one group share their component
    sizes: jax.Array | None = None  # (G,) how many rows each group has, whose length says how many there are

    def of_rows(self, rows: jax.Array) -> "Terms":
        """The terms of some rows (s,), by their numbers."""
        known = None if self.known is None else self.known[rows]
        return self._replace(known=known, groups=None if self.groups is None else self.groups[rows])


def drawn_rows(key: jax.Array, n: int, count: int, terms: Terms) -> jax.Array:
    """Numbers of `count` of n rows drawn at random, (count,); of groups the whole, but for the last."""
    if terms.groups is None or terms.sizes is None:
        return jax.random.choice(key, n, (count,), replace=False)
    place = jax.random.permutation(key, len(terms.sizes))
    return jnp.argsort(place[terms.groups], stable=True)[:count]


def terms_of(n: int, *, known: ArrayLike | None = None, groups: ArrayLike | None = None) -> Terms:
    """Terms of n rows from what a user tells: known (n, K) of booleans, groups (n,) of whole numbers.

    Raises:
      ValueError: another shape or dtype; a row, or a group, with no component to belong to.
    """
    if known is not None:
        if np.ndim(known) != 2 or np.shape(known)[0] != n or jnp.result_type(known) != jnp.bool_:
            raise ValueError(
                f"known must be boolean of shape ({n}, K), not {jnp.result_type(known)} of {np.shape(known)}"
            )
        if not isinstance(known, jax.core.Tracer) and not np.all(np.any(np.asarray(known), axis=1)):
            row = int(np.argmin(np.any(np.asarray(known), axis=1)))
            raise ValueError(f"known must leave every row a component, not none to row {row}")
        known = jnp.asarray(known)
    sizes = None
    if groups is not None:
        if np.shape(groups) != (n,) or not jnp.issubdtype(jnp.result_type(groups), jnp.integer):
            raise ValueError(
                f"groups must be integers of shape ({n},), not {jnp.result_type(groups)} of"
                f" {np.shape(groups)}"
            )
        groups, sizes = _numbered(groups)
        if known is not None and not isinstance(known, jax.core.Tracer) and not _compatible(known, groups):
            raise ValueError("known must leave the rows of a group a component in common")
    return Terms(known, groups, sizes)


def _numbered(groups: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Groups (n,) numbered from 0 on, and their sizes."""
    n = np.shape(groups)[0]
    if isinstance(groups, jax.core.Tracer):
        _, number = jnp.unique(groups, return_inverse=True, size=n)
        number = number.astype(jnp.int32)
        return number, jnp.zeros(n, jnp.int32).at[number].add(1)
    _, number, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return jnp.asarray(number.reshape(-1), jnp.int32), jnp.asarray(sizes, jnp.int32)


def _compatible(known: ArrayLike, groups: jax.Array) -> bool:
    if isinstance(groups, jax.core.Tracer):
        return True
    common = np.ones((np.max(groups) + 1, np.shape(known)[1]), bool)
    np.logical_and.at(common, np.asarray(groups), np.asarray(known))
    return bool(np.all(np.any(common, axis=1)))


def check_terms(constraints: Constraints, components: int, terms: Terms) -> None:
    """Raise ValueError unless the terms are those that a fit of so many components was told."""
    for name, value, wanted in (
        ("known", terms.known, constraints.known_labels),
        ("groups", terms.groups, constraints.grouped),
    ):
        if wanted and value is None:
            raise ValueError(f"{name} must be given, as to the method that made the fit, not None")
        if value is not None and not wanted:
            raise ValueError(f"{name} must be None, as the fit was made without, not an array")
    if terms.known is not None and terms.known.shape[1] != components:
        raise ValueError(
            f"known must have {components} columns, one for each component, not {terms.known.shape[1]}"
        )
