"""`jaxmlr trial`: the table is what the study says, and the picture is drawn."""

import numpy as np
import pandas as pd
import pytest
import tomli_w

from jaxmlr.study import Study

STUDY = {
    "name": "one [km]",
    "trials": 5,
    "steps": 30,
    "problem": {"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.7},
    "estimators": {
        "two": {"method": "two_step"},
        "em": {"method": "em", "start": "truth", "at": [20, 30]},
    },
    "grid": {"problem.p": [0.6, 0.75]},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "study.toml").write_text(tomli_w.dumps(STUDY))
    return tmp_path


def test_a_trial_is_a_table_and_a_picture(folder, call):
    status, printed, _ = call("trial", folder, 3, "--select", "problem.p=0.75")
    assert status == 0
    table = pd.read_csv(folder / "trial-3.csv")
    study, point = Study(**STUDY), {"problem.p": 0.75}
    phi, y, label = study.data(3, **point)
    np.testing.assert_allclose(table[["phi_1", "phi_2"]], phi, rtol=1e-6)
    np.testing.assert_allclose(table["y"], y, rtol=1e-6)
    np.testing.assert_array_equal(table["label"], label + 1)
    path = study.trajectory(3, "two", **point)
    np.testing.assert_allclose(table["two.beta_1_2"], path.mixture.coefficients[:, 0, 1], rtol=1e-6)
    assert np.flatnonzero(np.isfinite(table["em.weight_1"])).tolist() == [19, 29]
    assert (folder / "trial-3.png").read_bytes()[:4] == b"\x89PNG"
    assert "trial-3.csv" in printed.replace("\n", "")


def test_a_method_without_a_scale_is_drawn(folder, call):
    """Its weights are equal, so that q = 1 / |2p - 1| is no number at any step."""
    estimators = {"equal": {"method": "symmetric_em"}}
    (folder / "study.toml").write_text(tomli_w.dumps(STUDY | {"estimators": estimators}))
    status, _, errors = call("trial", folder, 3, "--select", "problem.p=0.6")
    assert (status, errors) == (0, "")
    assert (folder / "trial-3.png").is_file()


def test_the_picture_has_a_name_and_a_width_of_its_own(folder, call):
    own = folder / "own.svg"
    of = ("trial", folder, 3, "--select", "problem.p=0.75", "--method", "two", "--picture")
    status, printed, _ = call(*of, own, "--column", "single")
    assert status == 0
    assert printed.splitlines()[-1] == str(own)
    assert 'width="252pt"' in own.read_text()  # 3.5 inches
    assert not (folder / "trial-3.png").exists()
    status, _, errors = call(*of, "own.gif")
    assert (status, errors) == (2, "jaxmlr: --picture must end in .png, .pdf or .svg, not own.gif\n")


def test_a_study_that_has_not_been_run_has_trials_too(folder, call, monkeypatch):
    monkeypatch.chdir(folder)
    arguments = (3, "--select", "problem.p=0.6", "--method", "em")
    assert call("trial", folder, *arguments, "--out", folder / "of-folder.csv")[0] == 0
    assert call("trial", folder / "study.toml", *arguments)[0] == 0
    pd.testing.assert_frame_equal(pd.read_csv("trial-3.csv"), pd.read_csv("of-folder.csv"))
    status, _, errors = call("trial", folder / "absent", 3)
    assert status == 2
    assert "holds no study" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([3], "problem.p must be one of 0.6, 0.75"),
        ([3, "--select", "problem.p=0.6", "--method", "tow"], "did you mean 'two'"),
        ([3, "--select", "problem.p=0.6", "--out", "x.xls"], "FILE must end in .csv or .parquet"),
        ([3, "--select", "problem.p=0.6", "--select", "seed=1"], "seed"),
    ],
)
def test_what_does_not_exist_is_one_line(folder, call, arguments, message):
    status, _, errors = call("trial", folder, *arguments)
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1
