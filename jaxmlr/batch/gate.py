"""Weights that depend on concomitant variables: weights_k(z) = softmax(alpha_k' z), the gate."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr.batch.moments import GateMoments, tiles
from jaxmlr.batch.outcome import Fit
from jaxmlr.batch.rows import PackedRows
from jaxmlr.batch.solve import solve


def log_gate(gate: jax.Array, z: jax.Array) -> jax.Array:
    """Log weights (K, T, L) of gate alpha (K, m) at concomitants z (m, T, L)."""
    score = gate[:, 0, None, None] * z[None, 0]
    for j in range(1, z.shape[0]):  # term by term it fuses
        score = score + gate[:, j, None, None] * z[None, j]
    return jax.nn.log_softmax(score, axis=0)


def gate_moments(z: jax.Array, r: jax.Array, prior: jax.Array, weight: jax.Array) -> GateMoments:
    """Gradient and Hessian of sum r_k log weights_k(z) in alpha, in lanes.

    z (m, T, L), r and prior (K, T, L), weight (T, L) = sum_k r_k. Component 0 has alpha = 0.
    """
    own = prior[1:]
    slope = tiles((r[1:] - weight[None] * own)[:, None], z[None])
    same = jnp.eye(own.shape[0], dtype=z.dtype)[:, :, None, None]
    spread = weight[None, None] * own[:, None] * (same - own[None])
    curvature = tiles(spread[:, :, None, None], z[None, None, :, None], z[None, None, None])
    return GateMoments(slope, curvature)


def gate_step(
    gate: jax.Array, moments: GateMoments, reach: jax.Array, n: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A damped Newton step of alpha (K, m), which raises sum r_k log weights_k(z), and how far it moved.

        alpha += t delta,   delta = H^-1 g,   t = log(1 + R) / R,   R = max_z max_k,l |(delta_k - delta_l)' z|

    Along delta the third derivative is at most R times the second, so that this t raises the sum always
    (self-concordance, Bach 2010), also where the components can be separated; near the optimum t is 1.

    Args:
      gate: (K, m), the first row 0.
      moments: at this gate.
      reach: (m,) the largest |z_j|, which bounds R.
      n: () the sum of the weights.

    Returns:
      The new gate, and sqrt(delta' H delta / n) t, the root mean square change of log weights.
    """
    components, m = gate.shape
    slope = moments.slope.reshape(-1)
    hessian = moments.curvature.transpose(0, 2, 1, 3).reshape(slope.shape[0], slope.shape[0])
    free = solve(hessian, slope)
    delta = jnp.concatenate([jnp.zeros((1, m), gate.dtype), free.reshape(components - 1, m)])
    tiny = float(jnp.finfo(gate.dtype).tiny)
    range_ = jnp.maximum(jnp.sum((jnp.max(delta, axis=0) - jnp.min(delta, axis=0)) * reach), tiny)
    step = jnp.where(range_ > jnp.finfo(gate.dtype).eps, jnp.log1p(range_) / range_, 1)
    decrement = jnp.einsum("i,ij,j->", free, hessian, free, precision="highest")
    return gate + step * delta, step * jnp.sqrt(jnp.maximum(decrement, 0) / jnp.maximum(n, tiny))


def units(rows: PackedRows) -> tuple[jax.Array, jax.Array]:
    """Concomitants (m, T, L) and weights (T, L) of rows, or of groups where there are such."""
    if rows.groups is not None and rows.groups.concomitant is not None:
        return rows.groups.concomitant.T[:, None], rows.groups.counts[None]
    assert rows.concomitant is not None
    z = jnp.moveaxis(rows.concomitant, 1, 0)
    return z.reshape(z.shape[0], -1, z.shape[-1]), rows.weight.reshape(-1, z.shape[-1])


def first_gate(rows: PackedRows, weights: jax.Array) -> jax.Array:
    """The gate (K, m) that is nearest to constant weights (K,)."""
    z, weight = units(rows)
    gram = jnp.einsum("itl,jtl,tl->ij", z, z, weight, precision="highest")
    constant = solve(gram, jnp.einsum("itl,tl->i", z, weight, precision="highest"))
    score = jnp.log(jnp.maximum(weights, float(jnp.finfo(weights.dtype).tiny)))
    return (score - score[0])[:, None] * constant[None, :]


def mean_weights(rows: PackedRows, gate: jax.Array) -> jax.Array:
    """The mean of the gate's weights over the rows, or groups, (K,)."""
    z, weight = units(rows)
    total = jnp.maximum(jnp.sum(weight), float(jnp.finfo(weight.dtype).tiny))
    return jnp.einsum("ktl,tl->k", jnp.exp(log_gate(gate, z)), weight / total, precision="highest")


def centred(gate: jax.Array, order: jax.Array) -> jax.Array:
    """A gate (K, m) with its components in another order, the first again with alpha = 0."""
    return gate[order] - gate[order[0]][None]


def prior(fit: Fit, concomitant: ArrayLike) -> jax.Array:
    """P(z_i = k) before the response is seen: softmax(alpha_k' z).

    Args:
      fit: of `em` or `fit`.
      concomitant: (n, m), as given to the method in its columns; a fit without a gate takes any.

    Returns:
      (n, K), rows sum to 1.

    Raises:
      ValueError: another number of columns, or an entry that is not finite.
    """
    _check.number("concomitant", concomitant)
    weights = fit.mixture.weights
    if fit.gate is None:
        return jnp.broadcast_to(weights, (*jnp.shape(concomitant)[:1], weights.shape[0]))
    if jnp.ndim(concomitant) != 2 or jnp.shape(concomitant)[1] != fit.gate.shape[1]:
        wanted = fit.gate.shape[1]
        raise ValueError(f"concomitant must have shape (n, {wanted}), not {jnp.shape(concomitant)}")
    z = jnp.asarray(concomitant, weights.dtype)
    return jnp.exp(log_gate(fit.gate, z.T[:, None])[:, 0].T)


def predict(
    fit: Fit, phi: ArrayLike, concomitant: ArrayLike | None = None, *, trials: ArrayLike | None = None
) -> jax.Array:
    """E[y | phi, z] = sum_k weights_k(z) mu_k, where mu_k is the mean of y under component k, beta_k' phi.

    Of a family with another link it is exp(beta_k' phi), or trials / (1 + exp(-beta_k' phi)).

    Args:
      fit: of `em` or `fit`.
      phi: (n, d).
      concomitant: (n, m), as of `prior`; a fit without a gate needs none.
      trials: (n,) of binomial responses; None: 1, so that means are probabilities.

    Returns:
      (n,).

    Raises:
      ValueError: as `prior`, or phi does not fit.
    """
    own, law = fit.mixture.linear_predictors(phi), fit.constraints.law
    if trials is not None and (law is None or law.link != "logit"):
        raise ValueError(f"trials must be None with family={fit.constraints.family!r}")
    if concomitant is None and fit.gate is not None:
        raise ValueError("concomitant must be given, as to the method that made the fit, not None")
    weights = fit.mixture.weights[None] if concomitant is None else prior(fit, concomitant)
    if law is not None:
        own = law.mean(own, None if trials is None else jnp.asarray(trials, own.dtype)[:, None])
    return jnp.sum(weights * own, axis=1)
