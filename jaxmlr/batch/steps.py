"""The E-step as one pass over the rows, and the M-step on the moments that it leaves."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxmlr._xla.linear import dot
from jaxmlr._xla.materialise import stored
from jaxmlr.batch.constraints import Constraints, MStepOptions
from jaxmlr.batch.families import Law, Working, damping
from jaxmlr.batch.gate import gate_moments, log_gate
from jaxmlr.batch.moments import Moments, PartialMoments, lanes_summed, moments, total
from jaxmlr.batch.rows import Groups, PackedRows
from jaxmlr.batch.solve import solve
from jaxmlr.mixture import Mixture

Joint = Callable[[PackedRows, Mixture], jax.Array]


def log_joint(error: jax.Array, mixture: Mixture) -> jax.Array:
    """Entries log weights[k] + log N(error; 0, sigma_k^2), (K, T, L), for residuals (K, T, L).

    As `Mixture._log_joint`, with rows along the fast axes and every entry finite.
    """
    variance = jnp.broadcast_to(mixture.noise_variance, mixture.weights.shape)
    present, weights, least = _present(mixture.weights)
    constant = jnp.where(present, jnp.log(weights) - 0.5 * jnp.log(2 * math.pi * variance), least)
    return jnp.maximum(
        constant[:, None, None] - error * error * (0.5 / variance)[:, None, None], least[:, None, None]
    )


def law_joint(
    law: Law, eta: jax.Array, y: jax.Array, trials: jax.Array | None, mixture: Mixture
) -> jax.Array:
    """As `log_joint`, log weights[k] + log f(y; eta, v_k) under a law, for predictors (K, T, L)."""
    present, weights, least = _present(mixture.weights)
    variance = jnp.broadcast_to(mixture.noise_variance, mixture.weights.shape)[:, None, None]
    density = law.log_density(eta, y[None], variance, None if trials is None else trials[None])
    constant = jnp.where(present, jnp.log(weights), least)[:, None, None]
    return jnp.maximum(constant + density, least[:, None, None])


def _present(weights: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Which components have weight, their weights, 1 for the others, and the least of their log densities.

    A row that no component can reach must not read -inf in all of them: their difference is NaN. What has
    weight 0 lies lower still, so that it takes no row.
    """
    info = jnp.finfo(weights.dtype)
    present = weights > 0
    weights = jnp.where(present, jnp.maximum(weights, info.tiny), 1)
    return present, weights, jnp.where(present, 0.25 * float(info.min), 0.5 * float(info.min))


def restricted(joint: jax.Array, known: jax.Array | None) -> jax.Array:
    """`log_joint` (K, ...) without the components that rows, or groups, are known not to belong to."""
    return joint if known is None else jnp.where(known, joint, 0.5 * float(jnp.finfo(joint.dtype).min))


def even(mixture: Mixture) -> Mixture:
    """The mixture with 1 for weights, whose `log_joint` is the log density under each component."""
    return mixture._replace(weights=jnp.ones_like(mixture.weights))


def log_joints(
    part: PackedRows, mixture: Mixture, gate: jax.Array | None = None, law: Law | None = None
) -> jax.Array:
    """Entries of `log_joint` of a block, (K, T, L), to be differentiated: matrix products stay such."""
    fitted = jnp.einsum("kd,dtl->ktl", mixture.coefficients, part.phi, precision="highest")
    plain = gate is None or part.concomitant is None
    own = mixture if plain else even(mixture)
    if law is None:
        joint = log_joint(part.y[None] - fitted, own)
    else:
        joint = law_joint(law, fitted, part.y, part.trials, own)
    return joint if gate is None or part.concomitant is None else joint + log_gate(gate, part.concomitant)


def log_density(
    part: PackedRows,
    mixture: Mixture,
    outlier_density: jax.Array | None = None,
    gate: jax.Array | None = None,
    law: Law | None = None,
) -> jax.Array:
    """Log density of each row of a block, (T, L), to be differentiated; but for the `base` of its law."""
    density = jax.nn.logsumexp(restricted(log_joints(part, mixture, gate, law), part.known), axis=0)
    return density if outlier_density is None else jnp.logaddexp(density, jnp.log(outlier_density))


def group_joint(
    rows: PackedRows, groups: Groups, mixture: Mixture, joint: Joint, gate: jax.Array | None = None
) -> jax.Array:
    """Entries log weights[k] + sum over a group's rows of w_i log N(y_i; ...), (K, G).

    `joint` gives the `log_joint` of a block.
    """

    def block(_: None, part: PackedRows) -> tuple[None, jax.Array]:
        return None, part.weight[None] * joint(part, even(mixture))

    density = lax.scan(block, None, rows._replace(groups=None))[1]
    flat = jnp.moveaxis(density, 1, 0).reshape(density.shape[1], -1)
    least = 0.25 * float(jnp.finfo(flat.dtype).min)  # as in `log_joint`: sums may have overflowed
    sums = jnp.zeros((flat.shape[0], groups.counts.shape[0]), flat.dtype)
    sums = jnp.maximum(sums.at[:, groups.number.reshape(-1)].add(flat), least)
    if gate is None or groups.concomitant is None:
        prior = jnp.log(jnp.maximum(mixture.weights, float(jnp.finfo(flat.dtype).tiny)))[:, None]
    else:
        prior = log_gate(gate, groups.concomitant.T[:, None])[:, 0]
    return restricted(prior + sums, None if groups.known is None else groups.known.T)


def residuals(phi: jax.Array, y: jax.Array, mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    """Residuals (K, T, L) of phi (d, T, L) and y (T, L), and their `log_joint`."""
    error = y[None]
    # Term by term it fuses; a matrix product would need the block in another layout.
    for i in range(phi.shape[0]):
        error = error - mixture.coefficients[:, i, None, None] * phi[None, i]
    both: tuple[jax.Array, jax.Array] = stored((error, log_joint(error, mixture)))
    return both


def errors(part: PackedRows, mixture: Mixture, law: Law | None) -> tuple[jax.Array | Working, jax.Array]:
    """As `residuals`, or under a law what its steps are made of, for a block."""
    if law is None:
        return residuals(part.phi, part.y, mixture)
    eta = mixture.coefficients[:, 0, None, None] * part.phi[None, 0]
    for i in range(1, part.phi.shape[0]):
        eta = eta + mixture.coefficients[:, i, None, None] * part.phi[None, i]
    eta = stored(eta)
    variance = jnp.broadcast_to(mixture.noise_variance, mixture.weights.shape)[:, None, None]
    trials = None if part.trials is None else part.trials[None]
    working = law.working(eta, part.y[None], variance, trials)
    both: tuple[Working, jax.Array] = stored((working, law_joint(law, eta, part.y, part.trials, mixture)))
    return both


def e_step(
    rows: PackedRows,
    mixture: Mixture,
    outlier_density: jax.Array | None = None,
    gate: jax.Array | None = None,
    law: Law | None = None,
) -> Moments:
    """E-step: moments weighted by the posterior under `mixture`, and the log-likelihood of `mixture`.

    `outlier_density` c joins the lines as an improper component of constant density, which has no moments.
    With a gate (K, m) the weights are those at a row's concomitants. The likelihood lacks the `base` of the
    law, if there is one.
    """
    if rows.groups is not None:
        return _grouped_e_step(rows, rows.groups, mixture, gate, law)

    def block(part: PackedRows) -> PartialMoments:
        phi, _, weight = part[:3]
        if gate is None or part.concomitant is None:
            error, joint = errors(part, mixture, law)
        else:
            error, joint = errors(part, even(mixture), law)
            prior = log_gate(gate, part.concomitant)
            joint = joint + prior
        joint = restricted(joint, part.known)
        top = jnp.max(joint, axis=0)
        if outlier_density is not None:
            background = jnp.log(outlier_density)
            top = jnp.maximum(top, background)
        density = jnp.exp(joint - top[None])
        norm = jnp.sum(density, axis=0)
        if outlier_density is not None:
            norm = norm + jnp.exp(background - top)
        likelihood = weight * (top + jnp.log(norm))
        r = density * (weight / norm)[None]
        if gate is None or part.concomitant is None:
            return moments(phi, error, r, likelihood)
        # An outlier belongs to no component, and tells the gate nothing.
        sums = gate_moments(part.concomitant, r, jnp.exp(prior), jnp.sum(r, axis=0))
        return moments(phi, error, r, likelihood, sums)

    return total(block, rows._replace(blocks=None), rows.blocks)


def _grouped_e_step(
    rows: PackedRows, groups: Groups, mixture: Mixture, gate: jax.Array | None, law: Law | None
) -> Moments:
    """The E-step where a group's rows share their component: one pass for densities, one for moments."""
    joint = group_joint(rows, groups, mixture, lambda part, each: errors(part, each, law)[1], gate)
    density = jax.nn.logsumexp(joint, axis=0)
    posterior = jnp.exp(joint - density[None])

    def block(part: tuple[PackedRows, jax.Array]) -> PartialMoments:
        each, number = part
        error = errors(each, mixture, law)[0]
        return moments(each.phi, error, each.weight[None] * posterior[:, number], jnp.zeros_like(each.y))

    sums = total(block, (rows._replace(groups=None), groups.number))
    counted = groups.counts[None] * posterior
    likelihood = jnp.sum(jnp.where(groups.counts > 0, density, 0))
    sums = sums._replace(log_likelihood=likelihood, groups=jnp.sum(counted, axis=1))
    if gate is None or groups.concomitant is None:
        return sums
    z = groups.concomitant.T[:, None]
    lanes = gate_moments(z, counted[:, None], jnp.exp(log_gate(gate, z)), groups.counts[None])
    return sums._replace(gate=jax.tree.map(lanes_summed, lanes))


def hard_e_step(rows: PackedRows, mixture: Mixture) -> Moments:
    """Hard E-step: every row counts for its most probable component; the likelihood is that of the labels."""

    def block(part: PackedRows) -> PartialMoments:
        phi, y, weight = part[:3]
        error, joint = residuals(phi, y, mixture)
        component = jnp.arange(joint.shape[0], dtype=jnp.int32)
        chosen = component[:, None, None] == jnp.argmax(joint, axis=0).astype(jnp.int32)[None]
        likelihood = weight * jnp.max(joint, axis=0)
        return moments(phi, error, jnp.where(chosen, weight[None], 0), likelihood)

    return total(block, rows._replace(blocks=None), rows.blocks)


def given(rows: PackedRows, posterior: jax.Array) -> Moments:
    """Moments about the line 0, weighted by a posterior (blocks, K, T, L) that is given."""

    def block(part: tuple[PackedRows, jax.Array]) -> PartialMoments:
        (phi, y, weight, *_), posterior = part
        error = jnp.broadcast_to(y[None], posterior.shape)
        return moments(phi, error, posterior * weight[None], jnp.zeros_like(y))

    return total(block, (rows, posterior))


def m_step(
    moments: Moments,
    mixture: Mixture,
    constraints: Constraints,
    options: MStepOptions,
    reach: jax.Array | None = None,
) -> tuple[Mixture, jax.Array]:
    """M-step from `mixture`, which the moments were taken under, and how far it moved.

        delta_k   = (sum r phi phi' + ridge)^-1 (sum r phi e - ridge beta_k),   beta_k += delta_k
        sigma_k^2 = (sum r (e - delta_k' phi)^2 + beta_k' ridge beta_k) / sum r  *  n / (n - ddof)
        weights   = sum r / n, or where rows have groups the mean over these

    Under a law of Newton's steps delta_k is damped, `families.damping`, with the `reach` (d,) of the
    regressors, and the dispersion, taken first, is that of the moments' spread: each raises the likelihood.

    Returns:
      The new mixture with noise_variance (K,), and the largest of: a line's root mean square move over
      its sigma, a variance's relative move, a weight's move.
    """
    beta, weights, variance = mixture
    new_variance = variance
    gram, cross, square, size, _, groups, _ = moments
    dtype = beta.dtype
    tiny, eps = float(jnp.finfo(dtype).tiny), float(jnp.finfo(dtype).eps)
    d = beta.shape[1]

    ridge = jnp.where(jnp.eye(d, dtype=bool), options.ridge[:, None], 0)
    left = gram + ridge[None]
    right = cross - options.ridge[None, :] * beta
    law = constraints.law
    newton = law is not None and law.newton
    if law is not None and newton and not constraints.known_variance:
        count = constraints.pooled(size)
        mean = law.dispersion(constraints.pooled(square) / jnp.maximum(count, tiny))
        new_variance = jnp.maximum(jnp.where(count > tiny, mean, variance), options.variance_floor)
    if constraints.restricted:
        # Components count by their precision, relative so that nothing overflows.
        spread = new_variance if newton else variance
        precision, layout = jnp.min(spread) / spread, constraints.layout(*beta.shape)
        gram_of_numbers = layout.summed_pairs(precision[:, None, None] * left)
        numbers = solve(gram_of_numbers, layout.summed(precision[:, None] * right))
        delta = layout.spread(numbers, jnp.zeros_like(beta))
    else:
        delta = solve(left, right)
    if newton and reach is not None:
        step = damping(delta, reach)
        delta = (jnp.broadcast_to(jnp.min(step), step.shape) if constraints.restricted else step)[
            :, None
        ] * delta
    shift = jnp.einsum("ki,kij,kj->k", delta, gram, delta, precision="highest")
    beta = beta + delta

    # Below a few rounding errors of what it is the difference of, a sum of squares is noise.
    residual = jnp.maximum(square - 2 * dot(delta, cross) + shift, 4 * eps * square)
    residual = residual + dot(beta * beta, options.ridge)
    n = jnp.sum(size)
    new_weights = weights
    if not constraints.known_weights:
        count = size if groups is None else groups
        new_weights = count / jnp.maximum(n if groups is None else jnp.sum(groups), tiny)
    if not constraints.known_variance and not newton:
        count = constraints.pooled(size)
        mean = jnp.where(count > tiny, constraints.pooled(residual) / jnp.maximum(count, tiny), variance)
        new_variance = jnp.maximum(mean * (n / (n - options.ddof)), options.variance_floor)
    change = jnp.max(
        jnp.stack(
            [
                jnp.sqrt(jnp.maximum(shift, 0) / jnp.maximum(jnp.maximum(size, tiny) * variance, tiny)),
                jnp.abs(new_variance - variance) / variance,
                jnp.abs(new_weights - weights),
            ]
        )
    )
    return Mixture(beta, new_weights, new_variance), change


def resolution(y: jax.Array, weight: jax.Array) -> jax.Array:
    """Least variance worth the name, (): the square of the rounding error of y (n,)."""
    info = jnp.finfo(y.dtype)
    square = jnp.sum(weight * y * y) / jnp.maximum(jnp.sum(weight), float(info.tiny))
    return jnp.maximum(float(info.eps) ** 2 * square, float(info.tiny))
