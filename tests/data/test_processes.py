"""Regressor processes against closed forms and NumPy loops over the same noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmlr import processes


def drive(process, normals):
    """phi[1], ..., phi[n] from normals (n + 1, d), the first row of which starts the process."""

    def step(state, row):
        return process.step(state, *row)

    n = jnp.arange(1, len(normals), dtype=normals.dtype)
    return lax.scan(step, process.init(normals[0]), (n, normals[1:]))[1]


def normals(steps, dim, seed=0, dtype=jnp.float64):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(steps + 1, dim)), dtype)


V = np.array([1.0, -2.0, 0.5])
PROCESSES = {
    "decaying_ar": processes.decaying_ar,
    "gaussian": processes.gaussian,
    "ar": processes.ar,
    "growing": processes.growing,
    "unexcited": processes.unexcited,
    "unexcited along v": lambda: processes.unexcited(V),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", PROCESSES)
def test_shape_and_dtype_are_those_of_the_normals(name, dtype):
    noise = normals(20, 3, dtype=dtype)
    phi = drive(PROCESSES[name](), noise)
    assert phi.shape == (20, 3)
    assert phi.dtype == dtype
    assert np.isfinite(phi).all()
    np.testing.assert_allclose(phi, drive(PROCESSES[name](), noise.astype(jnp.float64)), rtol=1e-4, atol=1e-5)


def test_decaying_ar_is_equation_17():
    e = np.asarray(normals(300, 2))
    phi = [e[0]]
    for n in range(1, 300):
        phi.append(0.7 * phi[-1] + n**-0.2 * e[n])
    np.testing.assert_allclose(
        drive(processes.decaying_ar(0.7, 0.2), jnp.asarray(e)), phi, rtol=1e-11, atol=1e-12
    )


def test_decaying_ar_is_excited_like_the_power_eight_tenths():
    """sum phi^2 grows like n^0.8 / (0.8 * 0.36) = 3.47 n^0.8 in every direction, slower than n."""
    steps = 100_000
    phi = np.asarray(drive(processes.decaying_ar(), normals(steps, 2)))
    for n in (steps // 10, steps):
        smallest = np.linalg.eigvalsh(phi[:n].T @ phi[:n])[0]
        assert abs(smallest / (3.47 * n**0.8) - 1) < 0.1
    wide = np.asarray(drive(processes.decaying_ar(), normals(3_000, 1_000)))
    exact = np.cumsum(variance_of_decaying_ar(3_000))
    np.testing.assert_allclose(np.sum(wide**2, 0).mean(), exact[-1], rtol=0.01)


def variance_of_decaying_ar(steps):
    variance = [1.0]
    for n in range(1, steps):
        variance.append(0.64 * variance[-1] + n**-0.2)
    return np.array(variance)


@pytest.mark.parametrize(("pole", "scale"), [(0.8, 1.0), (-0.5, 3.0), (0.0, 0.1)])
def test_ar_is_stationary_from_the_first_step(pole, scale):
    phi = np.asarray(drive(processes.ar(pole, scale), normals(40, 20_000)))
    variance = scale**2 / (1 - pole**2)
    for n in (0, 1, 39):
        assert abs(np.mean(phi[n] ** 2) / variance - 1) < 6 * np.sqrt(2 / 20_000)
        assert abs(np.mean(phi[n])) < 6 * np.sqrt(variance / 20_000)
    correlation = np.mean(phi[1:] * phi[:-1]) / variance
    np.testing.assert_allclose(correlation, pole, atol=0.01)


def test_ar_is_its_recursion():
    e = normals(50, 3)
    phi = np.asarray(drive(processes.ar(0.6, 2.0), e))
    np.testing.assert_allclose(phi[0], 2.5 * e[0], rtol=1e-12)
    np.testing.assert_allclose(phi[1:], 0.6 * phi[:-1] + 2.0 * e[1:-1], rtol=1e-10, atol=1e-12)


def test_gaussian_is_its_noise_moved_and_scaled():
    e = normals(10, 3)
    np.testing.assert_array_equal(drive(processes.gaussian(), e), e[1:])
    mean, scale = np.array([1.0, -2.0, 0.0]), np.array([0.5, 1.0, 4.0])
    expected = mean + scale * np.asarray(e[1:])
    np.testing.assert_allclose(drive(processes.gaussian(mean, scale), e), expected, rtol=1e-14)


@pytest.mark.parametrize("dim", [1, 2, 7])
@pytest.mark.parametrize(("delta", "scale"), [(0.25, 1.0), (0.0, 3.0), (0.9, 0.5)])
def test_growing_grows_exactly(dim, delta, scale):
    phi = np.asarray(drive(processes.growing(delta, scale), normals(200, dim)))
    expected = scale**2 * dim * np.arange(1.0, 201) ** delta
    np.testing.assert_allclose(np.sum(phi**2, 1), expected, rtol=1e-12)


def test_growing_is_uniform_on_the_sphere():
    phi = np.asarray(drive(processes.growing(0.0), normals(50_000, 2)))
    angle = np.arctan2(phi[:, 1], phi[:, 0])
    for k in range(1, 5):  # Fourier coefficients of the angle vanish
        assert abs(np.mean(np.exp(1j * k * angle))) < 6 / np.sqrt(50_000)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_growing_has_a_direction_where_the_noise_has_none(dtype):
    _, phi = processes.growing(0.5).step((), jnp.asarray(16, dtype), jnp.zeros(2, dtype))
    np.testing.assert_allclose(np.sum(phi**2), 8, rtol=1e-6)


@pytest.mark.parametrize("direction", [None, V, [3, 4, 0]])
@pytest.mark.parametrize(("dtype", "error"), [(jnp.float32, 1e-5), (jnp.float64, 1e-13)])
def test_unexcited_never_visits_its_direction(direction, dtype, error):
    e = normals(500, 3, dtype=dtype)
    phi = np.asarray(drive(processes.unexcited(direction, scale=2.0), e), np.float64)
    v = np.ones(3) if direction is None else np.asarray(direction, float)
    v = v / np.linalg.norm(v)
    assert np.abs(phi @ v).max() < error
    across = np.eye(3) - np.outer(v, v)
    np.testing.assert_allclose(phi, 2 * np.asarray(e[1:], np.float64) @ across, rtol=0, atol=10 * error)
    assert np.linalg.matrix_rank(phi, tol=1e-2) == 2


TRACED = {
    "decaying_ar": (processes.decaying_ar, dict(pole=[0.1, -0.9], decay=[0.0, 0.5])),
    "gaussian": (processes.gaussian, dict(mean=[0.0, 3.0], scale=[1.0, 0.2])),
    "ar": (processes.ar, dict(pole=[0.1, -0.9], scale=[2.0, 0.5])),
    "growing": (processes.growing, dict(delta=[0.0, 0.4], scale=[2.0, 0.5])),
    "unexcited": (processes.unexcited, dict(direction=[[1.0, 2.0], [0.0, 1.0]], scale=[2.0, 0.5])),
}


@pytest.mark.parametrize("name", TRACED)
def test_parameters_may_be_an_axis_of_a_grid(name):
    process, options = TRACED[name]
    e = normals(15, 2)
    grid = jax.vmap(lambda o: drive(process(**o), e))({k: jnp.array(v) for k, v in options.items()})
    for k in range(2):
        alone = drive(process(**{key: values[k] for key, values in options.items()}), e)
        np.testing.assert_allclose(grid[k], alone, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("process", "options", "message"),
    [
        (processes.decaying_ar, dict(pole=1.0), "pole must be greater than -1 and less than 1"),
        (processes.decaying_ar, dict(decay=-0.1), "decay must be at least 0"),
        (processes.gaussian, dict(mean=np.nan), "mean must be finite"),
        (processes.gaussian, dict(scale=[1.0, 0.0]), "scale must be greater than 0"),
        (processes.ar, dict(pole=-1.0), "pole must be greater than -1"),
        (processes.ar, dict(scale=0.0), "scale must be greater than 0"),
        (processes.growing, dict(delta=-0.5), "delta must be at least 0"),
        (processes.growing, dict(scale=-1.0), "scale must be greater than 0"),
        (processes.unexcited, dict(direction=[0.0, 0.0]), "direction must not be zero"),
        (processes.unexcited, dict(direction=[np.inf, 0.0]), "direction must be finite"),
        (processes.unexcited, dict(scale="big"), "scale must be a real number"),
    ],
)
def test_a_bad_argument_is_named(process, options, message):
    with pytest.raises(ValueError, match=message):
        process(**options)


def test_a_direction_of_another_dimension_is_named():
    with pytest.raises(ValueError, match=r"direction must have shape \(2,\), not \(3,\)"):
        drive(processes.unexcited(V), normals(3, 2))
