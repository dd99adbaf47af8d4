# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # Write your own estimator in 20 lines
#
# A method is three pure functions: `init`, `step` and `mixture`. Write them for one trial and one
# observation, and every part of the library works with them: scans, grids, thousands of trials at full
# speed, studies, diagnostics.
#
# As an example, a rule that nobody should use: it takes the sign of `y beta' phi` for the truth, and learns
# beta by least squares on y times that sign.

# %%
import time

import jax
import jax.numpy as jnp

import jaxmlr
from jaxmlr import Estimator, Info, Mixture


def sign_rule(initial=0.5):
    def init(dim, key=None, dtype=None):
        dtype = jnp.result_type(float) if dtype is None else dtype
        return jnp.full(dim, initial, dtype), jnp.eye(dim, dtype=dtype)

    def step(state, row):
        beta, P = state
        phi, y = row[0].astype(beta.dtype), row[1].astype(beta.dtype)
        b = jnp.sum(beta * phi)
        sign = jnp.where(y * b >= 0, 1, -1).astype(y.dtype)
        g = P @ phi
        a = 1 / (1 + jnp.sum(phi * g))
        residual = sign * y - b
        info = Info(jnp.where(sign > 0, 0, 1).astype(jnp.int32), sign * residual)
        return (beta + a * g * residual, P - a * g[:, None] * g[None, :]), info

    def mixture(state):
        beta, _ = state
        return Mixture(jnp.stack([beta, -beta]), jnp.full(2, 0.5, beta.dtype), jnp.ones((), beta.dtype))

    return Estimator(init, step, mixture)


# %% [markdown]
# One run is one scan.

# %%
truth = jaxmlr.symmetric(jnp.array([1.0, -1.5]), 0.7)
phi, y, label = jaxmlr.simulate(jax.random.key(0), truth, jaxmlr.processes.gaussian(), 5_000)
method = sign_rule()
state, info = jaxmlr.run(method, phi, y)
print("coefficients", method.mixture(state).coefficients[0])

# %% [markdown]
# In a study it stands beside the others, on the same noise. In TOML its name is `"my_module:sign_rule"`.

# %%
study = jaxmlr.Study(
    name="mine",
    problem={"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.7},
    estimators={
        "mine": {"method": sign_rule, "initial": 0.3},
        "theirs": {"method": "symmetric_em", "initial_coefficients": [0.3, 0.3]},
    },
    trials=256,
    steps=2_000,
    record=1,
    metrics=["coefficient_error", "excess_misclassification"],
)
results = jaxmlr.run_study(study, progress=False).squeeze()
for name in study.estimators:
    error = float(results["coefficient_error_mean"].sel(estimator=name))
    excess = float(results["excess_misclassification_mean"].sel(estimator=name))
    print(f"{name:6s} error {error:.3f}, wrong labels above the optimum {excess:.4f}")
print("trial steps per second:", f"{results.attrs['trial_steps_per_second']:,}")

# %% [markdown]
# It is biased, as hard labels always are, and the error does not go away with n. Settings may be traced, so
# a grid is a vmap, and a method can be differentiated:

# %%
starts = jnp.linspace(0.1, 2.0, 8)
ends = jax.vmap(lambda s: jaxmlr.run(sign_rule(s), phi, y)[0][0])(starts)
print("from eight starts:", ends.shape)
slope = jax.grad(lambda s: jnp.linalg.norm(jaxmlr.run(sign_rule(s), phi[:100], y[:100])[0][0]))(0.5)
print("d|beta_hat| / d initial after 100 observations:", slope)

# %% [markdown]
# For thousands of trials write nothing else: `lanes` takes the same function and gives every scalar of the
# little matrices a vector of trials. Compare it with `vmap`:


# %%
def trial(index):
    phi, y, _ = jaxmlr.simulate(jax.random.key(0), truth, jaxmlr.processes.gaussian(), 500, trial=index)
    return jaxmlr.run(method, phi, y)[0][0]


for name, batch in (("vmap", jax.vmap), ("lanes", jaxmlr.lanes)):
    many = jax.jit(batch(trial))
    many(jnp.arange(1024)).block_until_ready()
    began = time.perf_counter()
    many(jnp.arange(1024)).block_until_ready()
    print(f"{name}: {1024 * 500 / (time.perf_counter() - began) / 1e6:.1f} million trial steps a second")
