"""Methods by name for data at hand: what the command line, scikit-learn and river run."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxmlr import _check, registry
from jaxmlr._xla import host
from jaxmlr.batch import Fit, families
from jaxmlr.batch.starts.anchors import aligned
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.batch.starts.kinds import spread_lines
from jaxmlr.estimator import Estimator
from jaxmlr.evaluation.diagnostics import diagnosed
from jaxmlr.fitting.rounding import least_variance
from jaxmlr.fitting.stream import OnlineFit
from jaxmlr.recursive import averaged

METHODS = tuple(name for name, method in registry.METHODS.items() if not method.missing)  # rows are enough


def for_table(method: str, label: str = "--method") -> registry.Method:
    """The record of a method that can be fitted to a table, with no more than its rows and K.

    Raises:
      ValueError: as `registry.find`; or the method needs more, such as a start.
    """
    record = registry.find(method, label=label)
    if record.missing:
        needs = " and ".join(record.missing)
        raise ValueError(f"{label}: {method!r} needs {needs}, which a table does not give")
    return record


class _Options:
    """Keyword arguments that can be compared, arrays and lists of numbers included."""

    def __init__(self, values: Mapping[str, Any]):
        lists = {name for name, value in values.items() if type(value) in (list, tuple)}
        self.values = {
            name: np.asarray(value, np.float64) if name in lists else value for name, value in values.items()
        }
        leaves, structure = jax.tree.flatten(self.values)
        self.content = structure, tuple(map(_content, leaves))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Options) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)


def _content(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray | jax.Array):
        array = np.asarray(leaf)
        return array.dtype.name, array.shape, array.tobytes()
    return type(leaf), leaf


def estimator(method: Any, components: int, options: Mapping[str, Any] | None = None) -> Estimator:
    """A recursive method for K components; equal arguments give the same object, compiled once.

    Args:
      method: as `registry.find` takes it.
      components: K, given to the method where it has a parameter of that name.
      options: keyword arguments of the method; lists of numbers become arrays. Any method takes
        `average_after`, the `after` of `averaged`.

    Raises:
      ValueError: no such method, a K that the method does not have, a bad or a missing option.
    """
    record = registry.find(method, kind="recursive")
    _check.whole("components", components, at_least=1)
    if record.components is not None:
        _check_components(method, record.components, components)
    given = dict(record.table_options) | _checked(record, method, options)
    missing = [name for name in record.missing if name not in given]
    if missing:
        raise ValueError(f"method {method!r} needs {' and '.join(missing)}, given as an option")
    if "components" in record.parameters:
        given = {"components": components} | given
    return _estimator(method, _Options(given))


@functools.lru_cache(maxsize=256)
def _estimator(method: Any, options: _Options) -> Estimator:
    record = registry.find(method)
    given = dict(options.values)
    after = given.pop("average_after", None)
    try:
        built = record.factory(**given)
    except TypeError as error:
        raise ValueError(f"method {method!r}: {error}") from error
    if not isinstance(built, Estimator):
        raise ValueError(f"method {method!r} returns {built!r}, which is no Estimator")
    return built if after is None else averaged(built, after=after)


def _checked(record: registry.Method, method: Any, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options, each of which must be the name of a parameter."""
    parameters = record.parameters
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        for name in options or {}:
            if name not in parameters and name != "average_after":
                raise ValueError(f"method {method!r} has no option {name!r}; it has {', '.join(parameters)}")
    return dict(options or {})


def stream(
    method: Any,
    components: int,
    options: Mapping[str, Any] | None,
    dim: int,
    seed: int,
    dtype: DTypeLike = np.float64,
    *,
    watched: bool = False,
) -> OnlineFit:
    """A recursive method that waits for rows.

    Args:
      method: as in `estimator`.
      components: as in `estimator`.
      options: as in `estimator`.
      dim: d, the number of regressors.
      seed: of the start.
      dtype: of state and rows.
      watched: whether the method is `diagnosed`.

    Raises:
      ValueError: as `estimator`; or the estimate has another number of components.
    """
    built = estimator(method, components, options)
    started = OnlineFit(_diagnosed(built) if watched else built, dim, jax.random.key(seed), dtype)
    _check_components(method, len(started.mixture().weights), components)
    return started


_diagnosed = functools.lru_cache(maxsize=256)(diagnosed)  # equal objects are compiled once


def _check_components(method: Any, has: int, components: int) -> None:
    """Raise ValueError unless the K of a method is that which is asked for."""
    if has != components:
        raise ValueError(f"method {method!r} has {has} component{'s' * (has != 1)}, not {components}")


def batch(
    method: Any,
    phi: np.ndarray,
    y: np.ndarray,
    components: int,
    seed: int,
    *,
    row_weights: np.ndarray | None = None,
    terms: Mapping[str, np.ndarray] | None = None,
    step: float = 0.0,
    **options: Any,
) -> Fit:
    """A batch method on float64 rows, filled up so that tables of similar length share one program.

    A method is given what it has parameters for: `components`, a `key`, a `start` of kind "spread_lines",
    and `row_weights`; one that has no `row_weights` gets the rows as they are.

    Args:
      method: as `registry.find` takes it.
      phi: (n, d).
      y: (n,).
      components: K.
      seed: of the starts.
      row_weights: (n,).
      terms: what else is told of the rows, by the method's names: `groups`, `concomitant`, `known`.
      step: to which the responses are rounded, 0 where they are not. Where some components but not all have a
        variance below `rounding.least_variance`, the fit is made again with that as `variance_floor`; where
        all have, every row lies on a line.
      **options: keyword arguments of the method.

    Returns:
      The method's Fit, in float64.

    Raises:
      ValueError: no such method, a bad option, or as the method.
    """
    record = registry.find(method, kind="batch")
    n, parameters = len(y), record.parameters
    _check.whole("components", components, at_least=1)
    if components > n:
        raise ValueError(f"components must be at most the number of rows, which is {n}, not {components}")
    given = _checked(record, method, options)
    weighted = "row_weights" in parameters
    if row_weights is not None and not weighted and np.any(row_weights != 1):
        raise ValueError(f"method {method!r} takes no row_weights")
    for name in terms or {}:
        if name not in parameters:
            raise ValueError(f"method {method!r} takes no {name}")
    rows = filled(phi, y, row_weights, terms) if weighted else Filled(phi, y, np.ones(n), dict(terms or {}))
    with host.float64():
        key = jax.random.key(seed)
        facts: dict[str, Any] = {"components": components, "key": key, "row_weights": rows.weight}
        facts |= rows.terms
        if "start" in parameters and "start" not in given:
            law = families.law(given.get("family", "normal"), given.get("degrees"))
            linear = rows.y if law is None else law.transformed(rows.y)
            facts["start"] = _spread(
                Rows(*map(jnp.asarray, (rows.phi, linear, rows.weight))),
                key,
                rows.terms.get("known"),
                components=components,
            )
        given = {name: fact for name, fact in facts.items() if name in parameters} | given
        fitted = record.factory(rows.phi, rows.y, **given)
        if not isinstance(fitted, Fit):
            raise ValueError(f"method {method!r} returns a {type(fitted).__name__}, which is no Fit")
        below = np.asarray(fitted.mixture.noise_variance) < least_variance(step)
        free = "variance_floor" in parameters and not {"variance_floor", "noise_variance"} & set(given)
        if free and below.any() and not below.all():
            fitted = record.factory(rows.phi, rows.y, **given, variance_floor=least_variance(step))
        return jax.tree.map(np.asarray, fitted)


class Filled(NamedTuple):
    """Rows of weight 0 behind those at hand, so that tables of similar length share one program."""

    phi: np.ndarray  # (N, d) float64
    y: np.ndarray  # (N,)
    weight: np.ndarray  # (N,)
    terms: dict[str, np.ndarray]  # the terms of the rows


def filled(
    phi: np.ndarray,
    y: np.ndarray,
    row_weights: np.ndarray | None = None,
    terms: Mapping[str, np.ndarray] | None = None,
) -> Filled:
    """The rows with others of weight 0 behind them, up to a power of two where they are at most 16,384.

    Groups are filled up likewise, with some that have no row that counts.
    """
    n = len(y)
    most = max(64, 1 << (n - 1).bit_length()) if n <= 16_384 else n
    weight = np.zeros(most)
    weight[:n] = 1 if row_weights is None else row_weights

    def longer(values: np.ndarray, entry: Any) -> np.ndarray:
        rest = np.broadcast_to(np.asarray(entry, values.dtype), (most - n, *values.shape[1:]))
        return np.concatenate([values, rest])

    filled_terms = {}
    for name, values in (terms or {}).items():
        if name == "groups":
            count = int(values.max()) + 1
            others = np.arange(most - n) % max((1 << count.bit_length()) - count, 1)
            filled_terms[name] = np.concatenate([values, count + others])
        else:
            filled_terms[name] = longer(values, name == "known")
    return Filled(longer(phi, 0), longer(y, 0), weight, filled_terms)


@functools.partial(jax.jit, static_argnames="components")
def _spread(data: Rows, key: jax.Array, known: Any, *, components: int) -> Any:
    start = spread_lines(key, data, components)
    return start if known is None else aligned(start, data, jnp.asarray(known))
