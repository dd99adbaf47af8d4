"""`jaxmlr fit`: what it finds, what it writes, and that bad input is one line and status 2."""

import io
import json
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxmlr._xla import programs


@pytest.fixture
def fit(call):
    """`jaxmlr fit` in this process."""
    return lambda *args: call("fit", *args)


@pytest.fixture
def two_lines(tmp_path):
    """A CSV of 120 rows on two lines, y = 1 + 2 x and y = 4 - x, sigma = 0.3, with a category and gaps."""
    rng = np.random.default_rng(1)
    x, z = rng.uniform(-2, 2, 120), rng.random(120) < 0.4
    frame = pd.DataFrame({"x": x, "y": np.where(z, 1 + 2 * x, 4 - x) + 0.3 * rng.normal(size=120)})
    frame["group"] = np.where(rng.random(120) < 0.5, "a", "b")
    frame.loc[[3, 50], "x"] = np.nan
    path = tmp_path / "two lines.csv"
    frame.to_csv(path, index=False)
    return path


def test_warm_compiles_all_that_a_fit_needs(call, fit, two_lines):
    status, printed, errors = call("warm", "--components", "2")
    assert (status, errors) == (0, "")
    assert "programs for 2 components" in printed
    compiled = set(programs._compiled)
    assert fit(two_lines, "--formula", "y ~ x")[0] == 0
    assert set(programs._compiled) == compiled
    assert call("warm", "--components", "2:1")[0] == 2


def test_finds_the_lines_and_writes_what_it_found(fit, two_lines, tmp_path):
    out, own = tmp_path / "out", tmp_path / "own.pdf"
    named = ("--out", out, "--picture", own, "--column", "single")
    status, printed, errors = fit(two_lines, "--formula", "y ~ x", "--components", "1:3", *named)
    assert (status, errors) == (0, "")
    assert own.read_bytes().startswith(b"%PDF")
    assert "y ~ x: 118 rows used, 2 left out" in printed
    table = pd.read_csv(out / "coefficients.csv").set_index(["component", "term"])
    assert table.index.get_level_values("component").max() == 2
    wanted = {(1, "Intercept"): 4, (1, "x"): -1, (2, "Intercept"): 1, (2, "x"): 2, (1, "sigma"): 0.3}
    for place, value in wanted.items():
        row = table.loc[place]
        assert abs(row["estimate"] - value) < 4 * row["standard_error"]
        assert row["lower"] < row["estimate"] < row["upper"]
        assert row["standard_error"] < 0.15
    assert "membership" not in printed
    rows = pd.read_csv(out / "posteriors.csv")
    assert len(rows) == 118
    assert set(range(1, 121)) - set(rows["row"]) == {4, 51}
    np.testing.assert_allclose(rows["posterior_1"] + rows["posterior_2"], 1)
    assert (rows["label"] == np.where(rows["posterior_1"] > 0.5, 1, 2)).all()
    criteria = pd.read_csv(out / "criteria.csv")
    assert criteria["components"].tolist() == [1, 2, 3]
    assert criteria["bic"].idxmin() == 1
    assert (out / "fit.png").stat().st_size > 10_000
    page = (out / "report.html").read_text("utf-8")
    assert page.count("<svg") == 1
    assert "of 1 to 3 the least BIC" in page
    assert "2 left out for missing entries" in page


def test_a_parquet_file_and_standard_input_are_the_csv_file(fit, two_lines, tmp_path, monkeypatch):
    parquet = tmp_path / "same.parquet"
    pd.read_csv(two_lines).to_parquet(parquet)
    options = ("--response", "y", "--formula", "x + group", "--method", "em")
    wanted = fit(two_lines, *options)
    assert wanted[0] == 0
    assert "group[T.b]" in wanted[1]
    assert fit(parquet, *options) == wanted
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(two_lines.read_bytes())))
    assert fit("-", *options) == wanted


def test_a_recursive_method_takes_the_rows_in_their_order(fit, call, tmp_path):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3000, 2)) * [1, 50] + [0, 200]
    frame = pd.DataFrame(x, columns=["u", "v"])
    frame["y"] = 3 + x @ [1.0, -0.2] + 0.1 * rng.normal(size=3000)
    frame.to_parquet(tmp_path / "stream.parquet")
    out = tmp_path / "out"
    status, printed, _ = fit(
        tmp_path / "stream.parquet",
        "--response",
        "y",
        "--components",
        "1",
        "--method",
        "least_squares",
        "--out",
        out,
    )
    assert status == 0
    assert "3,000 rows used" in printed
    estimates = pd.read_csv(out / "coefficients.csv").set_index("term")["estimate"]
    wanted = np.linalg.lstsq(np.column_stack([np.ones(3000), x]), frame["y"])[0]
    np.testing.assert_allclose(estimates[["Intercept", "u", "v"]], wanted, rtol=0.02)
    status, predicted, _ = call("predict", out, tmp_path / "stream.parquet")
    assert status == 0
    mean = pd.read_csv(io.StringIO(predicted))["mean"]
    np.testing.assert_allclose(
        mean, np.column_stack([np.ones(3000), x]) @ estimates.to_numpy()[:3], rtol=1e-12
    )
    labels = pd.read_csv(out / "labels.csv")
    assert labels["row"].tolist() == list(range(1, 3001))
    assert set(labels["label"]) == {1}


@pytest.mark.slow
def test_where_the_model_is_wrong_it_says_so(fit, tmp_path):
    rng = np.random.default_rng(3)
    x = np.sort(rng.uniform(-2, 2, 300))
    frame = pd.DataFrame({"x": x, "y": np.abs(x) + 0.1 * rng.normal(size=300)})
    frame.to_csv(tmp_path / "vee.csv", index=False)
    status, printed, _ = fit(tmp_path / "vee.csv", "--response", "y")
    assert status == 0
    assert "depends on the regressors" in printed
    frame["y"] = 1 + x + rng.normal(size=300)
    frame.to_csv(tmp_path / "one.csv", index=False)
    status, _, errors = fit(tmp_path / "one.csv", "--response", "y")
    assert (status, "300 rows do not carry 2 components" in errors) == (2, True)
    status, printed, _ = fit(tmp_path / "one.csv", "--response", "y", "--components", "1:2")
    assert (status, "component 2" in printed) == (0, False)
    assert "2 components: refused, every optimum found is spurious" in printed
    status, printed, _ = fit(tmp_path / "one.csv", "--response", "y", "--method", "em")
    assert "a single line has the lower BIC" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("sim_pitch", "y ~ x"),
        ("engel", "foodexp_k ~ income_k"),
        ("sim_small", "y ~ x"),
        ("sim_factors", "y ~ x1 + x2 + x3"),
        ("sim_curve", "y ~ x + x2"),
    ],
)
def test_reaches_what_r_finds(fit, oracles, tmp_path, name, formula):
    wanted = json.loads((oracles / f"{name}.json").read_text())
    path = oracles / wanted["csv"]
    for seed in range(3):
        out = tmp_path / str(seed)
        status, _, errors = fit(
            path, "--formula", formula, "--components", wanted["K"], "--seed", seed, "--out", out
        )
        assert (status, errors) == (0, "")
        criteria = pd.read_csv(out / "criteria.csv").iloc[0]
        np.testing.assert_allclose(criteria["log_likelihood"], wanted["mle"]["loglik"], rtol=1e-8)
        np.testing.assert_allclose(criteria["bic"], wanted["mle"]["BIC"], rtol=1e-8)
        np.testing.assert_allclose(criteria["icl"], wanted["mle"]["ICL_map"], rtol=1e-4)
    table = pd.read_csv(out / "coefficients.csv")
    beta = table[~table["term"].isin(["weight", "sigma"])]
    order = np.argsort(wanted["mle"]["lambda"])[::-1]  # from the heaviest
    lines, sigma = (np.asarray(wanted["mle"][name])[order] for name in ("beta", "sigma"))
    np.testing.assert_allclose(beta["estimate"], np.ravel(lines), rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(table.loc[table["term"] == "sigma", "estimate"], sigma, rtol=1e-4)
    errors = np.ravel(np.asarray(wanted["observed_information"]["se_beta"])[order])
    np.testing.assert_allclose(beta["standard_error"], errors, rtol=1e-3)


BAD = {
    "": (["--response", "y"], "empty"),
    "x,y\n": (["--response", "y"], "no rows"),
    "x,y\n1,2\n2,3\n": (["--response", "z"], "no column 'z'"),
    "x,yield\n1,2\n2,3\n": (["--response", "yeild"], "did you mean 'yield'"),
    "x,y\n1,2\n2,three\n3,4\n4,5\n": (["--response", "y"], "row 2, column 'y': 'three' is not a number"),
    "x,y\n1,2\n2,3\n3,inf\n4,5\n": (["--response", "y"], "row 3, column 'y': inf is not finite"),
    "x,y\n1,2\n2,1\n3,4\n": (["--response", "y"], "3 rows are too few"),
    "x,y\n" + "1,2\n2,2\n" * 9: (["--response", "y"], "'y' is constant"),
    "x,v,y\n" + "".join(f"{k},{2 * k},{k % 3}\n" for k in range(30)): (
        ["--response", "y"],
        "collinear columns: 'v' is a linear combination of Intercept, x",
    ),
    "x,y\n" + "".join(f"7,{k % 3}\n" for k in range(30)): (["--response", "y"], "collinear columns: 'x'"),
    "x,y\n1,2\n2,1\n4,4\n5,6\n7,1\n": (["--response", "y", "--components", "5"], "5 rows are too few"),
    "x,y\n1,2,3\n2,1,4\n5,6,7,8\n": (["--response", "y"], "CSV"),
    "x,x,y\n1,2,3\n": (["--response", "y"], "two columns are called 'x'"),
    "x,y\n1,2\n1,3\n": (["--response", "y", "--formula", "log("], "formula"),
    'price,y\n"1,200",1\n"3,400",2\n': (["--response", "y"], "--thousands , or --decimal ,"),
    "x,y\n-1,2\n2,1\n3,4\n5,1\n6,2\n7,8\n9,1\n1,1\n": (["--formula", "y ~ log(x)"], "must be finite"),
    "x,y\n0,2\n2,1\n": (["--formula", "y ~ w"], "w"),
    "x,y\n0,2\n2,2\n": (["--formula", "x"], "name the response column"),
    "a,y\n1,2\n": (["--response", "y", "--components", "0"], "--components"),
    "b,y\n1,2\n": (["--response", "y", "--components", "3:1"], "--components"),
    "c,y\n1,2\n": (
        ["--response", "y", "--method", "magic"],
        "--method: unknown name 'magic'; it must be one of",
    ),
    "d,y\n1,2\n": (["--response", "y", "--method", "fisher_scoring", "--components", "1:3"], "one number"),
    "e,y\n1,2\n": (
        ["--response", "y", "--method", "fisher_scoring", "--components", "3"],
        "has 2 components",
    ),
}

OPTIONS = {
    "x,y,w\n1,2,1\n2,3,-1\n": (["--weights", "w"], "row 2, column 'w': a weight must be a finite number"),
    "x,y,w\n1,2,1\n2,3,.5\n": (["--weights", "w", "--weights-are", "counts"], "must be a whole number"),
    "x,y,w\n1,2,0\n2,3,0\n": (["--weights", "w"], "no row has a weight above 0"),
    "x,y,w\n1,2,a\n2,3,b\n": (["--weights", "w"], "must hold numbers"),
    "a,y\n1,2\n2,3\n": (["--weights", "w"], "no column 'w'"),
    "b,y\n1,2\n2,3\n": (["--offset", "w"], "no column 'w'"),
    "c,y\n" + "1,2\n2,3\n5,1\n7,1\n" * 5: (
        ["--option", "screenin=3"],
        "method 'fit' has no option 'screenin'",
    ),
    "d,y\n" + "1,2\n2,3\n5,1\n7,1\n" * 5: (["--option", "key=3"], "--option key: it is given by --seed"),
    "e,y\n" + "1,2\n2,3\n5,1\n7,1\n" * 5: (["--option", "noise_variance=a"], "must be a number"),
    "f,y\n" + "1,2\n2,3\n5,1\n7,1\n" * 5: (["--option", "ridge=1"], "the scaled regressors"),
    "g,y\n1,2\n2,3\n": (["--weights", "g", "--method", "recursive_em"], "weights need a batch method"),
}
BAD |= {text: (["--response", "y", *options], message) for text, (options, message) in OPTIONS.items()}


@pytest.mark.parametrize(("text", "options", "message"), [(k, *v) for k, v in BAD.items()])
def test_bad_input(fit, tmp_path, text, options, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    status, printed, errors = fit(path, *options)
    assert (status, printed) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1
    assert errors.startswith("jaxmlr: ")


def test_files_that_are_none(fit, tmp_path, two_lines):
    assert "No such file" in fit(tmp_path / "absent.csv", "--response", "y")[2]
    whole = tmp_path / "whole.parquet"
    pd.read_csv(two_lines).to_parquet(whole)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[:-100])
    for method in ("fit", "least_squares"):
        status, _, errors = fit(cut, "--response", "y", "--method", method, "--components", "1")
        assert status == 2
        assert "cut.parquet" in errors
        assert errors.count("\n") == 1
    (tmp_path / "file").write_text("")
    assert "is a file" in fit(two_lines, "--response", "y", "--out", tmp_path / "file")[2]


cells = st.one_of(
    st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: f"{x:.3g}"),
    st.sampled_from(["", "NA", "nan", "inf", "-1e308", "1e-300", "text", '"', "ü", "0"]),
    st.integers(-3, 3).map(str),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(st.lists(cells, min_size=2, max_size=2), max_size=30), clean=st.booleans())
def test_any_table_is_fitted_or_refused_in_one_line(fit, tmp_path, rows, clean):
    if clean:  # most tables above are refused early: those of numbers go further
        rows = [["0" if cell.strip("-.e+0123456789") else cell for cell in row] for row in rows]
    path = tmp_path / "any.csv"
    path.write_text("x,y\n" + "\n".join(map(",".join, rows)), encoding="utf-8")
    status, printed, errors = fit(path, "--formula", "y ~ x", "--method", "em")
    assert status in (0, 2)
    if status == 2:
        assert printed == ""
        assert errors.count("\n") == 1
    else:
        assert "estimate" in printed
        estimates = [line.split("│")[2].strip() for line in printed.splitlines() if line.startswith("│ x ")]
        assert len(estimates) == 2
        assert np.isfinite([float(text) for text in estimates]).all()
        assert "nan" not in printed or "no standard errors" in printed
    assert jax.config.jax_enable_x64


def test_new_rows_may_be_written_in_another_dialect(call, two_lines, tmp_path):
    status, _, errors = call(
        "fit", two_lines, "--formula", "y ~ x", "--method", "em", "--out", tmp_path / "o"
    )
    assert (status, errors) == (0, "")
    (tmp_path / "new.csv").write_text("x;y\n1,200;0\n-0,500;0\n")
    (tmp_path / "same.csv").write_text("x,y\n1.2,0\n-.5,0\n")
    (tmp_path / "unclear.csv").write_text('x,y\n"1,200",0\n"-3,500",0\n')
    model = tmp_path / "o" / "model.json"
    wanted = call("predict", model, tmp_path / "same.csv")
    assert wanted[0] == 0
    assert call("predict", model, tmp_path / "new.csv") == wanted
    assert call("predict", model.parent, tmp_path / "new.csv") == wanted
    assert "give --thousands , or --decimal ," in call("predict", model, tmp_path / "unclear.csv")[2]
    assert call("predict", model, tmp_path / "unclear.csv", "--decimal", ",")[0] == 0


def test_weights_count_and_an_offset_is_added(call, two_lines, tmp_path):
    frame = pd.read_csv(two_lines)[["x", "y"]].dropna()
    frame["n"] = np.random.default_rng(0).integers(0, 4, len(frame))
    repeated = frame.loc[np.repeat(frame.index, frame["n"]), ["x", "y"]]
    frame.assign(n=frame["n"] * 1e-7).to_csv(tmp_path / "scaled.csv", index=False)
    frame.to_csv(tmp_path / "counts.csv", index=False)
    repeated.assign(y=repeated["y"] + 3, by=3).to_csv(tmp_path / "repeated.csv", index=False)

    def fitted(name, *options):
        status, printed, errors = call("fit", tmp_path / name, "--response", "y", "--json", *options)
        assert (status, errors) == (0, "")
        answer = json.loads(printed)
        return answer, pd.DataFrame(answer["coefficients"])

    counted, a = fitted("counts.csv", "--weights", "n", "--weights-are", "counts")
    plain, b = fitted("repeated.csv", "--offset", "by")
    pd.testing.assert_frame_equal(a, b, rtol=1e-6)
    np.testing.assert_allclose(counted["log_likelihood"], plain["log_likelihood"], rtol=1e-9)
    assert counted["criteria"][0]["bic"] == pytest.approx(plain["criteria"][0]["bic"], rel=1e-9)
    assert counted["left_out"] == 0
    _, c = fitted("counts.csv", "--weights", "n")
    _, d = fitted("scaled.csv", "--weights", "n")
    pd.testing.assert_frame_equal(c, d, rtol=1e-6)
    np.testing.assert_allclose(c["estimate"], a["estimate"], rtol=1e-6)
    used = (frame["n"] > 0).sum()
    share = np.sqrt(frame["n"].sum() / used)
    np.testing.assert_allclose(c["standard_error"], a["standard_error"] * share, rtol=1e-5)
    _, e = fitted("counts.csv", "--weights", "n", "--weights-are", "sampling")
    np.testing.assert_allclose(e["estimate"], c["estimate"], rtol=1e-12)
    assert (e["standard_error"] != c["standard_error"]).all()
