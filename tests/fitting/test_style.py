"""How pictures look: a colour for each method, widths, texts that fit."""

import numpy as np
import pytest

from jaxmlr.registry import COLOURS, METHODS

style = pytest.importorskip("jaxmlr.fitting.style")
Figure = pytest.importorskip("matplotlib.figure").Figure


def test_every_method_has_a_colour_of_its_own():
    assert set(COLOURS) == set(METHODS)
    assert len(set(COLOURS.values())) == len(METHODS)


def test_variants_of_a_method_have_shades_of_its_colour_and_dashes_of_their_own():
    looks = style.line_styles(
        {"a": "two_step", "b": "two_step", "c": "fisher_scoring", "own": "x:y"}, COLOURS
    )
    assert looks["a"].color == COLOURS["two_step"].lower()
    assert looks["b"].color != looks["a"].color
    assert looks["a"].linestyle != looks["b"].linestyle
    assert looks["c"].color == COLOURS["fisher_scoring"].lower()
    assert looks["own"].color not in {looks["a"].color, looks["c"].color}


def test_areas_have_no_colour_twice():
    methods = {"a": "two_step", "b": "two_step", "c": "fisher_scoring"}
    areas = style.area_colours(methods, COLOURS)
    assert len(set(areas.values())) == 3
    assert areas["c"] == COLOURS["fisher_scoring"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("problem.p", "$p$"),
        ("estimators.newton.bound", "newton: $C$"),
        ("problem.process.pole", "pole"),
        ("estimators.a$b.cost", r"a\$b: cost"),
    ],
)
def test_an_axis_is_written_as_mathematics(path, text):
    assert style.symbol(path) == text


def test_texts_are_broken_to_fit():
    text = "root mean squared error of the coefficients, in the best order"
    lines = style.wrapped(text, 2.0, 8).split("\n")
    assert " ".join(lines) == text
    assert all(style.text_width(line, 8) < 2.2 for line in lines)


@pytest.mark.parametrize(("limits", "wanted"), [((0.06, 0.8), "0.2"), ((3, 20), "6"), ((1e-3, 10), "")])
def test_a_short_logarithmic_axis_has_plain_numbers(limits, wanted):
    figure = Figure()
    panel = figure.subplots()
    panel.set(yscale="log", ylim=limits)
    style.plain_numbers(panel.yaxis)
    figure.draw_without_rendering()
    ticks = [tick.get_text() for tick in (*panel.get_yticklabels(), *panel.get_yticklabels(minor=True))]
    assert wanted in ticks
    assert not wanted or not any("10^" in text for text in ticks)


def test_a_curve_that_another_one_hides_is_named():
    n = np.arange(1.0, 5.0)
    curves = {"first": 1 / n, "second": 1.004 / n, "part": np.where(n > 2, 1 / n, np.nan), "other": 1.1 / n}
    assert style.coinciding(curves) == ["second lies on first", "part lies on first"]
    assert style.coinciding(curves, tolerance=0.2)[-1] == "other lies on first"
    assert style.coinciding({"nowhere": np.full(4, np.nan), "first": 1 / n}) == []
