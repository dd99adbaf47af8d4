"""Expectation maximisation for mixed linear regression, soft and hard: the core of the batch methods."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr._xla.jit import one_by_one, wide_jit
from jaxmlr._xla.linear import dot
from jaxmlr.batch import steps
from jaxmlr.batch.moments import Moments
from jaxmlr.batch.rows import Rows, checked, pack
from jaxmlr.batch.steps import MStepOptions, Rule
from jaxmlr.mixture import Mixture


class Fit(NamedTuple):
    """What a batch method returns; a pytree, so a vmapped method returns a batch of them."""

    mixture: Mixture
    log_likelihood: jax.Array  # () of the mixture, row weights counted
    trace: jax.Array  # (max_iterations + 1,) what the method raises, at the start and after every step
    iterations: jax.Array  # () int32, steps taken; the trace stays at its last value from there on
    converged: jax.Array  # () bool, whether the last step moved less than the tolerance
    agreed: jax.Array | None = None  # () int32, of `fit` alone: how many finalists ended at this likelihood


def em(
    phi: ArrayLike,
    y: ArrayLike,
    start: Mixture,
    *,
    max_iterations: int = 1000,
    tolerance: ArrayLike | None = None,
    known_weights: bool = False,
    known_variance: bool = False,
    equal_variance: bool = False,
    tie: str = "none",
    variance_floor: ArrayLike = 0.0,
    ridge: ArrayLike = 0.0,
    ddof: ArrayLike = 0.0,
    outlier_density: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
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
      tolerance: stop when a step moves every line by less than this share of its sigma (root mean square
        over the component's rows), every variance by less than this share and every weight by less than
        this. None: the square root of the dtype's precision.
      known_weights: keep the weights of `start`.
      known_variance: keep the noise variance of `start`.
      equal_variance: one sigma^2 for all components.
      tie: "none"; "symmetric" for two components with coefficients [beta, -beta]; "common" for one beta
        and components that differ in noise alone. The start is projected. Where variances differ and are
        unknown the step is a conditional maximisation, still monotone.
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

    Returns:
      A Fit. noise_variance is () with `equal_variance`, the start's with `known_variance`, else (K,).
      All but `max_iterations`, `tie` and the flags may be traced: data sets, starts and
      hyper-parameters vmap.

    Raises:
      ValueError: a concrete argument is out of range, or shapes do not fit.
    """
    problem = prepare(
        phi, y, start, max_iterations, tolerance, tie, variance_floor, ridge, ddof, mask, row_weights
    )
    rule = Rule(known_weights, known_variance, equal_variance, tie)
    rows, first, penalty, least = problem
    if outlier_density is not None:
        _check.number("outlier_density", outlier_density, above=0, scalar=True)
        penalty = penalty._replace(outlier_density=jnp.asarray(outlier_density, rows.y.dtype))
    e_step = steps.e_step
    fit: Fit = iterate(rows, first, penalty, least, max_iterations=max_iterations, rule=rule, e_step=e_step)
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
    equal_variance: bool = False,
    tie: str = "none",
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
      start: where to start.
      max_iterations: as in `em`.
      tolerance: as in `em`.
      known_weights: as in `em`.
      known_variance: as in `em`.
      equal_variance: as in `em`.
      tie: as in `em`.
      variance_floor: as in `em`.
      ridge: as in `em`.
      ddof: as in `em`.
      mask: as in `em`.
      row_weights: as in `em`.

    Returns:
      A Fit.

    Raises:
      ValueError: as `em`.
    """
    problem = prepare(
        phi, y, start, max_iterations, tolerance, tie, variance_floor, ridge, ddof, mask, row_weights
    )
    rule = Rule(known_weights, known_variance, equal_variance, tie)
    fit: Fit = iterate(*problem, max_iterations=max_iterations, rule=rule, e_step=steps.hard_e_step)
    return fit


def prepare(
    phi: ArrayLike,
    y: ArrayLike,
    start: Mixture,
    max_iterations: int,
    tolerance: ArrayLike | None,
    tie: str,
    variance_floor: ArrayLike,
    ridge: ArrayLike,
    ddof: ArrayLike,
    mask: ArrayLike | None,
    row_weights: ArrayLike | None,
) -> tuple[Rows, Mixture, MStepOptions, jax.Array]:
    """The arguments of `em`, checked and in one dtype."""
    phi, y, weight = checked(phi, y, mask, row_weights)
    dtype, d = weight.dtype, phi.shape[1]
    start = start.validated()
    components = start.coefficients.shape[0]
    if start.coefficients.shape[1] != d:
        raise ValueError(f"start must have {d} coefficients a component, not {start.coefficients.shape[1]}")
    _check.whole("max_iterations", max_iterations, at_least=1)
    _check.choice("tie", tie, ("none", "symmetric", "common"))
    if tie == "symmetric" and components != 2:
        raise ValueError(f"tie='symmetric' must have 2 components, not {components}")
    if tolerance is None:
        tolerance = float(np.sqrt(jnp.finfo(dtype).eps))
    _check.number("tolerance", tolerance, at_least=0)
    _check.number("variance_floor", variance_floor, at_least=0)
    _check.number("ridge", ridge, at_least=0)
    _check.number("ddof", ddof, at_least=0)
    if np.shape(ridge) not in ((), (d,)):
        raise ValueError(f"ridge must have shape () or ({d},), not {np.shape(ridge)}")
    penalty = MStepOptions(
        jnp.broadcast_to(jnp.asarray(ridge, dtype), (d,)),
        jnp.maximum(jnp.asarray(variance_floor, dtype), steps.resolution(y, weight)),
        jnp.asarray(ddof, dtype),
    )
    beta, weights, variance = (jnp.asarray(leaf, dtype) for leaf in start)
    if tie != "none":
        sign = steps.signs(tie, components, dtype)[:, None]
        beta = sign * jnp.mean(sign * beta, axis=0, keepdims=True)
    return pack(phi, y, weight), Mixture(beta, weights, variance), penalty, jnp.asarray(tolerance, dtype)


class _State(NamedTuple):
    mixture: Mixture
    moments: Moments
    trace: jax.Array
    change: jax.Array
    iterations: jax.Array


@functools.partial(wide_jit, static_argnames=("max_iterations", "rule", "e_step"))
def iterate(
    rows: Rows,
    start: Mixture,
    penalty: MStepOptions,
    tolerance: jax.Array,
    *,
    max_iterations: int,
    rule: Rule,
    e_step: Callable[..., Moments],
) -> Fit:
    """Alternate `e_step` and M-step until a step moves less than `tolerance`; the trace rises."""
    climb = functools.partial(_climb, max_iterations=max_iterations, rule=rule, e_step=e_step)
    return one_by_one(climb)(rows, start, penalty, tolerance)


def _climb(
    rows: Rows,
    start: Mixture,
    penalty: MStepOptions,
    tolerance: jax.Array,
    *,
    max_iterations: int,
    rule: Rule,
    e_step: Callable[..., Moments],
) -> Fit:
    dtype = start.coefficients.dtype
    variance = jnp.broadcast_to(start.noise_variance, start.weights.shape)
    first = Mixture(start.coefficients, start.weights, variance)

    background = () if penalty.outlier_density is None else (penalty.outlier_density,)

    def objective(mixture: Mixture, moments: Moments) -> jax.Array:
        cost = dot(mixture.coefficients * mixture.coefficients, penalty.ridge) / mixture.noise_variance
        return moments.log_likelihood - jnp.sum(cost) / 2

    def going(state: _State) -> jax.Array:
        return (state.iterations < max_iterations) & (state.change > tolerance)

    def step(state: _State) -> _State:
        mixture, change = steps.m_step(state.moments, state.mixture, rule, penalty)
        moments = e_step(rows, mixture, *background)
        count = state.iterations + 1
        trace = state.trace.at[count].set(objective(mixture, moments))
        return _State(mixture, moments, trace, change, count)

    moments = e_step(rows, first, *background)
    trace = jnp.zeros(max_iterations + 1, dtype).at[0].set(objective(first, moments))
    state = _State(first, moments, trace, jnp.full((), jnp.inf, dtype), jnp.zeros((), jnp.int32))
    mixture, moments, trace, change, count = lax.while_loop(going, step, state)

    trace = jnp.where(jnp.arange(max_iterations + 1, dtype=jnp.int32) <= count, trace, trace[count])
    if rule.known_variance:
        mixture = mixture._replace(noise_variance=start.noise_variance)
    elif rule.equal_variance:
        mixture = mixture._replace(noise_variance=mixture.noise_variance[0])
    likelihood = moments.log_likelihood
    if e_step is not steps.e_step:
        likelihood = steps.e_step(rows, mixture).log_likelihood
    return Fit(mixture, likelihood, trace, count, change <= tolerance)
