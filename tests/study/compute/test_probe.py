"""What a run would do: rows, programs, memory and time."""

import pytest

from jaxmlr.study.compute import probe
from jaxmlr.study.compute.probe import block_size, outlook


def test_an_outlook_counts_what_a_run_computes(rich):
    expected = outlook(rich)
    assert (expected.points, expected.rows, expected.programs) == (4, {"newton": 4, "fragile": 2}, 1)
    assert (expected.blocks, expected.block_size) == (rich.blocks, rich.block_size)
    assert expected.memory > 8 * rich.block_size
    assert expected.seconds > 0
    assert expected.compile_seconds > 0


def test_the_fastest_size_is_taken_and_a_smaller_one_where_close(plain, monkeypatch):
    study = type(plain)(**vars(plain) | {"trials": 5000})
    cost = {128: 2.0, 256: 1.04, 512: 1.0, 1024: 1.01, 2048: 3.0}  # seconds a trial
    monkeypatch.setattr(probe, "_block_seconds", lambda study, size: (None, cost[size] * size))
    assert block_size(study) == 256
    few = type(plain)(**vars(plain) | {"trials": 300})
    assert block_size(few) == 128


def test_other_devices_are_tried_with_far_more_trials(plain, monkeypatch):
    study = type(plain)(**vars(plain) | {"trials": 10**8})
    tried = []
    monkeypatch.setattr(probe.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(probe, "_block_seconds", lambda study, size: (None, tried.append(size) or 1.0))
    assert block_size(study) == 2**20
    assert tried[0] == 1024


def test_a_study_of_batch_methods_alone_has_no_time(plain):
    batch = type(plain)(**vars(plain) | {"estimators": {"em": {"method": "em", "start": "truth"}}})
    assert outlook(batch).seconds is None
    with pytest.raises(ValueError, match="no recursive method"):
        block_size(batch)


def test_axes_of_batch_methods_do_not_hinder(plain):
    methods = {"em": {"method": "em", "start": "truth"}, "seed": {"method": "two_step"}}
    grid = {"estimators.em.max_iterations": [2, 5], "problem.p": [0.6, 0.8]}
    expected = outlook(type(plain)(**vars(plain) | {"estimators": methods, "grid": grid}))
    assert expected.rows == {"em": 4, "seed": 2}
    assert expected.seconds > 0
