"""Responses that are missing, and a truth that drifts: metrics and limits against plain loops."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import Mixture, drifts, processes, simulate, symmetric
from jaxmlr.study import Study, StudyError, run_block, run_study

METRICS = ["coefficient_error", "misclassification", "within_cluster_error", "excess_misclassification"]
TABLE = {
    "name": "gaps",
    "seed": 5,
    "trials": 6,
    "steps": 60,
    "record": [1, 20, 60],
    "precision": "float64",
    "metrics": METRICS,
    "problem": {
        "process": {"kind": "gaussian"},
        "coefficients": [1.0, -1.5],
        "p": 0.7,
        "missing": 0.3,
        "drift": {"kind": "rotation", "angle": 0.02},
    },
    "estimators": {
        "two": {"method": "two_step", "gain": "newton"},
        "em": {"method": "em", "start": "truth", "at": [20, 60], "max_iterations": 20},
    },
}


def changed(**problem):
    return {**TABLE, "problem": {**TABLE["problem"], **problem}}


@pytest.fixture(scope="module")
def study():
    return Study(**TABLE)


def plain_metrics(rows, path, n):
    """The metrics of one trial after n rows, in NumPy, from its data and the path of a method."""
    phi, y, label = (np.asarray(x[:n]) for x in rows)
    seen = np.isfinite(y)
    turned = 0.02 * np.arange(n)
    cosine, sine = np.cos(turned), np.sin(turned)
    beta = np.stack([cosine + 1.5 * sine, sine - 1.5 * cosine], axis=1)
    k = np.flatnonzero(path.step == n)[0]
    estimate = path.mixture.coefficients[k]
    distance = [np.linalg.norm(estimate - s * np.stack([beta[-1], -beta[-1]])) for s in (1, -1)]
    order = np.array([0, 1]) if distance[0] <= distance[1] else np.array([1, 0])
    line = np.sum(beta * phi, axis=1)
    best = (np.abs(y + line) < np.abs(y - line)).astype(int)
    if path.info is None:
        errors = y[:, None] - phi @ estimate.T
        given = np.argmin(np.abs(errors), axis=1)
        residual = np.take_along_axis(errors, given[:, None], 1)[:, 0]
    else:
        given, residual = path.info.label[:n], path.info.residual[:n]
    wrong = np.mean((given != order[label])[seen]) if seen.any() else np.nan
    return {
        "coefficient_error": min(distance) / np.sqrt(2),
        "misclassification": wrong,
        "within_cluster_error": np.mean(residual[seen] ** 2) if seen.any() else np.nan,
        "excess_misclassification": wrong - np.mean((best != label)[seen]) if seen.any() else np.nan,
    }


@pytest.mark.parametrize(("name", "steps"), [("two", [1, 20, 60]), ("em", [20, 60])])
def test_metrics_are_those_of_the_observed_rows_against_the_truth_of_that_step(study, name, steps):
    values = run_block(study, 0)[name]
    assert np.isnan(values["misclassification"][0, 0]).any()  # a trial whose first response is missing
    for trial in (0, 4):
        rows, path = study.data(trial), study.trajectory(trial, name)
        for n in steps:
            place = study.recorded.tolist().index(n)
            for metric, expected in plain_metrics(rows, path, n).items():
                value = values[metric][0, place, trial]
                np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=metric)


def test_the_data_of_a_trial_are_those_of_simulate(study):
    truth = symmetric(jnp.array([1.0, -1.5]), 0.7)
    drift = drifts.rotation(0.02).mirrored()
    rows = simulate(jax.random.key(5), truth, processes.gaussian(), 60, trial=2, missing=0.3, drift=drift)
    for mine, theirs in zip(study.data(2), rows, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
    path = study.trajectory(2, "two")
    np.testing.assert_array_equal(np.isnan(path.info.residual), np.isnan(rows.y))
    np.testing.assert_allclose(path.truth.coefficients[0], truth.coefficients)
    assert path.truth.weights.shape == (60, 2)


def test_limits_are_of_observed_rows_and_none_is_given_for_what_drifts(study):
    results = run_study(study, progress=False)
    assert "coefficient_error_theory" not in results
    assert "misclassification_theory" in results
    assert json.loads(results.attrs["without_limit"]) == {
        "coefficient_error": "coefficients that drift have no Cramér-Rao bound"
    }
    # Lines far apart: the information is that of labelled rows, n (1 - missing) I.
    far = {**changed(coefficients=[30.0, 30.0], drift=None, missing=0.5), "metrics": METRICS[:1]}
    far |= {"trials": 40, "steps": 400, "record": [400], "estimators": {"known": {"method": "oracle"}}}
    bound = run_study(Study(**far), progress=False)
    assert "without_limit" not in bound.attrs
    np.testing.assert_allclose(bound["coefficient_error_theory"], [np.sqrt(2 / 200)], rtol=0.1)


def test_a_share_on_the_grid_loses_the_same_rows(study):
    varied = Study(**changed(missing=0.0) | {"grid": {"problem.missing": [0.0, 0.3]}})
    few, many = (varied.data(1, **{"problem.missing": share}).y for share in (0.0, 0.3))
    assert np.isfinite(few).all()
    np.testing.assert_array_equal(many, study.data(1).y)
    kept = np.isfinite(many)
    np.testing.assert_array_equal(few[kept], many[kept])


def unmasked(phi, y, key):
    return Mixture(jnp.ones((2, phi.shape[1])), jnp.ones(2) / 2, jnp.ones(()))


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (changed(missing=1.0), ("problem", "missing"), "problem.missing must be .*less than 1"),
        (changed(missing=[0.1, 0.2]), ("problem", "missing"), "must be a number"),
        (changed(drift="jump"), ("problem", "drift"), "must be a table with a kind"),
        (changed(drift={"kind": "jmp"}), ("problem", "drift", "kind"), "did you mean 'jump'"),
        (
            changed(drift={"kind": "slope", "rate": [1.0, 2.0, 3.0]}),
            ("problem", "drift"),
            r"rate must be a number, \(2,\), not of shape \(3,\)",
        ),
        (
            {**TABLE, "estimators": {"own": {"method": unmasked}}},
            ("estimators", "own", "method"),
            "must take a mask",
        ),
        (
            {**changed(missing=None), "estimators": {"own": {"method": unmasked}}}
            | {"grid": {"problem.missing": [0.0, 0.1]}},
            ("grid", "problem.missing", 0),
            "must take a mask",
        ),
    ],
)
def test_what_cannot_be_is_refused(changes, path, message):
    with pytest.raises(StudyError, match=message) as caught:
        Study(**changes)
    assert caught.value.path[: len(path)] == path
