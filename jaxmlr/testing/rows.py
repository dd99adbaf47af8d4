"""Rows that methods are checked on: ordinary ones, and degenerate ones that none may stumble over."""

from collections.abc import Callable

import numpy as np
from jax.typing import DTypeLike

ROWS = 40
DEGENERATE: dict[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "zero regressors": lambda phi, y: (0 * phi, y),
    "zero responses": lambda phi, y: (phi, 0 * y),
    "zero data": lambda phi, y: (0 * phi, 0 * y),
    "a constant response": lambda phi, y: (phi, 0 * y + 1),
    "one row repeated": lambda phi, y: (0 * phi + phi[0], 0 * y + y[0]),
    "one coordinate only": lambda phi, y: (phi * (np.arange(phi.shape[1]) == 0), y),
    "one line without noise": lambda phi, y: (phi, phi.sum(axis=1)),
    "regressors times 1e-6": lambda phi, y: (1e-6 * phi, y),
    "regressors times 100": lambda phi, y: (1e2 * phi, y),
    "responses times 1e6": lambda phi, y: (phi, 1e6 * y),
    "data times 1e-6": lambda phi, y: (1e-6 * phi, 1e-6 * y),
}
LARGE = 1e6  # a scale of phi and y that only float64 is asked to bear


def rows(dim: int, dtype: DTypeLike, trial: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two opposite lines, weights .7 and .3: phi (ROWS, dim) and y (ROWS,)."""
    rng = np.random.default_rng(trial)
    phi = rng.normal(size=(ROWS, dim))
    sign = np.where(rng.random(ROWS) < 0.7, 1, -1)
    y = sign * (phi @ np.linspace(1.0, -1.5, dim)) + 0.5 * rng.normal(size=ROWS)
    return phi.astype(dtype), y.astype(dtype)


def degenerate(dim: int, dtype: DTypeLike) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, phi (cases, ROWS, dim) and y (cases, ROWS) of degenerate data."""
    phi, y = rows(dim, np.float64)
    cases = {name: change(phi, y) for name, change in DEGENERATE.items()}
    if np.dtype(dtype) == np.float64:
        cases["data times 1e6"] = LARGE * phi, LARGE * y
    all_phi, all_y = (np.stack(part).astype(dtype) for part in zip(*cases.values(), strict=True))
    return list(cases), all_phi, all_y
