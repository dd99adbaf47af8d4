"""Label models: their law, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import Mixture, labels, processes, simulate

TRUTH = Mixture(jnp.array([[1.0, 0.5], [-1.0, 2.0]]), jnp.array([0.7, 0.3]), jnp.array(1.0))


def drawn(law):
    rows = jax.jit(lambda: simulate(jax.random.key(2), TRUTH, processes.gaussian(), 20_000, labels=law))()
    return np.asarray(rows.phi), np.asarray(rows.label)


def test_a_markov_chain_has_its_transitions_and_the_weights():
    _, label = drawn(labels.markov(TRUTH.weights, stay=0.8))
    assert abs(np.mean(label) - 0.3) < 0.04  # 5 standard errors of correlated labels
    for before, share in ((0, 0.8 + 0.2 * 0.7), (1, 0.8 + 0.2 * 0.3)):
        stays = label[1:][label[:-1] == before] == before
        assert abs(stays.mean() - share) < 5 * np.sqrt(share * (1 - share) / len(stays))


def test_a_chain_that_never_stays_is_the_independent_draw():
    free = simulate(jax.random.key(2), TRUTH, processes.gaussian(), 50)
    chain = simulate(
        jax.random.key(2), TRUTH, processes.gaussian(), 50, labels=labels.markov(TRUTH.weights, stay=0.0)
    )
    np.testing.assert_array_equal(free.label, chain.label)
    np.testing.assert_array_equal(free.phi, chain.phi)


@pytest.mark.parametrize("slope", [[2.0, 0.0], [[2.0, 0.0], [0.0, 0.0]]])
def test_gated_labels_follow_the_regressors(slope):
    phi, label = drawn(labels.gated(TRUTH.weights, slope=jnp.array(slope)))
    first = 0.7 / (0.7 + 0.3 * np.exp(-2 * phi[:, 0]))
    for low, high in ((-3.0, -1.0), (-0.2, 0.2), (1.0, 3.0)):
        inside = (phi[:, 0] > low) & (phi[:, 0] < high)
        gap = np.mean(label[inside] == 0) - np.mean(first[inside])
        assert abs(gap) < 2.5 / np.sqrt(inside.sum())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: labels.markov(TRUTH.weights, stay=1.0), "stay must be .*less than 1"),
        (lambda: labels.gated(TRUTH.weights, slope=np.nan), "slope must be finite"),
        (lambda: drawn(labels.gated(TRUTH.weights, slope=jnp.ones(3))), r"slope must be \(2, 2\)"),
    ],
)
def test_what_is_no_law_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
