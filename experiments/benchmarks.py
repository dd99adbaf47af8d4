"""Every speed that the README names, measured in one sitting and appended to experiments/benchmarks.json.

    python experiments/benchmarks.py [--limit PATH] [--only rivals,methods,scaling,recording,batch,first]

rivals     `jaxmlr bench` beside NumPy, the obvious JAX and, with --limit, a hand-written program that takes
           DIM TRIALS STEPS THREADS and prints JSON with trial_steps_per_second; the best of three rounds
methods    nanoseconds per trial-step, on all devices at once, of every recursive method with its data
scaling    nanoseconds per trial-step of `two_step`, d = 3, against trials in a block and steps, on one
           device, and against devices
recording  a study of 4 methods with 40 recorded steps and all metrics, against the same with nothing
           recorded, and against the 4 one by one
batch      EM: bytes of data a second, on one core, beside copying memory
first      seconds from the start of the process to the results of a small study, nothing cached
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rivals import jax_study, numpy_study
from timing import timed

from jaxmlr import Mixture, em
from jaxmlr.cli.bench import bench
from jaxmlr.study import Problem, Study, run_block, use_all_cores

HERE = Path(__file__).parent
DIMS, COMPONENTS = (2, 3, 5, 10, 20), (2, 3, 5)
SYMMETRIC = ("two_step", "symmetric_em", "midpoint_em", "second_moment", "fisher_scoring", "oracle")
GENERAL = ("recursive_em", "online_em", "online_gradient", "multistart_em")
SECONDS = 1.0  # least time that a speed is measured over


def rate(study: Study, count: int | None = None) -> float:
    """Trial-steps a second of a study's compiled block, on `count` devices at once, by default all."""
    devices = range(count or len(jax.local_devices()))

    def many(device: int) -> tuple[int, float]:
        began, blocks = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            run_block(study, blocks, device)
            blocks += 1
        return blocks, time.perf_counter() - began

    with ThreadPoolExecutor(len(devices)) as threads:
        list(threads.map(lambda device: run_block(study, 0, device), devices))
        totals = list(threads.map(many, devices))
    return sum(blocks / seconds for blocks, seconds in totals) * study.block_size * int(study.recorded[-1])


def study(methods: dict[str, dict[str, Any]], dim: int, components: int = 2, **options: Any) -> Study:
    """A study with blocks of 1,024 trials and more trials than any measurement gets through."""
    lines = 1.5 * np.random.default_rng(components).normal(size=(components, dim))
    data = {"coefficients": lines, "weights": [1 / components] * components}
    if components == 2:
        data = {"coefficients": lines[0], "p": 0.6}
    problem = Problem(process={"kind": "decaying_ar"}, **data)
    given = {"name": "speed", "trials": 2**30, "block": 1024, "steps": 500, "record": 1}
    given["metrics"] = ("coefficient_error",)
    return Study(problem=problem, estimators=methods, **(given | options))


def options(method: str, dim: int, components: int) -> dict[str, Any]:
    """A method's table, with the start that some need."""
    table: dict[str, Any] = {"method": method}
    if method in ("online_em", "online_gradient"):
        lines = np.random.default_rng(0).normal(size=(components, dim))
        table["start"] = {"coefficients": lines, "weights": [1 / components] * components}
    if method == "online_gradient":
        table["transformation"] = {"name": "adam", "learning_rate": 0.01}
    return table


def rivals(limit: str | None) -> dict[str, Any]:
    """Million trial-steps a second of each, best of three rounds."""
    speeds: dict[str, Any] = {}
    for dim in (2, 3, 5, 10):
        best: dict[str, float] = {}

        def note(name: str, speed: float, best: dict[str, float] = best) -> None:
            best[name] = max(best.get(name, 0.0), speed / 1e6)

        naive = jax_study(dim, 1024, 500)
        for _ in range(3):
            if limit:
                command = [limit, str(dim), "8192", "5000", str(os.cpu_count())]
                said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                note("limit", said["trial_steps_per_second"])
            note("jaxmlr", bench(dim, 8192, 5000)["trial_steps_per_second"])
            for name, call, work in (
                ("numpy", lambda dim=dim: numpy_study(dim, 1024, 200), 1024 * 200),
                ("jax", naive, 1024 * 500),
            ):
                began = time.perf_counter()
                call()
                note(name, work / (time.perf_counter() - began))
        speeds[f"d={dim}"] = {name: round(speed, 2) for name, speed in best.items()}
        print("rivals", dim, speeds[f"d={dim}"], flush=True)
    return speeds


def methods() -> dict[str, Any]:
    """Nanoseconds per trial-step: method -> d and K -> ns; a process each, which frees its programs."""
    nanoseconds: dict[str, dict[str, float]] = {}
    for method, components in [(m, 2) for m in SYMMETRIC] + [(m, k) for m in GENERAL for k in COMPONENTS]:
        command = [sys.executable, __file__, "--method", method, "--components", str(components)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        nanoseconds[f"{method}, K={components}"] = json.loads(said)
        print("methods", method, components, said.strip(), flush=True)
    return nanoseconds


def one_method(method: str, components: int) -> dict[str, float]:
    """Nanoseconds per trial-step for each d."""
    speeds = {d: rate(study({"one": options(method, d, components)}, d, components)) for d in DIMS}
    return {f"d={dim}": round(1e9 / speed, 2) for dim, speed in speeds.items()}


def scaling() -> dict[str, Any]:
    """Nanoseconds per trial-step: what is varied -> its value -> ns."""
    table = {"two_step": {"method": "two_step"}}
    speeds: dict[str, dict[int, float]] = {
        "trials in a block": {4**k: rate(study(table, 3, block=4**k), 1) for k in range(1, 8)},
        "steps": {10**k: rate(study(table, 3, steps=10**k, block=256), 1) for k in range(1, 6)},
        "devices": {k: rate(study(table, 3), k) for k in range(1, len(jax.local_devices()) + 1)},
    }
    nanoseconds = {
        name: {str(point): round(1e9 / speed, 2) for point, speed in costs.items()}
        for name, costs in speeds.items()
    }
    print("scaling", nanoseconds, flush=True)
    return nanoseconds


def recording() -> dict[str, Any]:
    """Share of the speed that is left where 40 steps are recorded with all metrics."""
    four = {
        "em": {"method": "two_step"},
        "newton": {"method": "two_step", "gain": "newton", "bound": 3.0},
        "moments": {"method": "second_moment"},
        "online": {"method": "symmetric_em"},
    }
    every = ("coefficient_error", "misclassification", "within_cluster_error", "scale")
    bare = rate(study(four, 3, steps=10_000))
    full = rate(study(four, 3, steps=10_000, record=40, metrics=every))
    alone = 1 / sum(1 / rate(study({name: table}, 3, steps=10_000)) for name, table in four.items())
    speeds = {"bare": round(bare / 1e6, 2), "full": round(full / 1e6, 2), "one by one": round(alone / 1e6, 2)}
    speeds |= {"full/bare": round(full / bare, 3), "full/one by one": round(full / alone, 3)}
    print("recording", speeds, flush=True)
    return speeds


def batch() -> dict[str, Any]:
    """EM's bytes of data a second, float32, n = 10^6, d = 10, K = 3, and a copy's, read and written."""
    n, dim, components, iterations = 1_000_000, 10, 3, 20
    rng = np.random.default_rng(0)
    beta = rng.normal(size=(components, dim))
    phi = rng.normal(size=(n, dim))
    y = np.sum(phi * beta[rng.integers(components, size=n)], axis=1) + 0.5 * rng.normal(size=n)
    phi, y = jnp.asarray(phi, jnp.float32), jnp.asarray(y, jnp.float32)
    third = np.full(components, 1 / components, np.float32)
    start = Mixture(np.float32(beta + 0.3), third, np.ones(components, np.float32))

    def steps(count: int) -> Callable[[], Any]:
        # As a user calls it: within another jit, `em` has that one's vector width.
        return lambda: em(phi, y, start, max_iterations=count, tolerance=0.0).mixture

    # Both compile before either is timed.
    for count in (1, 1 + iterations):
        steps(count)()
    one = (timed(steps(1 + iterations), 7) - timed(steps(1), 7)) / iterations
    size = phi.nbytes + y.nbytes
    figures = {
        "ms an iteration": round(1e3 * one, 2),
        "GB/s": round(size / one / 1e9, 2),
        "copy on one core, GB/s": round(copying(1), 2),
        "copy on all cores, GB/s": round(copying(os.cpu_count() or 1), 2),
    }
    print("batch", figures, flush=True)
    return figures


def copying(threads: int) -> float:
    """GB/s, read and written, of copying 256 MiB into memory that is there, a part on each thread."""
    source = np.ones((threads, 2**26 // threads), np.float32)
    target = np.ones_like(source)  # a new array's pages would be made while they are written
    with ThreadPoolExecutor(threads) as pool:
        seconds = timed(lambda: list(pool.map(np.copyto, target, source)), 7)
    return 2 * source.nbytes / seconds / 1e9


def first() -> dict[str, Any]:
    """Seconds of `jaxmlr run` on 100 trials of 100 steps, from process start to results."""
    seconds = {}
    for dim in (2, 3, 5, 10):
        text = f"""
            name = "first"
            trials = 100
            steps = 100
            metrics = ["coefficient_error"]
            [problem]
            process = {{ kind = "decaying_ar" }}
            coefficients = {[1.5 * (i + 1) / dim for i in range(dim)]}
            p = 0.6
            [estimators.seed]
            method = "two_step"
        """
        with tempfile.TemporaryDirectory() as work:
            path = Path(work) / "first.toml"
            path.write_text(text)
            command = [sys.executable, "-m", "jaxmlr", "run", str(path), "--out", f"{work}/out", "--quiet"]
            began = time.perf_counter()
            environment = os.environ | {"XDG_CACHE_HOME": work}
            subprocess.run(command, check=True, capture_output=True, env=environment)
            seconds[f"d={dim}"] = round(time.perf_counter() - began, 2)
    print("first", seconds, flush=True)
    return seconds


def main() -> None:
    """Measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--limit")
    parser.add_argument("--only", default="rivals,methods,scaling,recording,batch,first")
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--components", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--history", type=Path, default=HERE / "benchmarks.json")
    given = parser.parse_args()
    use_all_cores()
    if given.method:
        print(json.dumps(one_method(given.method, given.components)))
        return
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "rivals": lambda: rivals(given.limit),
        "methods": methods,
        "scaling": scaling,
        "recording": recording,
        "batch": batch,
        "first": first,
    }
    entry: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "device": jax.devices()[0].device_kind,
        "devices": len(jax.local_devices()),
        "machine": platform.machine(),
    }
    for name in given.only.split(","):
        entry[name] = parts[name]()
        history = json.loads(given.history.read_text()) if given.history.exists() else []
        kept = [old for old in history if old["date"] != entry["date"]]
        given.history.write_text(json.dumps([*kept, entry], indent=1) + "\n")


if __name__ == "__main__":
    main()
