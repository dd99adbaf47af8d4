"""A metric is added by its record: a study computes, compares and limits it, of streams and of fits."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr.evaluation.metrics import METRICS, Limit, Metric, Running
from jaxmlr.study import Study, run_study

pictures = pytest.importorskip("jaxmlr.study.results.pictures")

DISTANCE = Running(
    start=lambda components, dtype: jnp.zeros((), dtype),
    add=lambda total, info, label, seen: total + jnp.abs(info.residual),
    mean=lambda total, n, estimate, truth: total / n.astype(total.dtype),
    of_rows=lambda info, label, estimate, truth: jnp.abs(info.residual),
)
RECORDS = (
    Metric(
        "distance",
        "mean distance to the nearest line",
        "distance",
        running=DISTANCE,
        limit=Limit("sigma", constant=lambda truth: jnp.sqrt(truth.noise_variance)),
    ),
    Metric("excess_distance", "distance above the true coefficients'", "excess", excess_of="distance"),
)
STUDY = {
    "name": "new",
    "trials": 2,
    "keep": 1,
    "steps": 40,
    "record": [10, 40],
    "precision": "float64",
    "metrics": ["distance", "excess_distance"],
    "problem": {
        "process": {"kind": "gaussian"},
        "coefficients": [1.0, -1.5],
        "p": 0.7,
        "noise_variance": 0.25,
    },
    "estimators": {
        "two": {"method": "two_step"},
        "em": {"method": "em", "start": "truth", "max_iterations": 5},
    },
}


@pytest.mark.slow
def test_a_record_is_all_that_a_metric_needs(monkeypatch):
    for record in RECORDS:
        monkeypatch.setitem(METRICS, record.name, record)
    study = Study(**STUDY)
    results, trial = run_study(study, progress=False), 1
    rows = study.data(trial)
    lines = np.asarray(rows.phi) @ np.array([[1.0, -1.0], [-1.5, 1.5]])
    optimum = np.mean(np.min(np.abs(rows.y[:, None] - lines), axis=1))
    online = np.mean(np.abs(study.trajectory(trial, "two").info.residual))
    fitted = rows.phi @ study.trajectory(trial, "em").mixture.coefficients[0].T
    batch = np.mean(np.min(np.abs(rows.y[:, None] - fitted), axis=1))
    for name, own in (("two", online), ("em", batch)):
        of_trial = results.sel(estimator=name, trial=trial)
        np.testing.assert_allclose(of_trial["distance_trial"], own, rtol=1e-12)
        np.testing.assert_allclose(of_trial["excess_distance_trial"], own - optimum, atol=1e-12)
    np.testing.assert_allclose(results["distance_theory"], 0.5)
    assert pictures.draw(results).axes[0].get_ylabel().startswith("distance")
