"""What a study is: frozen dataclasses with the names of the TOML file that describes it."""

import dataclasses
import hashlib
import json
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Self

import jax
import numpy as np

from jaxmlr import _check
from jaxmlr.data.simulate import SimulatedRow
from jaxmlr.estimator import Estimator
from jaxmlr.evaluation import diagnostics, metrics
from jaxmlr.study.declare import check, measured, modules, one_trial, resolve, sizes, toml_lines
from jaxmlr.study.declare import grid as grids
from jaxmlr.study.declare.check_grid import check_grid
from jaxmlr.study.declare.errors import StudyError, blamed_on, check_choice, dotted
from jaxmlr.study.declare.one_trial import Trajectory
from jaxmlr.study.declare.paths import (
    beside,
    from_table,
    name_of,
    plain,
    plain_or_same,
    replaced,
    with_field,
)
from jaxmlr.study.declare.problem import Problem
from jaxmlr.study.declare.schedule import log_spaced

SMALL = 10**6  # observations of one method at one grid point
DEFAULT_METRICS = ("coefficient_error", "misclassification", "within_cluster_error")


@dataclasses.dataclass(frozen=True)
class Study:
    """Methods times trials times a grid, on common data.

    Attributes:
      name: what it is called.
      problem: a `Problem`, or a table of its fields.
      estimators: for each name a table `{method, **options}`; the method is a name of `jaxmlr`, or
        "package.module:function" for one's own. Options `noise_variance` and `mixture` that are left out
        are the problem's. Batch methods have a key `at` besides, a list of the steps n: each is fitted
        to the first n observations; left out, to all.
      trials: number of independent trials.
      steps: length of each trial.
      seed: of all noise; trial t sees `simulate(jax.random.key(seed), ..., trial=t)`.
      record: steps at which statistics are kept: a number of log-spaced steps, or a list.
      metrics: names out of `jaxmlr.metrics.METRICS`, or functions of one's own, `f(estimate, truth) -> ()` of
        two mixtures, as "package.module:function" or the function itself; they are called by their name.
      grid: axes, each the path of a number or a choice (`"problem.p"`, `"estimators.seed.gain"`) and its
        values; all combinations are run, on the same noise. See `jaxmlr.study.declare.grid` for ranges, axes
        that go together, and unions.
      reference: name of a method with which all others are compared trial by trial; None compares none.
      until: `{metric, standard_error}`: stop once the metric's standard error at the last recorded step
        is at most so much for every method at every grid point; `trials` is then the most. Decided after
        each block, in their order, so that it does not depend on time.
      keep: every how many-th trial's values at the last recorded step are kept; 0 keeps none.
      block: trials computed together; None chooses by the number of trials. Trials do not depend on
        it; sums over them do, in the last bits.
      precision: "float32" or "float64".
      diagnostics: true adds all of `jaxmlr.diagnostics.METRICS` to the metrics.
      arguments: true makes the seed and floats arguments of the compiled programs, which studies that differ
        in them alone then share, as those of an objective do. Constants may round otherwise in the last bits.

    Raises:
      StudyError: anything is missing, unknown, of the wrong kind or out of range; the error names it.
    """

    name: str
    problem: Problem
    estimators: Mapping[str, Mapping[str, Any]]
    trials: int
    steps: int
    seed: int = 0
    record: int | Sequence[int] = 40
    metrics: Sequence[str] = DEFAULT_METRICS
    grid: Any = dataclasses.field(default_factory=dict)
    block: int | None = None
    precision: str = "float32"
    reference: str | None = None
    until: Mapping[str, Any] | None = None
    keep: int = 0
    diagnostics: bool = False
    arguments: bool = False

    def __post_init__(self) -> None:
        """Turn tables into dataclasses and arrays into lists, and check everything."""
        for name in ("trials", "steps", "seed", "record", "block", "metrics", "grid", "keep"):
            object.__setattr__(self, name, plain_or_same(getattr(self, name)))
        if not isinstance(self.problem, Mapping | Problem):
            raise StudyError(("problem",), f"problem must be a table, not {self.problem!r}")
        declared = self.problem if isinstance(self.problem, Mapping) else vars(self.problem)
        coefficients = plain_or_same(declared.get("coefficients"))
        sizes.check(self.record, self.block, coefficients, self.grid, self.estimators, self.metrics)
        if isinstance(self.problem, Mapping):
            object.__setattr__(self, "problem", from_table(("problem",), Problem, self.problem))
        self._check_fields()
        check.check_record(self.record, self.steps)
        self._check_metrics()
        with jax.enable_x64(self.precision == "float64"):
            self._check_estimators()
            check_grid(self)
        check.check_length(self.problem.regressors(), self.steps, self.trials)
        if self.reference is not None:
            check_choice(("reference",), self.reference, self.estimators)
        check.check_until(self.until, self.metric_names)

    def _check_fields(self) -> None:
        if not isinstance(self.name, str) or not self.name or {*self.name} & {"/", "\\"}:
            reason = f"name must be a text that can name a file, not {self.name!r}"
            raise StudyError(("name",), reason)
        least = {"trials": 1, "steps": 1, "seed": 0, "keep": 0} | ({} if self.block is None else {"block": 1})
        for name, at_least in least.items():
            with blamed_on((name,)):
                _check.whole(name, getattr(self, name), at_least=at_least)
        for name, limit in (("trials", 2**31), ("steps", 2**31 - 1), ("seed", 2**32)):
            if getattr(self, name) >= limit:
                raise StudyError((name,), f"{name} must be less than {limit}, not {getattr(self, name)}")
        with blamed_on(("precision",)):
            _check.choice("precision", self.precision, ("float32", "float64"))

    def _check_metrics(self) -> None:
        measured.check(self.metrics)
        for flag in ("diagnostics", "arguments"):
            if not isinstance(value := getattr(self, flag), bool):
                raise StudyError((flag,), f"{flag} must be true or false, not {value!r}")
        if self.diagnostics:
            object.__setattr__(self, "metrics", tuple(dict.fromkeys((*self.metrics, *diagnostics.METRICS))))

    def _check_estimators(self) -> None:
        if not isinstance(self.estimators, Mapping) or not self.estimators:
            raise StudyError(("estimators",), "estimators must be a table with at least one method")
        truth, own = self.problem.mixture(self.precision, np), measured.own(self.metrics)
        for name, table in self.estimators.items():
            if not isinstance(name, str) or not name or name.startswith("<"):
                reason = f"estimators: a name must be a text and not begin with '<', not {name!r}"
                raise StudyError(("estimators",), reason)
            path = ("estimators", name)
            if not isinstance(table, Mapping):
                raise StudyError(path, f"estimators.{name} must be a table with a method, not {table!r}")
            gaps = self.problem.gaps
            estimate = check.check_method(name, table, truth, self.steps, self.precision, gaps=gaps)
            measured.check_shapes(own, path, estimate, truth)
        components = len(truth.weights)
        for metric in (metrics.METRICS[name] for name in self.metrics if name in metrics.METRICS):
            reason = ""
            if metric.matched and components > metrics.MOST_COMPONENTS:
                reason = f"takes at most {metrics.MOST_COMPONENTS} components, the problem has {components}"
            elif metric.of_labels and self.problem.regressors().components == 0:
                reason = "needs labels of the recording"
            elif metric.components not in (None, components):
                reason = f"is defined for {metric.components} components, the problem has {components}"
            if reason:
                raise StudyError(("metrics",), f"metrics: {metric.name} {reason}")

    @classmethod
    def from_toml(cls, path: str | FilePath, overrides: Mapping[str, Any] | None = None) -> Self:
        """Read a study.

        Args:
          path: of a TOML file.
          overrides: values that replace those of the file, by path: `{"problem.p": 0.7}`.

        Raises:
          OSError: the file cannot be read.
          StudyError: it is not TOML, or not a study; the error names the line.
        """
        try:
            text = FilePath(path).read_text(encoding="utf-8")
            table = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StudyError((), f"{path} is not TOML: {error}") from error
        changed = overrides or {}
        try:
            axes = {axis for axis, _, _ in grids.paths(table.get("grid", {}))}
            for key, value in changed.items():
                if key in axes:
                    reason = f"{key} is an axis of the grid; set grid.{key} to a list instead"
                    raise StudyError((key,), reason)
                keys = key.split(".")
                if keys[0] == "grid" and keys[1:2] not in ([], ["zip"]):
                    keys = ["grid", ".".join(keys[1:])]  # an axis, which may be a new one
                table = replaced({"grid": {}, **table}, keys, value, key)
            modules.admit(table, FilePath(path).parent)
            return from_table((), cls, beside(table, FilePath(path).parent))
        except StudyError as error:
            line = toml_lines.line_of(text, error.path)
            if line is None or any(f"{dotted(error.path)}.".startswith(f"{key}.") for key in changed):
                raise
            raise StudyError(error.path, error.reason, f"{path}, line {line}") from error

    def to_table(self) -> dict[str, Any]:
        """Plain nested dictionaries, as a TOML file has them; absent values are left out."""
        table = dataclasses.asdict(self)
        table["arguments"] = self.arguments or None
        table["problem"] = {k: v for k, v in table["problem"].items() if v is not None}
        table["estimators"] = {
            name: {key: name_of(value) for key, value in options.items()}
            for name, options in self.estimators.items()
        }
        written: dict[str, Any] = json.loads(json.dumps(table, default=plain))
        return {key: value for key, value in written.items() if value is not None}

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The study's functions that are not this package's, by the path of the key that names each."""
        tables: list[tuple[str, Any]] = [
            ("problem.process", self.problem.process),
            ("problem.noise", self.problem.noise),
            *((f"problem.{name}", getattr(self.problem, name)) for name in ("drift", "labels")),
        ]
        for path, declared, _ in grids.paths(self.grid):
            tables += [(f"{path} {value}", value) for value in grids.values(path, declared)]
        named = {f"{path}.kind": table.get("kind") for path, table in tables if isinstance(table, Mapping)}
        named |= {f"estimators.{name}.method": table["method"] for name, table in self.estimators.items()}
        named |= {f"metrics.{name}": function for name, function in measured.own(self.metrics).items()}
        own = {path: resolve.own((path,), function) for path, function in named.items()}
        return {path: function for path, function in own.items() if function is not None}

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What the metrics are called, in their order."""
        return measured.names(self.metrics)

    @property
    def recorded(self) -> np.ndarray:
        """The recorded steps, increasing, int64: those of `record` and the prefixes of batch methods.

        The last step is always among log-spaced ones.
        """
        streamed = log_spaced(self.record, self.steps) if isinstance(self.record, int) else self.record
        extra = [n for name in self.batch for n in self.make_batch(name).steps]
        return np.unique(np.asarray([*streamed, *extra], np.int64))

    @property
    def block_size(self) -> int:
        """Trials computed together, unless `block` says otherwise.

        An eighth of them, from 64 to 1,024; all, up to 1,024, where they are computed faster than a second
        device compiles.
        """
        if self.block is not None:
            return min(self.block, self.trials)
        if self.trials <= 1024 and self.trials * self.steps <= SMALL:
            return self.trials
        return min(self.trials, max(64, min(1024, 32 * math.ceil(self.trials / 256))))

    @property
    def blocks(self) -> int:
        """How many blocks the trials fill, the last one perhaps in part."""
        return -(-self.trials // self.block_size)

    @property
    def axes(self) -> list[grids.Axis]:
        """The dimensions of the grid."""
        return grids.axes(self.grid)

    @property
    def size(self) -> int:
        """The number of grid points, 1 without a grid."""
        return math.prod(len(axis) for axis in self.axes)

    @property
    def points(self) -> dict[str, list[Any]]:
        """All combinations of the grid's values, one list of a value a point for each path."""
        return grids.points(self.axes)

    def at(self, point: Mapping[str, Any]) -> Self:
        """This study without its grid, with what is at the given paths replaced, perhaps by traced values."""
        study = with_field(self, grid={})
        for path, value in point.items():
            study = replaced(study, path.split("."), value, path, existing=True)
        return study

    @property
    def batch(self) -> tuple[str, ...]:
        """Names of the batch methods."""
        tables = self.estimators.items()
        return tuple(name for name, table in tables if resolve.is_batch(name, table))

    @property
    def recursive(self) -> tuple[str, ...]:
        """Names of the recursive methods."""
        batch = self.batch
        return tuple(name for name in self.estimators if name not in batch)

    def make(self, name: str, options: Mapping[str, Any] | None = None) -> Estimator:
        """The recursive method called `name`, with options replaced by path."""
        return resolve.estimator(name, self._table(name, options), self.problem.mixture(self.precision))

    def make_batch(self, name: str, options: Mapping[str, Any] | None = None) -> resolve.Batch:
        """The batch method called `name`, with options replaced by path."""
        truth = self.problem.mixture(self.precision)
        table, gaps = self._table(name, options), self.problem.gaps
        return resolve.batch_method(name, table, truth, self.steps, gaps=gaps)

    def _table(self, name: str, options: Mapping[str, Any] | None) -> Any:
        table: Any = self.estimators[name]
        for path, value in (options or {}).items():
            keys = path.removeprefix(f"estimators.{name}.").split(".")
            table = replaced(table, keys, value, path, existing=True)
        return table

    def data(self, trial: int, **point: Any) -> SimulatedRow:
        """The data of one trial, as its methods see them, of NumPy arrays.

        Args:
          trial: its index, from 0.
          **point: values of the grid's axes by path, `**{"problem.p": 0.6}`.

        Returns:
          (phi (n, d), y (n,), label (n,)); y may differ from a run's in its last bit, as one program rounds
          a product and a sum together and another does not.

        Raises:
          StudyError: no such trial, or an axis whose value is missing or impossible.
        """
        return one_trial.data(self, trial, point)

    def trajectory(self, trial: int, method: str, **point: Any) -> Trajectory:
        """The estimates of one method along one trial.

        Args:
          trial: its index, from 0.
          method: name of an estimator of the study.
          **point: as in `data`.

        Returns:
          A Trajectory: a recursive method's estimates after every observation, a batch method's to the
          prefixes that it is fitted to.

        Raises:
          StudyError: as `data`, or no such method.
        """
        return one_trial.trajectory(self, trial, method, point)

    def fingerprint(self, but: Sequence[str] = ()) -> str:
        """A digest of everything that the results depend on but versions, devices and the fields `but`."""
        # The order of axes and of methods is the order of the results; that of options is nothing.
        ordered = [[(axis.name, axis.columns) for axis in self.axes], list(self.estimators)]
        table = {name: value for name, value in self.to_table().items() if name not in but}
        text = json.dumps([table, ordered, self.block_size], sort_keys=True, default=plain)
        return hashlib.sha256(text.encode()).hexdigest()
