"""NumPy for NumPy's arrays, JAX for all others: small formulas on numbers at hand need no compiler."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def namespace(*values: Any) -> Any:
    """`numpy` where every leaf of the values is an array of NumPy or a number, else `jax.numpy`."""
    plain = (np.ndarray, np.generic, int, float)
    return np if all(isinstance(leaf, plain) for leaf in jax.tree.leaves(values)) else jnp


def special(*values: Any) -> Any:
    """The special functions that belong to `namespace`."""
    if namespace(*values) is not np:
        return jax.scipy.special
    import scipy.special  # late: it takes a tenth of a second

    return scipy.special


def einsum(formula: str, *operands: Any) -> Any:
    """The `einsum` of `namespace`, in full precision on every device."""
    if namespace(*operands) is np:
        return np.einsum(formula, *operands, optimize=True)
    return jnp.einsum(formula, *operands, precision="highest")
