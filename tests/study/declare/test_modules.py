"""Modules that a study's file names: its own folder's and installed ones, no others; `show` imports none."""

import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w

from jaxmlr.study import Study, StudyError

ROOT = Path(__file__).resolve().parents[3]
MODULE = """
import pathlib
pathlib.Path(__file__).with_suffix(".ran").touch()
def {name}(estimate, truth):
    return estimate.weights[0]
"""
TABLE = {
    "name": "own",
    "trials": 2,
    "steps": 5,
    "record": [5],
    "metrics": ["coefficient_error"],
    "problem": {"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.7},
    "estimators": {"two": {"method": "two_step"}},
}


def written(folder, module, name="weight"):
    folder.mkdir(exist_ok=True)
    file = folder / "study.toml"
    file.write_text(tomli_w.dumps(TABLE | {"metrics": [f"{module}:{name}"]}))
    return file


def placed(folder, module, name="weight"):
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(MODULE.format(name=name))
    return folder


@pytest.fixture
def no_traces(monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path.copy())


def test_a_module_beside_the_study_is_found_from_anywhere(tmp_path, no_traces):
    placed(tmp_path / "a", "own_beside")
    assert Study.from_toml(written(tmp_path / "a", "own_beside")).metric_names == ("weight",)


def test_a_module_of_the_current_folder_is_refused_and_not_run(tmp_path, no_traces, monkeypatch):
    placed(tmp_path / "b", "own_current")
    monkeypatch.chdir(tmp_path / "b")
    sys.path.insert(0, str(tmp_path / "b"))
    file = written(tmp_path / "study", "own_current")
    with pytest.raises(StudyError, match=r"neither the study's folder, .*, nor installed") as caught:
        Study.from_toml(file)
    assert "study.toml, line" in str(caught.value)
    assert not (tmp_path / "b" / "own_current.ran").exists()
    assert "own_current" not in sys.modules
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "b"))  # says that it is a folder of modules
    assert Study.from_toml(file).metric_names == ("weight",)


def test_the_standard_library_is_refused_and_not_run(tmp_path):
    traces = tmp_path / "traces"
    process = {"kind": "os:system", "command": f"touch {traces}"}
    for changes in (
        {"problem": TABLE["problem"] | {"process": process}},
        {"estimators": {"two": {"method": "builtins:eval"}}},
        {"metrics": ["os.path:join"]},
    ):
        (tmp_path / "study.toml").write_text(tomli_w.dumps(TABLE | changes))
        with pytest.raises(StudyError, match="is in Python's standard library"):
            Study.from_toml(tmp_path / "study.toml")
    assert not traces.exists()


def test_a_module_of_another_study_is_refused(tmp_path, no_traces):
    Study.from_toml(written(placed(tmp_path / "c", "own_shared"), "own_shared"))
    with pytest.raises(StudyError, match="neither the study's folder"):
        Study.from_toml(written(tmp_path / "d", "own_shared"))
    placed(tmp_path / "d", "own_shared")
    with pytest.raises(StudyError, match="hidden by another module 'own_shared'"):
        Study.from_toml(written(tmp_path / "d", "own_shared"))


@pytest.mark.slow
def test_a_run_goes_on_from_its_folder_and_show_imports_nothing(tmp_path):
    home = placed(tmp_path / "home", "own_run")
    file, out, ran = written(home, "own_run"), tmp_path / "out", home / "own_run.ran"

    def call(*arguments):
        command = [sys.executable, "-m", "jaxmlr", *map(str, arguments)]
        env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    done = call("run", file, "--out", out)
    assert done.returncode == 0, done.stderr
    assert ran.exists()
    ran.unlink()
    for command in (["show", out], ["export", out, tmp_path / "out.csv"], ["plot", out]):
        done = call(*command)
        assert done.returncode == 0, done.stderr
        assert not ran.exists()
    done = call("run", out / "study.toml", "--out", out, "--trials", 3)
    assert done.returncode == 0, done.stderr
    assert ran.exists()
