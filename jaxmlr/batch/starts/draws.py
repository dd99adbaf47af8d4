"""Chance for starts from one kernel of arithmetic: JAX's own generator is 13 to compile for every draw."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike


def words(key: jax.Array) -> jax.Array:
    """The words of a key, typed or raw, (w,) uint32."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    data: jax.Array = jax.random.key_data(key) if typed else key
    return data


def derived(key: jax.Array, *numbers: ArrayLike) -> jax.Array:
    """A raw key (2,) for these numbers, each () and at least 0; they may be traced."""
    state = jnp.zeros(2, jnp.uint32)
    for word in (*words(key), *(jnp.asarray(number).astype(jnp.uint32) for number in numbers)):
        state = _mixed((state ^ word) + jnp.array([0x9E3779B9, 0x7F4A7C15], jnp.uint32))
    return state


def uniform(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Numbers in [0, 1), multiples of 2^-24, of a shape."""
    places = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    first, second = derived(key)
    bits = _mixed(_mixed(places ^ first) + second)
    return (bits >> 8).astype(dtype) * 2.0**-24


def _mixed(x: jax.Array) -> jax.Array:
    """A one-to-one map of 32 bits in which a bit of x turns every other with probability near 1/2.

    The constants are those of triple32 (Wellons, Prospecting for Hash Functions, 2018).
    """
    for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
        x = (x ^ (x >> shift)) * jnp.uint32(factor)
    return x ^ (x >> 14)
