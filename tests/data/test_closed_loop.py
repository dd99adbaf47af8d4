"""The closed loop: its equation, its repeatability, and what can and cannot be learnt in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import Study, processes, run_study, simulate, symmetric, two_step
from jaxmlr.recursive import oracle

TRUTH = symmetric(jnp.array([0.5, -0.2, 1.0]), 0.75)


def test_regressors_are_past_outputs_and_the_input_of_the_known_plant() -> None:
    loop = processes.closed_loop(pole=0.6, dither=0.5, decay=0.2, controller=oracle(TRUTH))
    phi, y, label = simulate(jax.random.key(0), TRUTH, loop, 400)
    np.testing.assert_array_equal(phi[1:, 0], y[:-1])
    np.testing.assert_array_equal(phi[2:, 1], y[:-2])
    probe = phi @ TRUTH.coefficients[0] - 0.6 * phi[:, 0]
    standard = np.asarray(probe) / (0.5 * np.arange(1, 401) ** -0.2)
    assert np.abs(phi[:, 2]).max() < 10  # no clipping, or the next lines would not hold
    assert abs(standard.mean()) < 4 / np.sqrt(400)
    np.testing.assert_allclose(standard.std(), 1, atol=4 / np.sqrt(800))
    signed = np.where(label == 0, 1, -1) * np.asarray(phi @ TRUTH.coefficients[0])
    np.testing.assert_allclose((y - signed).std(), 1, atol=4 / np.sqrt(800))


def test_the_controller_is_the_method_run_on_the_same_data() -> None:
    method = two_step(gain="newton", bound=3.0)
    loop = processes.closed_loop(pole=0.5, decay=0.1, limit=3.0)
    phi, y, _ = simulate(jax.random.key(1), TRUTH, loop, 200, trial=3)
    longer = simulate(jax.random.key(1), TRUTH, loop, 300, trial=3)
    np.testing.assert_allclose(longer.phi[:200], phi, rtol=1e-10)

    def keep(state, row):
        return method.step(state, row)[0], method.mixture(state).coefficients[0]

    _, beta = jax.lax.scan(keep, method.init(3), (phi, y))
    last = np.asarray(beta[:, 2])
    gain = np.where(last < 0, np.minimum(last, -0.1), np.maximum(last, 0.1))
    wanted = 0.5 * phi[:, 0] - np.sum(np.asarray(beta[:, :2] * phi[:, :2]), axis=1)
    probe = np.asarray(phi[:, 2]) * gain - np.asarray(wanted)
    inside = np.abs(phi[:, 2]) < 3.0
    assert inside.mean() > 0.8
    standard = (probe * np.arange(1, 201) ** 0.1)[inside]
    assert np.abs(standard).max() < 5
    assert 0.6 < standard.std() < 1.2


@pytest.mark.slow
def test_without_probing_labels_are_learnt_and_coefficients_are_not() -> None:
    def last(dither: float) -> dict[str, np.ndarray]:
        study = Study(
            name="loop",
            problem={
                "process": {"kind": "closed_loop", "dither": dither, "decay": 0.1},
                "coefficients": [0.7, 1.0],
                "p": 0.75,
            },
            estimators={
                "two_step": {"method": "two_step", "gain": "newton", "bound": 3.0},
                "symmetric_em": {"method": "symmetric_em", "initial_coefficients": [0.5, 0.5]},
            },
            trials=64,
            steps=5000,
            record=1,
            metrics=["coefficient_error", "excess_misclassification", "excitation_exponent"],
        )
        results = run_study(study, progress=False).squeeze()
        return {name: results[name].values for name in results.data_vars if name.endswith("_mean")}

    probed, free = last(1.0), last(0.0)
    assert probed["coefficient_error_mean"][1] < 0.08
    assert free["coefficient_error_mean"][0] > 0.8 > 0.6 > probed["coefficient_error_mean"][0]
    assert probed["excitation_exponent_mean"][0] > free["excitation_exponent_mean"][0]
    assert max(np.abs(x["excess_misclassification_mean"]).max() for x in (probed, free)) < 0.02


def test_bad_arguments() -> None:
    for options, message in (
        ({"pole": 1.0}, "pole must be"),
        ({"dither": -1.0}, "dither must be at least 0"),
        ({"decay": -1.0}, "decay must be at least 0"),
        ({"limit": 0.0}, "limit must be greater than 0"),
    ):
        with pytest.raises(ValueError, match=message):
            processes.closed_loop(**options)
    with pytest.raises(ValueError, match="at least 2 coefficients"):
        simulate(jax.random.key(0), symmetric(jnp.array([1.0]), 0.7), processes.closed_loop(), 3)
