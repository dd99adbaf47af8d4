"""Hard EM: every row belongs to one component at a time."""

from jax.typing import ArrayLike

from jaxmlr.batch import steps
from jaxmlr.batch.em import Fit, iterate, prepare
from jaxmlr.batch.steps import Rule
from jaxmlr.mixture import Mixture


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
    fit: Fit = iterate(*problem, max_iterations=max_iterations, rule=rule, e_step=steps.classification)
    return fit
