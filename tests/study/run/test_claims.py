"""Several processes in one folder."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxmlr.study import load, run_study
from jaxmlr.study.run.claims import STALE_SECONDS, Claims
from jaxmlr.study.run.store import Store

ROOT = Path(__file__).resolve().parents[3]


def owned_by(folder, host, pid, age=0.0):
    path = folder / "7.claim"
    path.write_text(json.dumps({"host": host, "pid": pid}))
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


@pytest.mark.parametrize(
    ("host", "pid", "age", "void"),
    [
        ("here", "dead", 0, True),
        ("here", "alive", 0, False),
        ("elsewhere", "alive", STALE_SECONDS / 2, False),
        ("elsewhere", "alive", 2 * STALE_SECONDS, True),
    ],
)
def test_a_claim_whose_owner_is_gone_is_void(tmp_path, host, pid, age, void):
    pid = dead_process() if pid == "dead" else os.getppid()
    owned_by(tmp_path, socket.gethostname() if host == "here" else "elsewhere", pid, age)
    with Claims(tmp_path) as claims:
        assert claims.take(7) == void


def test_half_a_claim_holds_for_a_while(tmp_path):
    path = tmp_path / "7.claim"
    path.write_text("{")
    with Claims(tmp_path) as claims:
        assert not claims.take(7)
        os.utime(path, (0, 0))
        assert claims.take(7)


def test_what_killed_processes_left_is_swept(tmp_path):
    def left(what, pid):
        owner = json.dumps({"host": socket.gethostname(), "pid": pid})
        (tmp_path / f"{what}.claim").write_text(owner)

    left(1, os.getppid())
    left(2, os.getppid())
    left(3, dead_process())
    left("results", dead_process())
    (tmp_path / "4.claim").write_text("{")  # killed while it was written
    (tmp_path / "5.claim").write_text("{")
    with Claims(tmp_path) as claims:
        claims.sweep({1, 4}.__contains__)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["2.claim", "5.claim"]


@pytest.mark.parametrize("block", [0, 1])
def test_a_claim_of_a_block_that_is_saved_does_not_stay(plain, plain_results, tmp_path, block):
    store = Store(plain, tmp_path)
    run_study(plain, tmp_path, progress=False)
    shutil.rmtree(tmp_path / "results.zarr")
    store._path(1).unlink()
    owner = json.dumps({"host": socket.gethostname(), "pid": dead_process()})
    (tmp_path / "blocks" / f"{block}.claim").write_text(owner)  # killed before or after it saved the block
    run_study(plain, tmp_path, progress=False)
    assert not list(tmp_path.rglob("*.claim"))


def test_a_run_takes_over_from_one_that_was_killed(plain, plain_results, tmp_path):
    Store(plain, tmp_path)
    owner = json.dumps({"host": socket.gethostname(), "pid": dead_process()})
    (tmp_path / "blocks" / "1.claim").write_text(owner)
    found = run_study(plain, tmp_path, progress=False)
    assert not list(tmp_path.rglob("*.claim"))
    for name in found.data_vars:
        np.testing.assert_array_equal(found[name], plain_results[name])


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
    found, alone = load(tmp_path / "both"), load(tmp_path / "one")
    for name in alone.variables:
        np.testing.assert_array_equal(found[name].values, alone[name].values, err_msg=name)
    for path in sorted((tmp_path / "one" / "blocks").iterdir()):
        assert path.read_bytes() == (tmp_path / "both" / "blocks" / path.name).read_bytes()
