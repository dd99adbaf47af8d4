"""What the data of a study's trials are."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr.data.disturbances import Disturbance
from jaxmlr.data.drifts import Drift
from jaxmlr.data.labels import LabelModel
from jaxmlr.data.processes import Process
from jaxmlr.data.recorded import digest_of
from jaxmlr.data.simulate import Stream, stream
from jaxmlr.evaluation.metrics import METRICS
from jaxmlr.mixture import Mixture
from jaxmlr.study.declare import check, resolve
from jaxmlr.study.declare.errors import StudyError, blamed_on
from jaxmlr.study.declare.paths import check_numbers


def without_limit(problem: Mapping[str, Any]) -> dict[str, str]:
    """Metrics whose limit is not known for the problem of this table, and why."""
    limits = {name: metric.limit for name, metric in METRICS.items() if metric.limit}
    if problem["process"].get("responses"):
        return dict.fromkeys(limits, "the responses are recorded")
    if problem.get("labels") is not None:
        return dict.fromkeys(limits, "it is known where labels is left out")
    reasons = {}
    if problem.get("noise") is not None:
        normal = [name for name, limit in limits.items() if limit.normal]
        reasons = dict.fromkeys(normal, "it is known where noise is left out")
    if problem.get("drift") is not None:
        reasons |= {name: limit.drifting for name, limit in limits.items() if limit.drifting}
    return reasons


@dataclasses.dataclass(frozen=True)
class Problem:
    """The data of every trial.

    Attributes:
      process: `{kind, **parameters}` of a function in `jaxmlr.processes`, or of one's own, as
        "package.module:function" or the function itself; or `{kind = "recorded", file = "phi.npz"}`, see
        `jaxmlr.data.recorded`, with the file beside the study's. Running a study executes such a function.
      coefficients: (d,) with `p`, the symmetric model; (K, d) with `weights`, the general one.
      p: probability of the component +beta, in (0, 1).
      weights: (K,) probabilities of the components, sum 1.
      noise_variance: sigma^2, one number or (K,).
      noise: `{kind, **parameters}` of a function in `jaxmlr.disturbances`, or of one's own as above; None
        means normal.
      missing: share of the responses that are not observed, in [0, 1), each by a chance of its own; steps and
        recorded n count them. Metrics of labels and residuals, and all limits, are of the observed ones.
      drift: `{kind, **parameters}` of a function in `jaxmlr.drifts`, or of one's own as above: `coefficients`
        are those of the first step, and errors are against those of step n. With `p` it moves beta, and -beta
        opposite to it.
      labels: `{kind, **parameters}` of a function in `jaxmlr.labels`, or of one's own as above; None means
        that they are drawn independently by the weights. Limits are known for such labels only.

    Raises:
      StudyError: anything is of the wrong kind, shape or range.
    """

    process: Mapping[str, Any]
    coefficients: Any
    p: Any = None
    weights: Any = None
    noise_variance: Any = 1.0
    noise: Mapping[str, Any] | None = None
    missing: Any = None
    drift: Mapping[str, Any] | None = None
    labels: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check shapes and ranges; a recording is told apart by its content from now on."""
        table = self.process
        if isinstance(table, Mapping) and table.get("kind") == "recorded" and "sha256" not in table:
            with blamed_on(("problem", "process", "file"), "problem.process: "):
                digest = digest_of(str(table.get("file", "")))
            has = resolve.process(table).answer is not None
            facts = {"sha256": digest} | ({"responses": True} if has else {})
            object.__setattr__(self, "process", {**table, **facts})
        self.check_values()
        self.check_shapes()

    def check_values(self) -> None:
        """Raise StudyError unless all values are of the right kind and range."""
        if not isinstance(self.process, Mapping):
            reason = f"problem.process must be a table with a kind, not {self.process!r}"
            raise StudyError(("problem", "process"), reason)
        for name in ("noise", "drift", "labels"):
            table = getattr(self, name)
            if table is not None and not isinstance(table, Mapping):
                reason = f"problem.{name} must be a table with a kind, not {table!r}"
                raise StudyError(("problem", name), reason)
        for name in ("coefficients", "p", "weights", "noise_variance", "missing"):
            value, path = getattr(self, name), ("problem", name)
            if value is not None:
                check_numbers(path, value, scalar=name in ("p", "missing"))
                with blamed_on(path):
                    _check.number(f"problem.{name}", value)
        rank = np.ndim(self.coefficients)
        if rank not in (1, 2) or not np.size(self.coefficients):
            raise StudyError(
                ("problem", "coefficients"),
                f"problem.coefficients must be (d,) or (K, d), not of shape {np.shape(self.coefficients)}",
            )
        if (rank == 1) == (self.p is None) or (rank == 2) == (self.weights is None):
            raise StudyError(
                ("problem",),
                "problem must have either coefficients (d,) with p, or coefficients (K, d) with weights",
            )
        if self.missing is not None:
            with blamed_on(("problem", "missing")):
                _check.number("problem.missing", self.missing, at_least=0, below=1)
        if self.p is not None:
            with blamed_on(("problem", "p")):
                _check.number("problem.p", self.p, above=0, below=1)
        for name in ("weights", "noise_variance"):  # each alone, so that the error knows which it is
            known = {"weights": self.weights, "noise_variance": 1.0, name: getattr(self, name)}
            with blamed_on(("problem", name), "problem."):
                resolve.mixture(self.coefficients, self.p, **known, dtype="float32", xp=np)
        process = self.regressors()
        for name in ("noise", "drift", "labels"):
            if process.answer is not None and getattr(self, name) is not None:
                reason = "the recording has responses of its own; responses = false leaves them out"
                raise StudyError(("problem", name), f"problem.{name}: {reason}")
        components = np.shape(self.coefficients)[0] if rank == 2 else 2
        if (process.components or 0) > components:
            reason = (
                f"the recording has {process.components} labels from 0, the problem {components} components"
            )
            raise StudyError(("problem", "process"), f"problem.process: {reason}")
        self.disturbance()
        self.drifting()
        self.labelling("float32", np)

    def check_shapes(self) -> None:
        """Raise StudyError unless the process draws regressors (d,), a drift lines, and labels are labels."""
        with jax.enable_x64(False):
            check.check_process(("problem", "process"), self.process, self.dim, "float32")
            moves = self.drifting()
            if moves is not None:
                check.check_drift(("problem", "drift"), moves, self.mixture("float32"))
            law = self.labelling("float32")
            if law is not None:
                check.check_labels(("problem", "labels"), law, self.dim, "float32")

    @property
    def dim(self) -> int:
        """The number of regressors d."""
        return np.shape(self.coefficients)[-1]

    @property
    def symmetric(self) -> bool:
        """Whether the two lines are known to be opposite."""
        return self.weights is None

    def mixture(self, precision: str, xp: Any = jnp) -> Mixture:
        """The truth in `precision`, of arrays of the module `xp`."""
        with jax.enable_x64(precision == "float64"):
            return resolve.mixture(
                self.coefficients, self.p, self.weights, self.noise_variance, precision, xp
            )

    @property
    def gaps(self) -> bool:
        """Whether responses may be missing."""
        return isinstance(self.missing, jax.core.Tracer) or bool(self.missing)

    def source(self, seed: int, trial: ArrayLike, precision: str) -> Stream:
        """The data of a trial, step by step."""
        process, truth = self.regressors(), self.mixture(precision)
        return stream(jax.random.key(seed), truth, process, trial, **self.laws(precision))

    def laws(self, precision: str) -> dict[str, Any]:
        """What `simulate` takes besides the mixture and the process."""
        return {
            "disturbance": self.disturbance(),
            "missing": self.missing if self.gaps else None,
            "drift": self.drifting(),
            "labels": self.labelling(precision),
        }

    def drifting(self) -> Drift | None:
        """The drift of the truth, None if it stays."""
        return None if self.drift is None else resolve.drift(self.drift, symmetric=self.symmetric)

    def labelling(self, precision: str, xp: Any = jnp) -> LabelModel | None:
        """The law of the labels, None if they are independent."""
        if self.labels is None:
            return None
        return resolve.label_model(self.labels, self.mixture(precision, xp).weights)

    def regressors(self) -> Process:
        """The regressor process."""
        return resolve.process(self.process)

    def disturbance(self) -> Disturbance | None:
        """The law of the noise, None if normal."""
        return None if self.noise is None else resolve.disturbance(self.noise)
