"""From names and tables to functions: what is looked up, filled in and suggested."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import Estimator, Info, batch, oracle, recursive, registry, symmetric, two_step
from jaxmlr.data import processes
from jaxmlr.study.declare import check, resolve
from jaxmlr.study.declare.errors import check_key

TRUTH = symmetric(jnp.array([1.0, -1.5]), 0.7, 0.5)


@pytest.mark.parametrize("name", registry.RECURSIVE)
def test_every_method_that_is_named_exists(name):
    assert resolve.factory(("here",), name) is getattr(recursive, name)
    assert not resolve.is_batch("here", {"method": name})


@pytest.mark.parametrize("name", registry.BATCH)
def test_every_batch_method_that_is_named_exists(name):
    assert resolve.factory(("here",), name) is getattr(batch, name)
    assert resolve.is_batch("here", {"method": name})


START = {"coefficients": [[1.0, 0.0], [0.0, 1.0]], "weights": [0.5, 0.5]}
ADAM = {"name": "adam", "learning_rate": 0.1}


def test_tables_inside_a_table_are_mixtures_and_transformations():
    method = resolve.estimator(
        "a", {"method": "online_gradient", "start": START, "transformation": ADAM}, TRUTH
    )
    start = method.mixture(method.init(2))
    np.testing.assert_allclose(start.coefficients, START["coefficients"])
    np.testing.assert_allclose(start.noise_variance, 1)
    phi, y = jnp.array([1.0, 2.0]), jnp.array(3.0)
    moved = method.mixture(method.step(method.init(2), (phi, y))[0])
    np.testing.assert_allclose(
        jnp.abs(moved.coefficients - start.coefficients), 0.1, rtol=1e-5
    )  # as Adam does


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": {"weights": [0.5, 0.5]}}, "estimators.a.start.coefficients is missing"),
        ({"start": START | {"weight": 1}}, "estimators.a.start: unknown name 'weight'"),
        ({"start": START | {"weights": [0.5, 0.6]}}, "estimators.a.start: weights must sum to 1"),
        ({"transformation": {"name": "adamm"}}, "estimators.a.transformation.name: unknown name 'adamm'"),
        ({"transformation": {}}, "estimators.a.transformation.name must be the name of a gradient"),
        ({"transformation": ADAM | {"rate": 1}}, "estimators.a.transformation: unknown name 'rate'"),
        (
            {"transformation": {"name": "constant_schedule", "value": 1.0}},
            "constant_schedule is no gradient tr",
        ),
    ],
)
def test_tables_inside_a_table_are_checked(change, message):
    table = {"method": "online_gradient", "start": START, "transformation": ADAM} | change
    with pytest.raises(ValueError, match=message):
        resolve.estimator("a", table, TRUTH)


@pytest.mark.parametrize("name", resolve.PROCESSES)
def test_every_process_that_is_named_exists_and_fits_any_dimension(name):
    for dim in (2 if name == "closed_loop" else 1, 4):
        check.check_process(("here",), {"kind": name}, dim, "float64")
    assert name in vars(processes)


def test_a_method_may_be_a_function_or_where_to_import_it_from():
    assert resolve.factory(("here",), two_step) is two_step
    assert resolve.factory(("here",), "jaxmlr:two_step") is two_step


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("scal", "did you mean 'scale'"),
        ("scalee", "did you mean 'scale'"),
        ("xyz", "it must be one of bound, scale"),
    ],
)
def test_an_unknown_name_suggests_the_nearest_or_lists_all(name, hint):
    with pytest.raises(ValueError, match=rf"^here: unknown name '{name}'; {hint}"):
        check_key(("here",), name, ["scale", "bound"])


def test_facts_of_the_problem_are_filled_in_unless_the_table_has_them():
    for table, variance in (({}, 0.5), ({"noise_variance": 2.0}, 2.0)):
        method = resolve.estimator("a", {"method": "two_step"} | table, TRUTH)
        assert method.mixture(method.init(2)).noise_variance == variance
    known = resolve.estimator("a", {"method": "oracle"}, TRUTH)
    np.testing.assert_array_equal(known.mixture(known.init(2)).coefficients, TRUTH.coefficients)
    lone = resolve.estimator("a", {"method": "least_squares"}, TRUTH)  # takes neither
    assert lone.mixture(lone.init(2)).coefficients.shape == (1, 2)


def test_lists_become_arrays():
    method = resolve.estimator("a", {"method": "two_step", "initial_direction": [0.5, 0.25]}, TRUTH)
    np.testing.assert_array_equal(method.init(2).direction, [0.5, 0.25])


def test_a_batch_method_has_as_many_lines_as_its_table_says():
    rows = jnp.zeros((20, 2)), jnp.zeros(20), jax.random.key(0)
    for components, wanted in (({}, 2), ({"components": 3}, 3)):
        table = {"method": "em", "start": "spread_lines"} | components
        fit = resolve.batch_method("a", table, TRUTH, 20).fit
        assert jax.eval_shape(fit, *rows).coefficients.shape == (wanted, 2)


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ({"method": "online_em"}, "start"),
        ({"method": "online_gradient", "start": START}, "transformation"),
        ({"method": "online_gradient", "start": START, "transformation": {"name": "adam"}}, "learning_rate"),
    ],
)
def test_an_option_that_a_method_cannot_do_without_is_named(table, name):
    with pytest.raises(ValueError, match=rf"^estimators\.a(\.transformation)?: {name} is missing$"):
        resolve.estimator("a", table, TRUTH)


def drifting(dtype):
    """A method whose state changes its dtype or shape in a step."""
    base = oracle(TRUTH)

    def step(state, row):
        del row
        return state._replace(weights=dtype(state.weights)), Info(jnp.int32(0), jnp.ones(()))

    return Estimator(base.init, step, base.mixture)


@pytest.mark.parametrize("change", [lambda x: x.astype(jnp.float32), lambda x: x[:1], lambda x: (x, x)])
def test_a_step_that_changes_its_state_is_refused(change):
    method = drifting(change)
    start, _ = check.check_state(("here",), method, 2, "float64")
    with pytest.raises(ValueError, match=r"^here: the state must"):
        check.check_steps(("here",), method, start, 2, "float64")


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_what_goes_wrong_in_a_step_is_one_line_that_names_the_method(error):
    def step(state, row):
        raise error("first line\nsecond line")

    method = oracle(TRUTH)._replace(step=step)
    start, _ = check.check_state(("here",), method, 2, "float64")
    with pytest.raises(ValueError, match=r"^here: first line$"):
        check.check_steps(("here",), method, start, 2, "float64")
    with pytest.raises(ValueError, match=r"^here: the mixture has d = 2, the data d = 3"):
        check.check_state(("here",), method, 3, "float64")


def test_shapes_are_found_without_running_anything():
    def init(dim, key=None, dtype=None):
        assert isinstance(key, jax.core.Tracer)
        return jax.random.normal(key, (dim,), dtype)

    method = Estimator(init, lambda state, row: (state, Info(jnp.int32(0), row[1])), lambda state: TRUTH)
    start, _ = check.check_state(("here",), method, 2, "float32")
    assert (start.shape, start.dtype) == ((2,), jnp.float32)
    check.check_steps(("here",), method, start, 2, "float32")
