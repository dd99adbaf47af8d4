"""Formulas: any name of a column, the notation of R, and nothing that runs."""

import re

import formulaic
import pytest

from jaxmlr.fitting.tables import formula
from jaxmlr.fitting.tables.parser import parser

COLUMNS = [
    "x",
    "w",
    "y",
    "heart rate [/min]",
    "Sepal.Length",
    "1",
    "np",
    "log",
    "C",
    "grp",
    "Intercept",
    ".z",
    "I",
]


def read(right, left="y", verbatim=True):
    return formula.read(left, right, COLUMNS, COLUMNS, verbatim=verbatim)


def terms(right):
    parsed = read(right)
    return [parsed.label(str(each)) for each in formulaic.Formula(parsed.right, _parser=parser())]


@pytest.mark.parametrize(
    ("right", "wanted"),
    [
        ("x", ["1", "x"]),
        ("0 + x", ["x"]),
        ("x - 1", ["x"]),
        ("x * w", ["1", "x", "w", "x:w"]),
        ("(x + w + np)^2", ["1", "x", "w", "np", "x:w", "x:np", "w:np"]),
        ("x / w", ["1", "x", "x:w"]),
        ("x^2", ["1", "x"]),
        ("I(x^2)", ["1", "I(x^2)"]),
        ("I(x>2) + x:I(w <= 1.5)", ["1", "I(x>2)", "x:I(w <= 1.5)"]),
        ("I((x > 2)*(w == 1)) + I(grp != 'a')", ["1", "I((x > 2)*(w == 1))", "I(grp != 'a')"]),
        ("x %in% w", ["1", "x:w"]),
        ("poly( x,2 )", ["1", "poly( x,2 )"]),
        ("`heart rate [/min]`:Sepal.Length", ["1", "heart rate [/min]:Sepal.Length"]),
        ("Q('heart rate [/min]') + .z", ["1", "heart rate [/min]", ".z"]),
        ("`1` + Intercept + np", ["1", "1", "Intercept", "np"]),
        ("log + log(log) + I + I(I * 2) + C + C(C)", ["1", "log", "log(log)", "I", "I(I * 2)", "C", "C(C)"]),
        (". - x", ["1", *(name for name in COLUMNS if name not in ("x", "y"))]),
        (
            "C(grp, contr.sum) + bs(x, df = 4, knots = c(1, 2))",
            ["1", "C(grp, contr.sum)", "bs(x, df = 4, knots = c(1, 2))"],
        ),
    ],
)
def test_terms_are_named_as_they_were_written(right, wanted):
    assert sorted(terms(right)) == sorted(wanted)


@pytest.mark.parametrize(
    ("left", "rewritten", "response"),
    [("y - 10", "I(jx0_-10)", "y - 10"), ("log(y)", "I(log(jx0_))", "log(y)"), ("`1`", "I(jx0_)", "1")],
)
def test_the_left_side_is_arithmetic(left, rewritten, response):
    parsed = read("x", left, verbatim=False)
    assert parsed.left.replace(" ", "") == rewritten
    assert parsed.response == response


BAD = {
    "{9**9**9}": "Python in braces is not run",
    "{np.f2py.os.system('touch X') + x}": "Python in braces is not run",
    "(x + w)**50": "a whole number from 1 to 10",
    "x^2^9": "a whole number from 1 to 10",
    "(x + w + np + grp + .z + C + I + log)^10": "more than 20,000 terms",
    "I(9**9**9)": "a power of numbers alone",
    "I('a' * 999999999)": "arithmetic takes columns and numbers",
    "poly(x, 1000000)": "at most 100 columns",
    "bs(x, df=1000000)": "at most 100 columns",
    "bs(x, df=99 * 99999)": "takes plain numbers",
    "log(x, 2)": "log takes one column",
    "x + y": "the response stands on the right side too",
    "x.f2py.os.system('a')": "'x.f2py.os.system' is not a function",
    "x.to_pickle('a')": "'x.to_pickle' is not a function",
    "I(x.values)": "no column 'x.values'",
    "np.log(x)": "'np.log' is not a function",
    "__import__('os')": "not a function",
    "hashed(x)": "not a function",
    "factor(grp)": "write C(...) instead",
    "I(x[0])": "'[' is not a sign",
    "I((lambda: 0)())": "no column 'lambda'",
    "I(C(grp)(1))": "is not a function",
    "heart rate [/min]": "write `heart rate [/min]` with backticks",
    "sepal.length": "did you mean 'Sepal.Length'",
    "x | w | x": "stands once",
    "(1 | grp)": "names random effects",
    "log(x": "a parenthesis is not closed",
    "x)": "a parenthesis is closed",
    "I(x = 2)": "'x' is not one of the arguments",
    "x > 2": "a comparison stands inside of I(...)",
    "I(1 < x < 2)": "one comparison at a time",
    "I(x > 2 & w > 1)": "write the product of comparisons",
    "I(grp > 'a')": "texts are compared by == and !=",
    "I(C(grp) == 1)": "a comparison takes columns, numbers and texts",
    "jxindicator(x)": "not a function",
    "": "the right side has no term",
    "(" * 31 + "x": "nested more than 30 deep",
    "x + " * 6000 + "x": "at most 20,000 characters",
}


@pytest.mark.parametrize(("right", "message"), BAD.items())
def test_what_is_not_a_formula_is_refused(right, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        formulaic.Formula(read(right).right, _parser=parser())


def test_the_response_is_no_regressor():
    with pytest.raises(ValueError, match="stands on the right side too"):
        read("x + y", "y", verbatim=False)
    assert read("x + y", "log(y)", verbatim=False).response == "log(y)"
