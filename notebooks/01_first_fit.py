# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # A first fit
#
# Every response below comes from one of two lines, `beta' phi` or `-beta' phi`, and nobody says which. The
# two-step estimator reads the stream once: weighted least squares finds the direction of `beta`, a scalar
# EM step finds its length.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxmlr
from jaxmlr.data.simulate import stream
from jaxmlr.fitting import style

plt.rcParams.update(style.settings(7))
truth = jaxmlr.symmetric(jnp.array([1.0, -1.5]), p=0.75, noise_variance=1.0)
phi, y, label = jaxmlr.simulate(jax.random.key(0), truth, jaxmlr.processes.ar(pole=0.8), 5_000)

# %% [markdown]
# A method is three pure functions, so a run is one scan. `info` holds the label and the residual of every
# observation, from the estimate before that observation was used.

# %%
method = jaxmlr.two_step(noise_variance=1.0, gain="newton", bound=3.0)
state, info = jaxmlr.run(method, phi, y)
estimate = method.mixture(state)
print("coefficients", estimate.coefficients[0], "share of the first line", estimate.weights[0])

# %% [markdown]
# How many labels are wrong? Even with the true coefficients the nearest line is not always the right one.

# %%
optimum = truth.labels(phi, y, rule="nearest")
print("wrong labels", (info.label != label).mean(), "with the true lines", (optimum != label).mean())

# %% [markdown]
# The whole trajectory comes from `follow`, which draws the same rows, takes the steps, and records what one
# wants of the state, here at every n.

# %%
source = stream(jax.random.key(0), truth, jaxmlr.processes.ar(pole=0.8))
n = np.arange(1, 5_001)
path = jaxmlr.follow(method, source, 2, n, lambda state: method.mixture(state).coefficients[0])
error = np.linalg.norm(np.asarray(path - truth.coefficients[0]), axis=1)

figure, panel = plt.subplots(figsize=(5, 3), layout="constrained")
panel.loglog(n, error)
panel.set(xlabel="observations $n$", ylabel=r"$|\hat\beta[n] - \beta|$", title="one trial")
plt.show()
