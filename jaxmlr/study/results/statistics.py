"""Streaming statistics over trials, in float64 on the host: summaries of blocks that merge.

Moments merge by the formula of Chan, Golub and LeVeque (1979). Quantiles come from a sketch that counts
values by the leading bits of their float32 pattern, 2,048 bins to every power of two: counts add, so
merging is exact and in any order, and a quantile differs from `numpy.quantile` of all values by at most
one bin, 0.05 % of its value. Only bins that are hit take memory.
"""

from typing import NamedTuple

import numpy as np

_DROPPED_BITS = 12  # of float32's 23; 11 stay
_CODES = 1 << 20  # codes lie in [-_CODES, _CODES)


class Sketch(NamedTuple):
    """How many values fell into each bin of each cell; cells are counted off in C order."""

    keys: np.ndarray  # (bins,) int64, cell * 2 * _CODES + code + _CODES, increasing
    counts: np.ndarray  # (bins,) int64


class Summary(NamedTuple):
    """Statistics over trials of an array of numbers, each a cell; fields but the last have its shape."""

    n: np.ndarray  # finite values
    mean: np.ndarray
    m2: np.ndarray  # sum of squared deviations from the mean
    minimum: np.ndarray
    maximum: np.ndarray
    sketch: Sketch


def summarise(values: np.ndarray) -> Summary:
    """Statistics over the last axis of `values` (..., trials); what is not finite is left out."""
    keep = np.isfinite(values)
    exact = np.where(keep, values, 0).astype(np.float64)
    count = np.sum(keep, axis=-1)
    mean = np.sum(exact, axis=-1) / np.maximum(count, 1)
    deviation = np.where(keep, exact - mean[..., None], 0)
    cells = np.broadcast_to(np.arange(count.size).reshape(*count.shape, 1), values.shape)
    keys = cells[keep].astype(np.int64) * (2 * _CODES) + _code(values[keep]) + _CODES
    return Summary(
        count,
        mean,
        np.sum(deviation**2, axis=-1),
        np.min(np.where(keep, values, np.inf), axis=-1, initial=np.inf).astype(np.float64),
        np.max(np.where(keep, values, -np.inf), axis=-1, initial=-np.inf).astype(np.float64),
        Sketch(*np.unique(keys, return_counts=True)),
    )


def merge(a: Summary, b: Summary) -> Summary:
    """Statistics of two disjoint sets of trials together."""
    count = a.n + b.n
    shift = b.mean - a.mean
    share = b.n / np.maximum(count, 1)
    keys, where = np.unique(np.concatenate([a.sketch.keys, b.sketch.keys]), return_inverse=True)
    counts = np.zeros(len(keys), np.int64)
    np.add.at(counts, where, np.concatenate([a.sketch.counts, b.sketch.counts]))
    return Summary(
        count,
        a.mean + shift * share,
        a.m2 + b.m2 + shift**2 * a.n * share,
        np.minimum(a.minimum, b.minimum),
        np.maximum(a.maximum, b.maximum),
        Sketch(keys, counts),
    )


def standard_error(summary: Summary) -> np.ndarray:
    """Of the mean: sqrt(m2 / (n (n - 1))); NaN for fewer than two values."""
    n = summary.n.astype(np.float64)
    return np.sqrt(summary.m2 / np.where(n > 1, n * (n - 1), np.nan))


def quantile(summary: Summary, q: float) -> np.ndarray:
    """The q-quantile, linear between order statistics as `numpy.quantile` has it; NaN without values."""
    position = q * np.maximum(summary.n - 1, 0)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(summary.n - 1, 0))
    value = _order_statistic(summary, low)
    value = value + (position - low) * (_order_statistic(summary, high) - value)
    clipped = np.clip(value, summary.minimum, summary.maximum)
    return np.where(summary.n > 0, clipped, np.nan)


def _order_statistic(summary: Summary, rank: np.ndarray) -> np.ndarray:
    """The value of the given rank from 0 in each cell; the values of one bin are spread evenly over it."""
    keys, counts = summary.sketch
    if not len(keys):
        return np.zeros(rank.shape)
    cells = summary.n.reshape(-1)
    before = np.cumsum(cells) - cells  # values in earlier cells
    cumulative = np.cumsum(counts)
    wanted = np.minimum(before.reshape(rank.shape) + rank, cumulative[-1] - 1)
    at = np.searchsorted(cumulative, wanted, side="right")
    inside = (wanted - (cumulative[at] - counts[at]) + 0.5) / counts[at]
    code = keys[at] % (2 * _CODES) - _CODES
    first, last = _edge(code), _edge(code + 1)
    return first + (last - first) * inside


def _code(values: np.ndarray) -> np.ndarray:
    """Bin of every value, increasing in the value."""
    single = np.asarray(values, np.float32)
    size = np.abs(single).view(np.int32).astype(np.int64) >> _DROPPED_BITS
    return np.where(single < 0, -size - 1, size)


def _edge(code: np.ndarray) -> np.ndarray:
    """The lower end of a bin."""
    pattern = (np.abs(code) << _DROPPED_BITS).astype(np.int32)
    finite = np.minimum(pattern, np.float32(np.finfo(np.float32).max).view(np.int32))
    return np.sign(code) * finite.view(np.float32).astype(np.float64)
