"""What a study is: frozen dataclasses with the names of the TOML file that describes it."""

import dataclasses
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

from jaxmlr import _check
from jaxmlr.estimator import Estimator
from jaxmlr.evaluation import diagnostics, metrics
from jaxmlr.study.declare import grid as grids
from jaxmlr.study.declare import resolve, toml_lines
from jaxmlr.study.declare.paths import from_table, name_of, numbers, plain, plain_or_same, replaced
from jaxmlr.study.declare.problem import Problem

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
      metrics: names out of `jaxmlr.metrics.METRICS`.
      grid: axes, each the path of a number or a choice (`"problem.p"`, `"estimators.seed.gain"`) and its
        values; all combinations are run, on the same noise. See `jaxmlr.study.grid` for ranges, axes
        that go together, and unions.
      reference: name of a method with which all others are compared trial by trial; None compares none.
      until: `{metric, standard_error}`: stop once the metric's standard error at the last recorded step
        is at most so much for every method at every grid point; `trials` is then the most. Decided after
        each block, in their order, so that it does not depend on time.
      keep: every how many-th trial's values at the last recorded step are kept; 0 keeps none.
      block: trials computed together; None chooses by the number of trials. It is part of the results.
      precision: "float32" or "float64".
      diagnostics: true adds all of `jaxmlr.diagnostics.METRICS` to the metrics.

    Raises:
      ValueError: anything is missing, unknown, of the wrong kind or out of range; the message names it.
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

    def __post_init__(self) -> None:
        """Turn tables into dataclasses and arrays into lists, and check everything."""
        for name in ("trials", "steps", "seed", "record", "block", "metrics", "grid", "keep"):
            object.__setattr__(self, name, plain_or_same(getattr(self, name)))
        if isinstance(self.problem, Mapping):
            object.__setattr__(self, "problem", from_table("problem", Problem, self.problem))
        if not isinstance(self.problem, Problem):
            raise ValueError(f"problem must be a table, not {self.problem!r}")
        if not isinstance(self.name, str) or not self.name or {*self.name} & {"/", "\\"}:
            raise ValueError(f"name must be a text that can name a file, not {self.name!r}")
        _check.whole("trials", self.trials, at_least=1)
        _check.whole("steps", self.steps, at_least=1)
        _check.whole("seed", self.seed, at_least=0)
        if self.block is not None:
            _check.whole("block", self.block, at_least=1)
        for name, limit in (("trials", 2**31), ("steps", 2**31 - 1), ("seed", 2**32)):
            if getattr(self, name) >= limit:
                raise ValueError(f"{name} must be less than {limit}, not {getattr(self, name)}")
        _check.choice("precision", self.precision, ("float32", "float64"))
        self._check_record()
        names = self.metrics
        if not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) for n in names):
            raise ValueError(f"metrics must be a list of names, not {names!r}")
        for name in self.metrics:
            resolve.known("metrics", name, metrics.METRICS)
        if not isinstance(self.diagnostics, bool):
            raise ValueError(f"diagnostics must be true or false, not {self.diagnostics!r}")
        if self.diagnostics:
            names = tuple(dict.fromkeys((*names, *diagnostics.METRICS)))
            object.__setattr__(self, "metrics", names)
        with jax.enable_x64(self.precision == "float64"):
            self._check_estimators()
        self._check_grid()
        self._check_comparisons()

    def _check_record(self) -> None:
        if isinstance(self.record, Sequence) and not isinstance(self.record, str) and len(self.record):
            for step in self.record:
                _check.whole("record", step, at_least=1)
                if step > self.steps:
                    raise ValueError(f"record must hold steps up to {self.steps}, not {step}")
        else:
            _check.whole("record", self.record, at_least=1)

    def _check_estimators(self) -> None:
        if not isinstance(self.estimators, Mapping) or not self.estimators:
            raise ValueError("estimators must be a table with at least one method")
        truth = self.problem.mixture(self.precision)
        for name, table in self.estimators.items():
            if not isinstance(name, str) or not name or name.startswith("<"):
                raise ValueError(f"estimators: a name must be a text and not begin with '<', not {name!r}")
            if not isinstance(table, Mapping):
                raise ValueError(f"estimators.{name} must be a table with a method, not {table!r}")
            path, data = f"estimators.{name}", (self.problem.dim, self.precision)
            if resolve.is_batch(path, table):
                found = resolve.prefix(path, self.make_batch(name), *data)
            else:
                made = resolve.estimator(name, table, truth)
                start, found = resolve.state(path, made, *data)
                resolve.steps(path, made, start, *data)
            if found.coefficients.shape != truth.coefficients.shape:
                raise ValueError(
                    f"{path}: {table['method']} estimates {found.coefficients.shape[0]}"
                    f" components, the problem has {truth.coefficients.shape[0]}"
                )
        components = len(truth.weights)
        if components > metrics.MOST_COMPONENTS and {*self.metrics} - {"within_cluster_error"}:
            raise ValueError(
                f"metrics: only within_cluster_error takes more than {metrics.MOST_COMPONENTS} components,"
                f" the problem has {components}"
            )
        if "scale" in self.metrics and truth.weights.shape != (2,):
            raise ValueError(
                f"metrics: scale is defined for 2 components, the problem has {len(truth.weights)}"
            )

    def _check_grid(self) -> None:
        for path, declared in grids.paths(self.grid):
            if path.partition(".")[0] not in ("problem", "estimators"):
                raise ValueError(f"grid: {path} is neither a number of the problem nor a method's option")
            values = grids.values(path, declared)
            for value in values:
                try:
                    self.at({path: value})
                except ValueError as error:
                    text = str(error)
                    raise ValueError(text if text.startswith("grid: ") else f"grid: {text}") from error
        for axis in self.axes:
            columns = {path: [repr(value) for value in column] for path, column in axis.columns.items()}
            if len(grids.distinct(columns, len(axis))[0]) < len(axis):
                raise ValueError(f"grid: {axis.name} must not repeat a value: {axis.columns[axis.name]}")

    def _check_comparisons(self) -> None:
        _check.whole("keep", self.keep, at_least=0)
        if self.reference is not None:
            resolve.known("reference", str(self.reference), self.estimators)
        if self.until is None:
            return
        if not isinstance(self.until, Mapping) or {*self.until} != {"metric", "standard_error"}:
            raise ValueError(
                f"until must be a table of a metric and a standard_error, such as"
                f' {{ metric = "{self.metrics[0]}", standard_error = 0.001 }}, not {self.until!r}'
            )
        resolve.known("until.metric", str(self.until["metric"]), self.metrics)
        numbers("until.standard_error", self.until["standard_error"], scalar=True)
        _check.number("until.standard_error", self.until["standard_error"], above=0)

    @classmethod
    def from_toml(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> Self:
        """Read a study.

        Args:
          path: of a TOML file.
          overrides: values that replace those of the file, by path: `{"problem.p": 0.7}`.

        Raises:
          OSError: the file cannot be read.
          ValueError: it is not TOML, or not a study.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
            table = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not TOML: {error}") from error
        try:
            axes = dict(grids.paths(table.get("grid", {})))
            for key, value in (overrides or {}).items():
                if key in axes:
                    raise ValueError(f"{key} is an axis of the grid; set grid.{key} to a list instead")
                table = replaced(table, key.split("."), value, key)
            return from_table("study", cls, table)
        except ValueError as error:
            line = toml_lines.line_of(text, str(error))
            if line is None:
                raise
            raise ValueError(f"{error} ({path}, line {line})") from error

    def to_table(self) -> dict[str, Any]:
        """Plain nested dictionaries, as a TOML file has them; absent values are left out."""
        table = dataclasses.asdict(self)
        table["problem"] = {k: v for k, v in table["problem"].items() if v is not None}
        table["estimators"] = {
            name: {key: name_of(value) for key, value in options.items()}
            for name, options in self.estimators.items()
        }
        written: dict[str, Any] = json.loads(json.dumps(table, default=plain))
        return {key: value for key, value in written.items() if value is not None}

    @property
    def recorded(self) -> np.ndarray:
        """The recorded steps, increasing, int64: those of `record` and the prefixes of batch methods.

        The last step is always among log-spaced ones.
        """
        extra = [n for name in self.batch for n in self.make_batch(name).steps]
        return np.unique(np.asarray([*self._streamed, *extra], np.int64))

    @property
    def _streamed(self) -> Sequence[int]:
        if not isinstance(self.record, int):
            return self.record
        found = [] if self.record == 1 else [1]
        for remaining in range(min(self.record, self.steps) - len(found), 0, -1):
            last = found[-1] if found else 0
            ratio = (self.steps / max(last, 1)) ** (1 / remaining)
            found.append(max(last + 1, round(last * ratio)) if remaining > 1 else self.steps)
        return found

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
        study = dataclasses.replace(self, grid={})
        for path, value in point.items():
            study = replaced(study, path.split("."), value, path, existing=True)
        return study

    @property
    def batch(self) -> tuple[str, ...]:
        """Names of the batch methods."""
        tables = self.estimators.items()
        return tuple(name for name, table in tables if resolve.is_batch(f"estimators.{name}", table))

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
        return resolve.batch_method(name, self._table(name, options), truth, self.steps)

    def _table(self, name: str, options: Mapping[str, Any] | None) -> Any:
        table: Any = self.estimators[name]
        for path, value in (options or {}).items():
            keys = path.removeprefix(f"estimators.{name}.").split(".")
            table = replaced(table, keys, value, path, existing=True)
        return table

    def fingerprint(self, but: Sequence[str] = ()) -> str:
        """A digest of everything that the results depend on but versions, devices and the fields `but`."""
        # The order of axes and of methods is the order of the results; that of options is nothing.
        ordered = [[(axis.name, axis.columns) for axis in self.axes], list(self.estimators)]
        table = {name: value for name, value in self.to_table().items() if name not in but}
        text = json.dumps([table, ordered, self.block_size], sort_keys=True, default=plain)
        return hashlib.sha256(text.encode()).hexdigest()
