# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # Streams that drift
#
# A recursion that weighs all data alike slows down as it learns: after n observations a step has length
# 1/n. If the truth moves, the estimate falls behind. Forgetting keeps the steps long, and pays with noise.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxmlr
from jaxmlr.data.simulate import stream
from jaxmlr.fitting import style

plt.rcParams.update(style.settings(7))
STEPS, TRIALS = 4_000, 48
n = np.arange(1, STEPS + 1)
truth = jaxmlr.symmetric(jnp.array([1.8, 0.0]), 0.7)
turn = jaxmlr.drifts.rotation(np.pi / (STEPS - 1))  # beta[n] turns by half a circle


def one(trial, forgetting):
    """|beta_hat[n] - beta[n]|^2 up to sign, for every n."""
    method = jaxmlr.symmetric_em(1.0, initial_coefficients=jnp.array([1.0, 0.5]), forgetting=forgetting)
    source = stream(jax.random.key(0), truth, jaxmlr.processes.gaussian(), trial, drift=turn)
    path = jaxmlr.follow(method, source, 2, n, lambda state: state.coefficients)
    turned = jax.vmap(lambda n: turn.at(truth, n).coefficients[0])(jnp.asarray(n))
    both = jnp.stack([path - turned, path + turned])
    return jnp.min(jnp.sum(both**2, axis=2), axis=0)


# %% [markdown]
# A memory of about `1 / (1 - lambda)` observations in each direction. Forgetting is along phi only, so what
# is not visited is not forgotten and the covariance cannot wind up.

# %%
memories = {1.0: "all", 0.99: "100", 0.95: "20", 0.8: "5"}
rates = jnp.repeat(jnp.array(list(memories)), TRIALS)
squares = jax.jit(jaxmlr.lanes(one))(jnp.tile(jnp.arange(TRIALS), len(memories)), rates)
paths = np.sqrt(np.mean(squares.reshape(len(memories), TRIALS, STEPS), axis=1))
path_of = dict(zip(memories, paths, strict=True))
figure, panels = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for forgetting, name in memories.items():
    panels[0].plot(path_of[forgetting], label=f"memory {name}")
panels[0].set(xlabel="observations $n$", ylabel="rms error", title="a slow turn of beta")
panels[0].legend()
late = {forgetting: float(np.sqrt(np.mean(path[500:] ** 2))) for forgetting, path in path_of.items()}
panels[1].bar(list(memories.values()), late.values())
panels[1].set(xlabel="memory", ylabel="rms error, n > 500", title="too long, right, too short")
plt.show()
print({f"{forgetting:g}": f"{value:.3f}" for forgetting, value in late.items()})

# %% [markdown]
# How long should it be? Lag grows with the memory, noise falls with its root, so there is an optimum; it
# can be found by gradient where the truth can be simulated (`jaxmlr.tune`), or read off a picture like the
# right one.

# %%
best = min(late, key=late.get)
assert 0.8 < best < 1
print("best of these: forgetting =", best)
