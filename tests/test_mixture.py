"""The mixture against SciPy in double precision, the reference answers, and hostile values."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxmlr import Mixture, symmetric

RNG = np.random.default_rng(0)
PHI, Y = RNG.normal(size=(50, 3)), 3 * RNG.normal(size=50)

MIXTURES = {
    "one": Mixture(jnp.array([[1.0, -2.0, 0.5]]), jnp.array([1.0]), jnp.array(0.7)),
    "symmetric": symmetric(jnp.array([1.0, -1.5, 0.3]), 0.6, 1.3),
    "common variance": Mixture(
        jnp.asarray(RNG.normal(size=(3, 3))), jnp.array([0.5, 0.3, 0.2]), jnp.array(2.0)
    ),
    "own variances": Mixture(
        jnp.asarray(RNG.normal(size=(4, 3))),
        jnp.array([0.4, 0.3, 0.2, 0.1]),
        jnp.array([0.1, 1.0, 2.0, 30.0]),
    ),
}


@pytest.fixture(params=MIXTURES)
def mixture(request):
    return MIXTURES[request.param]


@jax.jit
def answers(mixture, phi, y):
    """Everything that a mixture says of data, compiled once for each shape."""
    return {
        "log_likelihood": mixture.log_likelihood(phi, y),
        "posterior": mixture.posterior(phi, y),
        "map": mixture.labels(phi, y),
        "nearest": mixture.labels(phi, y, "nearest"),
        "predict": mixture.predict(phi),
    }


def log_joint(mixture, phi, y):
    """log weights[k] + log N(y; beta_k' phi, sigma_k^2) by SciPy, (n, K)."""
    beta, weights, variance = map(np.asarray, mixture)
    return np.log(weights) + stats.norm.logpdf(np.asarray(y)[:, None], phi @ beta.T, np.sqrt(variance))


# ---- against SciPy --------------------------------------------------------------------------------


def test_log_likelihood(mixture):
    expected = special.logsumexp(log_joint(mixture, PHI, Y), axis=1).sum()
    assert mixture.log_likelihood(PHI, Y).shape == ()
    np.testing.assert_allclose(mixture.log_likelihood(PHI, Y), expected, rtol=1e-12)


def test_posterior(mixture):
    expected = special.softmax(log_joint(mixture, PHI, Y), axis=1)
    np.testing.assert_allclose(answers(mixture, PHI, Y)["posterior"], expected, rtol=1e-11)


def test_labels_of_both_rules(mixture):
    most_probable, nearest = (answers(mixture, PHI, Y)[rule] for rule in ("map", "nearest"))
    assert most_probable.dtype == nearest.dtype == jnp.int32
    np.testing.assert_array_equal(most_probable, log_joint(mixture, PHI, Y).argmax(1))
    distance = np.abs(Y[:, None] - PHI @ np.asarray(mixture.coefficients).T)
    np.testing.assert_array_equal(nearest, distance.argmin(1))


def test_predict_is_the_mean(mixture):
    expected = PHI @ np.asarray(mixture.coefficients).T @ np.asarray(mixture.weights)
    np.testing.assert_allclose(answers(mixture, PHI, Y)["predict"], expected, rtol=1e-11, atol=1e-13)


def test_the_two_rules_differ_where_weights_matter():
    mixture = symmetric(jnp.array([1.0]), 0.9)
    phi, y = jnp.array([[0.5]]), jnp.array([-0.1])
    assert mixture.labels(phi, y, "nearest")[0] == 1
    assert mixture.labels(phi, y, "map")[0] == 0


def test_ties_go_to_the_lower_index():
    mixture = symmetric(jnp.array([1.0, 0.0]), 0.5)
    for rule in ("map", "nearest"):
        np.testing.assert_array_equal(mixture.labels(PHI[:, :2], 0 * Y, rule), np.zeros(50, int))


def test_another_rule_is_refused():
    with pytest.raises(ValueError, match="rule must be one of 'map', 'nearest', not 'soft'"):
        MIXTURES["one"].labels(PHI, Y, "soft")


# ---- against the reference answers ----------------------------------------------------------------

COLUMNS = {  # response and regressors of each file
    "sim_pitch": ("y", ["x"]),
    "sim_curve": ("y", ["x", "x2"]),
    "sim_factors": ("y", ["x1", "x2", "x3"]),
    "sim_small": ("y", ["x"]),
    "sim_k2_d2": ("y", ["x1", "x2"]),
    "engel": ("foodexp_k", ["income_k"]),
}


def columns(path, names):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [np.array([float(row[name]) for row in rows]) for name in names]


@pytest.mark.parametrize("name", [*COLUMNS, "sim_pitch__equalvar", "sim_pitch__k3", "sim_small__equalvar"])
def test_likelihood_and_posterior_of_the_reference_fits(oracles, name):
    answer = json.loads((oracles / f"{name}.json").read_text())
    response, regressors = COLUMNS[name.split("__")[0]]
    y, *x = columns(oracles / answer["csv"], [response, *regressors])
    phi = np.column_stack([np.ones_like(y), *x] if answer["intercept"] else x)
    mle = answer["mle"]
    fitted = Mixture(
        jnp.array(mle["beta"]), jnp.array(mle["lambda"]), jnp.square(jnp.array(mle["sigma"], dtype=float))
    ).validated()
    says = answers(fitted, phi, y)
    np.testing.assert_allclose(says["log_likelihood"], mle["loglik"], rtol=1e-9)
    np.testing.assert_allclose(says["posterior"][:5], mle["posterior_first5"], rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(np.bincount(says["map"]), mle["map_counts"])


@pytest.mark.parametrize("fit", ["mle_p_sigma_known", "mle_sigma_known", "mle_all"])
def test_likelihood_of_the_symmetric_reference_fits(oracles, fit):
    answer = json.loads((oracles / "sym_iid_d3.json").read_text())
    *x, y = columns(oracles / answer["csv"], ["x1", "x2", "x3", "y"])
    values = {**answer["truth"], **answer[fit]}
    mixture = symmetric(jnp.array(values["beta"]), values["p"], values["sigma"] ** 2)
    np.testing.assert_allclose(mixture.log_likelihood(np.column_stack(x), y), values["loglik"], rtol=1e-9)


def test_misclassification_of_the_symmetric_reference(oracles):
    answer = json.loads((oracles / "sym_iid_d3.json").read_text())
    *x, y, label = columns(oracles / answer["csv"], ["x1", "x2", "x3", "y", "label"])
    truth = answer["truth"]
    mixture = symmetric(jnp.array(truth["beta"]), truth["p"], truth["sigma"] ** 2)
    for rule, expected in (("map", "bayes"), ("nearest", "sign")):
        errors = np.mean(
            np.where(np.asarray(mixture.labels(np.column_stack(x), y, rule)) == 0, 1, -1) != label
        )
        np.testing.assert_allclose(errors, answer[f"misclassified_{expected}_at_truth"], rtol=1e-12)


# ---- hostile values -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("scale", [1e-15, 1e3, 1e15])
def test_far_from_every_line_nothing_overflows(mixture, dtype, scale):
    cast = Mixture(*(leaf.astype(dtype) for leaf in mixture))
    phi, y = (jnp.asarray(scale * leaf, dtype) for leaf in (PHI, Y))
    says = answers(cast, phi, y)
    assert np.isfinite(says["log_likelihood"])
    np.testing.assert_allclose(np.sum(says["posterior"], 1), np.ones(50), rtol=1e-5)
    assert says["posterior"].dtype == says["predict"].dtype == says["log_likelihood"].dtype == dtype


@pytest.mark.parametrize("variance", [1e-12, 1e12])
def test_any_variance_keeps_the_likelihood_exact(variance):
    mixture = symmetric(jnp.array([1.0, -1.5, 0.3]), 0.999999, variance)
    expected = special.logsumexp(log_joint(mixture, PHI, Y), axis=1).sum()
    np.testing.assert_allclose(mixture.log_likelihood(PHI, Y), expected, rtol=1e-12)


def test_a_component_without_weight_is_ignored():
    two = MIXTURES["symmetric"]._replace(weights=jnp.array([1.0, 0.0]))
    one = Mixture(two.coefficients[:1], jnp.ones(1), two.noise_variance)
    np.testing.assert_allclose(two.log_likelihood(PHI, Y), one.log_likelihood(PHI, Y), rtol=1e-12)
    np.testing.assert_array_equal(two.posterior(PHI, Y)[:, 1], np.zeros(50))


# ---- symmetric ------------------------------------------------------------------------------------


def test_symmetric_has_two_opposite_lines():
    mixture = symmetric([1, -2], 0.75, 2)
    assert {leaf.dtype for leaf in mixture} == {jnp.dtype(float)}
    np.testing.assert_array_equal(mixture.coefficients, [[1, -2], [-1, 2]])
    np.testing.assert_array_equal(mixture.weights, [0.75, 0.25])
    np.testing.assert_array_equal(mixture.noise_variance, 2.0)
    assert symmetric(jnp.ones(2, jnp.float32), 0.5).weights.dtype == jnp.float32


def test_symmetric_with_the_other_sign_is_the_same_law():
    a, b = symmetric(jnp.array([1.0, -1.5, 0.3]), 0.6), symmetric(jnp.array([-1.0, 1.5, -0.3]), 0.4)
    np.testing.assert_allclose(a.log_likelihood(PHI, Y), b.log_likelihood(PHI, Y), rtol=1e-12)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((1.0, 0.5), r"coefficients must have shape \(d,\), not \(\)"),
        ((np.ones((2, 2)), 0.5), r"coefficients must have shape \(d,\), not \(2, 2\)"),
        (([1.0, np.nan], 0.5), "coefficients must be finite"),
        (([1.0], 0.0), "p must be greater than 0 and less than 1"),
        (([1.0], 1.0), "p must be greater than 0 and less than 1"),
        (([1.0], 0.5, 0.0), "noise_variance must be greater than 0"),
    ],
)
def test_symmetric_names_a_bad_argument(args, message):
    with pytest.raises(ValueError, match=message):
        symmetric(*args)


# ---- validated ------------------------------------------------------------------------------------

BETA, HALF, ONE = jnp.ones((2, 3)), jnp.array([0.5, 0.5]), jnp.array(1.0)


def test_a_valid_mixture_is_returned_as_it_is(mixture):
    assert mixture.validated() is mixture


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((BETA[0], HALF, ONE), r"coefficients must have shape \(K, d\), not \(3,\)"),
        ((BETA, HALF[:1], ONE), r"weights must have shape \(2,\), not \(1,\)"),
        ((BETA, HALF, jnp.ones(3)), r"noise_variance must have shape \(\) or \(2,\), not \(3,\)"),
        ((BETA, HALF.astype(jnp.float32), ONE), "one floating dtype, not .'float32', 'float64'."),
        ((BETA, [True, False], ONE), "weights must hold real numbers, not bool"),
        (([["a", "b"]], [1], 1), "coefficients must hold real numbers, not <U1"),
        ((BETA.at[0, 0].set(jnp.inf), HALF, ONE), "coefficients must be finite"),
        ((BETA, jnp.array([1.0, 0.0]), ONE), "weights must be greater than 0"),
        ((BETA, jnp.array([0.5, 0.4]), ONE), "weights must sum to 1, not 0.9"),
        ((BETA, HALF, -ONE), "noise_variance must be greater than 0"),
        ((BETA, HALF, jnp.array([1.0, jnp.nan])), "noise_variance must be greater than 0"),
    ],
)
def test_validated_names_what_is_wrong(parts, message):
    with pytest.raises(ValueError, match=message):
        Mixture(*parts).validated()


def test_integers_and_lists_are_numbers():
    plain = Mixture([[1, -2, 0], [-1, 2, 3]], [0.5, 0.5], 2)
    floats = Mixture(*(jnp.asarray(leaf, float) for leaf in plain))
    whole = np.round(5 * PHI).astype(int), np.round(5 * Y).astype(int)
    for phi, y in (whole, tuple(part.tolist() for part in whole)):
        rows = np.asarray(phi, float), np.asarray(y, float)
        np.testing.assert_array_equal(plain.log_likelihood(phi, y), floats.log_likelihood(*rows))
        np.testing.assert_array_equal(plain.posterior(phi, y), floats.posterior(*rows))
        np.testing.assert_array_equal(plain.labels(phi, y), floats.labels(*rows))
        np.testing.assert_array_equal(plain.predict(phi), floats.predict(rows[0]))
    assert {leaf.dtype for leaf in plain.validated()} == {np.dtype(float)}
    single = Mixture(np.ones((1, 3), np.float32), [1], 1)
    assert {leaf.dtype for leaf in single.validated()} == {np.dtype(np.float32)}
    assert single.predict(PHI.astype(np.float32)).dtype == np.float32


def test_traced_parts_pass_validation_but_shapes_do_not():
    def likelihood(weights):
        return Mixture(BETA, weights, ONE).validated().log_likelihood(PHI, Y)

    assert jnp.isfinite(jax.jit(likelihood)(HALF))
    with pytest.raises(ValueError, match="weights must have shape"):
        jax.jit(likelihood)(jnp.ones(3))


# ---- a pytree -------------------------------------------------------------------------------------


def test_a_mixture_is_mapped_over():
    many = [symmetric(jnp.asarray(RNG.normal(size=3)), p) for p in (0.2, 0.5, 0.9)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *many)
    values = jax.vmap(lambda m: m.log_likelihood(PHI, Y))(batch)
    np.testing.assert_allclose(values, [m.log_likelihood(PHI, Y) for m in many], rtol=1e-12)


def test_the_score_is_the_posterior_weighted_residual():
    """d/d beta_k = sum_n P(k | n) (y_n - beta_k' phi_n) phi_n / sigma_k^2, by Fisher's identity."""
    mixture = MIXTURES["own variances"]
    score = jax.grad(lambda m: m.log_likelihood(PHI, Y))(mixture)
    error = Y[:, None] - PHI @ np.asarray(mixture.coefficients).T
    posterior = np.asarray(mixture.posterior(PHI, Y))
    variance = np.asarray(mixture.noise_variance)
    expected = (posterior * error / variance).T @ PHI
    np.testing.assert_allclose(score.coefficients, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(score.weights, posterior.sum(0) / np.asarray(mixture.weights), rtol=1e-10)
    expected = (posterior * (error**2 / variance - 1)).sum(0) / (2 * variance)
    np.testing.assert_allclose(score.noise_variance, expected, rtol=1e-9, atol=1e-9)
