"""The work of `jaxmlr bench` as it is otherwise written: vectorised NumPy, and the obvious JAX.

Both run eq. (17) of arXiv 2503.18500 with the two-step recursion in float32, theta[0] = .1, P[0] = I,
q[0] = r[0] = 1, D_n = [1, sqrt(log(n + e))], and return the mean over trials of |beta_hat - beta|^2, up to
sign.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np


def slopes(dim: int) -> np.ndarray:
    """The coefficients of the benchmark."""
    return (1.5 * np.arange(1, dim + 1) / dim).astype(np.float32)


def _error(estimate: np.ndarray, beta: np.ndarray) -> float:
    apart = [np.sum((estimate - sign * beta) ** 2, axis=1) for sign in (1, -1)]
    return float(np.mean(np.minimum(*apart)))


def numpy_study(dim: int, trials: int, steps: int, seed: int = 0) -> float:
    """All trials side by side in arrays, a Python loop over steps."""
    rng, beta = np.random.default_rng(seed), slopes(dim)
    phi = np.ones((trials, dim), np.float32)
    theta = np.full((trials, dim), 0.1, np.float32)
    P = np.broadcast_to(np.eye(dim, dtype=np.float32), (trials, dim, dim)).copy()
    q, r = np.ones(trials, np.float32), np.ones(trials, np.float32)
    for n in range(1, steps + 1):
        noise = rng.standard_normal((trials, dim + 1), np.float32)
        sign = np.where(rng.random(trials, np.float32) < 0.6, np.float32(1), np.float32(-1))
        phi = np.float32(0.8) * phi + np.float32(n**-0.1) * noise[:, :dim]
        y = sign * (phi @ beta) + noise[:, dim]
        x = np.einsum("ti,ti->t", theta, phi)
        s = y * np.tanh(q * x * y)
        r += x * x
        q = np.clip(q + x / r * (s - q * x), 1, np.float32(math.sqrt(math.log(n + math.e))))
        gain = np.einsum("tij,tj->ti", P, phi)
        a = 1 / (1 + np.einsum("ti,ti->t", phi, gain))
        theta += gain * (a * (y - x))[:, None]
        P -= a[:, None, None] * gain[:, :, None] * gain[:, None, :]
    return _error(q[:, None] * theta, beta)


def jax_study(dim: int, trials: int, steps: int, seed: int = 0):
    """`vmap` of a `scan` with `jax.random` in every step; a compiled function of no arguments."""
    beta = jnp.asarray(slopes(dim))

    def trial(key):
        def step(carry, n):
            phi, theta, P, q, r = carry
            draw, flip = jax.random.split(jax.random.fold_in(key, n))
            noise = jax.random.normal(draw, (dim + 1,), jnp.float32)
            count = n.astype(jnp.float32)
            phi = 0.8 * phi + count**-0.1 * noise[:dim]
            y = jnp.where(jax.random.bernoulli(flip, 0.6), 1.0, -1.0) * (phi @ beta) + noise[dim]
            x = theta @ phi
            s = y * jnp.tanh(q * x * y)
            r = r + x * x
            q = jnp.clip(q + x / r * (s - q * x), 1, jnp.sqrt(jnp.log(count + math.e)))
            gain = P @ phi
            a = 1 / (1 + phi @ gain)
            return (phi, theta + gain * (a * (y - x)), P - a * jnp.outer(gain, gain), q, r), None

        one = jnp.ones((), jnp.float32)
        start = (jnp.ones(dim), jnp.full(dim, 0.1), jnp.eye(dim), one, one)
        _, theta, _, q, _ = jax.lax.scan(step, start, jnp.arange(1, steps + 1))[0]
        return q * theta

    run = jax.jit(jax.vmap(trial)).lower(jax.random.split(jax.random.key(seed), trials)).compile()
    return lambda: _error(np.asarray(run(jax.random.split(jax.random.key(seed), trials))), slopes(dim))
