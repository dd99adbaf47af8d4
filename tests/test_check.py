"""Checks of arguments: what passes, and what the one line says about what does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import _check

FINE = [
    (0.5, dict(above=0, below=1)),
    (1, dict(at_least=1)),
    (np.int8(3), dict(above=2)),
    (np.array([1.0, 2.0]), dict(above=0)),
    ([1, 2], dict(at_least=1)),
    (jnp.ones(2, jnp.bfloat16), dict(above=0)),
    (np.float16(2), dict(above=1)),
    (np.inf, dict(above=0, finite=False)),
    (-1e300, {}),
    (np.zeros(0), dict(above=0)),
]
BAD = [
    (0.0, dict(above=0), "x must be greater than 0 and finite, not 0.0"),
    (1.0, dict(above=0, below=1), "x must be greater than 0 and less than 1 and finite, not 1.0"),
    (0, dict(at_least=1), "x must be at least 1 and finite, not 0"),
    ([1.0, -1.0], dict(above=0), "x must be greater than 0 and finite, not [1.0, -1.0]"),
    (np.nan, {}, "x must be finite, not nan"),
    (np.inf, {}, "x must be finite, not inf"),
    (np.nan, dict(finite=False), "x must be a number, not nan"),
    (np.nan, dict(above=0, finite=False), "x must be greater than 0 and a number, not nan"),
    (True, {}, "x must be a real number, not True"),
    ("1", {}, "x must be a real number, not '1'"),
    (None, {}, "x must be a real number, not None"),
    (1j, {}, "x must be a real number, not 1j"),
]


@pytest.mark.parametrize(("value", "limits"), FINE)
def test_a_number_in_range_passes(value, limits):
    _check.number("x", value, **limits)


@pytest.mark.parametrize(("value", "limits", "message"), BAD)
def test_a_number_out_of_range_is_named(value, limits, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole message is compared
        _check.number("x", value, **limits)
    assert str(caught.value) == message


def test_traced_values_pass_every_check():
    def function(x):
        _check.number("x", x, above=10)
        _check.nonzero("x", x)
        _check.observations(x[None], x[:1])
        return x

    jax.jit(function)(jnp.array([0.0, jnp.nan]))
    jax.vmap(function)(jnp.zeros((2, 2)))
    jax.grad(lambda x: function(x)[0])(jnp.zeros(2))


def test_a_closed_over_value_is_checked_inside_jit():
    with pytest.raises(ValueError, match="x must be greater than 0"):
        jax.jit(lambda: _check.number("x", np.float32(-1.0), above=0))()


@pytest.mark.parametrize("value", [0.0, [0, 0], np.zeros((2, 2)), jnp.zeros(3)])
def test_zero_is_named(value):
    with pytest.raises(ValueError, match="x must not be zero, not "):
        _check.nonzero("x", value)
    _check.nonzero("x", np.asarray(value) + np.eye(2)[0, 0])


def test_a_choice():
    _check.choice("mode", "b", ("a", "b"))
    with pytest.raises(ValueError, match=r"^mode must be one of 'a', 'b', not 'c'$"):
        _check.choice("mode", "c", ("a", "b"))


@pytest.mark.parametrize("value", [1, 5, np.int64(2), np.uint8(1)])
def test_a_whole_number_passes(value):
    _check.whole("steps", value, at_least=1)


@pytest.mark.parametrize("value", [0, -3, 2.0, True, "2", None, np.float64(2)])
def test_what_is_not_a_whole_number_is_named(value):
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole message is compared
        _check.whole("steps", value, at_least=1)
    assert str(caught.value) == f"steps must be a whole number of at least 1, not {value!r}"


PHI, Y = np.ones((3, 2)), np.ones(3)


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float16, np.float32, np.float64])
def test_observations_pass(dtype):
    _check.observations(PHI.astype(dtype), Y.astype(dtype))
    _check.observations(jnp.asarray(PHI, jnp.bfloat16), jnp.asarray(Y, jnp.bfloat16))
    _check.observations(PHI[:0], Y[:0])
    _check.observations(PHI * np.nan, Y * np.inf, gaps=True)


@pytest.mark.parametrize(
    ("phi", "y", "message"),
    [
        (Y, Y, "phi must have shape (n, d) and y shape (n,), not (3,) and (3,)"),
        (PHI, PHI, "phi must have shape (n, d) and y shape (n,), not (3, 2) and (3, 2)"),
        (PHI, Y[1:], "phi must have shape (n, d) and y shape (n,), not (3, 2) and (2,)"),
        (PHI[:, :0], Y, "phi must have at least one column, not shape (3, 0)"),
        (PHI.astype(object), Y, "phi must hold real numbers, not object"),
        (PHI.astype(str), Y, "phi must hold real numbers, not <U32"),
        (PHI > 0, Y, "phi must hold real numbers, not bool"),
        (PHI, Y.astype(complex), "y must hold real numbers, not complex128"),
        (PHI * [[1], [1], [np.nan]], Y, "phi must be finite: 1 bad rows, the first is row 2"),
        (PHI, Y * [1, np.inf, np.nan], "y must be finite: 2 bad rows, the first is row 1"),
    ],
)
def test_what_is_not_observations_is_named(phi, y, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole message is compared
        _check.observations(phi, y)
    assert str(caught.value) == message


SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, [2, 3], np.int8(4)), DOUBLE),
        ((np.arange(3), 0.5), DOUBLE),
        ((np.ones(2, np.float32), 0.5, np.float64(0.5), [1.0], np.arange(2)), SINGLE),
        ((np.ones(2, np.float32), np.ones(2)), DOUBLE),
        ((np.ones(2, np.float16), 1), SINGLE),
        ((jnp.ones(2, jnp.bfloat16),), SINGLE),
        ((jnp.ones((), np.float32), 1), SINGLE),
    ],
    ids=str,
)
def test_one_number_format_for_all(values, expected, wide):
    with jax.enable_x64(wide):
        converted = _check.floats(**{f"x{k}": value for k, value in enumerate(values)})
        assert {leaf.dtype for leaf in converted} == {expected if wide else SINGLE}


@pytest.mark.parametrize("value", ["1", [1, "a"], 1j, None, True, [[1], [2, 3]]])
def test_what_has_no_number_format_is_named(value):
    with pytest.raises(ValueError, match=r"^weight must hold "):
        _check.floats(weight=value)


def test_times_that_32_bits_cannot_tell_apart_are_refused():
    seconds = 1.7e9 + np.arange(50.0)
    phi = np.column_stack([np.ones(50), seconds])
    _check.observations(phi, seconds)
    with jax.enable_x64(False):
        _check.observations(phi - phi.mean(axis=0), seconds - seconds.mean())
        with pytest.raises(ValueError, match="phi must vary more than 32 bits round it in column 1"):
            _check.observations(phi, np.zeros(50))
        with pytest.raises(ValueError, match="y must vary more than 32 bits round it: subtract"):
            _check.observations(phi[:, :1], seconds.astype(np.int64))
