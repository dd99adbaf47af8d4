"""Laws of the noise against their own distribution functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxmlr import Mixture, Study, disturbances, processes, simulate

N = 40_000
ONE = Mixture(jnp.zeros((1, 2)), jnp.ones(1), jnp.asarray(4.0))


def draws(law: disturbances.Disturbance) -> tuple[np.ndarray, np.ndarray]:
    phi, y, _ = simulate(jax.random.key(1), ONE, processes.gaussian(), N, disturbance=law)
    return np.asarray(phi), np.asarray(y) / 2


LAWS = {
    "gaussian": (disturbances.gaussian(), scipy.stats.norm().cdf),
    "student_t": (disturbances.student_t(3.5), lambda w: scipy.stats.t(3.5).cdf(w * np.sqrt(3.5 / 1.5))),
    "laplace": (disturbances.laplace(), scipy.stats.laplace(scale=0.5**0.5).cdf),
    "skewed": (disturbances.skewed(), lambda w: scipy.stats.expon().cdf(w + 1)),
    "skewed, half": (
        disturbances.skewed(0.6),
        lambda w: scipy.stats.exponnorm(0.6 / 0.8, loc=-0.6, scale=0.8).cdf(w),
    ),
    "contaminated": (
        disturbances.contaminated(0.2, 5.0, 3.0),
        lambda w: 0.8 * scipy.stats.norm.cdf(w) + 0.2 * scipy.stats.norm(3, 5).cdf(w),
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_law_is_as_stated(name: str) -> None:
    law, cdf = LAWS[name]
    _, w = draws(law)
    assert scipy.stats.kstest(w, cdf).pvalue > 1e-3
    assert abs(np.corrcoef(w[1:], w[:-1])[0, 1]) < 4 / np.sqrt(N)


def test_heteroscedastic_given_the_regressors() -> None:
    phi, w = draws(disturbances.heteroscedastic(0.7))
    standard = w / np.sqrt(0.3 + 0.7 * np.mean(phi**2, axis=1))
    assert scipy.stats.kstest(standard, "norm").pvalue > 1e-3
    np.testing.assert_allclose(np.mean(w**2), 1, rtol=0.05)


def test_normal_noise_and_regressors_stay_what_they_were() -> None:
    plain = simulate(jax.random.key(2), ONE, processes.gaussian(), 50)
    same = simulate(jax.random.key(2), ONE, processes.gaussian(), 50, disturbance=disturbances.gaussian())
    heavy = simulate(jax.random.key(2), ONE, processes.gaussian(), 50, disturbance=disturbances.laplace())
    jax.tree.map(np.testing.assert_array_equal, plain, same)
    assert not np.array_equal(plain.y, heavy.y)


def test_parameters_may_be_traced() -> None:
    def spread(df: jax.Array) -> jax.Array:
        law = disturbances.student_t(df)
        return jnp.std(simulate(jax.random.key(3), ONE, processes.gaussian(), 200, disturbance=law).y)

    spreads = jax.vmap(spread)(jnp.array([3.0, 10.0]))
    np.testing.assert_allclose(spreads, [spread(jnp.asarray(3.0)), spread(jnp.asarray(10.0))])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: disturbances.student_t(2.0), "df must be greater than 2"),
        (lambda: disturbances.skewed(1.2), "1 - share must be at least 0"),
        (lambda: disturbances.contaminated(-0.1), "share must be at least 0"),
        (lambda: disturbances.contaminated(0.1, -1.0), "scale must be at least 0"),
        (lambda: disturbances.heteroscedastic(2.0), "1 - share must be at least 0"),
    ],
)
def test_bad_arguments(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_studies_take_them_by_name_and_as_a_grid() -> None:
    table = {
        "name": "heavy",
        "problem": {
            "process": {"kind": "gaussian"},
            "coefficients": [1.0, -1.5],
            "p": 0.7,
            "noise": {"kind": "student_t", "df": 3.0},
        },
        "estimators": {"two_step": {"method": "two_step"}},
        "trials": 4,
        "steps": 20,
        "grid": {"problem.noise.df": [3.0, 30.0]},
    }
    study = Study(**table)
    assert study.at({"problem.noise.df": 5.0}).problem.noise == {"kind": "student_t", "df": 5.0}
    assert Study(**study.to_table()).fingerprint() == study.fingerprint()
    for noise, message in (
        ({"kind": "student"}, "did you mean 'student_t'"),
        ({}, "problem.noise: kind is missing"),
        ("laplace", "must be a table"),
        ({"kind": "laplace", "df": 3}, "unknown name 'df'"),
        ({"kind": "student_t", "df": 1.0}, "greater than 2"),
    ):
        with pytest.raises(ValueError, match=message):
            Study(**table | {"problem": table["problem"] | {"noise": noise}, "grid": {}})
