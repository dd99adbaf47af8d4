"""Any gradient method of optax, one observation at a time."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike

from jaxmlr.estimator import Estimator, Info, Row, nearest
from jaxmlr.mixture import Mixture


class GradientParameters(NamedTuple):
    """The free parameters of a mixture: any real numbers are valid."""

    coefficients: jax.Array  # (K, d), or (1, d) of a symmetric mixture
    log_weights: jax.Array  # (K,), up to a constant
    log_variance: jax.Array  # () or (K,)


class OnlineGradientState(NamedTuple):
    """State of `online_gradient`."""

    parameters: GradientParameters
    optimiser: Any


def online_gradient(
    transformation: optax.GradientTransformation,
    start: Mixture,
    *,
    symmetric: bool = False,
    learn_weights: bool = False,
    learn_variance: bool = False,
) -> Estimator:
    """Stochastic gradient descent on the negative log-likelihood of one observation.

        xi[n+1] = xi[n] + T( grad -log sum_k p_k N(y[n+1]; beta_k' phi[n], sigma_k^2) )

    at xi = (beta, log p, log sigma^2) and with T an optax transformation, learning rate and schedule
    included: `online_gradient(optax.adam(1e-2), start)`. The baseline that the recursions with a gain
    matrix are to beat; local, as they are.

    Args:
      transformation: of optax; one that needs the value of the objective (a line search) will not do.
      start: the initial estimate; its components must differ.
      symmetric: keep the second of two components minus the first.
      learn_weights: whether the weights move.
      learn_variance: whether the noise variance moves.

    Returns:
      An Estimator whose state is an `OnlineGradientState`.

    Raises:
      ValueError: `start` is not a valid Mixture, or not one of two components where `symmetric`.
    """
    start = start.validated()
    components, width = start.coefficients.shape
    if symmetric and components != 2:
        raise ValueError(f"start must have 2 components to be symmetric, not {components}")

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> OnlineGradientState:
        del key
        if width != dim:
            raise ValueError(f"start has d = {width}, the data d = {dim}")
        dtype = jnp.result_type(float) if dtype is None else dtype
        beta, weights, variance = (jnp.asarray(leaf, dtype) for leaf in start)
        parameters = GradientParameters(beta[:1] if symmetric else beta, jnp.log(weights), jnp.log(variance))
        return OnlineGradientState(parameters, transformation.init(parameters))

    def step(state: OnlineGradientState, row: Row) -> tuple[OnlineGradientState, Info]:
        old = state.parameters
        dtype = old.coefficients.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        info = nearest(_mixture(old, symmetric).linear_predictors(phi), y)

        def objective(parameters: GradientParameters) -> jax.Array:
            return -_mixture(parameters, symmetric).log_likelihood(phi[None, :], y[None])

        gradient = jax.grad(objective)(old)
        gradient = gradient._replace(
            log_weights=gradient.log_weights if learn_weights else 0 * gradient.log_weights,
            log_variance=gradient.log_variance if learn_variance else 0 * gradient.log_variance,
        )
        with jax.numpy_dtype_promotion("standard"):  # optax multiplies counts by rates
            change, optimiser = transformation.update(gradient, state.optimiser, old)
            new = optax.apply_updates(old, change)
        # A step that overflows is not taken.
        sound = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in new]))
        new = jax.tree.map(lambda a, b: jnp.where(sound, a, b), new, old)
        return OnlineGradientState(new, optimiser), info

    return Estimator(init, step, lambda state: _mixture(state.parameters, symmetric))


def _mixture(parameters: GradientParameters, symmetric: bool) -> Mixture:
    beta = parameters.coefficients
    if symmetric:
        beta = jnp.concatenate([beta, -beta])
    return Mixture(beta, jax.nn.softmax(parameters.log_weights), jnp.exp(parameters.log_variance))
