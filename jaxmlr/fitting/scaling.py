"""Units in which a fit is well conditioned, and the way back to those of the data."""

from typing import Any, NamedTuple, Self

import numpy as np
from scipy.linalg import solve_triangular

from jaxmlr.batch import Fit
from jaxmlr.mixture import Mixture

LARGEST = 1e75  # difference of entries, and one over the least
CONDITION = 1e5  # of the columns, beyond which they are made orthonormal


class Units(NamedTuple):
    """x' = (x - centre) / scale and y' = (y - origin) / unit, in which beta' answers x'.

        beta_j = unit beta'_j / scale_j,   beta_0 = origin + unit (beta'_0 - sum_j beta'_j centre_j / scale_j)
        sigma  = unit sigma',              log L  = log L' - n log unit

    Without an intercept (column 0 of beta above) nothing is centred. The model is the same in both units, so
    a maximum of the likelihood in one is one in the other.
    """

    centre: np.ndarray  # (d,)
    scale: np.ndarray  # (d,)
    origin: float
    unit: float
    intercept: int | None
    triangle: np.ndarray | None = None  # (d, d) R of x' = Q R where x' gives way to Q, and beta' to R beta'

    @classmethod
    def of(
        cls,
        phi: np.ndarray,
        y: np.ndarray,
        intercept: int | None,
        *,
        weight: np.ndarray | None = None,
        centre_response: bool = True,
    ) -> Self:
        """Means and standard deviations, root mean squares where there is no intercept.

        Args:
          phi: (n, d) float64, n at least 1.
          y: (n,).
          intercept: the column of ones, or None.
          weight: (n,) of the rows, which must not all be 0.
          centre_response: False for symmetric models, where the lines are mirrored at y = 0.

        Raises:
          ValueError: entries differ by more than 10^75 or less than 10^-75: products of their squares, which
            covariances hold, leave the range of float64.
        """
        with np.errstate(all="ignore"):
            centre, origin = np.zeros(phi.shape[1]), 0.0
            if intercept is not None:
                centre = np.average(phi, axis=0, weights=weight)
                centre[intercept] = 0
                origin = float(np.average(y, weights=weight)) if centre_response else 0.0
            scale = np.sqrt(np.average(np.square(phi - centre), axis=0, weights=weight))
            unit = float(np.sqrt(np.average(np.square(y - origin), weights=weight)))
            size_of = np.ptp if intercept is not None else lambda each, axis: np.abs(each).max(axis=axis)
            sizes = np.append(size_of(phi, axis=0), size_of(y, axis=0))
        for size in sizes:
            if size != 0 and not 1 / LARGEST < size < LARGEST:
                raise ValueError(
                    f"entries that differ by {size:.3g} are too {'small' if size < 1 else 'large'}: their"
                    " squares leave the range of float64; give them another unit"
                )
        # What does not vary beyond rounding keeps its unit.
        least = 1e-13 * np.abs(centre) + np.finfo(np.float64).tiny ** 0.5
        scale = np.where(scale > least, scale, 1)
        floor = 1e-13 * abs(origin) + np.finfo(np.float64).tiny ** 0.5
        return cls(centre, scale, origin, unit if unit > floor else 1.0, intercept)

    def orthogonal(self, phi: np.ndarray) -> Self:
        """These units, with nearly collinear columns of phi (n, d) made orthonormal: x' R^-1 where x' = Q R.

        A sum of squares loses twice the digits that the condition number costs; of Q it loses none.
        """
        triangle = np.linalg.qr((phi - self.centre) / self.scale, mode="r") / np.sqrt(len(phi))
        return self._replace(triangle=triangle) if np.linalg.cond(triangle) > CONDITION else self

    def apply(self, phi: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows phi (n, d) and y (n,) in these units."""
        x = (phi - self.centre) / self.scale
        if self.triangle is not None:
            x = solve_triangular(self.triangle, x.T, trans="T").T
        return x, (y - self.origin) / self.unit

    def mixture(self, mixture: Mixture) -> Mixture:
        """A mixture of these units in those of the data, NumPy."""
        beta = np.asarray(mixture.coefficients, np.float64)
        if self.triangle is not None:
            beta = solve_triangular(self.triangle, beta.T).T
        beta = beta * (self.unit / self.scale)[None, :]
        if self.intercept is not None:
            beta[:, self.intercept] += self.origin - beta @ self.centre
        parts: list[Any] = [
            beta,
            np.asarray(mixture.weights),
            np.asarray(mixture.noise_variance) * self.unit**2,
        ]
        return Mixture(*parts)

    def fit(self, fit: Fit, n: float, gate: "Units | None" = None) -> Fit:
        """A fit to rows of total weight n, in the units of the data; `gate` are those of its concomitants."""
        shift = n * np.log(self.unit)
        options = fit.options
        if options is not None:
            c = options.outlier_density
            options = options._replace(
                ridge=options.ridge * np.square(self.scale),
                variance_floor=options.variance_floor * self.unit**2,
                outlier_density=None if c is None else c / self.unit,
            )
        alpha: Any = fit.gate if gate is None or fit.gate is None else np.asarray(fit.gate) @ gate.map().T
        return fit._replace(
            options=options,
            gate=alpha,
            mixture=self.mixture(fit.mixture),
            log_likelihood=fit.log_likelihood - shift,
            trace=fit.trace - shift,
        )

    def covariance(self, mixture: Mixture, covariance: np.ndarray, gate: "Units | None" = None) -> np.ndarray:
        """The covariance (q, q) of the entries of `mixture`, both in these units, in those of the data.

        With the units of the concomitants, behind them stand the entries of a gate (K, m).
        """
        components, d = mixture.coefficients.shape
        spread = np.size(mixture.noise_variance)
        jacobian = np.eye(len(covariance))
        jacobian[: components * d, : components * d] = np.kron(np.eye(components), self.map())
        variances = slice(components * (d + 1), components * (d + 1) + spread)
        jacobian[variances, variances] *= self.unit**2
        if gate is not None:
            end = components * (d + 1) + spread
            jacobian[end:, end:] = np.kron(np.eye(components), gate.map())
        return jacobian @ np.asarray(covariance) @ jacobian.T

    def map(self) -> np.ndarray:
        """A (d, d) with beta = A beta' but for the origin, which the intercept gains."""
        linear = np.diag(self.unit / self.scale)
        if self.intercept is not None:
            linear[self.intercept] -= self.centre * self.unit / self.scale
        if self.triangle is not None:
            linear = solve_triangular(self.triangle, linear.T, trans="T").T
        return linear
