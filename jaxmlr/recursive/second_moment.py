"""The second-moment estimator: beta from the regression of y^2 on the products of regressors."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxmlr import _check
from jaxmlr._xla.linear import dot
from jaxmlr.estimator import Estimator, Info, Row, nearest
from jaxmlr.mixture import Mixture
from jaxmlr.recursive.rls import update_root


class SecondMomentState(NamedTuple):
    """State of `second_moment`; x = phi / unit."""

    moments: jax.Array  # (m,) regression of y^2 on (x_i x_j for i <= j, 1), m = d(d+1)/2 + 1
    moment_root: jax.Array  # (m, m) S, the covariance of the moments is S S'
    direction: jax.Array  # (d,) theta, regression of y on x
    root: jax.Array  # (d, d) S, the covariance of theta is S S'
    axis: jax.Array  # (d,) unit vector, leading eigenvector of B
    unit: jax.Array  # () length of the first regressor that is not 0, over sqrt(d)


class Moments(NamedTuple):
    """What `second_moment` knows after some observations."""

    coefficients: jax.Array  # (d,) beta
    weight: jax.Array  # () p
    noise_variance: jax.Array  # () sigma^2, as estimated: it may be negative


def second_moment(*, initial_covariance: ArrayLike = 100.0) -> Estimator:
    """The symmetric mixture from its second moments: no p, no sigma^2, no start value, any p.

        E[y^2 | phi] = phi' B phi + sigma^2,   B = beta beta'

    Recursive least squares of y^2 on (phi_i phi_j, doubled for i < j; 1) gives B and sigma^2, of y on phi
    gives theta = (2p - 1) beta. Then, v being the leading eigenvector of B, followed by two shifted power
    iterations an observation,

        beta = sqrt(v' B v) v with the sign of theta' v,   2p - 1 = theta' beta / |beta|^2

    At p = 1/2 the sign is arbitrary and may flip. It is far from efficient, but it is global, and after a
    hundred observations ahead of every recursion that needs a start. A step costs O(d^4): d up to about 20.
    Derived for this project; the idea is that of the moment methods for mixed regression (Sedghi, Janzamin
    and Anandkumar 2016).

    Args:
      initial_covariance: prior variance of B and theta, greater than 0, in units in which the first
        regressor has mean square 1.

    Returns:
      An Estimator whose state is a `SecondMomentState`.

    Raises:
      ValueError: a concrete argument is out of range.
    """
    _check.number("initial_covariance", initial_covariance, above=0, scalar=True)

    def init(dim: int, key: Any = None, dtype: DTypeLike | None = None) -> SecondMomentState:
        del key
        dtype = jnp.result_type(float) if dtype is None else dtype
        size = dim * (dim + 1) // 2 + 1
        prior = jnp.asarray(initial_covariance, dtype)
        return SecondMomentState(
            jnp.zeros((size,), dtype),
            jnp.sqrt(prior) * jnp.eye(size, dtype=dtype),
            jnp.zeros((dim,), dtype),
            jnp.sqrt(prior) * jnp.eye(dim, dtype=dtype),
            jnp.full((dim,), dim**-0.5, dtype),
            jnp.zeros((), dtype),
        )

    def step(state: SecondMomentState, row: Row) -> tuple[SecondMomentState, Info]:
        dtype = state.direction.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        b = dot(estimate(state).coefficients, phi)
        return advance(state, phi, y), nearest(jnp.stack([b, -b]), y)

    def mixture(state: SecondMomentState) -> Mixture:
        moments = estimate(state)
        positive = jnp.maximum(moments.noise_variance, jnp.finfo(moments.weight.dtype).tiny)
        beta, weight = moments.coefficients, moments.weight
        return Mixture(jnp.stack([beta, -beta]), jnp.stack([weight, 1 - weight]), positive)

    return Estimator(init, step, mixture)


def advance(state: SecondMomentState, phi: jax.Array, y: jax.Array) -> SecondMomentState:
    """The state after one more observation (phi (d,), y ())."""
    dim = phi.shape[0]
    unit = jnp.where(state.unit > 0, state.unit, jnp.sqrt(dot(phi, phi) / dim))
    x = phi / jnp.where(unit > 0, unit, 1)
    one = jnp.ones_like(y)
    products = [x[i] * x[i:] * jnp.asarray([1.0] + [2.0] * (dim - 1 - i), x.dtype) for i in range(dim)]
    features = jnp.concatenate([*products, one[None]])
    moments, moment_root = update_root(state.moments, state.moment_root, features, y * y, one)
    theta, root = update_root(state.direction, state.root, x, y, one)

    B = _matrix(moments, dim)
    norm = jnp.sqrt(jnp.max(jnp.sum(jnp.abs(B), axis=1)))
    of_unit_norm = B / jnp.where(norm > 0, norm, 1) / jnp.where(norm > 0, norm, 1)
    axis = state.axis
    for _ in range(2):  # the shift makes the largest eigenvalue also the largest in size
        turned = dot(of_unit_norm, axis) + axis
        length = jnp.sqrt(dot(turned, turned))
        axis = jnp.where(length > 1e-3, turned / jnp.where(length > 0, length, 1), axis)
    return SecondMomentState(moments, moment_root, theta, root, axis, unit)


def estimate(state: SecondMomentState) -> Moments:
    """beta, p and sigma^2 of a state."""
    dtype = state.axis.dtype
    axis = state.axis
    square = jnp.maximum(dot(axis, dot(_matrix(state.moments, axis.shape[0]), axis)), 0)
    length = jnp.sqrt(square)
    along = dot(state.direction, axis)
    balance = jnp.abs(along) / jnp.maximum(length, jnp.finfo(dtype).tiny)
    weight = (1 + jnp.minimum(balance, jnp.asarray(0.998, dtype))) / 2
    unit = jnp.where(state.unit > 0, state.unit, 1)
    beta = jnp.where(along < 0, -length, length) / unit * axis
    return Moments(beta, weight, state.moments[-1])


def _matrix(moments: jax.Array, dim: int) -> jax.Array:
    """B (d, d) from its upper triangle, row by row."""
    rows: list[list[jax.Array]] = [[] for _ in range(dim)]
    place = 0
    for i in range(dim):
        for j in range(i, dim):
            rows[i].append(moments[place])
            if j > i:
                rows[j].append(moments[place])
            place += 1
    return jnp.stack([jnp.stack(row) for row in rows])
