"""The posterior of a fit's labels, of rows or of groups of rows, under what is told of them."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxmlr.batch import steps
from jaxmlr.batch.families import Law
from jaxmlr.batch.outcome import Fit
from jaxmlr.batch.problem import of_fit
from jaxmlr.batch.rows import PackedRows, groups_of
from jaxmlr.batch.terms import Terms
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
    concomitant: ArrayLike | None = None,
    trials: ArrayLike | None = None,
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
      concomitant: (n, m), as given to the method.
      trials: (n,), as given to the method.

    Returns:
      (n, K), rows sum to 1. Of normal responses and without the last four it is
      `fit.mixture.posterior(phi, y)`.

    Raises:
      ValueError: bad rows, or one of the last four given here and not to the method, or the other way round.
    """
    phi, y, weight, terms = of_fit(
        fit, phi, y, mask, row_weights, known=known, groups=groups, concomitant=concomitant, trials=trials
    )
    each, _ = of_units(fit.mixture, fit.gate, phi, y, weight, terms, fit.constraints.law)
    return each if terms.groups is None else each[terms.groups]


def outliers(
    fit: Fit,
    phi: ArrayLike,
    y: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    known: ArrayLike | None = None,
    concomitant: ArrayLike | None = None,
) -> jax.Array:
    """Probability that each row is an outlier, c / (c + sum_k weights_k N(...)), with the fit's c.

    Its mean over rows is the share of outliers; `posterior` is that of the other rows.

    Args:
      fit: of `em` or `fit`.
      phi: (n, d).
      y: (n,).
      mask: (n,) bool, as given to the method.
      row_weights: (n,), as given to the method.
      known: (n, K) bool, as given to the method.
      concomitant: (n, m), as given to the method.

    Returns:
      (n,).

    Raises:
      ValueError: the fit has no outlier density, or as `posterior`.
    """
    phi, y, weight, terms = of_fit(fit, phi, y, mask, row_weights, known=known, concomitant=concomitant)
    if fit.options is None or fit.options.outlier_density is None:
        raise ValueError("fit must have been made with an outlier_density, not without")
    rows = PackedRows(phi.T[:, None], y[None], weight[None])
    z, allowed = (None if leaf is None else leaf.T[:, None] for leaf in (terms.concomitant, terms.known))
    density = steps.log_density(rows._replace(known=allowed, concomitant=z), fit.mixture, None, fit.gate)
    return jax.nn.sigmoid(jnp.log(fit.options.outlier_density) - density[0])


def of_units(
    mixture: Mixture,
    gate: jax.Array | None,
    phi: jax.Array,
    y: jax.Array,
    weight: jax.Array,
    terms: Terms,
    law: Law | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Posterior (u, K) and weight (u,) of what has one label: rows, or groups where there are such."""
    if law is None and all(leaf is None for leaf in terms):
        return mixture.posterior(phi, y), weight
    trials = None if terms.trials is None else terms.trials[None, None]
    rows = PackedRows(phi.T[None, :, None], y[None, None], weight[None, None], trials=trials)
    groups = groups_of(terms, weight)
    if groups is not None:
        each = groups._replace(number=groups.number[None, None])
        joint = steps.group_joint(rows, each, mixture, functools.partial(steps.log_joints, law=law), gate)
        return jax.nn.softmax(joint, axis=0).T, groups.counts
    known, concomitant = (
        None if leaf is None else leaf.T[None, :, None] for leaf in (terms.known, terms.concomitant)
    )
    rows = rows._replace(known=known, concomitant=concomitant)
    part = jax.tree.map(lambda leaf: leaf[0], rows)
    joint = steps.restricted(steps.log_joints(part, mixture, gate, law), part.known)
    return jax.nn.softmax(joint[:, 0], axis=0).T, weight
