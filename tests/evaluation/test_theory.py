"""The limits against numerical integration, against simulated answers, and against reference numbers."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.integrate import quad

from jaxmlr import Mixture, symmetric
from jaxmlr.data.simulate import SimulatedRow
from jaxmlr.evaluation import theory
from jaxmlr.evaluation.tracking import track_limits

MIXTURES = {
    "symmetric": symmetric(jnp.array([0.8, -0.3]), 0.7, 1.3),
    "low noise": symmetric(jnp.array([1.0, -1.5]), 0.6, 0.04),
    "three": Mixture(
        jnp.array([[1.0, 0.5], [-1.0, 0.2], [0.3, -0.4]]),
        jnp.array([0.2, 0.3, 0.5]),
        jnp.array([0.5, 1.0, 2.0]),
    ),
    "four": Mixture(
        jnp.array([[0.0, 0.0], [3.0, 0.1], [1.0, 2.0], [-2.0, -1.0]]),
        jnp.array([0.1, 0.2, 0.3, 0.4]),
        jnp.array(0.3),
    ),
}
PHI = [jnp.array([1.0, 0.5]), jnp.array([-0.7, 2.0])]
CASES = [pytest.param(m, phi, id=f"{name}-{i}") for name, m in MIXTURES.items() for i, phi in enumerate(PHI)]


def parts(mixture, phi):
    lines = np.asarray(mixture.linear_predictors(phi))
    sigma = np.sqrt(np.broadcast_to(mixture.noise_variance, lines.shape))
    return lines, np.asarray(mixture.weights), sigma


def integral(function, lines, weights, sigma):
    """E[function(z, y)] of the mixture, cell by cell, since the nearest line changes half-way."""
    sorted_lines = np.sort(lines)
    ends = [-60.0, *(sorted_lines[1:] + sorted_lines[:-1]) / 2, 60.0]
    total = 0.0
    for k, (line, weight, s) in enumerate(zip(lines, weights, sigma, strict=True)):
        for low, high in itertools.pairwise(ends):
            low, high = max(low, line - 12 * s), min(high, line + 12 * s)
            if low < high:
                density = scipy.stats.norm(line, s).pdf
                total += (
                    weight * quad(lambda y, k=k, f=density: function(k, y) * f(y), low, high, epsabs=1e-12)[0]
                )
    return total


@pytest.mark.parametrize(("mixture", "phi"), CASES)
def test_misclassification_is_its_integral(mixture, phi):
    lines, weights, sigma = parts(mixture, phi)
    expected = integral(lambda k, y: float(np.argmin(np.abs(y - lines)) != k), lines, weights, sigma)
    np.testing.assert_allclose(theory.least_misclassification(mixture, phi), expected, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize(("mixture", "phi"), CASES)
def test_within_cluster_error_is_its_integral(mixture, phi):
    lines, weights, sigma = parts(mixture, phi)
    expected = integral(lambda k, y: np.min((y - lines) ** 2), lines, weights, sigma)
    np.testing.assert_allclose(theory.within_cluster_error(mixture, phi), expected, rtol=1e-8)


@pytest.mark.parametrize(("mixture", "phi"), CASES)
def test_both_are_the_means_of_simulated_answers(mixture, phi):
    rng = np.random.default_rng(11)
    lines, weights, sigma = parts(mixture, phi)
    z = rng.choice(len(lines), size=200_000, p=weights)
    y = lines[z] + sigma[z] * rng.standard_normal(len(z))
    distance = np.abs(y[:, None] - lines)
    for values, limit in (
        (distance.argmin(1) != z, theory.least_misclassification(mixture, phi)),
        (distance.min(1) ** 2, theory.within_cluster_error(mixture, phi)),
    ):
        error = max(values.std() / math.sqrt(len(z)), 1e-5)
        assert abs(values.mean() - limit) < 4.5 * error


@pytest.mark.parametrize("m", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_symmetric_limits_are_the_closed_forms(m, sigma):
    mixture, phi = symmetric(jnp.array([m]), 0.6, sigma**2), jnp.array([1.0])
    wrong = scipy.stats.norm.cdf(-m / sigma)
    peak = 2 * m * sigma * math.sqrt(2 / math.pi) * math.exp(-(m**2) / (2 * sigma**2))
    np.testing.assert_allclose(theory.least_misclassification(mixture, phi), wrong, rtol=1e-12)
    square = sigma**2 + 4 * m**2 * wrong - peak
    np.testing.assert_allclose(theory.within_cluster_error(mixture, phi), square, rtol=1e-10)


@pytest.mark.parametrize(("m", "nearest", "best"), [(0.3, 0.3821, 0.3573), (1.0, 0.1587, 0.1538)])
def test_knowing_p_beats_the_nearest_line_by_the_reference_numbers(m, nearest, best):
    mixture, phi = symmetric(jnp.array([m]), 0.6), jnp.array([1.0])
    np.testing.assert_allclose(theory.least_misclassification(mixture, phi), nearest, atol=5e-5)
    # MAP decides at the answer where both posteriors are equal.
    edge = -math.log(0.6 / 0.4) / (2 * m)
    mass = 0.6 * scipy.stats.norm.cdf(edge - m) + 0.4 * scipy.stats.norm.sf(edge + m)
    np.testing.assert_allclose(mass, best, atol=5e-5)
    y = jnp.linspace(-4, 4, 801)
    labels = mixture.labels(jnp.ones((801, 1)), y)
    np.testing.assert_array_equal(labels, np.where(np.asarray(y) > edge, 0, 1))


@pytest.mark.parametrize(
    ("rho", "share"), [(0.1, 0.0196), (0.2, 0.0742), (0.5, 0.3433), (1.0, 0.7339), (2.0, 0.9783)]
)
def test_information_left_without_labels_is_the_reference(rho, share):
    """Var of the score in b of the balanced model is c(rho) / sigma^2."""
    matrix = theory.information(symmetric(jnp.array([rho]), 0.5), jnp.array([1.0]))
    np.testing.assert_allclose(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1], share, atol=6e-5)


@pytest.mark.parametrize(("mixture", "phi"), CASES)
def test_the_score_is_the_gradient_of_the_log_likelihood(mixture, phi):
    for y in (-2.0, 0.1, 1.7):

        def likelihood(beta, y=y):
            return mixture._replace(coefficients=beta).log_likelihood(phi[None], jnp.array([y]))

        gradient = jax.grad(likelihood)(mixture.coefficients)
        score = theory.line_score(mixture, phi, jnp.array(y))[:, None] * phi[None, :]
        np.testing.assert_allclose(score, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("mixture", "phi"), [case for case in CASES if "three" in case.id or "symm" in case.id]
)
def test_the_score_has_mean_zero_and_the_information_as_variance(mixture, phi):
    rng = np.random.default_rng(3)
    lines, weights, sigma = parts(mixture, phi)
    z = rng.choice(len(lines), size=100_000, p=weights)
    y = lines[z] + sigma[z] * rng.standard_normal(len(z))
    scores = np.asarray(jax.vmap(lambda y: theory.line_score(mixture, phi, y))(jnp.asarray(y)))
    products = scores[:, :, None] * scores[:, None, :]
    for values, expected in ((scores, 0.0), (products, np.asarray(theory.information(mixture, phi)))):
        z_score = (values.mean(0) - expected) / (values.std(0) / math.sqrt(len(z)))
        assert np.abs(z_score).max() < 4.5


def test_cramer_rao_of_a_diagonal_is_a_sum_of_inverses():
    np.testing.assert_allclose(theory.cramer_rao(np.diag([4.0, 16.0]), 1), math.sqrt(1 / 4 + 1 / 16))
    np.testing.assert_allclose(theory.cramer_rao(np.diag([4.0, 16.0]), 2), math.sqrt((1 / 4 + 1 / 16) / 2))
    root = np.random.default_rng(0).normal(size=(5, 4, 4))
    matrices = root @ root.transpose(0, 2, 1) + np.eye(4)
    expected = [math.sqrt(np.trace(np.linalg.inv(m)) / 2) for m in matrices]
    np.testing.assert_allclose(theory.cramer_rao(matrices, 2), expected, rtol=1e-10)


@pytest.mark.parametrize("matrix", [np.zeros((2, 2)), np.ones((2, 2)), np.diag([1.0, 0.0])])
def test_what_is_not_excited_cannot_be_learnt(matrix):
    assert theory.cramer_rao(matrix, 1) == np.inf


def test_the_track_is_the_running_mean_and_the_sum_of_score_products():
    mixture = MIXTURES["symmetric"]
    tracker = track_limits(mixture, ("misclassification", "coefficient_error", "scale"), symmetric=True)
    rng = np.random.default_rng(2)
    phi, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    state = tracker.init(2, jax.random.key(0), jnp.float64)
    assert set(state) == {"misclassification", "coefficient_error"}
    step = jax.jit(tracker.step)
    for n in range(20):
        seen = SimulatedRow(jnp.asarray(phi[n]), jnp.asarray(y[n]), jnp.int32(0))
        state = step(state, jnp.int32(n + 1), seen)
    values = tracker.values(state, jnp.int32(20))
    limits = [theory.least_misclassification(mixture, jnp.asarray(row)) for row in phi]
    np.testing.assert_allclose(values["misclassification"], np.mean(limits), rtol=1e-12)
    scores = [theory.line_score(mixture, jnp.asarray(f), jnp.asarray(t)) for f, t in zip(phi, y, strict=True)]
    gradients = [float(s[0] - s[1]) * row for s, row in zip(scores, phi, strict=True)]
    np.testing.assert_allclose(
        values["coefficient_error"], sum(np.outer(g, g) for g in gradients), rtol=1e-11
    )


@pytest.mark.parametrize("name", MIXTURES)
def test_bayes_misclassification_is_that_of_map_labels(name: str) -> None:
    mixture = MIXTURES[name]
    phi = jnp.array([0.7, -0.4])
    rate = float(theory.bayes_misclassification(mixture, phi))
    lines = np.asarray(mixture.linear_predictors(phi))
    sigma = np.sqrt(np.broadcast_to(mixture.noise_variance, lines.shape))

    def best(y: float) -> float:
        return float(np.max(np.asarray(mixture.weights) * scipy.stats.norm.pdf(y, lines, sigma)))

    y = np.linspace(lines.min() - 9 * sigma.max(), lines.max() + 9 * sigma.max(), 40_001)
    exact = 1 - np.trapezoid([best(v) for v in y[::4]], y[::4])
    np.testing.assert_allclose(rate, exact, atol=1e-3)
    assert rate <= float(theory.least_misclassification(mixture, phi)) + 1e-3


def test_fitted_rate_finds_a_power_law_and_its_interval_covers() -> None:
    rng = np.random.default_rng(0)
    steps = np.array([100, 300, 1000, 3000])
    # Errors of random walks scaled as n^-.4, correlated along n within a trial.
    inside = []
    for _ in range(150):
        walk = np.cumsum(rng.normal(size=(100, 4)) * np.sqrt(np.diff(steps, prepend=0)), axis=1)
        squares = walk**2 / steps * steps**-0.8
        rate = theory.fitted_rate(steps, squares)
        inside.append(rate.low < -0.8 < rate.high)
    assert 0.88 < np.mean(inside) < 0.995
    exact = theory.fitted_rate(steps, np.tile(steps**-1.5, (5, 1)))
    np.testing.assert_allclose(exact, -1.5)


def test_bad_arguments_of_rates() -> None:
    with pytest.raises(ValueError, match="squares must have shape"):
        theory.fitted_rate([1, 2], np.ones((1, 2)))
    with pytest.raises(ValueError, match="level must be"):
        theory.fitted_rate([1, 2], np.ones((3, 2)), level=1.0)
    with pytest.raises(ValueError, match="delta must be at least 0"):
        theory.kappa(-0.1)
    assert theory.kappa(0.25) == 0.75
