"""Programs of fits to tables, compiled before there is a table."""

from collections.abc import Iterable

import jax
import numpy as np

from jaxmlr._xla import host, programs
from jaxmlr.batch.capacity import COMPONENTS
from jaxmlr.batch.fit import fit
from jaxmlr.batch.inference import covariance


def begin(components: Iterable[int]) -> None:
    """Begin to compile, in the background, what `fit` by default and `covariance` need for tables.

    One program serves all tables of a capacity, so that any rows tell what to compile.

    Args:
      components: the K to be fitted; those beyond any capacity have programs of their own, made when needed.
    """
    with programs.ahead(), host.float64():
        key = jax.random.key(0)
        for count in sorted({next((room for room in COMPONENTS if room >= k), 0) for k in components} - {0}):
            phi, y = np.ones((count + 1, 1)), np.zeros(count + 1)
            weight = np.ones_like(y)
            covariance(fit(phi, y, count, key, row_weights=weight), phi, y, row_weights=weight)
