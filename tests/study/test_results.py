"""The dataset that a study becomes, from summaries made by hand."""

import json

import numpy as np
import pytest

from jaxmlr.study import Study, results, statistics

GRID = {"problem.p": [0.6, 0.75], "estimators.a.bound": [1.0, 2.0, 3.0]}
METHODS = ("a", "b")


@pytest.fixture(scope="module")
def study():
    return Study(
        name="made",
        problem={"process": {"kind": "gaussian"}, "coefficients": [1.0], "p": 0.6},
        estimators={name: {"method": "two_step"} for name in METHODS},
        trials=16,
        steps=9,
        record=[3, 9],
        metrics=["misclassification"],
        grid=GRID,
    )


@pytest.fixture(scope="module")
def values():
    """For each method (points, records, trials)."""
    rng = np.random.default_rng(0)
    return {name: rng.lognormal(size=(6, 2, 16)) for name in METHODS}


summary = statistics.summarise


@pytest.fixture(scope="module")
def dataset(study, values):
    merged = {name: {"misclassification": summary(x)} for name, x in values.items()}
    diverged = {name: np.full((6, 2), k) for k, name in enumerate(METHODS)}
    oracle = {"misclassification": summary(values["a"] / 2)}
    limits = {"misclassification": np.arange(12.0).reshape(6, 2)}
    return results.dataset(study, merged, diverged, oracle, limits, {"answer": 42})


def test_points_unfold_into_axes_with_the_last_one_fastest(dataset, values):
    assert dict(dataset.sizes) == {"estimator": 2, "problem.p": 2, "estimators.a.bound": 3, "step": 2}
    for name in METHODS:
        for i, p in enumerate(GRID["problem.p"]):
            for j, bound in enumerate(GRID["estimators.a.bound"]):
                at = dataset.sel({"estimator": name, "problem.p": p, "estimators.a.bound": bound})
                mean = values[name][3 * i + j].mean(-1)
                np.testing.assert_allclose(at["misclassification_mean"], mean, rtol=1e-12)
    np.testing.assert_array_equal(dataset["misclassification_theory"][1, 2], [10.0, 11.0])
    np.testing.assert_array_equal(dataset["step"], [3, 9])


def test_every_statistic_is_numpy_on_the_values(dataset, values):
    x = values["b"][0]
    at = dataset.sel(estimator="b").isel({"problem.p": 0, "estimators.a.bound": 0})
    expected = {
        "sd": x.std(-1, ddof=1),
        "se": x.std(-1, ddof=1) / 4,
        "min": x.min(-1),
        "max": x.max(-1),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(at[f"misclassification_{name}"], value, rtol=1e-12)
    for name, q in results.QUANTILES.items():
        value = np.quantile(x, q, axis=-1)
        np.testing.assert_allclose(at[f"misclassification_{name}"], value, rtol=6e-4)


def test_references_have_no_estimator(dataset, values):
    assert dataset["misclassification_oracle"].dims == (*GRID, "step")
    mean, error = values["a"].mean(-1) / 2, values["a"].std(-1, ddof=1) / 8
    np.testing.assert_allclose(dataset["misclassification_oracle"].values.reshape(6, 2), mean, rtol=1e-12)
    np.testing.assert_allclose(dataset["misclassification_oracle_se"].values.reshape(6, 2), error, rtol=1e-12)
    np.testing.assert_array_equal(dataset["diverged"].sel(estimator="b"), 1)


def test_the_dataset_explains_itself(dataset, study):
    assert json.loads(dataset.attrs["study"]) == study.to_table()
    assert (dataset.attrs["name"], dataset.attrs["trials"], dataset.attrs["answer"]) == ("made", 16, 42)
    for name, variable in dataset.data_vars.items():
        assert {"long_name", "units"} <= set(variable.attrs), name


def test_no_trial_left_is_not_a_number_and_one_has_no_spread(study):
    merged = {
        "a": {"misclassification": summary(np.full((6, 2, 16), np.nan))},
        "b": {"misclassification": summary(np.full((6, 2, 1), 0.5))},
    }
    diverged = {name: np.zeros((6, 2), int) for name in METHODS}
    found = results.dataset(study, merged, diverged, {}, {}, {})
    for variable in found.data_vars:
        if variable.startswith("misclassification"):
            assert np.isnan(found[variable].sel(estimator="a")).all()
            alone = found[variable].sel(estimator="b")
            assert np.isnan(alone).all() == variable.endswith(("_se", "_sd"))
    assert set(found.data_vars) >= {"diverged", "misclassification_q50"}
    assert "misclassification_theory" not in found
