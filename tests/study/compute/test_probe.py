"""What a run would do: rows, programs, memory and time."""

import jax
import pytest

from jaxmlr.study.compute import probe
from jaxmlr.study.compute.plan import PROBLEM
from jaxmlr.study.compute.probe import Work, block_size, outlook


@pytest.fixture
def one_device(monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])


@pytest.mark.slow
def test_an_outlook_counts_what_a_run_computes(plain, one_device):
    methods = {"seed": {"method": "two_step", "bound": 1.0}, "em": {"method": "symmetric_em"}}
    grid = {"problem.p": [0.6, 0.75], "estimators.seed.bound": [1.0, 3.0]}
    study = type(plain)(**vars(plain) | {"estimators": methods, "grid": grid})
    every = outlook(study)
    assert (every.points, every.rows, every.programs) == (4, {"seed": 4, "em": 2}, 1)
    assert (every.blocks, every.block_size) == (study.blocks, study.block_size)
    assert every.memory > 4 * study.block_size
    assert every.seconds > 0
    assert every.compile_seconds >= every.again_seconds > 0
    left = outlook(study, [Work({"em": (1,), PROBLEM: (0,)}, 2)])
    assert (left.blocks, left.programs, left.rows) == (2, 1, every.rows)
    assert 0 < left.disk < every.disk
    nothing = outlook(study, [])
    assert (nothing.blocks, nothing.programs, nothing.seconds, nothing.disk) == (0, 0, 0, 0)


def test_the_fastest_size_is_taken_and_a_smaller_one_where_close(plain, monkeypatch):
    study = type(plain)(**vars(plain) | {"trials": 5000})
    cost = {128: 2.0, 256: 1.04, 512: 1.0, 1024: 1.01, 2048: 3.0}  # seconds a trial
    monkeypatch.setattr(probe, "_short", lambda study, size, device: size)
    monkeypatch.setattr(probe, "_seconds", lambda sizes: [cost[sizes[0]] * sizes[0]])
    assert block_size(study) == 256
    few = type(plain)(**vars(plain) | {"trials": 300})
    assert block_size(few) == 128


def test_other_devices_are_tried_with_far_more_trials(plain, monkeypatch):
    study = type(plain)(**vars(plain) | {"trials": 10**8})
    tried = []
    monkeypatch.setattr(probe.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(probe, "_short", lambda study, size, device: size)
    monkeypatch.setattr(probe, "_seconds", lambda sizes: tried.append(sizes[0]) or [1.0])
    assert block_size(study) == 2**20
    assert tried[0] == 1024


@pytest.mark.slow
def test_batch_methods_are_measured_too(plain, one_device, monkeypatch):
    batch = type(plain)(**vars(plain) | {"estimators": {"em": {"method": "em", "start": "truth"}}})
    assert outlook(batch).seconds > 0
    monkeypatch.setattr(probe, "WHOLE", 0)
    assert outlook(batch).seconds > 0
    with pytest.raises(ValueError, match="no recursive method"):
        block_size(batch)


@pytest.mark.slow
def test_axes_of_batch_methods_do_not_hinder(plain, one_device, monkeypatch):
    monkeypatch.setattr(probe, "WHOLE", 0)
    methods = {"em": {"method": "em", "start": "truth"}, "seed": {"method": "two_step"}}
    grid = {"estimators.em.max_iterations": [2, 5], "problem.p": [0.6, 0.8]}
    expected = outlook(type(plain)(**vars(plain) | {"estimators": methods, "grid": grid}))
    assert expected.rows == {"em": 4, "seed": 2}
    assert expected.seconds > 0
