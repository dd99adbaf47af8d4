"""Choose the options of a method by Optuna: each trial of Optuna is a study with other numbers."""

import optuna

from jaxmlr.study import Study, run_study

NAME = "newton, C = 3"


def objective(trial: optuna.Trial) -> float:
    changes = {"arguments": True, "trials": 64, "steps": 300, "grid": {}}
    changes[f"estimators.{NAME}.delta"] = trial.suggest_float("delta", 0.0, 0.5)
    changes[f"estimators.{NAME}.bound"] = trial.suggest_float("bound", 1.5, 6.0)
    study = Study.from_toml("experiments/convergence.toml", changes)
    results = run_study(study, progress=False)
    return float(results["coefficient_error_rms"].sel(estimator=NAME, step=300))


search = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
search.optimize(objective, n_trials=10)
print(search.best_params, search.best_value)
