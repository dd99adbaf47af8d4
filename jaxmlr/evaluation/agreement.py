"""How far two labellings, or two mixtures, agree when components have no names of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr.mixture import Mixture


def confusion(labels: ArrayLike, truth: ArrayLike, components: int) -> jax.Array:
    """Counts of rows by label and by truth.

    Args:
      labels: (n,) whole numbers from 0 to components - 1.
      truth: (n,), likewise.
      components: K, of both.

    Returns:
      (K, K) int32: entry (j, k) counts the rows labelled j that are k.

    Raises:
      ValueError: shapes differ, or a concrete label is out of range.
    """
    _check.whole("components", components, at_least=1)
    if np.ndim(labels) != 1 or np.shape(labels) != np.shape(truth):
        raise ValueError(
            f"labels and truth must have one shape (n,), not {np.shape(labels)} and {np.shape(truth)}"
        )
    for name, value in (("labels", labels), ("truth", truth)):
        _check.number(name, value, at_least=0, below=components)
    pair = jnp.asarray(labels).astype(jnp.int32) * components + jnp.asarray(truth).astype(jnp.int32)
    return jnp.bincount(pair, length=components**2).astype(jnp.int32).reshape(components, components)


def misclassification(labels: ArrayLike, truth: ArrayLike, components: int) -> jax.Array:
    """Share of rows labelled wrong, under the naming of components that makes it least.

    Args:
      labels: (n,) whole numbers from 0 to components - 1.
      truth: (n,), likewise.
      components: K.

    Returns:
      (), in [0, 1 - 1/K].

    Raises:
      ValueError: as `confusion`.
    """
    table = confusion(labels, truth, components)
    cost = -table.astype(jnp.result_type(float))
    row, column = optax.assignment.hungarian_algorithm(cost)
    right: jax.Array = -jnp.sum(cost[row, column])
    return 1 - right / np.size(labels)


def adjusted_rand_index(labels: ArrayLike, truth: ArrayLike, components: int) -> jax.Array:
    """Agreement on pairs of rows beyond chance (Hubert and Arabie 1985): 1 for equal, 0 for independent.

        (S - E) / ((A + B) / 2 - E),   S = sum_jk C(n_jk, 2), A = sum_j C(n_j., 2), B = sum_k C(n_.k, 2),
        E = A B / C(n, 2)

    Args:
      labels: (n,) whole numbers from 0 to components - 1.
      truth: (n,), likewise.
      components: K, at least the number of groups in either.

    Returns:
      (), 1 where both put all rows in one group.

    Raises:
      ValueError: as `confusion`.
    """
    table = confusion(labels, truth, components).astype(jnp.result_type(float))

    def pairs(count: jax.Array) -> jax.Array:
        return jnp.sum(count * (count - 1)) / 2

    same, a, b = pairs(table), pairs(jnp.sum(table, axis=1)), pairs(jnp.sum(table, axis=0))
    expected = a * b / jnp.maximum(pairs(jnp.sum(table)), 1)
    span = (a + b) / 2 - expected
    return jnp.where(span == 0, 1, (same - expected) / jnp.where(span == 0, 1, span))


def match(mixture: Mixture, reference: Mixture) -> Mixture:
    """`mixture` with its components in the order that brings its coefficients nearest to `reference`'s.

    Args:
      mixture: K components.
      reference: K components.

    Returns:
      A Mixture; the sum over components of squared coefficient errors is the least of any order.

    Raises:
      ValueError: the coefficients differ in shape.
    """
    ours, theirs = jnp.asarray(mixture.coefficients), jnp.asarray(reference.coefficients)
    if ours.shape != theirs.shape:
        raise ValueError(f"mixture must have coefficients of shape {theirs.shape}, not {ours.shape}")
    cost = jnp.sum(jnp.square(theirs[:, None, :] - ours[None, :, :]), axis=-1)
    row, column = optax.assignment.hungarian_algorithm(cost)
    order = jnp.zeros_like(column).at[row].set(column)
    variance = jnp.asarray(mixture.noise_variance)
    return Mixture(
        ours[order], jnp.asarray(mixture.weights)[order], variance if variance.ndim == 0 else variance[order]
    )
