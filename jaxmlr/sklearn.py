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
from jaxmlr.batch import families
from jaxmlr.fitting import evaluate, methods
from jaxmlr.fitting.raw_units import FirstRows
from jaxmlr.fitting.repeats import distinct
from jaxmlr.fitting.rounding import step_of
from jaxmlr.fitting.row_terms import row_terms
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
        start) or, of the recursive ones, "fisher_scoring" (two lines, beta and -beta) and "natural_gradient"
        (K lines); or "package.module:function" or the function itself, as `jaxmlr.registry.find` takes it.
      fit_intercept: whether every line has an intercept; False keeps x as it is.
      family: of y: "normal", "poisson", "binomial" (0 and 1), "gamma" or "student"; see `em`. `em`, `fit`.
      options: keyword arguments of the method, as jaxmlr's function of that name takes them.
      random_state: fixes the random starts.

    Attributes:
      coef_: (K, n_features).
      intercept_: (K,), zeros without an intercept.
      weights_: (K,).
      noise_variance_: (K,) or (); of another family the dispersion.
      gate_: (K, 1 + m) alpha of the concomitants z, the intercept first: the weights are
        softmax(alpha_k' [1, z]) and `weights_` their mean over the training rows; None without concomitants.
      log_likelihood_: of the training rows; batch methods only.
      converged_: bool, whether the last step moved less than the tolerance; batch methods only.
      result_: how the search ended, in words, "converged" where all is well; batch methods only.
      n_iter_: int; batch methods only.

    Batch methods standardise. Recursive ones take rows as they are, so that `partial_fit` on any pieces of a
    stream is one scan over `[1, x]`, bit for bit; a warning tells where the first 100 are far from standard.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        method: Any = "fit",
        fit_intercept: bool = True,
        family: str = "normal",
        options: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.method = method
        self.fit_intercept = fit_intercept
        self.family = family
        self.options = options
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Scikit-learn's description of what the estimator can do."""
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # `score` is a log-likelihood, which has no upper limit of 1
        return tags

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        known_labels: Any = None,
        concomitant: Any = None,
    ) -> Self:
        """Fit to rows X (n, n_features) and y (n,).

        Weights and the last three are metadata, which `set_fit_request` routes through pipelines.

        Args:
          X: array or data frame.
          y: array or series.
          sample_weight: (n,), at least 0; a row of weight 2 counts as two rows, and gives the same numbers.
            Batch methods only.
          groups: (n,) of anything that can be sorted: rows of one group share their component. `em`, `fit`.
          known_labels: (n,) components from 0 on, -1 where nothing is known; or (n, K) booleans, the
            components that a row may belong to. They name the components. `em`, `fit`.
          concomitant: (n, m) variables that the weights depend on; an intercept is added. `em`, `fit`.

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
        given = {"groups": groups, "known_labels": known_labels, "concomitant": concomitant}
        law = self._law()
        if registry.find(self.method).kind == "recursive":
            for name, value in (("sample_weight", sample_weight), ("family", law), *given.items()):
                if value is not None:
                    raise ValueError(f"method {self.method!r} takes no {name}")
            return self._start(X, seed)._advance(X, y)
        terms = row_terms(len(y), self.n_components, **given)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        rows = distinct(self._regressors(X).astype(np.float64), y.astype(np.float64), weight, terms)
        if len(rows.y) < max(2, self.n_components):
            least = max(2, self.n_components)
            raise ValueError(f"at least {least} rows of positive weight must differ, not {len(rows.y)}")
        families.check_responses(self.family, rows.y, rows.weight)
        units = Units.of(rows.phi, rows.y, 0 if self.fit_intercept else None, weight=rows.weight)
        if law is not None and law.newton:
            units = units._replace(origin=0.0, unit=1.0)
        of_gate = None
        if "concomitant" in rows.terms:
            flat, z = np.zeros(len(rows.y)), rows.terms["concomitant"]
            of_gate = Units.of(z, flat, 0, weight=rows.weight)
            rows.terms["concomitant"] = of_gate.apply(z, flat)[0]
        result = methods.batch(
            self.method,
            *units.apply(rows.phi, rows.y),
            self.n_components,
            seed,
            row_weights=rows.weight,
            terms=rows.terms,
            step=step_of(rows.y) / units.unit if law is None else 0.0,
            **dict(self.options or {}) | ({} if law is None else {"family": self.family}),
        )
        with jax.enable_x64(True):
            result = jax.tree.map(np.asarray, units.fit(result, float(rows.weight.sum()), of_gate))
        self._adopt(result.mixture)
        self.gate_ = result.gate
        if of_gate is not None and result.gate is None:  # a single component has weight 1 whatever z is
            self.gate_ = np.zeros((1, len(of_gate.scale)))
        self.log_likelihood_ = float(result.log_likelihood)
        self.converged_, self.n_iter_ = bool(result.converged), int(result.iterations)
        self.result_ = str(result.result)
        if self.result_ != "converged":
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

    def predict(
        self, X: Any, return_std: bool = False, *, concomitant: Any = None
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """E[y | x], sum_k weights_[k] beta_k' x, shape (n,); with `return_std` also the root of Var[y | x].

        The standard deviation is that of a new response: it knows of noise and membership, not of the error
        of the estimate. A model with concomitants needs those of the rows, (n, m).
        """
        phi, terms = self._rows(X, concomitant=concomitant)
        mean = evaluate.mean(self._mixture(), phi, terms)
        return (mean, np.sqrt(evaluate.variance(self._mixture(), phi, terms))) if return_std else mean

    def sample_y(
        self,
        X: Any,
        n_samples: int = 1,
        random_state: Any = 0,
        *,
        groups: Any = None,
        concomitant: Any = None,
    ) -> np.ndarray:
        """Responses drawn from the model at X, shape (n, n_samples); rows of one group share a component."""
        _check.whole("n_samples", n_samples, at_least=1)
        phi, terms = self._rows(X, groups=groups, concomitant=concomitant)
        return evaluate.draw(check_random_state(random_state), self._mixture(), phi, n_samples, terms)

    def predict_components(self, X: Any) -> np.ndarray:
        """The lines beta_k' x, shape (n, K)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def prior_weights(self, X: Any, *, concomitant: Any = None) -> np.ndarray:
        """P(z = k | x) before the response is seen, shape (n, K): the weights, of concomitants if any."""
        phi, terms = self._rows(X, concomitant=concomitant)
        weights = evaluate.weights(self._mixture(), terms)
        return np.array(np.broadcast_to(weights, (len(phi), weights.shape[1])))

    def responsibilities(
        self, X: Any, y: Any, *, groups: Any = None, known_labels: Any = None, concomitant: Any = None
    ) -> np.ndarray:
        """P(z = k | x, y), shape (n, K); rows of one group have one."""
        given = {"groups": groups, "known_labels": known_labels, "concomitant": concomitant}
        phi, y, terms = self._answered(X, y, **given)
        return evaluate.posterior(self._mixture(), phi, y, terms)

    def labels(
        self, X: Any, y: Any, *, groups: Any = None, known_labels: Any = None, concomitant: Any = None
    ) -> np.ndarray:
        """The most probable component of every row, shape (n,)."""
        given = {"groups": groups, "known_labels": known_labels, "concomitant": concomitant}
        return self.responsibilities(X, y, **given).argmax(axis=1)

    def score(
        self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None, concomitant: Any = None
    ) -> float:
        """Mean log-likelihood of a row, log sum_k weights_k N(y; beta_k' x, sigma_k^2).

        That of scikit-learn's mixtures, by which a grid search can choose n_components. The coefficient of
        determination of `predict` says little here (two opposite lines have mean 0); `scoring="r2"` gives it.
        """
        phi, y, terms = self._answered(X, y, groups=groups, concomitant=concomitant)
        weight = _check_sample_weight(sample_weight, phi, ensure_non_negative=True)
        density = evaluate.log_density(self._mixture(), phi, y, terms._replace(weight=weight))
        return float(np.sum(density if groups is not None else weight * density) / np.sum(weight))

    def _regressors(self, X: np.ndarray) -> np.ndarray:
        return np.column_stack([np.ones(len(X), X.dtype), X]) if self.fit_intercept else X

    def _rows(self, X: Any, **terms: Any) -> tuple[np.ndarray, evaluate.Terms]:
        """Regressors (n, 1 + n_features) with an intercept, and what is given of the rows."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return np.column_stack([np.ones(len(X)), X]), self._terms(len(X), **terms)

    def _answered(self, X: Any, y: Any, **terms: Any) -> tuple[np.ndarray, np.ndarray, evaluate.Terms]:
        """As `_rows`, with responses (n,)."""
        check_is_fitted(self)
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True, reset=False)
        return np.column_stack([np.ones(len(X)), X]), y.astype(np.float64), self._terms(len(y), **terms)

    def _terms(self, n: int, **given: Any) -> evaluate.Terms:
        gate = getattr(self, "gate_", None)
        if (given.get("concomitant") is not None) != (gate is not None):
            as_fitted = "be given, as to fit, not None" if gate is not None else "be None, as in fit"
            raise ValueError(f"concomitant must {as_fitted}")
        terms: dict[str, Any] = row_terms(n, len(self.weights_), **given)
        if gate is not None and terms["concomitant"].shape[1] != gate.shape[1]:
            m = terms["concomitant"].shape[1] - 1
            raise ValueError(f"concomitant must have {gate.shape[1] - 1} columns, as in fit, not {m}")
        return evaluate.Terms(gate, **terms, law=self._law())

    def _law(self) -> families.Law | None:
        facts = families.facts(self.family, dict(self.options or {}).get("degrees"))
        return families.law(self.family, facts.get("degrees"))

    def _forget(self) -> None:
        """Leave nothing of an earlier fit that the next one does not write."""
        learnt = "_stream", "_first", "state_", "gate_", "log_likelihood_", "converged_", "n_iter_", "result_"
        for name in learnt:
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
        self._first = FirstRows(self.method, self.n_components, getattr(self, "feature_names_in_", None))
        return self

    def _advance(self, X: np.ndarray, y: np.ndarray) -> Self:
        # Python cannot pickle a method's closures; it is found again by its name.
        dtype = self._stream.dtype
        self._stream.update(self._regressors(X).astype(dtype), y.astype(dtype))
        if doubt := self._first.update(X):
            warnings.warn(f"{self.method}: {doubt}, as by StandardScaler", stacklevel=3)
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
        leaves: Any = np.column_stack([self.intercept_, self.coef_]), self.weights_, self.noise_variance_
        return Mixture(*(leaf.astype(np.float64) for leaf in leaves))

    def _adopt(self, mixture: Mixture) -> None:
        beta: Any = mixture.coefficients
        self.coef_ = beta[:, 1:] if self.fit_intercept else beta
        self.intercept_ = beta[:, 0] if self.fit_intercept else np.zeros(len(beta), beta.dtype)
        self.weights_, self.noise_variance_ = mixture.weights, mixture.noise_variance
