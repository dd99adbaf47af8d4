"""How sure a fit is: covariance and standard errors."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr._xla import programs
from jaxmlr._xla.jit import traced
from jaxmlr._xla.namespace import namespace
from jaxmlr.batch import capacity, steps
from jaxmlr.batch.constraints import Constraints, MStepOptions
from jaxmlr.batch.gate import mean_weights
from jaxmlr.batch.outcome import Fit, on_floor
from jaxmlr.batch.parameters import free, whole_gate
from jaxmlr.batch.problem import of_fit
from jaxmlr.batch.rows import PackedRows, checked, counted_blocks, pack
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.batch.support import few_rows
from jaxmlr.mixture import Mixture


def covariance(
    fit: Fit,
    phi: ArrayLike,
    y: ArrayLike,
    *,
    form: str = "observed",
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    known: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    concomitant: ArrayLike | None = None,
    trials: ArrayLike | None = None,
) -> jax.Array:
    """Covariance matrix of the estimate of the mixture.

        observed   J H^-1 J'          H = d^2 (sum_k b_k' ridge b_k / (2 v_k) - sum_i w_i log f_i) / dtheta^2
        sandwich   J H^-1 S H^-1 J'   S = sum_i w_i (d log f_i / dtheta)(d log f_i / dtheta)'

    theta holds what the fit's constraints left free of the coefficients b, log-odds of the weights and log
    variances, J = d mixture / dtheta, all by automatic differentiation; f_i has the fit's outlier density.
    Textbook forms (Louis 1982 for the first, White 1982 for the second, which stays right where the noise is
    not Gaussian); exact at a maximum of the likelihood. With `groups`, i counts groups and w_i is 1, so the
    sandwich also holds where rows of a group depend on one another.

    Args:
      fit: of a batch method on the same rows; it carries its constraints. A noise_variance of shape () is
        taken as one estimate for all.
      phi: (n, d).
      y: (n,).
      form: "observed" or "sandwich".
      mask: (n,) bool, as given to the method.
      row_weights: (n,), as given to the method.
      known: (n, K) bool, as given to the method.
      groups: (n,) integers, as given to the method.
      concomitant: (n, m), as given to the method.
      trials: (n,), as given to the method.

    Returns:
      (q, q), in the order of the entries of `fit.mixture`: coefficients row by row, weights, noise_variance,
      and then those of `fit.gate`, if any, row by row; the weights are then the gate's mean over these rows.
      What was known has variance 0. All NaN where the information is not positive definite.

    Raises:
      ValueError: bad rows, another form, or `known` or `groups` given here and not to the method, or the
        other way round.
    """
    _check.choice("form", form, ("observed", "sandwich"))
    phi, y, weight, terms = of_fit(
        fit, phi, y, mask, row_weights, known=known, groups=groups, concomitant=concomitant, trials=trials
    )
    (components, d), constraints = fit.mixture.coefficients.shape, fit.constraints
    mixture, options = fit.mixture, fit.options
    own: Mixture | None = None
    held = (trials is None and capacity.fits(constraints)) and capacity.holds(
        len(y), d, components, phi, y, weight, mixture, options
    )
    if held:
        phi, y, weight, _ = capacity.filled(Rows(phi, y, weight))
        mixture, options, own = capacity.filled_fit(mixture, options)
    matrix: jax.Array
    if own is None:
        rows = pack(phi, y, weight, terms)
        matrix = _covariance(rows, mixture, options, None, fit.gate, form=form, constraints=constraints)
        return matrix
    statics: dict[str, Any] = {"form": form, "constraints": constraints}
    size = sum(np.size(leaf) for leaf in mixture)
    like = np.zeros((size, size), y.dtype)
    program = programs.Program(functools.partial(_filled_covariance, **statics), "covariance", statics, like)
    matrix = program(phi, y, weight, mixture, options, own)
    return capacity.taken_entries(matrix, own)


def _filled_covariance(
    phi: jax.Array,
    y: jax.Array,
    weight: jax.Array,
    mixture: Mixture,
    options: MStepOptions | None,
    own: Mixture,
    **statics: Any,
) -> jax.Array:
    rows = pack(phi, y, weight)
    matrix: jax.Array = _covariance(
        rows._replace(blocks=counted_blocks(rows)), mixture, options, own, **statics
    )
    return matrix


@functools.partial(jax.jit, static_argnames=("form", "constraints"))
def _covariance(
    rows: PackedRows,
    mixture: Mixture,
    options: MStepOptions | None,
    own: Mixture | None,
    gate: jax.Array | None = None,
    *,
    form: str,
    constraints: Constraints,
) -> jax.Array:
    point, back = free(mixture, constraints, gate)
    filler = jnp.zeros(0)
    if own is not None:  # the other entries fill arrays up: they must not make the information singular
        spread: Any = None if constraints.known_variance else own.noise_variance
        held = own._replace(weights=own.weights[:-1], noise_variance=spread)
        odds = jnp.log(mixture.weights[:-1]) - jnp.log(mixture.weights[-1])
        point = point._replace(log_odds=jnp.where(held.weights, odds, -jnp.inf))
        filler = jnp.where(ravel_pytree(held)[0], 0, 1).astype(rows.y.dtype)
    theta, unravel = ravel_pytree(point)
    background = None if options is None else options.outlier_density
    law = constraints.law

    def densities(theta: jax.Array, part: PackedRows) -> jax.Array:
        point = unravel(theta)
        return steps.log_density(part, back(point), background, whole_gate(point), law)

    def prior(theta: jax.Array) -> jax.Array:
        beta, _, variance = back(unravel(theta))
        ridge = jnp.zeros(beta.shape[1], beta.dtype) if options is None else options.ridge
        return jnp.sum(beta * beta @ ridge / variance) / 2

    def add(total: tuple[jax.Array, jax.Array], part: PackedRows) -> tuple[tuple[jax.Array, jax.Array], None]:
        hessian = jax.hessian(lambda t: jnp.sum(part.weight * densities(t, part)))(theta)
        outer = jnp.zeros_like(hessian)
        if form == "sandwich":
            score = jax.jacfwd(densities)(theta, part)
            outer = jnp.einsum("tl,tli,tlj->ij", part.weight, score, score, precision="highest")
        return (total[0] - hessian, total[1] + outer), None

    zero = jnp.zeros((theta.size, theta.size), theta.dtype)
    first = (jax.hessian(prior)(theta), zero)
    if rows.groups is not None:
        groups = rows.groups

        def of_groups(theta: jax.Array) -> jax.Array:
            point = unravel(theta)
            each = functools.partial(steps.log_joints, law=law)
            joint = steps.group_joint(rows, groups, back(point), each, whole_gate(point))
            return jnp.where(groups.counts > 0, jax.nn.logsumexp(joint, axis=0), 0)

        information, outer = _group_information(of_groups, theta)
        information = information + first[0]
    elif rows.blocks is None:
        information, outer = lax.scan(add, first, rows)[0]
    else:
        parts = rows._replace(blocks=None)
        information, outer = lax.fori_loop(
            0, rows.blocks, lambda i, sums: add(sums, jax.tree.map(lambda x: x[i], parts))[0], first
        )
    if own is not None:
        information = information + jnp.diag(filler)
    inner = jnp.where(_is_positive_definite(information), jnp.linalg.inv(information), jnp.nan)
    if form == "sandwich":
        inner = _congruent(inner, outer)

    def entries(theta: jax.Array) -> jax.Array:
        point = unravel(theta)
        mixture, gate = back(point), whole_gate(point)
        if gate is not None:
            mixture = mixture._replace(weights=mean_weights(rows, gate))
        return ravel_pytree((mixture, gate))[0]

    jacobian = jax.jacfwd(entries)(theta)
    return _congruent(jacobian, inner)


def _group_information(
    densities: Callable[[jax.Array], jax.Array], theta: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Minus the Hessian of the sum of log densities (G,) at theta (q,), and the sum of their scores squared.

    One direction at a time: all at once would hold q numbers for every row.
    """
    slope = jax.grad(lambda t: jnp.sum(densities(t)))
    directions = jnp.eye(theta.size, dtype=theta.dtype)
    hessian = lax.map(lambda v: jax.jvp(slope, (theta,), (v,))[1], directions)
    scores = lax.map(lambda v: jax.jvp(densities, (theta,), (v,))[1], directions)
    return -(hessian + hessian.T) / 2, jnp.einsum("ig,jg->ij", scores, scores, precision="highest")


def _is_positive_definite(matrix: jax.Array) -> jax.Array:
    """Whether a symmetric matrix has a Cholesky factor, in units in which its diagonal is 1; ()."""
    unit = lax.rsqrt(jnp.diagonal(matrix))
    return jnp.all(jnp.isfinite(jnp.linalg.cholesky(matrix * unit[:, None] * unit[None, :])))


def _congruent(a: jax.Array, b: jax.Array) -> jax.Array:
    """A B A'."""
    return jnp.einsum("ij,jk,lk->il", a, b, a, precision="highest")


def standard_errors(
    fit: Fit,
    phi: ArrayLike,
    y: ArrayLike,
    *,
    form: str = "observed",
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    known: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    concomitant: ArrayLike | None = None,
    trials: ArrayLike | None = None,
) -> Mixture:
    """Standard errors of a fit: the square roots of the diagonal of `covariance`.

    Args:
      fit: of a batch method on the same rows; it carries its constraints.
      phi: (n, d).
      y: (n,).
      form: "observed" or "sandwich".
      mask: (n,) bool, as given to the method.
      row_weights: (n,), as given to the method.
      known: (n, K) bool, as given to the method.
      groups: (n,) integers, as given to the method.
      concomitant: (n, m), as given to the method.
      trials: (n,), as given to the method.

    Returns:
      As `errors_of`; NaN too for coefficients that rest on fewer than five rows of their component, which
      only concrete data without known labels, groups and concomitant variables tell.

    Raises:
      ValueError: as `covariance`.
    """
    rows: dict[str, Any] = {"mask": mask, "row_weights": row_weights}
    terms: dict[str, Any] = {"known": known, "groups": groups, "concomitant": concomitant, "trials": trials}
    errors = errors_of(fit, covariance(fit, phi, y, form=form, **rows, **terms))
    if any(each is not None for each in terms.values()) or traced(fit, phi, y, mask, row_weights):
        return errors
    phi, y, weight = checked(phi, y, mask, row_weights)
    few = few_rows(fit.mixture, phi, y, weight, fit.constraints.law)
    return errors._replace(coefficients=jnp.where(few, jnp.nan, errors.coefficients))


def errors_of(fit: Fit, covariance: ArrayLike) -> Mixture:
    """Standard errors of a fit from the covariance (q, q) of its mixture's entries.

    Args:
      fit: of a batch method.
      covariance: of `covariance`.

    Returns:
      A Mixture that holds the standard error of each entry of `fit.mixture`; that of sigma is the entry of
      noise_variance over 2 sigma. NaN, which says that there is none, stands for coefficients, weights and
      variances that were known; for coefficients and variance of a component whose variance rests on its
      floor, where the likelihood has no maximum inside; and for all where the information is not positive
      definite. The one weight of a single component is 1 with standard error 0.
    """
    xp = namespace(fit.mixture, covariance)
    with np.errstate(invalid="ignore"):
        errors = xp.sqrt(xp.diagonal(covariance))
    known, (components, d) = fit.constraints, fit.mixture.coefficients.shape
    coefficients, weights, variance = xp.split(errors, (components * d, components * (d + 1)))
    coefficients = coefficients.reshape(components, d)
    shape = fit.mixture.noise_variance.shape
    variance = variance[: 1 if shape == () else components].reshape(shape)
    if known.held:
        coefficients = xp.where(known.layout(components, d).held, xp.nan, coefficients)
    if known.known_weights and components > 1:
        weights = xp.full_like(weights, xp.nan)
    if known.known_variance:
        variance = xp.full_like(variance, xp.nan)
    elif fit.options is not None:
        resting = on_floor(fit.mixture, fit.options)
        variance = xp.where(resting, xp.nan, variance)
        wide = xp.broadcast_to(resting, weights.shape)[:, None]
        coefficients = xp.where(wide, xp.nan, coefficients)
    return Mixture(coefficients, weights, variance)


def gate_errors(fit: Fit, covariance: ArrayLike) -> jax.Array:
    """Standard errors of alpha, of a fit with concomitants.

    Args:
      fit: of `em` or `fit`.
      covariance: (q, q) of `covariance`.

    Returns:
      (K, m) as `Fit.gate`, with 0 for the first component.

    Raises:
      ValueError: the fit has no gate.
    """
    if fit.gate is None:
        raise ValueError("fit must have been made with concomitant variables, not without")
    components, m = fit.gate.shape
    return jnp.sqrt(jnp.diagonal(jnp.asarray(covariance))[-components * m :]).reshape(components, m)
