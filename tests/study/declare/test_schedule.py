"""Which steps are recorded, and how trials are cut into blocks."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxmlr.study import Study

PLAIN = Study(
    name="plain",
    problem={"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.6},
    estimators={"paper": {"method": "two_step"}},
    trials=20,
    steps=30,
    record=3,
)


@given(st.integers(1, 10**9), st.integers(1, 200))
def test_recorded_steps_are_as_many_as_asked_increasing_and_end_with_the_last(steps, record):
    study = dataclasses.replace(PLAIN, steps=steps, record=record)
    recorded = study.recorded
    assert len(recorded) == min(record, steps)
    assert recorded[-1] == steps
    assert recorded[0] == 1 or record == 1
    assert np.all(np.diff(recorded) > 0)


def test_recorded_steps_are_spaced_evenly_on_a_logarithmic_scale():
    recorded = dataclasses.replace(PLAIN, steps=10**6, record=25).recorded
    ratio = recorded[12:][1:] / recorded[12:][:-1]
    assert ratio.max() / ratio.min() < 1.02


def test_listed_steps_are_sorted_and_kept_once():
    np.testing.assert_array_equal(
        dataclasses.replace(PLAIN, steps=30, record=[20, 3, 3, 7]).recorded, [3, 7, 20]
    )


@given(st.integers(1, 10**6), st.none() | st.integers(1, 2000))
def test_blocks_hold_all_trials_and_none_is_empty(trials, block):
    study = dataclasses.replace(PLAIN, trials=trials, block=block)
    size = study.block_size
    assert 1 <= size <= trials
    assert size == min(trials, block) if block else size <= 1024
    assert (study.blocks - 1) * size < trials <= study.blocks * size
