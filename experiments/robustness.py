"""Noise that is not normal: bias and efficiency of each method, and what an outlier density buys.

    python experiments/robustness.py [--trials 400] [--steps 5000]

The symmetric model, d = 2, beta = (1, -1.5), p = .7, normal regressors, noise of variance 1 (of its good part
where contaminated). For each law and method: the length of the mean error of beta (bias), its standard error,
and the mean squared error over the Cramer-Rao bound with normal noise, p and sigma known. Methods with a
start get the truth moved by .3 in every coefficient: what is compared is where they settle.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxmlr
from jaxmlr import disturbances, processes
from jaxmlr.evaluation import theory

BETA = np.array([1.0, -1.5])
DENSITY = 0.001
LAWS = {
    "normal": disturbances.gaussian(),
    "Student t, 10": disturbances.student_t(10.0),
    "Student t, 5": disturbances.student_t(5.0),
    "Student t, 3": disturbances.student_t(3.0),
    "Laplace": disturbances.laplace(),
    "skewness 2": disturbances.skewed(),
    "heteroscedastic": disturbances.heteroscedastic(),
    "5 % x 10": disturbances.contaminated(0.05, 10.0),
    "20 % x 10": disturbances.contaminated(0.2, 10.0),
    "20 % x 1000": disturbances.contaminated(0.2, 1000.0),
}


def start():
    beta = jnp.asarray(BETA + 0.3, jnp.float32)
    return jaxmlr.symmetric(beta, 0.5, jnp.float32(1.0))


def recursive(make):
    def method(phi, y):
        estimator = make()
        return estimator.mixture(jaxmlr.run(estimator, phi, y)[0])

    return method


def online(**options):
    return recursive(
        lambda: jaxmlr.recursive_em(
            2, 1.0, learn_variance=True, initial_coefficients=start().coefficients, **options
        )
    )


def batch(**options):
    return lambda phi, y: (
        jaxmlr.em(
            phi, y, start(), tie="symmetric", equal_variance=True, max_iterations=200, **options
        ).mixture
    )


METHODS = {  # name: method, whether it runs by lanes
    "two_step": (recursive(lambda: jaxmlr.two_step(1.0, gain="newton", bound=3.0)), True),
    "second_moment": (recursive(jaxmlr.second_moment), True),
    "fisher_scoring": (recursive(jaxmlr.fisher_scoring), True),
    "symmetric_em": (
        recursive(
            lambda: jaxmlr.symmetric_em(
                1.0, learn_variance=True, initial_coefficients=start().coefficients[0]
            )
        ),
        True,
    ),
    "recursive_em": (online(), True),
    "recursive_em, robust": (online(outlier_density=DENSITY), True),
    "em": (batch(), False),
    "em, robust": (batch(outlier_density=DENSITY), False),
}


def bound(steps):
    """The Cramer-Rao bound on E |error|^2 with normal noise."""
    truth = jaxmlr.symmetric(jnp.asarray(BETA, jnp.float32), 0.7)
    phi = jaxmlr.simulate(jax.random.key(9), truth, processes.gaussian(), 4000).phi

    def one(x):
        M = theory.information(truth, x)
        return (M[0, 0] - M[0, 1] - M[1, 0] + M[1, 1]) * x[:, None] * x[None, :]

    mean = np.mean(np.asarray(jax.lax.map(one, phi)), axis=0)
    return np.trace(np.linalg.inv(mean)) / steps


def estimates(law, names, trials, steps):
    """Method -> estimates of beta, (trials, 2), in the sign nearer to the truth."""
    truth = jaxmlr.symmetric(jnp.asarray(BETA, jnp.float32), 0.7)

    def trial(index, chosen):
        phi, y, _ = jaxmlr.simulate(
            jax.random.key(5), truth, processes.gaussian(), steps, trial=index, disturbance=LAWS[law]
        )
        betas = {}
        for name in chosen:
            beta = METHODS[name][0](phi, y).coefficients
            order = jaxmlr.metrics.matching(beta, truth.coefficients)
            betas[name] = jnp.where(order[0] == 0, beta[0], beta[1])
        return betas

    fast = tuple(name for name in names if METHODS[name][1])
    slow = tuple(name for name in names if not METHODS[name][1])
    index = jnp.arange(trials, dtype=jnp.int32)
    streamed = jax.jit(jaxmlr.lanes(lambda i: trial(i, fast)))(index) if fast else {}
    fitted = jax.jit(lambda i: jax.lax.map(lambda j: trial(j, slow), i))(index) if slow else {}
    return {name: np.asarray({**streamed, **fitted}[name], np.float64) for name in names}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--laws", nargs="+", choices=LAWS, default=list(LAWS))
    arguments = parser.parse_args()
    began, limit = time.perf_counter(), bound(arguments.steps)
    print("| noise | " + " | ".join(METHODS) + " |\n|---" * 1 + "|---" * len(METHODS) + "|")
    for law in arguments.laws:
        betas = estimates(law, METHODS, arguments.trials, arguments.steps)
        cells = []
        for beta in betas.values():
            error = beta - BETA
            bias = np.linalg.norm(error.mean(0))
            noise = np.sqrt(error.var(0).sum() / len(error))
            square = np.sum(error**2, axis=1) / limit
            spread = square.std() / np.sqrt(len(square))
            cells.append(f"{bias:.3f} ± {noise:.3f}; {square.mean():.2f} ± {spread:.2f}")
        print(f"| {law} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{arguments.trials} trials of {arguments.steps}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
