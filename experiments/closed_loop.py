"""A closed loop: what is learnt from data that the estimate itself controls, with excitation that dies out.

    python experiments/closed_loop.py [--trials 500] [--steps 100000]

An ARX plant y[n+1] = z (.7 y[n] + u[n]) + w, P(z = 1) = .75, sigma = 1, under certainty-equivalence pole
placement by two_step, with a probing signal n^(-decay). For each decay, for no probing at all, and for an
open loop that never visits one direction, where beta is not identifiable: the growth exponent of lambda_min,
the root mean squared coefficient error of three methods along n, and how far their labels are from those of
the true coefficients on the same data.
"""

import argparse

from jaxmlr import Study, run_study

LOOP = {"kind": "closed_loop", "pole": 0.9}
CASES = {
    "decay 0": LOOP | {"dither": 1.0, "decay": 0.0},
    "decay .1": LOOP | {"dither": 1.0, "decay": 0.1},
    "decay .2": LOOP | {"dither": 1.0, "decay": 0.2},
    "no probing": LOOP | {"dither": 0.0},
    "open loop, unexcited": {"kind": "unexcited"},
}
METHODS = {
    "two_step": {"method": "two_step", "gain": "newton", "bound": 3.0},
    "fisher_scoring": {"method": "fisher_scoring"},
    "symmetric_em": {"method": "symmetric_em", "p": 0.75, "initial_coefficients": [0.5, 0.5]},
}


def study(case, trials, steps):
    return Study(
        name="closed loop",
        problem={
            "process": CASES[case],
            "coefficients": [0.7, 1.0],
            "p": 0.75,
        },
        estimators=METHODS,
        trials=trials,
        steps=steps,
        record=[n for n in (100, 1_000, 10_000, 100_000, 1_000_000) if n <= steps],
        metrics=["coefficient_error", "misclassification", "excess_misclassification", "excitation_exponent"],
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--steps", type=int, default=100_000)
    arguments = parser.parse_args()
    print("| case | n | lambda_min ~ n^ | wrong labels, optimum | " + " | ".join(METHODS) + " |")
    print("|---" * (4 + len(METHODS)) + "|")
    for case in CASES:
        results = run_study(study(case, arguments.trials, arguments.steps), progress=False)
        for n in results["step"].values:
            at = results.sel(step=n)
            exponent = float(at["excitation_exponent_mean"].sel(estimator="two_step"))
            cells = []
            for name in METHODS:
                mine = at.sel(estimator=name)
                excess, se = (float(mine[f"excess_misclassification_{s}"]) for s in ("mean", "se"))
                cells.append(f"{float(mine['coefficient_error_rms']):.3f}; {excess:+.5f} ± {se:.5f}")
            optimum = float(at["misclassification_oracle"])
            row = [case, f"{n}", f"{exponent:.2f}", f"{optimum:.4f}", *cells]
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
