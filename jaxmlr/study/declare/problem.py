"""What the data of a study's trials are."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxmlr import _check
from jaxmlr.data.disturbances import Disturbance
from jaxmlr.data.processes import Process
from jaxmlr.mixture import Mixture
from jaxmlr.study.declare import resolve
from jaxmlr.study.declare.paths import numbers


@dataclasses.dataclass(frozen=True)
class Problem:
    """The data of every trial.

    Attributes:
      process: `{kind, **parameters}` of a function in `jaxmlr.processes`.
      coefficients: (d,) with `p`, the symmetric model; (K, d) with `weights`, the general one.
      p: share of the component +beta, in (0, 1).
      weights: (K,) shares of the components, sum 1.
      noise_variance: sigma^2, one number or (K,).
      noise: `{kind, **parameters}` of a function in `jaxmlr.disturbances`; None means normal.
    """

    process: Mapping[str, Any]
    coefficients: Any
    p: Any = None
    weights: Any = None
    noise_variance: Any = 1.0
    noise: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check shapes and ranges."""
        if not isinstance(self.process, Mapping):
            raise ValueError(f"problem.process must be a table with a kind, not {self.process!r}")
        if self.noise is not None and not isinstance(self.noise, Mapping):
            raise ValueError(f"problem.noise must be a table with a kind, not {self.noise!r}")
        self.disturbance()
        for name in ("coefficients", "p", "weights", "noise_variance"):
            value = getattr(self, name)
            if value is not None:
                numbers(f"problem.{name}", value, scalar=name == "p")
                _check.number(f"problem.{name}", value)
        rank = np.ndim(self.coefficients)
        if rank not in (1, 2) or not np.size(self.coefficients):
            raise ValueError(
                f"problem.coefficients must be (d,) or (K, d), not of shape {np.shape(self.coefficients)}"
            )
        if (rank == 1) == (self.p is None) or (rank == 2) == (self.weights is None):
            raise ValueError(
                "problem must have either coefficients (d,) with p, or coefficients (K, d) with weights"
            )
        if self.p is not None:
            _check.number("problem.p", self.p, above=0, below=1)
        try:
            self.mixture("float32")
        except ValueError as error:
            raise ValueError(f"problem.{error}") from error
        with jax.enable_x64(False):
            resolve.fits("problem.process", resolve.process(self.process), self.dim, "float32")

    @property
    def dim(self) -> int:
        """The number of regressors d."""
        return np.shape(self.coefficients)[-1]

    @property
    def symmetric(self) -> bool:
        """Whether the two lines are known to be opposite."""
        return self.weights is None

    def mixture(self, precision: str) -> Mixture:
        """The truth, in `precision`."""
        with jax.enable_x64(precision == "float64"):
            return resolve.mixture(self.coefficients, self.p, self.weights, self.noise_variance, precision)

    def regressors(self) -> Process:
        """The regressor process."""
        return resolve.process(self.process)

    def disturbance(self) -> Disturbance | None:
        """The law of the noise, None if normal."""
        return None if self.noise is None else resolve.disturbance(self.noise)
