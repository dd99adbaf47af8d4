"""Chunks of trials: their sizes, and that they change nothing but the speed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr.study.compute import chunks
from jaxmlr.study.compute.program import Program


@pytest.mark.parametrize(
    ("trials", "carried", "size"),
    [
        (1024, 76, 512),  # two_step at d = 3: two chunks
        (1024, 500, 128),  # d = 10
        (1024, 10**6, 128),  # never fewer than the least, but for the rest
        (1000, 76, 512),
        (200, 10**6, 112),
        (128, 10**6, 128),
        (10, 0, 16),
    ],
)
def test_chunks_are_whole_registers_of_trials_that_fit(trials, carried, size, monkeypatch):
    monkeypatch.setattr(chunks, "LEAST", 128)  # as it is on jax 0.11 and later
    together = chunks.side_by_side(trials, carried)
    assert together == size
    assert together == trials or together % chunks.VECTOR == 0


def test_other_devices_take_all_trials_at_once(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert chunks.side_by_side(10**6, 500) == 10**6


@pytest.mark.parametrize("size", [1, 3, 4, 9, 10, 64])
def test_every_trial_is_computed_once_and_in_its_place(size):
    trials = 7 + jnp.arange(10, dtype=jnp.int32)
    values = chunks.in_chunks(lambda t: {"a": t * 2, "b": jnp.stack([t, -t], axis=1)}, trials, size)
    np.testing.assert_array_equal(values["a"], 2 * trials)
    np.testing.assert_array_equal(values["b"], np.stack([trials, -trials], axis=1))


@pytest.mark.slow
def test_a_study_does_not_know_its_chunks(rich, monkeypatch):
    study = type(rich)(**vars(rich) | {"trials": 40, "block": 40})
    results = []
    for most in (16, 512):
        monkeypatch.setattr(chunks, "LEAST", 16)
        monkeypatch.setattr(chunks, "MOST", most)
        results.append(Program(study, jax.local_devices()[0])(0))
        monkeypatch.undo()
    for method, table in results[0].items():
        for metric, values in table.items():
            np.testing.assert_array_equal(values, results[1][method][metric])


def test_bytes_of_a_pytree():
    assert (
        chunks.nbytes({"a": jnp.ones((2, 3), jnp.float32), "b": jax.ShapeDtypeStruct((5,), jnp.int8)}) == 29
    )
