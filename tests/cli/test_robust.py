"""`jaxmlr fit --robust`: gross errors in a table."""

import json

import numpy as np
import pandas as pd
import pytest


@pytest.mark.slow
def test_gross_errors(call, tmp_path):
    """Lines, sigma, the share of outliers and their rows, in the units of the table."""
    rng = np.random.default_rng(3)
    x = rng.normal(50, 10, 400)
    first = rng.random(400) < 0.6
    y = np.where(first, 500 + 10 * x, 1700 - 10 * x) + 30 * rng.normal(size=400)
    bad = rng.random(400) < 0.15
    y[bad] = 1e6 * rng.standard_cauchy(bad.sum())
    pd.DataFrame({"x": x, "y": y}).to_csv(tmp_path / "table.csv", index=False)
    out = tmp_path / "out"
    status, printed, errors = call(
        "fit", tmp_path / "table.csv", "--formula", "y ~ x", "--robust", "--out", out
    )
    assert status == 0, errors
    assert f"outliers: {100 * bad.mean():.2g} % of the rows; {bad.sum()} are more likely" in printed
    assert "the noise is not normal" not in printed
    table = pd.read_csv(out / "coefficients.csv").set_index(["component", "term"])
    wanted = {(1, "Intercept"): 500, (1, "x"): 10, (2, "Intercept"): 1700, (2, "x"): -10, (1, "sigma"): 30}
    for place, value in wanted.items():
        assert abs(table.loc[place, "estimate"] - value) < 4 * table.loc[place, "standard_error"]
    outlier = pd.read_csv(out / "posteriors.csv")["outlier"]
    np.testing.assert_array_equal(outlier > 0.5, bad)
    assert json.loads((out / "model.json").read_text())["about"]["robust"] is True


def test_responses_without_a_spread_are_refused(call, tmp_path):
    pd.DataFrame({"x": range(30), "y": [0] * 20 + list(range(10))}).to_csv(
        tmp_path / "table.csv", index=False
    )
    status, _, errors = call("fit", tmp_path / "table.csv", "--response", "y", "--robust")
    assert status == 2
    assert "more than half of the responses are one number" in errors
