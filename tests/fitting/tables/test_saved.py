"""A design is the same after it has been text: new rows are put into the same columns."""

import json

import numpy as np
import pandas as pd
import pytest

from jaxmlr.fitting.tables import saved
from jaxmlr.fitting.tables.design import Design


@pytest.mark.parametrize(
    "right",
    [
        *("poly(x, 2) + scale(`w w`)", "bs(x, df=4)", "cr(x, df=3)", "cc(x, df=3)", "center(x):grp", "."),
        *("C(grp, contr.sum) + C(x)", "offset(x) + `w w`", "0 + grp", "I(x^2) + log(x)"),
    ],
)
def test_new_rows_after_a_round_trip(right):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": np.resize([1.0, 2.0, 3.0, 4.0, 5.0], 40), "w w": rng.normal(size=40)})
    frame["grp"], frame["y"] = np.resize(["low", "high", "mid"], 40), rng.normal(size=40)
    design, rows = Design.learn(frame, "y", right)
    again = saved.loaded(json.loads(json.dumps(saved.dumped(design))))
    assert (again.names, again.intercept, again.response) == (design.names, design.intercept, "y")
    new = again.observations(frame.drop(columns="y").iloc[3:9], response=False)
    np.testing.assert_allclose(new.phi, rows.phi[3:9], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(new.offset, rows.offset[3:9])
