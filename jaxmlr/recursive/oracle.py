"""The oracle: the truth, as a method that has nothing to learn; the reference of every label metric."""

from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxmlr.estimator import Estimator, Info, Row, nearest
from jaxmlr.mixture import Mixture


def oracle(mixture: Mixture) -> Estimator:
    """Label with known coefficients: the nearest line of `mixture`, for ever.

    Args:
      mixture: the truth, which is also the state.

    Raises:
      ValueError: `mixture` is not a valid Mixture.
    """
    mixture = mixture.validated()

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> Mixture:
        del key
        if mixture.coefficients.shape[1] != dim:
            raise ValueError(f"the mixture has d = {mixture.coefficients.shape[1]}, the data d = {dim}")
        dtype = jnp.result_type(float) if dtype is None else dtype
        return Mixture(*(jnp.asarray(leaf, dtype) for leaf in mixture))

    def step(state: Mixture, row: Row) -> tuple[Mixture, Info]:
        dtype = state.coefficients.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        return state, nearest(state.linear_predictors(phi), y)

    return Estimator(init, step, lambda state: state)
