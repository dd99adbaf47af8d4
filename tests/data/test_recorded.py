"""Regressors from files: what is drawn is what was recorded, and what does not fit is refused."""

import numpy as np
import pandas as pd
import pytest
import tomli_w

from jaxmlr.study import Study, StudyError, run_study

RNG = np.random.default_rng(0)
ONE, EACH = RNG.normal(size=(40, 2)), RNG.normal(size=(6, 40, 2))


def declared(file, **changes):
    options = {
        "name": "recorded",
        "trials": 6,
        "block": 4,
        "steps": 30,
        "record": [30],
        "metrics": ["coefficient_error"],
        "problem": {
            "process": {"kind": "recorded", "file": str(file)},
            "coefficients": [1.0, -1.5],
            "p": 0.7,
        },
        "estimators": {"two": {"method": "two_step"}},
        "precision": "float64",
        "keep": 1,
    }
    return Study(**options | changes)


@pytest.mark.parametrize(("phi", "trial"), [(ONE, 3), (EACH, 0), (EACH, 5)])
@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_regressors_are_those_of_the_file(tmp_path, phi, trial, ending):
    file = tmp_path / f"phi.{ending}"
    if ending == "npz":
        np.savez(file, phi=phi)
    else:
        table = pd.DataFrame(phi.reshape(-1, 2), columns=["a", "b"])
        if phi.ndim == 3:
            table["trial"] = np.repeat(np.arange(6), 40)
        table.to_parquet(file)
    drawn, y, label = declared(file).data(trial)
    np.testing.assert_array_equal(drawn, phi[:30] if phi.ndim == 2 else phi[trial, :30])
    sign = np.where(label == 0, 1, -1)
    assert 0.5 < np.std(y - sign * (drawn @ [1.0, -1.5])) < 1.6


@pytest.mark.slow
def test_a_study_runs_on_a_recording_for_each_trial(tmp_path):
    np.savez(tmp_path / "phi.npz", phi=EACH)
    study = declared(tmp_path / "phi.npz")
    errors = run_study(study, progress=False)["coefficient_error_trial"].values[0]
    for trial in (0, 5):
        end = study.trajectory(trial, "two").mixture.coefficients[-1, 0]
        beta = np.array([1.0, -1.5])
        expected = min(np.linalg.norm(end - beta), np.linalg.norm(end + beta))
        np.testing.assert_allclose(errors[trial], expected, rtol=1e-8)


def test_a_study_finds_the_file_beside_it_and_knows_when_it_changes(tmp_path, monkeypatch):
    np.savez(tmp_path / "phi.npz", phi=ONE)
    table = declared(tmp_path / "phi.npz").to_table()
    table["problem"]["process"] = {"kind": "recorded", "file": "phi.npz"}
    (tmp_path / "study.toml").write_text(tomli_w.dumps(table))
    read = Study.from_toml(tmp_path / "study.toml")
    (tmp_path / "again.toml").write_text(tomli_w.dumps(read.to_table()))
    assert Study.from_toml(tmp_path / "again.toml").fingerprint() == read.fingerprint()
    np.savez(tmp_path / "phi.npz", phi=ONE + 1)
    assert Study.from_toml(tmp_path / "study.toml").fingerprint() != read.fingerprint()
    with pytest.raises(StudyError, match="has changed"):
        Study.from_toml(tmp_path / "again.toml")


@pytest.mark.parametrize(
    ("arrays", "changes", "message"),
    [
        ({"phi": ONE}, {"steps": 41, "record": 1}, "steps must be at most 40, those of the recording"),
        ({"phi": EACH}, {"trials": 7}, "trials must be at most 6, those of the recording"),
        ({"phi": ONE[:, :1]}, {}, r"problem.process: phi must be float32\(2,\), not float32\(1,\)"),
        ({"phi": ONE, "z": ONE[:, 0]}, {}, "must hold phi, and perhaps y, and label beside it, not phi, z"),
        ({"phi": ONE, "label": ONE[:, 0]}, {}, "must hold phi"),
        ({"phi": ONE, "y": ONE}, {}, r"y in .* must be numbers \(40,\), not \(40, 2\)"),
        ({"phi": ONE, "y": ONE[:, 0] + np.inf}, {}, "y in .* must be finite"),
        ({"phi": ONE, "y": ONE[:, 0], "label": ONE[:, 0]}, {}, "label in .* must be whole numbers"),
        (
            {"phi": ONE, "y": ONE[:, 0]},
            {"metrics": ["misclassification"]},
            "needs labels",
        ),
        ({"phi": ONE, "y": ONE[:, 0], "label": np.full(40, 2)}, {}, "has 3 labels from 0, the problem 2"),
        ({"phi": ONE[:, 0]}, {}, r"must be numbers \(n, d\)"),
        ({"phi": np.where(ONE > 1, np.nan, ONE)}, {}, "must be finite"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, arrays, changes, message):
    np.savez(tmp_path / "phi.npz", **arrays)
    with pytest.raises(StudyError, match=message):
        declared(tmp_path / "phi.npz", **changes)


@pytest.mark.parametrize(
    ("name", "message"), [("none.npz", "cannot be read"), ("", "cannot be read"), ("phi.csv", "must end in")]
)
def test_a_file_that_is_not_there_is_named(tmp_path, name, message):
    (tmp_path / "phi.csv").write_text("1")
    with pytest.raises(StudyError, match=message):
        declared(tmp_path / name)


@pytest.mark.parametrize("phi", [ONE, EACH], ids=["one recording", "one for each trial"])
@pytest.mark.parametrize("labelled", [True, False])
def test_parquet_has_responses_as_npz_has_them(tmp_path, phi, labelled):
    shape = phi.shape[:-1]
    answers = {"y": RNG.normal(size=shape)} | ({"label": RNG.integers(0, 2, size=shape)} if labelled else {})
    table = pd.DataFrame(phi.reshape(-1, 2), columns=["a", "b"])
    for name, values in answers.items():
        table.insert(1, name, values.ravel())
    if phi.ndim == 3:
        table["trial"] = np.repeat(np.arange(6), 40)
        table = table.sample(frac=1, random_state=0).sort_values("trial", kind="stable")
        rows = table.index.to_numpy().reshape(6, 40) - 40 * np.arange(6)[:, None]
        phi = np.take_along_axis(phi, rows[..., None], axis=1)
        answers = {name: np.take_along_axis(values, rows, axis=1) for name, values in answers.items()}
    table.to_parquet(tmp_path / "phi.parquet")
    np.savez(tmp_path / "phi.npz", phi=phi, **answers)
    drawn = [declared(tmp_path / f"phi.{ending}").data(2) for ending in ("npz", "parquet")]
    for one, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(drawn[1].y, (answers["y"] if phi.ndim == 2 else answers["y"][2])[:30])


@pytest.mark.parametrize("columns", [["y"], ["label", "a"], ["y", "label"]])
def test_parquet_without_regressors_or_responses_is_refused(tmp_path, columns):
    pd.DataFrame(np.zeros((40, len(columns))), columns=columns).to_parquet(tmp_path / "phi.parquet")
    with pytest.raises(StudyError, match=r"must hold phi, and perhaps y"):
        declared(tmp_path / "phi.parquet")


def test_responses_and_labels_of_a_file_are_taken(tmp_path):
    label = RNG.integers(0, 2, size=(6, 40))
    y = np.where(label == 0, 1, -1) * (EACH @ [1.0, -1.5]) + RNG.normal(size=(6, 40)) / 10
    np.savez(tmp_path / "phi.npz", phi=EACH, y=y, label=label)
    study = declared(tmp_path / "phi.npz", metrics=["coefficient_error", "misclassification"])
    _, given, labels = study.data(4)
    np.testing.assert_array_equal(given, y[4, :30])
    np.testing.assert_array_equal(labels, label[4, :30])
    results = run_study(study, progress=False)
    assert not [name for name in results if str(name).endswith("_theory")]
    oracle = np.mean(
        [
            (np.abs(y[t, :30] + EACH[t, :30] @ [1.0, -1.5]) < np.abs(y[t, :30] - EACH[t, :30] @ [1.0, -1.5]))
            != label[t, :30]
            for t in range(6)
        ]
    )
    np.testing.assert_allclose(results["misclassification_oracle"], [oracle], rtol=1e-12)
    np.savez(tmp_path / "plain.npz", phi=EACH, y=y)
    assert (declared(tmp_path / "plain.npz").data(0).label == -1).all()
    drawn = declared(
        tmp_path / "plain.npz",
        problem=study.to_table()["problem"]
        | {"process": {"kind": "recorded", "file": str(tmp_path / "plain.npz"), "responses": False}},
    )
    assert (drawn.data(0).label >= 0).all()
    with pytest.raises(StudyError, match=r"problem.noise: the recording has responses of its own"):
        declared(tmp_path / "phi.npz", problem=study.to_table()["problem"] | {"noise": {"kind": "laplace"}})
