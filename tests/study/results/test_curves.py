"""The pictures: what is drawn, that files are valid, and what is refused."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import xarray as xr

pictures = pytest.importorskip("jaxmlr.study.results.pictures")
backend_agg = pytest.importorskip("matplotlib.backends.backend_agg")

from jaxmlr.study.results.curves import default_metrics  # noqa: E402, after the check for matplotlib

METRICS = ("coefficient_error", "misclassification", "excess_misclassification", "scale")
STEP = np.array([1, 10, 100, 1000])


def results(points=(0.6, 0.75), metrics=METRICS, estimators=("em", "oracle")):
    """A dataset with the names of a study's and made-up numbers."""
    across, without_methods = ("estimator", "problem.p", "step"), ("problem.p", "step")
    shape = (len(estimators), len(points), len(STEP))
    base = np.broadcast_to(1 / np.sqrt(STEP), shape) * np.arange(1, len(estimators) + 1)[:, None, None]
    variables = {"diverged": (across, np.zeros(shape, int))}
    for metric in metrics:
        of = {"metric": metric}
        for k, name in enumerate(("q05", "q50", "mean", "q95")):
            variables[f"{metric}_{name}"] = (across, base * (1 + 0.1 * k), of | {"statistic": name})
        variables[f"{metric}_se"] = (across, 0.05 * base, of | {"statistic": "se"})
        limit = of | {"statistic": "limit", "reference": "theory"}
        variables[f"{metric}_theory"] = (without_methods, 0.5 * base[0], limit)
        oracle = of | {"statistic": "mean", "reference": "oracle"}
        variables[f"{metric}_oracle"] = (without_methods, 0.6 * base[0], oracle)
    study = {"estimators": {name: {"method": "two_step", "bound": 3.0} for name in estimators}}
    coordinates = {"estimator": list(estimators), "problem.p": list(points), "step": STEP}
    attributes = {"name": "made", "trials": 1234, "study": json.dumps(study)}
    return xr.Dataset(variables, coordinates, attributes)


def test_files_are_whole_pictures(tmp_path):
    paths = pictures.save(results(), tmp_path, formats=("png", "svg", "pdf"))
    assert [path.name for path in paths] == ["made-curves.png", "made-curves.svg", "made-curves.pdf"]
    png = paths[0].read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    width, height = (int.from_bytes(png[k : k + 4], "big") for k in (16, 20))
    assert width == 1432
    assert height > 500
    root = ElementTree.fromstring(paths[1].read_text(encoding="utf-8"))
    assert root.tag.endswith("svg")
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "made: 1,234 trials" in texts  # text, not outlines
    assert paths[2].read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_the_same_results_give_the_same_picture(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    formats = ("png", "svg", "pdf")
    pairs = zip(
        *(pictures.save(results(), folder, formats=formats) for folder in (first, second)), strict=True
    )
    for one, two in pairs:
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.slow
def test_kinds_metrics_and_choices_have_files_of_their_own(tmp_path):
    data = results()
    names = {
        path.name
        for metrics, choice in ((None, {}), (["scale"], {}), (None, {"problem.p": 0.6}))
        for path in pictures.save(data, tmp_path, metrics, choice=choice, formats=("png",))
    }
    assert names == {"made-curves.png", "made-curves-scale.png", "made-curves-p=0.6.png"}
    (own,) = pictures.save(data, tmp_path, out=tmp_path / "paper.pdf", column="single")
    assert own.name == "paper.pdf"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"problem.p": 0.65}, "problem.p = 0.65 is not on the grid; the nearest is 0.6"),
        ({"problem.q": 0.65}, "unknown axis 'problem.q'; the grid has problem.p"),
        ({"problem.p": "much"}, "problem.p must be"),
    ],
)
def test_a_choice_that_is_not_on_the_grid_is_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        pictures.select(results(), choice)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 3.0, "column": "single"}, "not both"),
        ({"column": "triple"}, "column must be one of"),
        ({"width": 1.0}, "width must be at least 2"),
        ({"width": 40.0}, "at most 20 inches"),
    ],
)
def test_a_width_is_one_of_a_page(options, message):
    with pytest.raises(ValueError, match=message):
        pictures.draw(results(), **options)


@pytest.mark.parametrize("width", [3.5, 7.0])
def test_nothing_is_cut_and_no_panel_is_empty(width):
    drawn = pictures.draw(results(), width=width)
    backend_agg.FigureCanvasAgg(drawn).draw()
    page = drawn.get_window_extent()
    texts = [*drawn.legends, drawn._suptitle, *(panel.title for panel in drawn.axes)]
    texts += [axis.label for panel in drawn.axes for axis in (panel.xaxis, panel.yaxis)]
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= -1, text
        assert box.x1 <= page.x1 + 1, text
        assert box.y0 >= -1, text
    assert all(panel.lines for panel in drawn.axes)
    assert drawn.get_figwidth() == width


def test_a_panel_for_every_grid_point_and_metric():
    drawn = pictures.draw(results(), ["scale", "coefficient_error"])
    titles = [panel.get_title(loc="left") for panel in drawn.axes]
    assert titles == ["(a) $p$ = 0.6", "(b) $p$ = 0.6", "(c) $p$ = 0.75", "(d) $p$ = 0.75"]
    assert drawn.axes[0].get_ylabel() == "scale $q$\nmedian, 5 to 95 %"
    assert drawn.axes[1].get_ylabel().startswith("coefficient error")
    assert drawn.get_suptitle() == "made: 1,234 trials"
    assert {panel.get_xscale() for panel in drawn.axes} == {"log"}


def test_a_curve_that_another_hides_is_named():
    data = results(estimators=("em", "same"))
    data["coefficient_error_q50"][1] = data["coefficient_error_q50"][0]
    (panel,) = pictures.draw(data.isel({"problem.p": [0]}), ["coefficient_error"]).axes
    (note,) = panel.texts
    assert note.get_text() == "same lies on em"
    top = note.get_window_extent().y1
    curves = [panel.transData.transform(line.get_xydata())[:, 1].min() for line in panel.get_lines()]
    assert top < min(curves)  # the note has a place of its own
    (panel,) = pictures.draw(results().isel({"problem.p": [0]}), ["coefficient_error"]).axes
    assert not panel.texts


def lines(panel):
    return {line.get_label(): line.get_ydata() for line in panel.get_lines()}


def test_curves_are_the_numbers():
    data = results()
    error, scale, labels = pictures.draw(
        data.isel({"problem.p": [0]}), ["coefficient_error", "scale", "misclassification"]
    ).axes
    at = data.sel(estimator="em").isel({"problem.p": 0})
    np.testing.assert_array_equal(lines(error)["em"], at["coefficient_error_q50"])
    np.testing.assert_array_equal(lines(error)["Cramér-Rao bound"], at["coefficient_error_theory"])
    np.testing.assert_array_equal(lines(labels)["em"], at["misclassification_mean"])
    np.testing.assert_array_equal(lines(labels)["true coefficients"], at["misclassification_oracle"])
    bound = lines(scale)["upper end of $D_n$, $C = 3$"]
    np.testing.assert_allclose(bound, np.maximum(3 * np.sqrt(np.log(STEP + np.e)), 1))
    assert len(error.collections) == 2  # a band for every method


@pytest.mark.parametrize(
    ("have", "chosen"),
    [
        (METRICS, ["coefficient_error", "excess_misclassification", "scale"]),
        (("misclassification", "within_cluster_error"), ["misclassification", "within_cluster_error"]),
        (("scale",), ["scale"]),
        (("scale", "largest_weight"), ["scale", "largest_weight"]),
        (("largest_weight",), ["largest_weight"]),
    ],
)
def test_default_metrics_prefer_excesses_and_show_the_study_s_own(have, chosen):
    assert default_metrics(results(metrics=have)) == chosen


def test_a_metric_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no metric 'within_cluster_error'; they have coefficient_error"):
        pictures.draw(results(), ["within_cluster_error"])


def test_a_grid_too_large_to_draw_is_refused():
    points = np.linspace(0.55, 0.9, 7).tolist()
    with pytest.raises(ValueError, match="the grid has 7 points; select up to 6"):
        pictures.draw(results(points))
    assert len(pictures.draw(results(points).isel({"problem.p": slice(6)}), ["scale"]).axes) == 6


def test_a_study_without_grid_has_one_row():
    drawn = pictures.draw(results().isel({"problem.p": 0}, drop=True), ["scale"])
    assert len(drawn.axes) == 1
    assert drawn.axes[0].get_title(loc="left") == ""  # the only one needs no letter
