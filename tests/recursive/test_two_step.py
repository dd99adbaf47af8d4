"""The two-step recursion against its test vector, an independent loop, closed forms and its symmetries."""

import json
import math
from pathlib import Path

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxmlr import processes, run, simulate, symmetric, two_step
from jaxmlr.recursive.two_step import scale_bound

DATA = Path(__file__).resolve().parents[1] / "oracles" / "data"


def history(estimator, phi, y):
    """The states after every observation, each leaf with a leading axis n, and the infos."""

    def step(state, row):
        state, info = estimator.step(state, row)
        return state, (state, info)

    return lax.scan(step, estimator.init(phi.shape[1], dtype=phi.dtype), (phi, y))[1]


def eq17(seed=1, steps=400, coefficients=(1.0, -1.5), p=0.7, noise_variance=1.0):
    truth = symmetric(jnp.array(coefficients), p, noise_variance)
    observed = simulate(jax.random.key(seed), truth, processes.decaying_ar(), steps)
    return observed.phi, observed.y


# ---- the test vector -----------------------------------------------------------------------------

VECTOR_PHI = jnp.array([[1.0, 0.0], [0.5, -1.0], [-1.0, 2.0], [2.0, 1.0]])
VECTOR_Y = jnp.array([1.2, -0.7, 2.5, -3.0])
VECTOR_THETA = [[0.65, 0.1], [0.544732, 0.521072], [0.397216, 1.111138], [-0.955543, 0.332988]]
VECTOR_P = [[0.152218, 0.012329], [0.012329, 0.157556]]
VECTOR_QR = {
    "em": ([1.004288, 1.000000, 1.615560, 1.585251], [1.010000, 1.060625, 1.308044, 4.939237]),
    "newton": ([1.004330, 1.000000, 1.740878, 1.608261], [1.000196, 1.004887, 1.086791, 4.560173]),
}


@pytest.mark.parametrize("gain", VECTOR_QR)
def test_four_steps_of_the_test_vector(gain):
    estimator = two_step(1.0, delta=0.1, gain=gain, bound=3.0)
    states, info = history(estimator, VECTOR_PHI, VECTOR_Y)
    digits = dict(rtol=0, atol=6e-7)
    np.testing.assert_allclose(states.direction, VECTOR_THETA, **digits)
    np.testing.assert_allclose(states.scale, VECTOR_QR[gain][0], **digits)
    np.testing.assert_allclose(states.precision, VECTOR_QR[gain][1], **digits)
    np.testing.assert_allclose(states.covariance[-1], VECTOR_P, **digits)
    np.testing.assert_array_equal(info.label, [0, 1, 0, 1])
    np.testing.assert_array_equal(states.n, [2, 3, 4, 5])


# ---- an independent implementation ----------------------------------------------------------------


def reference(phi, y, variance, delta, gain, bound, delay, theta0, P0, q, r):
    """The recursion with the direction solved anew at every step from its normal equations."""
    information = np.linalg.inv(P0)
    moment = information @ theta0
    rows = []
    for n, (x, target) in enumerate(zip(phi, y, strict=True), start=1):
        line = np.linalg.solve(information, moment) @ x
        b = q * line
        label = 0 if abs(target - b) <= abs(target + b) else 1
        residual = target - b if label == 0 else target + b
        if n > delay:
            signal_to_noise = b * b / variance
            share = 1 if gain == "em" else 2 * signal_to_noise / (1 + 2 * signal_to_noise)
            r = r + share * line**2
            q = q + line / r * (target * math.tanh(b * target / variance) - b)
            q = min(max(q, 1), max(1, bound * math.sqrt(math.log(n + math.e))))
        information = information + np.outer(x, x) / n**delta
        moment = moment + x * target / n**delta
        rows.append((np.linalg.solve(information, moment), q, r, label, residual))
    theta, scale, precision, labels, residuals = map(np.array, zip(*rows, strict=True))
    return theta, np.linalg.inv(information), scale, precision, labels, residuals


SETTINGS = [
    dict(),
    dict(gain="newton", bound=3.0, delta=0.1),
    dict(gain="newton", bound=np.inf, delay=50),
    dict(noise_variance=0.5, delta=0.4, bound=0.2, initial_precision=4.0),
    dict(
        noise_variance=2.0,
        bound=3.0,
        delay=7,
        initial_direction=np.array([0.5, 0.25]),
        initial_covariance=np.array([[2.0, 0.3], [0.3, 1.0]]),
        initial_scale=1.5,
    ),
    dict(initial_covariance=np.array([3.0, 0.1]), initial_scale=4.0, delta=0.2),
]


@pytest.mark.parametrize("options", SETTINGS)
def test_equals_an_independent_loop(options):
    phi, y = eq17()
    P0 = np.asarray(options.get("initial_covariance", 1.0))
    expected = reference(
        np.asarray(phi),
        np.asarray(y),
        options.get("noise_variance", 1.0),
        options.get("delta", 0.0),
        options.get("gain", "em"),
        options.get("bound", 1.0),
        options.get("delay", 0),
        np.broadcast_to(options.get("initial_direction", 0.1), (2,)),
        P0 if P0.ndim == 2 else np.diag(np.broadcast_to(P0, (2,))),
        options.get("initial_scale", 1.0),
        options.get("initial_precision", 1.0),
    )
    states, info = history(two_step(**options), phi, y)
    actual = (states.direction, states.covariance[-1], states.scale, states.precision, *info)
    for name, a, b in zip(("theta", "P", "q", "r", "label", "residual"), actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=name)


# ---- closed forms ---------------------------------------------------------------------------------

ANSWERS = json.loads((DATA.parent / "sym_iid_d3.json").read_text())
SYM = np.loadtxt(DATA / "sym_iid_d3.csv", delimiter=",", skiprows=1)


@pytest.mark.parametrize("delta", [0.0, 0.2, 0.4])
def test_direction_is_weighted_least_squares_of_the_reference(delta):
    answers = [a for a in ANSWERS["weighted_rls"] if a["delta"] == delta]
    assert [a["t"] for a in answers] == [10, 100, 1000, 2000]
    states, _ = history(two_step(1.0, delta=delta), jnp.asarray(SYM[:, :3]), jnp.asarray(SYM[:, 3]))
    for answer in answers:
        theta, P = (np.asarray(leaf)[answer["t"] - 1] for leaf in states[:2])
        start = P @ np.full(3, 0.1)  # the reference starts at 0, this at .1: least squares is linear in it
        np.testing.assert_allclose(theta - start, answer["theta"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(-np.linalg.slogdet(P)[1], answer["logdet_Pinv"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("gain", ["em", "newton"])
def test_a_million_steps_in_single_precision(gain):
    phi, y = (leaf.astype(jnp.float32) for leaf in eq17(steps=1_000_000, p=0.75))
    estimator = two_step(1.0, gain=gain, bound=3.0, delta=0.1)
    runner = jax.jit(lambda phi, y: run(estimator, phi, y)[0])
    single = runner(phi, y)
    double = runner(phi.astype(jnp.float64), y.astype(jnp.float64))
    P = np.asarray(single.covariance)
    np.testing.assert_array_equal(P, P.T)
    assert np.linalg.eigvalsh(P.astype(np.float64)).min() > 0
    np.testing.assert_allclose(single.direction, double.direction, rtol=0, atol=1e-4)
    np.testing.assert_allclose(single.scale, double.scale, rtol=1e-3)
    assert abs(double.scale * np.linalg.norm(double.direction) / math.hypot(1, 1.5) - 1) < 0.05


# ---- the parameters -------------------------------------------------------------------------------


def test_hyperparameters_may_be_traced():
    phi, y = eq17(steps=60)
    grid = dict(
        noise_variance=[0.5, 2.0],
        delta=[0.0, 0.4],
        bound=[1.0, jnp.inf],
        delay=[0, 20],
        initial_direction=[0.1, -0.3],
        initial_covariance=[1.0, 5.0],
        initial_scale=[1.0, 3.0],
        initial_precision=[1.0, 9.0],
    )

    def final(options):
        return run(two_step(**options), phi, y)[0]

    batch = jax.vmap(final)({name: jnp.array(values) for name, values in grid.items()})
    for k in range(2):
        alone = final({name: values[k] for name, values in grid.items()})
        for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[k], b, rtol=1e-12)


def test_the_truth_may_be_traced_with_the_estimator():
    def final(p):
        phi, y = eq17(p=p, steps=300)
        return run(two_step(gain="newton", bound=3.0, delay=100), phi, y)[0]

    batch = jax.vmap(final)(jnp.array([0.75, 0.9]))
    for k, p in enumerate((0.75, 0.9)):
        for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(final(p)), strict=True):
            np.testing.assert_allclose(a[k], b, rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("delta", 0.2),
        ("initial_scale", 1.3),
        ("noise_variance", 1.3),
        ("initial_precision", 2.0),
        ("bound", 0.9),
    ],
)
def test_gradient_of_the_final_error_is_the_difference_quotient(name, at):
    phi, y = eq17(seed=4, steps=20, p=0.8)

    @jax.jit
    def loss(value):
        estimator = two_step(**{"gain": "newton", "bound": 3.0, name: value})
        beta = estimator.mixture(run(estimator, phi, y)[0]).coefficients[0]
        return jnp.sum((beta - jnp.array([1.0, -1.5])) ** 2)

    quotient = (loss(at + 1e-6) - loss(at - 1e-6)) / 2e-6
    gradient = jax.grad(loss)(at)
    np.testing.assert_allclose(gradient, quotient, rtol=1e-5)
    assert abs(gradient) > 1e-4


def test_bound_is_where_the_scale_stops_and_infinity_switches_it_off():
    phi, y = eq17(p=0.6, coefficients=(2.0, -3.0), steps=300)
    paper, free, wide = (history(two_step(bound=c), phi, y)[0].scale for c in (1.0, jnp.inf, 1e9))
    limit = np.sqrt(np.log(np.arange(1, 301) + np.e))
    assert np.all(paper <= limit * (1 + 1e-15))
    np.testing.assert_allclose(paper[-1], limit[-1], rtol=1e-15)
    assert free[-1] > 1.5 * limit[-1]
    np.testing.assert_array_equal(free, wide)


@pytest.mark.parametrize("n", [1, 10, 10.0, 1e9])
@pytest.mark.parametrize("bound", [0.3, 1.0, 2.5])
def test_scale_bound_is_the_growing_interval(n, bound):
    expected = max(1, bound * math.sqrt(math.log(n + math.e)))
    np.testing.assert_allclose(scale_bound(n, bound), expected, rtol=1e-15)


def test_delay_holds_scale_and_precision_but_not_the_direction():
    phi, y = eq17(steps=10)
    late, _ = history(two_step(delay=4, bound=3.0, initial_scale=1.2, initial_precision=2.0), phi, y)
    soon, _ = history(two_step(bound=3.0, initial_scale=1.2, initial_precision=2.0), phi, y)
    np.testing.assert_array_equal(late.scale[:4], np.full(4, 1.2))
    np.testing.assert_array_equal(late.precision[:4], np.full(4, 2.0))
    assert late.precision[4] > 2
    assert late.scale[4] != 1.2
    np.testing.assert_array_equal(late.direction, soon.direction)


@pytest.mark.parametrize("delta", [0.0, 0.25, 0.45])
def test_the_direction_is_consistent_for_every_delta(delta):
    """The count starts from 1: from 0, 0^delta would fix theta' phi[1] = y[1] for ever."""
    truth = symmetric(jnp.array([1.0, -1.5]), 0.75)
    phi, y, _ = simulate(jax.random.key(7), truth, processes.gaussian(), 20_000)
    states, _ = history(two_step(delta=delta), phi, y)
    assert phi[0] @ states.covariance[0] @ phi[0] > 0
    np.testing.assert_allclose(states.direction[-1], [0.5, -0.75], atol=0.08)


@pytest.mark.parametrize("gain", ["em", "newton"])
@pytest.mark.parametrize(("p", "sign"), [(0.8, 1), (0.2, -1)])
def test_the_mixture_reports_the_more_frequent_component_first(gain, p, sign):
    phi, y = eq17(p=p, steps=30_000)
    estimator = two_step(gain=gain, bound=3.0, delay=100)
    estimate = estimator.mixture(run(estimator, phi, y)[0])
    np.testing.assert_allclose(estimate.coefficients[0], [sign, -1.5 * sign], atol=0.15)
    np.testing.assert_allclose(estimate.weights, [0.8, 0.2], atol=0.03)
    np.testing.assert_array_equal(estimate.coefficients[1], -estimate.coefficients[0])


def test_a_start_or_a_diverged_state_has_a_mixture_too():
    estimator = two_step(2.0)
    start = estimator.init(3)
    np.testing.assert_array_equal(estimator.mixture(start).weights, [1.0, 0.0])
    lost = start._replace(direction=start.direction * jnp.nan)
    assert np.isnan(estimator.mixture(lost).coefficients).all()


BAD = [
    (dict(noise_variance=0.0), "noise_variance must be greater than 0"),
    (dict(noise_variance="1"), "noise_variance must be a real number"),
    (dict(delta=-0.1), "delta must be at least 0"),
    (dict(gain="sgd"), "gain must be one of 'em', 'newton', not 'sgd'"),
    (dict(bound=0.0), "bound must be greater than 0"),
    (dict(bound=np.nan), "bound must be greater than 0 and a number"),
    (dict(delay=-1), "delay must be at least 0"),
    (dict(initial_direction=0.0), "initial_direction must not be zero"),
    (dict(initial_direction=np.zeros(2)), "initial_direction must not be zero"),
    (dict(initial_direction=np.inf), "initial_direction must be finite"),
    (dict(initial_direction=np.ones(3)), r"initial_direction must have shape \(\) or \(2,\), not \(3,\)"),
    (dict(initial_covariance=0.0), "initial_covariance must be greater than 0"),
    (dict(initial_covariance=np.array([1.0, -1.0])), "initial_covariance must be greater than 0"),
    (
        dict(initial_covariance=np.array([[1.0, 2.0], [2.0, 1.0]])),
        "smallest eigenvalue of initial_covariance",
    ),
    (dict(initial_covariance=np.array([[1.0, 0.5], [0.0, 1.0]])), "initial_covariance must be a symmetric"),
    (dict(initial_covariance=np.ones((2, 3))), "initial_covariance must be a symmetric matrix"),
    (dict(initial_covariance=np.ones(3)), r"initial_covariance must have shape \(\), \(2,\) or \(2, 2\)"),
    (dict(initial_scale=0.5), "initial_scale must be at least 1"),
    (dict(initial_precision=0.0), "initial_precision must be greater than 0"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_bad_argument_is_named(options, message, wrap):
    with pytest.raises(ValueError, match=message):
        wrap(lambda: two_step(**options).init(2))()


# ---- symmetries -----------------------------------------------------------------------------------


@jax.jit
def final_state(phi, y, variance, start, r):
    estimator = two_step(
        variance, gain="newton", bound=2.0, delta=0.1, initial_direction=start, initial_precision=r
    )
    return run(estimator, phi, y)[0]


tame = st.floats(-3, 3, width=32)
data_sets = st.tuples(
    hnp.arrays(np.float64, (12, 3), elements=tame), hnp.arrays(np.float64, 12, elements=tame)
)
START = np.array([0.1, -0.2, 0.3])


@settings(max_examples=30, deadline=None)
@given(data_sets)
def test_the_sign_of_y_is_the_sign_of_theta(data):
    phi, y = data
    plus, minus = final_state(phi, y, 1.0, START, 1.0), final_state(phi, -y, 1.0, -START, 1.0)
    np.testing.assert_array_equal(minus.direction, -plus.direction)
    for a, b in zip(plus[1:], minus[1:], strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=30, deadline=None)
@given(data_sets, st.sampled_from([2.0**-10, 0.5, 4.0, 2.0**20]))
def test_units_of_y_are_units_of_theta(data, unit):
    phi, y = data
    base = final_state(phi, y, 1.0, START, 1.0)
    scaled = final_state(phi, unit * y, unit**2, unit * START, unit**2)
    np.testing.assert_array_equal(scaled.direction, unit * base.direction)
    np.testing.assert_array_equal(scaled.scale, base.scale)
    np.testing.assert_array_equal(scaled.precision, unit**2 * base.precision)


@settings(max_examples=30, deadline=None)
@given(data_sets, st.permutations(range(3)))
def test_the_order_of_coordinates_is_the_order_of_theta(data, order):
    phi, y = data
    base = final_state(phi, y, 1.0, START, 1.0)
    moved = final_state(phi[:, order], y, 1.0, START[order], 1.0)
    np.testing.assert_allclose(moved.direction, base.direction[jnp.array(order)], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moved.covariance, base.covariance[np.ix_(order, order)], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moved.scale, base.scale, rtol=1e-9)
