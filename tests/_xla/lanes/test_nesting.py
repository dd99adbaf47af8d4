"""`lanes` inside other transformations and around functions with derivatives of their own."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmlr import lanes

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(5, 3)))
A = jnp.asarray(RNG.normal(size=(5, 3, 3)))


def assert_same(ours, theirs):
    chex.assert_trees_all_equal_shapes_and_dtypes(ours, theirs)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-11, atol=1e-12)


# ---- custom derivatives ---------------------------------------------------------------------------


@jax.custom_vjp
def clipped(x):
    return x * 1.0


clipped.defvjp(lambda x: (x, x), lambda x, g: (jnp.clip(g, -0.1, 0.1) * x,))


@jax.custom_jvp
def odd(x):
    return jnp.sin(x)


odd.defjvp(lambda primals, tangents: (odd(*primals), 7.0 * tangents[0]))


@pytest.mark.parametrize("function", [clipped, odd, jax.nn.relu])
@pytest.mark.parametrize("where", ["alone", "in a scan"])
def test_a_function_keeps_its_own_derivative(function, where):
    at = X.at[0].set(0.0)  # where relu's own rule says 0 and the rule of max says 1/2

    def one(x):
        if where == "alone":
            return function(x)
        return lax.scan(lambda c, _: (function(c) + x, None), x, None, length=3)[0]

    lane, mapped = (jax.grad(lambda x, b=b: jnp.sum(b(one)(x) * X))(at) for b in (lanes, jax.vmap))
    assert_same(lane, mapped)
    assert_same(*(jax.jit(b(one))(at) for b in (lanes, jax.vmap)))


# ---- nesting --------------------------------------------------------------------------------------


def recursion(delta, x, a):
    return lax.scan(lambda c, v: (delta * jnp.tanh(a @ c) + v, c @ v), x, a)


def test_a_grid_outside_of_lanes():
    deltas = jnp.array([0.1, 0.5, 0.9])

    def grid(batched):
        return jax.vmap(lambda d: batched(lambda x, a: recursion(d, x, a))(X, A))(deltas)

    assert_same(grid(lanes), grid(jax.vmap))


def test_lanes_inside_lanes():
    def inner(x, a):
        return lanes(lambda row: row @ x + jnp.argmax(row).astype(float))(a)

    assert_same(*(jax.jit(b(inner))(X, A) for b in (lanes, jax.vmap)))


def test_lanes_inside_a_loop():
    def iterate(batched):
        one = batched(lambda x, a: recursion(0.5, x, a)[0])
        return jax.jit(lambda: lax.fori_loop(0, 3, lambda i, x: one(x, A), X))()

    assert_same(iterate(lanes), iterate(jax.vmap))


def test_gradient_of_what_lanes_closes_over():
    def loss(delta, batched):
        return jnp.sum(batched(lambda x, a: recursion(delta, x, a)[0])(X, A))

    ours, theirs = (jax.grad(loss)(0.3, b) for b in (lanes, jax.vmap))
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    forward = jax.jvp(lambda d: loss(d, lanes), (0.3,), (1.0,))[1]
    np.testing.assert_allclose(forward, theirs, rtol=1e-10)
