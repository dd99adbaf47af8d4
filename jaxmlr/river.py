"""One row at a time, as river does it: a recursive method with `learn_one` and `predict_one`."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from jaxmlr import registry
from jaxmlr.fitting import evaluate, methods
from jaxmlr.fitting.stream import OnlineFit
from jaxmlr.mixture import Mixture


class MixtureOfLinearRegressions:
    """A recursive method behind the interface of river's regressors, whose package it does not need.

    A row is a mapping from names to numbers. Its names are those of the first row, in sorted order; one that
    is missing later counts as 0, and one that is new is left out, as river does.

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
        self.names: tuple[str, ...] | None = None
        self._stream: OnlineFit | None = None
        self._estimate: Mixture | None = None

    def learn_one(self, x: Mapping[str, float], y: float) -> Self:
        """Take one row; one with a number that is not finite is not observed, and changes nothing."""
        if self._stream is None:
            self.names = tuple(sorted(x))
            dim = len(self.names) + self.fit_intercept
            self._stream = methods.stream(self.method, self.n_components, self.options, dim, self.seed)
        self._stream.update(self._row(x), np.array([y], np.float64))
        self._estimate = None
        return self

    def predict_one(self, x: Mapping[str, float]) -> float:
        """E[y | x] = sum_k weights_k beta_k' x; 0 before the first row.

        Raises:
          ValueError: a number that is not finite.
        """
        if self._stream is None:
            return 0.0
        return float(evaluate.mean(self._mixture(), self._finite(x))[0])

    def predict_proba_one(self, x: Mapping[str, float], y: float) -> dict[int, float]:
        """P(z = k | x, y) of every component k; nothing is known of it before the first row.

        Raises:
          ValueError: before the first row, or a number that is not finite.
        """
        if self._stream is None:
            raise ValueError("there is no estimate before the first row")
        if not np.isfinite(y):
            raise ValueError(f"y must be finite, not {y}")
        row = self._finite(x)
        posterior = evaluate.posterior(self._mixture(), row, np.array([y], np.float64))
        return dict(enumerate(posterior[0].tolist()))

    def _mixture(self) -> Mixture:
        """The estimate, taken from the state once after each row."""
        if self._estimate is None and self._stream is not None:
            self._estimate = self._stream.mixture()
        assert self._estimate is not None
        return self._estimate

    def _row(self, x: Mapping[str, float]) -> np.ndarray:
        values = [float(x.get(name, 0.0)) for name in self.names or ()]
        return np.array([[1.0] * self.fit_intercept + values])

    def _finite(self, x: Mapping[str, float]) -> np.ndarray:
        row = self._row(x)
        if not np.isfinite(row).all():
            raise ValueError(f"x must be finite, not {dict(x)}")
        return row
