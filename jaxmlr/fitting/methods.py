"""Methods by name for data at hand: what the command line and scikit-learn run."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr import _check, recursive
from jaxmlr.batch import Fit, em, fit, hard_em
from jaxmlr.batch.starts.candidates import Data
from jaxmlr.batch.starts.kinds import spread_lines
from jaxmlr.estimator import Estimator

BATCH = ("fit", "em", "hard_em")
SYMMETRIC = ("fisher_scoring", "two_step", "symmetric_em", "second_moment")  # two lines, beta and -beta
RECURSIVE = (*SYMMETRIC, "multistart_em", "recursive_em", "midpoint_em", "least_squares")
METHODS = (*BATCH, *RECURSIVE)
_COMPONENTS = dict.fromkeys((*SYMMETRIC, "midpoint_em"), 2) | {"least_squares": 1}


@functools.cache
def estimator(method: str, components: int, options: tuple[tuple[str, Any], ...] = ()) -> Estimator:
    """The recursive method of a name; the same arguments give the same object, compiled once.

    Args:
      method: one of `RECURSIVE`.
      components: K.
      options: keyword arguments of the method, in pairs.

    Raises:
      ValueError: another name, a K that the method does not have, or a bad option.
    """
    _check.choice("method", method, RECURSIVE)
    _check.whole("components", components, at_least=1)
    fixed = _COMPONENTS.get(method)
    if fixed is not None and components != fixed:
        raise ValueError(f"method {method!r} has {fixed} components, not {components}")
    given = dict(options)
    if method in ("multistart_em", "recursive_em"):
        given = {"components": components} | given
    if method in ("recursive_em", "midpoint_em", "symmetric_em"):
        given = {"learn_variance": True} | given
    if method == "symmetric_em":
        given = {"learn_weights": True} | given
    try:
        made: Estimator = getattr(recursive, method)(**given)
    except TypeError as error:
        raise ValueError(f"method {method!r}: {error}") from error
    return made


def batch(
    method: str,
    phi: np.ndarray,
    y: np.ndarray,
    components: int,
    seed: int,
    *,
    row_weights: np.ndarray | None = None,
    **options: Any,
) -> Fit:
    """A batch method on float64 rows, filled up so that tables of similar length share one program.

    Args:
      method: one of `BATCH`; "em" and "hard_em" begin at one start of kind "spread_lines".
      phi: (n, d).
      y: (n,).
      components: K.
      seed: of the starts.
      row_weights: (n,).
      **options: keyword arguments of the method.

    Returns:
      The method's Fit, in float64.

    Raises:
      ValueError: as the method.
    """
    _check.choice("method", method, BATCH)
    n = len(y)
    size = max(64, 1 << (n - 1).bit_length()) if n <= 16_384 else n
    with jax.enable_x64(True):
        weight = np.zeros(size)
        weight[:n] = 1 if row_weights is None else row_weights
        full = np.zeros((size, phi.shape[1])), np.zeros(size)
        full[0][:n], full[1][:n] = phi, y
        key = jax.random.key(seed)
        if method == "fit":
            found = fit(*full, components, key, row_weights=weight, **options)
        else:
            start = _spread(Data(*map(jnp.asarray, (*full, weight))), key, components)
            found = {"em": em, "hard_em": hard_em}[method](*full, start, row_weights=weight, **options)
        return jax.tree.map(np.asarray, found)


@functools.partial(jax.jit, static_argnames="components")
def _spread(data: Data, key: jax.Array, components: int) -> Any:
    return spread_lines(key, data, components)
