"""Starts from moments: the subspace of the lines (second), and the lines themselves (third)."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxmlr.batch.starts.candidates import Rows, around
from jaxmlr.batch.starts.draws import derived, uniform
from jaxmlr.batch.starts.lines import SPREAD, lines_by
from jaxmlr.mixture import Mixture

ITERATIONS = 30  # of the power method, which squares the error in each
TRIES = 10


def _whitened(data: Rows) -> tuple[Rows, jax.Array]:
    """Regressors with second moment I, and L^-1 (d, d): x = L^-1 phi, beta = L^-T (coefficients of x)."""
    phi, y, weight, columns = data
    d = phi.shape[1]
    total = jnp.sum(weight)
    moment = jnp.einsum("n,ni,nj->ij", weight / total, phi, phi, precision="highest")
    values, vectors = jnp.linalg.eigh(moment)
    # Directions without data are left out: their scale is 0, not infinite.
    level = 100 * d * float(jnp.finfo(y.dtype).eps) * values[-1]
    scale = jnp.where(values > level, lax.rsqrt(jnp.maximum(values, level)), 0)
    root = scale[:, None] * vectors.T
    return Rows(jnp.einsum("ij,nj->ni", root, phi, precision="highest"), y, weight / total, columns), root


def _leading(matrix: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` eigenpairs of greatest absolute value: (count,) and (d, count)."""
    values, vectors = jnp.linalg.eigh(matrix)
    _, order = lax.top_k(jnp.abs(values), count)
    return values[order], vectors[:, order]


def _first(most: int, count: ArrayLike) -> jax.Array:
    """Which of `most` entries are among the first `count`, (most,)."""
    return jnp.arange(most, dtype=jnp.int32) < count


def _second(white: Rows) -> jax.Array:
    """E[y^2 (x x' - I)] / 2, which is sum_k weights[k] b_k b_k' for Gaussian x."""
    x, y, weight, _ = white
    moment = jnp.einsum("n,ni,nj->ij", weight * y * y, x, x, precision="highest")
    # A direction without data has no moment at all.
    present = jnp.any(x != 0, axis=0).astype(y.dtype)
    return 0.5 * (moment - jnp.sum(weight * y * y) * jnp.diag(present))


def spectral(key: jax.Array, data: Rows, components: int, used: ArrayLike | None = None) -> Mixture:
    """Lines sought in the span of the K leading eigenvectors of E[y^2 x x'], x the whitened regressors.

    For Gaussian x that span holds all lines (Yi, Caramanis and Sanghavi 2014; whitening as in the general
    covariance case). The paper then walks a grid of angles, for K = 2; here `spread_lines` searches
    the span, for any K.

    Args:
      key: of this start.
      data: phi (n, d), y (n,), weight (n,).
      components: K; with K >= d the span is everything.
      used: how many of the K count, the first ones, where that is not all; it may be traced.

    Returns:
      A Mixture.
    """
    reduced, back = spanned(data, components, used)
    inside, _ = lines_by(SPREAD, key, reduced, components, used)
    return around(data, product(inside, back), components if used is None else used)


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """The matrix product in full precision."""
    return jnp.dot(left, right, precision="highest")


def spanned(data: Rows, components: int, used: ArrayLike | None = None) -> tuple[Rows, jax.Array]:
    """Whitened rows in coordinates of the span, (n, d) with zeros behind, and the way back (d, d)."""
    white, root = _whitened(data)
    count, d = components if used is None else used, data.phi.shape[1]
    width = min(components, d)
    span = jnp.where(_first(width, count)[None, :], _leading(_second(white), width)[1], 0)
    span = jnp.pad(span, ((0, 0), (0, d - width)))
    columns = jnp.minimum(jnp.asarray(count, jnp.int32), jnp.asarray(data.dim, jnp.int32))
    return white._replace(phi=product(white.phi, span), columns=columns), product(span.T, root)


def check_tensor(components: int, dim: int) -> None:
    """Raise ValueError unless a tensor start of K components exists in d dimensions."""
    if components > dim:
        raise ValueError(f"components must be at most d = {dim} for a tensor start, not {components}")


def tensor(key: jax.Array, data: Rows, components: int, used: ArrayLike | None = None) -> Mixture:
    """Lines by decomposing the third moment of (x, y), for Gaussian x and at most d components.

        M2 = E[y^2 S2(x)] / 2 = sum_k w_k b_k b_k'        S2(x) = x x' - I
        M3 = E[y^3 S3(x)] / 6 = sum_k w_k b_k (x) b_k (x) b_k     S3 the third Hermite tensor

    With W = U D^(-1/2) from the K leading eigenpairs of M2, the vectors v_k = sqrt(w_k) W' b_k are
    orthonormal and M3[W, W, W] = sum_k w_k^(-1/2) v_k (x) v_k (x) v_k, so the power method finds
    them one by one.
    Sedghi, Janzamin and Anandkumar (2016), after Chaganty and Liang (2013), written from the identities
    above. It needs many rows (third moments) and regressors near Gaussian; an intercept is not.

    Args:
      key: of this start.
      data: phi (n, d), y (n,), weight (n,).
      components: K, at most d.
      used: as in `spectral`.

    Returns:
      A Mixture.

    Raises:
      ValueError: K exceeds d.
    """
    check_tensor(components, data.phi.shape[1])
    lines = decomposed(key, third_moment(data, components, used), components, used)
    return around(data, lines, components if used is None else used)


def third_moment(data: Rows, components: int, used: ArrayLike | None = None) -> tuple[jax.Array, jax.Array]:
    """M3[W, W, W] (K, K, K), and the way back (K, d) of lines from the coordinates of W."""
    white, root = _whitened(data)
    x, y, weight, _ = white
    count = components if used is None else used
    values, vectors = _leading(_second(white), components)
    tiny = float(jnp.finfo(y.dtype).tiny)
    width = jnp.sqrt(jnp.maximum(jnp.abs(values), tiny))
    whitener = jnp.where(_first(components, count)[None, :], vectors / width[None, :], 0)
    z = jnp.einsum("ni,ik->nk", x, whitener, precision="highest")
    cube = weight * y * y * y
    third = jnp.einsum("n,ni,nj,nk->ijk", cube, z, z, z, precision="highest")
    first = jnp.einsum("n,ni->i", cube, z, precision="highest")
    metric = jnp.einsum("ia,ib->ab", whitener, whitener, precision="highest")
    mixed = first[:, None, None] * metric[None, :, :]
    third = (third - mixed - mixed.transpose(1, 0, 2) - mixed.transpose(1, 2, 0)) / 6
    return third, product((vectors * width[None, :]).T, root)


def decomposed(
    key: jax.Array, moment: tuple[jax.Array, jax.Array], components: int, used: ArrayLike | None = None
) -> jax.Array:
    """Lines (K, d) by the power method on `third_moment`."""
    third, back = moment
    count, dtype = components if used is None else used, third.dtype
    tiny = float(jnp.finfo(dtype).tiny)

    def normal(v: jax.Array) -> jax.Array:
        return v / jnp.maximum(jnp.linalg.norm(v, axis=-1, keepdims=True), tiny)

    def pull(tensor: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.einsum("ijk,tj,tk->ti", tensor, v, v, precision="highest")

    def take(k: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        tensor, components_so_far = carry
        v = normal(uniform(derived(key, k), (TRIES, components), dtype) - 0.5)
        v = lax.fori_loop(0, ITERATIONS, lambda _, v: normal(pull(tensor, v)), v)
        height = jnp.sum(pull(tensor, v) * v, axis=1)
        best = jnp.argmax(height)
        v, height = v[best], height[best]
        cube = v[:, None, None] * v[None, :, None] * v[None, None, :]
        return tensor - height * cube, components_so_far.at[k].set(height * v)

    none = jnp.zeros((components, components), dtype)
    return product(lax.fori_loop(0, count, take, (third, none))[1], back)
