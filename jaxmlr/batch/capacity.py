"""Sizes that data sets are filled up to, so that few compiled programs serve all of them.

Columns of zeros and components of weight 0 are put in front, rows of weight 0 behind. Neither moves the
answer: a column of zeros gets the coefficient 0, and a component of weight 0 gets no row.
"""

from typing import Any

import jax
import numpy as np

from jaxmlr._xla.jit import traced
from jaxmlr._xla.target import target
from jaxmlr.batch.constraints import Constraints, MStepOptions
from jaxmlr.batch.outcome import Fit
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.batch.starts.draws import words
from jaxmlr.mixture import Mixture

ROWS = 16_384
COLUMNS = 13
COMPONENTS = (2, 5)


def room(components: int) -> int:
    """The least of `COMPONENTS` that holds so many."""
    return next(most for most in COMPONENTS if components <= most)


def holds(rows: int, columns: int, components: int, *values: Any) -> bool:
    """Whether a problem is of a size to be filled up, concrete and on a CPU."""
    small = rows <= ROWS and columns <= COLUMNS and components <= COMPONENTS[-1]
    return small and target() == "cpu" and not traced(*values)


def fits(constraints: Constraints) -> bool:
    """Whether filled up rows and components stay apart in a fit with these constraints: nothing is tied."""
    return constraints == Constraints(
        equal_variance=constraints.equal_variance,
        known_variance=constraints.law is not None and not constraints.law.dispersed,
        family=constraints.family,
        degrees=constraints.degrees,
    )


def filled(data: Rows, key: jax.Array | None = None) -> Rows:
    """The rows in arrays of `ROWS` rows and `COLUMNS` columns, in an order drawn by the key, if any."""
    phi, y, weight = map(np.asarray, data[:3])
    n, d = phi.shape
    order = np.arange(n)
    if key is not None:
        order = np.random.default_rng(np.asarray(words(key)).tolist()).permutation(n)
    full = (np.zeros((ROWS, COLUMNS), phi.dtype), np.zeros(ROWS, y.dtype), np.zeros(ROWS, weight.dtype))
    full[0][:n, COLUMNS - d :], full[1][:n], full[2][:n] = phi[order], y[order], weight[order]
    whole: list[Any] = [*full, np.int32(d)]
    return Rows(*whole)


def filled_fit(
    mixture: Mixture, options: MStepOptions | None
) -> tuple[Mixture, MStepOptions | None, Mixture]:
    """A mixture and its options filled up, and which entries of that mixture are its own."""
    components, d = np.shape(mixture.coefficients)
    before = room(components) - components
    beta, weights, variance = map(np.asarray, mixture)
    lines = np.pad(beta, ((before, 0), (COLUMNS - d, 0)))
    shares = np.pad(weights, (before, 0))
    if variance.ndim:
        variance = np.pad(variance, (before, 0), constant_values=variance.max())
    parts: list[Any] = [lines, shares, variance]
    own = np.arange(before + components) >= before
    columns = np.arange(COLUMNS) >= COLUMNS - d
    spread = own if variance.ndim else np.ones((), bool)
    entries: list[Any] = [own[:, None] & columns[None, :], own, spread]
    if options is not None:
        ridge: Any = np.pad(np.asarray(options.ridge), (COLUMNS - d, 0))
        options = options._replace(ridge=ridge)
    return Mixture(*parts), options, Mixture(*entries)


def taken_entries(matrix: jax.Array, own: Mixture) -> jax.Array:
    """Of a matrix (q, q) of the entries of a filled mixture, those of its own."""
    kept = np.concatenate([np.asarray(leaf).reshape(-1) for leaf in own])
    return _array(np.asarray(matrix)[np.ix_(kept, kept)])


def some_mixture(components: int, dtype: Any, *axes: int) -> Mixture:
    """Filled mixtures with variances of their own, of which only the shapes count."""
    shapes = (*axes, components, COLUMNS), (*axes, components), (*axes, components)
    leaves: list[Any] = [np.zeros(shape, dtype) for shape in shapes]
    return Mixture(*leaves)


def some_fit(components: int, dtype: Any, constraints: Constraints, steps: int) -> Fit:
    """A fit to filled rows that has room for so many steps, of which only the shapes count."""
    number: Any = np.zeros((), dtype)
    ridge: Any = np.zeros(COLUMNS, dtype)
    trace: Any = np.zeros(steps + 1, dtype)
    count: Any = np.zeros((), np.int32)
    mixture = some_mixture(components, dtype)
    if constraints.equal_variance or constraints.known_variance:
        mixture = mixture._replace(noise_variance=number)
    options = MStepOptions(ridge, number, number)
    return Fit(mixture, number, trace, count, count > 0, count, constraints, options, count)


def _array(values: np.ndarray) -> jax.Array:
    """As JAX's array; `jnp.asarray` would compile a program for its shape."""
    array: jax.Array = jax.device_put(values)
    return array


def taken(mixture: Mixture, components: int, d: int) -> Mixture:
    """What of a filled mixture is of the problem's own size."""
    beta, weights, variance = map(np.asarray, mixture)
    beta, weights = beta[-components:, COLUMNS - d :], weights[-components:]
    variance = variance[-components:] if variance.ndim else variance
    return Mixture(*map(_array, (beta, weights, variance)))


def taken_starts(starts: Mixture, components: int, d: int) -> Mixture:
    """What of a pool of filled starts, whose own components come first, is of the problem's own size."""
    beta, weights, variance = map(np.asarray, starts)
    own = beta[:, :components, COLUMNS - d :], weights[:, :components], variance[:, :components]
    return Mixture(*map(_array, own))


def taken_fit(fit: Fit, components: int, d: int) -> Fit:
    """What of a fit to filled rows is of the problem's own size."""
    options = fit.options
    if options is not None:
        options = options._replace(ridge=_array(np.asarray(options.ridge)[COLUMNS - d :]))
    return fit._replace(mixture=taken(fit.mixture, components, d), options=options)
