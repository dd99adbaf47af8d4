"""Polyak-Ruppert averaging of any recursive method: the running mean of its estimates."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr.estimator import Estimator, Info, Row, nearest, plain_step
from jaxmlr.mixture import Mixture


class AveragedState(NamedTuple):
    """State of `averaged`."""

    method: Any  # the state of the method itself
    mean: Mixture  # of its estimates from n = after on; before, its estimate
    n: jax.Array  # () int32, n, from 1


def averaged(estimator: Estimator, *, after: ArrayLike) -> Estimator:
    """The running mean of a method's estimates (Polyak and Juditsky 1992; Ruppert 1988).

    With m[n] the method's estimate after n observations (coefficients, weights and noise variance), the
    estimate is

        m[n]                              for n <= after
        mean of m[after + 1], ..., m[n]   from then on

    and so are the labels. A method whose steps shrink more slowly than 1/n, as those of `online_em` with
    exponent .6 or of a gradient method, moves quickly but keeps a noise that the mean averages out: the mean
    is asymptotically as good as the best gain. Cappe and Moulines (2009) give it to their online EM. What
    has reached 1/n itself, as `fisher_scoring`, gains nothing.

    The mean is of component k with component k, so that a method that changes their order, as
    `multistart_em` in its search, must be averaged after that. A mean forgets nothing: average no drift.

    Args:
      estimator: any method.
      after: observations before the mean begins, at least 0: those until the method has settled, such as a
        tenth of what is expected.

    Returns:
      An Estimator whose state is an `AveragedState`. `after` may be traced.

    Raises:
      ValueError: `estimator` is not an Estimator, or a concrete `after` is out of range.
    """
    if not isinstance(estimator, Estimator):
        raise ValueError(f"estimator must be an Estimator, not {estimator!r}")
    _check.number("after", after, at_least=0, scalar=True)
    method_step = plain_step(estimator)

    def init(dim: int, key: jax.Array | None = None, dtype: DTypeLike | None = None) -> AveragedState:
        method = estimator.init(dim, key, dtype)
        return AveragedState(method, estimator.mixture(method), jnp.ones((), jnp.int32))

    def step(state: AveragedState, row: Row) -> tuple[AveragedState, Info]:
        dtype = state.mean.coefficients.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        info = nearest(state.mean.linear_predictors(phi), y)
        method, _ = method_step(state.method, (phi, y))
        averaging = state.n.astype(dtype) - jnp.asarray(after, dtype)  # estimates in the mean, this included
        gain = 1 / jnp.maximum(averaging, 1)
        mean = jax.tree.map(
            lambda old, new: jnp.where(averaging > 1, old + gain * (new - old), new),
            state.mean,
            estimator.mixture(method),
        )
        return AveragedState(method, mean, state.n + 1), info

    return Estimator(init, step, lambda state: state.mean)
