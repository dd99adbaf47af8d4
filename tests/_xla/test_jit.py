"""Options and batches of compiled loops: the results are those of plain jit and vmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxmlr._xla import jit
from jaxmlr._xla.jit import one_by_one, wide_jit


@functools.partial(wide_jit, static_argnames=("power",))
def summed(x, power=2):
    return jnp.sum(x**power)


def test_wide_jit_at_the_top_and_inside():
    x = jnp.arange(5.0)
    for power in (1, 3):
        wanted = np.sum(np.arange(5.0) ** power)
        call = functools.partial(summed, power=power)
        assert call(x) == wanted
        assert jax.jit(call)(x) == wanted
        assert jax.jit(lambda call=call: call(jnp.arange(5.0)))() == wanted  # nothing traced goes in
        assert_allclose(jax.vmap(call)(jnp.stack([x, 2 * x])), [wanted, 2.0**power * wanted])
    assert_allclose(jax.grad(summed)(x), 2 * np.arange(5.0))


def test_the_options_are_asked_for_at_the_top_only(monkeypatch):
    asked = []

    def recording(function, **how):
        return lambda x: asked.append(how.get("compiler_options")) or function(x)

    with monkeypatch.context() as patch:
        patch.setattr(jit.jax, "jit", recording)
        double = wide_jit(lambda x: 2 * x)
    double(jnp.ones(2))
    jax.jit(double)(jnp.ones(2))
    jax.grad(lambda x: jnp.sum(double(x)))(jnp.ones(2))
    assert asked == [jit.CPU_OPTIONS, None, None]
    assert jit.CPU_OPTIONS["xla_cpu_prefer_vector_width"] == 512


def halvings(start, limit):
    """A loop of its own length, of pytrees."""
    state = (start["value"], jnp.zeros((), jnp.int32))
    value, count = jax.lax.while_loop(lambda s: s[0] > limit, lambda s: (s[0] / 2, s[1] + 1), state)
    return {"value": value + start["shift"][0], "count": count}


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0), ({"value": 0, "shift": None}, None)])
def test_one_by_one_is_vmap(axes):
    rng = np.random.default_rng(0)

    def drawn(axis, shape):
        return jnp.asarray(rng.uniform(1, 100, size=shape if axis is None else (6, *shape)))

    first = axes[0] if isinstance(axes[0], dict) else {"value": axes[0], "shift": axes[0]}
    start = {"value": drawn(first["value"], ()), "shift": drawn(first["shift"], (2,))}
    limit = drawn(axes[1], ())
    actual, wanted = (jax.vmap(f, in_axes=axes)(start, limit) for f in (one_by_one(halvings), halvings))
    jax.tree.map(np.testing.assert_array_equal, actual, wanted)


def test_a_batch_is_a_loop_over_its_members():
    def loops(function):
        return str(jax.make_jaxpr(jax.vmap(function))(jnp.ones((6, 2)))).count("scan[")

    assert (loops(jnp.sin), loops(one_by_one(jnp.sin))) == (0, 1)


def cubed(x, extra):
    return {"cube": x**3, "extra": extra["a"]}


@pytest.mark.parametrize("extra", [{"a": None}, {"a": 2.0}])
def test_one_by_one_has_the_forward_derivatives_of_the_function(extra):
    x = jnp.asarray([1.0, 2.0])

    def derivatives(function):
        def one(x):
            return function(x, extra)["cube"]

        many = jax.vmap(lambda x, t: jax.jvp(one, (x,), (t,)))(jnp.ones((3, 2)), jnp.ones((3, 2)))
        return jax.jacfwd(one)(x), jax.jacfwd(jax.jacfwd(one))(x), jax.jacrev(one)(x), many

    jax.tree.map(np.testing.assert_array_equal, derivatives(one_by_one(cubed)), derivatives(cubed))


def test_one_by_one_under_two_vmaps_and_jit():
    value = jnp.asarray(np.random.default_rng(0).uniform(1, 100, size=(3, 4)))
    limits = jnp.asarray([1.0, 2.0, 3.0, 4.0])

    def both(function):
        def one(value, limit):
            return function({"value": value, "shift": jnp.ones(2)}, limit)

        return jax.jit(jax.vmap(jax.vmap(one), in_axes=(0, None)))(value, limits)

    jax.tree.map(np.testing.assert_array_equal, both(one_by_one(halvings)), both(halvings))


def test_elsewhere_than_on_a_cpu_a_batch_stays_one(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert one_by_one(halvings) is halvings
    assert summed(jnp.arange(3.0)) == 5
