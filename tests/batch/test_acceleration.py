"""Long steps reach what EM reaches, in fewer steps, and keep what is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxmlr import Mixture
from jaxmlr.batch import steps
from jaxmlr.batch.acceleration import LONG, begun, longer, next_goal, point
from jaxmlr.batch.constraints import Constraints, MStepOptions
from jaxmlr.batch.em import iterate
from jaxmlr.batch.problem import prepare

START = Mixture(np.array([[0.8, 1.2], [0.2, 0.3]]), np.array([0.5, 0.5]), np.array([1.0, 1.0]))
OPTIONS = MStepOptions(jnp.zeros(2), jnp.asarray(1e-9), jnp.asarray(0.0))


def near_lines(n=400):
    """Two lines so near that EM takes hundreds of steps."""
    rng = np.random.default_rng(5)
    phi = np.column_stack([np.ones(n), rng.normal(size=n)])
    lines = np.array([[1.0, 1.0], [0.0, -0.2]])[(rng.random(n) < 0.4).astype(int)]
    return phi, np.sum(phi * lines, axis=1) + 1.1 * rng.normal(size=n)


def both(phi, y, start=START, **options):
    """Fits with long steps and without."""
    given = {"max_iterations": 5000, "tolerance": None, "mask": None, "row_weights": None, **options}
    problem, constraints = prepare(phi, y, start, **given)
    run = functools.partial(iterate, constraints=constraints, e_step=steps.e_step, max_iterations=5000)
    return run(*problem, accelerated=jnp.ones((), bool)), run(*problem)


@pytest.mark.parametrize(
    "options",
    [{}, {"known_weights": True, "ridge": 0.5}, {"equal_variance": True}],
    ids=["free", "ridge", "one"],
)
def test_the_optimum_is_that_of_em_in_half_of_the_steps(options):
    fast, slow = both(*near_lines(), **options)
    assert bool(fast.converged)
    assert bool(slow.converged)
    assert int(fast.iterations) < int(slow.iterations) / 2
    assert_allclose(fast.log_likelihood, slow.log_likelihood, atol=1e-6)
    assert_allclose(fast.mixture.coefficients, slow.mixture.coefficients, atol=2e-4)
    assert np.all(np.diff(np.asarray(fast.trace)) >= -1e-9)
    if options.get("known_weights"):
        assert_array_equal(fast.mixture.weights, START.weights)


def test_units_do_not_matter():
    phi, y = near_lines()
    units = np.array([1.0, 1024.0])
    plain, _ = both(phi, y)
    scaled, _ = both(
        phi * units, 8 * y, Mixture(8 * START.coefficients / units, START.weights, np.full(2, 64.0))
    )
    assert abs(int(plain.iterations) - int(scaled.iterations)) <= 3
    assert_allclose(
        8 * np.asarray(plain.mixture.coefficients) / units, scaled.mixture.coefficients, rtol=1e-5
    )


def test_an_end_by_the_number_of_steps_is_no_long_step():
    phi, y = near_lines()
    problem, constraints = prepare(
        phi, y, START, max_iterations=60, tolerance=None, mask=None, row_weights=None
    )
    run = functools.partial(iterate, constraints=constraints, e_step=steps.e_step, max_iterations=60)
    for limit in range(1, 12):
        fit = run(*problem, jnp.asarray(limit, jnp.int32), accelerated=jnp.ones((), bool))
        assert_allclose(fit.log_likelihood, fit.trace[limit], rtol=1e-12)


def test_of_a_linear_map_the_long_step_is_the_fixed_point():
    """Along one direction x -> c + a (x - c) has x' = c, whatever a."""
    fixed, at = np.array([[2.0, -1.0], [0.5, 3.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    mixtures = [START._replace(coefficients=jnp.asarray(fixed + 0.9**k * at)) for k in range(3)]
    moments = steps.e_step(*prepare_rows())
    first = jax.tree.map(lambda b, a: b - a, point(mixtures[1], None), point(mixtures[0], None))
    mixture, _ = longer((mixtures[1], None), (mixtures[2], None), first, moments, Constraints(), OPTIONS)
    assert_allclose(mixture.coefficients, fixed, atol=1e-12)
    assert_allclose(mixture.weights, START.weights, rtol=1e-15)


def prepare_rows():
    problem, _ = prepare(*near_lines(), START, max_iterations=1, tolerance=None, mask=None, row_weights=None)
    return problem[0], START


def test_a_long_step_that_is_refused_is_taken_back():
    moments = steps.e_step(*prepare_rows())
    back = START._replace(weights=np.array([0.3, 0.7]))
    track = begun(back, None)._replace(turn=jnp.asarray(LONG, jnp.int32), refused=jnp.ones((), bool))
    may = jnp.ones((), bool)
    (goal, _), after = next_goal(track, (START, None), (START, None), may, moments, Constraints(), OPTIONS)
    assert_array_equal(goal.weights, back.weights)
    assert int(after.turn) == 0
