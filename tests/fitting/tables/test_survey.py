"""Streams whose first rows do not show all: the answer is least squares of all rows, however they are cut."""

import io
import sys

import numpy as np
import pandas as pd
import pytest

from jaxmlr.fitting.tables import survey
from jaxmlr.fitting.tables.fit import fit_stream

N = 400


@pytest.fixture(autouse=True)
def opening(monkeypatch):
    monkeypatch.setattr(survey, "OPENING", 100)


def table(kind):
    """A table of N rows, and the regressors of the rows that can be used."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"x": rng.normal(size=N), "w": 1e5 + 20 * rng.normal(size=N)})
    columns = [np.ones(N), frame["x"], frame["w"]]
    late = np.arange(N) >= 250
    if kind == "constant column":
        frame.loc[~late, "w"] = 7.0
        columns[2] = frame["w"]
    elif kind in ("late level", "sorted by group"):
        frame["g"] = np.where(late, "c", np.where(rng.random(N) < 0.5, "a", "b"))
        if kind == "sorted by group":
            frame["g"] = np.repeat(["a", "b", "c", "d"], N // 4)
        columns += [(frame["g"] == level).to_numpy() for level in sorted(set(frame["g"]) - {"a"})]
    elif kind == "late code":
        frame["g"] = np.where(late, 3, np.arange(N) % 3)
        columns += [(frame["g"] == level).to_numpy() for level in (1, 2, 3)]
    elif kind == "late sensor":
        frame.loc[~late, "w"] = np.nan
    elif kind == "late text":
        frame["g"] = np.where(late, np.where(rng.random(N) < 0.5, "a", "b"), None)
        columns += [(frame["g"] == "b").to_numpy()]
    phi = np.column_stack(columns).astype(float)
    frame["y"] = 50 + frame["x"] + 0.1 * rng.normal(size=N) + 2 * phi[:, -1]
    if kind == "constant response":
        frame.loc[~late, "y"] = 50.0
    used = frame.notna().all(axis=1).to_numpy()
    return frame, phi[used], frame["y"].to_numpy()[used]


KINDS = (
    *("plain", "constant column", "constant response", "late level", "sorted by group"),
    *("late code", "late sensor", "late text"),
)


def last(source, chunk, kind, method="least_squares", components=1):
    formula = "x + w + C(g)" if kind == "late code" else None
    *_, (fit, _, _) = fit_stream(source, "y", formula, components, method, 0, chunk)
    return fit


@pytest.mark.parametrize("kind", KINDS)
def test_least_squares_of_all_rows(tmp_path, monkeypatch, kind):
    frame, phi, y = table(kind)
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    wanted, squares, *_ = np.linalg.lstsq(phi, y)
    fits = [last(path, chunk, kind) for chunk in (7, 100, 1000)]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    for fit in (*fits, last("-", 50, kind)):
        np.testing.assert_allclose(fit.mixture.coefficients[0], wanted, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(
            fit.mixture.noise_variance, squares[0] / (len(y) - phi.shape[1]), rtol=1e-8
        )
        np.testing.assert_array_equal(fit.mixture.coefficients, fits[0].mixture.coefficients)
        assert (fit.used, fit.dropped) == (len(y), N - len(y))


def test_another_method_does_not_depend_on_the_chunk(tmp_path):
    frame, *_ = table("late level")
    frame.to_parquet(tmp_path / "t.parquet")
    fits = [last(tmp_path / "t.parquet", chunk, "", "recursive_em", 2) for chunk in (13, 1000)]
    for one, other in zip(fits[0].mixture, fits[1].mixture, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_column_that_stays_empty_is_left_out(tmp_path):
    frame, phi, y = table("plain")
    frame["note"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    fit = last(tmp_path / "t.csv", 50, "plain")
    assert "column 'note' is empty and left out" in fit.design.notes
    np.testing.assert_allclose(fit.mixture.coefficients[0], np.linalg.lstsq(phi, y)[0], rtol=1e-8)


def test_columns_that_only_later_rows_tell_apart(tmp_path):
    frame, phi, y = table("plain")
    frame["w"] = phi[:, 2] = np.where(np.arange(N) < 250, 2 * frame["x"], phi[:, 2])
    frame.to_csv(tmp_path / "t.csv", index=False)
    fit = last(tmp_path / "t.csv", 50, "plain")
    np.testing.assert_allclose(fit.mixture.coefficients[0], np.linalg.lstsq(phi, y)[0], rtol=1e-8)
    frame.assign(w=2 * frame["x"]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="collinear columns: 'w' is a linear combination of Intercept, x"):
        last(tmp_path / "t.csv", 50, "plain")


def test_what_stays_constant_is_refused(tmp_path):
    frame, *_ = table("plain")
    frame.assign(y=1.0).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="response 'y' is constant"):
        last(tmp_path / "t.csv", 50, "plain")


def test_a_stream_says_where_its_method_stands(tmp_path):
    """p = .6 asks for a scale of 5, above the paper's D_n; sigma is assumed."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((600, 2))
    y = np.where(rng.random(600) < 0.6, 1, -1) * (x @ [1, -1.5]) + 0.3 * rng.standard_normal(600)
    path = tmp_path / "t.csv"
    pd.DataFrame(np.column_stack([x, y]), columns=["a", "b", "y"]).to_csv(path, index=False)

    def advice(method, **options):
        *_, (fit, _, _) = fit_stream(path, None, "y ~ 0 + a + b", 2, method, 0, options=options)
        return "\n".join(fit.advice)

    messages = advice("two_step", noise_variance=0.09)
    assert "the scale q was at its upper bound" in messages
    assert "sigma is not learnt" in messages
    assert "upper bound" not in advice("two_step", noise_variance=0.09, bound=10)
    assert advice("second_moment") == ""
