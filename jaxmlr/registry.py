"""Every method, once: one record, from which studies, tables, scikit-learn, river, tests and docs take it.

To add a method write one file in `jaxmlr/recursive` (a function that returns an `Estimator`) or in
`jaxmlr/batch` (a function of `phi` and `y` that returns a `Fit`), import the function here and give it one
`Method` below. A method of one's own needs no record: wherever a name is taken, so is
"package.module:function".
"""

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from jaxmlr import batch, recursive
from jaxmlr.mixture import Mixture, symmetric

RECOMMENDED = {
    "symmetric": "fisher_scoring",
    "lines": "natural_gradient",
}  # for [beta, -beta]; for any K lines


class Method(NamedTuple):
    """What is known of a method.

    Fields:
      factory: makes the `Estimator` of a recursive method; fits a batch method to (phi, y).
      colour: of the method in every picture, told from the others by all kinds of colour vision.
      needs: what must be known to use it, in a few words.
      gives: what it estimates, in a line.
      use_when: when to take it rather than another, in a line.
      components: the number of components, None where it is free.
      symmetric: whether its components are beta and -beta; None where that is not known.
      any_units: whether regressors of any location and spread are as good as standardised ones.
      table_options: keyword arguments that differ from the factory's defaults when a table is fitted.
      example: a small case for tests, with two regressors: `example()` is an `Estimator` of a recursive
        method, `example(phi, y, key)` a `Fit` of two components of a batch method. None: `factory` as it is.
    """

    factory: Callable[..., Any]
    colour: str | None = None
    needs: str = ""
    gives: str = ""
    use_when: str = ""
    components: int | None = None
    symmetric: bool | None = False
    any_units: bool = False
    table_options: Mapping[str, Any] = {}
    example: Callable[..., Any] | None = None

    @property
    def name(self) -> str:
        """The name of the factory, by which the method is called."""
        return str(getattr(self.factory, "__name__", self.factory))

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the factory; none where Python does not know them."""
        try:
            return inspect.signature(self.factory).parameters
        except (TypeError, ValueError):
            return {}

    @property
    def kind(self) -> str:
        """Either "batch", where the factory's first two parameters are `phi` and `y`, or "recursive"."""
        return "batch" if list(self.parameters)[:2] == ["phi", "y"] else "recursive"

    @property
    def missing(self) -> tuple[str, ...]:
        """Required arguments that rows and a number of components do not give: the truth, or a start."""
        given = ("phi", "y", "components", "key", "start") if self.kind == "batch" else ("components",)
        fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return tuple(
            name
            for name, parameter in self.parameters.items()
            if name not in given and parameter.default is parameter.empty and parameter.kind not in fixed
        )


def _lines() -> Mixture:
    """Two lines that differ, the start of examples."""
    return Mixture(jnp.array([[1.0, 0.5], [-0.5, 0.2]]), jnp.array([0.6, 0.4]), jnp.array([1.0, 2.0]))


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(
            recursive.two_step,
            colour="#0072B2",
            needs="sigma^2; p not 1/2",
            gives="beta and q of the symmetric model; global, also without persistent excitation",
            use_when="two opposite lines, sigma^2 known, p away from 1/2, excitation that may die out",
            components=2,
            symmetric=True,
        ),
        Method(
            recursive.fisher_scoring,
            colour="#D55E00",
            needs="nothing: p (1/2 included), sigma^2 and start unknown",
            gives="the symmetric model, near the Cramer-Rao bound from a cold start",
            use_when="two opposite lines, one row at a time, nothing known",
            components=2,
            symmetric=True,
            example=lambda: recursive.fisher_scoring(burn_in=20),
        ),
        Method(
            recursive.second_moment,
            colour="#CC79A7",
            needs="nothing",
            gives="the symmetric model from second moments; global, not efficient",
            use_when="two opposite lines, in the first hundred observations",
            components=2,
            symmetric=True,
        ),
        Method(
            recursive.symmetric_em,
            colour="#009E73",
            needs="sigma^2 and p, or starts for them",
            gives="the symmetric model; local",
            use_when="two opposite lines, with a start, or lines that drift",
            components=2,
            symmetric=True,
            table_options={"learn_weights": True, "learn_variance": True},
        ),
        Method(
            recursive.midpoint_em,
            colour="#882255",
            needs="sigma^2, or a start for it",
            gives="two lines with equal weights, as midpoint and difference",
            use_when="two lines that are equally frequent",
            components=2,
            table_options={"learn_variance": True},
        ),
        Method(
            recursive.natural_gradient,
            colour="#117733",
            needs="K",
            gives="K lines from a cold start: EM on the first rows, then the natural gradient; near batch EM",
            use_when="K lines, one row at a time, nothing known",
            any_units=True,
            example=lambda: recursive.natural_gradient(2, buffer=16),
        ),
        Method(
            recursive.multistart_em,
            colour="#332288",
            needs="K",
            gives="K lines from a cold start: the best of several `recursive_em`",
            use_when="K lines, one row at a time, no row kept, lines that are about equally frequent",
            example=lambda: recursive.multistart_em(3, candidates=3, burn_in=10, search=30),
        ),
        Method(
            recursive.recursive_em,
            colour="#E69F00",
            needs="K; starts where known",
            gives="K lines, weights and variances; local",
            use_when="K lines, one row at a time, with a start, or lines that drift",
            table_options={"learn_variance": True},
            example=lambda: recursive.recursive_em(3, gain="em"),
        ),
        Method(
            recursive.online_em,
            colour="#56B4E9",
            needs="a start",
            gives="K lines by the running statistics of Cappe and Moulines (2009)",
            use_when="K lines, with a start, as a standard of comparison",
            example=lambda: recursive.online_em(_lines()),
        ),
        Method(
            recursive.online_gradient,
            colour="#999933",
            needs="a start, a transformation of optax",
            gives="K lines by stochastic gradient",
            use_when="a step size or an optimiser of your own is the question",
            example=lambda: recursive.online_gradient(
                optax.adam(1e-2), _lines(), learn_weights=True, learn_variance=True
            ),
        ),
        Method(
            recursive.least_squares,
            colour="#888888",
            needs="nothing",
            gives="one line, weighted or with forgetting; (2p - 1) beta of the symmetric model",
            use_when="a single line, or a baseline",
            components=1,
            table_options={"form": "information"},
        ),
        Method(
            recursive.oracle,
            colour="#000000",
            needs="the truth",
            gives="the labels that nobody can beat by the nearest-line rule",
            use_when="in simulations, as the limit",
            example=lambda: recursive.oracle(symmetric(jnp.array([1.0, -1.5]), 0.7)),
        ),
        Method(
            batch.fit,
            colour="#661100",
            needs="K",
            gives="the best of many starts of several kinds by EM; spurious optima refused",
            use_when="K lines, all rows at once",
            example=lambda phi, y, key: batch.fit(
                phi, y, 2, key, starts={"spread_lines": 4}, finalists=2, max_iterations=50
            ),
        ),
        Method(
            batch.em,
            colour="#AA4499",
            needs="a start",
            gives="the maximum of the likelihood that EM climbs to from one start",
            use_when="a good start is known, or gross errors are (`outlier_density`)",
            example=lambda phi, y, key: batch.em(phi, y, _lines(), max_iterations=50),
        ),
        Method(
            batch.hard_em,
            colour="#44AA99",
            needs="a start",
            gives="labels and lines in turn (alternating minimisation); not consistent",
            use_when="lines that hardly overlap, or as a standard of comparison",
            example=lambda phi, y, key: batch.hard_em(phi, y, _lines(), max_iterations=50),
        ),
        Method(
            batch.gradient,
            colour="#6699CC",
            needs="a start",
            gives="a maximum of the likelihood by any transformation of optax",
            use_when="an optimiser of your own is the question",
            example=lambda phi, y, key: batch.gradient(phi, y, _lines(), max_iterations=50),
        ),
    )
}
RECURSIVE = tuple(name for name, method in METHODS.items() if method.kind == "recursive")
COLOURS = {name: method.colour for name, method in METHODS.items() if method.colour}
BATCH = tuple(name for name, method in METHODS.items() if method.kind == "batch")


def find(method: Any, *, kind: str | None = None, label: str = "method") -> Method:
    """The record of a method.

    A method that is not registered gets a record of its own: it is a batch method where its first two
    parameters are `phi` and `y`, else a recursive one; it gets `components` and the like where it has
    parameters of these names.

    Args:
      method: a registered name, "package.module:function", or the function itself.
      kind: "recursive" or "batch" where only one of them will do, else None.
      label: what messages call the argument.

    Raises:
      ValueError: an unknown name, a function that cannot be imported, or one of the other kind.
    """
    if isinstance(method, str) and ":" not in method:
        names = {"recursive": RECURSIVE, "batch": BATCH, None: tuple(METHODS)}[kind]
        if method not in METHODS:
            near = difflib.get_close_matches(method, names, n=1, cutoff=0.5)
            wanted = f"it must be one of {', '.join(names)}, or 'package.module:function'"
            hint = f"did you mean {near[0]!r}?" if near else wanted
            raise ValueError(f"{label}: unknown name {method!r}; {hint}")
        record = METHODS[method]
    elif isinstance(method, str):
        record = Method(imported(method, label), symmetric=None)
    elif callable(method):
        record = Method(method, symmetric=None)
    else:
        raise ValueError(f"{label} must be a name or a function, not {method!r}")
    if kind is not None and record.kind != kind:
        wanted = ", ".join(RECURSIVE if kind == "recursive" else BATCH)
        raise ValueError(f"{label}: {method!r} is a {record.kind} method, not a {kind} one such as {wanted}")
    return record


def imported(path: str, label: str) -> Callable[..., Any]:
    """The function of "package.module:function".

    Raises:
      ValueError: it cannot be imported, or is no function.
    """
    module, _, name = path.partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever the module does when it is imported
        raise ValueError(f"{label}: cannot import {path!r}: {error}") from error
    if not callable(function):
        raise ValueError(f"{label}: {path!r} is not a function")
    return function


def markdown(kind: str) -> str:
    """A Markdown table of the registered methods of a kind: name, what it needs, what it gives, when to use.

    Args:
      kind: "recursive" or "batch".
    """
    rows = ["| method | needs | gives | use when |", "|---|---|---|---|"]
    for method in METHODS.values():
        if method.kind == kind:
            rows.append(f"| `{method.name}` | {method.needs} | {method.gives} | {method.use_when} |")
    return "\n".join(rows)
