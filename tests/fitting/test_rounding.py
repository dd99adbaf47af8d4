"""Steps to which responses are rounded, and fits to such responses."""

import numpy as np
import pandas as pd
import pytest

from jaxmlr import Fit, Mixture
from jaxmlr.batch.constraints import MStepOptions
from jaxmlr.fitting import methods
from jaxmlr.fitting.rounding import least_variance, step_of
from jaxmlr.sklearn import MixtureOfLinearRegressions

RNG = np.random.default_rng(0)
WHOLE = RNG.integers(0, 9, 200)


@pytest.mark.parametrize(
    ("y", "step"),
    [
        (RNG.normal(size=200), 0.0),
        (1e6 * RNG.normal(size=200), 0.0),
        (np.round(RNG.normal(size=200), 2), 0.01),
        (1e6 + np.round(RNG.normal(size=200), 3), 0.001),
        (WHOLE, 1.0),
        (0.25 * WHOLE + 0.1, 0.25),
        (1e9 + 5.0 * WHOLE, 5.0),
        (1e-12 * WHOLE, 0.0),
        (1e300 * WHOLE, 0.0),
        (np.append(WHOLE[:150], 0.123456789123), 0.0),
    ],
)
def test_the_step_is_the_greatest_of_which_all_differences_are_multiples(y, step):
    assert step_of(y) == pytest.approx(step, rel=1e-9)


def test_the_least_variance_is_that_of_rounding():
    y = RNG.uniform(0, 1000, 100_000)
    assert np.var(np.round(y) - y) == pytest.approx(least_variance(1.0), rel=0.02)


@pytest.mark.parametrize(
    ("variance", "given", "floor"),
    [
        ([1e-9, 0.5], {}, 4 / 12),
        ([0.4, 0.5], {}, 0.0),
        ([1e-9, 1e-9], {}, 0.0),
        ([1e-9, 0.5], {"variance_floor": 0.0}, 0.0),
    ],
)
def test_a_line_through_one_value_is_fitted_again_above_the_floor(variance, given, floor):
    def method(phi, y, variance_floor=0.0):
        least = np.maximum(variance, variance_floor)
        options = MStepOptions(np.zeros(1), np.array(variance_floor), np.zeros(()))
        mixture = Mixture(np.ones((2, 1)), np.full(2, 0.5), least)
        return Fit(mixture, np.zeros(()), np.zeros(2), np.array(1), np.array(True), options=options)

    fit = methods.batch(method, np.ones((9, 1)), np.arange(9.0), 2, 0, step=2.0, **given)
    assert float(fit.options.variance_floor) == pytest.approx(floor)
    assert fit.mixture.noise_variance.min() == pytest.approx(max(min(variance), floor))


@pytest.mark.slow
def test_rounded_responses_have_the_lines_of_the_others():
    x, second = RNG.uniform(0, 3, 300), RNG.random(300) > 0.6
    y = np.where(second, 9 - x + 0.6 * RNG.normal(size=300), 1 + 2 * x + 0.3 * RNG.normal(size=300))
    table = pd.DataFrame({"x": np.round(x, 1)})
    for response in (y, np.round(y)):
        model = MixtureOfLinearRegressions(random_state=0).fit(table, response)
        order = np.argsort(-model.weights_)
        np.testing.assert_allclose(model.intercept_[order], [1, 9], atol=0.35)
        np.testing.assert_allclose(model.coef_[order, 0], [2, -1], atol=0.2)
        assert model.result_ == "converged"
