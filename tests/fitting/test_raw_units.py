"""The first rows of a stream say whether its columns are in units in which recursive methods learn."""

import re

import numpy as np
import pytest

from jaxmlr.fitting.raw_units import FirstRows


def rows(n=150):
    return np.random.default_rng(0).normal(size=(n, 2))


def test_standardised_rows_and_constants_pass():
    assert FirstRows("multistart_em", 2).update(rows()) is None
    assert FirstRows("multistart_em", 2).update(np.column_stack([rows(), np.full(150, 1e6)])) is None
    assert FirstRows("multistart_em", 2).update(rows(99) + 1e9) is None  # too few to tell


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (rows() + np.array([0, 1e3]), r"^column 'b' lies \S+ of its standard deviations from 0"),
        (rows() * [1, 100], r"^column 'b' has a root mean square of \d"),
        (rows() * [0.01, 1], r"^column 'a' has a root mean square of 0\.0"),
    ],
)
def test_others_are_named_once_however_they_are_cut(x, sentence):
    whole = FirstRows("multistart_em", 2, "ab").update(x)
    pieces = FirstRows("multistart_em", 2, "ab")
    (said,) = [said for each in np.array_split(x, 40) if (said := pieces.update(each))]
    assert said == whole
    assert re.match(sentence, said)


def test_methods_that_take_any_units_pass():
    for method, components in (("multistart_em", 1), ("natural_gradient", 2)):
        assert FirstRows(method, components).update(rows() + 1e9) is None


def test_rows_with_gaps_do_not_count():
    x = rows() + 50
    x[::2, 0] = np.nan
    first = FirstRows("multistart_em", 2)
    assert first.update(x) is None
    assert "column 0 lies" in first.update(rows(30) + 50)
