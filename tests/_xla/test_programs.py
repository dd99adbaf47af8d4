"""Programs kept as StableHLO: the same bits when they are found again, whatever became of the file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr._xla import programs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder of its own."""
    monkeypatch.setattr(programs, "_compiled", {})
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def draw(key, pair, unused):
    x, y = pair
    return {"noise": jax.random.normal(key, x.shape) + x, "solved": jnp.linalg.cholesky(y)}


def asked(count=3):
    pair = jnp.arange(float(count)), 2 * jnp.eye(count)
    like = {"noise": np.zeros(count), "solved": np.zeros((count, count))}
    return programs.Program(draw, "draw", count, like)(jax.random.key(1), pair, jnp.ones(2))


def test_a_program_found_again_gives_the_same_bits_and_is_not_traced(folder, monkeypatch):
    first = asked()
    expected = draw(jax.random.key(1), (jnp.arange(3.0), 2 * jnp.eye(3)), None)
    np.testing.assert_allclose(first["noise"], expected["noise"], rtol=1e-12)
    assert len(list(folder.glob("draw-*.npz"))) == 1
    programs._compiled.clear()
    monkeypatch.setattr(jax.random, "normal", lambda *args: pytest.fail("traced again"))
    for name, value in asked().items():
        np.testing.assert_array_equal(value, first[name])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no program"])
def test_a_broken_file_is_made_anew(folder, content):
    first = asked()
    (path,) = folder.glob("draw-*.npz")
    path.write_bytes(content)
    programs._compiled.clear()
    np.testing.assert_array_equal(asked()["noise"], first["noise"])
    assert len(path.read_bytes()) > 100


def test_other_shapes_are_other_programs(folder):
    asked(3)
    asked(4)
    assert len(list(folder.glob("draw-*.npz"))) == 2


def test_ahead_of_time_a_program_is_compiled_and_not_run(folder):
    with programs.ahead():
        outline = asked()
    np.testing.assert_array_equal(outline["noise"], np.zeros(3))
    (compiled,) = programs._compiled.values()
    compiled.result()
    assert len(list(folder.glob("draw-*.npz"))) == 1
    assert np.all(asked()["noise"] != 0)
    assert list(programs._compiled.values()) == [compiled]


def test_what_is_wrong_with_a_program_is_said_where_it_is_called(folder):
    broken = programs.Program(lambda x: x + jnp.ones(2), "broken", None, 0)
    with pytest.raises(TypeError, match="shapes"):
        broken(np.ones(3))
