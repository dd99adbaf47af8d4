"""Whether the parts of a study fit together: shapes are found by tracing, and nothing is computed."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxmlr import _check
from jaxmlr._xla.jit import Reached, checks_only
from jaxmlr.data.drifts import Drift
from jaxmlr.data.labels import LabelModel
from jaxmlr.data.processes import Process
from jaxmlr.estimator import Estimator
from jaxmlr.mixture import Mixture
from jaxmlr.study.declare import resolve
from jaxmlr.study.declare.errors import Path, StudyError, blamed_on, check_choice, dotted, narrowed
from jaxmlr.study.declare.paths import check_numbers


def check_method(
    name: str,
    table: Mapping[str, Any],
    truth: Mixture,
    steps: int,
    dtype: DTypeLike,
    *,
    gaps: bool = False,
) -> Mixture:
    """Raise StudyError unless a method of a study fits data of the truth; else the shapes of its estimate.

    Tests hold the methods of this package to their shapes, so only their arguments are checked. A method of
    one's own is traced as a whole. A batch method's estimate is taken to be like the truth.
    """
    path: Path = ("estimators", name)
    own = not isinstance(table.get("method"), str) or ":" in table["method"]
    dim = truth.coefficients.shape[1]

    def check(table: Mapping[str, Any]) -> Mixture:
        if resolve.is_batch(name, table):
            batch = resolve.batch_method(name, table, truth, steps, gaps=gaps)
            check_batch(path, batch, dim, dtype, arguments_only=not own)
            return truth
        method = resolve.estimator(name, table, truth)
        state, estimate = check_state(path, method, dim, dtype)
        if own:
            check_steps(path, method, state, dim, dtype)
        return estimate

    estimate: Mixture = narrowed(path, table, check)
    return estimate


def check_state(path: Path, method: Estimator, dim: int, dtype: DTypeLike) -> tuple[Any, Mixture]:
    """Shapes of the method's state and mixture for data of this dimension."""
    with blamed_on(path, f"{dotted(path)}: "):
        state = jax.eval_shape(lambda key: method.init(dim, key, dtype), _key())
        estimate = jax.eval_shape(method.mixture, state)
    if estimate.coefficients.shape[1:] != (dim,):
        shape = estimate.coefficients.shape
        raise StudyError(path, f"{dotted(path)}: its mixture must have d = {dim}, not coefficients {shape}")
    return state, estimate


def check_steps(path: Path, method: Estimator, state: Any, dim: int, dtype: DTypeLike) -> None:
    """Raise StudyError unless a step of the method keeps the shapes and dtypes of its state."""
    row = jax.ShapeDtypeStruct((dim,), dtype), jax.ShapeDtypeStruct((), dtype)
    with blamed_on(path, f"{dotted(path)}: "):
        after, _ = jax.eval_shape(method.step, state, row)
    _check_same(path, "the state", state, after)


def check_batch(
    path: Path, method: resolve.Batch, dim: int, dtype: DTypeLike, *, arguments_only: bool = False
) -> None:
    """Raise StudyError unless a batch method takes data of this dimension."""
    n = method.steps[0]
    data = jax.ShapeDtypeStruct((n, dim), dtype), jax.ShapeDtypeStruct((n,), dtype)
    with blamed_on(path, f"{dotted(path)}: "):
        if not arguments_only:
            jax.eval_shape(method.fit, *data, _key())
            return
        try:
            with checks_only():
                jax.eval_shape(method.fit, *data, _key())
        except Reached:
            return


def check_process(path: Path, table: Mapping[str, Any], dim: int, dtype: DTypeLike) -> None:
    """Raise StudyError unless the process draws regressors (dim,) from a state that keeps its shape."""
    phi, number = jax.ShapeDtypeStruct((dim,), dtype), jax.ShapeDtypeStruct((), dtype)

    def check(table: Mapping[str, Any]) -> None:
        process = resolve.process(table)
        with blamed_on(path, f"{dotted(path)}: "):
            state = jax.eval_shape(process.init, phi)
            after, drawn = jax.eval_shape(process.step, state, number, phi)
            if process.observe is not None:
                after = jax.eval_shape(process.observe, after, drawn, number)
        _check_same(path, "phi", phi, drawn)
        _check_same(path, "the state", state, after)

    narrowed(path, table, check)


def check_drift(path: Path, drift: Drift, truth: Mixture) -> None:
    """Raise StudyError unless a drift makes coefficients of coefficients (K, d)."""
    number = jax.ShapeDtypeStruct((), truth.coefficients.dtype)
    with blamed_on(path, f"{dotted(path)}: "):
        drifted = jax.eval_shape(drift.coefficients, truth.coefficients, number)
    _check_same(path, "the coefficients", truth.coefficients, drifted)


def check_labels(path: Path, law: LabelModel, dim: int, dtype: DTypeLike) -> None:
    """Raise StudyError unless a law of labels draws int32 labels from a state that keeps its shape."""
    phi, number = jax.ShapeDtypeStruct((dim,), dtype), jax.ShapeDtypeStruct((), dtype)
    with blamed_on(path, f"{dotted(path)}: "):
        state = jax.eval_shape(law.init, number)
        after, label = jax.eval_shape(law.draw, state, phi, number)
    _check_same(path, "the label", jax.ShapeDtypeStruct((), jnp.int32), label)
    _check_same(path, "the state", state, after)


def check_length(process: Process, steps: int, trials: int) -> None:
    """Raise StudyError unless a process has as many steps and trials as are asked for."""
    for name, asked, most in (("steps", steps, process.steps), ("trials", trials, process.trials)):
        if most is not None and asked > most:
            raise StudyError((name,), f"{name} must be at most {most}, those of the recording, not {asked}")


def check_record(record: Any, steps: int) -> None:
    """Raise StudyError unless `record` is a number of steps, or a list of steps of a trial."""
    listed = isinstance(record, Sequence) and not isinstance(record, str) and len(record)
    for k, step in enumerate(record if listed else [record]):
        path: Path = ("record", k) if listed else ("record",)
        with blamed_on(path):
            _check.whole("record", step, at_least=1)
        if listed and step > steps:
            raise StudyError(path, f"record must hold steps up to {steps}, not {step}")


def check_until(until: Any, metrics: Sequence[str]) -> None:
    """Raise StudyError unless `until` is None, or a table of one of the metrics and a standard error."""
    if until is None:
        return
    if not isinstance(until, Mapping) or {*until} != {"metric", "standard_error"}:
        raise StudyError(
            ("until",),
            f"until must be a table of a metric and a standard_error, such as"
            f' {{ metric = "{metrics[0]}", standard_error = 0.001 }}, not {until!r}',
        )
    check_choice(("until", "metric"), until["metric"], metrics)
    path = ("until", "standard_error")
    check_numbers(path, until["standard_error"], scalar=True)
    with blamed_on(path):
        _check.number("until.standard_error", until["standard_error"], above=0)


def _check_same(path: Path, what: str, expected: Any, traced: Any) -> None:
    """Raise StudyError unless two pytrees have the same structure, shapes and dtypes."""
    before, after = (
        [f"{jnp.dtype(leaf.dtype).name}{leaf.shape}" for leaf in jax.tree.leaves(tree)]
        for tree in (expected, traced)
    )
    label = f"{dotted(path)}: {what}"
    for a, b in zip(before, after, strict=False):
        if a != b:
            raise StudyError(path, f"{label} must be {a}, not {b}; a parameter has the wrong shape")
    structures: list[Any] = [jax.tree.structure(tree) for tree in (expected, traced)]
    if structures[0] != structures[1]:
        raise StudyError(path, f"{label} must keep its structure")


@functools.cache
def _key() -> jax.ShapeDtypeStruct:
    """The shape of a key, as methods get it."""
    key: jax.ShapeDtypeStruct = jax.eval_shape(jax.random.key, 0)
    return key
