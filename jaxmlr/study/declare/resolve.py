"""From names and tables to functions: every keyword is checked against the function that takes it."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike

from jaxmlr import _check, registry
from jaxmlr.batch import starts
from jaxmlr.batch.starts.candidates import Data
from jaxmlr.data import disturbances, processes
from jaxmlr.estimator import Estimator
from jaxmlr.mixture import Mixture
from jaxmlr.recursive import averaged

PROCESSES = ("decaying_ar", "gaussian", "ar", "growing", "unexcited", "closed_loop")
DISTURBANCES = ("gaussian", "student_t", "laplace", "skewed", "contaminated", "heteroscedastic")
STARTS = ("truth", *starts.KINDS)

PrefixValues = dict[str, dict[str, jax.Array]]


class Batch(NamedTuple):
    """A batch method of a study."""

    fit: Callable[[jax.Array, jax.Array, jax.Array], Mixture]  # of phi (n, d), y (n,) and a key
    steps: tuple[int, ...]  # n of the prefixes that it is fitted to


def known(path: str, name: str, names: Iterable[str]) -> None:
    """Raise ValueError unless `name` is one of `names`; the message suggests the nearest one."""
    names = sorted(names)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"it must be one of {', '.join(names)}"
    raise ValueError(f"{path}: unknown name {name!r}; {hint}")


def call(path: str, function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Call `function(**options)`; unknown keywords and bad values become errors that name `path`."""
    signature = inspect.signature(function)
    for name in options:
        known(path, name, signature.parameters)
        if name == "mixture" and not isinstance(options[name], Mixture):
            raise ValueError(f"{path}: mixture must be a Mixture, not {options[name]!r}")
        default = signature.parameters[name].default
        if isinstance(default, bool):
            if not isinstance(options[name], bool):
                raise ValueError(f"{path}: {name} must be true or false, not {options[name]!r}")
        elif isinstance(default, int | float) and isinstance(options[name], str | bool | Mapping):
            raise ValueError(f"{path}: {name} must be a number, not {options[name]!r}")
    try:
        return function(**{name: _array(value) for name, value in options.items()})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _array(value: Any) -> Any:
    """Lists of numbers as arrays; everything else as it is."""
    return np.asarray(value, np.float64) if type(value) in (list, tuple) else value


def mixture(coefficients: Any, p: Any, weights: Any, noise_variance: Any, dtype: DTypeLike) -> Mixture:
    """The mixture of a problem: symmetric where p is given, general where weights are."""
    beta = jnp.asarray(coefficients, dtype)
    if weights is None:
        share = jnp.asarray(p, dtype)
        parts = (jnp.stack([beta, -beta]), jnp.stack([share, 1 - share]))
    else:
        parts = (beta, jnp.asarray(weights, dtype))
    return Mixture(*parts, jnp.asarray(noise_variance, dtype)).validated()


def process(table: Mapping[str, Any]) -> processes.Process:
    """The regressor process of `{kind, **parameters}`."""
    made: processes.Process = _of_kind("problem.process", table, processes, PROCESSES)
    return made


def disturbance(table: Mapping[str, Any]) -> disturbances.Disturbance:
    """The law of the noise of `{kind, **parameters}`."""
    made: disturbances.Disturbance = _of_kind("problem.noise", table, disturbances, DISTURBANCES)
    return made


def _of_kind(path: str, table: Mapping[str, Any], module: Any, kinds: tuple[str, ...]) -> Any:
    if "kind" not in table:
        raise ValueError(f"{path}: kind is missing; it must be one of {', '.join(kinds)}")
    known(f"{path}.kind", str(table["kind"]), kinds)
    options = {name: value for name, value in table.items() if name != "kind"}
    return call(path, getattr(module, table["kind"]), options)


def factory(path: str, method: Any) -> Callable[..., Any]:
    """The function behind a method: a registered name, "package.module:function", or the function itself."""
    return registry.find(method, label=f"{path}.method").factory


def estimator(name: str, table: Mapping[str, Any], truth: Mixture) -> Estimator:
    """The method of `{method, **options}`.

    Options named `mixture`, `noise_variance` and `components` that the table leaves out are the problem's
    own. A table for `start` or `mixture` is a Mixture, `{coefficients, weights, noise_variance = 1.0}`; one
    for `transformation` is a function of optax, `{name = "adam", learning_rate = 0.01}`. Any method takes
    `average_after = n`, which makes it `averaged(method, after=n)`.
    """
    path = f"estimators.{name}"
    if "method" not in table:
        raise ValueError(f"{path}: method is missing; it must be one of {', '.join(registry.METHODS)}")
    make = factory(path, table["method"])
    options = _options(path, table, truth)
    after = options.pop("average_after", None)
    facts = {
        "mixture": truth,
        "noise_variance": truth.noise_variance,
        "components": len(truth.weights),
    }
    parameters = inspect.signature(make).parameters
    given = {key: fact for key, fact in facts.items() if key in parameters and key not in options}
    made: Estimator = call(path, functools.partial(make, **given), options)
    if not isinstance(made, Estimator):
        raise ValueError(f"{path}.method: {table['method']!r} returns {made!r}, which is no Estimator")
    if after is None:
        return made
    try:
        return averaged(made, after=after)
    except ValueError as error:
        raise ValueError(f"{path}.average_{error}") from error


def is_batch(path: str, table: Mapping[str, Any]) -> bool:
    """Whether a table's method takes whole data sets: its first two parameters are phi and y."""
    if "method" not in table:
        return False
    return registry.find(table["method"], label=f"{path}.method").kind == "batch"


def batch_method(name: str, table: Mapping[str, Any], truth: Mixture, steps: int) -> Batch:
    """The batch method of `{method, at, **options}`.

    `at` holds the n of the prefixes, only `steps` where it is left out. `components` and `key` are given to a
    method that asks for them. `start` is a Mixture as for `estimator`, or one of `STARTS`.
    """
    path = f"estimators.{name}"
    make = factory(path, table["method"])
    parameters = inspect.signature(make).parameters
    options = _options(path, table, truth)
    at = options.pop("at", [steps])
    if not isinstance(at, list | tuple) or not at:
        raise ValueError(f"{path}.at must be a list of steps, not {at!r}")
    for n in at:
        _check.whole(f"{path}.at", n, at_least=1)
        if n > steps:
            raise ValueError(f"{path}.at must hold steps up to {steps}, not {n}")
    start = options.get("start")
    if isinstance(start, str):
        known(f"{path}.start", start, STARTS)
    elif "start" in parameters and start is None:
        raise ValueError(f"{path}: start is missing; it must be a mixture or one of {', '.join(STARTS)}")

    def fit(phi: jax.Array, y: jax.Array, key: jax.Array) -> Mixture:
        given = dict(options)
        facts = {"components": len(truth.weights), "key": key}
        given |= {k: fact for k, fact in facts.items() if k in parameters and k not in options}
        if start == "truth":
            given["start"] = truth
        elif isinstance(start, str):
            given["start"] = starts.KINDS[start](key, Data(phi, y, jnp.ones_like(y)), len(truth.weights))
        found = call(path, functools.partial(make, phi, y), given)
        mixture = getattr(found, "mixture", found)
        if not isinstance(mixture, Mixture):
            raise ValueError(f"{path}.method: {table['method']!r} returns {found!r}, which is no Fit")
        return mixture

    return Batch(fit, tuple(sorted({*map(int, at)})))


def _options(path: str, table: Mapping[str, Any], truth: Mixture) -> dict[str, Any]:
    """A table's options, with those that are tables themselves made into what they describe."""
    return {
        key: _NESTED[key](f"{path}.{key}", value, truth)
        if key in _NESTED and isinstance(value, Mapping)
        else value
        for key, value in table.items()
        if key != "method"
    }


def _mixture_of(path: str, table: Mapping[str, Any], truth: Mixture) -> Mixture:
    """The Mixture of `{coefficients, weights, noise_variance}`, in the truth's precision."""
    for name in table:
        known(path, name, Mixture._fields)
    for name in ("coefficients", "weights"):
        if name not in table:
            raise ValueError(f"{path}.{name} is missing")
    full = {"noise_variance": 1.0, **table}
    try:
        return Mixture(
            **{name: jnp.asarray(value, truth.weights.dtype) for name, value in full.items()}
        ).validated()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {_first_line(error)}") from error


def _transformation_of(
    path: str, table: Mapping[str, Any], truth: Mixture
) -> optax.GradientTransformationExtraArgs:
    """The gradient transformation of optax called `name`, with the table's other entries as options."""
    del truth
    if not isinstance(table.get("name"), str):
        raise ValueError(f"{path}.name must be the name of a gradient transformation of optax")
    known(f"{path}.name", table["name"], [name for name in dir(optax) if not name.startswith("_")])
    made = call(
        path, getattr(optax, table["name"]), {name: value for name, value in table.items() if name != "name"}
    )
    if not isinstance(made, optax.GradientTransformation):
        raise ValueError(f"{path}.name: optax.{table['name']} is no gradient transformation")
    return made


_NESTED = {"mixture": _mixture_of, "start": _mixture_of, "transformation": _transformation_of}


def state(path: str, made: Estimator, dim: int, dtype: DTypeLike) -> tuple[Any, Mixture]:
    """Shapes of the method's state and mixture for data of this dimension, found without running it."""
    key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
    try:
        start = jax.eval_shape(lambda key: made.init(dim, key, dtype), key)
        return start, jax.eval_shape(made.mixture, start)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {_first_line(error)}") from error


def prefix(path: str, made: Batch, dim: int, dtype: DTypeLike) -> Mixture:
    """Shapes of a batch method's mixture for data of this dimension, found without running it."""
    key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
    n = made.steps[0]
    data = jax.ShapeDtypeStruct((n, dim), dtype), jax.ShapeDtypeStruct((n,), dtype)
    try:
        found: Mixture = jax.eval_shape(made.fit, *data, key)
    except (ValueError, TypeError) as error:
        raise ValueError(_first_line(error)) from error
    return found


def steps(path: str, made: Estimator, start: Any, dim: int, dtype: DTypeLike) -> None:
    """Raise ValueError unless a step of the method keeps the shapes and dtypes of its state."""
    row = jax.ShapeDtypeStruct((dim,), dtype), jax.ShapeDtypeStruct((), dtype)
    try:
        after, _ = jax.eval_shape(made.step, start, row)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {_first_line(error)}") from error
    _same(f"{path}: the state", start, after)


def fits(path: str, made: processes.Process, dim: int, dtype: DTypeLike) -> None:
    """Raise ValueError unless the process draws regressors (dim,) from a state that keeps its shape."""
    phi, number = jax.ShapeDtypeStruct((dim,), dtype), jax.ShapeDtypeStruct((), dtype)
    try:
        start = jax.eval_shape(made.init, phi)
        after, drawn = jax.eval_shape(made.step, start, number, phi)
        if made.observe is not None:
            after = jax.eval_shape(made.observe, after, drawn, number)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {_first_line(error)}") from error
    _same(f"{path}: phi", phi, drawn)
    _same(f"{path}: the state", start, after)


def _same(what: str, expected: Any, found: Any) -> None:
    """Raise ValueError unless two pytrees have the same structure, shapes and dtypes."""
    before, after = (
        [f"{jnp.dtype(leaf.dtype).name}{leaf.shape}" for leaf in jax.tree.leaves(tree)]
        for tree in (expected, found)
    )
    for a, b in zip(before, after, strict=False):
        if a != b:
            raise ValueError(f"{what} must be {a}, not {b}; a parameter has the wrong shape")
    structures: list[Any] = [jax.tree.structure(tree) for tree in (expected, found)]
    if structures[0] != structures[1]:
        raise ValueError(f"{what} must keep its structure")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
