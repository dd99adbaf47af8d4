"""Which optima chance explains: lines through a few rows that happen to lie on one."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmlr.batch.outcome import Fit
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.batch.steps import log_joint
from jaxmlr.mixture import Mixture

NARROW = 1 / 3  # of the greatest sigma: wider components on many rows are not suspected
LEVEL = 7.0  # log of how much rarer than once among all lines through d rows a sound component is
CHUNK = 1024  # rows judged at a time, where only the first of many are there
FAR = 4.5  # a row counts as no farther from the other lines than 3 of the greatest sigma


def distinct(data: Rows) -> jax.Array:
    """Whether each row counts as a measurement of its own, (n,).

    Copies of a row are one point of a line, unless responses at these regressors vary: of the rows with the
    same regressors and the same response as many count as there are distinct responses at these regressors.
    """
    phi, y, weight = data[:3]
    factors = jnp.sqrt(jnp.arange(2, phi.shape[1] + 2, dtype=y.dtype))  # equal rows have equal sums
    setting = jnp.where(weight > 0, jnp.sum(phi * factors[None, :], axis=1), jnp.inf)
    order = jnp.lexsort((y, setting))
    setting, response = setting[order], y[order]
    first = jnp.ones(1, bool)
    new_setting = jnp.concatenate([first, setting[1:] != setting[:-1]])
    new_point = new_setting | jnp.concatenate([first, response[1:] != response[:-1]])
    number = jnp.cumsum(new_setting.astype(jnp.int32)) - 1
    responses = jnp.zeros(y.shape, jnp.int32).at[number].add(new_point.astype(jnp.int32))[number]
    place = jnp.arange(y.shape[0], dtype=jnp.int32)
    copy = place - lax.cummax(jnp.where(new_point, place, 0))
    counts = (copy < responses) & jnp.isfinite(setting)
    return jnp.zeros(y.shape, bool).at[order].set(counts)


def suspects(
    mixture: Mixture,
    data: Rows,
    counts: jax.Array,
    used: jax.Array | None = None,
    shared: int = 0,
    first: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Which components chance explains, (K,) bool, and how many rows each rests on, (K,).

    With f the density of the rows, f_-k that without component k, s the greatest sigma and m_k the sum of the
    posteriors of component k, its evidence is

        E_k = sum_i log f_i / f_-k,i

    where f_-k is at least N(3 s; 0, s^2), so that no outlier counts for more than one 3 s from the other
    lines. Of the C(N, d) lines through d of the N rows within 2 s of line k the best gains about log C(N, d)
    by chance from rows beyond the d that define it. A component, other than the widest, is explained by
    chance where sigma_k < s / 3 or m_k < 2 d, and

        (1 - d / m_k) E_k < log C(N, d) + 7.

    The test is this project's.

    Args:
      mixture: an optimum of the likelihood, whose variances were free.
      data: its rows.
      counts: (n,) bool, the rows that count, as from `distinct`.
      used: () int32, how many components there are where the others fill the arrays up; None: all.
      shared: regressors whose coefficients are common or known; they do not count in d.
      first: () int32, how many of the rows are looked at, from the first; None: all.
    """
    beta, weights, variance = mixture
    dtype, d = beta.dtype, jnp.asarray(data.dim, beta.dtype) - shared
    places = jnp.arange(len(weights), dtype=jnp.int32)
    present = places < (len(weights) if used is None else used)
    variance = jnp.broadcast_to(variance, weights.shape)
    widest = jnp.argmax(jnp.where(present, variance, 0)).astype(jnp.int32)
    most = variance[widest]
    far = -0.5 * jnp.log(2 * jnp.pi * most) - FAR

    def sums(phi: jax.Array, y: jax.Array, counts: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Of the components (K,): the evidence, the posteriors' sum, and how many rows are near."""
        error = y[None, :] - jnp.einsum("nd,kd->kn", phi, beta, precision="highest")
        joint = log_joint(error[..., None], Mixture(beta, weights, variance))[..., 0]
        density = jax.nn.logsumexp(joint, axis=0)
        rest = jnp.log1p(-jnp.minimum(weights, 1 - float(jnp.finfo(dtype).eps)))[:, None]
        posterior = jnp.exp(joint - density[None])
        others = jnp.maximum(density[None] + jnp.log1p(-posterior), rest + far)
        gain = rest + jnp.log1p(jnp.exp(joint - others))
        near = jnp.sum(counts[None] & (jnp.square(error) < 4 * most), axis=1, dtype=jnp.int32)
        evidence, m = (jnp.sum(jnp.where(counts[None], each, 0), axis=1) for each in (gain, posterior))
        return evidence, m, near.astype(dtype)

    if first is None:
        evidence, m, near = sums(data.phi, data.y, counts)
    else:
        parts = data.phi, data.y, counts

        def add(i: jax.Array, so_far: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            part = (lax.dynamic_slice_in_dim(leaf, i * CHUNK, CHUNK) for leaf in parts)
            return tuple(a + b for a, b in zip(so_far, sums(*part), strict=True))

        chunks = (jnp.asarray(first, jnp.int32) + CHUNK - 1) // CHUNK
        evidence, m, near = lax.fori_loop(0, chunks, add, (jnp.zeros_like(weights),) * 3)

    chosen = jnp.arange(data.phi.shape[1], dtype=dtype)
    ratios = jnp.log(jnp.maximum(near[:, None] - chosen[None], 1)) - jnp.log(chosen + 1)[None]
    lines = jnp.sum(jnp.where(chosen[None] < d, ratios, 0), axis=1)  # log C(near, d)
    suspected = (variance < NARROW**2 * most) | (m < 2 * d)
    rare = (1 - d / jnp.maximum(m, 1)) * evidence > lines + LEVEL
    return present & (places != widest) & suspected & ~rare, m


def plausible(
    fit: Fit,
    data: Rows,
    counts: jax.Array,
    used: jax.Array | None = None,
    first: jax.Array | None = None,
) -> jax.Array:
    """Whether no component of a fit is one of the `suspects`, (); none is where variances are not free."""
    if fit.constraints.known_variance or fit.constraints.equal_variance:
        return jnp.ones((), bool)
    shape, shared = fit.mixture.coefficients.shape, 0
    if fit.constraints.common or fit.constraints.held:
        shared = int(np.sum(~fit.constraints.own_columns(*shape)))
    return ~jnp.any(suspects(fit.mixture, data, counts, used, shared, first)[0])
