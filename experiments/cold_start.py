"""More than two lines from a cold start: success against separation, imbalance and K; balanced mixtures too.

    python experiments/cold_start.py [--trials 64] [--steps 5000]

K lines in d = 3 of length r in random directions, normal regressors, sigma = 1. A trial succeeds where the
root mean square coefficient error is below three times the Cramer-Rao bound with everything else known.
Imbalance is the ratio of each weight to the next. Methods: one `recursive_em` from a random start,
`multistart_em`, and batch `fit` on the same data.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import jaxmlr
from jaxmlr import processes
from jaxmlr.evaluation import theory

CASES = [  # K, r, ratio of weights
    (2, 1.0, 1.0),
    (2, 2.0, 1.0),
    (2, 4.0, 1.0),
    (3, 1.0, 1.0),
    (3, 2.0, 1.0),
    (3, 4.0, 1.0),
    (3, 8.0, 1.0),
    (3, 4.0, 2.0),
    (3, 4.0, 4.0),
    (4, 2.0, 1.0),
    (4, 4.0, 1.0),
    (4, 8.0, 1.0),
    (4, 8.0, 1.5),
    (5, 4.0, 1.0),
    (5, 8.0, 1.0),
]
DIM = 3


def trial(case, steps, index):
    """Coefficient error over the bound, one for each method."""
    K, length, ratio = case
    key = jax.random.fold_in(jax.random.key(12), index)
    directions = jax.random.normal(key, (K, DIM), jnp.float32)
    beta = length * directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    weights = jnp.asarray(ratio ** -np.arange(K) / np.sum(ratio ** -np.arange(K)), jnp.float32)
    truth = jaxmlr.Mixture(beta, weights, jnp.float32(1.0))
    phi, y, _ = jaxmlr.simulate(jax.random.key(2), truth, processes.gaussian(), steps, trial=index)

    def info(x):
        return jnp.kron(theory.information(truth, x), x[:, None] * x[None, :])

    total = jnp.mean(jax.lax.map(info, phi[:500]), axis=0) * steps
    bound = jnp.sqrt(jnp.trace(jnp.linalg.inv(total)) / K)
    start = jax.random.fold_in(key, 1)
    single = jaxmlr.recursive_em(K, 4.0, learn_variance=True, initial_scale=length)
    many = jaxmlr.multistart_em(K)
    fitted = {
        "recursive_em": single.mixture(jaxmlr.run(single, phi, y, start)[0]),
        "multistart_em": many.mixture(jaxmlr.run(many, phi, y, start)[0]),
        "fit": jaxmlr.fit(phi, y, K, start, equal_variance=True, screening=20, finalists=4).mixture,
    }
    return {name: jaxmlr.metrics.coefficient_error(m, truth) / bound for name, m in fitted.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5_000)
    arguments = parser.parse_args()
    print("| K | r | ratio of weights | recursive_em | multistart_em | fit |\n|---|---|---|---|---|---|")
    for case in CASES:
        run = jax.jit(lambda i, case=case: jax.lax.map(lambda j: trial(case, arguments.steps, j), i))
        ratios = run(jnp.arange(arguments.trials, dtype=jnp.int32))
        cells = [
            f"{np.mean(np.asarray(ratios[m]) < 3):.2f}" for m in ("recursive_em", "multistart_em", "fit")
        ]
        print("| " + " | ".join([*map(str, case), *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
