"""Counter-based random numbers: any trial at any step can be regenerated alone.

Every number is a pure function of (key, trial, step, word). The generator is Threefry-2x32 with
20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
written unrolled in elementwise operations so that it fuses into the loop that uses it:

    step key   (k0, k1) = threefry(key,  (step, 0))            shared by all trials
    words      (a, b)   = threefry((k0, k1), (trial, pair))    pair = 0, 1, ...; further ones from 2^31

Uniforms take one word; a pair of words makes two normals by Box and Muller (1958).
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxmlr._xla.materialise import stored

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_FURTHER = 2**31  # pairs from here on are those of further numbers

Words = tuple[jax.Array, jax.Array]


def key_words(key: ArrayLike) -> jax.Array:
    """The two 32-bit words of a key, shape (2,).

    `key` is what `jax.random.key(seed)` or `jax.random.PRNGKey(seed)` returns.

    Raises:
      ValueError: the key is not a single Threefry key of two 32-bit words.
    """
    key = jnp.asarray(key)
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    if key.shape != (2,) or key.dtype != jnp.uint32:
        raise ValueError(
            "key must be one threefry2x32 key, as jax.random.key(seed) returns,"
            f" not {key.dtype} of shape {key.shape}"
        )
    return key


def threefry2x32(key: Words, counter: Words) -> Words:
    """Threefry-2x32-20: encrypt the counter words with the key words, all uint32, any shapes."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    a, b = counter[0] + schedule[0], counter[1] + schedule[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            a = a + b
            b = ((b << jnp.uint32(rotation)) | (b >> jnp.uint32(32 - rotation))) ^ a
        a = a + schedule[(group + 1) % 3]
        b = b + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return a, b


def words(key: jax.Array, trial: ArrayLike, step: ArrayLike, pairs: int) -> Words:
    """Two arrays of `pairs` words, shape (pairs,) uint32, that belong to (key, trial, step)."""
    step, trial = jnp.asarray(step).astype(jnp.uint32), jnp.asarray(trial).astype(jnp.uint32)
    step_key = threefry2x32((key[0], key[1]), (step, jnp.zeros_like(step)))
    pair = jnp.arange(pairs, dtype=jnp.uint32)
    return threefry2x32(step_key, (jnp.broadcast_to(trial, (pairs,)), pair))


def method_key(key: jax.Array, trial: ArrayLike) -> jax.Array:
    """The `jax.random` key of trial `trial` for methods with a random start, apart from all data noise."""
    zero = jnp.zeros((), jnp.uint32)
    start_key = threefry2x32((key[0], key[1]), (zero, zero + 1))
    pair = threefry2x32(start_key, (jnp.asarray(trial).astype(jnp.uint32), zero))
    return jax.random.wrap_key_data(jnp.stack(pair), impl="threefry2x32")


def uniform(word: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Uniform numbers in (0, 1], (w + 1/2) / 2^32, one a word; 1 only by rounding in float32."""
    return (word.astype(dtype) + 0.5) * 2.0**-32


def normal(pair: Words, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Standard normals, shape (2 m,), from two arrays of m words (Box and Muller 1958).

    radius^2 = -2 log u, and the angle is uniform on the circle: 30 bits place it in [-pi/4, pi/4],
    one bit reflects it at the diagonal, one bit turns it by pi. Largest value: 6.8.
    """
    first, second = pair
    radius = jnp.sqrt(-2.0 * jnp.log(uniform(first, dtype)))
    radius = jnp.where((second >> 31) == 0, radius, -radius)
    reflect = ((second >> 30) & 1) == 0
    centred = jax.lax.bitcast_convert_type(second << 2, jnp.int32).astype(dtype)
    sine, cosine = _sine_cosine(centred * (math.pi / 4 * 2.0**-31))
    z = jax.lax.complex(radius * jnp.where(reflect, cosine, sine), radius * jnp.where(reflect, sine, cosine))
    z = stored(z)  # one result, or the words would be computed anew for each part
    return jnp.concatenate([jnp.real(z), jnp.imag(z)])


def _sine_cosine(angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Taylor series on [-pi/4, pi/4], exact to the last bits of the dtype; libm's are scalar on CPU."""
    terms = 5 if jnp.finfo(angle.dtype).bits <= 32 else 9
    square = angle * angle
    series = []
    for start in (1, 0):
        total = jnp.zeros_like(angle)
        for k in reversed(range(terms + (start == 0))):
            total = total * square + (-1.0) ** k / math.factorial(2 * k + start)
        series.append(total)
    return angle * series[0], series[1]


def further_uniform(
    key: jax.Array, trial: ArrayLike, step: ArrayLike, index: int, dtype: jax.typing.DTypeLike
) -> jax.Array:
    """Uniform number `index`, from 0, of a step, apart from all those of `row`; shape ()."""
    step, trial = jnp.asarray(step).astype(jnp.uint32), jnp.asarray(trial).astype(jnp.uint32)
    step_key = threefry2x32((key[0], key[1]), (step, jnp.zeros_like(step)))
    word, _ = threefry2x32(step_key, (trial, jnp.full_like(trial, _FURTHER + index)))
    return uniform(word, dtype)


def row(
    key: jax.Array, trial: ArrayLike, step: ArrayLike, normals: int, dtype: jax.typing.DTypeLike
) -> tuple[jax.Array, jax.Array]:
    """What one step of one trial needs: `normals` standard normals and one uniform."""
    pairs = -(-normals // 2)
    first, second = words(key, trial, step, pairs + 1)
    gaussian = normal((first[:pairs], second[:pairs]), dtype)[:normals]
    # Parts of their own, since they are loaded faster than parts of complex numbers.
    gaussian, flat = stored((gaussian, uniform(first[pairs], dtype)))
    return gaussian, flat
