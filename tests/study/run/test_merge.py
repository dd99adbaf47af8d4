"""Differences from a reference, single trials, and stopping once the standard error is small."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxmlr.study import Study, run_block, run_study
from jaxmlr.study.run.coverage import units
from jaxmlr.study.run.merge import Merger
from jaxmlr.study.run.parts import parts


def study(**changes):
    options = {
        "name": "merge",
        "seed": 5,
        "trials": 50,
        "block": 8,
        "steps": 40,
        "record": [4, 40],
        "metrics": ["coefficient_error", "misclassification"],
        "problem": {"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.7},
        "estimators": {
            "seed": {"method": "two_step"},
            "newton": {"method": "two_step", "gain": "newton", "bound": 3.0},
        },
        "grid": {"problem.p": [0.6, 0.8], "estimators.newton.bound": [2.0, 3.0]},
        "reference": "seed",
        "keep": 1,
    }
    return Study(**options | changes)


@pytest.fixture(scope="module")
def results():
    return run_study(study(), progress=False)


def test_differences_are_those_of_the_same_trial(results):
    for metric in ("coefficient_error", "misclassification"):
        values = results[f"{metric}_trial"].astype(np.float64)
        difference = values - values.sel(estimator="seed")
        last = results.isel(step=-1)
        np.testing.assert_allclose(last[f"{metric}_difference_mean"], difference.mean("trial"), atol=1e-7)
        error = difference.std("trial", ddof=1) / np.sqrt(50)
        np.testing.assert_allclose(last[f"{metric}_difference_se"], error, rtol=1e-4, atol=1e-9)
        assert np.all(last[f"{metric}_difference_mean"].sel(estimator="seed") == 0)
    together = results["coefficient_error_difference_se"].isel(step=-1).sel(estimator="newton")
    apart = np.hypot(
        *(results["coefficient_error_se"].isel(step=-1).sel(estimator=name) for name in ("seed", "newton"))
    )
    assert np.all(together < apart)  # what common random numbers are for


def test_kept_values_are_those_of_every_nth_trial(results):
    every_seventh = run_study(study(keep=7), progress=False)
    np.testing.assert_array_equal(every_seventh["trial"], np.arange(0, 50, 7))
    np.testing.assert_array_equal(
        every_seventh["coefficient_error_trial"], results["coefficient_error_trial"][..., ::7]
    )
    np.testing.assert_allclose(
        results["coefficient_error_trial"].mean("trial"),
        results["coefficient_error_mean"].isel(step=-1),
        rtol=1e-6,
    )


@pytest.fixture(scope="module")
def enough():
    """A standard error that the study reaches after four of seven blocks."""
    full = study(until=None, keep=1)
    values = run_study(full, progress=False)["coefficient_error_trial"]
    worst = [float((values[..., : 8 * k].std("trial", ddof=1) / np.sqrt(8 * k)).max()) for k in range(1, 6)]
    return 0.999 * worst[2] if worst[3] < worst[2] else None, worst


def test_a_study_stops_when_its_standard_error_is_small(enough):
    target, worst = enough
    assert target is not None, worst
    stopped = study(until={"metric": "coefficient_error", "standard_error": target})
    results = run_study(stopped, progress=False)
    assert results.attrs["trials"] == 32
    assert results.sizes["trial"] == 32
    assert float(results["coefficient_error_se"].isel(step=-1).max()) <= target
    with ThreadPoolExecutor(1) as executor:
        again = run_study(stopped, executor=executor, progress=False)
    assert again.attrs["trials"] == 32
    for name in results.data_vars:
        np.testing.assert_array_equal(results[name], again[name])


def test_a_stopped_study_is_finished(enough, tmp_path, monkeypatch):
    stopped = study(until={"metric": "coefficient_error", "standard_error": enough[0]})
    first = run_study(stopped, tmp_path, progress=False)
    monkeypatch.setattr("jaxmlr.study.run.placement.run_block", lambda *args: pytest.fail("computed again"))
    again = run_study(stopped, tmp_path, progress=False)
    assert again.attrs["trials"] == first.attrs["trials"] == 32
    for name in first.data_vars:
        np.testing.assert_array_equal(first[name], again[name])


def test_a_standard_error_out_of_reach_takes_all_trials():
    results = run_study(study(until={"metric": "misclassification", "standard_error": 1e-9}), progress=False)
    assert results.attrs["trials"] == 50


def test_a_block_has_only_rows_that_differ():
    values = run_block(study(), 0)
    assert values["seed"]["coefficient_error"].shape == (2, 2, 8)
    assert values["newton"]["coefficient_error"].shape == (4, 2, 8)


def test_values_that_are_infinite_for_both_have_no_difference():
    alone = study(grid={}, trials=2, block=2, record=[40], metrics=["coefficient_error"])
    whole = parts(alone, {}, {})
    (unit,) = units(whole, {}, 2, 2)
    merger = Merger(alone, whole, None, [unit], 2)
    table = {"coefficient_error": np.full((1, 1, 2), np.inf, np.float32), "finite": np.ones((1, 1, 2))}
    merger.add(unit, dict.fromkeys(alone.estimators, table))
    assert merger.totals.differences["newton"]["coefficient_error"].n == 0
