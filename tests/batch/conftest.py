"""The data sets of the batch tests."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jaxmlr import Mixture

COLUMNS = {
    "sim_pitch": ("y", ["x"]),
    "sim_curve": ("y", ["x", "x2"]),
    "sim_factors": ("y", ["x1", "x2", "x3"]),
    "sim_small": ("y", ["x"]),
    "sim_k2_d2": ("y", ["x1", "x2"]),
    "engel": ("foodexp_k", ["income_k"]),
    "sym_iid_d3": ("y", ["x1", "x2", "x3"]),
}


def table(path: Path):
    """Columns of a CSV file by name."""
    data = np.genfromtxt(path, delimiter=",", names=True)
    return {name: data[name] for name in data.dtype.names}


def design(path: Path, name: str):
    """Regressors, with an intercept but for sym_*, and response of a named data set."""
    response, regressors = COLUMNS[name]
    columns = table(path)
    phi = np.stack([columns[c] for c in regressors], axis=1)
    if not name.startswith("sym_"):
        phi = np.column_stack([np.ones(len(phi)), phi])
    return phi, columns[response]


def oracle(folder: Path, name: str):
    """An oracle's answers, its regressors and its response."""
    answers = json.loads((folder / f"{name}.json").read_text())
    return answers, *design(folder / answers["csv"], Path(answers["csv"]).stem)


def mixture(fields) -> Mixture:
    """A mixture from an oracle's fields."""
    return Mixture(
        np.array(fields["beta"], float),
        np.array(fields["lambda"], float),
        np.square(np.array(fields["sigma"], float)),
    )


@pytest.fixture(scope="session")
def datasets():
    """Readers of data sets and of the answers to them."""
    return SimpleNamespace(design=design, oracle=oracle, mixture=mixture, table=table)
