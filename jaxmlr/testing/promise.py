"""What a broken promise is, and the comparisons that the checks share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxmlr.mixture import Mixture

TRACED = "use jnp.where or lax.cond instead of `if`, and jax.numpy instead of numpy and float()"
GLOBAL = "do state, row and key alone decide the result?"


class Broken(Exception):
    """A promise that is not kept, and how to keep it."""


def require(holds: Any, promise: str, mend: str) -> None:
    """Raise `Broken` unless the promise holds."""
    if not holds:
        raise Broken(f"{promise}; {mend}")


def attempt(what: str, function: Callable[..., Any], *args: Any, mend: str) -> Any:
    """`function(*args)`, where an exception breaks a promise.

    Raises:
      Broken: it raised; tracers that met a Python branch are told apart.
    """
    try:
        return function(*args)
    except (
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerIntegerConversionError,
    ) as error:
        raise Broken(f"{what} must not depend on values in Python; {TRACED}") from error
    except Exception as error:  # whatever a method may raise
        reason = str(error).partition("\n")[0]
        raise Broken(f"{what} must not raise {type(error).__name__} ({reason}); {mend}") from error


def equal(first: Any, second: Any, tolerance: float = 0.0) -> bool:
    """Whether two pytrees agree, up to a share of the largest entry of each leaf."""
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    for a, b in ((np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs):
        size = 1 + np.max(np.abs(b), where=np.isfinite(b), initial=0)
        if not np.allclose(a, b, rtol=tolerance, atol=tolerance * size, equal_nan=True):
            return False
    return True


FORM = "it is Mixture(coefficients (K, d), weights (K,), noise_variance () or (K,)), all of one dtype"


def require_mixture(estimate: Any) -> None:
    """Raise `Broken` unless the estimate is a Mixture."""
    require(
        isinstance(estimate, Mixture), f"the estimate must be a Mixture, not {type(estimate).__name__}", FORM
    )


def require_valid(mixture: Any, dim: int, dtype: DTypeLike) -> None:
    """Raise `Broken` unless the estimate is a valid Mixture of `dim` coefficients and this dtype."""
    require_mixture(mixture)
    likely = jnp.maximum(mixture.weights, jnp.finfo(mixture.weights).tiny)  # a weight may have come to 0
    attempt("the estimate", mixture._replace(weights=likely).validated, mend=FORM)
    require(jnp.all(mixture.weights >= 0), f"weights must not be negative, as {mixture.weights} are", FORM)
    d, dtypes = mixture.coefficients.shape[1], {jnp.result_type(leaf).name for leaf in mixture}
    require(d == dim, f"the estimate must have {dim} coefficients a component, not {d}", FORM)
    wanted = np.dtype(dtype).name
    require(dtypes == {wanted}, f"the estimate must be in {wanted}, as the data, not {dtypes}", FORM)


def require_finite(names: list[str], batched: Any, dtype: DTypeLike) -> None:
    """Raise `Broken` unless every named case, along the leading axis of all leaves, is finite."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(batched)]
    bad = [name for k, name in enumerate(names) if not all(np.isfinite(leaf[k]).all() for leaf in leaves)]
    require(
        not bad,
        f"degenerate data in {np.dtype(dtype)} must leave everything finite, not so: {', '.join(bad)}",
        "divide by nothing that can be 0, let no step run away (divide it by 1 + phi'phi, say), and keep"
        " covariances positive definite",
    )
