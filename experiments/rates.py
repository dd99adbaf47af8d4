"""The rate of the error against that of the theorem, n^kappa / lambda_min(n), on the regressors of eq. (17).

    python experiments/rates.py [--trials 500] [--steps 100000]

For each decay of the excitation and method: the slope of log E|error|^2 on log n between n / 30 and n with
its 95 % interval; the theorem's slope kappa - mu with kappa = 1/2 (delta = 0, reconstructed) and mu = 1 - 2
decay the exponent of lambda_min; and the parametric slope -mu, that of the Cramer-Rao bound where the
signal stays strong.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import jaxmlr
from jaxmlr import processes
from jaxmlr.data.simulate import stream
from jaxmlr.evaluation import theory

METHODS = {
    "two_step, em": lambda: jaxmlr.two_step(1.0, gain="em", bound=3.0),
    "two_step, newton": lambda: jaxmlr.two_step(1.0, gain="newton", bound=3.0),
    "fisher_scoring": jaxmlr.fisher_scoring,
}


def squares(make, decay, p, ends, trials):
    """Squared coefficient errors at the steps `ends`, (trials, records)."""
    truth = jaxmlr.symmetric(jnp.asarray([1.0, -1.5], jnp.float32), p)
    estimator = make()

    def trial(index):
        source = stream(jax.random.key(4), truth, processes.decaying_ar(decay=decay), index)

        def error(state):
            return jaxmlr.metrics.coefficient_error(estimator.mixture(state), truth)

        return jaxmlr.follow(estimator, source, 2, ends, error, dtype=jnp.float32)

    run = jax.jit(jaxmlr.lanes(trial), compiler_options={"xla_cpu_prefer_vector_width": 512})
    return np.asarray(run(jnp.arange(trials, dtype=jnp.int32)), np.float64) ** 2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--steps", type=int, default=100_000)
    arguments = parser.parse_args()
    ends = np.geomspace(arguments.steps / 30, arguments.steps, 6).round().astype(np.int32)
    print("| decay | p | theorem | parametric | " + " | ".join(METHODS) + " |")
    print("|---" * (4 + len(METHODS)) + "|")
    for decay in (0.0, 0.1, 0.2):
        mu = 1 - 2 * decay
        for p in (0.75, 0.9):
            cells = []
            for make in METHODS.values():
                rate = theory.fitted_rate(ends, squares(make, decay, p, ends, arguments.trials))
                cells.append(f"{rate.slope:.2f} ({rate.low:.2f}, {rate.high:.2f})")
            limits = f"{theory.kappa(0.0) - mu:.2f} | {-mu:.2f}"
            print(f"| {decay} | {p} | {limits} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
