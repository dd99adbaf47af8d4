"""The mixture of linear regressions: what every method estimates and every problem is."""

import math
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot


class Mixture(NamedTuple):
    """y = beta_z' phi + w,  P(z = k) = weights[k],  w | z = k ~ N(0, sigma_k^2).

    A pytree of arrays of one dtype: it can be traced, vmapped and differentiated whole. Integers, Python
    numbers and lists stand for numbers too: functions of a mixture take them in the format of the arrays
    beside them.
    """

    coefficients: jax.Array  # (K, d) beta_k
    weights: jax.Array  # (K,) P(z = k), positive, sum 1
    noise_variance: jax.Array  # () or (K,) sigma^2

    def log_likelihood(self, phi: ArrayLike, y: ArrayLike) -> jax.Array:
        """Sum over rows of log sum_k weights[k] N(y; beta_k' phi, sigma_k^2).

        Args:
          phi: (n, d).
          y: (n,).

        Returns:
          (), by log-sum-exp throughout.
        """
        return jnp.sum(jax.nn.logsumexp(self._log_joint(phi, y), axis=-1))

    def posterior(self, phi: ArrayLike, y: ArrayLike) -> jax.Array:
        """P(z = k | phi, y) for phi (n, d) and y (n,); shape (n, K), rows sum to 1."""
        return jax.nn.softmax(self._log_joint(phi, y), axis=-1)

    def labels(self, phi: ArrayLike, y: ArrayLike, rule: str = "map") -> jax.Array:
        """Component of each row, (n,) int32, for phi (n, d) and y (n,).

        Args:
          phi: (n, d).
          y: (n,).
          rule: "map" takes the most probable component; "nearest" the line nearest to y, eq. (13) of
            arXiv 2503.18500, which needs neither weights nor variances. Ties go to the lower index.

        Raises:
          ValueError: another rule.
        """
        _check.choice("rule", rule, ("map", "nearest"))
        if rule == "map":
            return jnp.argmax(self._log_joint(phi, y), axis=-1).astype(jnp.int32)
        return jnp.argmin(jnp.abs(self._errors(phi, y)), axis=-1).astype(jnp.int32)

    def predict(self, phi: ArrayLike) -> jax.Array:
        """E[y | phi] = sum_k weights[k] beta_k' phi, for phi (n, d); shape (n,)."""
        fitted = self.linear_predictors(phi)
        return dot(fitted, jnp.asarray(self.weights, fitted.dtype))

    def linear_predictors(self, phi: ArrayLike) -> jax.Array:
        """beta_k' phi for every k: phi (..., d) -> (..., K)."""
        d = np.shape(self.coefficients)[-1]
        if np.ndim(phi) < 1 or np.shape(phi)[-1] != d:
            raise ValueError(f"phi must have shape (n, {d}), not {np.shape(phi)}")
        phi, beta = _check.floats(phi=phi, coefficients=self.coefficients)
        phi = phi[..., None, :]
        shape = jnp.broadcast_shapes(phi.shape, beta.shape)
        return dot(jnp.broadcast_to(beta, shape), jnp.broadcast_to(phi, shape))

    def validated(self) -> Self:
        """Itself, once its concrete parts are checked, in one floating dtype.

        Raises:
          ValueError: coefficients are not (K, d); weights are not (K,), not positive or do not sum to 1;
            noise_variance is not () or (K,), or not positive; a part holds no real numbers, or they hold
            floats of several dtypes.
        """
        if np.ndim(self.coefficients) != 2:
            raise ValueError(f"coefficients must have shape (K, d), not {np.shape(self.coefficients)}")
        components = np.shape(self.coefficients)[0]
        if np.shape(self.weights) != (components,):
            raise ValueError(f"weights must have shape ({components},), not {np.shape(self.weights)}")
        if np.shape(self.noise_variance) not in ((), (components,)):
            raise ValueError(
                f"noise_variance must have shape () or ({components},), not {np.shape(self.noise_variance)}"
            )
        dtype = _check.float_dtype(**self._asdict())
        dtypes = {str(leaf.dtype) for leaf in self if hasattr(leaf, "dtype") and not np.isscalar(leaf)}
        floating = sorted(name for name in dtypes if "float" in name)
        if len(floating) > 1:
            raise ValueError(f"a mixture must hold one floating dtype, not {floating}")
        _check.number("coefficients", self.coefficients)
        _check.number("weights", self.weights, above=0)
        _check.number("noise_variance", self.noise_variance, above=0)
        if not isinstance(self.weights, jax.core.Tracer):
            total = math.fsum(np.asarray(self.weights, dtype=np.float64))
            if abs(total - 1) > 1e-5:
                raise ValueError(f"weights must sum to 1, not {total:.6g}")
        if all(hasattr(leaf, "dtype") and leaf.dtype == dtype for leaf in self):
            return self
        return type(self)(*(jnp.asarray(leaf, dtype) for leaf in self))

    def _errors(self, phi: ArrayLike, y: ArrayLike) -> jax.Array:
        """Residuals y - beta_k' phi of every line, shape (..., K)."""
        if np.shape(y) != np.shape(phi)[:-1]:
            wanted = np.shape(phi)[:-1]
            raise ValueError(f"y must have shape {wanted}, one for each row of phi, not {np.shape(y)}")
        fitted = self.linear_predictors(phi)
        return jnp.asarray(y, fitted.dtype)[..., None] - fitted

    def _log_joint(self, phi: ArrayLike, y: ArrayLike) -> jax.Array:
        """Entries log weights[k] + log N(y; beta_k' phi, sigma_k^2), shape (..., K)."""
        error = self._errors(phi, y)
        weights, variance = (jnp.asarray(leaf, error.dtype) for leaf in (self.weights, self.noise_variance))
        normaliser = jnp.log(weights) - 0.5 * jnp.log(2 * math.pi * variance)
        spread = jnp.broadcast_to(variance, error.shape)
        return jnp.broadcast_to(normaliser, error.shape) - 0.5 * error * error / spread


def symmetric(coefficients: ArrayLike, p: ArrayLike, noise_variance: ArrayLike = 1.0) -> Mixture:
    """The symmetric two-component mixture y = z beta' phi + w, z = +-1, P(z = 1) = p.

    (beta, p) and (-beta, 1 - p) give the same law of the data.

    Args:
      coefficients: (d,) beta.
      p: in (0, 1).
      noise_variance: sigma^2, greater than 0.

    Returns:
      A Mixture with coefficients [beta, -beta] and weights [p, 1 - p], in beta's dtype.

    Raises:
      ValueError: a concrete argument is out of range or beta is not a vector.
    """
    if np.ndim(coefficients) != 1:
        raise ValueError(f"coefficients must have shape (d,), not {np.shape(coefficients)}")
    _check.number("coefficients", coefficients)
    _check.number("p", p, above=0, below=1, scalar=True)
    _check.number("noise_variance", noise_variance, above=0, scalar=True)
    (beta,) = _check.floats(coefficients=coefficients)
    weight = jnp.asarray(p, beta.dtype)
    variance = jnp.asarray(noise_variance, beta.dtype)
    return Mixture(jnp.stack([beta, -beta]), jnp.stack([weight, 1 - weight]), variance)
