"""Programs for a device that is not at hand."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr._xla.lanes.transform import lanes
from jaxmlr._xla.target import aimed_at, target


def test_programs_are_for_the_default_device_unless_aimed_elsewhere():
    assert target() == jax.default_backend()
    with aimed_at("gpu"):
        assert target() == "gpu"
    assert target() == jax.default_backend()


def carried_shapes(function, *args):
    (loop,) = [eqn for eqn in jax.make_jaxpr(function)(*args).eqns if eqn.primitive.name == "while"]
    return sorted(var.aval.shape for var in loop.outvars)


def test_elsewhere_than_on_a_cpu_a_loop_carries_a_number_of_all_trials_for_each():
    def function(x):
        start = 0, jnp.ones(()), x
        return jax.lax.while_loop(lambda c: c[0] < 4, lambda c: (c[0] + 1, c[1] + 1, c[2] / c[1]), start)[2]

    x = jnp.arange(1.0, 4.0)
    expected = lanes(function)(x)
    assert carried_shapes(lanes(function), x).count((3,)) == 1
    with aimed_at("gpu"):
        assert carried_shapes(lanes(function), x).count((3,)) == 2
        np.testing.assert_allclose(lanes(function)(x), expected, rtol=1e-12)


def test_elsewhere_too_trials_may_stop_at_different_times():
    def function(x):
        return jax.lax.while_loop(lambda c: c[1] < 20, lambda c: (c[0] + 1, c[1] + x), (0, x))

    x = jnp.array([1.0, 3.0])
    with aimed_at("gpu"):
        np.testing.assert_array_equal(lanes(function)(x)[0], [19, 6])
