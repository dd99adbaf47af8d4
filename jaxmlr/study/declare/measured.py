"""The metrics of a study: names of this package's, and functions of one's own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxmlr.evaluation import metrics
from jaxmlr.mixture import Mixture
from jaxmlr.study.declare import resolve
from jaxmlr.study.declare.errors import Path, StudyError, blamed_on, check_choice, dotted
from jaxmlr.study.declare.paths import name_of


def names(entries: Sequence[Any]) -> tuple[str, ...]:
    """What the metrics are called: a function of one's own, or "package.module:function", by its own name."""
    return tuple(str(name_of(entry)).rpartition(":")[2].rpartition(".")[2] for entry in entries)


def own(entries: Sequence[Any]) -> dict[str, Callable[[Mixture, Mixture], Any]]:
    """The functions of one's own among the metrics, by name."""
    functions = (resolve.own(("metrics", k), entry) for k, entry in enumerate(entries))
    named = zip(names(entries), functions, strict=True)
    return {name: function for name, function in named if function is not None}


def check(entries: Any) -> None:
    """Raise StudyError unless `entries` is a list of metrics that are told apart by their names."""
    listed = isinstance(entries, list | tuple) and len(entries) > 0
    if not listed or not all(isinstance(entry, str) or callable(entry) for entry in entries):
        reason = f"metrics must be a list of names, not {entries!r}"
        raise StudyError(("metrics",), reason)
    functions = own(entries)
    for entry, name in zip(entries, names(entries), strict=True):
        if name not in functions:
            check_choice(("metrics",), entry, metrics.METRICS)
        elif not name.isidentifier() or name in metrics.METRICS or names(entries).count(name) > 1:
            reason = f"metrics: {name_of(entry)!r} must have a name of its own, not {name!r}"
            raise StudyError(("metrics",), reason)


def check_shapes(
    functions: Mapping[str, Callable[[Mixture, Mixture], Any]], path: Path, estimate: Any, truth: Mixture
) -> None:
    """Raise StudyError unless metrics of one's own make a number of the estimate of the method at `path`."""
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), truth.weights.dtype), (estimate, truth)
    )
    for name, function in functions.items():
        with blamed_on(("metrics",), f"metrics: {name} of {dotted(path)}: "):
            value = jax.eval_shape(lambda *args, f=function: jnp.asarray(f(*args)), *shapes)
            if value.shape != () or not jnp.issubdtype(value.dtype, jnp.number):
                raise ValueError(f"must be one number, not {value.dtype} of shape {value.shape}")
