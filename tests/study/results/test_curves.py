"""The pictures: what is drawn, that files are valid, and what is refused."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import xarray as xr

plotting = pytest.importorskip("jaxmlr.study.results.curves")

METRICS = ("coefficient_error", "misclassification", "excess_misclassification", "scale")
STEP = np.array([1, 10, 100, 1000])


def results(points=(0.6, 0.75), metrics=METRICS, estimators=("em", "oracle")):
    """A dataset with the names of a study's and made-up numbers."""
    across, here = ("estimator", "problem.p", "step"), ("problem.p", "step")
    shape = (len(estimators), len(points), len(STEP))
    base = np.broadcast_to(1 / np.sqrt(STEP), shape) * np.arange(1, len(estimators) + 1)[:, None, None]
    variables = {"diverged": (across, np.zeros(shape, int))}
    for metric in metrics:
        for k, name in enumerate(("q05", "q50", "mean", "q95")):
            variables[f"{metric}_{name}"] = (across, base * (1 + 0.1 * k))
        variables[f"{metric}_se"] = (across, 0.05 * base)
        variables[f"{metric}_theory"] = (here, 0.5 * base[0])
        variables[f"{metric}_oracle"] = (here, 0.6 * base[0])
    study = {"estimators": {name: {"method": "two_step", "bound": 3.0} for name in estimators}}
    coordinates = {"estimator": list(estimators), "problem.p": list(points), "step": STEP}
    attributes = {"name": "made", "trials": 1234, "study": json.dumps(study)}
    return xr.Dataset(variables, coordinates, attributes)


def test_files_are_whole_pictures(tmp_path):
    paths = plotting.save(results(), tmp_path)
    assert [path.name for path in paths] == ["made.png", "made.svg"]
    png = paths[0].read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    width, height = (int.from_bytes(png[k : k + 4], "big") for k in (16, 20))
    assert min(width, height) > 500
    root = ElementTree.fromstring(paths[1].read_text(encoding="utf-8"))
    assert root.tag.endswith("svg")
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 20


def test_the_same_results_give_the_same_picture(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    for one, two in zip(plotting.save(results(), first), plotting.save(results(), second), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_a_row_for_every_grid_point_and_a_column_for_every_metric():
    drawn = plotting.figure(results(), ["scale", "coefficient_error"])
    assert len(drawn.axes) == 4
    assert [panel.get_ylabel() for panel in drawn.axes] == ["p = 0.6", "", "p = 0.75", ""]
    assert drawn.axes[0].get_title(loc="left") == "(a) scale q: median, 5-95 %"
    assert drawn.axes[1].get_title(loc="left").startswith("(b) coefficient error")
    assert drawn.get_suptitle() == "made: 1,234 trials"
    assert {panel.get_xscale() for panel in drawn.axes} == {"log"}


def lines(panel):
    return {line.get_label(): line.get_ydata() for line in panel.get_lines()}


def test_curves_are_the_numbers():
    data = results()
    error, scale, labels = plotting.figure(
        data.isel({"problem.p": [0]}), ["coefficient_error", "scale", "misclassification"]
    ).axes
    at = data.sel(estimator="em").isel({"problem.p": 0})
    np.testing.assert_array_equal(lines(error)["em"], at["coefficient_error_q50"])
    np.testing.assert_array_equal(lines(error)["Cramer-Rao bound (rms)"], at["coefficient_error_theory"])
    np.testing.assert_array_equal(lines(labels)["em"], at["misclassification_mean"])
    np.testing.assert_array_equal(lines(labels)["true coefficients"], at["misclassification_oracle"])
    bound = lines(scale)["upper end of D_n, C = 3"]
    np.testing.assert_allclose(bound, np.maximum(3 * np.sqrt(np.log(STEP + np.e)), 1))
    assert len(error.collections) == 2  # a band for every method


@pytest.mark.parametrize(
    ("have", "chosen"),
    [
        (METRICS, ["coefficient_error", "excess_misclassification", "scale"]),
        (("misclassification", "within_cluster_error"), ["misclassification", "within_cluster_error"]),
        (("scale",), ["scale"]),
    ],
)
def test_default_metrics_prefer_excesses(have, chosen):
    assert plotting.default_metrics(results(metrics=have)) == chosen


def test_a_metric_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no metric 'within_cluster_error'; they have coefficient_error"):
        plotting.figure(results(), ["within_cluster_error"])


def test_a_grid_too_large_to_draw_is_refused():
    points = np.linspace(0.55, 0.9, 7).tolist()
    with pytest.raises(ValueError, match="the grid has 7 points; select up to 6"):
        plotting.figure(results(points))
    assert len(plotting.figure(results(points).isel({"problem.p": slice(6)}), ["scale"]).axes) == 6


def test_a_study_without_grid_has_one_row():
    drawn = plotting.figure(results().isel({"problem.p": 0}, drop=True), ["scale"])
    assert len(drawn.axes) == 1
    assert drawn.axes[0].get_ylabel() == "error"
