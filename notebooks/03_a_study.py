# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # A study, from TOML to figure
#
# One run shows that a method can work; a study shows how well it works. A study is a text file: a problem,
# some methods, a number of trials, and a grid. All methods and all points of the grid see the same noise.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from jaxmlr import Study, run_study
from jaxmlr.fitting import style
from jaxmlr.study.results.pictures import draw

plt.rcParams.update(style.settings(7))

TOML = """
name = "imbalance"
trials = 128
steps = 2_000
record = 15
metrics = ["coefficient_error", "excess_misclassification", "alarm_balanced"]

[problem]
process = { kind = "gaussian" }
coefficients = [1.0, -1.5]
p = 0.75

[estimators.two_step]
method = "two_step"
gain = "newton"
bound = 3.0

[estimators.symmetric_em]
method = "symmetric_em"
initial_coefficients = [0.5, -0.5]

[grid]
"problem.p" = [0.55, 0.75]
"""
folder = Path(tempfile.mkdtemp())
(folder / "study.toml").write_text(TOML)

# %% [markdown]
# In a shell this would be `jaxmlr run study.toml --out results`, then `jaxmlr show results` and `jaxmlr
# plot results`. In Python it is two lines. The answer is an `xarray.Dataset`.

# %%
study = Study.from_toml(folder / "study.toml")
results = run_study(study, folder / "results", progress=False)
print(dict(results.sizes))

# %%
drawn = draw(results)
drawn.savefig(folder / "imbalance.svg")
print("figure of", os.path.getsize(folder / "imbalance.svg") // 1000, "kB")

# %% [markdown]
# Beside the curves stand their limits: `_theory` is the Cramer-Rao bound for the coefficients, and
# `_oracle` what the true coefficients reach on the same data. At p = .55 the mean of y hardly tells the
# direction, and `two_step` pays.

# %%
last = results.isel(step=-1)
for p in study.grid["problem.p"]:
    at = last.sel({"problem.p": p})
    bound = float(at["coefficient_error_theory"])
    for name in study.estimators:
        error = float(at["coefficient_error_rms"].sel(estimator=name))
        print(f"p = {p}: {name:13s} rms error {error:.3f}, {error / bound:.1f} times the bound")

# %% [markdown]
# Diagnostics are metrics too (`diagnostics = true` adds all of them): `alarm_balanced` is the share of trials
# in which theta = (2p - 1) beta could not be told from 0.

# %%
alarm = results["alarm_balanced_mean"].sel(estimator="two_step")
shown, panel = plt.subplots(figsize=(4, 3), layout="constrained")
for p in study.grid["problem.p"]:
    panel.semilogx(results["step"], alarm.sel({"problem.p": p}), label=f"$p$ = {p}")
panel.set(xlabel="observations $n$", ylabel="share of trials", title=alarm.attrs["long_name"].split(";")[0])
panel.legend()
plt.show()

# %% [markdown]
# Run it again with the same folder and nothing is computed: finished blocks are files.

# %%
again = run_study(study, folder / "results", progress=False)
assert np.array_equal(again["coefficient_error_mean"], results["coefficient_error_mean"])
