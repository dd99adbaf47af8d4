"""How often each alarm of `jaxmlr.diagnostics` is right, over planted failures and healthy runs.

    python experiments/diagnostics.py [--trials 1000] [--steps 30000]

One row a case: the share of trials in which each alarm is on. A case plants one failure (in its name) or
none. An alarm that its failure implies besides is not a false alarm: regressors whose excitation dies out
fast leave theta unlearnt too, and so on; these are listed in IMPLIED. The last two lines are each alarm's
least detection rate where it is planted, and its greatest rate where it is neither planted nor implied.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmlr
from jaxmlr import processes
from jaxmlr.data.simulate import stream
from jaxmlr.evaluation import diagnostics

BETA = (1.0, -1.5)


def good(noise_variance=1.0, **options):
    return jaxmlr.two_step(noise_variance, **{"gain": "newton", "bound": 3.0, **options})


def unstable():
    half = jnp.full(2, 0.5, jnp.float32)
    start = jaxmlr.Mixture(jnp.asarray([[0.5, 0.5], [-0.5, -0.5]], jnp.float32), half, jnp.float32(1))
    return jaxmlr.online_gradient(optax.sgd(1.0), start)


CASES = {  # planted alarm or None, share p, process, method
    "healthy, normal": (None, 0.7, processes.gaussian(), good),
    "healthy, p = .9": (None, 0.9, processes.gaussian(), good),
    "healthy, p = .6": (None, 0.6, processes.ar(0.5), good),
    "healthy, AR(.8)": (None, 0.7, processes.ar(0.8), good),
    "healthy, fisher_scoring": (None, 0.5, processes.gaussian(), lambda: jaxmlr.fisher_scoring()),
    "decay .1, eq. (17)": ("fading", 0.7, processes.decaying_ar(), good),
    "decay .3": ("weak", 0.7, processes.decaying_ar(decay=0.3), good),
    "one direction never visited": ("weak", 0.7, processes.unexcited(), good),
    "|phi|^2 ~ n^.25": ("growing", 0.7, processes.growing(0.25), lambda: good(delta=0.25)),
    "|phi|^2 ~ n^.6": ("growing", 0.7, processes.growing(0.6), lambda: good(delta=0.6)),
    "C = 1, p = .6": ("bounded", 0.6, processes.gaussian(), lambda: good(bound=1.0)),
    "sigma^2 12 for 1": ("overdamped", 0.7, processes.gaussian(), lambda: good(12.0)),
    "p = .5": ("balanced", 0.5, processes.gaussian(), good),
    "p = .5, eq. (17)": ("balanced", 0.5, processes.decaying_ar(), good),
    "step size 1": ("diverged", 0.7, processes.gaussian(), unstable),
}
IMPLIED = {
    "p = .5": {"bounded"},  # theta near 0 asks for an infinite q
    "p = .5, eq. (17)": {"fading", "bounded"},
}


def rates(case, trials, steps):
    """Share of trials with each alarm on, and the mean of each number."""
    _, p, process, make = CASES[case]
    estimator = diagnostics.diagnosed(make())
    truth = jaxmlr.symmetric(jnp.asarray(BETA, jnp.float32), p)

    def trial(index):
        source = stream(jax.random.key(7), truth, process, index)

        states = jaxmlr.follow(estimator, source, len(BETA), [steps], lambda state: state, dtype=jnp.float32)
        return jax.tree.map(lambda x: x[0], states)

    run = jax.jit(jaxmlr.lanes(trial), compiler_options={"xla_cpu_prefer_vector_width": 512})
    return jax.tree.map(lambda x: float(np.nanmean(x)), jax.vmap(diagnostics.report)(run(jnp.arange(trials))))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=30_000)
    arguments = parser.parse_args()
    alarms, began = diagnostics.ALARMS, time.perf_counter()
    print(f"{'case':28} {'planted':10} " + " ".join(f"{a:>10}" for a in alarms) + "  excitation growth")
    hit, false = dict.fromkeys(alarms, 1.0), dict.fromkeys(alarms, 0.0)
    for case, (planted, *_) in CASES.items():
        shares = rates(case, arguments.trials, arguments.steps)._asdict()
        print(
            f"{case:28} {planted or '-':10} "
            + " ".join(f"{shares[a]:10.3f}" for a in alarms)
            + f"  {shares['excitation_exponent']:10.2f} {shares['growth_exponent']:6.2f}",
            flush=True,
        )
        for alarm in alarms:
            if alarm == planted:
                hit[alarm] = min(hit[alarm], shares[alarm])
            elif alarm not in IMPLIED.get(case, ()):
                false[alarm] = max(false[alarm], shares[alarm])
    print(f"{'least detection':39} " + " ".join(f"{hit[a]:10.3f}" for a in alarms))
    print(f"{'most false alarms':39} " + " ".join(f"{false[a]:10.3f}" for a in alarms))
    print(
        f"# {arguments.trials} trials of {arguments.steps} observations, {time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
