"""Streaming statistics over trials: summarised in blocks on the device, merged in float64 on the host.

Moments merge by the formula of Chan, Golub and LeVeque (1979). Quantiles come from a histogram with
fixed bins that follow the floating-point format: 32 bins to every power of two between 2^-24 and 2^16,
for either sign. Counts add, so merging is exact and in any order; a quantile lies in the right bin, so it
is off by at most 3.2 % of its value (values below 6e-8 in size count as 0, those above 65,536 as that).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_FIRST_EXPONENT, _OCTAVES, _BITS = -24, 40, 5
_POSITIVE = _OCTAVES << _BITS
BINS = 2 * _POSITIVE + 1
_OFFSET = (127 + _FIRST_EXPONENT) << _BITS


class Summary(NamedTuple):
    """Statistics of one number over trials; every field has the leading shape of that number."""

    count: np.ndarray  # type: ignore[assignment]  # finite values
    mean: np.ndarray
    m2: np.ndarray  # sum of squared deviations from the mean
    minimum: np.ndarray
    maximum: np.ndarray
    histogram: np.ndarray  # (..., BINS) counts


def summarise(values: jax.Array, keep: jax.Array) -> dict[str, jax.Array]:
    """Fields of a `Summary` over the last axis, of the values that are finite and kept.

    Args:
      values: (..., trials).
      keep: (..., trials) bool.
    """
    keep = keep & jnp.isfinite(values)
    count = jnp.sum(keep, axis=-1, dtype=jnp.int32)
    safe = jnp.where(keep, values, 0)
    mean = jnp.sum(safe, axis=-1) / jnp.maximum(count, 1).astype(values.dtype)
    deviation = jnp.where(keep, values - mean[..., None], 0)
    bins = _bin(safe.reshape(-1, values.shape[-1]))
    flat_keep = keep.reshape(bins.shape)

    def counts(row: jax.Array, kept: jax.Array) -> jax.Array:
        return jnp.zeros(BINS, jnp.int32).at[row].add(kept.astype(jnp.int32))

    return {
        "count": count,
        "mean": mean,
        "m2": jnp.sum(deviation * deviation, axis=-1),
        "minimum": jnp.min(jnp.where(keep, values, jnp.inf), axis=-1),
        "maximum": jnp.max(jnp.where(keep, values, -jnp.inf), axis=-1),
        "histogram": jax.vmap(counts)(bins, flat_keep).reshape(*count.shape, BINS),
    }


def _bin(values: jax.Array) -> jax.Array:
    """Index of the bin, from the leading bits of the float32 pattern; increasing in the value."""
    pattern = jax.lax.bitcast_convert_type(jnp.abs(values).astype(jnp.float32), jnp.int32)
    size = jnp.clip((pattern >> (23 - _BITS)) - (_OFFSET - 1), 0, _POSITIVE)
    return _POSITIVE + jnp.where(values < 0, -size, size)


def _edges() -> np.ndarray:
    """Smallest and largest value of every bin, (BINS, 2)."""
    pattern = (np.arange(_POSITIVE + 1, dtype=np.int64) + _OFFSET) << (23 - _BITS)
    edge = pattern.astype(np.int32).view(np.float32).astype(np.float64)
    positive = np.stack([edge[:-1], edge[1:]], axis=1)
    return np.concatenate([-positive[::-1, ::-1], np.zeros((1, 2)), positive])


_EDGES = _edges()


def merge(a: Summary, b: Summary) -> Summary:
    """Statistics of two disjoint sets of trials together, in float64."""
    count = a.count + b.count
    shift = b.mean - a.mean
    share = b.count / np.maximum(count, 1)
    return Summary(
        count,
        a.mean + shift * share,
        a.m2 + b.m2 + shift**2 * a.count * share,
        np.minimum(a.minimum, b.minimum),
        np.maximum(a.maximum, b.maximum),
        a.histogram + b.histogram,
    )


def host(fields: dict[str, np.ndarray]) -> Summary:
    """A block's summary in the host's precision."""
    exact = {"count": np.int64, "histogram": np.int64}
    return Summary(**{name: np.asarray(x).astype(exact.get(name, np.float64)) for name, x in fields.items()})


def standard_error(summary: Summary) -> np.ndarray:
    """Of the mean: sqrt(m2 / (n (n - 1))); NaN for fewer than two values."""
    n = summary.count.astype(np.float64)
    return np.sqrt(summary.m2 / np.where(n > 1, n * (n - 1), np.nan))


def quantile(summary: Summary, q: float) -> np.ndarray:
    """The q-quantile, linear inside a bin and never outside [minimum, maximum]; NaN without values."""
    cumulative = np.cumsum(summary.histogram, axis=-1)
    target = q * summary.count
    index = np.minimum(np.sum(cumulative < target[..., None], axis=-1), BINS - 1)
    inside = np.take_along_axis(summary.histogram, index[..., None], axis=-1)[..., 0]
    before = np.take_along_axis(cumulative, index[..., None], axis=-1)[..., 0] - inside
    low, high = _EDGES[index, 0], _EDGES[index, 1]
    value = low + (high - low) * np.clip((target - before) / np.maximum(inside, 1), 0, 1)
    clipped = np.clip(value, summary.minimum, summary.maximum)
    return np.where(summary.count > 0, clipped, np.nan)
