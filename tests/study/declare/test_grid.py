"""How the axes of a grid combine, and what is refused."""

import numpy as np
import pytest

from jaxmlr.study.declare import grid

P, BOUND, NOISE = "problem.p", "estimators.a.bound", "problem.noise_variance"


def test_entries_are_combined_all_with_all_the_last_one_fastest():
    axes = grid.axes({P: [0.6, 0.7], BOUND: [1.0, 2.0, 3.0]})
    assert [(axis.name, len(axis)) for axis in axes] == [(P, 2), (BOUND, 3)]
    assert grid.points(axes) == {P: [0.6] * 3 + [0.7] * 3, BOUND: [1.0, 2.0, 3.0] * 2}


def test_ranges_include_their_ends():
    assert grid.values(P, {"linspace": [0.5, 0.9, 5]}) == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    assert grid.values(P, {"logspace": [0.1, 10.0, 3]}) == pytest.approx([0.1, 1.0, 10.0])


def test_what_is_zipped_goes_together_under_the_first_name():
    (axis, other) = grid.axes({"zip": {P: [0.6, 0.7], NOISE: [1.0, 2.0]}, BOUND: [1.0, 3.0]})
    assert (axis.name, axis.columns) == (P, {P: [0.6, 0.7], NOISE: [1.0, 2.0]})
    assert other.name == BOUND
    assert grid.points([axis, other])[NOISE] == [1.0, 1.0, 2.0, 2.0]


def test_a_union_is_one_axis_without_repetitions():
    (axis,) = grid.axes([{P: [0.6, 0.7], BOUND: [1.0]}, {P: [0.7], BOUND: [1.0, 3.0]}])
    assert axis.name == "point"
    assert list(zip(*axis.columns.values(), strict=True)) == [(0.6, 1.0), (0.7, 1.0), (0.7, 3.0)]


def test_choices_are_labelled():
    assert grid.label({"kind": "growing", "delta": 0.2}) == "growing(delta=0.2)"
    assert grid.label("newton") == "newton"
    assert grid.label(True) == "True"
    assert grid.label(0.5) == 0.5


def test_distinct_rows_are_found_where_they_stand_first():
    first, which = grid.distinct({"a": [1, 1, 2, 1], "b": [True, 1, 1, True]}, 4)
    assert first == [0, 1, 2]  # True is not 1
    np.testing.assert_array_equal(which, [0, 1, 2, 0])


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (3, "grid must be a table"),
        ({P: []}, "must be a list of numbers"),
        ({P: "often"}, "must be a list of numbers"),
        ({P: {"linspace": [0, 1]}}, r"linspace = \[first, last, count\]"),
        ({P: {"linspace": [0, 1, 2.5]}}, "count must be a whole number"),
        ({P: {"logspace": [0, 1, 3]}}, "greater than 0"),
        ({P: {"geomspace": [0, 1, 3]}}, "linspace"),
        (
            {"zip": {P: [0.6], BOUND: [1.0, 2.0]}},
            r"of one length; problem\.p has 1, estimators\.a\.bound has 2",
        ),
        ({"zip": 3}, "grid.zip must be a table"),
        ({"zip": {P: [0.6]}, P: [0.7]}, "must not occur twice"),
        ([{P: [0.6]}, {BOUND: [1.0]}], "must have the same paths"),
    ],
)
def test_bad_grids_are_refused(declared, message):
    def use():
        list(grid.paths(declared))
        grid.axes(declared)

    with pytest.raises(ValueError, match=message):
        use()
