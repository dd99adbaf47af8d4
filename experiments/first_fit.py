"""Time to an answer: `jaxmlr fit` on a table of a new size beside the imports that it cannot do without.

Run from the root of the repository: python experiments/first_fit.py. Seconds of CPU and of the clock, and the
ratio to `python -c "import jax, pandas, formulaic; jax.numpy.ones(3) + 1"`.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

IMPORTS = ["-c", "import jax, pandas, formulaic; jax.numpy.ones(3) + 1"]
SIZES = ((1000, 3), (3333, 5), (700, 9), (9999, 11))  # rows and regressors; the first fills the caches


def table(folder, n, d):
    rng = np.random.default_rng(n)
    x, beta = rng.normal(size=(n, d)), 2 * rng.normal(size=(2, d))
    lines = x @ beta.T + np.array([1.0, -1.0])
    frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(d)])
    frame["y"] = np.where(rng.random(n) < 0.6, lines[:, 0], lines[:, 1]) + 0.3 * rng.normal(size=n)
    frame.to_csv(folder / f"{n}.csv", index=False)
    return str(folder / f"{n}.csv")


def timed(arguments, cache):
    """Seconds of CPU and of the clock that a Python process takes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    subprocess.run([sys.executable, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - start


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cpu, clock = min(timed(IMPORTS, folder / "cache") for _ in range(3))
        print(f"{'imports alone':32} {cpu:6.1f} s CPU {clock:6.1f} s")
        for components in ("2", "1:5"):
            for i, (n, d) in enumerate(SIZES):
                command = ["-m", "jaxmlr", "fit", table(folder, n, d), "--response", "y"]
                own, wall = timed([*command, "--components", components], folder / "cache")
                what = f"{n} x {d}, K = {components}, {'new size' if i else 'empty cache'}"
                print(
                    f"{what:32} {own:6.1f} s CPU {wall:6.1f} s, {wall / clock:4.1f} x, {own / cpu:4.1f} x CPU"
                )


if __name__ == "__main__":
    main()
