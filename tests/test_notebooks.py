"""Every notebook runs from top to bottom, in a process of its own, with warnings as errors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = (
    "02_two_steps_and_four_traps",
    "03_a_study",
    "04_choosing_a_method",
    "06_your_own_estimator",
    "07_real_data",
)
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))
SAYS = {  # a line that each must print
    "01_first_fit": "coefficients",
    "02_two_steps_and_four_traps": "- excitation is not persistent",
    "03_a_study": "p = 0.55: two_step",
    "04_choosing_a_method": "outlier_density=0.001: error 0.1",
    "05_streams_that_drift": "best of these: forgetting = 0.95",
    "06_your_own_estimator": "lanes: ",
    "07_real_data": "- membership of component",
}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in SLOW)) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_notebook_runs(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "svg", "JAX_PLATFORMS": "cpu"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert any(line.startswith(SAYS[path.stem]) for line in done.stdout.splitlines()), done.stdout
