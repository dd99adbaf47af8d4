"""Maximum likelihood by gradients: any optax transformation, from gradient EM to L-BFGS."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.typing import ArrayLike

from jaxmlr._xla.jit import core
from jaxmlr.batch import steps
from jaxmlr.batch.constraints import Constraints
from jaxmlr.batch.outcome import Fit, ending
from jaxmlr.batch.parameters import Free, free
from jaxmlr.batch.problem import prepare
from jaxmlr.batch.rows import PackedRows
from jaxmlr.mixture import Mixture


def gradient(
    phi: ArrayLike,
    y: ArrayLike,
    start: Mixture,
    transformation: Any = None,
    *,
    max_iterations: int = 1000,
    tolerance: ArrayLike | None = None,
    known_weights: bool = False,
    known_variance: bool = False,
    tie: str = "none",
    common: ArrayLike | None = None,
    known_coefficients: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
) -> Fit:
    """Minimise the mean negative log-likelihood by an optax transformation.

        f(theta) = - (1/n) sum_i w_i log sum_k weights_k N(y_i; beta_k' phi_i, sigma_k^2)

    over coefficients in units of y's root mean square over that of each column of phi, log-odds of the
    weights and log variances, so neither steps nor tolerance depend on units. `optax.sgd(rate)` is gradient
    EM (Balakrishnan, Wainwright and Yu 2017) in these units: by Fisher's identity the gradient of EM's
    surrogate is that of the likelihood. Nothing bounds a variance from below; a step to where likelihood or
    gradient is not finite is not taken, and ends the search.

    Args:
      phi: (n, d) regressors.
      y: (n,) responses.
      start: where to start. Its noise_variance, () or (K,), stays in that shape.
      transformation: of optax; None is `optax.lbfgs()`, `optax.adam(0.05)` is another. Make it once and pass
        that same one again: a new one is compiled anew.
      max_iterations: most steps, at least 1.
      tolerance: stop where no entry of the gradient of f is larger. None: the square root of the dtype's
        precision.
      known_weights: keep the weights of `start`.
      known_variance: keep the noise variance of `start`.
      tie: "none"; "symmetric" for two components with coefficients [beta, -beta]; "common" for one beta.
      common: as in `em`.
      known_coefficients: (d,) or (K, d) booleans, True where the coefficients of `start` are kept.
      mask: (n,) bool, False for rows to leave out, whatever they hold.
      row_weights: (n,) w, at least 0: a row of weight 2 counts as two rows.

    Returns:
      A Fit; `trace` is the log-likelihood, which need not rise, and `result` says how the search ended.

    Raises:
      ValueError: a concrete argument is out of range, or shapes do not fit.
    """
    (rows, first, options, tolerance), constraints = prepare(
        phi,
        y,
        start,
        max_iterations=max_iterations,
        tolerance=tolerance,
        known_weights=known_weights,
        known_variance=known_variance,
        equal_variance=np.ndim(start.noise_variance) == 0,
        tie=tie,
        common=common,
        known_coefficients=known_coefficients,
        mask=mask,
        row_weights=row_weights,
    )
    fit: Fit = _descend(
        rows,
        first,
        tolerance,
        transformation=_LBFGS if transformation is None else transformation,
        max_iterations=max_iterations,
        constraints=constraints,
    )
    return fit._replace(options=options._replace(variance_floor=jnp.zeros_like(options.variance_floor)))


_LBFGS = optax.lbfgs()


@core
@functools.partial(
    jax.jit,
    static_argnames=("transformation", "max_iterations", "constraints"),
)
def _descend(
    rows: PackedRows,
    start: Mixture,
    tolerance: jax.Array,
    *,
    transformation: Any,
    max_iterations: int,
    constraints: Constraints,
) -> Fit:
    dtype = start.coefficients.dtype
    tiny = float(jnp.finfo(dtype).tiny)
    n = jnp.maximum(jnp.sum(rows.weight), tiny)

    def size(square: jax.Array) -> jax.Array:
        return jnp.where(square > tiny, jnp.sqrt(jnp.maximum(square, tiny)), 1)

    unit = size(jnp.sum(rows.weight * rows.y * rows.y) / n) / size(
        jnp.sum(rows.weight[:, None] * rows.phi * rows.phi, axis=(0, 2, 3)) / n
    )
    point, back = free(start, constraints)
    wide = jnp.broadcast_to(unit, start.coefficients.shape)
    if constraints.restricted:
        layout = constraints.layout(*start.coefficients.shape)
        wide = wide.reshape(-1)[layout.first]

    def scaled(point: Free, unit: jax.Array) -> Free:
        return point._replace(coefficients=point.coefficients * unit)

    def loss(point: Free) -> jax.Array:
        # A line search of optax may probe float32 problems at float64 points.
        mixture = back(scaled(jax.tree.map(lambda leaf: leaf.astype(dtype), point), wide))

        def add(total: jax.Array, part: PackedRows) -> tuple[jax.Array, None]:
            return total - jnp.sum(part.weight * steps.log_density(part, mixture)), None

        total: jax.Array = lax.scan(add, jnp.zeros((), dtype), rows)[0]
        return total / n

    optimiser = optax.with_extra_args_support(transformation)
    slope = jax.value_and_grad(loss)

    def greatest(gradient: Free) -> jax.Array:
        entries = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(gradient)])
        return jnp.max(jnp.abs(entries))

    def going(carry: Any) -> jax.Array:
        _, _, (_, gradient), _, count, lost = carry
        more: jax.Array = (count < max_iterations) & (greatest(gradient) > tolerance) & ~lost
        return more

    def step(carry: Any) -> Any:
        point, state, current, trace, count, _ = carry
        value, gradient = current
        # optax mixes widths of integers, which strict promotion would refuse.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            update, state = optimiser.update(
                gradient, state, point, value=value, grad=gradient, value_fn=loss
            )
        moved = optax.apply_updates(point, update)
        moved_slope = slope(moved)
        # Where a variance goes to 0 the likelihood has no maximum: the last finite point is the answer.
        finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves((moved, moved_slope, back(moved)))]
        lost = ~jnp.all(jnp.stack(finite))
        point, current = jax.tree.map(
            lambda old, new: jnp.where(lost, old, new), (point, current), (moved, moved_slope)
        )
        return point, state, current, trace.at[count + 1].set(-n * current[0]), count + 1, lost

    point = scaled(point, 1 / wide)
    first = slope(point)
    trace = jnp.zeros(max_iterations + 1, dtype).at[0].set(-n * first[0])
    carry = (point, optimiser.init(point), first, trace, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    point, _, (value, gradient), trace, count, lost = lax.while_loop(going, step, carry)
    trace = jnp.where(jnp.arange(max_iterations + 1, dtype=jnp.int32) <= count, trace, trace[count])
    converged = greatest(gradient) <= tolerance
    flags = ending(out_of_steps=~converged & ~lost, not_finite=lost & ~converged)
    return Fit(
        back(scaled(point, wide)),
        -n * value,
        trace,
        count,
        converged,
        constraints=constraints,
        ending=flags,
    )
