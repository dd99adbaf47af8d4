"""An array of processes on one folder, on two hosts, killed and started at random."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxmlr.study import Study, load, run_study

ROOT = Path(__file__).resolve().parents[3]
STUDY = """
name = "array"
seed = 12
trials = 6400
block = 16
steps = 2000
record = [10, 2000]
metrics = ["coefficient_error", "scale"]
[problem]
process = { kind = "decaying_ar" }
coefficients = [1.0, -1.5]
p = 0.7
[estimators.seed]
method = "two_step"
"""
PROCESS = """
import socket, sys
socket.gethostname = lambda: sys.argv.pop(1)
host = socket.gethostname()
socket.gethostname = lambda: host
from jaxmlr.study.run import claims
claims.STALE_SECONDS = 3.0
from jaxmlr.__main__ import main
main()
"""
SECONDS = 120  # of killing


@pytest.mark.slow
def test_eight_processes_killed_at_random_end_with_the_bits_of_one(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(STUDY)
    out, chance = tmp_path / "out", random.Random(0)
    command = ["run", study, "--out", out, "--quiet"]

    def start(number):
        host = f"node{number % 2}"
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, host, *command], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )

    processes, killed = [start(number) for number in range(8)], 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and any(process.poll() is None for process in processes):
        time.sleep(chance.uniform(0, 3))
        number = chance.randrange(8)
        if processes[number].poll() is None:
            processes[number].send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
            killed += 1
            processes[number].communicate()
            processes[number] = start(number)
    assert killed
    for process in processes:
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
    shared, alone = load(out), run_study(Study.from_toml(study), progress=False)
    for name in alone.variables:
        np.testing.assert_array_equal(shared[name].values, alone[name].values, err_msg=name)
    for path in out.rglob("*.tmp"):  # of writes that were killed; a later run removes them once they are old
        os.utime(path, (0, 0))
    run_study(Study.from_toml(study), out, progress=False)
    assert not [*out.rglob("*.claim"), *out.rglob("*.tmp")]
