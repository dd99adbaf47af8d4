"""Speed of the study engine on one fixed problem, the seed's simulation with nothing recorded but its end."""

from typing import Any

import jax

from jaxmlr.study import Problem, Study, run_study


def bench(dim: int, trials: int, steps: int, block: int | None = None) -> dict[str, Any]:
    """Run eq. (17) of arXiv 2503.18500 with `two_step` and time it, compilation apart.

    beta_i = 1.5 i / d, p = 0.6, sigma = 1, delta = 0, C = 1, gain "em", theta[0] = .1, float32.

    Args:
      dim: d.
      trials: number of trials.
      steps: length of each.
      block: trials computed together; None chooses.

    Returns:
      What was run, `trial_steps_per_second` and `mean_squared_error`, the mean over trials of
      |beta_hat - beta|^2 up to sign, with versions and devices.

    Raises:
      ValueError: an argument is not a positive whole number.
    """
    study = Study(
        name="bench",
        problem=Problem(
            process={"kind": "decaying_ar"},
            coefficients=[1.5 * (i + 1) / dim for i in range(dim)],
            p=0.6,
        ),
        estimators={"two_step": {"method": "two_step"}},
        trials=trials,
        steps=steps,
        record=1,
        metrics=("coefficient_error",),
        block=block,
    )
    results = run_study(study, progress=False)
    last = results.isel(estimator=0, step=-1)
    mean, sd = float(last["coefficient_error_mean"]), float(last["coefficient_error_sd"])
    share = (trials - 1) / trials if trials > 1 else 0.0
    return {
        "dim": dim,
        "trials": trials,
        "steps": steps,
        "block": study.block_size,
        "devices": len(jax.local_devices()),
        "device": results.attrs["device"],
        "jax": results.attrs["jax"],
        "compile_seconds": results.attrs["compile_seconds"],
        "seconds": results.attrs["compute_seconds"],
        "trial_steps_per_second": results.attrs["trial_steps_per_second"],
        "mean_squared_error": mean**2 + (share * sd**2 if trials > 1 else 0.0),
        "cramer_rao_bound": float(last["coefficient_error_theory"]) ** 2,
    }
