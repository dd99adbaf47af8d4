"""Maps over two axes of a grid: what is drawn where, and what is refused."""

import json

import numpy as np
import pytest
import xarray as xr

pictures = pytest.importorskip("jaxmlr.study.results.pictures")
maps = pytest.importorskip("jaxmlr.study.results.maps")

P, BOUND, GAIN = "problem.p", "estimators.a.bound", "estimators.a.gain"


def results(gains=("em",), reference=None, se=0.01):
    """Method a is better at small p, b at large; cell (0, 0) of b has diverged."""
    rng = np.random.default_rng(0)
    p, bound = np.linspace(0.55, 0.95, 5), np.array([1.0, 2.0, 3.0])
    a = np.broadcast_to(p[:, None], (5, 3))
    mean = np.stack([a, 1.5 - a + 0 * bound])[:, :, :, None, None] * np.ones((1, 1, 1, len(gains), 2))
    diverged = np.zeros(mean.shape, int)
    diverged[1, 0, 0] = 90
    across = ("estimator", P, BOUND, GAIN, "step")
    of = {"metric": "coefficient_error"}
    numbers = {"mean": mean, "q50": mean + 0.001 * rng.random(mean.shape), "se": np.full(mean.shape, se)}
    variables = {
        f"coefficient_error_{name}": (across, x, of | {"statistic": name}) for name, x in numbers.items()
    }
    variables["diverged"] = (across, diverged)
    if reference:
        paired = of | {"statistic": "se", "difference_from": reference}
        variables["coefficient_error_difference_se"] = (across, np.full(mean.shape, se / 100), paired)
    coordinates = {"estimator": ["a", "b"], P: p, BOUND: bound, GAIN: list(gains), "step": [10, 100]}
    study = {"estimators": {name: {"method": "two_step"} for name in "ab"}, "reference": reference}
    return xr.Dataset(variables, coordinates, {"name": "map", "trials": 100, "study": json.dumps(study)})


def cells(panel):
    return panel.collections[0].get_array()


def test_a_heat_map_has_a_panel_for_each_method_and_further_value():
    drawn = pictures.draw(results(gains=("em", "newton")), ["coefficient_error"], "heat")
    panels = [axes for axes in drawn.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == [
        f"{m}\na: gain = {g}" for g in ("em", "newton") for m in ("a", "b")
    ]
    medians = (
        results(gains=("em", "newton"))["coefficient_error_q50"]
        .isel(step=-1)
        .sel({GAIN: "em", "estimator": "a"})
        .T
    )
    # The problem is on one axis: each of its columns is over its smallest, or p would hide the bound.
    np.testing.assert_allclose(cells(panels[0]), medians / medians.min(BOUND), rtol=1e-12)
    assert np.ma.getmaskarray(cells(panels[1]))[0, 0]  # most trials diverged
    (cross,) = panels[0].lines
    assert cross.get_xdata()[0] == 0  # the smallest p
    assert (panels[0].get_xlabel(), panels[0].get_ylabel()) == ("$p$", "a: $C$")


def test_a_long_name_is_a_title_of_several_lines():
    study = json.loads(results().attrs["study"])
    long = "the variant of the method with C = 3 and another gain"
    study["estimators"] = {"a": study["estimators"]["a"], long: study["estimators"]["b"]}
    named = results().assign_coords(estimator=["a", long]).assign_attrs(study=json.dumps(study))
    drawn = pictures.draw(named, ["coefficient_error"], "heat", column="single")
    drawn.draw_without_rendering()
    for axes in drawn.axes:
        box = axes.title.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= drawn.bbox.x1


def test_a_phase_diagram_shows_who_is_best_and_where_that_is_not_sure():
    drawn = pictures.draw(results(se=0.05), ["coefficient_error"], "phase")
    panel = drawn.axes[0]
    np.testing.assert_array_equal(cells(panel), np.broadcast_to([0, 0, 0, 1, 1], (3, 5)))
    assert set(panel.lines[0].get_xdata()) == {2}  # .75 against .75
    paired = pictures.draw(results(reference="a", se=1.0), ["coefficient_error"], "phase")
    assert set(paired.axes[0].lines[0].get_xdata()) == {2}
    apart = pictures.draw(results(se=1.0), ["coefficient_error"], "phase")
    assert set(apart.axes[0].lines[0].get_xdata()) == {0, 1, 2, 3, 4}


def test_auto_draws_a_map_of_a_large_grid_and_curves_of_a_small_one(tmp_path):
    large = results()
    assert "median of" in pictures.draw(large).axes[-1].get_xlabel()
    paths = pictures.save(large, tmp_path, kind="phase")
    assert [path.name for path in paths] == [
        "map-phase-coefficient_error.png",
        "map-phase-coefficient_error.svg",
    ]
    assert paths[0].stat().st_size > 1000


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda x: x.isel({BOUND: [0]}), "heat", "two axes"),
        (lambda x: x.sel(estimator=["a"]), "phase", "two methods"),
        (lambda x: x, "cloud", "kind must be one of"),
        (lambda x: x, "curves", "the grid has 15 points"),
    ],
)
def test_what_cannot_be_drawn_is_said(change, kind, message):
    with pytest.raises(ValueError, match=message):
        pictures.draw(change(results()), ["coefficient_error"], kind)


def test_too_many_panels_are_refused(monkeypatch):
    monkeypatch.setattr(maps, "MOST_PANELS", 3)
    with pytest.raises(ValueError, match="select values"):
        pictures.draw(results(gains=("g0", "g1")), ["coefficient_error"], "heat")
