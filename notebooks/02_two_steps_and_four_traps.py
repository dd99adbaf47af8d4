# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # How the two-step estimator works, and four traps
#
# The model is `y = z beta' phi + w` with `z = +1` in a share p of the cases and `-1` in the others. The
# labels z are hidden. Two facts make it solvable in one pass:
#
# 1. `E[y | phi] = (2p - 1) beta' phi`, so least squares of y on phi finds `theta = (2p - 1) beta`: the
#    **direction**.
# 2. With the direction known, one number is missing, the **scale** `q = 1 / |2p - 1|`, and `beta = q
#    theta`. The size of y tells it, whatever the label: `E[y tanh(m y / sigma^2)] = m` for `m = beta' phi`
#    and for every p.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxmlr
from jaxmlr.data.simulate import stream
from jaxmlr.fitting import style

plt.rcParams.update(style.settings(7))
STEPS, TRIALS = 3_000, 48
n = np.arange(1, STEPS + 1)
BETA = jnp.array([1.0, -1.5])


def paths(gain, *cases):
    """Median error and scale along n; a case is (decay of the regressors, p, size, C, P[0][1, 1])."""

    def one(trial, decay, p, size, bound, second):
        truth = jaxmlr.symmetric(size * BETA, p)
        process = jaxmlr.processes.decaying_ar(decay=decay)
        method = jaxmlr.two_step(gain=gain, bound=bound, initial_covariance=jnp.stack([jnp.ones(()), second]))

        def record(state):
            return jaxmlr.metrics.coefficient_error(method.mixture(state), truth), state.scale

        return jaxmlr.follow(method, stream(jax.random.key(0), truth, process, trial), 2, n, record)

    columns = [jnp.repeat(jnp.array(column), TRIALS) for column in zip(*cases, strict=True)]
    values = jax.jit(jaxmlr.lanes(one))(jnp.tile(jnp.arange(TRIALS), len(cases)), *columns)
    return [np.median(x.reshape(len(cases), TRIALS, STEPS), axis=1) for x in values]


weak = (0.1, 0.75, 1 / 3, 9.0, 1.0)
error, scale = paths(
    "newton",
    (0.0, 0.75, 1.0, 3.0, 1e-9),  # trap 1, and without it
    (0.0, 0.75, 1.0, 3.0, 1.0),
    (0.0, 0.6, 1.0, 1.0, 1.0),  # trap 2, and without it
    (0.0, 0.6, 1.0, 3.0, 1.0),
    weak,  # trap 3, without it
    (0.1, 0.75, 1.0, 3.0, 1.0),  # trap 4, two cases more
    (0.3, 0.75, 1.0, 3.0, 1.0),
)
_, plain = paths("em", weak)

# %% [markdown]
# The second fact first: `E[y tanh(m y)]` with y from three different p. The three curves are one, the
# diagonal.

# %%
z = jax.random.normal(jax.random.key(1), (50_000,))
m = np.linspace(0, 3, 13)
figure, panel = plt.subplots(figsize=(4, 3), layout="constrained")
for p in (0.5, 0.75, 0.95):
    sign = jnp.where(jnp.arange(50_000) < p * 50_000, 1, -1)
    values = [jnp.mean((sign * v + z) * jnp.tanh(v * (sign * v + z))) for v in m]
    panel.plot(m, values, label=f"$p$ = {p}")
panel.plot(m, m, "k:", label="$m$")
panel.set(xlabel="$m$", ylabel=r"$E[y\,\tanh(m y)]$")
panel.legend()
plt.show()

# %% [markdown]
# ## Trap 1: a weight of zero
#
# The gain is `1 / (n^delta + phi' P phi)`. If n counts from 0, the first weight `0^delta` is 0, the first
# step makes P singular along the first regressor, and nothing ever changes there again. Here n counts from
# 1; the picture plants the mistake by a P[0] that is almost zero in one direction.

# %%
figure, panel = plt.subplots(figsize=(5, 3), layout="constrained")
panel.loglog(n, error[0], label="one direction frozen")
panel.loglog(n, error[1], label="n from 1")
panel.set(xlabel="observations $n$", ylabel=r"$|\hat\beta - \beta|$")
panel.legend()
plt.show()

# %% [markdown]
# ## Trap 2: the projection excludes the answer
#
# q is kept in `D_n = [1, C sqrt(log(n + e))]`. At p = .6 the true q is 5, and with C = 1 the interval
# reaches 5 at n = 7 x 10^10. Any C keeps the growth that the theory needs; C = 3 contains 5 from n = 14 on.

# %%
figure, panel = plt.subplots(figsize=(5, 3), layout="constrained")
for colour, bound, path in (("C0", 1.0, scale[2]), ("C1", 3.0, scale[3])):
    panel.semilogx(n, path, color=colour, label=f"$q$, $C$ = {bound:g}")
    upper = bound * np.sqrt(np.log(n + np.e))
    panel.semilogx(n, upper, ":", color=colour, label=f"upper end of $D_n$, $C$ = {bound:g}")
panel.axhline(5, color="k", linestyle="--", linewidth=0.8, label="true $q$")
panel.set(xlabel="observations $n$", ylabel="$q$", ylim=(0, 10))
panel.legend()
plt.show()

# %% [markdown]
# ## Trap 3: a gain that counts information that is not there
#
# The EM gain takes every `x^2 = (theta' phi)^2` as information on q, but where the signal is weak most of
# it is lost with the label. On regressors that fade, q then freezes on the way. The Newton gain counts only
# what survives.

# %%
figure, panel = plt.subplots(figsize=(5, 3), layout="constrained")
panel.semilogx(n, plain[0], label='gain="em"')
panel.semilogx(n, scale[4], label='gain="newton"')
panel.axhline(2, color="k", linestyle="--", linewidth=0.8, label="true $q$")
panel.set(xlabel="observations $n$", ylabel="$q$")
panel.legend()
plt.show()

# %% [markdown]
# ## Trap 4: a rate is not a promise
#
# The error is `O(n^kappa / lambda_min(n))`, which says nothing where the excitation lambda_min does not
# outgrow n^kappa. With regressors that fade as n^(-.3), lambda_min grows like n^.4: the error stays where
# it is. The labels become optimal all the same.

# %%
figure, panel = plt.subplots(figsize=(5, 3), layout="constrained")
for decay, path in ((0.0, error[1]), (0.1, error[5]), (0.3, error[6])):
    panel.loglog(n, path, label=f"decay {decay:g}")
panel.set(xlabel="observations $n$", ylabel=r"$|\hat\beta - \beta|$")
panel.legend()
plt.show()

# %% [markdown]
# The diagnostics find traps from the data alone, and say what to do.

# %%
truth = jaxmlr.symmetric(BETA, 0.6)
watched = jaxmlr.diagnosed(jaxmlr.two_step(bound=1.0))
data = jaxmlr.simulate(jax.random.key(2), truth, jaxmlr.processes.decaying_ar(), STEPS)
state, _ = jaxmlr.run(watched, data.phi, data.y)
for sentence in jaxmlr.diagnostics.advice(jaxmlr.diagnostics.report(state)):
    print("-", sentence)
