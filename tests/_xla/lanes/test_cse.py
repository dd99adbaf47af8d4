"""`shared`: what it computes once, what it stores, and that the results stay what they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmlr import lanes
from jaxmlr._xla.lanes.cse import shared

X, Y = jnp.arange(1.0, 6.0), jnp.linspace(-2.0, 3.0, 5)


def counts(function, *args):
    """How often each primitive stands in the jaxpr of `shared(function)`."""
    eqns = jax.make_jaxpr(shared(function))(*args).eqns
    names = [eqn.params.get("name", eqn.primitive.name) for eqn in eqns]
    return {name: names.count(name) for name in names}


def dear(x):
    return jnp.exp(jnp.sin(x))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, y: (x * y, y * x), {"mul": 1}),
        (lambda x, y: (x - y, y - x), {"sub": 2}),
        (lambda x, y: ((x + y) * x, x * (y + x)), {"add": 1, "mul": 1}),
        (lambda x, y: (x * 2.0, 2.0 * x, x * 3.0), {"mul": 2}),
        (lambda x, y: (x * 0.0, x * -0.0), {"mul": 2}),
        (lambda x, y: x + (jnp.sin(y), x * 2.0)[1], {"mul": 1, "add": 1}),
        (lambda x, y: (x[:2], x[1:3], x[:2]), {"slice": 2}),
        (lambda x, y: (x, x, y), {}),
    ],
)
def test_a_value_is_computed_once_and_only_if_it_is_used(function, expected):
    assert counts(function, X, Y) == expected
    for actual, wanted in zip(*(jax.tree.leaves(f(X, Y)) for f in (shared(function), function)), strict=True):
        np.testing.assert_array_equal(actual, wanted)
        np.testing.assert_array_equal(np.signbit(actual), np.signbit(wanted))


@pytest.mark.parametrize(
    ("function", "stored"),
    [
        (lambda x, y: (dear(x) + y, dear(x) - y), 1),  # two loops, and dear
        (lambda x, y: (dear(x) * dear(x) + dear(x), y), 0),  # one loop
        (lambda x, y: ((x + y) * x, (x + y) * y), 0),  # two loops, but cheap
        (lambda x, y: (1 + dear(x) + y, 2 * (1 + dear(x))), 1),  # only the last common value
        (lambda x, y: (dear(x) + y, dear(x) - y, (dear(x) - y) * 2), 1),
        (lambda x, y: jnp.concatenate([dear(x) + y, dear(x) - y]), 1),  # a loop for each part
        (lambda x, y: (jnp.sin(x[0]) + y, jnp.sin(x[0]) - y), 0),  # one number, beside five
        (lambda x, y: lax.fori_loop(0, 3, lambda i, c: c * dear(x), y), 0),
    ],
)
def test_what_several_loops_would_recompute_is_stored(function, stored):
    assert counts(function, X, Y).get("stored_values", 0) == stored
    for actual, wanted in zip(*(jax.tree.leaves(f(X, Y)) for f in (shared(function), function)), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-14)


def test_the_compiler_keeps_what_is_stored():
    def loops(x, y):
        common = x
        for _ in range(9):
            common = (common ^ y) + x
        return common + y, common - y

    def exclusive_ors(function):
        args = X.astype(jnp.uint32), X.astype(jnp.uint32)
        return jax.jit(function).lower(*args).compile().as_text().count(" xor(")

    assert (exclusive_ors(loops), exclusive_ors(shared(loops))) == (18, 9)
    assert exclusive_ors(lanes(lambda x, y: lax.fori_loop(0, 4, lambda i, c: loops(*c), (x, y)))) == 9


def test_it_is_transparent_to_derivatives_and_batching():
    def loss(x, y, around):
        return jnp.sum(around(lambda x: jnp.stack([dear(x) * y, dear(x) + y]))(x))

    for actual, wanted in zip(*(jax.grad(loss, (0, 1))(X, Y, f) for f in (shared, lambda f: f)), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-12)
    mapped = jax.vmap(shared(lambda x, y: (dear(x) + y, dear(x) - y)))(X, Y)
    np.testing.assert_allclose(mapped, (dear(X) + Y, dear(X) - Y), rtol=1e-14)


def test_effects_are_kept(capfd):
    def noisy(x):
        jax.debug.print("seen")
        return x

    lanes(noisy)(X)
    jax.effects_barrier()
    assert "seen" in capfd.readouterr().out


def test_a_method_writes_a_step_once_however_many_entries_use_it():
    """The sum below is of 16 products; without sharing each of the 16 results would hold them all."""

    def step(x):
        total = jnp.sum(x * x)
        return x / total

    text = str(jax.make_jaxpr(lanes(step))(jnp.ones((5, 16))))
    assert text.count("optimization_barrier") == 1


def carried(step, *start):
    """How many arrays the scan of `step` carries in lanes; its results are those of vmap."""

    def run(x, *start):
        return lax.scan(lambda c, k: (step(c, x, k), None), start, jnp.arange(4.0))[0]

    jaxpr = jax.make_jaxpr(lanes(lambda x: run(x, *start)))(X)
    (loop,) = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]
    for actual, wanted in zip(
        lanes(lambda x: run(x, *start))(X), jax.vmap(lambda x: run(x, *start))(X), strict=True
    ):
        np.testing.assert_allclose(actual, wanted, rtol=1e-13)
        np.testing.assert_array_equal(np.signbit(actual), np.signbit(wanted))
    return len(loop.outvars)


def test_the_two_halves_of_a_symmetric_matrix_are_carried_once():
    def downdate(c, x, k):
        u = x * jnp.array([1.0, 2.0]) + k
        pu = c[0] @ u
        return (c[0] - jnp.outer(pu, pu) / (1 + u @ pu),)

    assert carried(downdate, jnp.eye(2)) == 3


@pytest.mark.parametrize(
    ("step", "start", "parts"),
    [
        (lambda c, x, k: (c[0] + x, c[1] + x), (0.0, 0.0), 1),
        (lambda c, x, k: (c[0] + x, c[1] + x), (0.0, 1.0), 2),
        (lambda c, x, k: (c[0] * x, c[1] * x), (0.0, -0.0), 2),
        (lambda c, x, k: (c[0] + x, c[0] + x), (0.0, 1.0), 2),
        # The first two part in the second step only, because the last two do in the first.
        (lambda c, x, k: (c[0] + c[2], c[1] + c[3], c[2] + x, c[3] - x), (0.0, 0.0, 0.0, 0.0), 4),
        (lambda c, x, k: (c[0] + c[2], c[1] + c[3], c[2] + x, c[3] + x), (0.0, 0.0, 2.0, 2.0), 2),
        (lambda c, x, k: (jnp.where(k > 1, x, c[0]), c[1] * 1.0 + 0 * x), (0.5, 0.5), 2),
    ],
)
def test_parts_of_a_carry_that_stay_the_same_are_carried_once(step, start, parts):
    assert carried(step, *map(jnp.asarray, start)) == parts


def test_parts_that_start_as_arguments_are_the_same_only_if_they_are_one():
    def run(x, y):
        def step(c, k):
            return ((c[0] * k + 1, c[1] * k + 1, c[2] * k + 1), None)

        return lax.scan(step, (x, x, y), jnp.arange(4.0))[0]

    jaxpr = jax.make_jaxpr(lanes(run))(X, Y)
    (loop,) = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]
    assert len(loop.outvars) == 2
    for actual, wanted in zip(lanes(run)(X, Y), jax.vmap(run)(X, Y), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-14)


def test_a_while_loop_carries_what_stays_the_same_once():
    def run(x):
        def go_on(c):
            return c[0] < 5

        return lax.while_loop(
            go_on, lambda c: (c[0] + 1, c[1] * x, c[2] * x), (0, jnp.ones(()), jnp.ones(()))
        )

    jaxpr = jax.make_jaxpr(lanes(run))(X)
    (loop,) = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "while"]
    assert len(loop.outvars) == 2
    for actual, wanted in zip(lanes(run)(X), jax.vmap(run)(X), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-14)


def test_a_loop_may_carry_nothing():
    def run(x):
        return lax.scan(lambda c, k: (c, k * x), (), jnp.arange(4.0))[1]

    np.testing.assert_allclose(lanes(run)(X), jax.vmap(run)(X), rtol=1e-14)
