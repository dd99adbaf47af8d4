"""Data sets to learn with, which come with the package."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

_FOLDER = Path(__file__).parent / "tables"


class Dataset(NamedTuple):
    """A table, and what it is good for.

    Fields:
      columns: arrays (n,) by name, as `pandas.DataFrame` takes them.
      formula: response and regressors, as `jaxmlr fit --formula` takes them.
      components: how many lines there are, or were found.
      path: the CSV file that holds the table.
      about: where it comes from, and on what terms it is shipped.
    """

    columns: dict[str, np.ndarray]
    formula: str
    components: int
    path: Path
    about: str

    @property
    def response(self) -> str:
        """The column on the left of the formula."""
        return self.formula.split("~")[0].strip()


def load_engel() -> Dataset:
    """Food expenditure against income, of 235 Belgian working-class households (Engel 1857).

    `income_k` and `foodexp_k` are in thousands of francs a year. The spread of the expenditure grows with
    the income; two lines of different slope and sigma describe it better than one.

    Returns:
      The `Dataset`, n = 235. Public domain.
    """
    return _load(
        "engel",
        "foodexp_k ~ income_k",
        2,
        "Engel (1857), as in statsmodels. Public domain.",
    )


def load_panel() -> Dataset:
    """Simulated repeated measures: rows of one `id` share their component, with weights that depend on `w`.

        y = 1 - x + 0.7 z + e  or  -1 + x + 0.7 z + e,   sigma = 0.8

    The second has probability 1 / (1 + exp(0.5 - 1.5 w)). `label` is the true component, 1 or 2. To be
    tried with `groups`, `concomitant`, `common` and `known`, and with `--group id --concomitant w --common z`
    on the command line.

    Returns:
      The `Dataset`, n = 300. This project's own.
    """
    return _load(
        "panel",
        "y ~ x + z",
        2,
        "Simulated: sixty subjects of five rows each. This project's own.",
    )


def _load(name: str, formula: str, components: int, about: str) -> Dataset:
    path = _FOLDER / f"{name}.csv"
    with path.open(encoding="utf-8") as file:
        names = [each.strip('"') for each in file.readline().strip().split(",")]
        rows = np.loadtxt(file, delimiter=",")
    return Dataset(dict(zip(names, rows.T, strict=True)), formula, components, path, about)
