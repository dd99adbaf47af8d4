"""Faults drawn anew in any file of a finished folder: the same numbers or one clear line, never others."""

import os
import random
import shutil

import numpy as np
import pytest
import xarray as xr

from jaxmlr.study import load, run_study
from tests.study.conftest import plain_study


def same(a, b):
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)


@pytest.fixture(scope="module")
def small():
    """One metric, and so few variables: what costs time is to read and write them."""
    return plain_study(metrics=["misclassification"])


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "out"
    return folder, run_study(small, folder, progress=False)


@pytest.fixture
def quick_disk(finished, monkeypatch):
    """No power fails here, and what xarray has written of a dataset stands for what it would write again."""
    folder, results = finished

    def copied(dataset, path, **_):
        assert dataset.equals(results)
        shutil.copytree(folder / "results.zarr", path)

    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(xr.Dataset, "to_zarr", copied)


def damage(folder, chance):
    """One fault, as words."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path, other = chance.choice(files), chance.choice(files)
    kind = chance.choice(["flip", "delete", "halve", "empty", "dangle", "swap", "grow", "zero", "folder"])
    content = bytearray(path.read_bytes())
    if kind == "flip":
        content[chance.randrange(max(1, len(content)))] ^= 1 << chance.randrange(8)
    if kind == "swap":
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
        return f"{path} swapped with {other}"
    if kind in ("delete", "dangle", "folder"):
        path.unlink()
    if kind == "dangle":
        os.symlink("nowhere", path)
    elif kind == "folder":
        path.mkdir()
    elif kind != "delete":
        changed = {"halve": content[: len(content) // 2], "empty": b"", "zero": bytes(len(content))}
        path.write_bytes(changed.get(kind, content + b"\0" * (kind == "grow")))
    return f"{path}: {kind}"


def outcome(read, what):
    """What is read, or how many lines the refusal has."""
    try:
        return read(), 0
    except (ValueError, OSError) as error:
        return None, str(error).count("\n") + 1
    except BaseException as error:
        raise AssertionError(what) from error


def check(small, finished, folder, seed, faults):
    whole, results = finished
    chance = random.Random(seed)
    outcomes = {"same": 0, "refused": 0, "marked": 0}
    for _ in range(faults):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        what = damage(folder, chance)
        for read in (lambda: load(folder), lambda: run_study(small, folder, progress=False)):
            result, lines = outcome(read, f"seed {seed}: {what}")
            if result is None:
                assert lines == 1, what
                outcomes["refused"] += 1
                continue
            if result.attrs.get("unfinished"):  # results and a block are gone: the others' statistics, marked
                outcomes["marked"] += 1
                continue
            try:
                for name in result.variables:
                    np.testing.assert_array_equal(result[name].values, results[name].values, err_msg=name)
                missing = set(results.variables) - set(result.variables)
                assert all(str(name).endswith("_theory") for name in missing), missing
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {what}: {error}") from error
            outcomes["same"] += 1
    assert outcomes["same"] > outcomes["refused"] + outcomes["marked"]


def test_no_fault_gives_other_numbers_or_a_traceback(small, finished, quick_disk, tmp_path):
    check(small, finished, tmp_path / "out", 5, 30)


@pytest.mark.slow
def test_no_fault_of_hundreds_gives_other_numbers_or_a_traceback(small, finished, quick_disk, tmp_path):
    check(small, finished, tmp_path / "out", 580830548, 300)


def test_no_two_swapped_files_give_other_numbers_or_a_traceback(small, finished, quick_disk, tmp_path):
    whole, results = finished
    blocks = sorted((whole / "blocks").iterdir())
    limits, answers = whole / "limits.npz", whole / "results.json"
    for one, other in [(blocks[0], limits), (blocks[0], blocks[1]), (limits, answers), (blocks[0], answers)]:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        shutil.copytree(whole, tmp_path / "out")
        for path, content in ((one, other), (other, one)):
            (tmp_path / "out" / path.relative_to(whole)).write_bytes(content.read_bytes())
        same(run_study(small, tmp_path / "out", progress=False), results)


@pytest.mark.parametrize("gone", ["blocks", "results.json", "results.zarr"])
def test_what_is_deleted_is_made_again(small, finished, tmp_path, gone):
    whole, results = finished
    shutil.copytree(whole, tmp_path / "out")
    path = tmp_path / "out" / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    same(run_study(small, tmp_path / "out", progress=False), results)
    assert path.exists()
    same(load(tmp_path / "out"), results)
