"""Studies against their trials recomputed one by one, and what must not change a bit of them."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import tomli_w
import xarray as xr
from jax import lax

from jaxmlr import simulate
from jaxmlr.evaluation import theory
from jaxmlr.study import load, run_block, run_study

STATISTICS = ("mean", "se", "sd", "min", "max", "q05", "q25", "q50", "q75", "q95")
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}

RUNNING = ("misclassification", "within_cluster_error")


def equal_bits(a, b):
    """The same variables with the same bits; attributes may differ."""
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)


# ---- every trial again, by simulate and a plain scan -----------------------------------------------


def data_of(study, p):
    """What the trials see at this p: phi (trials, n, d), y (trials, n), labels (trials, n)."""
    at_point = study.at({"problem.p": p})
    truth, key = at_point.problem.mixture(study.precision), jax.random.key(study.seed)
    trials = jnp.arange(study.trials, dtype=np.int32)
    return jax.vmap(lambda t: simulate(key, truth, at_point.problem.regressors(), study.steps, trial=t))(
        trials
    )


def history(study, name, point, phi, y):
    """Coefficients (trials, n, K, d) and weights after every step, labels and residuals before it."""
    estimator = study.at(point).make(name)

    def follow(phi, y):
        def step(state, row):
            state, info = estimator.step(state, row)
            mixture = estimator.mixture(state)
            return state, (mixture.coefficients, mixture.weights, *info)

        return lax.scan(step, estimator.init(phi.shape[1], dtype=phi.dtype), (phi, y))[1]

    return jax.vmap(follow)(phi, y)


def expected_metrics(study, data, coefficients, weights, labels, residuals):
    """NumPy: metric -> (trials, records) of the method and the oracle, and which trials are finite."""
    beta = np.asarray(study.problem.coefficients)
    first = coefficients[:, :, 0]
    plus = np.linalg.norm(first - beta, axis=-1)
    minus = np.linalg.norm(first + beta, axis=-1)
    swapped = minus < plus
    truth = np.asarray(data.label)
    n = np.arange(1, study.steps + 1)
    wrong = np.cumsum(labels != truth, axis=1) / n
    oracle_line = np.abs(np.asarray(data.phi) @ beta)
    oracle_residual = np.abs(np.asarray(data.y)) - oracle_line
    side = np.where(np.asarray(data.phi) @ beta * np.asarray(data.y) >= 0, 0, 1)
    oracle = {
        "misclassification": np.cumsum(side != truth, axis=1) / n,
        "within_cluster_error": np.cumsum(oracle_residual**2, axis=1) / n,
    }
    values = {
        "coefficient_error": np.minimum(plus, minus),
        "misclassification": np.where(swapped, 1 - wrong, wrong),
        "within_cluster_error": np.cumsum(residuals**2, axis=1) / n,
        "scale": 1 / np.abs(weights[..., 0] - weights[..., 1]),
    }
    values |= {f"excess_{name}": values[name] - oracle[name] for name in RUNNING}
    at = study.recorded - 1
    finite = np.isfinite(coefficients).all(axis=(2, 3))[:, at]
    return {k: v[:, at] for k, v in values.items()}, {k: v[:, at] for k, v in oracle.items()}, finite


@pytest.fixture(scope="module")
def again(rich):
    """For every grid point: the point, its data, the metrics of each method, and of the oracle."""
    data_at = jax.jit(lambda p: data_of(rich, p))
    follow = {
        name: jax.jit(lambda point, phi, y, name=name: history(rich, name, point, phi, y))
        for name in rich.estimators
    }
    cases = []
    for values in zip(*rich.points.values(), strict=True):
        point = dict(zip(rich.points, map(float, values), strict=True))
        data = data_at(point["problem.p"])
        recomputed = {
            name: expected_metrics(rich, data, *map(np.asarray, follow[name](point, data.phi, data.y)))
            for name in rich.estimators
        }
        cases.append((point, data, recomputed))
    return cases


def test_every_statistic_is_that_of_the_trials_recomputed(rich, rich_results, again):
    some_diverged = False
    for point, _, recomputed in again:
        for name, (values, _, finite) in recomputed.items():
            some_diverged |= not finite.all()
            results = rich_results.sel({"estimator": name, **point})
            np.testing.assert_array_equal(results["diverged"], np.sum(~finite, axis=0))
            for metric in rich.metrics:
                for record in range(len(rich.recorded)):
                    kept = values[metric][finite[:, record], record]
                    kept = kept[np.isfinite(kept)]
                    expected = {
                        "mean": kept.mean(),
                        "sd": kept.std(ddof=1),
                        "se": kept.std(ddof=1) / np.sqrt(len(kept)),
                        "min": kept.min(),
                        "max": kept.max(),
                    }
                    at = results.isel(step=record)
                    for statistic, value in expected.items():
                        where = f"{name} {point} {metric}_{statistic}, record {record}"
                        actual = float(at[f"{metric}_{statistic}"])
                        np.testing.assert_allclose(actual, value, rtol=1e-8, atol=1e-12, err_msg=where)
                    for statistic, q in QUANTILES.items():
                        value = np.quantile(kept, q)
                        actual = float(at[f"{metric}_{statistic}"])
                        np.testing.assert_allclose(actual, value, rtol=6e-4, atol=1e-7, err_msg=metric)
    assert some_diverged


def test_oracle_is_the_run_with_true_coefficients_on_the_same_data(rich, rich_results, again):
    for point, _, recomputed in again:
        oracle = recomputed["newton"][1]
        results = rich_results.sel(point)
        for metric in RUNNING:
            error = oracle[metric].std(axis=0, ddof=1) / np.sqrt(rich.trials)
            np.testing.assert_allclose(results[f"{metric}_oracle"], oracle[metric].mean(axis=0), rtol=1e-9)
            np.testing.assert_allclose(results[f"{metric}_oracle_se"], error, rtol=1e-9)


def test_theory_is_the_limit_averaged_over_the_regressors(rich, rich_results, again):
    for point, data, _ in again[::2]:
        at_point = rich.at(point)
        truth = at_point.problem.mixture("float64")
        line = np.abs(np.asarray(data.phi) @ np.asarray(at_point.problem.coefficients))
        wrong = scipy.stats.norm.cdf(-line)
        square = 1 + 4 * line**2 * wrong - 2 * line * np.sqrt(2 / np.pi) * np.exp(-(line**2) / 2)
        n, at, results = np.arange(1, rich.steps + 1), rich.recorded - 1, rich_results.sel(point)
        for metric, curve in (("misclassification", wrong), ("within_cluster_error", square)):
            mean = (np.cumsum(curve, axis=1) / n).mean(axis=0)[at]
            np.testing.assert_allclose(results[f"{metric}_theory"], mean, rtol=1e-9)
        score = jax.vmap(jax.vmap(lambda f, y, m=truth: theory.line_score(m, f, y)))
        scores = np.array(score(data.phi, data.y))
        gradient = (scores[..., :1] - scores[..., 1:]) * np.asarray(data.phi)
        total = np.cumsum(np.einsum("tni,tnj->nij", gradient, gradient), axis=0) / rich.trials
        bound = theory.cramer_rao(total[at], 1)
        np.testing.assert_allclose(results["coefficient_error_theory"], bound, rtol=1e-7)
        np.testing.assert_allclose(results["scale_theory"], 1 / abs(2 * point["problem.p"] - 1), rtol=1e-12)


def test_grid_points_and_methods_see_the_same_noise(rich, rich_results):
    """A bound that the scale does not reach changes nothing; the problem's p does."""
    first = rich_results.isel(step=0)
    for name in ("coefficient_error_mean", "misclassification_oracle"):
        values = first[name]
        np.testing.assert_array_equal(
            *(values.sel({"estimators.newton.bound": bound}).values for bound in (1.0, 3.0))
        )
    fragile = rich_results.sel(estimator="fragile")
    for metric in rich.metrics:
        for statistic in STATISTICS:
            values = fragile[f"{metric}_{statistic}"]
            np.testing.assert_array_equal(
                *(values.sel({"estimators.newton.bound": bound}).values for bound in (1.0, 3.0))
            )
    assert not np.array_equal(*(fragile["scale_theory"].sel({"problem.p": p}) for p in (0.6, 0.75)))


# ---- what may not change a bit ----------------------------------------------------------------------


class Backwards:
    """An executor that computes the last block that it was given first."""

    def __init__(self):
        self.waiting = []

    def submit(self, function, *args):
        future = Future()
        self.waiting.append((future, function, args))
        if len(self.waiting) == 3:
            for last, function, args in reversed(self.waiting):
                last.set_result(function(*args))
        return future


def test_order_of_blocks_does_not_matter(plain, plain_results):
    equal_bits(run_study(plain, executor=Backwards(), progress=False), plain_results)


def test_one_device_gives_the_bits_of_two(plain, plain_results):
    assert len(jax.local_devices()) == 2
    with ThreadPoolExecutor(2) as executor:  # both threads on the first device
        equal_bits(run_study(plain, executor=executor, progress=False), plain_results)
    for block in range(plain.blocks):
        for a, b in zip(
            jax.tree.leaves(run_block(plain, block, device=0)),
            jax.tree.leaves(run_block(plain, block, device=1)),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_other_processes_give_the_same_bits(plain, plain_results):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        equal_bits(run_study(plain, executor=executor, progress=False), plain_results)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 4])
def test_any_number_of_devices_gives_the_same_bits(plain, plain_results, tmp_path, devices):
    (tmp_path / "study.toml").write_text(tomli_w.dumps(plain.to_table()))
    script = f"""
import jax
jax.config.update("jax_num_cpu_devices", {devices})
from jaxmlr.study import Study, run_study
found = run_study(Study.from_toml("study.toml"), "out", progress=False)
assert found.attrs["devices"] == {devices}
"""
    root = str(Path(__file__).resolve().parents[3])
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": root}, check=True
    )
    equal_bits(load(tmp_path / "out"), plain_results)


def test_a_block_of_another_size_holds_the_same_trials(plain, plain_results):
    whole = run_block(type(plain)(**{**vars(plain), "block": 10}), 0)["seed"]
    for metric in plain.metrics:
        for statistic in ("mean", "min", "max"):
            actual = plain_results[f"{metric}_{statistic}"].values[0]
            same = getattr(whole[metric][0], statistic)(axis=-1)
            np.testing.assert_allclose(same, actual, rtol=2e-5, atol=1e-6, err_msg=metric)


def test_results_are_a_dataset_of_named_dimensions(rich, rich_results):
    assert isinstance(rich_results, xr.Dataset)
    assert rich_results["scale_mean"].dims == ("estimator", *rich.grid, "step")
    assert rich_results["scale_theory"].dims == (*rich.grid, "step")
