"""Prediction sets of a mixture of normals: the shortest that hold a given probability."""

import numpy as np
from scipy.special import ndtr

POINTS = 101  # of the grid around each component, from -8 to 8 sigma
CHUNK = 512  # rows at a time


def densest(mean: np.ndarray, weights: np.ndarray, sigma: np.ndarray, level: float) -> np.ndarray:
    """Highest-density regions {y : f(y) >= c} with P(f(y) >= c) = level, f a mixture of normals.

    The threshold c is found by bisection, the ends between points of a grid by Newton's method
    (Hyndman 1996 describes the regions).

    Args:
      mean: (n, K) of the components.
      weights: (n, K).
      sigma: (K,), greater than 0.
      level: in (0, 1).

    Returns:
      (n, m, 2): lower and upper ends of the parts in rising order, m the most parts that a row has; NaN
      where a row has fewer.
    """
    pieces = [slice(first, first + CHUNK) for first in range(0, len(mean), CHUNK)]
    parts = [_regions(mean[piece], weights[piece], sigma, level) for piece in pieces]
    most = max((part.shape[1] for part in parts), default=1)
    filled = [
        np.pad(part, ((0, 0), (0, most - part.shape[1]), (0, 0)), constant_values=np.nan) for part in parts
    ]
    return np.concatenate(filled) if filled else np.empty((0, 1, 2))


def _regions(mean: np.ndarray, weights: np.ndarray, sigma: np.ndarray, level: float) -> np.ndarray:
    n = len(mean)
    # Dense in the middle of each component and at its mode: no peak falls between two points.
    steps = 8 * np.linspace(-1, 1, POINTS) * np.abs(np.linspace(-1, 1, POINTS))
    grid = np.sort((mean[:, :, None] + sigma[None, :, None] * steps).reshape(n, -1), axis=1)
    height = _density(grid, mean, weights, sigma)
    low, high = np.zeros(n), height.max(axis=1)

    def ends_at(threshold: np.ndarray, steps: int) -> np.ndarray:
        ends = _ends(grid, height, threshold)
        for _ in range(steps):
            ends = _newton(ends, threshold, mean, weights, sigma)
        return ends

    for _ in range(50):
        threshold = (low + high) / 2
        enough = _probability(ends_at(threshold, 2), mean, weights, sigma) >= level
        low, high = np.where(enough, threshold, low), np.where(enough, high, threshold)
    return ends_at(low, 4)


def _density(y: np.ndarray, mean: np.ndarray, weights: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """The density f at y (n, m)."""
    total = np.zeros_like(y)
    for k, s in enumerate(sigma):
        total += weights[:, k, None] / s * np.exp(-0.5 * np.square((y - mean[:, k, None]) / s))
    return total / np.sqrt(2 * np.pi)


def _ends(grid: np.ndarray, height: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Where the density crosses the threshold, (n, m, 2), by interpolation; NaN where there are fewer."""
    above = height >= threshold[:, None]
    above[:, [0, -1]] = False
    left, right = (~above[:, :-1]) & above[:, 1:], above[:, :-1] & (~above[:, 1:])
    most = max(1, *left.sum(axis=1).tolist())
    ends = np.full((len(grid), most, 2), np.nan)
    for side, crossing in enumerate((left, right)):
        row, place = np.nonzero(crossing)
        before, after = height[row, place], height[row, place + 1]
        share = (threshold[row] - before) / np.where(after == before, 1, after - before)
        number = (np.cumsum(crossing, axis=1) - 1)[row, place]
        ends[row, number, side] = grid[row, place] + np.clip(share, 0, 1) * (
            grid[row, place + 1] - grid[row, place]
        )
    return ends


def _probability(ends: np.ndarray, mean: np.ndarray, weights: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """The mixture's probability of the parts, (n,)."""
    total = np.zeros(len(ends))
    for k, s in enumerate(sigma):
        below = ndtr((ends - mean[:, k, None, None]) / s)
        total += weights[:, k] * np.nansum(below[:, :, 1] - below[:, :, 0], axis=1)
    return total


def _newton(
    ends: np.ndarray, threshold: np.ndarray, mean: np.ndarray, weights: np.ndarray, sigma: np.ndarray
) -> np.ndarray:
    """A step towards f(y) = threshold, no longer than a tenth of the sigma that counts there."""
    flat = ends.reshape(len(ends), -1)
    value, slope, width = np.zeros_like(flat), np.zeros_like(flat), np.zeros_like(flat)
    for k, s in enumerate(sigma):
        z = (flat - mean[:, k, None]) / s
        part = weights[:, k, None] / s * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
        value, slope, width = value + part, slope - part * z / s, width + part * s
    move = (value - threshold[:, None]) / np.where(slope == 0, np.inf, slope)
    most = 0.1 * width / np.where(value == 0, 1, value)
    return (flat - np.clip(move, -most, most)).reshape(ends.shape)
