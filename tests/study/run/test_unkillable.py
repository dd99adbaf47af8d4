"""Runs that are killed, whose disk is full, or whose workers die lose nothing and change no bit."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from jaxmlr.study import Study, load, run_block, run_study
from jaxmlr.study.run.store import Store

ROOT = Path(__file__).resolve().parents[3]
STUDY = """
name = "unkillable"
seed = 11
trials = 1600
block = 4
steps = 1000
record = [10, 1000]
metrics = ["coefficient_error", "scale"]
[problem]
process = { kind = "decaying_ar" }
coefficients = [1.0, -1.5]
p = 0.7
[estimators.seed]
method = "two_step"
"""


def command(folder):
    return [sys.executable, "-m", "jaxmlr", "run", folder / "study.toml", "--out", folder / "out", "--quiet"]


def equal_bits(a, b):
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)


def blocks(folder):
    return len(list((folder / "out" / "blocks").glob("*.npz")))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.toml"
    path.write_text(STUDY)
    return Study.from_toml(path)


@pytest.fixture(scope="module")
def expected(study):
    return run_study(study, progress=False)


@pytest.mark.slow
def test_killed_a_dozen_times_it_still_ends_with_the_same_bits(expected, tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    chance, mid_run = random.Random(0), 0
    for _ in range(12):
        process = subprocess.Popen(command(tmp_path), cwd=ROOT, stderr=subprocess.DEVNULL)
        before, wanted = blocks(tmp_path), chance.randint(0, 12)
        while process.poll() is None and blocks(tmp_path) < before + wanted:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert blocks(tmp_path) >= before
        mid_run += blocks(tmp_path) > before
    assert mid_run >= 6
    assert blocks(tmp_path) < 400
    subprocess.run(command(tmp_path), cwd=ROOT, check=True)
    equal_bits(load(tmp_path / "out"), expected)
    assert not list((tmp_path / "out").rglob("*.claim"))


@pytest.mark.slow
def test_a_full_disk_is_named_and_what_was_finished_stays(study, tmp_path):
    """A limit on the size of files stands in for the disk: the manifest fits, a block does not."""
    text = STUDY.replace("block = 4", "block = 800").replace("[10, 1000]", "100")
    (tmp_path / "study.toml").write_text(text)
    wide = Study.from_toml(tmp_path / "study.toml")
    store = Store(wide, tmp_path / "out")
    first, second = store.missing()
    store.save(first, run_block(wide, 0))
    path = tmp_path / "out" / "blocks" / f"{first.name}.npz"
    saved = path.read_bytes()

    limited = ["bash", "-c", f'ulimit -f {len(saved) // 4096}; exec "$@"', "bash", *command(tmp_path)]
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"jaxmlr: {tmp_path}/out/blocks/{second.name}.npz: File too large\n"
    assert path.read_bytes() == saved
    assert blocks(tmp_path) == 1
    assert not list((tmp_path / "out").rglob("*.tmp"))
    subprocess.run(command(tmp_path), cwd=ROOT, check=True)
    equal_bits(load(tmp_path / "out"), run_study(wide, progress=False))


@pytest.mark.slow
def test_a_worker_of_a_cluster_that_is_killed_changes_nothing(study, expected, tmp_path):
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "out"
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        killed = []

        def kill():
            while blocks(tmp_path) < 5:
                time.sleep(0.01)
            pid = client.run(os.getpid)
            killed.append(next(iter(pid.values())))
            os.kill(killed[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        results = run_study(study, out, executor=client.get_executor(), progress=False)
        killer.join()
    assert killed
    assert results.attrs["executor"] == "ClientExecutor"
    equal_bits(results, expected)
    assert blocks(tmp_path) == 400
