"""Online EM for two balanced lines: their midpoint by least squares, half their difference by EM."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot
from jaxmlr.estimator import Estimator, Info, Row, nearest, plain_step
from jaxmlr.mixture import Mixture
from jaxmlr.recursive.rls import check_covariance, check_forgetting, fader, start, update
from jaxmlr.recursive.symmetric_em import SymmetricEmState, symmetric_em


class MidpointEmState(NamedTuple):
    """State of `midpoint_em`."""

    midpoint: jax.Array  # (d,) mu
    covariance: jax.Array  # (d, d) P of mu
    difference: SymmetricEmState  # of half the difference; its noise variance is the model's


def midpoint_em(
    noise_variance: ArrayLike = 1.0,
    *,
    gain: str = "newton",
    learn_variance: bool = False,
    forgetting: ArrayLike = 1.0,
    initial_midpoint: ArrayLike = 0.0,
    initial_difference: ArrayLike | None = None,
    initial_covariance: ArrayLike = 1.0,
) -> Estimator:
    """Online EM for y = beta_1' phi + w or beta_2' phi + w, each with probability 1/2.

    With mu = (beta_1 + beta_2) / 2 and delta = (beta_1 - beta_2) / 2, y = mu' phi + z delta' phi + w and
    E[y | phi] = mu' phi, so

        mu     follows recursive least squares of y on phi
        delta  follows `symmetric_em` on (phi, y - mu[n]' phi)
        beta_1 = mu + delta,   beta_2 = mu - delta                   in arbitrary order

    The second of the two classes of arXiv 2311.18506, presumably; its equations could not be seen, these
    are derived. Right for equal weights only: use `recursive_em` otherwise.

    Args:
      noise_variance: sigma^2, or its start with `learn_variance`: then take it too large.
      gain: of `symmetric_em`, "newton" or "em".
      learn_variance: whether to estimate sigma^2.
      forgetting: lambda in (0, 1], as in `symmetric_em`.
      initial_midpoint: mu[0], scalar or (d,).
      initial_difference: delta[0], scalar or (d,), not zero; None draws N(0, I/4) from init's key.
      initial_covariance: of both, positive: scalar, (d,) diagonal or (d, d).

    Returns:
      An Estimator whose state is a `MidpointEmState`.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.number("initial_midpoint", initial_midpoint)
    if initial_difference is not None:
        _check.number("initial_difference", initial_difference)
    check_covariance(initial_covariance)
    check_forgetting(forgetting)
    fade = fader(forgetting)
    half = symmetric_em(
        noise_variance,
        gain=gain,
        learn_variance=learn_variance,
        forgetting=forgetting,
        initial_coefficients=initial_difference,
        initial_covariance=initial_covariance,
    )

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> MidpointEmState:
        dtype = jnp.result_type(float) if dtype is None else dtype
        midpoint, P = start(dim, dtype, initial_midpoint, initial_covariance)
        return MidpointEmState(midpoint, P, half.init(dim, key, dtype))

    def step(state: MidpointEmState, row: Row) -> tuple[MidpointEmState, Info]:
        dtype = state.midpoint.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        centre, b = dot(state.midpoint, phi), dot(state.difference.coefficients, phi)
        info = nearest(jnp.stack([centre + b, centre - b]), y)
        difference, _ = plain_step(half)(state.difference, (phi, y - centre))
        midpoint, P = update(state.midpoint, fade(state.covariance, phi), phi, y, jnp.ones((), dtype))
        return MidpointEmState(midpoint, P, difference), info

    def mixture(state: MidpointEmState) -> Mixture:
        delta = state.difference.coefficients
        coefficients = jnp.stack([state.midpoint + delta, state.midpoint - delta])
        weights = jnp.full((2,), 0.5, delta.dtype)
        return Mixture(coefficients, weights, state.difference.noise_variance)

    return Estimator(init, step, mixture)
