"""However the rows of a stream are cut, its state is the same bit for bit."""

import jax
import numpy as np
import pytest

from jaxmlr.fitting import methods


@pytest.mark.parametrize(("method", "components"), [("symmetric_em", 2), ("least_squares", 1)])
def test_rows_one_by_one_are_the_rows_at_once(method, components):
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(300, 3))
    y = np.where(rng.random(300) < 0.6, 1, -1) * (phi @ [1.0, -1.5, 0.5]) + rng.normal(size=300)
    whole, alone = (methods.stream(method, components, None, 3, 0) for _ in range(2))
    whole.update(phi, y)
    for i in range(300):
        alone.update(phi[i : i + 1], y[i : i + 1])
    jax.tree.map(np.testing.assert_array_equal, alone.state, whole.state)
