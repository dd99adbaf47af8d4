"""The posterior of a fit's labels, of rows or of groups of rows, under what is told of them."""

import jax
from jax.typing import ArrayLike

from jaxmlr.batch import steps
from jaxmlr.batch.outcome import Fit
from jaxmlr.batch.rows import PackedRows, checked, told_of
from jaxmlr.batch.terms import Terms, check_terms, terms_of
from jaxmlr.mixture import Mixture


def posterior(
    fit: Fit,
    phi: ArrayLike,
    y: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    known: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> jax.Array:
    """P(z_i = k | all that is told), as the E-step of the method that made the fit; argmax gives labels.

    Args:
      fit: of `em` or `fit`.
      phi: (n, d).
      y: (n,).
      mask: (n,) bool, as given to the method.
      row_weights: (n,), as given to the method.
      known: (n, K) bool, as given to the method.
      groups: (n,) integers, as given to the method: rows of one group have one posterior.

    Returns:
      (n, K), rows sum to 1. Without `known` and `groups` it is `fit.mixture.posterior(phi, y)`.

    Raises:
      ValueError: bad rows, or `known` or `groups` given here and not to the method, or the other way round.
    """
    phi, y, weight = checked(phi, y, mask, row_weights)
    terms = terms_of(len(y), known=known, groups=groups)
    check_terms(fit.constraints, fit.mixture.coefficients.shape[0], terms)
    each, _ = of_units(fit.mixture, phi, y, weight, terms)
    return each if terms.groups is None else each[terms.groups]


def of_units(
    mixture: Mixture, phi: jax.Array, y: jax.Array, weight: jax.Array, terms: Terms
) -> tuple[jax.Array, jax.Array]:
    """Posterior (u, K) and weight (u,) of what has one label: rows, or groups where there are such."""
    if all(leaf is None for leaf in terms):
        return mixture.posterior(phi, y), weight
    rows = PackedRows(phi.T[None, :, None], y[None, None], weight[None, None])
    known, groups = told_of(terms, weight)
    if groups is not None:
        joint = steps.group_joint(rows, groups, mixture, steps.log_joints)
        return jax.nn.softmax(joint, axis=0).T, groups.counts
    joint = steps.log_joints(jax.tree.map(lambda leaf: leaf[0], rows), mixture)[:, 0]
    return jax.nn.softmax(steps.told(joint, None if known is None else known.T), axis=0).T, weight
