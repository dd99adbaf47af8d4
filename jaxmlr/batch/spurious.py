"""Which optima chance explains: lines through a few rows that happen to lie on one."""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxmlr.batch.outcome import Fit
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.batch.steps import log_joint
from jaxmlr.mixture import Mixture

NARROW = 0.1  # of the greatest sigma: wider components are not suspected
LEVEL = 3.0  # log of how much rarer than once among all lines through d rows a sound component is


def distinct(data: Rows) -> jax.Array:
    """Whether each row counts and repeats none before it, (n,): ten equal rows are one point of a line."""
    phi, y, weight = data[:3]
    d = phi.shape[1]
    factors = jnp.sqrt(jnp.arange(2, d + 3, dtype=y.dtype))  # equal rows have equal sums, others hardly
    mark = y * factors[0] + jnp.sum(phi * factors[None, 1:], axis=1)
    mark = jnp.where(weight > 0, mark, jnp.inf)
    order = jnp.argsort(mark)
    ranked = mark[order]
    first = jnp.concatenate([jnp.ones(1, bool), ranked[1:] != ranked[:-1]]) & jnp.isfinite(ranked)
    return jnp.zeros(y.shape, bool).at[order].set(first)


def plausible(fit: Fit, data: Rows, counts: jax.Array, used: jax.Array | None = None) -> jax.Array:
    """Whether no component of a fit is one that chance explains, (); where variances are known, none is.

    With s the greatest sigma, let G_k = sum_i log f_i - log f_i(sigma_k = s) be what the likelihood gains
    from component k being narrow, m_k the sum of its posteriors, and N the rows within 2 s of its line. The
    best of the C(N, d) lines through d of these gains about log C(N, d) by chance from rows beyond the d that
    define it. Component k is refused where sigma_k < s / 10 and

        (1 - d / m_k) G_k < log C(N, d) + 3.

    The test is this project's.

    Args:
      fit: of EM.
      data: its rows.
      counts: (n,) bool, the rows that count, as from `distinct`.
      used: () int32, how many components there are where the others fill the arrays up; None: all.
    """
    if fit.constraints.known_variance:
        return jnp.ones((), bool)
    beta, weights, variance = fit.mixture
    dtype, d = beta.dtype, jnp.asarray(data.dim, beta.dtype)
    places = jnp.arange(len(weights), dtype=jnp.int32)
    present = places < (len(weights) if used is None else used)
    variance = jnp.broadcast_to(variance, weights.shape)
    widest = jnp.max(jnp.where(present, variance, 0))
    mixture = Mixture(beta, weights, variance)
    fitted = jnp.einsum("nd,kd->kn", data.phi, beta, precision="highest")
    error = data.y[None, :] - fitted
    joint = log_joint(error[..., None], mixture)[..., 0]
    wide = log_joint(error[..., None], mixture._replace(noise_variance=jnp.full_like(variance, widest)))[
        ..., 0
    ]
    density = jax.nn.logsumexp(joint, axis=0)

    def suspicious(k: jax.Array) -> jax.Array:
        own = places == k
        widened = jax.nn.logsumexp(jnp.where(own[:, None], wide, joint), axis=0)
        gain = jnp.sum(jnp.where(counts, density - widened, 0))
        m = jnp.sum(jnp.where(counts, jnp.exp(joint[k] - density), 0))
        near = jnp.sum(counts & (jnp.square(error[k]) < 4 * widest), dtype=jnp.int32).astype(dtype)
        lines = gammaln(near + 1) - gammaln(d + 1) - gammaln(jnp.maximum(near - d, 0) + 1)
        narrow = present[k] & (variance[k] < NARROW**2 * widest)
        return narrow & ~((1 - d / jnp.maximum(m, 1)) * gain > lines + LEVEL)

    return ~jnp.any(jax.vmap(suspicious)(places))
