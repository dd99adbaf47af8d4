"""Metrics and label models of one's own: their numbers, names, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr.data.labels import LabelModel
from jaxmlr.study import Study, StudyError, best, load, run_study, to_dataframe
from jaxmlr.study.results.table import tables


def angle(estimate, truth):
    """The cosine between the first lines."""
    a, b = estimate.coefficients[0], truth.coefficients[0]
    return jnp.abs(jnp.sum(a * b)) / jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))


def vector(estimate, truth):
    return estimate.weights - truth.weights


def sided(share=1.0):
    """The first component where the first regressor is above 0, the second where it is not."""

    def draw(state, phi, uniform):
        return state, ((phi[0] <= 0) & (uniform <= share)).astype(jnp.int32)

    return LabelModel(lambda uniform: (), draw)


TABLE = {
    "name": "own",
    "seed": 1,
    "trials": 6,
    "steps": 40,
    "record": [40],
    "keep": 1,
    "metrics": ["misclassification", angle, "excess_misclassification"],
    "problem": {
        "process": {"kind": "gaussian"},
        "coefficients": [1.0, -1.5],
        "p": 0.7,
        "labels": {"kind": sided},
    },
    "estimators": {"two": {"method": "two_step"}},
}
EM = {"em": {"method": "em", "start": "truth", "max_iterations": 5}}


@pytest.fixture(scope="module")
def study():
    return Study(**TABLE)


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("own")
    run_study(study, out, progress=False)
    return out


def test_numbers_are_those_of_a_plain_loop(study, folder):
    results = load(folder)
    truth, trial = study.problem.mixture("float32"), 5
    phi, y, label = study.data(trial)
    np.testing.assert_array_equal(label, phi[:, 0] <= 0)
    path = study.trajectory(trial, "two")
    estimate = type(truth)(*(leaf[-1] for leaf in path.mixture))
    at = {"estimator": "two", "trial": trial}
    np.testing.assert_allclose(results["angle_trial"].sel(at), angle(estimate, truth), rtol=1e-4)
    order = np.sign(estimate.coefficients[0] @ [1.0, -1.5])
    wrong = np.mean(path.info.label != (label if order > 0 else 1 - label))
    np.testing.assert_allclose(results["misclassification_trial"].sel(at), wrong, atol=1e-6)
    line = phi @ np.array([1.0, -1.5])
    oracle = np.mean((np.abs(y + line) < np.abs(y - line)) != label)
    excess = float(results["excess_misclassification_trial"].sel(at))
    np.testing.assert_allclose(excess, wrong - oracle, atol=1e-6)


@pytest.mark.slow
def test_batch_methods_have_metrics_of_ones_own():
    study = Study(**TABLE | {"estimators": EM})
    results, truth = run_study(study, progress=False), study.problem.mixture("float32")
    fitted = study.trajectory(3, "em").mixture
    expected = angle(type(truth)(*(leaf[-1] for leaf in fitted)), truth)
    np.testing.assert_allclose(results["angle_trial"].sel(estimator="em", trial=3), expected, rtol=1e-4)


def test_results_show_it_by_its_name_and_no_limit(folder):
    results = load(folder)
    assert "misclassification_theory" not in results
    assert "misclassification: it is known where labels is left out" in str(next(tables(results)).caption)
    assert [column.header for column in next(tables(results)).columns][1:4] == [
        "misclassification",
        "excess misclass.",
        "angle",
    ]
    assert set(to_dataframe(results)["metric"]) == {"misclassification", "angle", "excess_misclassification"}
    assert best(results, "angle")["value"].shape == ()


def test_a_name_of_a_module_is_the_function(study, folder):
    named = study.to_table()
    assert named["metrics"][1].endswith(":angle")
    assert named["problem"]["labels"]["kind"].endswith(":sided")
    assert {"metrics.angle", "problem.labels.kind"} <= {*study.functions}
    assert study.metric_names == ("misclassification", "angle", "excess_misclassification")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ["angel"]}, "unknown name 'angel'"),
        ({"metrics": [angle, "jaxmlr.evaluation.metrics:scale"]}, "must have a name of its own, not 'scale'"),
        ({"metrics": [angle, angle]}, "must have a name of its own, not 'angle'"),
        ({"metrics": [lambda estimate, truth: 0.0]}, "must have a name of its own"),
        (
            {"metrics": [vector]},
            r"vector of estimators.two: must be one number, not float32 .*\(2,\)",
        ),
        ({"metrics": ["no_such_module:f"]}, "cannot import"),
        ({"problem": TABLE["problem"] | {"labels": {"kind": angle}}}, "problem.labels"),
        ({"problem": TABLE["problem"] | {"labels": {"kind": sided, "part": 1}}}, "unknown name 'part'"),
        ({"problem": TABLE["problem"] | {"labels": "markov"}}, "must be a table with a kind"),
    ],
)
def test_what_is_no_metric_or_law_is_refused(changes, message):
    with pytest.raises(StudyError, match=message):
        Study(**TABLE | changes)
