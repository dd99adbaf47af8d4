"""Numbers as arguments: studies that differ in them alone share a compiled program."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxmlr.study import Study, StudyError, run_study
from jaxmlr.study.compute import limits, program
from jaxmlr.study.compute.numbers import numbers, structure

ROOT = Path(__file__).resolve().parents[3]
METRICS = ["coefficient_error", "misclassification", "excess_misclassification"]


def declared(p=0.7, delta=0.1, pole=0.8, **changes):
    options = {
        "name": "objective",
        "trials": 8,
        "steps": 60,
        "record": [60],
        "metrics": METRICS,
        "arguments": True,
        "problem": {"process": {"kind": "ar", "pole": pole}, "coefficients": [1.0, -1.5], "p": p},
        "estimators": {"two": {"method": "two_step", "delta": delta, "delay": 2}},
    }
    return Study(**options | changes)


@pytest.fixture
def compilations(monkeypatch):
    """What is compiled, from now on."""
    every = []

    def counting(function, *args):
        every.append(function)
        return original(function, *args)

    original = program.compiled
    monkeypatch.setattr(program, "compiled", counting)
    monkeypatch.setattr(limits, "compiled", counting)
    return every


@pytest.mark.slow
def test_an_objective_compiles_once_and_has_the_numbers_of_constants(compilations):
    values = [(0.6 + 0.03 * k, 0.05 * k, 0.9 - 0.1 * k, k) for k in range(10)]
    results = [
        run_study(declared(p, delta, pole, seed=seed), progress=False) for p, delta, pole, seed in values
    ]
    assert len(compilations) == 2  # the block and the limits
    for k in (0, 7):
        p, delta, pole, seed = values[k]
        constants = run_study(declared(p, delta, pole, seed=seed, arguments=False), progress=False)
        assert set(constants.variables) == set(results[k].variables)
        for name in constants.data_vars:
            np.testing.assert_allclose(results[k][name], constants[name], rtol=2e-5, err_msg=name)
    errors = [float(each["coefficient_error_rms"].values[0, -1]) for each in results]
    assert len({*errors}) == 10


def test_arguments_are_the_seed_and_floats_that_may_be_traced():
    study = declared(grid={"problem.p": [0.6, 0.7]})
    assert numbers(study) == {
        "seed": 0,
        "problem.noise_variance": 1.0,
        "problem.process.pole": 0.8,
        "estimators.two.delta": 0.1,
    }
    assert numbers(declared(arguments=False)) == {}
    assert structure(declared(0.6)) == structure(declared(0.7, seed=3))
    for other in ({"steps": 61}, {"grid": {"problem.p": [0.6]}}, {"trials": 9}, {"metrics": METRICS[:1]}):
        assert structure(declared(**other)) != structure(declared())


def test_a_study_says_whether_its_numbers_are_arguments():
    assert declared().to_table()["arguments"] is True
    assert "arguments" not in declared(arguments=False).to_table()
    with pytest.raises(StudyError, match="arguments must be true or false, not 1"):
        declared(arguments=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["optuna", "mlflow"])
def test_the_example_runs(name, tmp_path):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    command = [sys.executable, str(ROOT / "experiments" / f"with_{name}.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
