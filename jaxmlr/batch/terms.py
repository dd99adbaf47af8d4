"""What is told of the rows beside regressors and response: labels known in part, groups, concomitants."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check


class Terms(NamedTuple):
    """Checked terms of n rows; None where nothing is told."""

    known: jax.Array | None = None  # (n, K) bool, the components that each row may belong to
    groups: jax.Array | None = None  # (n,) int32 from 0 on; rows of one group share their component
    sizes: jax.Array | None = None  # (G,) how many rows each group has, whose length says how many there are
    concomitant: jax.Array | None = None  # (n, m), what the weights depend on
    trials: jax.Array | None = None  # (n,) of binomial responses

    def of_rows(self, rows: jax.Array) -> "Terms":
        """The terms of some rows (s,), by their numbers."""
        known, groups, sizes, concomitant, trials = self
        of = [None if leaf is None else leaf[rows] for leaf in (known, groups, concomitant, trials)]
        return Terms(of[0], of[1], sizes, of[2], of[3])

    def of_dtype(self, dtype: DTypeLike) -> "Terms":
        """The terms with trials in the format of the responses."""
        return self if self.trials is None else self._replace(trials=self.trials.astype(dtype))

    def facts(self) -> dict[str, Any]:
        """What `Constraints` says of the terms."""
        return {
            "known_labels": self.known is not None,
            "grouped": self.groups is not None,
            "concomitants": 0 if self.concomitant is None else self.concomitant.shape[1],
        }


def drawn_rows(key: jax.Array, n: int, count: int, terms: Terms) -> jax.Array:
    """Numbers of `count` of n rows drawn at random, (count,); of groups the whole, but for the last."""
    if terms.groups is None or terms.sizes is None:
        return jax.random.choice(key, n, (count,), replace=False)
    place = jax.random.permutation(key, len(terms.sizes))
    return jnp.argsort(place[terms.groups], stable=True)[:count]


def terms_of(
    n: int,
    components: int,
    *,
    known: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    concomitant: ArrayLike | None = None,
    trials: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> Terms:
    """Terms of n rows from what a user tells, for a mixture of so many components.

    Args:
      n: how many rows.
      components: K; a single one has no use for concomitants.
      known: (n, K) of booleans.
      groups: (n,) of whole numbers.
      concomitant: (n, m) of numbers.
      trials: (n,) of numbers, at least 1.
      mask: (n,) bool; where it is False, concomitants and trials may be anything.

    Raises:
      ValueError: another shape or dtype; a row, or a group, with no component to belong to; concomitants
        that are not finite, or differ within a group.
    """
    if known is not None:
        if np.shape(known) != (n, components) or jnp.result_type(known) != jnp.bool_:
            raise ValueError(
                f"known must be boolean of shape ({n}, {components}), not {jnp.result_type(known)} of"
                f" {np.shape(known)}"
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
    if concomitant is not None:
        concomitant = _concomitant(concomitant, n, groups, mask)
    if trials is not None:
        trials = _trials(trials, n, mask)
    return Terms(known, groups, sizes, concomitant if components > 1 else None, trials)


def _trials(trials: ArrayLike, n: int, mask: ArrayLike | None) -> jax.Array:
    if np.shape(trials) != (n,):
        raise ValueError(f"trials must have shape ({n},), not {np.shape(trials)}")
    (values,) = _check.floats(trials=trials)
    if mask is not None:
        values = jnp.where(jnp.asarray(mask), values, 1)
    _check.number("trials", values, at_least=1)
    return values


def _concomitant(
    concomitant: ArrayLike, n: int, groups: jax.Array | None, mask: ArrayLike | None
) -> jax.Array:
    if np.ndim(concomitant) != 2 or np.shape(concomitant)[0] != n or np.shape(concomitant)[1] < 1:
        raise ValueError(f"concomitant must have shape ({n}, m), not {np.shape(concomitant)}")
    (values,) = _check.floats(concomitant=concomitant)
    if mask is not None:
        values = jnp.where(jnp.asarray(mask)[:, None], values, 0)
    _check.number("concomitant", values)
    if groups is not None and not any(isinstance(leaf, jax.core.Tracer) for leaf in (values, groups)):
        keep = np.ones(n, bool) if mask is None else np.asarray(mask)
        rows, number = np.asarray(values)[keep], np.asarray(groups)[keep]
        _, first, inverse = np.unique(number, return_index=True, return_inverse=True)
        if np.any(rows != rows[first][inverse.reshape(-1)]):
            raise ValueError("concomitant must be the same in all rows of a group")
    return values


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
