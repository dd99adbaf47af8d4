"""One row at a time, as river does it: a recursive method that is one of river's regressors."""

import warnings
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from river import base

from jaxmlr import registry
from jaxmlr.fitting import evaluate, methods
from jaxmlr.fitting.raw_units import FirstRows
from jaxmlr.fitting.stream import OnlineFit
from jaxmlr.mixture import Mixture


class MixtureOfLinearRegressions(base.Regressor):
    """A recursive method as a regressor of river: in its pipelines, metrics, clones and pickles.

    A row is a mapping from names to numbers. Its names are those of the first row, in sorted order; one that
    is missing later counts as 0, and one that is new is left out, as river does. A row with a number that is
    not finite is not observed. Regressors should be standardised, as by river's `StandardScaler`; where the
    first 100 rows say that they are not, and K is 2 or more, a `UserWarning` tells.

    Args:
      n_components: K.
      method: a recursive method, by a name of `jaxmlr.registry.RECURSIVE`, by "package.module:function", or a
        function that makes an `Estimator`.
      fit_intercept: whether every line has an intercept.
      options: keyword arguments of the method.
      seed: of the start.

    Raises:
      ValueError: at the first row, a bad method, K or option.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        method: Any = registry.RECOMMENDED["lines"],
        fit_intercept: bool = True,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ):
        self.n_components, self.method = n_components, method
        self.fit_intercept, self.options, self.seed = fit_intercept, options, seed
        self.names: tuple[Hashable, ...] | None = None
        self._stream: OnlineFit | None = None
        self._estimate: Mixture | None = None

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        """What river's `check_estimator` tries."""
        yield {"method": "least_squares", "n_components": 1}
        yield {"method": "recursive_em"}

    def learn_one(self, x: dict[Hashable, Any], y: float) -> None:
        """Take one row; one with a number that is not finite is not observed, and changes nothing."""
        if self._stream is None:
            self.names = tuple(sorted(x, key=str))
            self._first = FirstRows(self.method, self.n_components, self.names)
            self._stream = self._started()
        row = self._row(x)
        self._stream.update(row, np.array([y], np.float64))
        self._estimate = None
        if doubt := self._first.update(row[:, self.fit_intercept :]):
            warnings.warn(f"{doubt}, as by StandardScaler", stacklevel=2)

    def predict_one(self, x: dict[Hashable, Any]) -> float:
        """E[y | x] = sum_k weights_k beta_k' x; 0 before the first row, NaN where x has a NaN."""
        if self._stream is None:
            return 0.0
        return float(evaluate.mean(self._mixture(), self._row(x))[0])

    def predict_proba_one(self, x: dict[Hashable, Any], y: float) -> dict[int, float]:
        """P(z = k | x, y) of every component k; nothing is known of it before the first row.

        Raises:
          ValueError: before the first row, or a number that is not finite.
        """
        if self._stream is None:
            raise ValueError("there is no estimate before the first row")
        row = self._row(x)
        if not (np.isfinite(row).all() and np.isfinite(y)):
            raise ValueError(f"x and y must be finite, not {dict(x)} and {y}")
        posterior = evaluate.posterior(self._mixture(), row, np.array([y], np.float64))
        return dict(enumerate(posterior[0].tolist()))

    def __getstate__(self) -> dict[str, Any]:
        """Without compiled programs: the state's arrays are what a copy needs beside the arguments."""
        kept = vars(self) | {"_estimate": None}
        if self._stream is not None:
            kept["_stream"] = jax.tree.map(np.asarray, self._stream.state)
        return kept

    def __setstate__(self, kept: dict[str, Any]) -> None:
        vars(self).update(kept)
        if self._stream is not None:
            self._stream = self._started()
            self._stream.state = kept["_stream"]

    def _started(self) -> OnlineFit:
        dim = len(self.names or ()) + self.fit_intercept
        return methods.stream(self.method, self.n_components, self.options, dim, self.seed)

    def _mixture(self) -> Mixture:
        """The estimate, taken from the state once after each row."""
        if self._estimate is None and self._stream is not None:
            self._estimate = self._stream.mixture()
        assert self._estimate is not None
        return self._estimate

    def _row(self, x: dict[Hashable, Any]) -> np.ndarray:
        values = [float(x.get(name, 0.0)) for name in self.names or ()]
        return np.array([[1.0] * self.fit_intercept + values])
