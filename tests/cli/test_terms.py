"""Groups, concomitants and labels known in part, from a file to new rows: R's answers by the command."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from jaxmlr.data.datasets import load_panel
from jaxmlr.fitting.model import load
from jaxmlr.fitting.tables.design import Design
from jaxmlr.fitting.tables.fit import fit_rows
from jaxmlr.fitting.tables.terms import Terms

EXACT = ("--method", "em", "--option", "tolerance=1e-12", "--option", "max_iterations=5000")


@pytest.fixture
def panel():
    return pd.read_csv(load_panel().path)


@pytest.fixture
def fitted(call, tmp_path):
    """Fit a table through a file, and give (answer as JSON, folder)."""

    def run(frame, *options):
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        frame.to_csv(tmp_path / "table.csv", index=False)
        status, printed, errors = call("fit", tmp_path / "table.csv", "--json", "--out", out, *options)
        assert status == 0, errors
        return json.loads(printed), out

    return run


def by_component(out, name="coefficients"):
    frame = pd.read_csv(out / f"{name}.csv")
    return frame.pivot(index="component", columns="term", values="estimate")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gated", "gated_grouped"])
def test_the_answers_of_flexmix(fitted, panel, oracles, name):
    """Heaviest first, which here is R's second component; R's variances have n - d below them."""
    wanted = json.loads((oracles / "sim_panel.json").read_text())[name]
    # another unit and origin for the concomitant, a gap, and a column that must not become a regressor
    frame = panel.assign(w=1000 + 10 * panel["w"], id="s" + panel["id"].astype(str)).drop(columns="label")
    frame = pd.concat([frame.head(1).assign(w=np.nan), frame])
    grouped = ("--group", "id") if name == "gated_grouped" else ()
    formula = ("--formula", "y ~ . - w" if grouped else "y ~ x + z", "--concomitant", "w")
    answer, out = fitted(frame, *grouped, *formula, *EXACT, "--seed", 1, "--option", "ddof=3")
    np.testing.assert_allclose(answer["log_likelihood"], wanted["loglik"], rtol=1e-7)
    criteria = pd.read_csv(out / "criteria.csv").iloc[0]
    np.testing.assert_allclose(criteria["bic"], wanted["BIC"], rtol=1e-7)
    np.testing.assert_allclose(criteria["icl"], wanted["ICL"], rtol=1e-6)
    components = by_component(out)
    np.testing.assert_allclose(components[["Intercept", "x", "z"]], wanted["beta"][::-1], rtol=1e-5)
    np.testing.assert_allclose(components["weight"], wanted["lambda"][::-1], rtol=1e-5)
    gate = by_component(out, "concomitants").loc[2]
    alpha = gate["Intercept"] + 1000 * gate["w"], 10 * gate["w"]
    np.testing.assert_allclose(alpha, -np.array(wanted["gate"][1]), rtol=1e-3)
    posteriors = pd.read_csv(out / "posteriors.csv")
    assert posteriors["row"].tolist() == list(range(2, 302))
    first = posteriors.loc[:2, ["posterior_2", "posterior_1"]]
    np.testing.assert_allclose(first, wanted["posterior_first3"], rtol=1e-4, atol=1e-12)
    assert (out / "groups.csv").exists() == bool(grouped)
    if grouped:
        groups = pd.read_csv(out / "groups.csv").set_index("id")
        assert (len(groups), set(groups["rows"])) == (60, {5})
        own = groups.loc["s" + panel["id"].astype(str), "label"].to_numpy()
        assert (posteriors["label"].to_numpy() == own).all()


@pytest.mark.slow
def test_new_rows_have_the_weights_of_their_concomitants(fitted, call, panel, tmp_path):
    frame = panel.assign(kind=np.where(panel["w"] > 0, "high", "low"))
    _, out = fitted(frame, "--formula", "y ~ x + z | scale(w) + kind", "--group", "id", "--method", "em")
    gate = by_component(out, "concomitants").loc[2]
    z = panel["w"].groupby(panel["id"]).first().reindex(panel["id"]).to_numpy()  # as in the file
    score = gate["Intercept"] + gate["kind[T.low]"] * (z <= 0)
    score = score + gate["scale(w)"] * (z - z.mean()) / z.std(ddof=1)
    new = frame.drop(columns=["y", "label", "id"])
    new.to_csv(tmp_path / "new.csv", index=False)
    status, printed, _ = call("predict", out, tmp_path / "new.csv")
    assert status == 0
    predicted = pd.read_csv(io.StringIO(printed))
    np.testing.assert_allclose(predicted["probability_2"], 1 / (1 + np.exp(-score)), rtol=1e-8)
    lines = predicted[["component_1", "component_2"]].to_numpy()
    weights = predicted[["probability_1", "probability_2"]].to_numpy()
    np.testing.assert_allclose(predicted["mean"], (lines * weights).sum(axis=1), rtol=1e-12)
    # with the response and the groups the posteriors are those of the fit
    frame.to_csv(tmp_path / "given.csv", index=False)
    printed = call("predict", out, tmp_path / "given.csv", "--given", "y")[1]
    posteriors = pd.read_csv(out / "posteriors.csv")
    np.testing.assert_allclose(
        pd.read_csv(io.StringIO(printed))["probability_1"], posteriors["posterior_1"], atol=1e-10
    )
    alone = load(out / "model.json").predict(frame.drop(columns="id"), given=True)
    assert np.abs(alone["probability_1"] - posteriors["posterior_1"]).max() > 0.1
    new.drop(columns="w").to_csv(tmp_path / "new.csv", index=False)
    status, printed, errors = call("predict", out, tmp_path / "new.csv")
    assert (status, printed, "no column 'w'" in errors) == (2, "", True)


@pytest.mark.slow
def test_labels_name_components_and_a_range_leaves_out_what_contradicts_them(fitted, panel):
    """All labels known is least squares in each; a few pull the components to their places."""
    names = np.array(["b", "a"])[panel["label"] - 1]
    options = ("--formula", "y ~ x + z", "--known-labels", "label", "--components", "1:2", *EXACT)
    answer, out = fitted(panel.assign(label=names), *options)
    assert any("1 components were not tried: the known labels name 2" in each for each in answer["advice"])
    assert any("component 1 is 'a', 2 is 'b'" in each for each in answer["notes"])
    components = by_component(out)
    for component, own in enumerate("ab", 1):
        part = panel[names == own]
        phi = np.column_stack([np.ones(len(part)), part["x"], part["z"]])
        wanted = np.linalg.lstsq(phi, part["y"])[0]
        np.testing.assert_allclose(
            components.loc[component, ["Intercept", "x", "z"]].astype(float), wanted, rtol=1e-7
        )
    few = panel.assign(known=np.where(np.arange(300) < 40, panel["label"].astype(str), ""))
    few.loc[40:50, "known"] = "2|1"
    options = ("--known-labels", "known", "--formula", "y ~ x + z", "--group", "id")
    for turned in (False, True):
        frame = few if not turned else few.assign(known=few["known"].replace({"1": "2", "2": "1"}))
        _, out = fitted(frame, *options, "--method", "em")
        slopes = by_component(out)["x"].to_numpy()
        assert (slopes[0] > 0) == turned


@pytest.mark.slow
@pytest.mark.parametrize("method", ["em", "fit"])
def test_common_coefficients_are_those_of_flexmix(fitted, panel, oracles, method):
    """Nearly: flexmix does not weigh components by their precision in what is common."""
    wanted = json.loads((oracles / "sim_panel.json").read_text())["common"]
    exact = (*EXACT, "--option", "ddof=3") if method == "em" else ()
    answer, out = fitted(panel, "--formula", "y ~ x + z", "--common", "z", *exact)
    assert "common to all components: z" in answer["notes"]
    fitted = by_component(out)
    tolerance = 2e-4 if method == "em" else 2e-2
    np.testing.assert_allclose(fitted[["z", "Intercept", "x"]], wanted["beta"][::-1], atol=tolerance)
    assert fitted["z"].nunique() == 1
    criteria = pd.read_csv(out / "criteria.csv").iloc[0]
    np.testing.assert_allclose(criteria["bic"], wanted["BIC"], rtol=1e-7 if method == "em" else 1e-4)
    assert load(out / "model.json").design.common == (2,)


def test_common_terms_are_places_of_regressors():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"y": rng.normal(size=30), "x": np.arange(30.0), "g": np.resize(list("abc"), 30)})
    frame.index += 1

    def places(common, right="x + g + x:g + poly(x, 2)"):
        design, _ = Design.learn(frame, "y", right, terms=Terms(common=common))
        return [design.names[j] for j in design.common]

    assert places("g") == ["g[T.b]", "g[T.c]"]
    assert places("1 + x:g") == ["Intercept", "x:g[T.b]", "x:g[T.c]"]
    assert places("poly(x,2)", "poly(x,2)") == ["poly(x,2)[1]", "poly(x,2)[2]"]
    assert places(".", ".") == ["x", "g[T.b]", "g[T.c]"]


@pytest.mark.slow
def test_units_keep_what_is_common():
    """With an intercept in common x is not centred: lines that meet at 0 do not meet elsewhere."""
    rng = np.random.default_rng(0)
    x, second = rng.uniform(50, 60, 400), rng.random(400) < 0.4
    frame = pd.DataFrame({"y": 3 + np.where(second, 2 * x, -x) + 0.1 * rng.normal(size=400), "x": x})
    frame.index += 1
    design, rows = Design.learn(frame, None, "y ~ x", terms=Terms(common="1"))
    fit = fit_rows(design, rows, [2], "em", 0)
    beta = fit.fit.mixture.coefficients
    assert beta[0, 0] == beta[1, 0]
    np.testing.assert_allclose(beta[:, 1], [-1, 2], atol=0.01)
    np.testing.assert_allclose(beta[0, 0], 3, atol=4 * fit.errors.coefficients[0, 0])
    assert (fit.criteria["bic"] + 2 * fit.criteria["log_likelihood"]).item() == pytest.approx(6 * np.log(400))


TABLE = "x,y,w,g,k\n" + "".join(f"{i},{i * i % 7},{i % 3},{i // 2},{1 + i % 2}\n" for i in range(40))
BAD = {
    "no column 'q'": ["--group", "q"],
    "no column 'v'; ": ["--concomitant", "v"],
    "no column 'kk'; did you mean 'k'": ["--known-labels", "kk"],
    "--group: least_squares cannot take it; fit and em can": ["--group", "g", "--method", "least_squares"],
    "--concomitant: gradient cannot take it": ["--concomitant", "w", "--method", "gradient"],
    "--known-labels: hard_em cannot take it": ["--known-labels", "k", "--method", "hard_em"],
    "--concomitant: recursive_em cannot": ["--formula", "y ~ x | w", "--method", "recursive_em"],
    "are of one group by column 'g', but the concomitant 'w' differs": ["--group", "g", "--concomitant", "w"],
    "no concomitants stand behind the bar": ["--formula", "y ~ x |"],
    "'|' stands once": ["--formula", "y ~ x | w | g"],
    "names concomitants too; give one of them": ["--formula", "y ~ x | w", "--concomitant", "g"],
    "the response stands on the right side too": ["--formula", "y ~ x | y"],
    "concomitants: collinear columns: 'I(2 * w)'": ["--formula", "y ~ x | w + I(2 * w)"],
    "concomitants must be terms with coefficients": ["--formula", "y ~ x | offset(w)"],
    "row 1, column 'bad': '1|' names no components; write one as 2": ["--known-labels", "bad"],
    "no 2 components: the known labels name 20 components": ["--known-labels", "g"],
    "the rows of group '0' have no component in common": ["--group", "g", "--known-labels", "k"],
    "no 3 components: 2 groups by column 'k' are too few": ["--group", "k", "--components", "3"],
    "--group empty: the column is empty": ["--group", "empty"],
    "--common: w is no term of the formula 'y ~ x'": ["--common", "w"],
    "--common: the intercept, 1 is no term": ["--common", "1", "--formula", "y ~ 0 + x"],
    "--common: multistart_em cannot take it": ["--common", "x", "--method", "multistart_em"],
    "no column 'xx'; did you mean 'x'": ["--common", "xx"],
    "--common: an offset has no coefficient": ["--common", "offset(w)", "--formula", "y ~ x + offset(w)"],
    "--option groups: it is given by --group": ["--option", "groups=3"],
    "holds 40 different texts, such as 't0'; C(t) in the formula makes a factor of it; or leave it out: rows"
    " that share their component are told by --group t": ["--formula", "y ~ x | t"],
}  # fmt: skip


@pytest.mark.parametrize(("message", "options"), BAD.items())
def test_what_cannot_be_is_one_line(call, tmp_path, message, options):
    frame = pd.read_csv(io.StringIO(TABLE)).assign(bad="1|", empty=None, t=[f"t{i}" for i in range(40)])
    frame.to_csv(tmp_path / "t.csv", index=False)
    formula = () if "--formula" in options else ("--formula", "y ~ x")
    status, printed, errors = call("fit", tmp_path / "t.csv", *formula, *options)
    assert (status, printed) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_a_bar_stands_behind_an_offset_and_names_may_have_bars():
    frame = pd.DataFrame({"y": np.arange(30.0) ** 2, "a|b": np.arange(30) % 7, "z": np.arange(30) % 4})
    frame.index += 1
    design, rows = Design.learn(frame, None, "y ~ I(`a|b` + 1) + offset(z) | log(z + 1) + `a|b`")
    assert design.gate.names == ("Intercept", "log(z + 1)", "a|b")
    np.testing.assert_allclose(rows.concomitant[:, 1], np.log1p(frame["z"]))
    np.testing.assert_allclose(rows.offset, frame["z"])
    assert design.names == ("Intercept", "I(`a|b` + 1)")
    assert Design.learn(frame, "y", "z | 0 + `a|b`")[0].gate.intercept is None
