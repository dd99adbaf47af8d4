"""The benchmark: what it runs, what it says, and that its error is that of an independent program."""

import math

import numpy as np
import pytest

from jaxmlr.cli import bench as module
from jaxmlr.cli.bench import bench
from jaxmlr.study import run_study


def test_it_says_what_was_run_how_fast_and_how_wrong(monkeypatch):
    seen = []

    def running(study, **options):
        seen.append((study, run_study(study, **options)))
        return seen[-1][1]

    monkeypatch.setattr(module, "run_study", running)
    figures = bench(dim=2, trials=6, steps=30, block=6)
    ((study, results),) = seen
    assert (figures["dim"], figures["trials"], figures["steps"], figures["block"]) == (2, 6, 30, 6)
    assert (figures["seconds"] > 0, figures["compile_seconds"] > 0) == (True, True)
    assert figures["trial_steps_per_second"] > 0
    np.testing.assert_allclose(study.problem.coefficients, [0.75, 1.5])
    assert (study.problem.p, study.recorded.tolist()) == (0.6, [30])
    last = results.isel(estimator=0, step=-1)
    second_moment = (
        float(last["coefficient_error_mean"]) ** 2 + 5 / 6 * float(last["coefficient_error_sd"]) ** 2
    )
    np.testing.assert_allclose(figures["mean_squared_error"], second_moment, rtol=1e-12)
    assert figures["cramer_rao_bound"] > 0


@pytest.mark.parametrize("bad", [{"trials": 0}, {"steps": 0}, {"block": 0}])
def test_a_size_that_is_none_is_named(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be a whole number of at least 1"):
        bench(**{"dim": 2, "trials": 4, "steps": 5} | bad)


@pytest.mark.slow
def test_the_error_is_that_of_the_same_work_by_hand(monkeypatch):
    """A program written by hand found 0.55828 in 4,096 trials at d = 3, 10,000 steps."""
    kept = []

    def running(study, **options):
        kept.append(run_study(study, **options))
        return kept[-1]

    monkeypatch.setattr(module, "run_study", running)
    trials = 1024
    figures = bench(dim=3, trials=trials, steps=10_000)
    spread = float(kept[0]["coefficient_error_sd"].isel(estimator=0, step=-1))
    mean = float(kept[0]["coefficient_error_mean"].isel(estimator=0, step=-1))
    # By the delta method the square's standard deviation is 2 mean sd, up to the spread's own square.
    deviation = 2 * mean * spread + math.sqrt(2) * spread**2
    error = deviation * math.sqrt(1 / trials + 1 / 4096)
    assert error < 0.05
    assert abs(figures["mean_squared_error"] - 0.55828) < 4 * error
