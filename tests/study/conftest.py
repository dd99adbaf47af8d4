"""Two studies, each compiled once a session: a plain one of one method, and one with a grid and user code."""

from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import pytest

from jaxmlr import Estimator, Info, Mixture
from jaxmlr.evaluation import diagnostics
from jaxmlr.evaluation.metrics import METRICS
from jaxmlr.study import Study, run_study


def fragile(noise_variance, *, limit=3.0, step_size=0.05):
    """Follow the sign of y; an answer larger than `limit` breaks the estimate for good."""

    def init(dim, key=None, dtype=None):
        return jnp.full(dim, 0.1, dtype)

    def step(beta, row):
        phi, y = row
        b = jnp.sum(beta * phi)
        label = jnp.where(y * b >= 0, 0, 1).astype(jnp.int32)
        sign = jnp.where(label == 0, 1, -1).astype(beta.dtype)
        moved = beta + step_size * sign * (y - sign * b) * phi
        return jnp.where(jnp.abs(y) > limit, jnp.nan, moved), Info(label, y - sign * b)

    def mixture(beta):
        weights = jnp.array([0.75, 0.25], beta.dtype)
        return Mixture(jnp.stack([beta, -beta]), weights, jnp.asarray(noise_variance, beta.dtype))

    return Estimator(init, step, mixture)


def plain_study(**changes):
    options = {
        "name": "plain",
        "seed": 3,
        "trials": 10,
        "block": 4,
        "steps": 50,
        "record": [1, 7, 50],
        "metrics": ["coefficient_error", "misclassification", "excess_misclassification"],
        "problem": {"process": {"kind": "decaying_ar"}, "coefficients": [1.0, -1.5], "p": 0.7},
        "estimators": {"seed": {"method": "two_step", "gain": "newton", "bound": 3.0}},
    }
    return Study(**options | changes)


@pytest.fixture(scope="session")
def plain():
    """Three blocks of four trials, the last one half empty."""
    return plain_study()


@pytest.fixture(scope="session")
def plain_results(plain):
    """What `run_study` returns on all devices."""
    return run_study(plain, progress=False)


@pytest.fixture(scope="session")
def rich():
    """A grid over the problem and over a method's option, a user's method that diverges, all metrics."""
    return plain_study(
        name="rich",
        precision="float64",
        metrics=[name for name in METRICS if name not in diagnostics.METRICS],
        estimators={
            "newton": {"method": "two_step", "gain": "newton"},
            "fragile": {"method": fragile, "limit": 5.5},
        },
        grid={"problem.p": [0.6, 0.75], "estimators.newton.bound": [1.0, 3.0]},
    )


@pytest.fixture(scope="session")
def rich_results(rich):
    """The same on one device only."""
    with ThreadPoolExecutor(1) as executor:
        return run_study(rich, executor=executor, progress=False)
