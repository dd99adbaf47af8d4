"""Releases of jaxlib that compute wrong numbers are refused, in code and in the requirements."""

import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr._xla.versions import WRONG, require_sound

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


@pytest.mark.parametrize("version", WRONG)
@pytest.mark.parametrize("package", ["jax", "jaxlib"])
def test_the_requirements_exclude_what_is_refused(package, version):
    requirements = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    (line,) = [r for r in requirements if r.startswith(f"{package}>")]
    assert f"!={version}" in line.split(",")


def test_batched_matrix_vector_products_are_right():
    """The very computation that jaxlib 0.10.2 gets wrong (jax issue 39103)."""
    rng = np.random.default_rng(0)
    a, x = rng.normal(size=(40_000, 3, 3)).astype("f4"), rng.normal(size=(40_000, 3)).astype("f4")
    found = jax.jit(jax.vmap(lambda a, x: jnp.sum(a @ x)))(a, x)
    np.testing.assert_allclose(found, np.einsum("nij,nj->n", a, x), rtol=1e-3, atol=1e-4)
