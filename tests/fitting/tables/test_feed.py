"""Lines of a feed as rows of numbers."""

import re

import numpy as np
import pytest

from jaxmlr.fitting.tables.dialect import Reading
from jaxmlr.fitting.tables.feed import Feed

WRITTEN = {
    "plain": ("x,y", ["1.5,2", "-3,1e2"], {}),
    "semicolon": ("x;y", ["1,5;2", "-3;100"], {"decimal": ","}),
    "points": ("x;y", ["1,5;2", "-3;1.00"], {"decimal": ",", "thousands": "."}),
    "thousands": ("x,y", ["1.5,2", '-3,"1,00"'], {"thousands": ","}),
    "tab": ("x\ty", ["1.5\t2", "-3\t100"], {}),
    "blanks": ("x y", ["1.5   2", "-3 100"], {"separator": "space"}),
    "row names": (",x,y", ["a,1.5,2", "b,-3,100"], {}),
}


@pytest.mark.parametrize(("header", "lines", "options"), WRITTEN.values(), ids=WRITTEN)
def test_a_feed_is_read_as_it_is_said_to_be(header, lines, options):
    feed = Feed(header, "y", Reading(**options))
    assert feed.names == ["x", "y"]
    table, y, said = feed.rows(lines, 0)
    np.testing.assert_array_equal(table, [[1.5, 1], [-3, 1]])
    np.testing.assert_array_equal(y, [2, 100])
    assert said == []


def test_gaps_are_silent_and_other_texts_are_said_once():
    feed = Feed("x,y", "y", Reading(missing=("-999",)))
    table, y, said = feed.rows(["NA,1", "-999,2", "kg,3", "lb,4", "1", "", "5,6"], 10)
    np.testing.assert_array_equal(np.isfinite(table[:, 0]), [False] * 5 + [True])
    np.testing.assert_array_equal(y, [1, 2, 3, 4, np.nan, 6])
    assert [text.split(";")[0] for text in said] == [
        "row 13, column 'x': 'kg' is not a number",
        "row 15 has 1 entries, not 2: it is not learnt from",
    ]
    assert feed.rows(["kg,1"], 16)[2] == []
    assert np.isnan(Feed("x;y", "y", Reading(decimal=",")).rows(["1.5;2"], 0)[0][0, 0])


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a,b", "no column 'y'; standard input has a, b"),
        ("x,y,x", "two columns are called 'x'"),
        ("x;a,y", "give --separator"),
    ],
)
def test_headers_that_are_none(header, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Feed(header, "y", Reading())
