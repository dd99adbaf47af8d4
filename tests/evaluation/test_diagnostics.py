"""Alarms on planted failures, silence on healthy runs, and the method itself left as it was."""

import functools
import importlib.util
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import Study, diagnosed, processes, run, run_study, simulate, symmetric, two_step
from jaxmlr.evaluation import diagnostics

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "diagnostics.py"
TRUTH = symmetric(jnp.array([1.0, -1.5]), 0.7)


def test_the_method_is_unchanged() -> None:
    phi, y, _ = simulate(jax.random.key(0), TRUTH, processes.gaussian(), 200)
    method = two_step(1.0, gain="newton", bound=2.0)
    plain, watched = run(method, phi, y), run(diagnosed(method), phi, y)
    # Two programs may round the last digits differently.
    close = functools.partial(chex.assert_trees_all_close, rtol=1e-13, atol=1e-13)
    close((watched[0].method, watched[1]), plain)
    close(diagnosed(method).mixture(watched[0]), method.mixture(plain[0]))


def test_numbers_are_those_of_the_whole_data() -> None:
    phi, y, _ = simulate(jax.random.key(1), TRUTH, processes.decaying_ar(), 700)
    method = two_step(1.0, bound=1.2)
    state, info = run(diagnosed(method), phi, y)
    report = diagnostics.report(state)

    def least(n: int) -> np.ndarray:
        return np.linalg.eigvalsh(np.asarray(phi[:n]).T @ np.asarray(phi[:n]))[0]

    # n = 700: powers of 8 behind it are 512 and 64.
    np.testing.assert_allclose(report.excitation, least(700), rtol=1e-10)
    exponent = np.log(least(700) / least(64)) / np.log(700 / 64)
    np.testing.assert_allclose(report.excitation_exponent, exponent, rtol=1e-10)
    squares = np.cumsum(np.sum(np.asarray(phi) ** 2, axis=1))
    growth = np.log(squares[-1] / squares[63]) / np.log(700 / 64) - 1
    np.testing.assert_allclose(report.growth_exponent, growth, rtol=1e-9)
    share = np.sum(np.asarray(info.residual[64:]) ** 2) / np.sum(np.asarray(y[64:]) ** 2)
    np.testing.assert_allclose(report.residual_share, share, rtol=1e-10)

    scales = jax.lax.scan(lambda s, row: (t := method.step(s, row)[0], t.scale), method.init(2), (phi, y))[1]
    upper = np.maximum(1.2 * np.sqrt(np.log(np.arange(1, 701) + np.e)), 1)
    at_upper = np.mean(np.asarray(scales >= upper - 1e-12)[64:])
    assert 0 < at_upper < 1
    np.testing.assert_allclose(report.at_upper, at_upper)
    np.testing.assert_allclose(report.at_one, np.mean(np.asarray(scales <= 1 + 1e-12)[64:]))


def test_evidence_is_standard_normal_under_balance() -> None:
    def one(trial: jax.Array) -> jax.Array:
        phi, y, _ = simulate(
            jax.random.key(2), symmetric(jnp.array([1.0, -1.5]), 0.5), processes.gaussian(), 400, trial=trial
        )
        outer = phi[:, :, None] * phi[:, None, :]
        spread = jnp.sum(jnp.square(y)[:, None, None] * outer, axis=0)
        return diagnostics._evidence(jnp.sum(y[:, None] * phi, axis=0), spread)

    z = np.asarray(jax.vmap(one)(jnp.arange(1000)))
    assert abs(z.mean()) < 4 / np.sqrt(1000) + 0.02  # Wilson and Hilferty's own error is .02
    assert 0.9 < z.std() < 1.05
    assert np.mean(z > diagnostics.SIGNIFICANT) < 0.02


@pytest.mark.slow
def test_planted_failures_are_found_and_healthy_runs_are_left_alone() -> None:
    spec = importlib.util.spec_from_file_location("diagnostics_experiment", EXPERIMENT)
    experiment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(experiment)
    for case in ("healthy, normal", "C = 1, p = .6", "one direction never visited"):
        planted = experiment.CASES[case][0]
        rates = experiment.rates(case, trials=200, steps=10_000)._asdict()
        for alarm in diagnostics.ALARMS:
            if alarm == planted:
                assert rates[alarm] >= 0.95, (case, alarm)
            elif alarm not in experiment.IMPLIED.get(case, ()):
                assert rates[alarm] <= 0.05, (case, alarm)


def test_divergence_by_overflow_and_by_distance() -> None:
    def wild(factor: float) -> diagnostics.Report:
        phi, y, _ = simulate(jax.random.key(3), TRUTH, processes.gaussian(), 600)
        state, _ = run(diagnosed(two_step(1.0)), phi, y)
        residual = state.sums.residual * factor
        return diagnostics.report(state._replace(sums=state.sums._replace(residual=residual)))

    assert not wild(1.0).diverged
    assert wild(100.0).diverged
    assert wild(np.nan).diverged


def test_advice_names_the_setting_and_is_silent_where_all_is_well() -> None:
    phi, y, _ = simulate(jax.random.key(4), TRUTH, processes.gaussian(), 5000)
    healthy, _ = run(diagnosed(two_step(1.0, gain="newton", bound=3.0)), phi, y)
    assert diagnostics.advice(diagnostics.report(healthy)) == []
    high, _ = run(diagnosed(two_step(12.0)), phi, y)
    (sentence,) = diagnostics.advice(diagnostics.report(high))
    assert "noise_variance" in sentence
    early, _ = run(diagnosed(two_step(1.0)), phi[:5], y[:5])
    assert diagnostics.advice(diagnostics.report(early)) == []
    every = diagnostics.report(healthy)._replace(**dict.fromkeys(diagnostics.ALARMS, True))
    assert len(diagnostics.advice(every)) == len(diagnostics.ALARMS)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="estimator must be an Estimator"):
        diagnosed(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="already"):
        diagnosed(diagnosed(two_step())).init(2)
    with pytest.raises(ValueError, match="diagnosed method"):
        diagnostics.report(two_step().init(2))  # type: ignore[arg-type]
    state = diagnosed(two_step()).init(2)
    batch = jax.vmap(diagnostics.report)(jax.tree.map(lambda x: x[None], state))
    with pytest.raises(ValueError, match="one report"):
        diagnostics.advice(batch)


@pytest.mark.slow
def test_a_study_reports_them_for_every_method() -> None:
    study = Study(
        name="watched",
        problem={"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.7},
        estimators={
            "good": {"method": "two_step", "gain": "newton", "bound": 3.0},
            "damped": {"method": "two_step", "noise_variance": 12.0},
            "batch": {"method": "em", "start": "truth", "max_iterations": 3},
        },
        trials=8,
        steps=4096,
        record=[4, 4096],
        metrics=["coefficient_error"],
        diagnostics=True,
    )
    assert Study(**study.to_table()) == study
    results = run_study(study, progress=False)
    last = results.isel(step=-1)
    assert last["alarm_overdamped_mean"].sel(estimator="damped") == 1
    assert last["alarm_overdamped_mean"].sel(estimator="good") == 0
    assert "noise_variance" in results["alarm_overdamped_mean"].attrs["long_name"]
    np.testing.assert_allclose(last["excitation_mean"].sel(estimator="good"), 4096, rtol=0.1)
    assert np.isnan(last["excitation_mean"].sel(estimator="batch"))
    assert np.isnan(results["growth_exponent_mean"].isel(step=0)).all()
    with pytest.raises(ValueError, match="diagnostics must be true or false"):
        Study(**study.to_table() | {"diagnostics": 1})
