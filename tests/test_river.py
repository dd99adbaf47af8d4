"""One row at a time: the same estimate as the stream's, and what is said of bad rows."""

import pickle

import jax
import numpy as np
import pytest
from river import checks, preprocessing

from jaxmlr.fitting import methods
from jaxmlr.fitting.stream import OnlineFit
from jaxmlr.river import MixtureOfLinearRegressions


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    return x, np.where(rng.random(60) < 0.5, 1 + x @ [2.0, 0.0], -1 - x @ [1.0, 1.0])


@pytest.mark.parametrize(("method", "components"), [("least_squares", 1), ("recursive_em", 2)])
def test_rows_one_by_one_are_the_stream(rows, method, components):
    x, y = rows
    model = MixtureOfLinearRegressions(components, method=method, seed=1)
    assert model.predict_one({"b": 1.0}) == 0
    for row, answer in zip(x, y, strict=True):
        model.learn_one({"b": row[1], "a": row[0]}, answer)
    stream = OnlineFit(methods.estimator(method, components), 3, jax.random.key(1))
    stream.update(np.column_stack([np.ones(60), x]), y)
    mixture = stream.mixture()
    wanted = mixture.weights @ (mixture.coefficients @ np.array([1.0, 0.5, -0.5]))
    np.testing.assert_allclose(model.predict_one({"a": 0.5, "b": -0.5}), wanted, rtol=1e-12)
    np.testing.assert_allclose(
        model.predict_one({"a": 0.5, "new": 3.0}), mixture.weights @ (mixture.coefficients @ [1, 0.5, 0.0])
    )
    shares = model.predict_proba_one({"a": 0.5, "b": -0.5}, 1.0)
    assert list(shares) == list(range(components))
    np.testing.assert_allclose(sum(shares.values()), 1)


def test_least_squares_is_exact_from_as_many_rows_as_coefficients_on():
    model = MixtureOfLinearRegressions(1, method="least_squares")
    for x in (1.0, 2.0, 4.0):
        model.learn_one({"x": x}, 1e6 - 3 * x)
    np.testing.assert_allclose(model.predict_one({"x": 10.0}), 1e6 - 30, rtol=1e-12)


def test_bad_rows_are_refused():
    model = MixtureOfLinearRegressions(1, method="least_squares")
    with pytest.raises(ValueError, match="before the first row"):
        model.predict_proba_one({"a": 1.0}, 1.0)
    model.learn_one({"a": 1.0}, 1.0)
    with pytest.raises(ValueError, match=r"x and y must be finite, not \{'a': 1.0\} and nan"):
        model.predict_proba_one({"a": 1.0}, np.nan)
    assert np.isnan(model.predict_one({"a": np.nan}))
    with pytest.raises(ValueError, match="has 2 components, not 3"):
        MixtureOfLinearRegressions(3, method="fisher_scoring").learn_one({"a": 1.0}, 1.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # river's own, of its data
@pytest.mark.parametrize("params", list(MixtureOfLinearRegressions._unit_test_params()), ids=str)
def test_rivers_own_checks_pass(params):
    checks.check_estimator(MixtureOfLinearRegressions(**params))


def test_pipelines_clones_and_pickles(rows):
    x, y = rows
    model = preprocessing.StandardScaler() | MixtureOfLinearRegressions(method="recursive_em", seed=3)
    for row, answer in zip(x[:20], y, strict=False):
        model.learn_one({"a": row[0], "b": row[1]}, answer)
    copy, new = pickle.loads(pickle.dumps(model)), model.clone()
    at = {"a": 0.5, "b": 1.0}
    assert np.isfinite(model.predict_one(at))
    assert copy.predict_one(at) == model.predict_one(at)
    assert new.predict_one(at) == 0
    for each in (model, copy):
        each.learn_one(at, 2.0)
    assert copy.predict_one(at) == model.predict_one(at)


@pytest.mark.parametrize(
    ("change", "sentence"), [(lambda x: x + 40, "lies .* from 0"), (lambda x: x / 100, "square of")]
)
def test_regressors_in_units_in_which_nothing_is_learnt_are_told(rows, change, sentence):
    x, y = np.vstack([rows[0]] * 2), np.tile(rows[1], 2)
    model = MixtureOfLinearRegressions(method="recursive_em")
    for row, answer in zip(change(x[:99]), y, strict=False):
        model.learn_one({"a": row[0], "b": row[1]}, answer)
    with pytest.warns(UserWarning, match=f"column 'a' .*{sentence}.*StandardScaler"):
        model.learn_one(dict(zip("ab", change(x[99]), strict=True)), y[99])
