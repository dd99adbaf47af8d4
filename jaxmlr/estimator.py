"""What a recursive method is: three pure functions, and the one scan that runs them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr.mixture import Mixture

Row = tuple[jax.Array, jax.Array]


class Info(NamedTuple):
    """What one step learns about its observation, from the estimate BEFORE the update.

    Of a row that is not observed (see `Estimator`) the label is that of the component with the greatest
    weight, and the residual is NaN: the rows that were skipped are those with a residual of NaN.
    """

    label: jax.Array  # () int32, the component whose line is nearest to y, eq. (13)
    residual: jax.Array  # () y - beta_label' phi


class Init(Protocol):
    """How a method starts."""

    def __call__(self, dim: int, key: jax.Array | None = None, dtype: DTypeLike | None = None) -> Any:
        """The state before any observation; `dtype` None means JAX's default float."""


Step = Callable[[Any, Row], tuple[Any, Info]]

_PLAIN = "_plain"  # attribute of a step that skips gaps: itself, and the step that it is made of


class _Functions(NamedTuple):
    init: Init
    step: Step
    mixture: Callable[[Any], Mixture]


class Estimator(_Functions):
    """A recursive method: `lax.scan(est.step, est.init(d), (phi, y))` runs it.

    A row with a number that is not finite, in y or in phi, is not observed: `step` returns the state as it
    was, bit for bit and its count of observations included, as if the row were absent. The `step` that a
    method gives need not know of gaps: making an Estimator of it adds this.

    Fields:
      init: `init(dim, key=None, dtype=None) -> state`; the key matters to methods with a random start.
      step: `step(state, (phi (d,), y ())) -> (state, info)`, pure and shape-static; it never raises on
        values. phi and y are taken in the dtype of the state.
      mixture: `mixture(state) -> Mixture`, the current estimate.
    """

    __slots__ = ()

    def __new__(cls, init: Init, step: Step, mixture: Callable[[Any], Mixture]) -> Self:
        """Make `step` skip what is not observed; one that does so already stays as it is."""
        return super().__new__(cls, init, step if _skips(step) else skipping(step, mixture), mixture)


def _where(observed: jax.Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(observed, a, b), new, old)


def skipping(
    step: Step,
    mixture: Callable[[Any], Mixture],
    keep: Callable[[jax.Array, Any, Any], Any] = _where,
) -> Step:
    """A step that skips rows that are not observed, made of one that does not know of them.

    One that breaks the contract, of which whoever runs it will complain, is left as it is.

    Args:
      step: it gets a row of zeros in the place of one that is not observed.
      mixture: the estimate of a state.
      keep: `keep(observed, new, old)` is the new state where `observed`, else the old one, bit for bit; for
        a state of which a large part cannot have changed.
    """

    @functools.wraps(step)
    def skipping_step(state: Any, row: Row) -> tuple[Any, Info]:
        estimate = mixture(state)
        if not isinstance(estimate, Mixture):
            return step(state, row)
        dtype = estimate.coefficients.dtype
        phi, y = jnp.asarray(row[0]).astype(dtype), jnp.asarray(row[1]).astype(dtype)
        observed = jnp.all(jnp.isfinite(phi)) & jnp.isfinite(y)
        # A finite row in its place, so that derivatives through what is not taken stay finite.
        new, info = step(state, (jnp.where(observed, phi, 0), jnp.where(observed, y, 0)))
        if _form(new) != _form(state) or not isinstance(info, Info):
            return new, info
        kept = keep(observed, new, state)
        heaviest = jnp.argmax(estimate.weights).astype(info.label.dtype)
        label = jnp.where(observed, info.label, heaviest)
        return kept, Info(label, jnp.where(observed, info.residual, jnp.nan))

    skipping_step.__dict__[_PLAIN] = skipping_step, step
    return skipping_step


def _skips(step: Step) -> bool:
    """Whether `_skipping` made this step, and not only one that it wraps, whose attributes it may have."""
    return getattr(step, _PLAIN, (None, None))[0] is step


def _form(tree: Any) -> Any:
    """Structure, shapes and dtypes."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def plain_step(estimator: Estimator) -> Step:
    """The step without the skipping of gaps: for rows known to be finite, and inside of another method.

    With gaps, trials side by side differ in their counts, so that gains such as 1/n, which are the same for
    all trials of a study, would be computed for each.
    """
    step: Step = getattr(estimator.step, _PLAIN)[1] if _skips(estimator.step) else estimator.step
    return step


def nearest(linear_predictors: jax.Array, y: jax.Array) -> Info:
    """Label and residual of the nearest line, argmin_k |y - linear_predictors[k]|; ties to the lower k."""
    error = y - linear_predictors
    label = jnp.argmin(jnp.abs(error)).astype(jnp.int32)
    chosen = jnp.arange(error.shape[0], dtype=jnp.int32) == label
    return Info(label, jnp.sum(jnp.where(chosen, error, 0)))


def run(estimator: Estimator, phi: ArrayLike, y: ArrayLike, key: jax.Array | None = None) -> tuple[Any, Info]:
    """Run a method over a data set: one `lax.scan` from `init`.

    Args:
      estimator: the method.
      phi: (n, d), row k is the regressor that y[k] answers.
      y: (n,). A row with NaN or infinity, in phi or y, is not observed and skipped.
      key: for methods with a random start.

    Returns:
      The final state, and `info` with a leading axis n.

    Raises:
      ValueError: wrong shapes, no column, or entries that are no real numbers.
    """
    _check.observations(phi, y, gaps=True)
    phi, y = _check.floats(phi=phi, y=y)
    state = estimator.init(phi.shape[1], key, y.dtype)
    return jax.lax.scan(estimator.step, state, (phi, y))
