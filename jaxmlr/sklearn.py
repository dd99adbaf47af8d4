"""Mixtures of linear regressions as a scikit-learn estimator. Needs the extra `sklearn`."""

import warnings
from collections.abc import Mapping
from typing import Any, Self

import jax
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxmlr import _check, registry
from jaxmlr.fitting import evaluate, methods
from jaxmlr.fitting.scaling import Units
from jaxmlr.mixture import Mixture


def _is_recursive(model: "MixtureOfLinearRegressions") -> bool:
    try:
        registry.find(model.method, kind="recursive")
    except ValueError as error:
        raise AttributeError(f"method {model.method!r} has no partial_fit: {error}") from error
    return True


class MixtureOfLinearRegressions(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """y = beta_z' x + w with a hidden component z: P(z = k) = weights_[k], w ~ N(0, noise_variance_[k]).

    Args:
      n_components: K.
      method: a name of `jaxmlr.registry.METHODS`, such as "fit" (the best of many starts), "em" (from one
        start) or, of the recursive ones, "fisher_scoring" (two lines, beta and -beta) and "multistart_em" (K
        lines); or "package.module:function" or the function itself, as `jaxmlr.registry.find` takes it.
      fit_intercept: whether every line has an intercept; False keeps x as it is.
      options: keyword arguments of the method, as jaxmlr's function of that name takes them.
      random_state: fixes the random starts.

    Attributes:
      coef_: (K, n_features).
      intercept_: (K,), zeros without an intercept.
      weights_: (K,).
      noise_variance_: (K,) or ().
      log_likelihood_: of the training rows; batch methods only.
      converged_: bool, whether the last step moved less than the tolerance; batch methods only.
      result_: how the search ended, in words, "converged" where all is well; batch methods only.
      n_iter_: int; batch methods only.

    Batch methods work in standardised units. Recursive ones take every row as it is: then `partial_fit` on
    any pieces of a stream is one scan of the method over `[1, x]`, bit for bit.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        method: Any = "fit",
        fit_intercept: bool = True,
        options: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.method = method
        self.fit_intercept = fit_intercept
        self.options = options
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Scikit-learn's description of what the estimator can do."""
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # `score` is a log-likelihood, which has no upper limit of 1
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows X (n, n_features) and y (n,).

        Args:
          X: array or data frame.
          y: array or series.
          sample_weight: (n,), at least 0; a row of weight 2 counts as two rows. Batch methods only.

        Raises:
          ValueError: bad rows, fewer than 2 of them, or a bad parameter.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True, ensure_min_samples=2)
        self._forget()
        _check.whole("n_components", self.n_components, at_least=1)
        if self.n_components > len(y):
            raise ValueError(
                f"n_components must be at most the number of rows, {len(y)}, not {self.n_components}"
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if registry.find(self.method).kind == "recursive":
            if sample_weight is not None:
                raise ValueError(f"method {self.method!r} takes no sample_weight")
            return self._start(X, seed)._advance(X, y)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        phi, y = self._regressors(X).astype(np.float64), y.astype(np.float64)
        # A row of weight 0 is no row: it must not move the random starts.
        phi, y, weight = phi[weight > 0], y[weight > 0], weight[weight > 0]
        if len(y) < 2:
            raise ValueError(f"at least 2 rows must have a positive weight, not {len(y)}")
        units = Units.of(phi, y, 0 if self.fit_intercept else None, weight=weight)
        result = methods.batch(
            self.method,
            *units.apply(phi, y),
            self.n_components,
            seed,
            row_weights=weight,
            **dict(self.options or {}),
        )
        with jax.enable_x64(True):
            result = jax.tree.map(np.asarray, units.fit(result, weight.sum()))
        self._adopt(result.mixture)
        self.log_likelihood_ = float(result.log_likelihood)
        self.converged_, self.n_iter_ = bool(result.converged), int(result.iterations)
        self.result_ = str(result.result)
        if not self.converged_ or result.spurious():
            warnings.warn(
                f"{self.method} with n_components={self.n_components} on {len(y)} rows: {self.result_}",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    @available_if(_is_recursive)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any) -> Self:
        """Go on with rows X (n, n_features) and y (n,); recursive methods only.

        A row with NaN or infinity is not observed: it changes nothing.

        Raises:
          ValueError: bad rows, another number of features than before, or other parameters than those with
            which the stream began; `fit` begins a new one.
        """
        first = not hasattr(self, "_stream")
        types = [np.float64, np.float32]
        X = validate_data(self, X, dtype=types, ensure_all_finite=False, reset=first)
        y = column_or_1d(check_array(y, dtype=types, ensure_all_finite=False, ensure_2d=False), warn=True)
        check_consistent_length(X, y)
        if not first:
            self._check_same_stream(X.shape[1])
        else:
            self._forget()
            self._start(X, int(check_random_state(self.random_state).randint(2**31 - 1)))
        return self._advance(X, y)

    def predict(self, X: Any) -> np.ndarray:
        """E[y | x] = sum_k weights_[k] beta_k' x, shape (n,)."""
        return self.predict_components(X) @ self.weights_

    def predict_components(self, X: Any) -> np.ndarray:
        """The lines beta_k' x, shape (n, K)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return X @ self.coef_.T + self.intercept_

    def predict_proba(self, X: Any, y: Any = None) -> np.ndarray:
        """P(z = k | x, y), shape (n, K); without y the weights, which are P(z = k | x)."""
        if y is not None:
            return self.responsibilities(X, y)
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return np.tile(self.weights_, (len(X), 1))

    def responsibilities(self, X: Any, y: Any) -> np.ndarray:
        """P(z = k | x, y), shape (n, K)."""
        phi, y = self._rows(X, y)
        return evaluate.posterior(self._mixture(), phi, y)

    def labels(self, X: Any, y: Any) -> np.ndarray:
        """The most probable component of every row, shape (n,)."""
        return self.responsibilities(X, y).argmax(axis=1)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean log-likelihood of a row, log sum_k weights_k N(y; beta_k' x, sigma_k^2).

        That of scikit-learn's mixtures, by which a grid search can choose n_components. The coefficient of
        determination of `predict` says little here (two opposite lines have mean 0); `scoring="r2"` gives it.
        """
        phi, y = self._rows(X, y)
        weight = _check_sample_weight(sample_weight, phi, ensure_non_negative=True)
        return float(np.average(evaluate.log_density(self._mixture(), phi, y), weights=weight))

    def _regressors(self, X: np.ndarray) -> np.ndarray:
        return np.column_stack([np.ones(len(X), X.dtype), X]) if self.fit_intercept else X

    def _rows(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        check_is_fitted(self)
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True, reset=False)
        return np.column_stack([np.ones(len(X)), X]), y.astype(np.float64)

    def _forget(self) -> None:
        """Leave nothing of an earlier fit that the next one does not write."""
        for name in ("_stream", "state_", "log_likelihood_", "converged_", "n_iter_", "result_"):
            self.__dict__.pop(name, None)

    def _check_same_stream(self, features: int) -> None:
        """Raise ValueError where a parameter has changed since the stream began."""
        now = methods.estimator(self.method, self.n_components, self.options)
        if now is not self._stream.estimator or features + self.fit_intercept != self._stream.dim:
            raise ValueError(
                "method, n_components, options or fit_intercept have changed since the first partial_fit;"
                " use fit to begin anew"
            )

    def _start(self, X: np.ndarray, seed: int) -> Self:
        dim = X.shape[1] + self.fit_intercept
        self._stream = methods.stream(self.method, self.n_components, self.options, dim, seed, X.dtype)
        return self

    def _advance(self, X: np.ndarray, y: np.ndarray) -> Self:
        # Python cannot pickle a method's closures; it is found again by its name.
        dtype = self._stream.dtype
        self._stream.update(self._regressors(X).astype(dtype), y.astype(dtype))
        self._adopt(self._stream.mixture())
        if not all(np.isfinite(leaf).all() for leaf in self._mixture()):
            warnings.warn(
                f"{self.method} has diverged: the estimate is not finite; scale the data, or take float64",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.state_ = self._stream.state
        return self

    def __getstate__(self) -> Any:
        """Without the compiled method, which its name brings back."""
        state = dict(super().__getstate__())
        if "_stream" in state:
            stream = state.pop("_stream")
            state["state_"] = jax.tree.map(np.asarray, stream.state)
            state["_dtype"] = stream.dtype
        return state

    def __setstate__(self, state: Any) -> None:
        """With the method of that name where there is a stream to go on with."""
        dtype = state.pop("_dtype", None)
        super().__setstate__(state)
        if dtype is not None:
            self._start(np.empty((0, self.n_features_in_), dtype), 0)
            self._stream.state = self.state_

    def _mixture(self) -> Mixture:
        lines = np.column_stack([self.intercept_, self.coef_])
        leaves: list[Any] = [lines, self.weights_, self.noise_variance_]
        return Mixture(*(leaf.astype(np.float64) for leaf in leaves))

    def _adopt(self, mixture: Mixture) -> None:
        beta: Any = mixture.coefficients
        self.coef_ = beta[:, 1:] if self.fit_intercept else beta
        self.intercept_ = beta[:, 0] if self.fit_intercept else np.zeros(len(beta), beta.dtype)
        self.weights_, self.noise_variance_ = mixture.weights, mixture.noise_variance
