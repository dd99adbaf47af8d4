"""A saved model: the same predictions after it is loaded, and that what is in a file is only data."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import jaxmlr
from jaxmlr.fitting.model import Model
from jaxmlr.fitting.tables.design import Design
from jaxmlr.fitting.tables.terms import Terms
from jaxmlr.mixture import Mixture

FORMULAS = (
    "y ~ x",
    "y ~ poly(x, 2) + bs(`heart rate`, df=4) + cr(x, df=3)",
    "y ~ scale(x) * g + center(`heart rate`)",
    "log(y + 9) ~ 0 + g:x + h + offset(x)",
    "y ~ C(g, contr.sum) + C(h)",
    "y ~ (g + h + x)^2",
    "y ~ .",
)


def table(n=60):
    rng = np.random.default_rng(0)
    columns = {
        "y": rng.normal(size=n),
        "x": rng.normal(size=n),
        "heart rate": rng.uniform(1, 9, n),
        "g": rng.choice(list("abc"), n),
        "h": rng.choice(["u", "v"], n),
    }
    return pd.DataFrame(columns, index=range(1, n + 1))


def model(text="y ~ x + g", frame=None):
    design, rows = Design.learn(table() if frame is None else frame, None, text)
    rng = np.random.default_rng(1)
    lines = rng.normal(size=(2, rows.phi.shape[1]))
    return Model(design, Mixture(lines, np.array([0.7, 0.3]), np.array([0.5, 2.0])), {"seed": 0})


@pytest.mark.parametrize("text", FORMULAS)
def test_a_loaded_model_predicts_the_same_bits(text, tmp_path):
    before, frame = model(text), table()
    before.save(tmp_path / "model.json")
    after = jaxmlr.load(tmp_path / "model.json")
    assert after.about == {"seed": 0}
    one_level = frame.assign(g="b", h="v").iloc[:3]
    for new in (frame, one_level, frame.iloc[[5]]):
        for given in (False, True):
            pd.testing.assert_frame_equal(
                after.predict(new, interval=0.9, given=given), before.predict(new, interval=0.9, given=given)
            )
    without = frame.drop(columns="y")
    pd.testing.assert_frame_equal(after.predict(without), before.predict(frame))


def test_predictions_are_those_of_the_mixture():
    asked, frame = model("y ~ x"), table(40)
    lines = np.column_stack([np.ones(40), frame["x"]]) @ asked.mixture.coefficients.T
    plain, given = asked.predict(frame), asked.predict(frame, given=True)
    np.testing.assert_allclose(plain["mean"], lines @ [0.7, 0.3])
    np.testing.assert_allclose(plain[["component_1", "component_2"]], lines)
    assert (plain["probability_1"] == 0.7).all()
    joint = np.array([0.7, 0.3]) * norm.pdf(frame["y"].to_numpy()[:, None], lines, np.sqrt([0.5, 2.0]))
    np.testing.assert_allclose(given["probability_2"], joint[:, 1] / joint.sum(axis=1))
    assert (given["label"] == joint.argmax(axis=1) + 1).all()


def gated():
    """A model whose weights depend on x and h, of rows in groups by g."""
    design, _ = Design.learn(table(), None, "y ~ x | x + h", terms=Terms("g"))
    mixture = Mixture(np.array([[1.0, 0.5], [-1.0, 0.2]]), np.array([0.6, 0.4]), np.array([0.5, 2.0]))
    return Model(design, mixture, {}, np.array([[0.0, 0.0, 0.0], [0.3, -1.0, 2.0]]))


def test_a_gate_gives_each_row_its_weights_and_groups_share_a_posterior(tmp_path):
    gated().save(tmp_path / "model.json")
    asked, frame = Model.load(tmp_path / "model.json"), table()
    score = 0.3 - frame["x"] + 2 * (frame["h"] == "v")
    weights = np.column_stack([1 / (1 + np.exp(score)), 1 / (1 + np.exp(-score))])
    predicted = asked.predict(frame.drop(columns=["y", "g"]))
    np.testing.assert_allclose(predicted[["probability_1", "probability_2"]], weights, rtol=1e-12)
    lines = predicted[["component_1", "component_2"]].to_numpy()
    np.testing.assert_allclose(predicted["mean"], (lines * weights).sum(axis=1), rtol=1e-12)
    alone = asked.predict(frame.drop(columns="g"), given=True)
    joint = weights * norm.pdf(frame["y"].to_numpy()[:, None], lines, np.sqrt([0.5, 2.0]))
    np.testing.assert_allclose(alone["probability_2"], joint[:, 1] / joint.sum(axis=1))
    first = frame.groupby("g").first()
    frame = frame.assign(x=frame["g"].map(first["x"]), h=frame["g"].map(first["h"]))
    given = asked.predict(frame, given=True)
    lines = given[["component_1", "component_2"]].to_numpy()
    for place in frame.groupby("g").indices.values():
        density = norm.pdf(frame["y"].to_numpy()[place, None], lines[place], np.sqrt([0.5, 2.0]))
        prior = asked.predict(frame.iloc[place])[["probability_1", "probability_2"]].to_numpy()[0]
        whole = prior * density.prod(axis=0)
        np.testing.assert_allclose(
            given["probability_1"].to_numpy()[place], whole[0] / whole.sum(), rtol=1e-9
        )


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(gate=None),
        lambda values: values.update(gate=[[0.0, 1.0]]),
        lambda values: values["design"].update(gate=None),
        lambda values: values["gate"][1].__setitem__(0, "a"),
    ],
)
def test_a_gate_that_does_not_fit_is_refused(change, tmp_path):
    gated().save(tmp_path / "model.json")
    values = json.loads((tmp_path / "model.json").read_text())
    change(values)
    (tmp_path / "model.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="is not a saved model"):
        Model.load(tmp_path / "model.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.update(format="other"), "its format is 'other'"),
        (lambda values: values["mixture"].update(weights=[1.0]), "do not fit together"),
        (lambda values: values["mixture"].update(noise_variance=[1.0, -1.0]), "no mixture has"),
        (lambda values: values["design"].pop("levels"), "cannot be read"),
        (
            lambda values: values["design"]["formula"].update(right="x + open(x)"),
            "not a function",
        ),
        (lambda values: values["design"]["formula"].update(right="{x}"), "not run"),
    ],
)
def test_a_file_that_is_no_model_is_refused(change, message, tmp_path):
    path = tmp_path / "model.json"
    model().save(path)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"model.json is not a saved model: .*{message}"):
        Model.load(path)


def test_new_levels_and_missing_columns_are_named():
    with pytest.raises(ValueError, match="'d'"):
        model().predict(table().assign(g="d"))
    with pytest.raises(ValueError, match="no column 'x'"):
        model().predict(table().drop(columns="x"))
