"""The arguments that batch methods share, checked in one place and brought to one dtype."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr.batch import steps
from jaxmlr.batch.constraints import Constraints, MStepOptions
from jaxmlr.batch.rows import PackedRows, checked, pack
from jaxmlr.batch.terms import Terms
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
    constraints: Constraints,
    *,
    max_iterations: int,
    tolerance: ArrayLike | None,
    mask: ArrayLike | None,
    row_weights: ArrayLike | None,
    variance_floor: ArrayLike = 0.0,
    ridge: ArrayLike = 0.0,
    ddof: ArrayLike = 0.0,
    outlier_density: ArrayLike | None = None,
    terms: Terms | None = None,
) -> Problem:
    """The arguments of a method that begins at a mixture, as `em` describes them.

    Raises:
      ValueError: a concrete argument is out of range, or shapes do not fit.
    """
    phi, y, weight = checked(phi, y, mask, row_weights)
    dtype, d = weight.dtype, phi.shape[1]
    start = start.validated()
    components, width = start.coefficients.shape
    if width != d:
        raise ValueError(f"start must have {d} coefficients a component, not {width}")
    constraints.check_components(components)
    _check.whole("max_iterations", max_iterations, at_least=1)
    _check.number("variance_floor", variance_floor, at_least=0)
    _check.number("ddof", ddof, at_least=0)
    if outlier_density is not None:
        _check.number("outlier_density", outlier_density, above=0, scalar=True)
        if constraints.grouped:
            raise ValueError("outlier_density must be None with groups, whose rows are not outliers by one")
        outlier_density = jnp.asarray(outlier_density, dtype)
    options = MStepOptions(
        ridge_of(ridge, d, dtype),
        jnp.maximum(jnp.asarray(variance_floor, dtype), steps.resolution(y, weight)),
        jnp.asarray(ddof, dtype),
        outlier_density,
    )
    beta, weights, variance = (jnp.asarray(leaf, dtype) for leaf in start)
    first = Mixture(constraints.project(beta), weights, variance)
    return Problem(pack(phi, y, weight, terms), first, options, tolerance_of(tolerance, dtype))


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
    return jnp.broadcast_to(jnp.asarray(ridge, dtype), (d,))
