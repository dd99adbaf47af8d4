"""A study in its folder takes more trials, methods and grid points; only what is new is computed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxmlr.study import load, run_block, run_study
from jaxmlr.study.run import placement
from jaxmlr.study.run.store import Store

METHODS = {
    "seed": {"method": "two_step"},
    "newton": {"method": "two_step", "gain": "newton", "bound": 3.0},
}


def changed(study, **changes):
    return type(study)(**vars(study) | changes)


def equal_bits(a, b):
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)


@pytest.fixture
def computed(monkeypatch):
    """Which (method, row, trial) are computed, from now on."""
    work, lock = [], threading.Lock()

    def counting(study, block, device=0, chosen=None):
        size = study.block_size
        trials = range(block * size, min((block + 1) * size, study.trials)) if type(block) is int else block
        values = run_block(study, block, device, chosen)
        with lock:
            for name, table in values.items():
                rows = len(table["finite"]) if chosen is None else chosen.get(name, ())
                rows = range(rows) if type(rows) is int else rows
                work.extend((name, row, trial) for row in rows for trial in trials)
        return values

    monkeypatch.setattr(placement, "run_block", counting)
    return work


@pytest.fixture(scope="module")
def small(plain):
    return changed(plain, estimators={"seed": METHODS["seed"]}, grid={"problem.p": [0.6, 0.8]})


def test_more_trials_compute_the_new_ones_alone_with_the_bits_of_all_at_once(plain, tmp_path, computed):
    run_study(plain, tmp_path, progress=False)
    more = changed(plain, trials=37, block=16)
    computed.clear()
    grown = run_study(more, tmp_path, progress=False)
    assert sorted({trial for _, _, trial in computed}) == list(range(10, 37))
    assert len(computed) == 2 * 27  # the method and the oracle
    equal_bits(grown, run_study(more, progress=False))
    equal_bits(load(tmp_path), grown)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"trials": 7},
        {"block": 3},
        {"keep": 2},
        {"until": {"metric": "coefficient_error", "standard_error": 10.0}},
        {"reference": "seed"},
    ],
)
def test_what_is_there_is_not_computed_again(plain, tmp_path, computed, changes):
    run_study(plain, tmp_path, progress=False)
    computed.clear()
    other = changed(plain, **changes)
    equal_bits(run_study(other, tmp_path, progress=False), run_study(other, progress=False))
    assert not [work for work in computed if work[2] < 0]
    computed.clear()
    run_study(other, tmp_path, progress=False)
    assert computed == []


@pytest.mark.slow
def test_more_methods_and_grid_points_compute_those_alone(small, tmp_path, computed):
    run_study(small, tmp_path, progress=False)
    computed.clear()
    more = changed(small, estimators=METHODS, grid={"problem.p": [0.6, 0.7, 0.8]})
    grown = run_study(more, tmp_path, progress=False)
    every = {(name, row) for name, row, _ in computed}
    assert every == {("newton", 0), ("newton", 1), ("newton", 2), ("seed", 1), ("<oracle>", 1)}
    assert len(computed) == 5 * 10
    equal_bits(grown, run_study(more, progress=False))
    computed.clear()
    equal_bits(run_study(small, tmp_path, progress=False), run_study(small, progress=False))
    computed.clear()
    run_study(more, tmp_path, progress=False)
    assert computed == []  # fewer was a view: nothing was lost


def test_what_the_folder_of_another_study_has_is_copied(plain, plain_results, tmp_path, computed):
    run_study(plain, tmp_path / "one", progress=False)
    computed.clear()
    other = changed(plain, name="other")
    shared = run_study(other, tmp_path / "two", share=tmp_path / "one", progress=False)
    assert computed == []
    equal_bits(shared, plain_results)
    looked = Store.look(other, tmp_path / "three")
    looked.share(tmp_path / "one", copy=False)
    assert looked.missing() == []
    with pytest.raises(FileNotFoundError, match="nothing"):
        run_study(other, tmp_path / "three", share=tmp_path / "nothing", progress=False)
    with pytest.raises(ValueError, match="share: there is no folder to copy blocks to"):
        run_study(other, share=tmp_path / "one", progress=False)
    assert not (tmp_path / "three").exists()


@pytest.mark.slow
def test_other_metrics_are_computed_and_the_old_ones_stay(plain, tmp_path, computed):
    run_study(plain, tmp_path, progress=False)
    other = changed(plain, metrics=["scale"])
    equal_bits(run_study(other, tmp_path, progress=False), run_study(other, progress=False))
    computed.clear()
    run_study(plain, tmp_path, progress=False)
    assert computed == []


def test_a_grown_folder_says_what_has_changed(plain, tmp_path, capsys):
    run_study(plain, tmp_path, progress=False)
    run_study(changed(plain, trials=8), tmp_path, progress=False)
    assert f"{tmp_path}: trials was 10 and is 8" in capsys.readouterr().err


def test_a_callback_sees_the_statistics_so_far_and_stops(plain, plain_results, tmp_path):
    seen = []

    def watch(update):
        seen.append((update.trials, update.of, update.results().attrs["trials"]))
        return len(seen) == 2

    with ThreadPoolExecutor(1) as executor:  # one block after another
        stopped = run_study(plain, tmp_path, executor=executor, progress=False, callback=watch)
    assert seen == [(4, 10, 4), (8, 10, 8)]
    assert (stopped.attrs["trials"], stopped.attrs["unfinished"]) == (8, 1)
    equal_bits(load(tmp_path), stopped)
    whole = run_study(plain, tmp_path, progress=False, callback=lambda update: None)
    equal_bits(whole, plain_results)
    assert "unfinished" not in whole.attrs


def test_a_look_says_what_is_there_and_changes_nothing(plain, tmp_path):
    folder = tmp_path / "out"
    assert sum(unit.trials for unit in Store.look(plain, folder).missing()) == 10
    assert not folder.exists()
    run_study(plain, folder, progress=False)
    assert Store.look(plain, folder).missing() == []
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    more = changed(plain, trials=37)
    assert {(unit.first, unit.stop) for unit in Store.look(more, folder).missing()} == {
        (first, min(first + 4, 37)) for first in range(10, 37, 4)
    }
    with pytest.raises(ValueError, match="holds another study: its seed is 3, this one's 4"):
        Store.look(changed(plain, seed=4), folder)
    assert files == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
