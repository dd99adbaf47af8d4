"""Settings by gradient: what they gain over the defaults on held-out trials.

    python experiments/tuning.py [--steps 3000] [--trials 128] [--iterations 60]

For each method and problem: the gain in mean log coefficient error over log-spaced steps, on 512 other
trials, with its standard error, and the tuned settings.
"""

import argparse
import functools

import jax
import jax.numpy as jnp

import jaxmlr
from jaxmlr import processes

BETA = jnp.asarray([1.0, -1.5], jnp.float32)
PROBLEMS = {
    "eq. (17), p = .75": (jaxmlr.symmetric(BETA, 0.75), processes.decaying_ar()),
    "eq. (17), p = .6": (jaxmlr.symmetric(BETA, 0.6), processes.decaying_ar()),
    "eq. (17), |beta| = .6": (jaxmlr.symmetric(BETA / 3, 0.75), processes.decaying_ar()),
    "normal, p = .75": (jaxmlr.symmetric(BETA, 0.75), processes.gaussian()),
    "n^.4, p = .75": (jaxmlr.symmetric(BETA, 0.75), processes.growing(0.4)),
}
DIRECTION = (
    {"delta": 0.1, "bound": 3.0, "initial_precision": 1.0, "initial_covariance": 1.0},
    {
        "delta": (0.0, 1.0),
        "bound": (0.5, 20.0),
        "initial_precision": (0.01, 300.0),
        "initial_covariance": (0.01, 20.0),
    },
)
METHODS = {
    "two_step, em": (functools.partial(jaxmlr.two_step, 1.0, gain="em"), *DIRECTION),
    "two_step, newton": (functools.partial(jaxmlr.two_step, 1.0, gain="newton"), *DIRECTION),
    "fisher_scoring": (jaxmlr.fisher_scoring, {"confidence": 0.2}, {"confidence": (0.01, 1.0)}),
    "symmetric_em": (
        functools.partial(jaxmlr.symmetric_em, 1.0, initial_coefficients=jnp.asarray([0.5, -0.5])),
        {"initial_covariance": 1.0},
        {"initial_covariance": (0.01, 20.0)},
    ),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    arguments = parser.parse_args()
    for method in arguments.methods:
        make, start, ranges = METHODS[method]
        for problem in arguments.problems:
            tuned = jaxmlr.tune(
                make,
                start,
                ranges,
                *PROBLEMS[problem],
                arguments.steps,
                jax.random.key(3),
                trials=arguments.trials,
                iterations=arguments.iterations,
            )
            values = ", ".join(f"{name} {value:.3g}" for name, value in tuned.settings.items())
            print(f"| {method} | {problem} | {tuned.gain:.3f} ± {tuned.gain_se:.3f} | {values} |", flush=True)


if __name__ == "__main__":
    main()
