"""What one observation tells about the symmetric mixture: its score and its Fisher information.

The parameters are beta, tau = log sigma^2 and lambda = log(p / (1 - p)) / 2. With b = beta' phi and
t = b y / sigma^2 + lambda the log-likelihood of one observation is, up to a constant,

    -tau / 2 - (y^2 + b^2) / (2 sigma^2) + log cosh t - log cosh lambda

All formulas here are derived for this project.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr._xla.linear import dot

# The trapezoidal rule for a standard normal: exact to 1e-3 wherever its terms still matter.
_NODES = np.linspace(-4.9, 4.9, 15)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()


def symmetric_score(
    beta: jax.Array, tau: jax.Array, half_log_odds: jax.Array, phi: jax.Array, y: jax.Array
) -> jax.Array:
    """Gradient of the log-likelihood of (phi (d,), y ()) in (beta, tau, lambda), shape (d + 2,).

    (y tanh t - b) phi / sigma^2
    -1/2 + (y^2 + b^2) / (2 sigma^2) - b y tanh(t) / sigma^2
    tanh t - tanh lambda
    """
    deviation = jnp.exp(tau / 2)
    b, y = dot(beta, phi) / deviation, y / deviation
    s = jnp.tanh(b * y + half_log_odds)
    rest = jnp.stack([(y * y + b * b) / 2 - b * y * s - 0.5, s - jnp.tanh(half_log_odds)])
    return jnp.concatenate([(y * s - b) / deviation * phi, rest])


def factor(
    beta: jax.Array, tau: jax.Array, half_log_odds: jax.Array, phi: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Three vectors v (d + 2,) whose outer products sum to the Fisher information of one observation.

    Information = complete - missing (Louis 1982), in (b / sigma, tau, lambda) and with rho = b / sigma:

        diag(1, 1/2, sech^2 lambda) - E[ sech^2(t) g g' ],   g = (y / sigma, -rho y / sigma, 1)

    and the expectation collapses to one normal variable Z:

        E[ sech^2(t) (y / sigma)^k ] = exp(-rho^2 / 2) / cosh(lambda) * E[ sech(rho Z + lambda) Z^k ]
    """
    deviation = jnp.exp(tau / 2)
    rho = dot(beta, phi) / deviation
    sech = 1 / jnp.cosh(half_log_odds)
    m0, m1, m2 = (jnp.exp(-rho * rho / 2) * sech * moment for moment in _moments(rho, half_log_odds))

    # The Cholesky factor of the 3 x 3 information, pivots in the order (tau, b, lambda).
    tau_root = jnp.sqrt(jnp.maximum(0.5 - rho * rho * m2, 1e-6))
    b_tau = rho * m2 / tau_root
    odds_tau = rho * m1 / tau_root
    least = jnp.finfo(rho.dtype).tiny  # not 0, where the derivative of the root is infinite
    b_square = jnp.maximum(1 - m2 - b_tau * b_tau, least)
    b_root = jnp.sqrt(b_square)
    positive = b_square > 1e-6
    odds_b = jnp.where(positive, (-m1 - b_tau * odds_tau) / jnp.where(positive, b_root, 1), 0)
    rest = sech * sech - m0 - odds_tau * odds_tau - odds_b * odds_b
    odds_root = jnp.sqrt(jnp.maximum(rest, least))

    x, zero = phi / deviation, jnp.zeros_like(rho)
    return (
        jnp.concatenate([b_tau * x, jnp.stack([tau_root, odds_tau])]),
        jnp.concatenate([b_root * x, jnp.stack([zero, odds_b])]),
        jnp.concatenate([0 * x, jnp.stack([zero, odds_root])]),
    )


def _moments(rho: jax.Array, half_log_odds: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """E[ sech(rho Z + lambda) Z^k ] for k = 0, 1, 2 and Z ~ N(0, 1)."""
    m0, m1, m2 = jnp.zeros_like(rho), jnp.zeros_like(rho), jnp.zeros_like(rho)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        decay = jnp.exp(-jnp.abs(rho * node + half_log_odds))
        sech = weight * 2 * decay / (1 + decay * decay)
        m0, m1, m2 = m0 + sech, m1 + node * sech, m2 + node * node * sech
    return m0, m1, m2
