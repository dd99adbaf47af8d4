"""Several processes in one folder."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jaxmlr.study import load, run_study
from jaxmlr.study.run import claims, files
from jaxmlr.study.run.claims import STALE_SECONDS, Claims
from jaxmlr.study.run.store import Store

ROOT = Path(__file__).resolve().parents[3]


def owner(**changes):
    """What a claim of this process says, but for the changes."""
    return json.dumps(claims._me()._asdict() | changes)


def owned_by(folder, age=0.0, what=7, **changes):
    path = folder / f"{what}.claim"
    path.write_text(owner(**changes))
    then = time.time() - age
    os.utime(path, (then, then))


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_claim_is_for_one_and_given_back(tmp_path):
    with Claims(tmp_path) as one, Claims(tmp_path) as other:
        assert one.take(7)
        assert not other.take(7)
        assert other.take(8)
        one.release(7)
        assert other.take(7)
    assert list(tmp_path.iterdir()) == []


def parent():
    return {"pid": os.getppid(), "started": claims._started(os.getppid()), "life": "its own"}


@pytest.mark.parametrize(
    ("changes", "age", "void"),
    [
        (lambda: {"pid": dead_process()}, 0, True),
        (parent, 0, False),
        (parent, 2 * STALE_SECONDS, True),  # it hangs
        (dict, 0, False),
        (lambda: {"life": "an earlier one"}, 0, True),  # process 1 of a container that was started again
        (lambda: parent() | {"started": "1"}, 0, True),  # the number was given to another process
        (lambda: {"boot": "another"}, 0, True),
        (lambda: {"host": "elsewhere"}, STALE_SECONDS / 2, False),
        (lambda: {"host": "elsewhere"}, 2 * STALE_SECONDS, True),
        (lambda: {"pid": 1e30}, 0, True),
        (lambda: {"pid": float("inf")}, 0, True),
        (lambda: {"pid": -1}, 0, True),
        (lambda: {"pid": True}, 0, True),
        (lambda: {"host": ["here"]}, 0, True),
        (lambda: {"more": 1}, 0, True),
    ],
)
def test_a_claim_whose_owner_is_gone_is_void(tmp_path, changes, age, void):
    owned_by(tmp_path, age, **changes())
    with Claims(tmp_path) as mine:
        assert mine.take(7) == void


@pytest.mark.parametrize("text", ["{", "null", "[]", "[" * 10_000, "\0\0", "{}"])
def test_a_damaged_claim_is_void(tmp_path, text):
    (tmp_path / "7.claim").write_text(text)
    with Claims(tmp_path) as mine:
        assert mine.take(7)


def test_an_empty_claim_is_being_written_and_holds_for_a_while(tmp_path):
    path = tmp_path / "7.claim"
    path.write_text("")
    with Claims(tmp_path) as mine:
        assert not mine.take(7)
        os.utime(path, (0, 0))
        assert mine.take(7)


def test_a_claim_of_a_clock_that_is_ahead_is_void_once_it_has_not_moved(tmp_path, monkeypatch):
    owned_by(tmp_path, -1e6, host="elsewhere")
    with Claims(tmp_path) as mine:
        assert not mine.take(7)
        monkeypatch.setattr(claims, "STALE_SECONDS", 0.01)
        time.sleep(0.02)
        assert mine.take(7)


def test_one_of_many_creates_a_file_and_all_read_it_whole(tmp_path):
    contents = [bytes([65 + k]) * 10_000 for k in range(16)]
    with ThreadPoolExecutor(16) as threads:
        won = list(threads.map(lambda content: files.create(tmp_path / "file", content), contents))
    assert sum(won) == 1
    assert (tmp_path / "file").read_bytes() == contents[won.index(True)]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_without_links_has_claims_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with Claims(tmp_path) as one, Claims(tmp_path) as other:
        assert one.take(7)
        assert not other.take(7)


def test_what_killed_processes_left_is_swept(tmp_path):
    for what in (1, 2):
        owned_by(tmp_path, what=what)
    for what in (3, "results"):
        owned_by(tmp_path, what=what, pid=dead_process())
    (tmp_path / "4.claim").write_text("{")
    with Claims(tmp_path) as mine:
        mine.sweep({"1"}.__contains__)
        assert [path.name for path in tmp_path.iterdir()] == ["2.claim"]
        assert mine.holder(2) == f"process {os.getpid()} on {socket.gethostname()!r}"
        assert mine.holder(3) == "another process"


@pytest.mark.parametrize("block", [0, 1])
def test_a_claim_of_a_block_that_is_saved_does_not_stay(plain, plain_results, tmp_path, block):
    work = Store(plain, tmp_path).missing()
    run_study(plain, tmp_path, progress=False)
    shutil.rmtree(tmp_path / "results.zarr")
    (tmp_path / "blocks" / f"{work[1].name}.npz").unlink()
    owned_by(
        tmp_path / "blocks", what=work[block].name, pid=dead_process()
    )  # killed before or after it saved the block
    run_study(plain, tmp_path, progress=False)
    assert not list(tmp_path.rglob("*.claim"))


def test_a_run_takes_over_from_one_that_was_killed(plain, plain_results, tmp_path):
    work = Store(plain, tmp_path).missing()
    owned_by(tmp_path / "blocks", what=work[1].name, pid=dead_process())
    results = run_study(plain, tmp_path, progress=False)
    assert not list(tmp_path.rglob("*.claim"))
    for name in results.data_vars:
        np.testing.assert_array_equal(results[name], plain_results[name])


@pytest.mark.slow
def test_two_processes_share_a_folder(tmp_path):
    study = tmp_path / "shared.toml"
    study.write_text(
        """
name = "shared"
trials = 600
block = 4
steps = 3000
record = [10, 3000]
[problem]
process = { kind = "decaying_ar" }
coefficients = [1.0, -1.5]
p = 0.7
[estimators.seed]
method = "two_step"
"""
    )
    command = [sys.executable, "-m", "jaxmlr", "run", study, "--quiet", "--out"]
    both = [subprocess.Popen([*command, tmp_path / "both"], cwd=ROOT) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    subprocess.run([*command, tmp_path / "one"], cwd=ROOT, check=True)
    assert not list((tmp_path / "both").rglob("*.claim"))
    shared, alone = load(tmp_path / "both"), load(tmp_path / "one")
    for name in alone.variables:
        np.testing.assert_array_equal(shared[name].values, alone[name].values, err_msg=name)
    for path in sorted((tmp_path / "one" / "blocks").iterdir()):
        assert path.read_bytes() == (tmp_path / "both" / "blocks" / path.name).read_bytes()
