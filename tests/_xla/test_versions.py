"""Releases of jaxlib that compute wrong numbers are refused, in code and in the requirements."""

import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr._xla.versions import QUIRKS, applies, require_sound

WRONG = ["0.10.2"]
PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@pytest.mark.parametrize("version", WRONG)
def test_a_wrong_release_is_refused_with_the_way_out(version):
    with pytest.raises(ImportError, match=rf"^jaxlib {version} gives wrong results.*pip install '"):
        require_sound(version)


@pytest.mark.parametrize("version", ["0.10.1", "0.10.20", "0.12.0.1"])
def test_other_releases_pass(version):
    require_sound(version)


def test_the_installed_release_passes():
    require_sound()


@pytest.mark.parametrize("version", [*WRONG, "0.11.1"])
@pytest.mark.parametrize("package", ["jax", "jaxlib"])
def test_the_requirements_exclude_what_is_refused(package, version):
    requirements = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    (line,) = [r for r in requirements if r.startswith(f"{package}>")]
    assert f"!={version}" in line.split(",")


def least_version():
    requirements = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    (line,) = [r for r in requirements if r.startswith("jax>")]
    return tuple(map(int, line.split(",")[0].removeprefix("jax>=").split(".")))


@pytest.mark.parametrize("name", QUIRKS)
def test_a_quirk_that_no_allowed_version_has_is_gone(name):
    until = QUIRKS[name].until
    assert until is None or until > least_version(), f"delete {name!r} and what asks for it"


def test_versions_are_compared_as_numbers():
    assert applies("kernel_for_every_array", (0, 9, 2))
    assert not applies("kernel_for_every_array", (0, 11))
    assert applies("quadratic_scans", (0, 11, 1))
    assert not applies("quadratic_scans", (0, 11, 0))
    assert applies("slow_llvm", (1, 0))


def test_batched_matrix_vector_products_are_right():
    """The very computation that jaxlib 0.10.2 gets wrong (jax issue 39103)."""
    rng = np.random.default_rng(0)
    a, x = rng.normal(size=(40_000, 3, 3)).astype("f4"), rng.normal(size=(40_000, 3)).astype("f4")
    actual = jax.jit(jax.vmap(lambda a, x: jnp.sum(a @ x)))(a, x)
    np.testing.assert_allclose(actual, np.einsum("nij,nj->n", a, x), rtol=1e-3, atol=1e-4)
