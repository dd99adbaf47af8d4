"""Batch EM against plain NumPy EM, and against flexmix where R has it, in one sitting.

    python experiments/batch_speed.py

Prints seconds per EM iteration at n = 100,000, d = 10, K = 3, and seconds for many whole fits of n = 2,000,
d = 5, K = 2, all in float64 and all from the same starts; both do the same number of iterations.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={os.cpu_count()}")

import jax
import jax.numpy as jnp
import numpy as np
from timing import timed

from jaxmlr import Mixture, em

FITS, NUMPY_FITS, ITERATIONS = 10_000, 50, 20


def draw(n: int, d: int, components: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Mixture]:
    """Data and a start near the truth."""
    rng = np.random.default_rng(seed)
    phi = np.column_stack([np.ones(n), rng.normal(size=(n, d - 1))])
    beta = rng.normal(size=(components, d))
    y = np.sum(phi * beta[rng.integers(components, size=n)], axis=1) + 0.5 * rng.normal(size=n)
    weights = np.full(components, 1 / components)
    return phi, y, Mixture(beta + 0.3 * rng.normal(size=beta.shape), weights, np.full(components, 1.0))


def numpy_em(phi: np.ndarray, y: np.ndarray, start: Mixture, iterations: int) -> Mixture:
    """EM as one writes it in NumPy: log-sum-exp and weighted normal equations."""
    beta, weights, variance = (np.array(leaf) for leaf in start)
    for _ in range(iterations):
        error = y[:, None] - phi @ beta.T
        joint = np.log(weights) - 0.5 * np.log(2 * np.pi * variance) - 0.5 * error**2 / variance
        joint -= joint.max(axis=1, keepdims=True)
        posterior = np.exp(joint)
        posterior /= posterior.sum(axis=1, keepdims=True)
        for k in range(len(weights)):
            weighted = phi * posterior[:, k : k + 1]
            beta[k] = np.linalg.solve(weighted.T @ phi, weighted.T @ y)
            variance[k] = posterior[:, k] @ (y - phi @ beta[k]) ** 2 / posterior[:, k].sum()
        weights = posterior.mean(axis=0)
    return Mixture(beta, weights, variance)


def iteration() -> None:
    """Time per EM iteration on large data."""
    phi, y, start = draw(100_000, 10, 3)
    ours = jax.jit(lambda phi, y, start: em(phi, y, start, max_iterations=ITERATIONS, tolerance=0.0).mixture)
    data = tuple(map(jnp.asarray, (phi, y)))
    fitted, wanted = ours(*data, start), numpy_em(phi, y, start, ITERATIONS)
    np.testing.assert_allclose(fitted.coefficients, wanted.coefficients, rtol=1e-6)
    own = timed(lambda: ours(*data, start)) / ITERATIONS
    other = timed(lambda: numpy_em(phi, y, start, ITERATIONS)) / ITERATIONS
    print(
        f"per iteration, n = 100,000, d = 10, K = 3: {1e3 * own:.2f} ms; NumPy {1e3 * other:.2f} ms; ",
        end="",
    )
    print(f"ratio {other / own:.2f}")
    flexmix(phi, y, own)


def flexmix(phi: np.ndarray, y: np.ndarray, own: float) -> None:
    """Time per iteration of flexmix on the same data from a random partition."""
    if shutil.which("Rscript") is None:
        print("flexmix: skipped, there is no Rscript on this machine")
        return
    code = """library(flexmix); x <- read.csv(commandArgs(TRUE)[1]); d <- x[, -1]
    t <- system.time(f <- flexmix(x$y ~ ., data = d, k = 3, control = list(iter.max = 20, tolerance = 0,
      minprior = 0)))["elapsed"]; cat(t / 20)"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        header = ",".join(["y", *(f"x{k}" for k in range(1, phi.shape[1]))])
        np.savetxt(path, np.column_stack([y, phi[:, 1:]]), delimiter=",", header=header, comments="")
        done = subprocess.run(["Rscript", "-e", code, str(path)], capture_output=True, text=True)
    if done.returncode:
        print(f"flexmix: skipped, R says: {done.stderr.strip().splitlines()[-1]}")
        return
    other = float(done.stdout.split()[-1])
    print(f"flexmix per iteration: {1e3 * other:.1f} ms; ratio {other / own:.1f}")


def fits() -> None:
    """Time of many fits on all cores, against a NumPy loop."""
    phi, y, start = draw(2_000, 5, 2)
    devices = jax.local_devices()
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(FITS // len(devices), 2_000)) * 0.1

    @jax.pmap
    def ours(noise: jax.Array) -> jax.Array:
        def one(row: jax.Array) -> jax.Array:
            return em(phi, y + row, start, max_iterations=ITERATIONS, tolerance=0.0).mixture.coefficients

        return jax.lax.map(one, noise)

    rows = jnp.asarray(np.stack([noise] * len(devices)))
    fitted = ours(rows)
    wanted = numpy_em(phi, y + noise[0], start, ITERATIONS)
    np.testing.assert_allclose(fitted[0, 0], wanted.coefficients, rtol=1e-6)
    own = timed(lambda: ours(rows), 1) / FITS
    other = (
        timed(lambda: [numpy_em(phi, y + row, start, ITERATIONS) for row in noise[:NUMPY_FITS]]) / NUMPY_FITS
    )
    print(
        f"{FITS:,} fits, n = 2,000, d = 5, K = 2: {1e3 * own:.3f} ms a fit on {len(devices)} devices; ",
        end="",
    )
    print(f"NumPy loop {1e3 * other:.2f} ms; ratio {other / own:.1f}")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print(f"jax {jax.__version__}, numpy {np.__version__}, {os.cpu_count()} cores")
    iteration()
    fits()
