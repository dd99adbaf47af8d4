"""The page and the table of LaTeX of a fitted table."""

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from jaxmlr.fitting.tables import document, report
from jaxmlr.fitting.tables.design import Design
from jaxmlr.fitting.tables.fit import fit_rows

NAME = "<script>alert(1)</script> & 50_% #$"


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    x, z = rng.uniform(-2, 2, 118), rng.random(118) < 0.4
    y = np.where(z, 1 + 2 * x, 4 - x) + 0.3 * rng.normal(size=118)
    frame = pd.DataFrame({NAME: x, "y": y}, index=pd.RangeIndex(1, 119))
    return fit_rows(*Design.learn(frame, "y", None), [2], "fit", 0)


def test_differences_of_components(fitted):
    table = document.differences(fitted).set_index("term")
    assert list(table["components"]) == ["1 - 2"] * 2
    beta = fitted.fit.mixture.coefficients
    contrast = np.zeros((2, len(fitted.covariance)))
    contrast[[0, 1], [0, 1]], contrast[[0, 1], [2, 3]] = 1, -1
    errors = np.sqrt(np.diag(contrast @ fitted.covariance @ contrast.T))
    np.testing.assert_allclose(table["difference"], beta[0] - beta[1])
    np.testing.assert_allclose(table["standard_error"], errors)
    np.testing.assert_allclose(table["upper"] - table["difference"], 1.959964 * errors, rtol=1e-6)


def test_what_comes_from_the_file_is_text(fitted, tmp_path):
    about = report.provenance(fitted, "fit", 0) | {"data": "<i>.csv", "command": ["fit", "<i>.csv"]}
    page = document.save(fitted, about, tmp_path, None).read_text("utf-8")
    assert not {"<script", "<i>"} & {page[i : i + 7] for i in range(len(page))}
    assert "<i>" not in page
    seen: list[str] = []
    parser = HTMLParser()
    parser.handle_data = seen.append
    parser.feed(page)
    text = " ".join(" ".join(seen).split())
    for wanted in (NAME, "jaxmlr fit '<i>.csv'", "Seed 0", "Differences between components", "118 rows used"):
        assert wanted in text
    assert r"<script>alert(1)</script> \& 50\_\% \#\$ & " in document.latex(fitted)
