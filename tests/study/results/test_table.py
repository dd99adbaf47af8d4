"""What a finished study looks like in a terminal."""

import io

import numpy as np
import pytest
from rich.console import Console

from jaxmlr.study.results.long_table import long_table
from jaxmlr.study.results.table import tables, with_error


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.05634, 0.00123, "0.0563 ± 0.0012"),
        (12.345, 0.5, "12.35 ± 0.50"),
        (123.4, 45.6, "123 ± 46"),
        (-0.001234, 0.00001, "-0.001234 ± 0.000010"),
        (2.0, 0.0, "2"),
        (0.123456, np.nan, "0.1235"),
        (np.nan, 1.0, "nan"),
        (np.inf, 1.0, "inf"),
    ],
)
def test_a_value_is_shown_to_the_second_digit_of_its_error(value, error, text):
    assert with_error(value, error) == text


def printed(results):
    console = Console(file=io.StringIO(), width=200)
    for table in tables(results):
        console.print(table)
    return console.file.getvalue()


def test_there_is_a_table_for_every_grid_point_and_a_row_for_every_method(rich, rich_results):
    printed = list(tables(rich_results))
    assert len(printed) == 4
    assert "n = 50, 10 trials, problem.p = 0.6, estimators.newton.bound = 1" in printed[0].title
    assert "problem.p = 0.75, estimators.newton.bound = 3" in printed[-1].title
    for table in printed:
        rows = [str(cell) for cell in table.columns[0].cells]
        assert rows == ["newton", "fragile", "true coefficients", "theory"]
        assert len(table.columns) == len(rich.metrics) + 2


def test_the_numbers_are_those_of_the_last_step(rich_results):
    table = next(tables(rich_results))
    last = rich_results.isel({"step": -1, "problem.p": 0, "estimators.newton.bound": 0})
    column = [str(cell) for cell in table.columns[1].cells]
    for row, name in enumerate(("newton", "fragile")):
        mine = last.sel(estimator=name)
        expected = with_error(float(mine["coefficient_error_mean"]), float(mine["coefficient_error_se"]))
        assert column[row] == expected
    assert column[2:] == ["", f"{float(last['coefficient_error_theory']):.4g}"]
    diverged = [str(cell) for cell in table.columns[-1].cells]
    assert diverged == [*(str(int(n)) for n in last["diverged"]), "", ""]


def test_a_study_without_grid_is_one_table(plain_results):
    text = printed(plain_results)
    assert text.count("plain: n = 50, 10 trials") == 1
    assert "seed" in text


def test_diagnostics_are_a_second_table(plain_results):
    said = plain_results["coefficient_error_mean"]
    extra = (
        said.copy().assign_attrs(metric="excitation"),
        said.copy().assign_attrs(metric="excitation", statistic="se"),
    )
    results = plain_results.assign(excitation_mean=extra[0], excitation_se=extra[1])
    first, second = tables(results)
    assert len(first.columns) == len(next(tables(plain_results)).columns)
    assert second.title.endswith("10 trials: diagnostics")
    assert next(iter(second.columns[0].cells)) == "excitation"
    assert [column.header for column in second.columns] == ["mean over trials", "seed"]
    assert long_table(results, sort="excitation").columns[-2].header == "excitation"
