"""`jaxmlr fit --family`: counts from a file to new rows."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from jaxmlr import Mixture
from jaxmlr.batch.families import law
from jaxmlr.fitting import evaluate
from jaxmlr.fitting.model import Model, load
from jaxmlr.fitting.tables.design import Design

BETA = np.array([[0.5, -0.8], [1.5, 0.4]])
EM = ("--method", "em", "--option", "tolerance=1e-10", "--option", "max_iterations=4000")


@pytest.fixture
def counts(tmp_path):
    """A file of counts against a regressor that is neither centred nor scaled, and its columns."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 2, 300)
    eta = np.column_stack([np.ones(300), x]) @ BETA.T
    y = rng.poisson(np.exp(eta[np.arange(300), rng.integers(0, 2, 300)]))
    frame = pd.DataFrame({"x": 1000 + 50 * x, "visits": y})
    frame.to_csv(tmp_path / "counts.csv", index=False)
    return frame


def log_likelihood(frame, lines, weights):
    eta = lines[:, 0] + frame["x"].to_numpy()[:, None] * lines[:, 1]
    joint = stats.poisson.logpmf(frame["visits"].to_numpy()[:, None], np.exp(eta)) + np.log(weights)
    return special.logsumexp(joint, axis=1), joint


@pytest.mark.slow
def test_counts(call, counts, tmp_path):
    """Files in the units of the table: likelihood, BIC and posteriors as SciPy has them at these numbers."""
    out = tmp_path / "out"
    given = ("fit", tmp_path / "counts.csv", "--response", "visits", "--family", "poisson", *EM)
    status, printed, errors = call(*given, "--out", out, "--json")
    assert status == 0, errors
    assert json.loads(printed)["family"] == "poisson"
    table = pd.read_csv(out / "coefficients.csv")
    assert list(table["term"].unique()) == ["Intercept", "x", "weight"]
    wide = table.pivot(index="component", columns="term", values="estimate")
    lines, weights = wide[["Intercept", "x"]].to_numpy(), wide["weight"].to_numpy()
    density, joint = log_likelihood(counts, lines, weights)
    criteria = pd.read_csv(out / "criteria.csv").iloc[0]
    np.testing.assert_allclose(criteria["log_likelihood"], density.sum(), rtol=1e-9)
    np.testing.assert_allclose(criteria["bic"], -2 * density.sum() + 5 * np.log(300), rtol=1e-9)
    slopes = table[table["term"] == "x"].set_index("estimate")["standard_error"].sort_index()
    assert np.all(np.abs(slopes.index - BETA[:, 1] / 50) < 4 * slopes.to_numpy())
    posteriors = pd.read_csv(out / "posteriors.csv")[["posterior_1", "posterior_2"]]
    np.testing.assert_allclose(posteriors, np.exp(joint - density[:, None]), atol=1e-9)
    status, printed, errors = call(
        "predict", out, tmp_path / "counts.csv", "--given", "visits", "--out", tmp_path / "p.csv"
    )
    assert status == 0, errors
    predicted = pd.read_csv(tmp_path / "p.csv")
    means = np.exp(lines[:, 0] + counts["x"].to_numpy()[:, None] * lines[:, 1])
    np.testing.assert_allclose(predicted[["component_1", "component_2"]], means, rtol=1e-9)
    np.testing.assert_allclose(predicted["mean"], means @ weights, rtol=1e-9)
    np.testing.assert_allclose(predicted["probability_1"], posteriors["posterior_1"], atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--family", "tweedie"), "family must be one of"),
        (("--family", "gamma"), "--family gamma: 'visits' must be greater than 0; row "),
        (("--family", "poisson", "--offset", "x"), "--family poisson and an offset cannot be combined"),
        (("--family", "poisson", "--option", "ddof=2"), "ddof must not be given with family='poisson'"),
        (
            ("--family", "poisson", "--option", "outlier_density=0.1"),
            "outlier_density must not be given with",
        ),
    ],
)
def test_what_cannot_be_is_said(call, counts, tmp_path, options, message):
    status, _, errors = call("fit", tmp_path / "counts.csv", "--formula", "visits ~ x", *EM, *options)
    assert status == 2, errors
    assert message in errors


def test_a_model_keeps_its_family(counts, tmp_path):
    """Without a fit: what is saved and loaded predicts as SciPy does, and gives no intervals."""
    design, rows = Design.learn(counts, "visits", None)
    lines, weights = np.array([[-15.0, 0.016], [-5.0, 0.006]]), np.array([0.4, 0.6])
    model = Model(design, Mixture(lines, weights, np.ones(())), {}, family="poisson")
    model.save(tmp_path / "model.json")
    loaded = load(tmp_path / "model.json")
    assert (loaded.family, loaded.degrees) == ("poisson", None)
    density, joint = log_likelihood(counts, lines, weights)
    predicted = loaded.predict(counts, given=True)
    np.testing.assert_allclose(predicted["probability_2"], np.exp(joint[:, 1] - density), atol=1e-12)
    means = np.exp(rows.phi @ lines.T)
    np.testing.assert_allclose(predicted["mean"], means @ weights, rtol=1e-12)
    within = (means + (means - (means @ weights)[:, None]) ** 2) @ weights
    terms = evaluate.Terms(law=law("poisson"))
    np.testing.assert_allclose(evaluate.variance(loaded.mixture, rows.phi, terms), within, rtol=1e-12)
    np.testing.assert_allclose(
        evaluate.log_density(loaded.mixture, rows.phi, rows.y, terms), density, rtol=1e-12
    )
    with pytest.raises(ValueError, match="interval must be None with family='poisson'"):
        loaded.predict(counts, interval=0.9)


@pytest.mark.slow
def test_the_number_of_components_and_a_report_of_it(call, counts, tmp_path):
    """By `fit`, on filled up rows."""
    out = tmp_path / "out"
    status, printed, errors = call(
        "fit", tmp_path / "counts.csv", "--response", "visits", "--family", "poisson",
        "--components", "1:2", "--out", out,
    )  # fmt: skip
    assert status == 0, errors
    assert "family: Poisson" in printed
    assert "think of --family" not in printed
    criteria = pd.read_csv(out / "criteria.csv").set_index("components")
    assert criteria["bic"].idxmin() == 2
    assert {"report.html", "fit.svg", "model.json"} <= {path.name for path in out.iterdir()}
    status, _, errors = call("predict", out, tmp_path / "counts.csv", "--interval", "0.9")
    assert status == 2
    assert "interval must be None with family='poisson'" in errors
