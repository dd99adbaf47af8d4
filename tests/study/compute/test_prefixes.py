"""Batch methods in studies: the numbers are those of a call on the same data."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import jaxmlr
from jaxmlr import Study, batch, processes, simulate, symmetric
from jaxmlr.evaluation import diagnostics, metrics
from jaxmlr.study import run_block, run_study

START = {"coefficients": [[0.5, -0.5], [-0.5, 0.5]], "weights": [0.5, 0.5]}
EM = {"method": "em", "start": START, "at": [40, 100], "max_iterations": 20}
TABLE = {
    "name": "prefixes",
    "problem": {"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.7},
    "estimators": {"two_step": {"method": "two_step"}, "em": EM},
    "trials": 5,
    "steps": 100,
    "record": [10, 100],
    "block": 4,
    "precision": "float64",
    "metrics": list(metrics.METRICS),
    "seed": 3,
}


def own(phi, y, key):
    """A batch method of one's own."""
    del key
    return batch.em(phi, y, symmetric(np.ones(2), 0.6), max_iterations=5).mixture


@pytest.fixture(scope="module")
def study():
    return Study(**TABLE)


@pytest.fixture(scope="module")
def values(study):
    return run_block(study, 1)["em"]  # its first trial, 4, is the last one


def test_steps_of_the_prefixes_are_recorded_and_nothing_is_found_elsewhere(study, values):
    np.testing.assert_array_equal(study.recorded, [10, 40, 100])
    assert study.batch == ("em",)
    assert study.recursive == ("two_step",)
    for name in diagnostics.METRICS:  # they are of streams
        assert np.isnan(values[name]).all()
    for array in (values[name] for name in values.keys() - {*diagnostics.METRICS}):
        np.testing.assert_array_equal(
            np.isfinite(array[0]), [[False] * 4, [True] + [False] * 3, [True] + [False] * 3]
        )


@pytest.mark.parametrize("n", [40, 100])
def test_a_value_is_that_of_a_call_on_the_data_of_the_trial(study, values, n):
    truth = study.problem.mixture("float64")
    data = simulate(jax.random.key(3), truth, processes.gaussian(), n, trial=4)
    start = jaxmlr.Mixture(*(np.array(START[name]) for name in ("coefficients", "weights")), np.array(1.0))
    mixture = jaxmlr.em(data.phi, data.y, start, max_iterations=20).mixture
    computed = {name: float(array[0, study.recorded.tolist().index(n), 0]) for name, array in values.items()}
    assert_allclose(computed["coefficient_error"], metrics.coefficient_error(mixture, truth), rtol=1e-8)
    assert_allclose(computed["scale"], metrics.scale(mixture), rtol=1e-8)

    def wrong_and_error(m):
        distance = np.abs(data.y[:, None] - data.phi @ np.asarray(m.coefficients).T)
        order = np.asarray(metrics.matching(m.coefficients, truth.coefficients))
        return np.mean(np.argmin(distance, 1) != order[data.label]), np.mean(np.min(distance, 1) ** 2)

    wrong, error = wrong_and_error(mixture)
    least_wrong, least_error = wrong_and_error(truth)
    assert_allclose(computed["misclassification"], wrong, atol=1e-12)
    assert_allclose(computed["within_cluster_error"], error, rtol=1e-8)
    assert_allclose(computed["excess_misclassification"], wrong - least_wrong, atol=1e-12)
    assert_allclose(computed["excess_within_cluster_error"], error - least_error, rtol=1e-6)


@pytest.mark.slow
def test_a_grid_of_batch_methods_and_no_recursive_one():
    """At each grid point the numbers are those of the study at that point alone, whatever the blocks."""
    estimators = {
        "em": EM | {"start": "truth", "at": [100], "tie": "symmetric", "known_weights": True},
        "own": {"method": own},
    }
    table = TABLE | {"estimators": estimators, "metrics": ["coefficient_error"]}
    grid = run_study(Study(**table, grid={"problem.p": [0.6, 0.8]}), progress=False)
    problem = TABLE["problem"] | {"p": 0.8}
    alone = run_study(Study(**table | {"problem": problem, "block": 2}), progress=False)
    actual, wanted = grid["coefficient_error_mean"], alone["coefficient_error_mean"]
    assert actual.dims == ("estimator", "problem.p", "step")
    assert_allclose(actual.sel({"problem.p": 0.8}).values, wanted.values, rtol=1e-10)
    assert np.isfinite(actual.sel(step=100)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at": [200]}, "estimators.em.at must hold steps up to 100, not 200"),
        ({"at": []}, r"estimators.em.at must be a list of steps, not \[\]"),
        ({"at": [0]}, "estimators.em.at must be a whole number of at least 1, not 0"),
        ({"tolerance": -1.0}, "estimators.em: tolerance must be at least 0"),
        ({"max_iterations": 0}, "estimators.em: max_iterations must be a whole number of at least 1, not 0"),
        ({"ridge": [1.0, 2.0, 3.0]}, "estimators.em: ridge must have shape"),
        ({"tie": "symetric"}, "estimators.em: tie must be one of"),
        ({"start": "trth"}, "estimators.em.start: unknown name 'trth'; did you mean 'truth'?"),
        ({"start": None}, "estimators.em: start is missing; it must be a mixture or one of truth"),
        ({"start": {"coefficients": [[1.0, 2.0]]}}, "estimators.em.start.weights is missing"),
        ({"start": "truth", "components": 3}, "estimators.em.components: the truth has 2, not 3"),
        (
            {"start": "greedy", "components": 0},
            "estimators.em.components must be a whole number of at least 1",
        ),
        ({"start": "greedy", "components": 3, "ridge": [1.0] * 3}, "estimators.em: ridge must have shape"),
        ({"known_weights": 1}, "estimators.em: known_weights must be true or false, not 1"),
        ({"iterations": 3}, "estimators.em: unknown name 'iterations'"),
        ({"method": "hard-em"}, "estimators.em.method: unknown name 'hard-em'; did you mean 'hard_em'?"),
    ],
)
def test_bad_options_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Study(**TABLE | {"estimators": {"em": EM | change}})
