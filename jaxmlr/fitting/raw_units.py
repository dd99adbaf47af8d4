"""Columns in units in which recursive methods do not learn, and how to say so."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmlr import registry

ROWS = 100  # enough to see where a column lies
FAR = 3.0  # standard deviations from 0
SPREAD = 30.0  # root mean square, or one over it


class FirstRows:
    """The first rows of a stream, looked at once: most recursive methods search near 0, at a spread of 1.

    Measured with `multistart_em` on two lines of two regressors, 4,000 rows: errors are as they should be up
    to 3 standard deviations from 0, up to five times as large at 5, and nothing is learnt at 100; a root mean
    square of 100 costs a factor of three, one of .01 everything. The response's units do not matter. Nor do
    those of regressors to one line, or to `natural_gradient`, whose errors on the same lines are what they
    were at 20 standard deviations from 0 and at root mean squares of .01 and 100.
    """

    def __init__(self, method: Any, components: int, names: Sequence[object] | None = None) -> None:
        """For a method as `registry.find` takes it; columns are called by `names`, or by their numbers."""
        self.names = names
        whatever = components == 1 or registry.find(method).any_units
        self._rows: list[np.ndarray] | None = None if whatever else []

    def update(self, x: np.ndarray) -> str | None:
        """Take rows (n, p) without a column of ones; at the hundredth say what is wrong, if anything."""
        if self._rows is None:
            return None
        self._rows.append(x[np.isfinite(x).all(axis=1)][:ROWS])
        if sum(map(len, self._rows)) < ROWS:
            return None
        first, self._rows = np.concatenate(self._rows)[:ROWS], None
        return _sentence(first, range(first.shape[1]) if self.names is None else self.names)


def _sentence(x: np.ndarray, names: Sequence[object]) -> str | None:
    with np.errstate(all="ignore"):
        mean, deviation = x.mean(axis=0), x.std(axis=0)
        size = np.sqrt(np.mean(np.square(x), axis=0))
    for name, m, sd, rms in zip(names, mean, deviation, size, strict=True):
        if sd == 0:
            continue  # a constant, which is an intercept
        what = None
        if abs(m) > FAR * sd:
            what = f"lies {abs(m) / sd:.3g} of its standard deviations from 0"
        elif not 1 / SPREAD <= rms <= SPREAD:
            what = f"has a root mean square of {rms:.3g}"
        if what is not None:
            return (
                f"column {name!r} {what}: the method starts near 0 at a spread of 1 and may not find"
                " the lines from there; standardise the regressors first"
            )
    return None
