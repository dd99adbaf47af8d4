"""Time to an answer: `jaxmlr fit` on a table of a new size beside the imports that it cannot do without.

Run from the root of the repository: python experiments/first_fit.py. Seconds of CPU and of the clock, and the
ratio to `python -c "import jax, pandas, formulaic; jax.numpy.ones(3) + 1"`.
"""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

IMPORTS = ["-c", "import jax, pandas, formulaic; jax.numpy.ones(3) + 1"]
SIZES = ((1000, 3), (3333, 5), (700, 9), (9999, 11))  # rows and regressors; the first finds no cache


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
        imports = [timed(IMPORTS, folder / "imports") for _ in range(3)]
        cpu, clock = (min(seconds) for seconds in zip(*imports, strict=True))
        versions = f"Python {platform.python_version()}, jax {version('jax')}, {os.cpu_count()} cores"
        print(f"{versions}, {os.getloadavg()[0]:.1f} busy with other work")
        print(f"{'imports alone':34} {cpu:6.1f} s CPU {clock:6.1f} s", flush=True)
        for components in ("2", "1:5"):
            cache = folder / f"cache{len(components)}"
            for i, (n, d) in enumerate(SIZES):
                command = ["-m", "jaxmlr", "fit", table(folder, n, d), "--response", "y"]
                own, wall = timed([*command, "--components", components], cache)
                what = f"{n} x {d}, K = {components}, {'new size' if i else 'empty cache'}"
                ratios = f"{own / cpu:4.1f} x CPU {wall / clock:4.1f} x"
                print(f"{what:34} {own:6.1f} s CPU {wall:6.1f} s, {ratios}", flush=True)


if __name__ == "__main__":
    main()
