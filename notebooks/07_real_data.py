# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # Real data
#
# Three tables: one that a mixture describes but does not explain, one in which a regime appears halfway,
# and one that is no mixture at all. What `jaxmlr fit` prints is here step by step.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import jaxmlr
from jaxmlr.fitting import style
from jaxmlr.fitting.tables.design import Design
from jaxmlr.fitting.tables.fit import fit_rows
from jaxmlr.fitting.tables.read import read
from jaxmlr.fitting.tables.report import coefficients, lines

plt.rcParams.update(style.settings(7))

# %% [markdown]
# ## Food expenditure (Engel 1857)
#
# 235 households, thousands of francs. BIC asks for three lines through the origin, fanned out: households
# that spend two thirds, a half or a third of what they earn. But ICL asks for one, the labels are
# uncertain, and which line a household is near to depends on its income: the advice below says so. The
# spread grows with income here, and a mixture is one way to describe that, not a proof of three kinds of
# household.

# %%
engel = jaxmlr.datasets.load_engel()  # comes with the package
design, rows = Design.learn(read(engel.path), engel.response, None)
fitted = fit_rows(design, rows, [1, 2, 3], method="fit", seed=0)
print(coefficients(fitted).round(4).to_string(index=False))
print(fitted.criteria.round(2))
for line in lines(fitted):
    print("-", line)

# %%
figure, panel = plt.subplots(figsize=(5, 3.5), layout="constrained")
grid = np.linspace(0, rows.phi[:, 1].max(), 2)
labels = fitted.posterior.argmax(axis=1)
for k, (intercept, slope) in enumerate(np.asarray(fitted.fit.mixture.coefficients)):
    panel.plot(grid, intercept + slope * grid, color=f"C{k}", label=f"line {k + 1}")
    mine = labels == k
    panel.scatter(rows.phi[mine, 1], rows.y[mine], color=f"C{k}", s=10, label=f"likeliest line {k + 1}")
panel.set(xlabel="income, thousands of francs", ylabel="food expenditure, thousands of francs")
panel.legend()
plt.show()

# %% [markdown]
# ## A regime that appears halfway
#
# For 2,000 rows there is one line; then every second row comes from another. A recursive method learns the
# second one when it comes, from the rows as they pass.

# %%
rng = np.random.default_rng(0)
x = rng.normal(size=4000)
second = (np.arange(4000) >= 2000) & (rng.random(4000) < 0.5)
y = np.where(second, -1 - x, 1 + 2 * x) + 0.2 * rng.normal(size=4000)
phi = np.column_stack([np.ones(4000), x]).astype(np.float32)
method = jaxmlr.recursive.recursive_em(
    components=2,
    noise_variance=0.04,
    initial_coefficients=jnp.array([[0.5, 1.0], [-0.5, 0.0]]),
    forgetting=0.995,
)
state, info = jaxmlr.run(method, jnp.asarray(phi), jnp.asarray(y.astype(np.float32)))
right = np.asarray(info.label)[3000:] == second[3000:]
print("lines", np.round(np.asarray(method.mixture(state).coefficients), 2).tolist())
print(f"right labels in the last quarter: {max(right.mean(), 1 - right.mean()):.3f}")

# %% [markdown]
# ## Where it is the wrong model
#
# A curve is no mixture: which line a point is near to depends on x. Two lines fit it well, and BIC likes
# them; the posterior given x gives it away.

# %%
table = pd.DataFrame({"x": np.sort(rng.uniform(-2, 2, 300))})
table["y"] = np.abs(table["x"]) + 0.1 * rng.normal(size=300)
design, rows = Design.learn(table.set_axis(range(1, 301)), "y", None)
for sentence in fit_rows(design, rows, [1, 2], method="fit", seed=0).advice:
    print("-", sentence)
jax.clear_caches()
