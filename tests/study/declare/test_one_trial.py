"""One trial of a study: its data and a method's path, against the study's own numbers."""

import jax
import numpy as np
import pytest

from jaxmlr import processes, simulate
from jaxmlr.data.disturbances import Disturbance
from jaxmlr.study import Study, StudyError, run_study, to_dataframe
from jaxmlr.study.declare import one_trial

PROBLEM = {"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.7}


def study(**changes):
    options = {
        "name": "one",
        "seed": 4,
        "trials": 6,
        "steps": 40,
        "record": [20, 40],
        "metrics": ["coefficient_error", "misclassification", "within_cluster_error", "scale"],
        "problem": PROBLEM,
        "estimators": {
            "two": {"method": "two_step"},
            "three": {"method": "recursive_em", "components": 3},
            "fit": {"method": "em", "start": "truth", "at": [20, 40]},
        },
        "grid": {"zip": {"problem.p": [0.6, 0.75], "problem.noise_variance": [1.0, 0.5]}},
        "precision": "float64",
        "keep": 1,
    }
    return Study(**options | changes)


@pytest.fixture(scope="module")
def results():
    return run_study(study(), progress=False)


POINT = {"problem.p": 0.75}


def test_the_data_are_those_of_simulate():
    declared = study()
    phi, y, label = declared.data(3, **POINT)
    truth = declared.at(POINT | {"problem.noise_variance": 0.5}).problem.mixture("float64")
    expected = simulate(jax.random.key(4), truth, processes.gaussian(), 40, trial=3)
    for given, wanted in zip((phi, y, label), expected, strict=True):
        np.testing.assert_array_equal(given, wanted)
    assert (phi.shape, y.shape, label.dtype) == ((40, 2), (40,), np.int32)


@pytest.mark.parametrize("method", ["two", "fit"])
def test_a_trajectory_ends_where_the_study_does(results, method):
    path = study().trajectory(3, method, **POINT)
    end = path.mixture.coefficients[-1]
    error = min(np.linalg.norm(end[0] - [1.0, -1.5]), np.linalg.norm(end[0] + [1.0, -1.5]))
    if method == "fit":
        order = [end, end[::-1]]
        truth = np.array([[1.0, -1.5], [-1.0, 1.5]])
        error = min(np.sqrt(np.sum((lines - truth) ** 2) / 2) for lines in order)
    stored = results["coefficient_error_trial"].sel({"estimator": method, "problem.p": 0.75, "trial": 3})
    np.testing.assert_allclose(error, float(stored), rtol=1e-6)
    steps, labels = ([20, 40], None) if method == "fit" else (range(1, 41), (40,))
    np.testing.assert_array_equal(path.step, steps)
    assert (None if path.info is None else path.info.label.shape) == labels


@pytest.mark.parametrize("method", ["two", "fit"])
def test_trials_share_a_compiled_program(method, caplog):
    declared = study(seed=9)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        first = declared.trajectory(1, method, **POINT)
        assert [line for line in caplog.messages if "Compiling" in line]
        caplog.clear()
        other = study(seed=9).trajectory(2, method, **POINT)
    assert not [line for line in caplog.messages if "Compiling" in line]
    assert (first.mixture.coefficients[-1] != other.mixture.coefficients[-1]).all()
    np.testing.assert_array_equal(
        declared.trajectory(1, method, **POINT).mixture.coefficients, first.mixture.coefficients
    )


def test_a_method_may_have_another_number_of_components(results):
    three = results.sel(estimator="three")
    for metric in ("coefficient_error", "misclassification", "scale"):
        assert np.isnan(three[f"{metric}_mean"]).all()
    assert np.isfinite(three["within_cluster_error_mean"]).all()
    assert (three["diverged"] == 0).all()
    assert study().trajectory(0, "three", **POINT).mixture.coefficients.shape == (40, 3, 2)


def test_kept_trials_are_a_table(results):
    frame = to_dataframe(results, trials=True)
    assert list(frame.columns) == [
        "estimator",
        "problem.p",
        "trial",
        "metric",
        "problem.noise_variance",
        "value",
    ]
    assert len(frame) == 3 * 2 * 6 * 4
    with pytest.raises(ValueError, match="hold no single trials"):
        to_dataframe(results.drop_vars([f"{m}_trial" for m in study().metrics]), trials=True)


def test_a_value_of_an_axis_is_taken_as_it_is_printed():
    third = study(grid={"problem.p": {"linspace": [0.6, 0.9, 10]}})
    at = one_trial.at_point(third, {"problem.p": 0.633333}, ("problem.",))
    assert at.problem.p == third.points["problem.p"][1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.data(0), "problem.p must be one of 0.6, 0.75$"),
        (lambda s: s.data(0, **{"problem.p": 0.7}), "problem.p must be one of 0.6, 0.75, not 0.7"),
        (lambda s: s.data(-1, **POINT), "trial must be a whole number of at least 0"),
        (lambda s: s.data(2**31, **POINT), "trial must be less than"),
        (lambda s: s.data(0, p=0.6), "unknown name 'p'"),
        (lambda s: s.trajectory(0, "tow", **POINT), "unknown name 'tow'; did you mean 'two'"),
    ],
)
def test_what_does_not_exist_is_named(call, message):
    with pytest.raises(StudyError, match=message):
        call(study())


def cosines(period=7.0):
    """phi[n] = cos(2 pi n k / period) + a tenth of noise."""

    def step(state, n, normals):
        k = jax.numpy.arange(1, len(normals) + 1, dtype=normals.dtype)
        return state, jax.numpy.cos(2 * np.pi * n * k / period) + normals / 10

    return processes.Process(lambda normals: normals[:0], step)


def coin():
    """w = +-1."""
    return Disturbance(1, lambda normals, phi: jax.numpy.sign(normals[0]))


def test_a_process_and_a_law_of_noise_may_be_ones_own(tmp_path):
    own = PROBLEM | {"process": {"kind": cosines, "period": 5.0}, "noise": {"kind": coin}}
    declared = study(problem=own, grid={})
    phi, y, label = declared.data(0)
    k = np.array([1, 2])
    np.testing.assert_allclose(phi, np.cos(2 * np.pi * np.arange(1, 41)[:, None] * k / 5), atol=0.5)
    sign = np.where(label == 0, 1, -1)
    np.testing.assert_allclose(np.abs(y - sign * (phi @ [1.0, -1.5])), 1, rtol=1e-12)
    table = declared.to_table()["problem"]
    assert table["process"]["kind"].endswith(":cosines")
    assert set(declared.functions) == {"problem.process.kind", "problem.noise.kind"}
    named = study(problem=PROBLEM | {"process": {"kind": "jaxmlr.data.processes:ar"}}, grid={})
    assert list(named.functions) == ["problem.process.kind"]
    with pytest.raises(StudyError, match="unknown name 'perod'; did you mean 'period'"):
        study(problem=PROBLEM | {"process": {"kind": cosines, "perod": 5.0}}, grid={})
    with pytest.raises(StudyError, match="which is no Process"):
        study(problem=PROBLEM | {"process": {"kind": coin}}, grid={})
    with pytest.raises(StudyError, match="cannot import"):
        study(problem=PROBLEM | {"process": {"kind": "no_such_module:f"}}, grid={})
