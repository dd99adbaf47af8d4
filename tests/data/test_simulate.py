"""Simulated data: the law of labels and residuals, and that any trial is the same wherever it is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmlr import Mixture, processes, simulate, symmetric
from jaxmlr.data.simulate import stream

KEY = jax.random.key(3)
GENERAL = Mixture(
    jnp.array([[2.0, 0.0], [-1.0, 2.0], [0.0, -2.0]]), jnp.array([0.5, 0.3, 0.2]), jnp.array([0.25, 1.0, 9.0])
)
SYMMETRIC = symmetric(jnp.array([1.0, -1.5]), 0.6, 2.0)
MIXTURES = {
    "general": GENERAL,
    "common variance": GENERAL._replace(noise_variance=jnp.array(4.0)),
    "symmetric": SYMMETRIC,
}


@pytest.fixture(params=MIXTURES)
def drawn(request):
    """A mixture and a hundred trials of a thousand steps of it."""
    truth = MIXTURES[request.param]
    one = jax.jit(lambda t: simulate(KEY, truth, processes.ar(), 1_000, trial=t))
    return truth, jax.tree.map(np.asarray, jax.vmap(one)(jnp.arange(100)))


def test_labels_have_the_weights(drawn):
    truth, observed = drawn
    counts = np.bincount(observed.label.ravel(), minlength=len(truth.weights))
    assert stats.chisquare(counts, np.asarray(truth.weights) * observed.label.size).pvalue > 1e-7


def test_labels_do_not_follow_one_another(drawn):
    truth, observed = drawn
    k = len(truth.weights)
    for a, b in (
        (observed.label[:, 1:], observed.label[:, :-1]),
        (observed.label[1:], observed.label[:-1]),
        (observed.label, np.int32(observed.phi[..., 0] > 0)),
    ):
        pairs = np.bincount((k * a + b).ravel(), minlength=k * k).reshape(k, k)
        pairs = pairs[:, pairs.sum(0) > 0]
        assert stats.chi2_contingency(pairs).pvalue > 1e-7


def test_residuals_are_normal_with_the_variance_of_their_component(drawn):
    truth, (phi, y, label) = drawn
    lines = np.take_along_axis(phi @ np.asarray(truth.coefficients).T, label[..., None], -1)[..., 0]
    deviation = np.sqrt(np.broadcast_to(truth.noise_variance, truth.weights.shape))
    standard = (y - lines) / deviation[label]
    for k in range(len(truth.weights)):
        assert stats.kstest(standard[label == k], "norm").pvalue > 1e-7
    for regressor in phi[..., 0], phi[..., 1], label:
        assert abs(np.corrcoef(standard.ravel(), regressor.ravel())[0, 1]) < 5.5 / np.sqrt(y.size)
    assert abs(np.mean(standard[:, 1:] * standard[:, :-1])) < 5.5 / np.sqrt(y.size)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_shapes_and_dtypes(dtype):
    truth = Mixture(*(leaf.astype(dtype) for leaf in GENERAL))
    phi, y, label = simulate(KEY, truth, processes.decaying_ar(), 7)
    assert (phi.shape, y.shape, label.shape) == ((7, 2), (7,), (7,))
    assert phi.dtype == y.dtype == dtype
    assert label.dtype == jnp.int32


def test_a_trial_under_vmap_is_the_trial_alone():
    def one(trial):
        return simulate(KEY, GENERAL, processes.decaying_ar(), 30, trial=trial)

    together = jax.vmap(one)(jnp.array([0, 5, 2]))
    for k, trial in enumerate((0, 5, 2)):
        alone = one(trial)
        np.testing.assert_array_equal(together.label[k], alone.label)
        np.testing.assert_allclose(together.phi[k], alone.phi, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(together.y[k], alone.y, rtol=1e-12, atol=1e-13)
    assert not np.any(together.y[0] == together.y[1])


def test_a_longer_data_set_begins_with_the_shorter_one():
    long, short = (simulate(KEY, GENERAL, processes.growing(), n) for n in (50, 20))
    for a, b in zip(long, short, strict=True):
        np.testing.assert_array_equal(a[:20], b)


def test_the_stream_is_the_data_set_step_by_step():
    source = stream(KEY, SYMMETRIC, processes.ar(), trial=4)
    observed = simulate(KEY, SYMMETRIC, processes.ar(), 6, trial=4)
    state, step = source.init(), jax.jit(source.step)
    for k in range(6):
        state, row = step(state, jnp.int32(k + 1))
        np.testing.assert_allclose(row.phi, observed.phi[k], rtol=1e-12)
        np.testing.assert_allclose(row.y, observed.y[k], rtol=1e-12)
        assert row.label == observed.label[k]


def test_noise_is_common_to_all_mixtures():
    """Regressors and disturbances do not depend on the truth, so differences between problems are paired."""
    a, b = (simulate(KEY, truth, processes.decaying_ar(), 50) for truth in (SYMMETRIC, GENERAL))
    np.testing.assert_array_equal(a.phi, b.phi)
    quiet, loud = (simulate(KEY, symmetric(jnp.zeros(2), 0.5, v), processes.ar(), 50).y for v in (1.0, 4.0))
    np.testing.assert_allclose(loud, 2 * quiet, rtol=1e-14)


def test_rare_components_are_nested():
    """A label that is 0 at p stays 0 at a larger p: the uniform is common."""
    labels = [
        simulate(KEY, symmetric(jnp.ones(1), p), processes.gaussian(), 300).label for p in (0.2, 0.5, 0.8)
    ]
    assert np.all(labels[0] >= labels[1])
    assert np.all(labels[1] >= labels[2])
    assert 0 < labels[2].sum() < labels[0].sum() < 300


def test_both_kinds_of_key_and_other_seeds():
    old, new, other = (
        simulate(key, SYMMETRIC, processes.ar(), 5).y
        for key in (jax.random.PRNGKey(3), KEY, jax.random.key(4))
    )
    np.testing.assert_array_equal(old, new)
    assert not np.any(new == other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(steps=0), "steps must be a whole number of at least 1, not 0"),
        (dict(steps=2.5), "steps must be a whole number"),
        (dict(steps=True), "steps must be a whole number"),
        (dict(key=jax.random.split(KEY)), "key must be one threefry2x32 key"),
        (dict(mixture=GENERAL._replace(weights=jnp.ones(3))), "weights must sum to 1"),
        (
            dict(mixture=GENERAL._replace(noise_variance=jnp.zeros(3))),
            "noise_variance must be greater than 0",
        ),
        (dict(mixture=GENERAL._replace(coefficients=jnp.ones(2))), r"coefficients must have shape \(K, d\)"),
    ],
)
def test_a_bad_argument_is_named(change, message):
    arguments = dict(key=KEY, mixture=GENERAL, process=processes.ar(), steps=3) | change
    with pytest.raises(ValueError, match=message):
        simulate(**arguments)
