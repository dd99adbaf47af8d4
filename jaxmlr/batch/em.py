"""Expectation maximisation for mixed linear regression, soft and hard: the core of the batch methods."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxmlr._xla.jit import one_by_one, wide_jit
from jaxmlr._xla.linear import dot
from jaxmlr.batch import steps
from jaxmlr.batch.acceleration import LONG, Track, begun, next_goal
from jaxmlr.batch.constraints import Constraints, MStepOptions
from jaxmlr.batch.gate import first_gate, gate_step, mean_weights, units
from jaxmlr.batch.moments import Moments
from jaxmlr.batch.outcome import Fit, with_ending
from jaxmlr.batch.problem import prepare
from jaxmlr.batch.rows import PackedRows
from jaxmlr.mixture import Mixture


def em(
    phi: ArrayLike,
    y: ArrayLike,
    start: Mixture,
    *,
    max_iterations: int = 1000,
    tolerance: ArrayLike | None = None,
    known_weights: bool = False,
    known_variance: bool = False,
    equal_variance: bool | ArrayLike = False,
    tie: str = "none",
    common: ArrayLike | None = None,
    known_coefficients: ArrayLike | None = None,
    variance_floor: ArrayLike = 0.0,
    ridge: ArrayLike = 0.0,
    ddof: ArrayLike = 0.0,
    outlier_density: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    known: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    concomitant: ArrayLike | None = None,
    family: str = "normal",
    degrees: float | None = None,
    trials: ArrayLike | None = None,
) -> Fit:
    """Maximum likelihood by EM (Dempster, Laird and Rubin 1977; for regressions DeSarbo and Cron 1988).

    One step, from the mixture before it:

        r_ik      = w_i weights_k N(y_i; beta_k' phi_i, sigma_k^2) / sum_j weights_j N(...)
        beta_k    = (sum_i r_ik phi_i phi_i' + ridge)^-1 sum_i r_ik phi_i y_i
        sigma_k^2 = (sum_i r_ik (y_i - beta_k' phi_i)^2 + beta_k' ridge beta_k) / sum_i r_ik * n / (n - ddof)
        weights_k = sum_i r_ik / n,     n = sum_i w_i

    The textbook form; beta_k is reached through residuals, a rewriting that keeps its accuracy where the
    noise is small. Each step is one pass over the data, and raises what `trace` holds: the
    log-likelihood, less sum_k beta_k' ridge beta_k / (2 sigma_k^2). Components are never dropped. A component
    without rows keeps its line. An intercept is a column of ones in phi.

    Args:
      phi: (n, d) regressors.
      y: (n,) responses, of the dtype of phi.
      start: where to start. Its noise_variance may be () or (K,).
      max_iterations: most steps, at least 1.
      tolerance: stop when a step moves every line by less than this fraction of its sigma (root mean square
        over the component's rows), every variance by less than this fraction and every weight by less than
        this. None: the square root of the dtype's precision.
      known_weights: keep the weights of `start`.
      known_variance: keep the noise variance of `start`.
      equal_variance: one sigma^2 for all components; or (K,) integers, one for all components of one number.
      tie: "none"; "symmetric" for two components with coefficients [beta, -beta]; "common" for one beta
        and components that differ in noise alone. The start is projected. Where variances differ and are
        unknown the step is a conditional maximisation, still monotone.
      common: regressors whose coefficient is one for all components, by their columns or a mask (d,) of
        booleans; or (K, d) integers: components of one number in a column have one coefficient there. Then

            sum_k (1 / sigma_k^2) S_k' (A_k S_k gamma - b_k) = 0,   beta_k = S_k gamma

        takes the place of the equations A_k beta_k = b_k above, S_k choosing from all free numbers gamma.
      known_coefficients: (d,) or (K, d) booleans, True where the coefficients of `start` are kept.
      variance_floor: least sigma_k^2. Never below the rounding error of y.
      ridge: () or (d,), at least 0: the prior beta_k | sigma_k^2 ~ N(0, sigma_k^2 / ridge).
      ddof: variances are multiplied by n / (n - ddof). With d this is flexmix's estimate, which is not
        maximum likelihood: the trace may then fall.
      outlier_density: c > 0, in units of 1/y: a further component of constant density c takes the outliers
        (Coretto and Hennig 2016), so r_ik has c added to its denominator, and the likelihood is the sum of
        w_i log(c + sum_k weights_k N(...)). Gross errors of any size then lose their weight; 0.001 / sigma
        takes half of it 3.3 sigma from a single line. None is 0. With it use `equal_variance` or known
        variances: a component with a variance of its own would collect the outliers.
      mask: (n,) bool, False for rows to leave out, whatever they hold.
      row_weights: (n,) w, at least 0: a row of weight 2 counts as two rows.
      known: (n, K) bool, the components that each row may belong to; r_ik is 0 for the others, and the
        row's likelihood is sum_k known_ik weights_k N(...). None: all.
      groups: (n,) integers. Rows of one group share their component: r is of the group, with the product
        of N(...)^w_i over its rows for N(...), and weights_k is the mean of r over the groups.
      concomitant: (n, m) z, with a column of ones for an intercept: weights_k(z) = softmax(alpha_k' z) in
        place of weights_k, alpha_0 = 0, the same z in all rows of a group. Each step has a damped Newton step
        of alpha (Jordan and Jacobs 1994; `batch.gate.gate_step`) that raises the likelihood, from constant
        weights at the start. `Fit.gate` has alpha, and the weights of the mixture are the mean over rows.
      family: the law f of y given eta_k = beta_k' phi_i in the place of N (Gruen and Leisch 2007):
            "poisson"   counts, E[y] = exp(eta)
            "binomial"  successes in `trials`, E[y] = trials / (1 + exp(-eta))
            "gamma"     y > 0, E[y] = exp(eta), Var[y] = v_k E[y]^2
            "student"   (y - eta) / sqrt(v_k) has Student's t distribution with `degrees` of freedom

        noise_variance is v, 1 of the first two. beta_k moves by a damped step of Newton that raises the
        likelihood always (`batch.families.damping`), of "student" by weighted least squares. None takes
        `outlier_density`, the first three no `ddof`, the first two nothing of variances, "gamma" no ridge.
      degrees: of freedom of "student", greater than 0; None: 4.
      trials: (n,) whole numbers of at least 1, of "binomial"; None: 1.

    Returns:
      A Fit, whose `result` says how it ended. noise_variance is () with `equal_variance`, the start's with
      `known_variance`, else (K,). All but `max_iterations`, `tie`, `family`, `degrees` and the flags may be
      traced: data sets, starts and hyper-parameters vmap.

    Raises:
      ValueError: a concrete argument is out of range, or shapes do not fit.
    """
    problem, constraints = prepare(
        phi,
        y,
        start,
        max_iterations=max_iterations,
        tolerance=tolerance,
        known_weights=known_weights,
        known_variance=known_variance,
        equal_variance=equal_variance,
        tie=tie,
        common=common,
        known_coefficients=known_coefficients,
        variance_floor=variance_floor,
        ridge=ridge,
        ddof=ddof,
        outlier_density=outlier_density,
        mask=mask,
        row_weights=row_weights,
        known=known,
        groups=groups,
        concomitant=concomitant,
        family=family,
        degrees=degrees,
        trials=trials,
    )
    fit: Fit = iterate(*problem, max_iterations=max_iterations, constraints=constraints, e_step=steps.e_step)
    return fit


def hard_em(
    phi: ArrayLike,
    y: ArrayLike,
    start: Mixture,
    *,
    max_iterations: int = 1000,
    tolerance: ArrayLike | None = None,
    known_weights: bool = False,
    known_variance: bool = False,
    equal_variance: bool | ArrayLike = False,
    tie: str = "none",
    common: ArrayLike | None = None,
    known_coefficients: ArrayLike | None = None,
    variance_floor: ArrayLike = 0.0,
    ridge: ArrayLike = 0.0,
    ddof: ArrayLike = 0.0,
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
) -> Fit:
    """Classification EM (Celeux and Govaert 1992), as `em` but with the most probable component for r.

        r_ik = w_i if k = argmax_j weights_j N(y_i; beta_j' phi_i, sigma_j^2), ties to the lower k, else 0

    The textbook form. `trace` holds the likelihood of the labels, sum_i w_i max_k log(weights_k N(...)),
    which rises; `log_likelihood` is the mixture's. With equal known weights and `equal_variance` it is
    alternating minimisation: every row to its nearest line, then least squares (Yi, Caramanis and
    Sanghavi 2014). Not consistent: overlapping components come out too far apart and too tight.

    Args:
      phi: (n, d) regressors.
      y: (n,) responses.
      start: where to start. Its noise_variance may be () or (K,).
      max_iterations: most steps, at least 1.
      tolerance: as in `em`.
      known_weights: keep the weights of `start`.
      known_variance: keep the noise variance of `start`.
      equal_variance: as in `em`.
      tie: "none"; "symmetric" for two components with coefficients [beta, -beta]; "common" for one beta.
      common: as in `em`.
      known_coefficients: (d,) or (K, d) booleans, True where the coefficients of `start` are kept.
      variance_floor: least sigma_k^2. Never below the rounding error of y.
      ridge: () or (d,), at least 0: the prior beta_k | sigma_k^2 ~ N(0, sigma_k^2 / ridge).
      ddof: variances are multiplied by n / (n - ddof).
      mask: (n,) bool, False for rows to leave out, whatever they hold.
      row_weights: (n,) w, at least 0: a row of weight 2 counts as two rows.

    Returns:
      A Fit.

    Raises:
      ValueError: a concrete argument is out of range, or shapes do not fit.
    """
    problem, constraints = prepare(
        phi,
        y,
        start,
        max_iterations=max_iterations,
        tolerance=tolerance,
        known_weights=known_weights,
        known_variance=known_variance,
        equal_variance=equal_variance,
        tie=tie,
        common=common,
        known_coefficients=known_coefficients,
        variance_floor=variance_floor,
        ridge=ridge,
        ddof=ddof,
        mask=mask,
        row_weights=row_weights,
    )
    fit: Fit = iterate(
        *problem, max_iterations=max_iterations, constraints=constraints, e_step=steps.hard_e_step
    )
    return fit


class _State(NamedTuple):
    mixture: Mixture
    moments: Moments
    trace: jax.Array
    change: jax.Array
    iterations: jax.Array
    gate: jax.Array | None
    track: Track | None


@functools.partial(wide_jit, static_argnames=("max_iterations", "constraints", "e_step"))
def iterate(
    rows: PackedRows,
    start: Mixture,
    options: MStepOptions,
    tolerance: jax.Array,
    limit: jax.Array | None = None,
    gate: jax.Array | None = None,
    accelerated: jax.Array | None = None,
    *,
    max_iterations: int,
    constraints: Constraints,
    e_step: Callable[..., Moments],
) -> Fit:
    """Alternate `e_step` and M-step until a step moves less than `tolerance`; the trace rises.

    At most `limit` steps are taken, which is at most `max_iterations` and may be traced. With concomitants
    the gate starts at `gate`, or at the constant weights of `start`. Where `accelerated`, which may be
    traced, every third step is one of `acceleration`; None is EM alone, in a smaller program.
    """
    if limit is None:
        limit = jnp.asarray(max_iterations, jnp.int32)
    climb = functools.partial(_climb, max_iterations=max_iterations, constraints=constraints, e_step=e_step)
    if constraints.concomitants and gate is None:
        gate = first_gate(rows, start.weights)
    fit, size = one_by_one(climb)(rows, start, options, tolerance, limit, gate, accelerated)
    return with_ending(fit._replace(constraints=constraints, options=options), rows, size)


def _climb(
    rows: PackedRows,
    start: Mixture,
    options: MStepOptions,
    tolerance: jax.Array,
    limit: jax.Array,
    gate: jax.Array | None,
    accelerated: jax.Array | None,
    *,
    max_iterations: int,
    constraints: Constraints,
    e_step: Callable[..., Moments],
) -> tuple[Fit, jax.Array]:
    dtype = start.coefficients.dtype
    variance = jnp.broadcast_to(start.noise_variance, start.weights.shape)
    first = Mixture(start.coefficients, start.weights, variance)

    law = constraints.law
    known: dict[str, Any] = {} if law is None else {"law": law}
    phi_reach = jnp.max(jnp.abs(rows.phi), axis=(0, 2, 3)) if law is not None and law.newton else None
    if options.outlier_density is not None:
        known["outlier_density"] = options.outlier_density
    reach = None if gate is None else jnp.max(jnp.abs(units(rows)[0]), axis=(1, 2))

    def moments_of(mixture: Mixture, gate: jax.Array | None) -> Moments:
        return e_step(rows, mixture, **known) if gate is None else e_step(rows, mixture, **known, gate=gate)

    def objective(mixture: Mixture, moments: Moments) -> jax.Array:
        cost = dot(mixture.coefficients * mixture.coefficients, options.ridge) / mixture.noise_variance
        return moments.log_likelihood - jnp.sum(cost) / 2

    def going(state: _State) -> jax.Array:
        return (state.iterations < limit) & (state.change > tolerance)

    def step(state: _State) -> _State:
        moved, change = steps.m_step(state.moments, state.mixture, constraints, options, phi_reach)
        count, started, gate = state.iterations + 1, state.iterations >= 0, state.gate
        if gate is not None and state.moments.gate is not None and reach is not None:
            n = jnp.sum(state.moments.size if state.moments.groups is None else state.moments.groups)
            gate, gate_change = gate_step(gate, state.moments.gate, reach, n)
            change = jnp.maximum(change, gate_change)
        track, current = state.track, (state.mixture, state.gate)
        goal: tuple[Mixture, jax.Array | None] = (moved, gate)
        if track is not None and accelerated is not None:
            # A long step is never the last: the one after it tells whether it is kept.
            may = accelerated & started & (change > tolerance) & (count + 2 < limit)
            change = jnp.where(track.refused, jnp.inf, change)
            goal, track = next_goal(track, current, goal, may, state.moments, constraints, options)
        mixture, gate = jax.tree.map(lambda new, old: jnp.where(started, new, old), goal, current)
        moments = moments_of(mixture, gate)
        value = objective(mixture, moments)
        if track is not None:
            before = state.trace[jnp.maximum(state.iterations, 0)]
            refused = (track.turn == LONG) & ~(value >= before)
            track, value = track._replace(refused=refused), jnp.where(refused, before, value)
        trace = state.trace.at[count].set(value)
        return _State(mixture, moments, trace, jnp.where(started, change, jnp.inf), count, gate, track)

    # The first round has no M-step: an E-step of its own before the loop would take as long to compile again.
    nothing = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(moments_of, first, gate)
    )
    trace = jnp.zeros(max_iterations + 1, dtype)
    far, none = jnp.full((), jnp.inf, dtype), jnp.full((), -1, jnp.int32)
    track = None if accelerated is None else begun(first, gate)
    state = _State(first, nothing, trace, far, none, gate, track)
    mixture, moments, trace, change, count, gate, _ = lax.while_loop(going, step, state)

    trace = jnp.where(jnp.arange(max_iterations + 1, dtype=jnp.int32) <= count, trace, trace[count])
    if constraints.known_variance:
        mixture = mixture._replace(noise_variance=start.noise_variance)
    elif constraints.equal_variance:
        mixture = mixture._replace(noise_variance=mixture.noise_variance[0])
    if gate is not None:
        mixture = mixture._replace(weights=mean_weights(rows, gate))
    likelihood = moments.log_likelihood
    if e_step is not steps.e_step:
        likelihood = steps.e_step(rows, mixture).log_likelihood
    if law is not None:
        base = jnp.sum(rows.weight * law.base(rows.y, rows.trials))
        likelihood, trace = likelihood + base, trace + base
    return Fit(mixture, likelihood, trace, count, change <= tolerance, gate=gate), moments.size
