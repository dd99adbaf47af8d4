"""The dataset that a study becomes, from summaries made by hand."""

import json

import numpy as np
import pytest

from jaxmlr.study import Study
from jaxmlr.study.results import dataset as results
from jaxmlr.study.results import statistics

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
    results_of_none = results.dataset(study, merged, diverged, {}, {}, {})
    for variable in results_of_none.data_vars:
        if variable.startswith("misclassification"):
            assert np.isnan(results_of_none[variable].sel(estimator="a")).all()
            alone = results_of_none[variable].sel(estimator="b")
            assert np.isnan(alone).all() == variable.endswith(("_se", "_sd"))
    assert set(results_of_none.data_vars) >= {"diverged", "misclassification_q50"}
    assert "misclassification_theory" not in results_of_none


def test_best_is_the_smallest_at_the_last_step(dataset, values):
    means = np.stack([values[name].mean(-1)[:, -1].reshape(2, 3) for name in METHODS])
    smallest = results.best(dataset, "misclassification")
    np.testing.assert_allclose(smallest["value"], means.min(0))
    np.testing.assert_array_equal(smallest["best estimator"], np.array(METHODS)[means.argmin(0)])
    both = results.best(dataset, "misclassification", "mean", over=("estimator", "estimators.a.bound"))
    np.testing.assert_allclose(both["value"], means.min((0, 2)))
    assert both["value"].dims == ("problem.p",)
    for i in range(2):
        at = np.unravel_index(means[:, i].argmin(), (2, 3))
        assert both["best estimator"].values[i] == METHODS[at[0]]
        assert both["best estimators.a.bound"].values[i] == GRID["estimators.a.bound"][at[1]]
        se = values[METHODS[at[0]]][3 * i + at[1], -1].std(ddof=1) / 4
        np.testing.assert_allclose(both["se"].values[i], se)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("scale",), "no 'scale_mean'; they have"),
        (("misclassification", "mode"), "no 'misclassification_mode'"),
    ],
)
def test_best_of_what_is_not_there_is_refused(dataset, arguments, message):
    with pytest.raises(ValueError, match=message):
        results.best(dataset, *arguments)
    with pytest.raises(ValueError, match="over must be dims"):
        results.best(dataset, "misclassification", over=("problem.q",))


def test_a_tidy_table_has_a_row_for_each_method_point_step_and_metric(dataset):
    table = results.to_dataframe(dataset)
    assert len(table) == 2 * 2 * 3 * 2
    row = table[
        (table["estimator"] == "b")
        & (table["problem.p"] == 0.75)
        & (table["estimators.a.bound"] == 2.0)
        & (table["step"] == 9)
    ]
    at = dataset.sel({"estimator": "b", "problem.p": 0.75, "estimators.a.bound": 2.0, "step": 9})
    assert row["metric"].item() == "misclassification"
    assert row["q50"].item() == float(at["misclassification_q50"])
    assert row["theory"].item() == float(at["misclassification_theory"])
    assert row["diverged"].item() == 1
