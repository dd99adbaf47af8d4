"""What a formula makes of a table, beside numpy's answer."""

import re

import numpy as np
import pandas as pd
import pytest

from jaxmlr.fitting.tables.design import Design


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {name: rng.uniform(1, 5, 40) for name in ("x", "w", "y", "a.b", "Intercept", "y ($)")}
    )
    frame["grp"] = np.resize(["low", "high", "mid"], 40)
    frame["ward"] = np.resize([1, 2, 10], 40)
    frame.index = pd.RangeIndex(1, 41)
    return frame


def spans(left, right):
    """Whether two matrices have one column space."""
    both = np.column_stack([left, right])
    return np.linalg.matrix_rank(both) == np.linalg.matrix_rank(left) == np.linalg.matrix_rank(right)


@pytest.mark.parametrize(
    ("right", "wanted"),
    [
        ("poly(x, 2)", lambda f: [f.x, f.x**2]),
        ("scale(x) + center(w)", lambda f: [f.x, f.w]),
        ("I(x^2) + I(x**3)", lambda f: [f.x**2, f.x**3]),
        ("x * w", lambda f: [f.x, f.w, f.x * f.w]),
        (
            "log(a.b) + sqrt(x) + abs(w) + sin(x)",
            lambda f: [np.log(f["a.b"]), np.sqrt(f.x), f.w, np.sin(f.x)],
        ),
        ("grp", lambda f: [f.grp == "low", f.grp == "mid"]),
        ("C(grp, contr.sum)", lambda f: [f.grp == "low", f.grp == "mid"]),
        ("C(ward)", lambda f: [f.ward == 2, f.ward == 10]),
        ("I(x>2) + I((w>3) + (x<=4))", lambda f: [f.x > 2, (f.w > 3) * 1 + (f.x <= 4)]),
        ("I(grp == 'low') + I(x * (w != 3))", lambda f: [f.grp == "low", f.x]),
        ("grp:x", lambda f: [(f.grp == level) * f.x for level in ("low", "high", "mid")]),
        ("bs(x, df=4)", lambda f: [f.x, f.x**2, f.x**3, np.maximum(f.x - f.x.median(), 0) ** 3]),
    ],
)
def test_the_column_space_is_that_of_r(frame, right, wanted):
    _, rows = Design.learn(frame, "y", right)
    expected = np.column_stack([np.ones(40), *wanted(frame)]).astype(float)
    assert rows.phi.shape == expected.shape
    assert spans(rows.phi, expected)


def test_names_are_those_of_the_file(frame):
    design, _ = Design.learn(frame, "y ($)", None)
    others = ("x", "w", "y", "a.b", "Intercept", "grp[T.low]", "grp[T.mid]", "ward")
    assert design.names == ("(Intercept)", *others)
    assert (design.intercept, design.response) == (0, "y ($)")
    design, _ = Design.learn(frame, None, "y ~ 0 + grp + Intercept")
    assert design.names == ("grp[high]", "grp[low]", "grp[mid]", "Intercept")
    assert design.intercept is None
    assert Design.learn(frame, "y", "C(ward)")[0].names[1:] == ("C(ward)[T.2]", "C(ward)[T.10]")


def test_an_offset_is_added_and_arithmetic_on_the_left_is_done(frame):
    design, rows = Design.learn(frame, None, "y - 10 ~ x + offset(log(w))")
    assert (design.names, design.response) == (("Intercept", "x"), "y - 10")
    np.testing.assert_allclose(rows.offset, np.log(frame.w))
    np.testing.assert_allclose(rows.y, frame.y - 10 - np.log(frame.w))


@pytest.mark.parametrize(
    "right", ["poly(x, 2)", "scale(x)", "center(x)", "bs(x, df=4)", "cr(x, df=3)", "grp"]
)
def test_new_rows_are_put_into_the_columns_that_were_learnt(frame, right):
    design, rows = Design.learn(frame, "y", right)
    new = frame.drop(columns="y").iloc[5:8]
    again = design.observations(new, response=False)
    np.testing.assert_allclose(again.phi, rows.phi[5:8], rtol=1e-12, atol=1e-12)
    assert np.isnan(again.y).all()
    np.testing.assert_array_equal(again.rows, [6, 7, 8])


def test_what_is_left_out_is_said(frame):
    frame["note"], frame["site"], frame["no"] = np.nan, "a", range(1, 41)
    frame["case"], frame["person"], frame["patient_id"] = range(7, 47), np.arange(40) // 4, np.arange(40) % 3
    frame.attrs["notes"] = ("read with separator ';'",)
    design, _ = Design.learn(frame, "y", None)
    assert design.notes == (
        "read with separator ';'",
        "column 'note' is empty and left out",
        "column 'no' counts the rows; '. - no' leaves it out",
        "column 'case' rises by 1 from row to row; '. - case' leaves it out",
        "column 'person' numbers 10 blocks of rows; if it names persons or groups, '. - person' leaves it out"
        " and --group person tells which rows belong together",
        "column 'patient_id' is a number for the fit; if it names persons or groups, '. - patient_id' leaves"
        " it out and --group patient_id tells which rows belong together",
        "column 'site' holds 'a' only and adds no regressor",
    )
    assert not {"note", "site"} & set(design.names)
    frame["half"] = [1.0, 2.5] * 8 + [np.nan] * 24
    assert "24 of 40 rows lack an entry: column 'half' in 24" in Design.learn(frame, "y", "half")[0].notes
    frame["other"] = [np.nan] * 16 + [0.5, 3.0] * 12
    with pytest.raises(ValueError, match="column 'half' in 24, column 'other' in 16"):
        Design.learn(frame, "y", "half + other")


BAD = {
    "note": (lambda: np.nan, "note", "column 'note' is empty"),
    "subject": (lambda: [f"s{i % 25}" for i in range(40)], ".", "holds 25 different texts"),
    "code": (
        lambda: [*map(str, range(37)), "3a", "3b", "3c"],
        "code",
        "C(code) in the formula makes a factor",
    ),
    "part": (lambda: ["12 %"] * 40, "part", "'12 %' is not a number; write it as a plain number"),
    "date": (lambda: ["2024-01-01"] * 40, ".", "column 'date' holds dates: --dates"),
    "stamp": (lambda: pd.date_range("2024-01-01", periods=40), "stamp", "--dates"),
    "clock": (lambda: ["12:30", "9:15:20"] * 20, "clock", '--formula "y ~ . - clock"'),
    "coded": (lambda: [-999.0, -999.0, *np.linspace(0, 5, 38)], "coded", "give --missing -999"),
    "nines": (lambda: [99.9, *np.linspace(0, 5, 39)], "log(nines)", "or --missing NA if it is a number"),
    "gap": (lambda: ["."] * 5 + ["1.5"] * 35, "gap", "--missing '.'"),
    "key": (lambda: [f"k{i}" for i in range(40)], "C(key)", "names rows rather than groups"),
    "dollars": (lambda: ["USD 5", "EUR 7"] * 20, "dollars", "'USD 5' is not a number"),
    "list": (lambda: [[1]] * 40, "list", "entries of type list"),
}


@pytest.mark.parametrize(("name", "make", "right", "message"), [(key, *case) for key, case in BAD.items()])
def test_columns_that_are_neither_numbers_nor_groups(frame, name, make, right, message):
    frame[name] = make()
    with pytest.raises(ValueError, match=re.escape(message)):
        Design.learn(frame, "y", right)


def test_a_column_of_many_groups_is_a_factor_on_request(frame):
    frame = pd.concat([frame] * 2, ignore_index=True)
    frame["subject"] = np.resize([f"s{i:02}" for i in range(22)], 80)
    design, _ = Design.learn(frame, "y", "C(subject)")
    assert len(design.names) == 22
    frame.loc[79, "subject"] = "new"
    with pytest.raises(ValueError, match="row 79, column 'subject': 'new' is none of the levels"):
        design.observations(frame)


def test_a_number_of_nines_is_one_where_others_are_near_or_the_user_has_told_the_codes(frame):
    for far, missing in ((8.0, ()), (999.0, ("NA",))):
        frame["x"] = [-99.0, *np.linspace(-100, far, 39)]
        frame.attrs["missing"] = missing
        assert Design.learn(frame, "y", "x")[1].phi[0, 1] == -99
