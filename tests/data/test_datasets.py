"""The data sets that come with the package."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxmlr import Mixture, datasets, em

SETS = {"engel": ("engel", 235), "panel": ("sim_panel", 300)}


@pytest.mark.parametrize("name", SETS)
def test_they_are_those_that_r_was_asked_about(oracles, name):
    other, n = SETS[name]
    dataset = getattr(datasets, f"load_{name}")()
    assert dataset.path.samefile(oracles / json.loads((oracles / f"{other}.json").read_text())["csv"])
    wanted = np.genfromtxt(dataset.path, delimiter=",", names=True)
    assert tuple(dataset.columns) == wanted.dtype.names
    for column, values in dataset.columns.items():
        assert values.shape == (n,)
        assert_array_equal(values, wanted[column])
    assert dataset.response in dataset.columns


def test_the_panel_is_what_its_description_says():
    """Least squares by the true labels, and em of two lines from the truth."""
    c = datasets.load_panel().columns
    phi = np.column_stack([np.ones(300), c["x"], c["z"]])
    truth = np.array([[1.0, -1.0, 0.7], [-1.0, 1.0, 0.7]])
    for component, beta in enumerate(truth, 1):
        own = c["label"] == component
        error = c["y"][own] - phi[own] @ beta
        assert abs(error.mean()) < 4 * 0.8 / np.sqrt(own.sum())
        assert_allclose(error.std(), 0.8, rtol=0.2)
    fit = em(phi, c["y"], Mixture(truth, np.array([0.5, 0.5]), np.full(2, 0.64)), common=[2])
    assert_allclose(fit.mixture.coefficients, truth, atol=0.4)
