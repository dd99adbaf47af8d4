"""The rows of a data set as batch methods read them: checked, weighted, and packed for one pass."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr._xla.target import target
from jaxmlr.batch.terms import Terms

LANES = 64  # rows side by side: loops of this length become straight vector code
GPU_LANES = 2048  # there a loop is a kernel, which takes that many threads times the entries of a sum
TILES = 4  # of a block, which then stays in the first cache with its products


class PackedRows(NamedTuple):
    """Blocks of T tiles of L rows, the last padded with rows of weight 0; rows lie along the fast axes."""

    phi: jax.Array  # (blocks, d, T, L)
    y: jax.Array  # (blocks, T, L)
    weight: jax.Array  # (blocks, T, L), 0 where a row does not count
    blocks: jax.Array | None = None  # () int32, how many blocks hold rows that count; None: all may
    known: jax.Array | None = None  # (blocks, K, T, L) bool, the components that rows may belong to
    concomitant: jax.Array | None = None  # (blocks, m, T, L)
    groups: "Groups | None" = None
    trials: jax.Array | None = None  # (blocks, T, L), of binomial responses


class Groups(NamedTuple):
    """Rows that share their component: what is told is told of the group."""

    number: jax.Array  # (blocks, T, L) int32, of each row
    counts: jax.Array  # (G,) 1 where a row of the group counts, else 0
    known: jax.Array | None = None  # (G, K) bool
    concomitant: jax.Array | None = None  # (G, m)


def checked(
    phi: ArrayLike, y: ArrayLike, mask: ArrayLike | None = None, row_weights: ArrayLike | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Regressors (n, d), responses (n,) and row weights (n,), with zeros where the mask is False.

    Raises:
      ValueError: wrong shapes or dtypes; no row, no column or no weight; a row that counts holds NaN or
        infinity; a negative weight.
    """
    shape = np.shape(y)
    if mask is not None:
        if np.shape(mask) != shape or jnp.result_type(mask) != jnp.bool_:
            raise ValueError(
                f"mask must be boolean of shape {shape}, not {jnp.result_type(mask)} of {np.shape(mask)}"
            )
        # A missing row is often a NaN, and 0 * NaN is NaN: it must go before any arithmetic.
        if np.ndim(phi) == 2 and np.shape(phi)[:1] == shape:
            phi, y = _masked(phi, mask), _masked(y, mask)
    _check.observations(phi, y)
    if shape[0] < 1:
        raise ValueError("phi must have at least one row, not 0")
    phi, y = _check.floats(phi=phi, y=y)
    dtype = y.dtype
    if row_weights is None:
        weight = jnp.ones(shape, dtype)
    else:
        if np.shape(row_weights) != shape:
            raise ValueError(f"row_weights must have shape {shape}, not {np.shape(row_weights)}")
        _check.number("row_weights", row_weights, at_least=0)
        if not isinstance(row_weights, jax.core.Tracer) and not np.any(row_weights):
            raise ValueError("row_weights must not be all 0: no row would count")
        weight = jnp.asarray(row_weights, dtype)
    if mask is not None:
        if not isinstance(mask, jax.core.Tracer) and not np.any(mask):
            raise ValueError("mask must keep at least one row, not leave out all")
        weight = jnp.where(jnp.asarray(mask), weight, 0)
    return phi, y, weight


def _masked(values: ArrayLike, mask: ArrayLike) -> ArrayLike:
    """Rows (n, ...) with zeros where the mask (n,) is False."""
    if isinstance(values, jax.core.Tracer) or isinstance(mask, jax.core.Tracer):
        keep = jnp.reshape(jnp.asarray(mask), (-1, *[1] * (np.ndim(values) - 1)))
        return jnp.where(keep, jnp.asarray(values), 0)
    return np.where(np.reshape(mask, (-1, *[1] * (np.ndim(values) - 1))), np.asarray(values), 0)


@jax.jit
def pack(phi: jax.Array, y: jax.Array, weight: jax.Array, terms: Terms | None = None) -> PackedRows:
    """Rows of phi (n, d), y (n,) and weight (n,) in blocks of at most `TILES` tiles."""
    rows = PackedRows(tiled(phi), tiled(y[:, None])[:, 0], tiled(weight[:, None])[:, 0])
    if terms is None:
        return rows
    groups = groups_of(terms, weight)
    if terms.trials is not None:
        rows = rows._replace(trials=tiled(terms.trials[:, None])[:, 0])
    if groups is not None:
        return rows._replace(groups=groups._replace(number=tiled(groups.number[:, None])[:, 0]))
    known, concomitant = (None if leaf is None else tiled(leaf) for leaf in (terms.known, terms.concomitant))
    return rows._replace(known=known, concomitant=concomitant)


def groups_of(terms: Terms, weight: jax.Array) -> "Groups | None":
    """Groups of rows (n,), if there are such, with what is told of them."""
    known, number, sizes, concomitant, _ = terms
    if number is None or sizes is None:
        return None
    counts = jnp.zeros(sizes.shape, weight.dtype).at[number].max((weight > 0).astype(weight.dtype))
    if known is not None:  # a row that does not count tells nothing
        allowed = known | (weight <= 0)[:, None]
        known = jnp.ones((len(sizes), known.shape[1]), bool).at[number].min(allowed)
    if concomitant is not None:
        n = len(weight)
        place = jnp.where(weight > 0, jnp.arange(n, dtype=jnp.int32), n - 1)
        concomitant = concomitant[jnp.full(sizes.shape, n - 1, jnp.int32).at[number].min(place)]
    return Groups(number, counts, known, concomitant)


def counted_blocks(rows: PackedRows) -> jax.Array:
    """How many blocks there are up to the last that holds a row that counts, () int32."""
    counts = jnp.any(rows.weight > 0, axis=(1, 2))
    return jnp.max(jnp.where(counts, jnp.arange(1, len(counts) + 1, dtype=jnp.int32), 0))


def tiled(x: jax.Array) -> jax.Array:
    """What belongs to rows, (n, c), as (blocks, c, T, L), with zeros for the rows that pad the last block."""
    n, c = x.shape
    most = LANES if target() == "cpu" else GPU_LANES
    lanes = min(most, max(1, -(-n // (TILES * LANES))) * LANES)
    blocks = max(1, -(-n // (TILES * lanes)))
    tiles = max(1, -(-n // (blocks * lanes)))
    padded = jnp.pad(x, ((0, blocks * tiles * lanes - n), (0, 0)))
    return padded.reshape(blocks, tiles, lanes, c).transpose(0, 3, 1, 2)
