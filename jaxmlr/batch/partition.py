"""From a division of the rows to a mixture: the M-step alone."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr.batch import steps
from jaxmlr.batch.constraints import Constraints, MStepOptions
from jaxmlr.batch.rows import checked, pack, tiled
from jaxmlr.mixture import Mixture


def from_posterior(
    phi: ArrayLike,
    y: ArrayLike,
    posterior: ArrayLike,
    *,
    equal_variance: bool = False,
    ddof: ArrayLike = 0.0,
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
) -> Mixture:
    """The mixture that maximises the expected log-likelihood under a given posterior: one M-step of `em`.

    Args:
      phi: (n, d).
      y: (n,).
      posterior: (n, K), at least 0.
      equal_variance: one sigma^2 for all components.
      ddof: variances are multiplied by n / (n - ddof), n the sum of the row weights.
      mask: (n,) bool, False for rows to leave out, whatever they hold.
      row_weights: (n,), at least 0: a row of weight 2 counts as two rows.

    Returns:
      A Mixture with noise_variance () or (K,).

    Raises:
      ValueError: shapes do not fit, or a concrete argument is out of range.
    """
    phi, y, weight = checked(phi, y, mask, row_weights)
    if np.ndim(posterior) != 2 or np.shape(posterior)[0] != phi.shape[0]:
        raise ValueError(f"posterior must have shape ({phi.shape[0]}, K), not {np.shape(posterior)}")
    _check.number("posterior", posterior, at_least=0)
    posterior = jnp.asarray(posterior, weight.dtype)
    components, d, dtype = posterior.shape[1], phi.shape[1], weight.dtype
    moments = steps.given(pack(phi, y, weight), tiled(posterior))
    empty = Mixture(
        jnp.zeros((components, d), dtype),
        jnp.full(components, 1 / components, dtype),
        jnp.ones(components, dtype),
    )
    options = MStepOptions(jnp.zeros(d, dtype), steps.resolution(y, weight), jnp.asarray(ddof, dtype))
    mixture, _ = steps.m_step(moments, empty, Constraints(equal_variance=equal_variance), options)
    if equal_variance:
        mixture = mixture._replace(noise_variance=mixture.noise_variance[0])
    return mixture


def from_labels(
    phi: ArrayLike,
    y: ArrayLike,
    labels: ArrayLike,
    components: int,
    *,
    equal_variance: bool = False,
    ddof: ArrayLike = 0.0,
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
) -> Mixture:
    """Least squares within each of the groups of rows that `labels` makes.

    Args:
      phi: (n, d).
      y: (n,).
      labels: (n,) whole numbers from 0 to components - 1.
      components: K.
      equal_variance: one sigma^2 for all components.
      ddof: variances are multiplied by n / (n - ddof), n the sum of the row weights.
      mask: (n,) bool, False for rows to leave out, whatever they hold.
      row_weights: (n,), at least 0: a row of weight 2 counts as two rows.

    Returns:
      A Mixture.

    Raises:
      ValueError: shapes do not fit, or a concrete argument is out of range.
    """
    _check.whole("components", components, at_least=1)
    if np.shape(labels) != np.shape(y):
        raise ValueError(f"labels must have shape {np.shape(y)}, not {np.shape(labels)}")
    _check.number("labels", labels, at_least=0, below=components)
    posterior = jax.nn.one_hot(jnp.asarray(labels), components, dtype=jnp.result_type(y))
    return from_posterior(
        phi, y, posterior, equal_variance=equal_variance, ddof=ddof, mask=mask, row_weights=row_weights
    )
