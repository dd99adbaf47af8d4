"""EM against the paths and optima that R's packages and plain R gave."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr import Mixture, symmetric
from jaxmlr.batch import em, from_labels, hard_em

OPTIMA = [
    "sim_pitch", "sim_pitch__equalvar", "sim_pitch__k3", "sim_curve", "sim_factors", "sim_small",
    "sim_small__equalvar", "sim_k2_d2", "engel",
]  # fmt: skip
FAST = {"sim_pitch", "sim_pitch__equalvar", "engel"}
FLEXMIX = [name for name in OPTIMA if "equalvar" not in name]  # it has no common variance


def cases(names):
    """A program is compiled for every data set: the fast tests take a few."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST)) for name in names]


def assert_same(actual, wanted, rtol):
    scale = np.abs(wanted.coefficients).max()
    assert_allclose(actual.coefficients, wanted.coefficients, rtol=rtol, atol=rtol * scale)
    assert_allclose(actual.weights, wanted.weights, rtol=rtol)
    assert_allclose(np.sqrt(actual.noise_variance), np.sqrt(wanted.noise_variance), rtol=rtol)


@pytest.mark.parametrize("name", cases(OPTIMA))
@pytest.mark.parametrize("steps", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_steps(oracles, datasets, name, steps):
    answers, phi, y = datasets.oracle(oracles, name)
    start = datasets.mixture(answers["mixtools"]["start"])
    fit = em(phi, y, start, max_iterations=steps, tolerance=0.0, equal_variance=answers["equal_variance"])
    wanted = answers[f"em_after_{steps}"]
    assert_same(fit.mixture, datasets.mixture(wanted), 1e-8)
    assert_allclose(fit.log_likelihood, wanted["loglik"], rtol=1e-9)
    assert int(fit.iterations) == steps


@pytest.mark.parametrize("name", cases(OPTIMA))
def test_optimum_is_where_em_ends(oracles, datasets, name):
    answers, phi, y = datasets.oracle(oracles, name)
    best = answers["mle"]
    start = datasets.mixture(best)
    start = start._replace(
        coefficients=start.coefficients * 1.001, noise_variance=start.noise_variance * 1.01
    )
    fit = em(phi, y, start, max_iterations=5000, tolerance=1e-13, equal_variance=answers["equal_variance"])
    assert_same(fit.mixture, datasets.mixture(best), 1e-8)
    assert_allclose(fit.log_likelihood, best["loglik"], rtol=1e-9)
    assert bool(fit.converged)
    assert_allclose(fit.mixture.posterior(phi[:5], y[:5]), best["posterior_first5"], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    "name", cases(name for name in OPTIMA if name != "engel")
)  # there mixtools restarted
def test_path(oracles, datasets, name):
    answers, phi, y = datasets.oracle(oracles, name)
    known = np.array(answers["mixtools"]["loglik_trajectory"])
    start = datasets.mixture(answers["mixtools"]["start"])
    fit = em(
        phi, y, start, max_iterations=len(known) - 1, tolerance=0.0, equal_variance=answers["equal_variance"]
    )
    assert_allclose(fit.trace, known, rtol=1e-9)
    assert np.all(np.diff(fit.trace) > -1e-9)


@pytest.mark.parametrize("name", cases(FLEXMIX))
def test_ddof_reproduces_flexmix(oracles, datasets, name):
    answers, phi, y = datasets.oracle(oracles, name)
    wanted = answers["flexmix"]
    fit = em(phi, y, datasets.mixture(wanted), ddof=phi.shape[1], max_iterations=5000, tolerance=1e-12)
    # flexmix stops at a relative 1e-14 in the log-likelihood: about 1e-7 in the parameters
    assert_same(fit.mixture, datasets.mixture(wanted), 2e-6)
    assert_allclose(fit.log_likelihood, wanted["loglik"], rtol=1e-8)


@pytest.mark.parametrize("name", cases(FLEXMIX))
def test_hard_em_reproduces_flexmix(oracles, datasets, name):
    answers, phi, y = datasets.oracle(oracles, name)
    wanted = answers["flexmix_hard"]
    labels = datasets.mixture(answers["mixtools"]["start"]).labels(phi, y)
    start = from_labels(phi, y, labels, len(wanted["lambda"]), ddof=phi.shape[1])
    fit = hard_em(phi, y, start, ddof=phi.shape[1], tolerance=0.0)
    order = np.argsort(fit.mixture.coefficients[:, -1])  # as the reference is
    fit = fit._replace(mixture=Mixture(*(leaf[order] for leaf in fit.mixture)))
    assert_allclose(fit.mixture.coefficients, wanted["beta"], rtol=1e-8, atol=1e-10)
    assert_allclose(np.sqrt(fit.mixture.noise_variance), wanted["sigma"], rtol=1e-8)
    assert_allclose(fit.mixture.weights * len(y), wanted["cluster_sizes"])
    assert_allclose(fit.log_likelihood, wanted["loglik"], rtol=1e-9)
    # what flexmix prints as weights are the means of the posteriors under the shares of the labels
    assert_allclose(jnp.mean(fit.mixture.posterior(phi, y), axis=0), wanted["lambda"], rtol=1e-8)


def test_common_coefficients(oracles, datasets):
    """A scale mixture about one line."""
    wanted = json.loads((oracles / "engel__common_beta.json").read_text())
    phi, y = datasets.design(oracles / wanted["csv"], "engel")
    beta = np.array([0.1, 0.5])
    start = Mixture(np.stack([beta, beta]), np.array([0.5, 0.5]), np.array([0.05, 0.2]) ** 2)
    fit = em(phi, y, start, tie="common", max_iterations=3000, tolerance=1e-12)
    assert np.all(np.diff(fit.trace) > -1e-9)
    assert_allclose(fit.log_likelihood, wanted["loglik"], rtol=1e-10)
    assert_allclose(fit.mixture.coefficients[0], wanted["beta"], rtol=1e-7)
    assert_allclose(np.sqrt(fit.mixture.noise_variance), wanted["sigma"], rtol=1e-7)
    assert_allclose(fit.mixture.weights, wanted["lambda"], rtol=1e-7)


@pytest.mark.parametrize("unbalanced", [True, False])
def test_symmetric_steps(oracles, datasets, unbalanced):
    answers, phi, y = datasets.oracle(oracles, "sym_iid_d3")
    truth = answers["truth"]
    wanted = answers["em_from_half_truth_p_known" if unbalanced else "em_from_half_truth_balanced_tanh"]
    start = symmetric(np.array(truth["beta"]) / 2, truth["p"] if unbalanced else 0.5, 1.0)
    for steps in (1, 2, 10):
        fit = em(
            phi, y, start, tie="symmetric", known_weights=True, known_variance=True,
            max_iterations=steps, tolerance=0.0,
        )  # fmt: skip
        assert_allclose(fit.mixture.coefficients[0], wanted[f"step{steps}"], rtol=1e-8)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("mle_p_sigma_known", {"known_weights": True, "known_variance": True}),
        ("mle_sigma_known", {"known_variance": True}),
        ("mle_all", {"equal_variance": True}),
    ],
)
def test_symmetric_optima(oracles, datasets, name, known):
    answers, phi, y = datasets.oracle(oracles, "sym_iid_d3")
    wanted = answers[name]
    start = symmetric(np.array(answers["truth"]["beta"]), 0.7, 1.0)
    fit = em(phi, y, start, tie="symmetric", tolerance=1e-12, **known)
    # optim stopped at about 1e-8 in the likelihood's argument
    assert_allclose(fit.mixture.coefficients[0], wanted["beta"], rtol=2e-6)
    assert_allclose(fit.mixture.weights[0], wanted.get("p", 0.7), rtol=2e-6)
    assert_allclose(np.sqrt(fit.mixture.noise_variance), wanted.get("sigma", 1.0), rtol=2e-6)
    assert_allclose(fit.log_likelihood, wanted["loglik"], rtol=1e-9)
    assert_allclose(fit.mixture.coefficients[1], -fit.mixture.coefficients[0])
