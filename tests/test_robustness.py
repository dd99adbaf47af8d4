"""Methods with an outlier density: what they solve, and gross errors of any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import disturbances, em, lanes, processes, recursive_em, run, simulate, symmetric
from jaxmlr.evaluation import metrics

TRUTH = symmetric(jnp.array([1.0, -1.5]), 0.7)
START = symmetric(jnp.array([1.3, -1.2]), 0.5)
DENSITY = 0.001


def test_em_raises_its_likelihood_to_a_stationary_point() -> None:
    law = disturbances.contaminated(0.1, 10.0)
    phi, y, _ = simulate(jax.random.key(0), TRUTH, processes.gaussian(), 500, disturbance=law)
    fitted = em(phi, y, START, outlier_density=DENSITY, equal_variance=True, tolerance=1e-10)
    assert fitted.converged
    assert np.all(np.diff(fitted.trace) >= -1e-9)

    def likelihood(beta: jax.Array, variance: jax.Array) -> jax.Array:
        density = jax.scipy.stats.norm.pdf(y[:, None], phi @ beta.T, jnp.sqrt(variance))
        return jnp.sum(jnp.log(DENSITY + density @ fitted.mixture.weights))

    at = fitted.mixture.coefficients, fitted.mixture.noise_variance
    np.testing.assert_allclose(likelihood(*at), fitted.log_likelihood, rtol=1e-9)
    for slope in jax.grad(likelihood, argnums=(0, 1))(*at):
        np.testing.assert_allclose(slope, 0, atol=1e-4)


def test_a_vanishing_density_is_the_normal_model() -> None:
    phi, y, _ = simulate(jax.random.key(1), TRUTH, processes.gaussian(), 300)

    def both(density: float | None) -> tuple:
        method = recursive_em(
            2,
            1.0,
            learn_variance=True,
            initial_coefficients=START.coefficients,
            outlier_density=density,
        )
        fit = em(phi, y, START, outlier_density=density, max_iterations=50)
        return fit._replace(options=None), run(method, phi, y)[0]

    for ours, theirs in zip(both(1e-30), both(None), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), ours, theirs)


def errors(law: disturbances.Disturbance, density: float | None, trials: int) -> np.ndarray:
    """Coefficient errors of recursive_em after 3,000 observations."""

    def trial(index: jax.Array) -> jax.Array:
        truth, start = jax.tree.map(lambda x: x.astype(jnp.float32), (TRUTH, START))
        method = recursive_em(
            2,
            1.0,
            learn_variance=True,
            initial_coefficients=start.coefficients,
            outlier_density=density,
        )
        phi, y, _ = simulate(
            jax.random.key(2), truth, processes.gaussian(), 3000, trial=index, disturbance=law
        )
        return metrics.coefficient_error(method.mixture(run(method, phi, y)[0]), truth)

    return np.asarray(jax.jit(lanes(trial))(jnp.arange(trials, dtype=jnp.int32)))


@pytest.mark.slow
def test_online_em_keeps_its_efficiency_and_withstands_gross_errors() -> None:
    # Without the worst hundredth: one or two trials in 1,000 lose a line early, with and without.
    normal, robust = (
        np.sort(errors(disturbances.gaussian(), density, 500))[:495] ** 2 for density in (None, DENSITY)
    )
    ratio = normal.mean() / robust.mean()
    assert ratio > 0.9
    wild = disturbances.contaminated(0.2, 1000.0)
    assert errors(wild, DENSITY, 200).max() < 0.3
    assert np.median(errors(wild, None, 200)) > 1


def test_bad_densities() -> None:
    phi, y, _ = simulate(jax.random.key(4), TRUTH, processes.gaussian(), 20)
    with pytest.raises(ValueError, match="outlier_density must be greater than 0"):
        em(phi, y, START, outlier_density=0.0)
    with pytest.raises(ValueError, match="outlier_density must be greater than 0"):
        recursive_em(2, outlier_density=-1.0)
