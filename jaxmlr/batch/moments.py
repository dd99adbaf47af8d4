"""Sums over rows in one pass: each is kept in lanes, which meet after the last block.

A sum that runs over the fast axis of an array is not vectorised, as that would change its order, and a matrix
product this narrow moves more than it multiplies. Sums kept in lanes are elementwise loops, which run at the
speed of the vector unit; and of the symmetric gram matrices little more than a half is computed.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxmlr._xla.materialise import stored
from jaxmlr._xla.versions import applies
from jaxmlr.batch.families import Working

REREAD = applies("blocks_found_anew")
PANELS = 5  # of a gram matrix; more compute fewer entries twice, but compile longer


class GateMoments(NamedTuple):
    """What a Newton step of the gate needs, of all components but the first; in lanes, one axis more."""

    slope: jax.Array  # (K - 1, m) sum (r_k - w weights_k(z)) z
    curvature: jax.Array  # (K - 1, K - 1, m, m) sum w weights_k(z) (1{k = l} - weights_l(z)) z z'


class Moments(NamedTuple):
    """What the M-step needs of the data. r = row weight times posterior, e = y - beta_k' phi.

    The equations are those of the normal family; `moments` has those of the others.

    Residuals, not responses, are accumulated: a variance is then never the difference of large numbers,
    and the correction to beta_k vanishes at the optimum in any precision.
    """

    gram: jax.Array  # (K, d, d) sum r phi phi'
    cross: jax.Array  # (K, d) sum r phi e
    square: jax.Array  # (K,) sum r e^2
    size: jax.Array  # (K,) sum r
    log_likelihood: jax.Array  # () sum of row weight times log density
    groups: jax.Array | None = None  # (K,) groups in each component; None where rows have no groups: size is
    gate: GateMoments | None = None  # None where the weights do not depend on concomitants


class PartialMoments(NamedTuple):
    """Moments before the sum over their last axis, the L lanes."""

    gram: tuple[jax.Array, ...]  # panels (K, height, d - i, L): `height` rows from i on, columns from i on
    cross: jax.Array  # (K, d, L)
    square: jax.Array  # (K, L)
    size: jax.Array  # (K, L)
    log_likelihood: jax.Array  # (L,)
    groups: None = None  # is a sum over groups, not over rows
    gate: GateMoments | None = None


def moments(
    phi: jax.Array,
    error: jax.Array | Working,
    r: jax.Array,
    likelihood: jax.Array,
    gate: GateMoments | None = None,
) -> PartialMoments:
    """The moments of one block: phi (d, T, L), error and r (K, T, L), likelihood (T, L).

    Of a family beside the normal one `error` has its score s, curvature c and spread q, and the moments are
    gram = sum r c phi phi', cross = sum r s phi and square = sum r q.
    """
    d = phi.shape[0]
    height = -(-d // PANELS)
    # XLA would compute what a barrier keeps again for every sum that it is in.
    error, r, likelihood = stored((error, r, likelihood))
    square: tuple[jax.Array, ...]
    if isinstance(error, Working):
        weighted, pull = stored((r[:, None] * error.curvature[:, None] * phi[None], r * error.score))
        square = (r, jnp.zeros_like(r) if error.spread is None else error.spread)
    else:
        weighted, pull = stored((r[:, None] * phi[None], r * error))
        square = (pull, error)
    return PartialMoments(
        tuple(tiles(weighted[:, i : i + height, None], phi[None, None, i:]) for i in range(0, d, height)),
        tiles(pull[:, None], phi[None]),
        tiles(*square),
        tiles(r),
        tiles(likelihood),
        gate=gate,
    )


def total(block: Callable[[Any], PartialMoments], parts: Any, blocks: jax.Array | None = None) -> Moments:
    """The sum of `block` over the leading axis of `parts`, or over its first `blocks` entries."""
    first = jax.tree.map(lambda x: x[0], parts)
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(block, first))

    def add(so_far: PartialMoments, part: Any) -> tuple[PartialMoments, None]:
        return jax.tree.map(jnp.add, so_far, block(stored(part) if REREAD else part)), None

    if blocks is None:
        lanes: PartialMoments = lax.scan(add, zero, parts)[0]
    else:
        lanes = lax.fori_loop(
            0, blocks, lambda i, sums: add(sums, jax.tree.map(lambda x: x[i], parts))[0], zero
        )
    panels, *rest = jax.tree.map(lanes_summed, lanes)
    d = panels[0].shape[-1]
    padded = [jnp.pad(panel, ((0, 0), (0, 0), (d - panel.shape[-1], 0))) for panel in panels]
    upper = jnp.concatenate(padded, axis=1)
    return Moments(jnp.where(jnp.tri(d, dtype=bool)[None], upper.mT, upper), *rest)


def tiles(*factors: jax.Array) -> jax.Array:
    """The sum over T of the product of arrays (..., T, L), term by term, which fuses into one loop."""
    tiles = factors[0].shape[-2]
    terms = (functools.reduce(jnp.multiply, [x[..., t, :] for x in factors]) for t in range(tiles))
    return functools.reduce(jnp.add, terms)


def lanes_summed(x: jax.Array) -> jax.Array:
    """The sum over the last axis, as a product: XLA's own sum over it is slow."""
    return jnp.dot(x, jnp.ones(x.shape[-1], x.dtype), precision="highest")
