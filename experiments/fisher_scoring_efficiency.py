"""How far `fisher_scoring` is from the Cramer-Rao bound, from a cold start and with nothing known.

    python experiments/fisher_scoring_efficiency.py [--trials 1000] [--cases eq17 eq17-low ...]

For each case and p: the mean squared error of beta (up to sign) over the bound with p and sigma known, with
its standard error; the number of failures, trials whose squared error exceeds 30 times the bound; and what
the bound itself would be with p and sigma unknown. The squared error of the efficient score estimate at the
truth on the same data, whose mean is the bound, serves as control variate.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxmlr
from jaxmlr import processes
from jaxmlr.data.simulate import stream
from jaxmlr.recursive import fisher_scoring
from jaxmlr.recursive.fisher import factor, symmetric_score

BETA = np.array([1.0, -1.5])
LOW = 0.6 * BETA / np.linalg.norm(BETA)
FIVE = np.array([1.0, -1.5, 0.5, 0.8, -0.3])
TEN = np.concatenate([FIVE, -FIVE[::-1]]) / np.sqrt(2)
CASES = {
    "eq17": (BETA, processes.decaying_ar()),
    "iid": (BETA, processes.gaussian()),
    "eq17-low": (LOW, processes.decaying_ar()),
    "iid-low": (LOW, processes.gaussian()),
    "eq17-d5": (FIVE, processes.decaying_ar()),
    "iid-d5": (FIVE, processes.gaussian()),
    "unexcited-d3": (np.array([1.0, -1.5, 0.5]), processes.unexcited()),
    "eq17-d10": (TEN, processes.decaying_ar()),
}
RECORD = (1_000, 3_000, 10_000, 30_000)
FAILURE = 30  # times the bound


def simulate(beta, process, shares, trials):
    """Estimates (p, trial, record, d), and score (.., d + 2) and information of the truth."""
    method = fisher_scoring()
    dim = len(beta)
    truth = jnp.asarray(beta, jnp.float32)
    tau = jnp.zeros((), jnp.float32)

    def trial(index, p):
        mixture = jaxmlr.Mixture(jnp.stack([truth, -truth]), jnp.stack([p, 1 - p]), jnp.ones((), jnp.float32))
        source = stream(jax.random.key(1), mixture, process, index)
        half_log_odds = jnp.log(p / (1 - p)) / 2

        def init(dim, key=None, dtype=None):
            zero = jnp.zeros((dim + 2,), dtype)
            return method.init(dim, key, dtype), zero, zero[:, None] * zero[None, :]

        def step(carry, row):
            state, gradient, information = carry
            state, info = method.step(state, row)
            gradient = gradient + symmetric_score(truth, tau, half_log_odds, *row)
            for v in factor(truth, tau, half_log_odds, row[0]):
                information = information + v[:, None] * v[None, :]
            return (state, gradient, information), info

        summing = jaxmlr.Estimator(init, step, lambda carry: method.mixture(carry[0]))
        return jaxmlr.follow(
            summing,
            source,
            dim,
            RECORD,
            lambda carry: (carry[0].parameters[:dim], *carry[1:]),
            dtype=jnp.float32,
        )

    batch = jaxmlr.lanes if dim < 5 else jax.vmap  # lanes compile for minutes beyond
    run = jax.jit(batch(trial), compiler_options={"xla_cpu_prefer_vector_width": 512})
    recorded = run(
        jnp.tile(jnp.arange(trials), len(shares)), jnp.repeat(jnp.asarray(shares, jnp.float32), trials)
    )
    return [np.asarray(leaf, np.float64).reshape(len(shares), trials, *leaf.shape[1:]) for leaf in recorded]


def excited(information):
    """An orthonormal basis of what the regressors visit."""
    values, vectors = np.linalg.eigh(information)
    return vectors[:, values > 1e-3 * values[-1]]


def report(beta, estimate, gradient, information):
    """One row for each record of one p."""
    dim = len(beta)
    basis = excited(information[:, -1, :dim, :dim].mean(0))
    both = np.zeros((dim + 2, basis.shape[1] + 2))
    both[:dim, :-2], both[dim:, -2:] = basis, np.eye(2)
    for r, record in enumerate(RECORD):
        known = basis.T @ information[:, r, :dim, :dim] @ basis
        unknown = np.linalg.inv(both.T @ information[:, r] @ both)[:, :-2, :-2]
        bounds = np.trace(np.linalg.inv(known), axis1=1, axis2=2)
        bound = bounds.mean()
        efficient = np.linalg.solve(known, (gradient[:, r, :dim] @ basis)[..., None])[..., 0]
        control = (efficient**2).sum(-1)
        error = np.minimum(*((((estimate[:, r] - sign * beta) @ basis) ** 2).sum(-1) for sign in (1, -1)))
        failed = int(np.sum(~(error < FAILURE * bound)))
        if not failed:
            error = error - np.cov(error, control)[0, 1] / control.var() * (control - bounds)
        ratio, deviation = error.mean() / bound, error.std() / bound / np.sqrt(len(error))
        limit = np.trace(unknown, axis1=1, axis2=2).mean() / bound
        yield record, ratio, deviation, failed, limit


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--shares", nargs="+", type=float, default=[0.5, 0.6, 0.7, 0.8, 0.9])
    arguments = parser.parse_args()
    show = functools.partial(print, flush=True)
    show("case p n mse/bound se failures unknown/known")
    for case in arguments.cases:
        beta, process = CASES[case]
        began = time.perf_counter()
        results = simulate(beta, process, arguments.shares, arguments.trials)
        for k, p in enumerate(arguments.shares):
            for record, ratio, deviation, failed, limit in report(beta, *(leaf[k] for leaf in results)):
                show(f"{case} {p:g} {record} {ratio:.3f} {deviation:.3f} {failed} {limit:.3f}")
        show(f"# {case}: {arguments.trials} trials, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
