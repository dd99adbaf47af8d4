"""Labels known in part, grouped rows and gates: R's answers, and derivatives of the likelihood."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture
from jaxmlr.batch import (
    aic,
    bic,
    covariance,
    em,
    fit,
    gate_errors,
    icl,
    posterior,
    predict,
    prior,
    select,
    standard_errors,
)
from jaxmlr.data.datasets import load_panel

EXACT = {"max_iterations": 5000, "tolerance": 1e-12}


@pytest.fixture(scope="module")
def panel(oracles):
    columns = load_panel().columns
    phi = np.column_stack([np.ones(300), columns["x"], columns["z"]])
    start = Mixture(np.array([[1, -1, 0.7], [-1, 1, 0.7]]), np.array([0.5, 0.5]), np.array([0.7, 0.7]))
    labels = columns["label"].astype(int) - 1
    return SimpleNamespace(
        phi=phi, y=columns["y"], start=start, labels=labels, groups=columns["id"].astype(int),
        gate=np.column_stack([np.ones(300), columns["w"]]),
        answers=json.loads((oracles / "sim_panel.json").read_text()),
    )  # fmt: skip


def anchored(panel, count=60):
    """The first rows belong to their component, the others to any."""
    known = np.ones((300, 2), bool)
    known[np.arange(count), 1 - panel.labels[:count]] = False
    return known


def log_likelihood(theta, panel, known=None, groups=None, weight=None):
    """Of two components, as it is written: beta, log-odds, log variances."""
    beta, log_weights = theta[:6].reshape(2, 3), jax.nn.log_softmax(jnp.array([theta[6], 0.0]))
    variance = jnp.exp(theta[7:])
    error = panel.y[:, None] - panel.phi @ beta.T
    density = -0.5 * (jnp.log(2 * jnp.pi * variance)[None] + error**2 / variance[None])
    weight = np.ones(300) if weight is None else weight
    if groups is not None:
        members = jnp.asarray(groups[None, :] == np.unique(groups)[:, None], density.dtype)
        density, weight = members @ (weight[:, None] * density), np.ones(len(members))
    joint = density + log_weights[None]
    if known is not None:
        joint = jnp.where(known, joint, -jnp.inf)
    return jnp.sum(weight * jax.nn.logsumexp(joint, axis=1))


def point(mixture):
    odds = jnp.log(mixture.weights[:1] / mixture.weights[1:])
    return jnp.concatenate([mixture.coefficients.ravel(), odds, jnp.log(mixture.noise_variance)])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("grouped", marks=pytest.mark.slow),
        pytest.param("gated", marks=pytest.mark.slow),
        "gated_grouped",
    ],
)
def test_flexmix(panel, name):
    wanted = panel.answers[name]
    terms = {"groups": panel.groups} if "grouped" in name else {}
    if "gated" in name:
        terms["concomitant"] = panel.gate
    fitted = em(panel.phi, panel.y, panel.start, ddof=3, **EXACT, **terms)
    assert_allclose(fitted.log_likelihood, wanted["loglik"], rtol=1e-9)
    assert_allclose(fitted.mixture.coefficients, wanted["beta"], rtol=1e-5)
    assert_allclose(fitted.mixture.weights, wanted["lambda"], rtol=1e-5)
    if "gated" in name:
        assert_allclose(fitted.gate, wanted["gate"], rtol=1e-3)
    assert_allclose(np.sqrt(fitted.mixture.noise_variance), wanted["sigma"], rtol=1e-5)
    assert_allclose(bic(fitted, 300), wanted["BIC"], rtol=1e-9)
    each = posterior(fitted, panel.phi, panel.y, **terms)
    assert_allclose(each[:3], wanted["posterior_first3"], rtol=1e-4, atol=1e-12)
    assert_allclose(icl(fitted, panel.phi, panel.y, **terms), wanted["ICL"], rtol=1e-7)


@pytest.mark.parametrize("name", ["known", "both", "weighted"])
@pytest.mark.slow
def test_derivatives(panel, name):
    """The optimum is one of the likelihood as it is written; standard errors are of its Hessian."""
    terms = {
        "known": {"known": anchored(panel)},
        "both": {"known": anchored(panel), "groups": panel.groups},
        "weighted": {"groups": panel.groups},
    }[name]
    weight = np.resize([1.0, 2.0, 0.5], 300) if name == "weighted" else None
    fitted = em(panel.phi, panel.y, panel.start, row_weights=weight, **EXACT, **terms)
    assert np.all(np.diff(fitted.trace) > -1e-9)
    assert fitted.result == "converged"
    written = dict(terms, weight=weight)
    if name == "both":
        common = [anchored(panel)[panel.groups == g].all(axis=0) for g in np.unique(panel.groups)]
        written["known"] = np.array(common)
    theta = point(fitted.mixture)
    assert_allclose(fitted.log_likelihood, log_likelihood(theta, panel, **written), rtol=1e-12)
    assert_allclose(jax.grad(log_likelihood)(theta, panel, **written), 0, atol=1e-5)
    inverse = jnp.linalg.inv(-jax.hessian(log_likelihood)(theta, panel, **written))
    errors = standard_errors(fitted, panel.phi, panel.y, row_weights=weight, **terms)
    assert_allclose(errors.coefficients.ravel(), jnp.sqrt(jnp.diag(inverse))[:6], rtol=1e-6)
    share = fitted.mixture.weights[0]
    assert_allclose(errors.weights[0], share * (1 - share) * jnp.sqrt(inverse[6, 6]), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["rows", "grouped"])
def test_gate_derivatives(panel, form):
    """Standard errors of alpha are those of the likelihood as it is written."""
    terms = {"concomitant": panel.gate} | ({"groups": panel.groups} if form == "grouped" else {})
    weight = np.resize([1.0, 2.0, 0.5], 300)
    fitted = em(panel.phi, panel.y, panel.start, row_weights=weight, **EXACT, **terms)
    assert np.all(np.diff(fitted.trace) > -1e-9)
    groups = panel.groups if form == "grouped" else np.arange(300)
    members = jnp.asarray(groups[None, :] == np.unique(groups)[:, None], float)
    first = np.unique(groups, return_index=True)[1]

    def written(theta):
        error, variance = panel.y[:, None] - panel.phi @ theta[:6].reshape(2, 3).T, jnp.exp(theta[6:8])
        density = -0.5 * (jnp.log(2 * jnp.pi * variance)[None] + error**2 / variance[None])
        alpha = jnp.stack([jnp.zeros(2), theta[8:]])
        share = jax.nn.log_softmax(panel.gate @ alpha.T, axis=1)[first]
        if form == "grouped":
            return jnp.sum(jax.nn.logsumexp(members @ (weight[:, None] * density) + share, axis=1))
        return jnp.sum(weight * jax.nn.logsumexp(density + share, axis=1))

    beta, _, variance = fitted.mixture
    theta = jnp.concatenate([beta.ravel(), jnp.log(variance), fitted.gate[1]])
    assert_allclose(fitted.log_likelihood, written(theta), rtol=1e-12)
    assert_allclose(jax.grad(written)(theta), 0, atol=1e-5)
    errors = jnp.sqrt(jnp.diag(jnp.linalg.inv(-jax.hessian(written)(theta))))
    matrix = covariance(fitted, panel.phi, panel.y, row_weights=weight, **terms)
    assert_allclose(gate_errors(fitted, matrix)[1], errors[8:], rtol=1e-6)
    assert_allclose(jnp.sqrt(jnp.diag(matrix))[:6], errors[:6], rtol=1e-6)
    unit_weight = np.ones(60) if form == "grouped" else weight
    shares = prior(fitted, panel.gate[first])
    assert_allclose(fitted.mixture.weights, np.average(shares, axis=0, weights=unit_weight), rtol=1e-12)


def test_gate_that_separates_stays_finite(panel):
    """Here alpha has no maximum: the step shrinks with what it gains, and the likelihood never falls."""
    apart = np.column_stack([np.ones(300), np.where(panel.labels == 1, 30.0, -30.0)])
    known = np.eye(2, dtype=bool)[panel.labels]
    fitted = em(panel.phi, panel.y, panel.start, concomitant=apart, known=known, tolerance=1e-6)
    assert fitted.result == "converged"
    assert np.all(np.isfinite(fitted.gate))
    assert np.all(np.diff(fitted.trace) > -1e-9)
    assert_allclose(prior(fitted, apart)[np.arange(300), panel.labels], 1, atol=1e-5)
    assert_allclose(
        predict(fitted, panel.phi, apart),
        fitted.mixture.linear_predictors(panel.phi)[np.arange(300), panel.labels],
        atol=1e-3,
    )


def test_a_gate_of_ones_is_constant_weights(panel):
    plain = em(panel.phi, panel.y, panel.start, **EXACT)
    gated = em(panel.phi, panel.y, panel.start, concomitant=np.ones((300, 1)), **EXACT)
    assert_allclose(point(gated.mixture), point(plain.mixture), rtol=1e-6)
    assert_allclose(aic(gated), aic(plain), rtol=1e-12)


@pytest.mark.slow
def test_gate_cures_the_bias_of_labels_that_depend_on_the_regressors():
    """Two blobs of regressors, labels that follow the blob in 90 % of rows."""
    rng = np.random.default_rng(0)
    blob = rng.integers(0, 2, 4000)
    x = np.where(blob == 1, 1.0, -1.0) + 0.7 * rng.standard_normal(4000)
    label = np.where(rng.random(4000) < 0.9, blob, 1 - blob)
    y = np.where(label == 1, 1 + x, -1 + 0.5 * x) + rng.standard_normal(4000)
    phi = np.column_stack([np.ones(4000), x])
    truth = np.array([[-1, 0.5], [1, 1.0]])
    error = {}
    for name, terms in (("plain", {}), ("gated", {"concomitant": phi})):
        fitted = fit(phi, y, 2, jax.random.key(0), starts={"spread_lines": 8}, **terms)
        beta = np.asarray(fitted.mixture.coefficients)
        error[name] = min(np.abs(beta - truth).max(), np.abs(beta[::-1] - truth).max())
    assert error["gated"] < 0.25 < error["plain"], error


@pytest.mark.slow
def test_groups_of_one_row_are_rows(panel):
    one = em(panel.phi, panel.y, panel.start, **EXACT)
    other = em(panel.phi, panel.y, panel.start, groups=np.arange(300)[::-1], **EXACT)
    assert_allclose(point(other.mixture), point(one.mixture), rtol=1e-8)
    for form in ("observed", "sandwich"):
        wanted = standard_errors(one, panel.phi, panel.y, form=form)
        errors = standard_errors(other, panel.phi, panel.y, form=form, groups=np.arange(300)[::-1])
        assert_allclose(errors.coefficients, wanted.coefficients, rtol=1e-6)


@pytest.mark.slow
def test_what_is_masked_tells_nothing(panel):
    mask = np.resize([True, True, True, True, False], 300)
    phi = np.where(mask[:, None], panel.phi, np.nan)
    terms = {"known": anchored(panel), "groups": panel.groups}
    fitted = em(phi, panel.y, panel.start, mask=mask, **terms, **EXACT)
    kept = {name: value[mask] for name, value in terms.items()}
    wanted = em(panel.phi[mask], panel.y[mask], panel.start, **kept, **EXACT)
    assert_allclose(fitted.log_likelihood, wanted.log_likelihood, rtol=1e-12)
    assert_allclose(point(fitted.mixture), point(wanted.mixture), rtol=1e-8)


def test_all_labels_known_is_least_squares_in_each(panel):
    known = np.eye(2, dtype=bool)[panel.labels]
    fitted = em(panel.phi, panel.y, panel.start, known=known, tolerance=1e-10)
    for k in (0, 1):
        own = panel.labels == k
        wanted = np.linalg.lstsq(panel.phi[own], panel.y[own], rcond=None)[0]
        assert_allclose(fitted.mixture.coefficients[k], wanted, rtol=1e-9)
    assert_allclose(fitted.mixture.weights, np.bincount(panel.labels) / 300, rtol=1e-12)


@pytest.mark.slow
def test_fit_names_components_by_the_labels_and_finds_the_grouped_optimum(panel):
    known = anchored(panel)
    wanted = em(panel.phi, panel.y, panel.start, known=known, **EXACT)
    fitted = fit(panel.phi, panel.y, 2, jax.random.key(0), known=known)
    assert_allclose(fitted.mixture.coefficients, wanted.mixture.coefficients, atol=1e-5)
    turned = fit(panel.phi, panel.y, 2, jax.random.key(1), known=known[:, ::-1])
    assert_allclose(turned.mixture.coefficients, wanted.mixture.coefficients[::-1], atol=1e-5)
    wanted = em(panel.phi, panel.y, panel.start, groups=panel.groups, **EXACT)
    chosen = select(panel.phi, panel.y, jax.random.key(0), (2,), groups=panel.groups)
    assert_allclose(chosen.best.log_likelihood, wanted.log_likelihood, rtol=1e-9)
    # a sample of the rows has whole groups
    fitted = fit(panel.phi, panel.y, 2, jax.random.key(0), groups=panel.groups, sample=200)
    assert_allclose(fitted.log_likelihood, wanted.log_likelihood, rtol=1e-9)
    assert_allclose(aic(fitted), aic(wanted), rtol=1e-9)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"known": np.ones((300, 2))}, "known must be boolean of shape"),
        ({"known": np.ones((300, 3), bool)}, r"known must be boolean of shape \(300, 2\)"),
        ({"known": np.arange(600).reshape(300, 2) != 8}, None),
        ({"known": np.arange(600).reshape(300, 2) > 8}, "none to row 0"),
        ({"groups": np.zeros(300)}, "groups must be integers"),
        ({"groups": np.zeros(299, int)}, "groups must be integers of shape"),
        ({"groups": np.zeros(300, int), "known": np.resize(np.eye(2, dtype=bool), (300, 2))}, "in common"),
        ({"groups": np.arange(300), "outlier_density": 0.1}, "outlier_density must be None with groups"),
        ({"concomitant": np.ones(300)}, "concomitant must have shape"),
        ({"concomitant": np.full((300, 1), np.nan)}, "concomitant"),
        ({"groups": np.zeros(300, int), "concomitant": np.arange(300.0)[:, None]}, "the same in all rows"),
        ({"known_weights": True, "concomitant": np.ones((300, 1))}, "concomitant must be None where weights"),
    ],
)
def test_bad_terms(panel, terms, message):
    if message is None:
        em(panel.phi, panel.y, panel.start, max_iterations=5000, **terms)
        return
    with pytest.raises(ValueError, match=message):
        em(panel.phi, panel.y, panel.start, **terms)


def test_terms_are_those_of_the_fit(panel):
    plain = em(panel.phi, panel.y, panel.start, max_iterations=1)
    grouped = em(panel.phi, panel.y, panel.start, groups=panel.groups, max_iterations=1)
    gated = em(panel.phi, panel.y, panel.start, concomitant=panel.gate, max_iterations=1)
    with pytest.raises(ValueError, match="concomitant must be given"):
        posterior(gated, panel.phi, panel.y)
    with pytest.raises(ValueError, match="concomitant must have 2 columns"):
        posterior(gated, panel.phi, panel.y, concomitant=panel.gate[:, :1])
    for ask in (standard_errors, icl, posterior):
        with pytest.raises(ValueError, match="groups must be given"):
            ask(grouped, panel.phi, panel.y)
        with pytest.raises(ValueError, match="groups must be None"):
            ask(plain, panel.phi, panel.y, groups=panel.groups)
