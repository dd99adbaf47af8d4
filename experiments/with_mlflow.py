"""Follow a study in MLflow: its numbers as parameters, the statistics so far after every block."""

import re

import mlflow

from jaxmlr.study import Study, run_study

study = Study.from_toml("experiments/convergence.toml", {"trials": 64, "steps": 300, "block": 16, "grid": {}})


def log(update):
    errors = update.results()["coefficient_error_rms"].isel(step=-1)
    names = [re.sub(r"[^\w .:/-]", "", name) for name in errors["estimator"].values]  # what MLflow allows
    mlflow.log_metrics(dict(zip(names, errors.values.tolist(), strict=True)), step=update.trials)


with mlflow.start_run(run_name=study.name):
    mlflow.log_params({"trials": study.trials, "steps": study.steps, "seed": study.seed})
    run_study(study, progress=False, callback=log)
