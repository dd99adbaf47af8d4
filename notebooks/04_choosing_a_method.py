# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # Choosing a method
#
# Three questions decide: is the model symmetric (two opposite lines), do you have a start, and do the data
# arrive one by one? This notebook asks each method the same question on the same data.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxmlr
from jaxmlr.fitting import style
from jaxmlr.registry import COLOURS

plt.rcParams.update(style.settings(7))
TRIALS, STEPS = 64, 1_000
SHARES = (0.5, 0.6, 0.8)
METHODS = {
    "two_step": jaxmlr.two_step(1.0, gain="newton", bound=3.0),
    "second_moment": jaxmlr.second_moment(),
    "fisher_scoring": jaxmlr.fisher_scoring(),
    "symmetric_em, good start": jaxmlr.symmetric_em(1.0, initial_coefficients=jnp.array([0.7, -1.0])),
    "symmetric_em, poor start": jaxmlr.symmetric_em(1.0, initial_coefficients=jnp.array([1.0, 0.6])),
}


def errors():
    """Method -> coefficient error after all observations, (shares, trials)."""

    def one(trial, p):
        truth = jaxmlr.symmetric(jnp.array([1.0, -1.5]), p)
        phi, y, _ = jaxmlr.simulate(jax.random.key(0), truth, jaxmlr.processes.gaussian(), STEPS, trial=trial)
        errors = {}
        for name, method in METHODS.items():
            estimate = method.mixture(jaxmlr.run(method, phi, y)[0])
            errors[name] = jaxmlr.metrics.coefficient_error(estimate, truth)
        return errors

    trials = jnp.tile(jnp.arange(TRIALS), len(SHARES))
    errors = jax.jit(jaxmlr.lanes(one))(trials, jnp.repeat(jnp.array(SHARES), TRIALS))
    return {name: np.asarray(x).reshape(len(SHARES), TRIALS) for name, x in errors.items()}


table = errors()

# %% [markdown]
# `two_step` needs p away from 1/2; `symmetric_em` needs a start; `second_moment` needs neither but is not
# efficient; `fisher_scoring` starts from the latter and ends near the bound, so it is the one to use on a
# symmetric model.

# %%
looks = style.line_styles({name: name.split(",")[0] for name in METHODS}, COLOURS)
figure, panel = plt.subplots(figsize=(7, 3), layout="constrained")
for k, name in enumerate(METHODS):
    medians = np.median(table[name], axis=1)
    at = np.arange(len(SHARES)) + 0.16 * k
    panel.bar(at, medians, 0.15, label=name, color=looks[name].color)
    print(f"{name:26s}", *(f"{m:.3f}" for m in medians))
panel.set(xticks=np.arange(len(SHARES)) + 0.3, xticklabels=[f"$p$ = {p}" for p in SHARES], yscale="log")
panel.set_ylabel("median error")
panel.legend()
plt.show()

# %% [markdown]
# ## Gross errors
#
# A fifth of the responses is wrong, by ten standard deviations. `outlier_density` tells `em` (and
# `recursive_em`) that such rows belong to no line.

# %%
truth = jaxmlr.symmetric(jnp.array([1.0, -1.5]), 0.75)
law = jaxmlr.disturbances.contaminated(share=0.2, scale=10.0)
phi, y, _ = jaxmlr.simulate(jax.random.key(1), truth, jaxmlr.processes.gaussian(), 2_000, disturbance=law)
start = jaxmlr.symmetric(jnp.array([0.7, -1.2]), 0.5)
for density in (None, 0.001):
    fitted = jaxmlr.em(phi, y, start, equal_variance=True, outlier_density=density, max_iterations=200)
    error = jaxmlr.metrics.coefficient_error(fitted.mixture, truth)
    print(f"outlier_density={density}: error {error:.3f}, sigma^2 {float(fitted.mixture.noise_variance):.2f}")

# %% [markdown]
# ## More than two lines
#
# On a stream `multistart_em` runs several `recursive_em` from a cold start and keeps the likeliest; on a
# batch `fit` does the same with EM from many kinds of starts. Here is the idea by hand: eight random
# starts, side by side.

# %%
three = jaxmlr.Mixture(
    jnp.array([[2.0, 0.0], [-1.0, 2.0], [0.0, -2.0]]), jnp.array([0.5, 0.3, 0.2]), jnp.asarray(0.25)
)
phi, y, _ = jaxmlr.simulate(jax.random.key(2), three, jaxmlr.processes.gaussian(), 2_000)
method = jaxmlr.recursive_em(3, 1.0, learn_variance=True, initial_scale=2.0)
keys = jax.random.split(jax.random.key(3), 8)
states, _ = jax.jit(jax.vmap(lambda key: jaxmlr.run(method, phi, y, key)))(keys)
likelihood = jax.vmap(lambda state: method.mixture(state).log_likelihood(phi, y))(states)
error = jax.vmap(lambda state: jaxmlr.metrics.coefficient_error(method.mixture(state), three))(states)
for k in np.argsort(-likelihood):
    print(f"log-likelihood {likelihood[k]:.0f}, error {error[k]:.3f}")
assert error[np.argmax(likelihood)] < 0.15
