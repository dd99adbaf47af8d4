"""What speaks against a fit to a table, said of fits of NumPy's arrays, as tables have them."""

import numpy as np
import pytest

from jaxmlr import Fit, Mixture
from jaxmlr.fitting.tables.design import TableRows
from jaxmlr.fitting.tables.doubts import doubts, refusal

N = 400
TWO = Mixture(np.array([[1.0, 2.0], [9.0, -1.0]]), np.array([0.6, 0.4]), np.array([0.09, 0.16]))
SURE = np.diag(np.full(8, 1e-4))  # covariance of the estimates


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


def drawn(noise, mixture=TWO):
    """Rows of two lines with x from 0 to 2, and their noise in sigmas: a function of x and the generator."""
    rng = np.random.default_rng(1)
    x, label = rng.uniform(0, 2, N), (rng.random(N) < 0.4).astype(int)
    phi, sigma = np.column_stack([np.ones(N), x]), np.sqrt(mixture.noise_variance)
    y = np.sum(phi * mixture.coefficients[label], axis=1) + sigma[label] * noise(x, rng)
    return TableRows(phi, y, np.arange(1, N + 1), 0, np.zeros(N)), np.eye(2)[label]


def normal(x, rng):
    return rng.normal(size=N)


SAID = {
    "nothing": (normal, TWO, SURE, ""),
    "tails": (lambda x, rng: rng.standard_t(3, N), TWO, SURE, "the noise is not normal (kurtosis"),
    "spread": (lambda x, rng: x * rng.normal(size=N), TWO, SURE, "the spread about the lines depends"),
    "alike": (normal, TWO, 100 * np.eye(8), "the lines of components 1 and 2 differ by no more"),
    "wide": (
        normal,
        TWO._replace(noise_variance=np.array([0.09, 9.0]), weights=np.array([0.95, 0.05])),
        SURE,
        "component 2, with sigma 3 on 5 % of the rows, may gather outliers",
    ),
}


@pytest.mark.parametrize(("noise", "mixture", "covariance", "wanted"), SAID.values(), ids=SAID)
def test_noise_that_is_not_normal_is_said(noise, mixture, covariance, wanted):
    rows, posterior = drawn(noise, mixture)
    said = list(doubts(rows, mixture, posterior, posterior.mean(axis=0)[None], covariance))
    assert any(each.startswith(wanted) for each in said) if wanted else said == []


def test_responses_of_few_values_and_repeated_rows_are_said():
    rows, posterior = drawn(normal)
    few = rows._replace(phi=np.round(rows.phi), y=np.round(rows.y / 3))
    said = list(doubts(few, TWO, posterior, posterior.mean(axis=0)[None], SURE))
    assert said[0].startswith("the response has 4 different values in 400 rows")
    assert "of 400 rows repeat another one" in said[1]
