"""To what step responses are rounded, and the least sigma that such responses can tell."""

import functools
import math

import numpy as np

DIGITS = 9  # behind the point, to which a step is looked for
_LARGEST = 1e13  # of which float64 still tells a hundredth


def step_of(y: np.ndarray) -> float:
    """The greatest step h such that responses y (n,) differ by whole multiples of it; 0 where there is none.

    It is looked for among multiples of 10^-9.
    """
    y = np.asarray(y, np.float64)
    for digits in range(DIGITS + 1):
        if np.abs(y).max() * 10.0**digits > _LARGEST:
            break
        if _are_whole(y[:100] * 10.0**digits) and _are_whole(scaled := y * 10.0**digits):
            steps = np.unique(np.round(scaled - np.min(scaled)))
            return float(functools.reduce(math.gcd, map(int, steps))) / 10.0**digits
    return 0.0


def _are_whole(values: np.ndarray) -> bool:
    error = 1e-9 + 4 * np.finfo(np.float64).eps * np.abs(values)
    return bool((np.abs(values - np.round(values)) <= error).all())


def least_variance(step: float) -> float:
    """h^2 / 12, the variance of an error uniform over a step h: rounding alone gives as much.

    A likelihood of densities has no maximum where a line passes through all the rows of one rounded value; a
    variance below this one says nothing of the noise.
    """
    return step**2 / 12
