"""More than two lines from a cold start: success against separation, imbalance and K; balanced mixtures too.

    python experiments/cold_start.py [--trials 64] [--steps 5000]
    python experiments/cold_start.py --against-batch --steps 30000 [--trials 48] [--method natural_gradient]

K lines in d = 3 of length r in random directions, normal regressors, sigma = 1. A trial succeeds where the
root mean square coefficient error is below three times the Cramer-Rao bound with everything else known.
Imbalance is the ratio of each weight to the next. Methods: one `recursive_em` from a random start,
`multistart_em`, and batch `fit` on the same data.

With --against-batch: mean squared error over that of batch EM from the truth on the same data, at n / 6 and n
for K lines whose nearest pair is `separation` sigma apart (root mean square over normal regressors), weights
in geometric progression from the largest to the smallest. A trial succeeds where its root mean squared error
is below three times the batch's, the latter taken as at least its root mean square over trials.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import jaxmlr
from jaxmlr import processes
from jaxmlr.data.simulate import stream
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


AGAINST_BATCH = [  # K, d, largest weight over the smallest, separation
    (2, 3, 1, 4.0),
    (2, 2, 4, 2.0),
    (3, 3, 4, 4.0),
    (3, 3, 4, 2.0),
    (3, 3, 16, 4.0),
    (4, 2, 4, 4.0),
    (4, 5, 4, 8.0),
    (5, 3, 1, 8.0),
    (5, 5, 4, 4.0),
]
METHODS = {
    "natural_gradient": jaxmlr.natural_gradient,
    "multistart_em": jaxmlr.multistart_em,
}


def lines(case, index):
    """The truth of a trial: random directions, no pair of them nearer than .35."""
    K, dim, ratio, separation = case
    rng = np.random.default_rng(index)
    nearest = 0.0
    while nearest < 0.35:
        beta = rng.standard_normal((K, dim))
        beta /= np.linalg.norm(beta, axis=1, keepdims=True)
        apart = np.linalg.norm(beta[:, None] - beta[None, :], axis=2)
        nearest = apart[np.triu_indices(K, 1)].min()
    weights = np.geomspace(1, 1 / ratio, K)
    parts = beta * separation / nearest, weights / weights.sum(), np.ones(())
    return jaxmlr.Mixture(*(jnp.asarray(part, jnp.float32) for part in parts))


def against_batch(case, steps, trials, name):
    """Squared errors (trials, 2) of the method and of batch EM, after steps / 6 and steps rows."""
    method = METHODS[name](case[0])
    truths = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(lines(case, t) for t in range(trials)))

    def one(truth, index):
        process = processes.gaussian()
        phi, y, _ = jaxmlr.simulate(jax.random.key(3), truth, process, steps, trial=index)
        early = steps // 6

        def error(mixture):
            return jaxmlr.metrics.coefficient_error(mixture, truth) ** 2

        source = stream(jax.random.key(3), truth, process, index)
        recursive = jaxmlr.follow(
            method, source, case[1], [early, steps], lambda state: error(method.mixture(state)), dtype=y.dtype
        )
        batch = [
            jaxmlr.em(phi[:n], y[:n], truth, equal_variance=True, max_iterations=40).mixture
            for n in (early, steps)
        ]
        return recursive, jnp.stack([error(m) for m in batch])

    run = jax.jit(lambda *all_trials: jax.lax.map(lambda each: one(*each), all_trials))
    return map(np.asarray, run(truths, jnp.arange(trials, dtype=jnp.int32)))


def compare(cases, trials, steps, name):
    print("| K | d | weights | separation | n | success | over batch EM |\n|---|---|---|---|---|---|---|")
    for case in cases:
        errors, batch = against_batch(case, steps, trials, name)
        for column, n in enumerate((steps // 6, steps)):
            error, least = errors[:, column], batch[:, column]
            success = error < 9 * np.maximum(least, least.mean())
            ratio = error[success].mean() / least[success].mean()
            K, dim, ratio_of_weights, separation = case
            shown = f"| {K} | {dim} | {ratio_of_weights:g}:1 | {separation} | {n:,} | {success.mean():.2f} |"
            print(shown, f"{ratio:.3f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--against-batch", action="store_true")
    parser.add_argument(
        "--case", nargs=4, type=float, action="append", metavar=("K", "D", "WEIGHTS", "SEPARATION")
    )
    parser.add_argument("--method", choices=METHODS, default="natural_gradient")
    arguments = parser.parse_args()
    if arguments.against_batch:
        cases = [(int(K), int(dim), *rest) for K, dim, *rest in arguments.case or AGAINST_BATCH]
        return compare(cases, arguments.trials, arguments.steps, arguments.method)
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
