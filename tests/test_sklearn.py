"""The scikit-learn estimator: scikit-learn's own checks, and that it is jaxmlr underneath."""

import itertools
import pickle

import jax
import numpy as np
import pandas as pd
import polars as pl
import pytest
from jax import lax
from scipy import special, stats
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxmlr.fitting import methods
from jaxmlr.fitting.repeats import distinct
from jaxmlr.sklearn import MixtureOfLinearRegressions


@pytest.fixture(scope="module")
def rows():
    """200 rows of y = 2 + x_1 - x_2 (0.6) and y = -1 - 2 x_1 (0.4), sigma = 0.2."""
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(200, 2)), rng.random(200) < 0.6
    y = np.where(z, 2 + x @ [1.0, -1.0], -1 + x @ [-2.0, 0.0]) + 0.2 * rng.normal(size=200)
    return x, y, z


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the checks raise warnings of their own on purpose
@parametrize_with_checks([MixtureOfLinearRegressions()])
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
    np.testing.assert_array_equal(model.prior_weights(x[:3]), [model.weights_] * 3)
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


@pytest.mark.parametrize("order", ["as given", "shuffled"])
def test_weights_are_repetitions_to_the_last_bit(rows, order):
    """Equal rows are one row of their weight, whatever their order: the starts are the same too."""
    x, y, _ = rows
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    again = np.repeat(np.arange(len(y)), weight)
    if order == "shuffled":
        again = np.random.default_rng(2).permutation(again)
    model = MixtureOfLinearRegressions(random_state=0, method="em")
    once = clone(model).fit(x, y, sample_weight=weight)
    repeated = clone(model).fit(x[again], y[again])
    np.testing.assert_array_equal(once.coef_, repeated.coef_)
    assert once.log_likelihood_ == repeated.log_likelihood_


def test_equal_rows_are_merged_with_what_is_told_of_them():
    phi = np.array([[1.0, 2], [1, 2], [1, 3], [1, 2], [1, 2]])
    y, weight = np.array([5.0, 5, 5, 4, 5]), np.array([1.0, 2, 1, 1, 0])
    merged = distinct(phi, y, weight)
    np.testing.assert_array_equal(merged.y, [4, 5, 5])
    np.testing.assert_array_equal(merged.weight, [1, 3, 1])
    np.testing.assert_array_equal(merged.phi[:, 1], [2, 2, 3])
    apart = distinct(phi, y, weight, {"groups": np.array([0, 1, 1, 1, 0])})
    np.testing.assert_array_equal(apart.weight, [1, 1, 2, 1])
    np.testing.assert_array_equal(apart.terms["groups"], [1, 0, 1, 1])


@pytest.fixture(scope="module")
def grouped():
    """A fit to 60 groups of 5 rows whose component depends on z; labels of the first groups are known."""
    rng = np.random.default_rng(3)
    group, z = np.repeat(np.arange(60), 5), np.repeat(rng.normal(size=60), 5)
    label = np.repeat(rng.random(60), 5) < 1 / (1 + np.exp(-2 * z))
    x = rng.normal(size=(300, 1))
    y = np.where(label, 1 + x[:, 0], -1 - x[:, 0]) + 0.8 * rng.normal(size=300)
    known = np.where(group < 3, label, -1)
    terms = {"groups": [f"g{each}" for each in group], "concomitant": z[:, None]}
    model = MixtureOfLinearRegressions(method="em", random_state=0).fit(x, y, known_labels=known, **terms)
    return model, x, y, terms, label


@pytest.mark.slow
def test_groups_labels_and_concomitants(grouped):
    model, x, y, terms, label = grouped
    assert np.mean(model.labels(x, y, **terms) == label) > 0.97
    assert model.gate_[1, 1] > 1
    np.testing.assert_array_equal(model.gate_[0], 0)
    z = {"concomitant": terms["concomitant"]}
    score = model.gate_[1, 0] + model.gate_[1, 1] * terms["concomitant"][:, 0]
    np.testing.assert_allclose(model.prior_weights(x, **z)[:, 1], 1 / (1 + np.exp(-score)))
    mean, std = model.predict(x, return_std=True, **z)
    draws = model.sample_y(x, 4000, random_state=1, **z)
    assert draws.shape == (300, 4000)
    np.testing.assert_allclose(draws.mean(axis=1), mean, atol=5 * std.max() / np.sqrt(4000))
    np.testing.assert_allclose(draws.std(axis=1), std, rtol=0.1)
    np.testing.assert_allclose(model.predict(x, **z), mean)
    joint = model.sample_y(
        x[[0, 0]] * 0, 3000, random_state=1, groups=[0, 0], concomitant=terms["concomitant"][:2]
    )
    alone = model.sample_y(x[[0, 0]] * 0, 3000, random_state=1, concomitant=terms["concomitant"][:2])
    assert np.corrcoef(joint)[0, 1] > np.corrcoef(alone)[0, 1] + 0.1
    assert model.score(x, y, **terms) > model.score(x, y, **z)
    for wrong, message in (
        ({}, "concomitant must be given, as to fit, not None"),
        ({"concomitant": np.ones((300, 2))}, "must have 1 columns, as in fit, not 2"),
        ({"concomitant": np.ones((299, 1))}, "must have as many rows as X, 300, not 299"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict(x, **wrong)
    assert not hasattr(clone(model), "gate_")


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"groups": np.zeros((200, 2))}, r"groups must have shape \(200,\)"),
        ({"groups": [0, 1]}, "groups must have as many rows as X, 200, not 2"),
        ({"known_labels": np.full(200, 2)}, "known_labels must be whole numbers from -1 to 1 or booleans"),
        ({"known_labels": np.zeros(200)}, "known_labels must be whole numbers"),
        ({"concomitant": np.ones(200)}, "concomitant must be finite numbers"),
        ({"concomitant": np.full((200, 1), np.nan)}, "concomitant must be finite numbers"),
    ],
)
def test_terms_are_checked(rows, terms, message):
    with pytest.raises(ValueError, match=message):
        MixtureOfLinearRegressions(method="em").fit(*rows[:2], **terms)
    with pytest.raises(ValueError, match=f"takes no {next(iter(terms))}"):
        MixtureOfLinearRegressions(method="recursive_em").fit(*rows[:2], **terms)


@pytest.mark.slow
def test_groups_and_weights_are_routed(grouped):
    _, x, y, terms, _ = grouped
    with config_context(enable_metadata_routing=True):
        model = MixtureOfLinearRegressions(method="em", random_state=0)
        model.set_fit_request(groups=True, concomitant=True).set_score_request(groups=True, concomitant=True)
        search = GridSearchCV(model, {"n_components": [1, 2]}, cv=GroupKFold(3)).fit(x, y, **terms)
    assert search.best_params_ == {"n_components": 2}
    assert search.best_estimator_.gate_ is not None


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


@pytest.mark.slow
def test_counts():
    """The likelihood that a Poisson mixture has by SciPy; means, spread and draws are of it."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 2, 300)
    means = np.exp(np.column_stack([0.5 - 0.8 * x, 1.5 + 0.4 * x]))
    y = rng.poisson(means[np.arange(300), rng.integers(0, 2, 300)])
    model = MixtureOfLinearRegressions(2, method="em", family="poisson", random_state=0).fit(x[:, None], y)
    own = np.exp(model.predict_components(x[:, None]))
    joint = stats.poisson.logpmf(y[:, None], own) + np.log(model.weights_)
    np.testing.assert_allclose(model.score(x[:, None], y) * 300, special.logsumexp(joint, axis=1).sum())
    np.testing.assert_allclose(model.log_likelihood_, special.logsumexp(joint, axis=1).sum(), rtol=1e-9)
    mean, std = model.predict(x[:5, None], return_std=True)
    np.testing.assert_allclose(mean, own[:5] @ model.weights_)
    draws = model.sample_y(x[:5, None], n_samples=4000)
    np.testing.assert_allclose(draws.mean(axis=1), mean, rtol=0.1)
    np.testing.assert_allclose(draws.std(axis=1), std, rtol=0.1)


def test_a_family_has_its_own_responses_and_methods():
    X, y = np.arange(8.0)[:, None], np.arange(8.0) - 0.5
    with pytest.raises(ValueError, match="y must be whole numbers of at least 0 with family='poisson'"):
        MixtureOfLinearRegressions(family="poisson").fit(X, y)
    with pytest.raises(ValueError, match="method 'natural_gradient' takes no family"):
        MixtureOfLinearRegressions(family="poisson", method="natural_gradient").fit(X, y)
