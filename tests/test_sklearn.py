"""The scikit-learn estimator: scikit-learn's own checks, and that it is jaxmlr underneath."""

import itertools
import pickle

import jax
import numpy as np
import pandas as pd
import polars as pl
import pytest
from jax import lax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxmlr.fitting import methods
from jaxmlr.sklearn import MixtureOfLinearRegressions


@pytest.fixture(scope="module")
def rows():
    """200 rows of y = 2 + x_1 - x_2 (0.6) and y = -1 - 2 x_1 (0.4), sigma = 0.2."""
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(200, 2)), rng.random(200) < 0.6
    y = np.where(z, 2 + x @ [1.0, -1.0], -1 + x @ [-2.0, 0.0]) + 0.2 * rng.normal(size=200)
    return x, y, z


EXPECTED = {
    "check_regressors_no_decision_function": "P(z = k | x) is what a mixture predicts besides E[y | x]",
    "check_sample_weight_equivalence_on_dense_data": "15 rows in 31 unknowns: no optimum is the only one,"
    " and random starts draw other rows; where there is one, test_a_weight_of_two_is_two_rows",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the checks raise warnings of their own on purpose
@parametrize_with_checks([MixtureOfLinearRegressions()], expected_failed_checks=lambda _: EXPECTED)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_finds_the_lines(rows):
    x, y, z = rows
    model = MixtureOfLinearRegressions(random_state=0).fit(x, y)
    order = np.argsort(-model.weights_)
    np.testing.assert_allclose(model.coef_[order], [[1, -1], [-2, 0]], atol=0.1)
    np.testing.assert_allclose(model.intercept_[order], [2, -1], atol=0.1)
    np.testing.assert_allclose(np.sqrt(model.noise_variance_), 0.2, rtol=0.2)
    labels = model.labels(x, y)
    assert np.mean((labels == order[0]) == z) > 0.95
    posterior = model.responsibilities(x, y)
    np.testing.assert_allclose(posterior.sum(axis=1), 1)
    np.testing.assert_array_equal(model.predict_proba(x, y), posterior)
    np.testing.assert_array_equal(posterior.argmax(axis=1), labels)
    np.testing.assert_allclose(model.predict(x), model.predict_components(x) @ model.weights_)
    np.testing.assert_allclose(model.score(x, y) * len(y), model.log_likelihood_)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert clone(model).get_params() == model.get_params()
    assert "MixtureOfLinearRegressions" in model._repr_html_()


@pytest.mark.slow
def test_a_grid_search_over_data_of_another_size_compiles_nothing(rows, caplog):
    x, y, _ = rows

    def search(n):
        grid = {"n_components": [1, 2]}
        GridSearchCV(MixtureOfLinearRegressions(random_state=0), grid, cv=2).fit(x[:n], y[:n])

    search(200)
    with jax.log_compiles():
        search(170)
    compiled = [each.message for each in caplog.records if "Finished XLA compilation" in each.message]
    assert compiled == []


@pytest.mark.slow
def test_a_weight_of_two_is_two_rows(rows):
    x, y, _ = rows
    weight = np.ones(len(y))
    weight[:20] = 2
    once = MixtureOfLinearRegressions(random_state=0).fit(x, y, sample_weight=weight)
    twice = MixtureOfLinearRegressions(random_state=0).fit(np.vstack([x, x[:20]]), np.append(y, y[:20]))
    order, other = np.argsort(once.weights_), np.argsort(twice.weights_)
    np.testing.assert_allclose(once.coef_[order], twice.coef_[other], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(once.log_likelihood_, twice.log_likelihood_, rtol=1e-8)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_data_frames_have_names(rows, kind):
    x, y, _ = rows
    frame = kind({"a": x[:, 0], "b": x[:, 1]})
    model = MixtureOfLinearRegressions(random_state=0).fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    plain = MixtureOfLinearRegressions(random_state=0).fit(x, y)
    np.testing.assert_array_equal(model.predict(frame), plain.predict(x))


@pytest.mark.slow
def test_a_grid_search_finds_the_number_of_lines(rows):
    x, y, _ = rows
    pipeline = make_pipeline(StandardScaler(), MixtureOfLinearRegressions(random_state=0, method="em"))
    grid = {"mixtureoflinearregressions__n_components": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(x, y)
    assert search.best_params_ == {"mixtureoflinearregressions__n_components": 2}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("method", "components"), [("least_squares", 1), ("recursive_em", 2), ("two_step", 2)]
)
def test_a_stream_in_pieces_is_one_scan(rows, method, components, dtype):
    x, y = rows[0].astype(dtype), rows[1].astype(dtype)
    options = {"noise_variance": 0.04} if method == "two_step" else None
    model = MixtureOfLinearRegressions(components, method=method, options=options, random_state=3)
    cuts = [0, 1, 2, 50, 51, 200]
    for first, last in itertools.pairwise(cuts):
        model.partial_fit(x[first:last], y[first:last])
        model = pickle.loads(pickle.dumps(model))
    estimator = methods.estimator(method, components, options)
    seed = int(np.random.RandomState(3).randint(2**31 - 1))
    with jax.enable_x64(dtype == np.float64):
        phi = np.column_stack([np.ones(200, dtype), x])
        start = estimator.init(3, jax.random.key(seed), dtype)
        state, _ = jax.jit(lambda s, p, a: lax.scan(estimator.step, s, (p, a)))(start, phi, y)
        wanted = jax.tree.map(np.asarray, estimator.mixture(state))
    np.testing.assert_array_equal(model.coef_, wanted.coefficients[:, 1:])
    np.testing.assert_array_equal(model.intercept_, wanted.coefficients[:, 0])
    np.testing.assert_array_equal(model.weights_, wanted.weights)
    whole = MixtureOfLinearRegressions(components, method=method, options=options, random_state=3).fit(x, y)
    np.testing.assert_array_equal(whole.coef_, model.coef_)


def test_least_squares_has_no_prior_in_the_units_of_the_rows():
    x = np.random.default_rng(0).normal(size=(500, 2)) * [1e-4, 1e6] + [0, 1e9]
    y = 1e5 + x @ [3e4, 2e-6]
    model = MixtureOfLinearRegressions(1, method="least_squares").fit(x, y)
    np.testing.assert_allclose(model.predict(x), y, rtol=1e-10)
    np.testing.assert_allclose(model.coef_[0], [3e4, 2e-6], rtol=1e-6)


def test_wrong_use_is_said(rows):
    x, y, _ = rows
    with pytest.raises(AttributeError, match="partial_fit"):
        MixtureOfLinearRegressions().partial_fit(x, y)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        MixtureOfLinearRegressions(1, method="least_squares").fit(x, y, sample_weight=y**2)
    with pytest.raises(ValueError, match="method: unknown name 'magic'; it must be one of"):
        MixtureOfLinearRegressions(method="magic").fit(x, y)
    with pytest.raises(ValueError, match="has 2 components, not 3"):
        MixtureOfLinearRegressions(3, method="fisher_scoring").fit(x, y)


@pytest.mark.parametrize("method", ["em", "fit", "recursive_em"])
@pytest.mark.parametrize("components", [0, -1, 1.5, "2", None, True, 10**6])
def test_a_number_of_components_that_cannot_be_is_refused_at_once(rows, method, components):
    x, y, _ = rows
    with pytest.raises(ValueError, match="n_components must be"):
        MixtureOfLinearRegressions(components, method=method).fit(x, y)


def test_lists_and_arrays_are_options(rows):
    x, y, _ = rows
    start = [[0.0, 1.0, -1.0], [0.0, -2.0, 0.0]]
    fits = [
        MixtureOfLinearRegressions(method="recursive_em", options={"initial_coefficients": given}).fit(x, y)
        for given in (start, np.array(start))
    ]
    np.testing.assert_array_equal(fits[0].coef_, fits[1].coef_)
    with pytest.raises(ValueError, match="method 'em' has no option 'iterations'; it has "):
        MixtureOfLinearRegressions(method="em", options={"iterations": 3}).fit(x, y)


@pytest.mark.parametrize(
    "change",
    [{"method": "midpoint_em"}, {"n_components": 3}, {"fit_intercept": False}, {"options": {"gain": "em"}}],
)
def test_a_stream_does_not_go_on_with_other_parameters(rows, change):
    x, y, _ = rows
    model = MixtureOfLinearRegressions(method="recursive_em", random_state=0).partial_fit(x, y)
    model.set_params(options={}).partial_fit(x, y)  # the same parameters in other words
    with pytest.raises(ValueError, match="have changed since the first partial_fit; use fit to begin anew"):
        model.set_params(**change).partial_fit(x, y)
    again = model.fit(x, y).coef_
    parameters = {"method": "recursive_em", "random_state": 0} | change
    np.testing.assert_array_equal(again, MixtureOfLinearRegressions(**parameters).fit(x, y).coef_)


def test_a_fit_leaves_nothing_of_the_one_before(rows):
    x, y, _ = rows
    model = MixtureOfLinearRegressions(method="em", random_state=0).fit(x, y)
    model.set_params(method="recursive_em").partial_fit(x, y)
    assert not hasattr(model, "converged_")
    assert not hasattr(model, "log_likelihood_")
    fresh = MixtureOfLinearRegressions(method="recursive_em", random_state=0).partial_fit(x, y)
    np.testing.assert_array_equal(model.coef_, fresh.coef_)
    model.set_params(method="em").fit(x, y)
    assert not hasattr(model, "state_")
    model.set_params(method="recursive_em").partial_fit(x, y)
    np.testing.assert_array_equal(model.coef_, fresh.coef_)


def test_the_fitted_model_scores_not_its_parameters(rows):
    x, y, _ = rows
    model = MixtureOfLinearRegressions(method="em", random_state=0).fit(x, y)
    score, labels = model.score(x, y), model.labels(x, y)
    model.set_params(fit_intercept=False)
    assert model.score(x, y) == score
    np.testing.assert_array_equal(model.labels(x, y), labels)
    with pytest.raises(ValueError, match="Negative values"):
        model.score(x, y, sample_weight=-np.ones(len(y)))


def test_a_recursion_that_diverges_says_so():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)).astype(np.float32)
    y = (1e30 * rng.normal(size=300)).astype(np.float32)
    with pytest.warns(ConvergenceWarning, match="fisher_scoring has diverged: the estimate is not finite"):
        MixtureOfLinearRegressions(method="fisher_scoring").fit(x, y)
