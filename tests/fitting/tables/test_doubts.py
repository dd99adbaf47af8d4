"""What speaks against a fit to a table, said of fits of NumPy's arrays, as tables have them."""

import numpy as np

from jaxmlr import Fit, Mixture
from jaxmlr.fitting.tables.doubts import refusal


def test_a_line_through_a_few_rows_is_refused_in_words():
    """One line explains 60 rows; the other passes exactly through three of them."""
    rng = np.random.default_rng(0)
    phi = np.column_stack([np.ones(60), rng.normal(size=60)])
    y = phi @ [1.0, 2.0] + 0.5 * rng.normal(size=60)
    y[:3] = phi[:3] @ [4.0, -1.0]
    mixture = Mixture(np.array([[1.0, 2.0], [4.0, -1.0]]), np.array([0.95, 0.05]), np.array([0.25, 1e-6]))
    fit = Fit(mixture, np.array(-60.0), np.zeros(2), np.array(1), np.array(True))
    said = refusal(fit, phi, y, 2.0)
    assert "2 components: refused" in said
    assert "sigma 0.002 on 3 distinct rows" in said
    assert "among 60" in said
