"""Peak resident memory of `jaxmlr run` against trials and steps, which must not grow it.

    python experiments/memory.py

One study, then ten times its trials, then ten times its steps, each in a process of its own.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

STUDY = """
name = "memory"
block = 512
record = 40
[problem]
process = { kind = "decaying_ar" }
coefficients = [1.0, -1.5, 0.5]
p = 0.6
[estimators.paper]
method = "two_step"
[estimators.newton]
method = "two_step"
gain = "newton"
bound = 3.0
"""


def peak(trials: int, steps: int) -> float:
    """MiB."""
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "memory.toml"
        path.write_text(f"trials = {trials}\nsteps = {steps}\n{STUDY}")
        command = [sys.executable, "-m", "jaxmlr", "run", str(path), "--out", f"{work}/out", "--quiet"]
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        return usage.ru_maxrss / 1024


def main() -> None:
    base = peak(20_000, 2000)
    print(f"20,000 trials of 2,000 steps: {base:.0f} MiB")
    for name, arguments in (("10 x the trials", (200_000, 2000)), ("10 x the steps", (20_000, 20_000))):
        memory = peak(*arguments)
        print(f"{name}: {memory:.0f} MiB, {100 * (memory / base - 1):+.1f} %", flush=True)


if __name__ == "__main__":
    main()
