"""The arguments that batch methods share, checked in one place and brought to one dtype."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._xla.namespace import namespace
from jaxmlr.batch import families, steps
from jaxmlr.batch.constraints import Constraints, MStepOptions, constraints_of
from jaxmlr.batch.outcome import Fit
from jaxmlr.batch.rows import PackedRows, checked, pack
from jaxmlr.batch.terms import Terms, terms_of
from jaxmlr.mixture import Mixture


class Problem(NamedTuple):
    """What a method that begins at a mixture works on."""

    rows: PackedRows
    start: Mixture  # of the rows' dtype, tied where the constraints tie it
    options: MStepOptions
    tolerance: jax.Array  # ()


def prepare(
    phi: ArrayLike,
    y: ArrayLike,
    start: Mixture,
    *,
    max_iterations: int,
    tolerance: ArrayLike | None,
    mask: ArrayLike | None,
    row_weights: ArrayLike | None,
    variance_floor: ArrayLike = 0.0,
    ridge: ArrayLike = 0.0,
    ddof: ArrayLike = 0.0,
    outlier_density: ArrayLike | None = None,
    known: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    concomitant: ArrayLike | None = None,
    family: str = "normal",
    degrees: float | None = None,
    trials: ArrayLike | None = None,
    known_coefficients: ArrayLike | None = None,
    **constrained: Any,
) -> tuple[Problem, Constraints]:
    """What a method that begins at a mixture works on, from its arguments as `em` describes them.

    `constrained` are those of `constraints_of`.

    Raises:
      ValueError: a concrete argument is out of range, or shapes do not fit.
    """
    components = np.shape(start.coefficients)[0]
    of_family = families.facts(
        family,
        degrees,
        outlier_density=outlier_density,
        ddof=ddof,
        ridge=ridge,
        variance_floor=variance_floor,
        equal_variance=constrained.get("equal_variance"),
        known_variance=constrained.get("known_variance"),
    )
    of_rows = {"known": known, "groups": groups, "concomitant": concomitant, "trials": trials}
    terms = terms_of(np.size(y), components, mask=mask, **of_rows)
    facts = constrained | terms.facts() | of_family
    constraints = constraints_of(*np.shape(start.coefficients), held=known_coefficients, **facts)
    phi, y, weight = checked(phi, y, mask, row_weights)
    dtype, d = weight.dtype, phi.shape[1]
    families.check_responses(family, y, weight, terms.trials)
    terms, law = terms.of_dtype(dtype), constraints.law
    start = start.validated()
    if start.coefficients.shape[1] != d:
        raise ValueError(f"start must have {d} coefficients a component, not {start.coefficients.shape[1]}")
    _check.whole("max_iterations", max_iterations, at_least=1)
    _check.number("variance_floor", variance_floor, at_least=0)
    _check.number("ddof", ddof, at_least=0)
    if outlier_density is not None:
        check_density(outlier_density, constraints)
        outlier_density = jnp.asarray(outlier_density, dtype)
    options = MStepOptions(
        ridge_of(ridge, d, dtype),
        jnp.maximum(
            jnp.asarray(variance_floor, dtype),
            steps.resolution(y if law is None else law.transformed(y, terms.trials), weight),
        ),
        jnp.asarray(ddof, dtype),
        outlier_density,
    )
    beta, weights, variance = (jnp.asarray(leaf, dtype) for leaf in start)
    if law is not None and not law.dispersed:
        variance = jnp.ones_like(variance)
    first = Mixture(constraints.project(beta), weights, variance)
    rows = pack(phi, y, weight, terms)
    return Problem(rows, first, options, tolerance_of(tolerance, dtype)), constraints


def of_fit(
    fit: Fit,
    phi: ArrayLike,
    y: ArrayLike,
    mask: ArrayLike | None,
    row_weights: ArrayLike | None,
    **given: Any,
) -> tuple[jax.Array, jax.Array, jax.Array, Terms]:
    """Rows phi (n, d), y (n,), weight (n,) and their terms, once these are such as the fit was given.

    Raises:
      ValueError: as `checked` and `terms_of`, or a term is given that was not given to the fit's method, or
        the other way round.
    """
    phi, y, weight = checked(phi, y, mask, row_weights)
    families.check_responses(fit.constraints.family, y, weight, given.get("trials"))
    constraints = fit.constraints
    terms = terms_of(len(y), fit.mixture.coefficients.shape[0], mask=mask, **given)
    for name, value, wanted in (
        ("known", terms.known, constraints.known_labels),
        ("groups", terms.groups, constraints.grouped),
        ("concomitant", terms.concomitant, constraints.concomitants > 0),
        ("trials", terms.trials, constraints.family == "binomial"),
    ):
        if wanted and value is None and name != "trials":
            raise ValueError(f"{name} must be given, as to the method that made the fit, not None")
        if value is not None and not wanted:
            raise ValueError(f"{name} must be None, as the fit was made without, not an array")
    if terms.concomitant is not None and terms.concomitant.shape[1] != constraints.concomitants:
        raise ValueError(
            f"concomitant must have {constraints.concomitants} columns, not {terms.concomitant.shape[1]}"
        )
    return phi, y, weight, terms.of_dtype(weight.dtype)


def check_density(outlier_density: ArrayLike, constraints: Constraints) -> None:
    """Raise ValueError unless an outlier density is a positive number of rows that do not come in groups."""
    _check.number("outlier_density", outlier_density, above=0, scalar=True)
    if constraints.grouped:
        raise ValueError("outlier_density must be None with groups, whose rows are not outliers by one")


def tolerance_of(tolerance: ArrayLike | None, dtype: DTypeLike) -> jax.Array:
    """The tolerance (), None being the square root of the dtype's precision; ValueError where negative."""
    if tolerance is None:
        tolerance = float(np.sqrt(jnp.finfo(dtype).eps))
    _check.number("tolerance", tolerance, at_least=0)
    return jnp.asarray(tolerance, dtype)


def ridge_of(ridge: ArrayLike, d: int, dtype: DTypeLike) -> jax.Array:
    """The ridge (d,); ValueError where it is negative or neither () nor (d,)."""
    _check.number("ridge", ridge, at_least=0)
    if np.shape(ridge) not in ((), (d,)):
        raise ValueError(f"ridge must have shape () or ({d},), not {np.shape(ridge)}")
    xp = namespace(ridge)
    return jnp.asarray(xp.broadcast_to(xp.asarray(ridge, dtype), (d,)))
