"""NumPy for NumPy's arrays, JAX for all others: small formulas on numbers at hand need no compiler."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special


def namespace(*values: Any) -> Any:
    """`numpy` where every leaf of the values is an array of NumPy or a number, else `jax.numpy`."""
    plain = (np.ndarray, np.generic, int, float)
    return np if all(isinstance(leaf, plain) for leaf in jax.tree.leaves(values)) else jnp


def special(*values: Any) -> Any:
    """The special functions that belong to `namespace`."""
    return scipy.special if namespace(*values) is np else jax.scipy.special
