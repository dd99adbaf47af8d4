"""From names and tables to functions: every keyword is checked against the function that takes it."""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike

from jaxmlr import _check, registry
from jaxmlr._xla.jit import checking
from jaxmlr._xla.namespace import namespace
from jaxmlr.batch import starts
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.batch.starts.moments import check_tensor
from jaxmlr.data import disturbances, drifts, labels, processes
from jaxmlr.data.disturbances import Disturbance
from jaxmlr.data.drifts import Drift
from jaxmlr.data.labels import LabelModel
from jaxmlr.data.processes import Process
from jaxmlr.data.recorded import recorded
from jaxmlr.estimator import Estimator
from jaxmlr.mixture import Mixture
from jaxmlr.recursive import averaged
from jaxmlr.study.declare.errors import Path, StudyError, blamed_on, check_choice, check_key, dotted, narrowed


def _kinds(module: ModuleType) -> tuple[str, ...]:
    """The public functions that a module defines, in their order."""
    own = (x for x in vars(module).values() if inspect.isfunction(x) and x.__module__ == module.__name__)
    return tuple(x.__name__ for x in own if not x.__name__.startswith("_"))


PROCESSES = _kinds(processes)
DISTURBANCES = _kinds(disturbances)
DRIFTS = _kinds(drifts)
LABELS = _kinds(labels)
STARTS = ("truth", *starts.KINDS)

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
PrefixValues = dict[str, dict[str, jax.Array]]


class Batch(NamedTuple):
    """A batch method of a study."""

    fit: Callable[[jax.Array, jax.Array, jax.Array], Mixture]  # of phi (n, d), y (n,), perhaps NaN, and a key
    steps: tuple[int, ...]  # n of the prefixes that it is fitted to


def call(
    path: Path,
    function: Callable[..., Any],
    options: Mapping[str, Any],
    facts: Mapping[str, Any] | None = None,
) -> Any:
    """Call a function with the options of the table at `path`, and with facts that the table leaves out.

    Raises:
      StudyError: an unknown keyword, a value of the wrong kind, or one that the function refuses.
    """
    known = parameters(function)
    for name, value in options.items():
        check_key(path, name, known)
        _check_kind((*path, name), name, value, known[name].default)
    given = {name: fact for name, fact in (facts or {}).items() if name in known}
    for name, parameter in known.items():
        needed = parameter.default is parameter.empty and parameter.kind in _NAMED
        if needed and name not in options and name not in given:
            raise StudyError(path, f"{dotted(path)}: {name} is missing")

    def attempt(options: Mapping[str, Any]) -> Any:
        with blamed_on(path, f"{dotted(path)}: "):
            return function(**given | {name: _array(value) for name, value in options.items()})

    return narrowed(path, options, attempt)


@functools.lru_cache(maxsize=256)
def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function; those of a class's constructor where it is one."""
    return inspect.signature(function).parameters


def _check_kind(path: Path, name: str, value: Any, default: Any) -> None:
    """Raise StudyError unless an option is of the kind that its default value is of."""
    *table, _ = path
    label = f"{dotted(tuple(table))}: {name}"
    if name == "mixture" and not isinstance(value, Mixture):
        raise StudyError(path, f"{label} must be a Mixture, not {value!r}")
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise StudyError(path, f"{label} must be true or false, not {value!r}")
    elif isinstance(default, int | float) and isinstance(value, str | bool | Mapping):
        raise StudyError(path, f"{label} must be a number, not {value!r}")


def _array(value: Any) -> Any:
    """Lists of numbers as arrays; everything else as it is."""
    return np.asarray(value, np.float64) if type(value) in (list, tuple) else value


def mixture(
    coefficients: Any, p: Any, weights: Any, noise_variance: Any, dtype: DTypeLike, xp: Any = jnp
) -> Mixture:
    """The mixture of a problem: symmetric where p is given, general where weights are; arrays of module xp.

    Raises:
      ValueError: as `Mixture.validated`.
    """
    beta = xp.asarray(coefficients, dtype)
    if weights is None:
        plus = xp.asarray(p, dtype)
        parts = (xp.stack([beta, -beta]), xp.stack([plus, 1 - plus]))
    else:
        parts = (beta, xp.asarray(weights, dtype))
    return Mixture(*parts, xp.asarray(noise_variance, dtype)).validated()


def process(table: Mapping[str, Any]) -> Process:
    """The regressor process of `{kind, **parameters}`; the kind may be "package.module:function"."""
    path: Path = ("problem", "process")
    if table.get("kind") == "recorded":
        return call(path, recorded, {name: value for name, value in table.items() if name != "kind"})
    drawn: Process = _of_kind(path, table, processes, PROCESSES, Process)
    return drawn


def disturbance(table: Mapping[str, Any]) -> Disturbance:
    """The law of the noise of `{kind, **parameters}`; the kind may be "package.module:function"."""
    law: Disturbance = _of_kind(("problem", "noise"), table, disturbances, DISTURBANCES, Disturbance)
    return law


def drift(table: Mapping[str, Any], *, symmetric: bool) -> Drift:
    """The drift of `{kind, **parameters}`; of a symmetric problem that of beta, -beta opposite."""
    moves: Drift = _of_kind(("problem", "drift"), table, drifts, DRIFTS, Drift)
    return moves.mirrored() if symmetric else moves


def label_model(table: Mapping[str, Any], weights: jax.Array) -> LabelModel:
    """The law of the labels of `{kind, **parameters}`, which may ask for the mixture's weights."""
    path, facts = ("problem", "labels"), {"weights": weights}
    law: LabelModel = _of_kind(path, table, labels, LABELS, LabelModel, facts)
    return law


def _of_kind(
    path: Path,
    table: Mapping[str, Any],
    module: Any,
    kinds: tuple[str, ...],
    result: type,
    facts: Mapping[str, Any] | None = None,
) -> Any:
    if "kind" not in table:
        raise StudyError(path, f"{dotted(path)}: kind is missing; it must be one of {', '.join(kinds)}")
    kind, place = table["kind"], (*path, "kind")
    function = own(place, kind)
    if function is None:
        check_choice(place, kind, kinds)
        function = getattr(module, kind)
    drawn = call(path, function, {name: value for name, value in table.items() if name != "kind"}, facts)
    if not isinstance(drawn, result):
        raise StudyError(
            place, f"{dotted(path)}.kind: {kind!r} returns {drawn!r}, which is no {result.__name__}"
        )
    return drawn


def own(path: Path, function: Any) -> Callable[..., Any] | None:
    """The function of "package.module:function", or a function itself; None for names of this package."""
    if callable(function):
        return function
    if not isinstance(function, str) or ":" not in function:
        return None
    with blamed_on(path):
        return registry.imported(function, dotted(path))


def factory(path: Path, method: Any) -> Callable[..., Any]:
    """The function behind a method: a registered name, "package.module:function", or the function itself."""
    with blamed_on((*path, "method")):
        return registry.find(method, label=f"{dotted(path)}.method").factory


def estimator(name: str, table: Mapping[str, Any], truth: Mixture) -> Estimator:
    """The method of `{method, **options}`.

    Options named `mixture`, `noise_variance` and `components` that the table leaves out are the problem's
    own. A table for `start` or `mixture` is a Mixture, `{coefficients, weights, noise_variance = 1.0}`; one
    for `transformation` is a function of optax, `{name = "adam", learning_rate = 0.01}`. Any method takes
    `average_after = n`, which makes it `averaged(method, after=n)`.
    """
    path = ("estimators", name)
    if "method" not in table:
        raise StudyError(
            path, f"{dotted(path)}: method is missing; it must be one of {', '.join(registry.METHODS)}"
        )
    facts = {
        "mixture": truth,
        "noise_variance": truth.noise_variance,
        "components": len(truth.weights),
    }
    options = _options(path, table, truth)
    after = options.pop("average_after", None)
    facts = {key: fact for key, fact in facts.items() if key not in options}
    method = call(path, factory(path, table["method"]), options, facts)
    if not isinstance(method, Estimator):
        reason = f"{dotted(path)}.method: {table['method']!r} returns {method!r}, which is no Estimator"
        raise StudyError((*path, "method"), reason)
    if after is None:
        return method
    with blamed_on((*path, "average_after"), f"{dotted(path)}.average_"):
        return averaged(method, after=after)


def is_batch(name: str, table: Mapping[str, Any]) -> bool:
    """Whether a table's method takes whole data sets: its first two parameters are phi and y."""
    if "method" not in table:
        return False
    with blamed_on(("estimators", name, "method")):
        return registry.find(table["method"], label=f"estimators.{name}.method").kind == "batch"


def batch_method(
    name: str, table: Mapping[str, Any], truth: Mixture, steps: int, *, gaps: bool = False
) -> Batch:
    """The batch method of `{method, at, **options}`.

    `at` holds the n of the prefixes, only `steps` where it is left out. `components` and `key` are given to a
    method that asks for them. `start` is a Mixture as for `estimator`, or one of `STARTS`, of as many lines
    as `components` says, by default those of the truth. With gaps, responses that are NaN are left out by the
    `mask` that the method must take.
    """
    path: Path = ("estimators", name)
    function = factory(path, table["method"])
    known = parameters(function)
    options = _options(path, table, truth)
    if gaps and ("mask" not in known or "mask" in options):
        reason = f"{dotted(path)}.method: {table['method']!r} must take a mask of its own,"
        raise StudyError((*path, "method"), f"{reason} (n,) of bool, where responses are missing")
    at = options.pop("at", [steps])
    if not isinstance(at, list | tuple) or not at:
        raise StudyError((*path, "at"), f"{dotted(path)}.at must be a list of steps, not {at!r}")
    for n in at:
        with blamed_on((*path, "at")):
            _check.whole(f"{dotted(path)}.at", n, at_least=1)
        if n > steps:
            raise StudyError((*path, "at"), f"{dotted(path)}.at must hold steps up to {steps}, not {n}")
    start = options.get("start")
    components, dim = truth.coefficients.shape
    if isinstance(start, str):
        check_choice((*path, "start"), start, STARTS)
        if "components" not in known:
            components = options.pop("components", components)
            with blamed_on((*path, "components")):
                _check.whole(f"{dotted(path)}.components", components, at_least=1)
        if start == "truth" and components != len(truth.weights):
            reason = f"{dotted(path)}.components: the truth has {len(truth.weights)}, not {components}"
            raise StudyError((*path, "components"), reason)
        if start == "tensor":
            with blamed_on((*path, "start"), f"{dotted(path)}: "):
                check_tensor(components, dim)
    elif "start" in known and start is None:
        reason = f"{dotted(path)}: start is missing; it must be a mixture or one of {', '.join(STARTS)}"
        raise StudyError(path, reason)

    def fit(phi: jax.Array, y: jax.Array, key: jax.Array) -> Mixture:
        given = dict(options)
        mask = jnp.isfinite(y)
        if gaps:
            y = jnp.where(mask, y, 0)
            given["mask"] = mask
        if start == "truth":
            given["start"] = truth
        elif isinstance(start, str) and checking():  # its shapes are enough
            weights = jnp.full(components, 1 / components, phi.dtype)
            given["start"] = Mixture(jnp.zeros((components, dim), phi.dtype), weights, weights[0])
        elif isinstance(start, str):
            given["start"] = starts.KINDS[start](key, Rows(phi, y, mask.astype(y.dtype)), components)
        facts = {"phi": phi, "y": y, "components": len(truth.weights), "key": key}
        facts = {key: fact for key, fact in facts.items() if key not in options}
        fitted = call(path, function, given, facts)
        estimate = getattr(fitted, "mixture", fitted)
        if not isinstance(estimate, Mixture):
            reason = f"{dotted(path)}.method: {table['method']!r} returns {fitted!r}, which is no Fit"
            raise StudyError((*path, "method"), reason)
        return estimate

    return Batch(fit, tuple(sorted({*map(int, at)})))


def _options(path: Path, table: Mapping[str, Any], truth: Mixture) -> dict[str, Any]:
    """A table's options, with those that are tables themselves made into what they describe."""
    return {
        key: _NESTED[key]((*path, key), value, truth)
        if key in _NESTED and isinstance(value, Mapping)
        else value
        for key, value in table.items()
        if key != "method"
    }


def _mixture_of(path: Path, table: Mapping[str, Any], truth: Mixture) -> Mixture:
    """The Mixture of `{coefficients, weights, noise_variance}`, in the truth's precision."""
    for name in table:
        check_key(path, name, Mixture._fields)
    for name in ("coefficients", "weights"):
        if name not in table:
            raise StudyError(path, f"{dotted((*path, name))} is missing")
    full = {"noise_variance": 1.0, **table}
    with blamed_on(path, f"{dotted(path)}: "):
        xp = namespace(full)  # of NumPy nothing is compiled while a study is read
        leaves = {name: xp.asarray(value, truth.weights.dtype) for name, value in full.items()}
        return Mixture(**leaves).validated()


def _transformation_of(
    path: Path, table: Mapping[str, Any], truth: Mixture
) -> optax.GradientTransformationExtraArgs:
    """The gradient transformation of optax called `name`, with the table's other entries as options."""
    del truth
    if not isinstance(table.get("name"), str):
        raise StudyError(path, f"{dotted(path)}.name must be the name of a gradient transformation of optax")
    check_choice((*path, "name"), table["name"], [name for name in dir(optax) if not name.startswith("_")])
    options = {name: value for name, value in table.items() if name != "name"}
    transformation = call(path, getattr(optax, table["name"]), options)
    if not isinstance(transformation, optax.GradientTransformation):
        reason = f"{dotted(path)}.name: optax.{table['name']} is no gradient transformation"
        raise StudyError((*path, "name"), reason)
    return transformation


_NESTED = {"mixture": _mixture_of, "start": _mixture_of, "transformation": _transformation_of}
