"""Many grid points in one table: every number, sorted, cut, and with a column for each method."""

import numpy as np
import pytest
import xarray as xr

from jaxmlr.study import best, to_dataframe
from jaxmlr.study.results.dataset import metrics_of, variable
from jaxmlr.study.results.long_table import long_table


def column(table, name):
    (matching,) = [each for each in table.columns if each.header == name]
    return [str(cell) for cell in matching.cells]


def test_there_is_a_row_for_every_point_and_method(rich, rich_results):
    table = long_table(rich_results)
    assert table.row_count == 4 * 2
    assert column(table, "problem.p") == ["0.6"] * 4 + ["0.75"] * 4
    assert column(table, "method") == ["newton", "fragile"] * 4
    assert len(table.columns) == 2 + 1 + len(rich.metrics) + 1


def test_sorting_puts_the_smallest_first(rich_results):
    means = rich_results["coefficient_error_mean"].isel(step=-1).values.ravel()
    table = long_table(rich_results, sort="coefficient_error", top=3)
    shown = [float(cell.partition(" ")[0]) for cell in column(table, "coefficient error")]
    np.testing.assert_allclose(shown, np.sort(means[np.isfinite(means)])[:3], rtol=0.05)
    by_axis = long_table(rich_results, sort="estimators.newton.bound")
    assert column(by_axis, "estimators.newton.bound") == ["1"] * 4 + ["3"] * 4


def test_wide_has_a_column_for_every_method(rich_results):
    table = long_table(rich_results, wide=True, sort="scale")
    assert table.row_count == 4
    assert [c.header for c in table.columns][-2:] == ["newton", "fragile"]


@pytest.mark.parametrize(
    ("options", "message"), [({"sort": "nothing"}, "--sort must be one of"), ({"top": 0}, "--top must be")]
)
def test_what_does_not_exist_is_named(rich_results, options, message):
    with pytest.raises(ValueError, match=message):
        long_table(rich_results, **options)


def test_statistics_are_found_by_their_attributes(rich, rich_results):
    assert metrics_of(rich_results) == list(rich.metrics)
    for reference, statistic, name in (
        (None, "mean", "scale_mean"),
        (None, "q50", "scale_q50"),
        ("theory", "limit", "scale_theory"),
        ("oracle", "se", None),
    ):
        array = variable(rich_results, "scale", statistic, reference=reference)
        assert (None if array is None else array.name) == name
    oracle = variable(rich_results, "misclassification", "se", reference="oracle")
    assert oracle.name == "misclassification_oracle_se"
    assert variable(rich_results, "scale", "mean", difference=True) is None


@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_public_works_on_saved_results(rich_results, tmp_path, lazy):
    if lazy:
        pytest.importorskip("dask")
    rich_results.to_zarr(tmp_path / "results.zarr", zarr_format=2, consolidated=False)
    chunks = {} if lazy else None
    with xr.open_zarr(tmp_path / "results.zarr", consolidated=False, chunks=chunks) as saved:
        xr.testing.assert_equal(best(saved, "coefficient_error"), best(rich_results, "coefficient_error"))
        frame, expected = to_dataframe(saved), to_dataframe(rich_results)
        assert list(frame.columns) == list(expected.columns)
        np.testing.assert_array_equal(frame["mean"], expected["mean"])
        assert long_table(saved).row_count == 8
