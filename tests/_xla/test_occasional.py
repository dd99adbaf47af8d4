"""A computation that is due now and then, alone, under `vmap` once and twice, and in lanes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmlr import lanes
from jaxmlr._xla.occasional import occasionally

X = jnp.arange(24.0).reshape(2, 3, 4)
LONG = jnp.zeros(300)  # more entries than lanes takes one by one


def follow(x, first=2):
    """Sums of x; where the count is `first`, squares of what was kept on the way."""

    def step(carry, _):
        kept, total, n = carry
        kept = lax.dynamic_update_slice(kept, total[None], (n,))
        total = occasionally(lambda a, b: a + jnp.sum(b * b), n == first, total + x, total, kept)
        return (kept, total, n + 1), total

    return lax.scan(step, (LONG.astype(x.dtype), x, jnp.zeros((), jnp.int32)), None, length=5)


def by_hand(x, first=2):
    kept, totals = [], [x]
    for n in range(5):
        kept.append(totals[-1])
        totals.append(totals[-1] + sum(k * k for k in kept) if n == first else totals[-1] + x)
    return np.array(totals[1:])


@pytest.mark.parametrize("transform", [jax.vmap, lanes])
def test_it_is_done_when_it_is_due(transform):
    x = X[0, 0]
    wanted = np.stack([by_hand(float(each)) for each in x])
    np.testing.assert_allclose(transform(lambda x: follow(x)[1])(x), wanted)
    np.testing.assert_allclose(jax.vmap(transform(lambda x: follow(x)[1]))(X[0])[0], wanted)


@pytest.mark.parametrize("transform", [jax.vmap, lanes])
def test_it_is_due_at_different_steps(transform):
    x, first = X[0, 0], jnp.asarray([0, 1, 3, 9], jnp.int32)
    pairs = zip(x, first, strict=True)
    wanted = np.stack([by_hand(float(each), int(due)) for each, due in pairs])
    np.testing.assert_allclose(transform(lambda x, f: follow(x, f)[1])(x, first), wanted)


def test_it_is_not_done_where_it_is_due_for_none():
    done = []

    def counted(x):
        jax.debug.callback(lambda: done.append(1))
        return x

    function = jax.jit(jax.vmap(lambda due, x: occasionally(counted, due, x, x)))
    jax.block_until_ready(function(jnp.zeros(4, bool), X[0, 0]))
    jax.effects_barrier()
    assert not done
