"""Programs found again by later commands: none is compiled anew, and the bits are the same."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxmlr.study import load

ROOT = Path(__file__).resolve().parents[2]
STUDY = """
name = "kept"
trials = 6
steps = 20
record = 1
metrics = ["coefficient_error"]
[problem]
process = { kind = "decaying_ar" }
coefficients = [1.0, -1.5]
p = 0.7
[estimators.seed]
method = "two_step"
"""


@pytest.mark.slow
def test_a_second_command_finds_the_program_and_the_same_numbers(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    entries = []
    for name in ("one", "two"):
        command = [sys.executable, "-W", "error", "-m", "jaxmlr", "run", tmp_path / "study.toml"]
        done = subprocess.run(
            [*command, "--quiet", "--out", tmp_path / name],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        entries.append(sorted(path.name for path in tmp_path.glob("cache/jaxmlr/*-cache")))
    assert entries[0] == entries[1] != []
    one, two = (load(tmp_path / name) for name in ("one", "two"))
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name], two[name])
