"""What a batch method is told of the mixture, and the numbers of its M-step: a `Fit` carries both."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr import _check
from jaxmlr.batch import families

SIGNS = {"symmetric": (1.0, -1.0), "common": (1.0,)}  # beta_k = sign_k beta


class Layout(NamedTuple):
    """Coefficient (k, j) is sign[k, j] times free number place[k, j], or is held; of NumPy, static."""

    place: np.ndarray  # (K, d) int32, from 0 to q - 1; q where the coefficient is held
    sign: np.ndarray  # (K, d) 1 or -1
    first: np.ndarray  # (q,) int32, the first of the K d coefficients that each free number is
    held: np.ndarray  # (K, d) bool

    def gathered(self, coefficients: jax.Array) -> jax.Array:
        """The free numbers (q,) of coefficients (K, d) that keep to the layout."""
        sign = jnp.asarray(self.sign.reshape(-1)[self.first], coefficients.dtype)
        return sign * coefficients.reshape(-1)[self.first]

    def spread(self, numbers: jax.Array, held: jax.Array) -> jax.Array:
        """Coefficients (K, d) of the free numbers (q,), and those of `held` (K, d) where they are held."""
        padded = jnp.append(numbers, jnp.zeros(1, numbers.dtype))
        own = jnp.asarray(self.sign, numbers.dtype) * padded[self.place]
        return jnp.where(self.held, held, own)

    def summed(self, entries: jax.Array) -> jax.Array:
        """Sums (q,) over the coefficients (K, d) that are one free number, each times its sign."""
        sums = jnp.zeros(len(self.first) + 1, entries.dtype)
        return sums.at[self.place].add(jnp.asarray(self.sign, entries.dtype) * entries)[:-1]

    def summed_pairs(self, matrices: jax.Array) -> jax.Array:
        """As `summed` in rows and columns: (q, q) from a matrix (d, d) of each component."""
        sign = jnp.asarray(self.sign, matrices.dtype)
        signed = sign[:, :, None] * sign[:, None, :] * matrices
        sums = jnp.zeros((len(self.first) + 1,) * 2, matrices.dtype)
        return sums.at[self.place[:, :, None], self.place[:, None, :]].add(signed)[:-1, :-1]


@jax.tree_util.register_static
@dataclass(frozen=True)
class Constraints:
    """What is not estimated, or estimated in common; static and hashable, a pytree without leaves.

    Fields:
      known_weights: the weights were given.
      known_variance: the noise variances were given.
      equal_variance: one sigma^2 for all components.
      tie: "none"; "symmetric", beta_k = +-beta with two components; "common", beta_k = beta.
      known_labels: the components that rows may belong to were given.
      grouped: the rows of a group share their component.
      concomitants: m, of how many variables the weights are a softmax; 0 where they are constant.
      common: K rows of d class numbers: in a column, components of one class have one coefficient. Empty
        where none has.
      held: rows of d booleans, True where the coefficient was given: one row where it was given for all
        components alike, else K; empty where none was.
      variance_classes: (K,) class numbers: components of one class have one sigma^2. Empty where none has.
      family: of the responses; noise_variance is its dispersion, known to be 1 of "poisson" and "binomial".
      degrees: of freedom of "student", else None.
    """

    known_weights: bool = False
    known_variance: bool = False
    equal_variance: bool = False
    tie: str = "none"
    known_labels: bool = False
    grouped: bool = False
    concomitants: int = 0
    common: tuple[tuple[int, ...], ...] = ()
    held: tuple[tuple[bool, ...], ...] = ()
    variance_classes: tuple[int, ...] = ()
    family: str = "normal"
    degrees: float | None = None

    def __post_init__(self) -> None:
        _check.choice("tie", self.tie, ("none", *SIGNS))
        if self.known_weights and self.concomitants:
            raise ValueError(
                "concomitant must be None where weights are known, not an array that models them"
            )
        if self.tie != "none" and (self.common or self.held):
            raise ValueError(
                f"tie must be 'none' with common or known coefficients, not {self.tie!r}, which ties all"
            )

    def check_components(self, components: int) -> None:
        """Raise ValueError where a mixture of so many components cannot be tied like this."""
        if self.tie == "symmetric" and components != 2:
            raise ValueError(f"tie='symmetric' must have 2 components, not {components}")

    @property
    def law(self) -> families.Law | None:
        """The law of the responses; None where they are normal."""
        return families.law(self.family, self.degrees)

    @property
    def restricted(self) -> bool:
        """Whether the coefficients are anything but K d free numbers."""
        return self.tie != "none" or bool(self.common) or bool(self.held)

    @property
    def names_components(self) -> bool:
        """Whether what was told of lines or variances tells the components apart."""
        columns = [len(set(column)) for column in zip(*self.common, strict=True)]
        partly_common = any(1 < classes < len(self.common) for classes in columns)
        return self.tie != "none" or len(self.held) > 1 or bool(self.variance_classes) or partly_common

    def layout(self, components: int, d: int) -> Layout:
        """How the coefficients of so many lines are made of free numbers."""
        return _layout(self, components, d)

    def own_columns(self, components: int, d: int) -> np.ndarray:
        """In which columns some component has a coefficient to itself, (d,) bool."""
        place = self.layout(components, d).place
        uses = np.bincount(place.reshape(-1))
        return np.any((uses[place] == 1) & ~self.layout(components, d).held, axis=0)

    def project(self, coefficients: jax.Array) -> jax.Array:
        """The nearest coefficients (K, d) that keep to the layout, of which those that are held stay."""
        if not self.restricted:
            return coefficients
        layout = self.layout(*coefficients.shape)
        counts = np.bincount(layout.place.reshape(-1), minlength=len(layout.first))[: len(layout.first)]
        means = layout.summed(coefficients) / jnp.asarray(counts, coefficients.dtype)
        return layout.spread(means, coefficients)

    def pooled(self, sums: jax.Array) -> jax.Array:
        """Of sums (K,) over the rows of each component those over components of one variance, (K,)."""
        if self.equal_variance:
            return jnp.broadcast_to(jnp.sum(sums), sums.shape)
        if not self.variance_classes:
            return sums
        classes = np.array(self.variance_classes, np.int32)
        return jnp.zeros(max(self.variance_classes) + 1, sums.dtype).at[classes].add(sums)[classes]

    def parameters(self, components: int, d: int) -> int:
        """How many are estimated: free coefficients, K - 1 weights, K or 1 variances, or one a class.

        With m concomitants (K - 1) m numbers stand for the weights.
        """
        weights = 0 if self.known_weights else (components - 1) * max(self.concomitants, 1)
        variances = len(set(self.variance_classes)) or (1 if self.equal_variance else components)
        lines = len(self.layout(components, d).first)
        return lines + weights + (0 if self.known_variance else variances)


@functools.lru_cache(maxsize=64)
def _layout(constraints: Constraints, components: int, d: int) -> Layout:
    shape = (components, d)
    sign, held = np.ones(shape), np.zeros(shape, bool)
    classes = np.broadcast_to(np.arange(components)[:, None], shape)
    if constraints.tie != "none":
        sign = np.broadcast_to(np.resize(SIGNS[constraints.tie], components)[:, None], shape)
        classes = np.zeros(shape, int)
    if constraints.common:
        classes = np.array(constraints.common)
    if constraints.held:
        held = np.broadcast_to(np.array(constraints.held), shape)
    names = (classes * d + np.arange(d)).reshape(-1)
    free, first = np.unique(names[~held.reshape(-1)], return_index=True)
    order = np.argsort(first)  # free numbers in the order of the coefficients
    rank = np.full(components * d, len(free))
    rank[free[order]] = np.arange(len(free))
    place = np.where(held, len(free), rank[names].reshape(shape))
    coefficients = np.flatnonzero(~held.reshape(-1))[first[order]]
    # Of 32 bits, which index under enable_x64 and without.
    return Layout(place.astype(np.int32), sign, coefficients.astype(np.int32), held)


def constraints_of(
    components: int,
    d: int,
    *,
    equal_variance: Any = False,
    common: Any = None,
    held: Any = None,
    **facts: Any,
) -> Constraints:
    """The constraints of a mixture of so many components and regressors, from what a user tells.

    Args:
      components: K.
      d: regressors.
      equal_variance: a bool, or (K,) class numbers of components.
      common: columns (c,), a mask (d,) of booleans, or class numbers (K, d); None: no column.
      held: (d,) or (K, d) booleans, which coefficients are known; None: none.
      **facts: the other fields of `Constraints`.

    Raises:
      ValueError: another shape or dtype, a column out of range, or a class of which some coefficients are
        known and others are not.
    """
    law = families.law(facts.get("family", "normal"))
    if law is not None:
        facts["known_variance"] = facts.get("known_variance", False) or not law.dispersed
    classes: tuple[int, ...] = ()
    if not isinstance(equal_variance, bool | np.bool_):
        numbers = _whole_numbers("equal_variance", equal_variance, (components,), "True, False or")
        classes, equal_variance = _numbered(numbers), False
        if len(set(classes)) in (1, components):
            classes, equal_variance = (), len(set(classes)) < components
    constraints = Constraints(
        equal_variance=bool(equal_variance),
        common=_common(common, components, d),
        held=_held(held, components, d),
        variance_classes=classes,
        **facts,
    )
    constraints.check_components(components)
    if constraints.common and constraints.held:
        rows = np.broadcast_to(np.array(constraints.held), (components, d))
        for column, known in zip(np.array(constraints.common).T, rows.T, strict=True):
            if any(0 < np.sum(known[column == each]) < np.sum(column == each) for each in set(column)):
                raise ValueError(
                    "coefficients must be known for all components with a common one, or for none"
                )
    return constraints


def _whole_numbers(name: str, value: Any, shape: tuple[int, ...], besides: str) -> np.ndarray:
    if isinstance(value, jax.core.Tracer):
        raise ValueError(f"{name} must be concrete, not traced: it says what is estimated")
    array = np.asarray(value)
    if array.shape != shape or array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be {besides} integers of shape {shape}, not {value!r}")
    return array


def _numbered(classes: np.ndarray) -> tuple[int, ...]:
    """Class numbers (K,) as the place of the first of each class."""
    return tuple(int(np.argmax(classes == each)) for each in classes)


def _common(common: Any, components: int, d: int) -> tuple[tuple[int, ...], ...]:
    if common is None:
        return ()
    besides = f"columns from 0 to {d - 1}, booleans of shape ({d},), or"
    array = np.asarray(common) if not isinstance(common, jax.core.Tracer) else np.zeros(())
    if array.ndim == 2 or array.ndim == 0:
        classes = _whole_numbers("common", common, (components, d), besides)
    else:
        if array.dtype.kind == "b" and array.shape == (d,):
            array = np.flatnonzero(array)
        array = array.astype(int) if array.size == 0 else array
        if array.dtype.kind not in "iu" or np.any(array < -d) or np.any(array >= d):
            raise ValueError(
                f"common must be {besides} integers of shape ({components}, {d}), not {common!r}"
            )
        classes = np.tile(np.arange(components)[:, None], (1, d))
        classes[:, array] = 0
    columns = [_numbered(column) for column in classes.T]
    if all(len(set(column)) == components for column in columns):
        return ()
    return tuple(zip(*columns, strict=True))


def _held(held: Any, components: int, d: int) -> tuple[tuple[bool, ...], ...]:
    if held is None:
        return ()
    if isinstance(held, jax.core.Tracer):
        raise ValueError("known_coefficients must be concrete, not traced: it says what is estimated")
    array = np.asarray(held)
    if array.dtype.kind != "b" or array.shape not in ((d,), (components, d)):
        raise ValueError(
            f"known_coefficients must be boolean of shape ({d},) or ({components}, {d}), not {held!r}"
        )
    rows = np.atleast_2d(array)
    return tuple(tuple(bool(entry) for entry in row) for row in rows) if np.any(array) else ()


class MStepOptions(NamedTuple):
    """The numbers of the M-step; all may be traced."""

    ridge: jax.Array  # (d,)
    variance_floor: jax.Array  # ()
    ddof: jax.Array  # ()
    outlier_density: jax.Array | None = None  # (), None means 0
