"""The noise: known answers of the generator, and the laws of what is made from it.

Seeds are fixed, so nothing here is flaky; `Z` and `P` leave a false alarm a chance below 1e-7 each.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

from jaxmlr.data import noise

Z, P = 5.5, 1e-7
TRIALS, STEPS, NORMALS = 128, 128, 128
KEY = noise.key_words(jax.random.key(2025))


def grid(function, trials=TRIALS, steps=STEPS):
    """`function(trial, step)` for every trial and step: leading axes (trials, steps)."""
    over_steps = jax.vmap(function, in_axes=(None, 0))
    return jax.jit(jax.vmap(over_steps, in_axes=(0, None)))(jnp.arange(trials), jnp.arange(steps))


@pytest.fixture(scope="module")
def normals():
    """Two million standard normals, axes (trial, step, word)."""
    return np.asarray(grid(lambda t, n: noise.row(KEY, t, n, NORMALS, jnp.float64)[0]))


@pytest.fixture(scope="module")
def words():
    """Two million words, axes (trial, step, word)."""
    return np.asarray(grid(lambda t, n: jnp.concatenate(noise.words(KEY, t, n, NORMALS // 2))))


# ---- the generator --------------------------------------------------------------------------------

KNOWN_ANSWERS = [  # of the Random123 distribution: key, counter, cipher
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "cipher"), KNOWN_ANSWERS)
def test_threefry_gives_the_published_answers(key, counter, cipher):
    key, counter = (tuple(map(jnp.uint32, pair)) for pair in (key, counter))
    assert tuple(map(int, noise.threefry2x32(key, counter))) == cipher


def test_threefry_is_that_of_jax():
    key, *counter = np.random.default_rng(0).integers(0, 2**32, (3, 1000), dtype=np.uint32)
    ours = noise.threefry2x32((key[0], key[1]), tuple(map(jnp.asarray, counter)))
    theirs = threefry_2x32(jnp.asarray(key[:2]), jnp.concatenate(counter))
    np.testing.assert_array_equal(jnp.concatenate(ours), theirs)


def test_words_are_threefry_of_trial_and_pair_under_a_step_key():
    first, second = noise.words(KEY, 7, 9, 3)
    step_key = threefry_2x32(KEY, jnp.array([9, 0], jnp.uint32))
    for pair in range(3):
        expected = threefry_2x32(step_key, jnp.array([7, pair], jnp.uint32))
        np.testing.assert_array_equal([first[pair], second[pair]], expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_any_trial_at_any_step_can_be_had_alone(dtype):
    whole = grid(lambda t, n: noise.row(KEY, t, n, 5, dtype), 4, 6)
    alone = jax.jit(lambda t, n: noise.row(KEY, t, n, 5, dtype))
    _, scanned = jax.lax.scan(lambda c, n: (c, noise.row(KEY, 3, n, 5, dtype)), 0, jnp.arange(6))
    for t, n in [(0, 0), (3, 5), (3, 1), (1, 3)]:
        gaussian, flat = alone(t, n)
        np.testing.assert_allclose(gaussian, whole[0][t, n], rtol=4 * jnp.finfo(dtype).eps)
        np.testing.assert_array_equal(flat, whole[1][t, n])
    np.testing.assert_allclose(scanned[0], whole[0][3], rtol=4 * jnp.finfo(dtype).eps)
    np.testing.assert_array_equal(scanned[1], whole[1][3])


def test_no_word_is_used_twice(words):
    """Among n words of 32 bits n^2 / 2^33 pairs agree by chance; a shared counter would add thousands."""
    n = words.size
    expected = n * n / 2**33
    assert abs(n - len(np.unique(words)) - expected) < Z * np.sqrt(expected)
    other = np.asarray(noise.words(noise.key_words(jax.random.key(2026)), 0, 0, 1000)).ravel()
    assert np.isin(other, words).sum() < 10


def test_both_kinds_of_key_are_the_same_key():
    expected = np.array([0, 11], np.uint32)
    for key in (jax.random.key(11), jax.random.PRNGKey(11), expected):
        np.testing.assert_array_equal(noise.key_words(key), expected)


@pytest.mark.parametrize(
    "key",
    [
        np.int64(3),
        jnp.zeros(2),
        jnp.zeros(2, jnp.int32),
        jnp.zeros((2, 2), jnp.uint32),
        jax.random.split(jax.random.key(0)),
        jax.random.key(0, impl="rbg"),
    ],
)
def test_what_is_not_one_threefry_key_is_refused(key):
    with pytest.raises(ValueError, match=r"^key must be one threefry2x32 key"):
        noise.key_words(key)


# ---- laws -----------------------------------------------------------------------------------------


def test_every_bit_is_balanced(words):
    ones = np.array([np.count_nonzero(words & np.uint32(1 << bit)) for bit in range(32)])
    assert np.abs(ones - words.size / 2).max() < Z * np.sqrt(words.size / 4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_uniforms_are_uniform(words, dtype):
    u = np.asarray(noise.uniform(jnp.asarray(words.ravel()), dtype), np.float64)
    assert u.min() > 0
    assert u.max() <= 1
    assert stats.kstest(u, "uniform").pvalue > P
    for shift in (1, 2**6, 2**12):  # leading to middle bits; float32 keeps 24
        counts = np.histogram(np.mod(u * shift, 1), bins=128, range=(0, 1))[0]
        assert stats.chisquare(counts).pvalue > P
    for power in range(1, 7):
        mean, variance = 1 / (power + 1), 1 / (2 * power + 1) - 1 / (power + 1) ** 2
        assert abs(np.mean(u**power) - mean) < Z * np.sqrt(variance / u.size)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_uniforms_at_the_ends_of_the_range(dtype):
    ends = noise.uniform(jnp.array([0, 2**32 - 1], jnp.uint32), dtype)
    np.testing.assert_allclose(ends, [2.0**-33, 1 - 2.0**-33], rtol=jnp.finfo(dtype).eps)
    largest = noise.normal((jnp.zeros(1, jnp.uint32), jnp.zeros(1, jnp.uint32)), dtype)
    np.testing.assert_allclose(jnp.max(jnp.abs(largest)), np.sqrt(2 * 33 * np.log(2)), rtol=1e-6)
    assert np.isfinite(noise.normal((jnp.full(1, 2**32 - 1, jnp.uint32),) * 2, dtype)).all()


@pytest.mark.parametrize("power", range(1, 7))
def test_moments_are_normal(normals, power):
    mean, second = (stats.norm.moment(k) for k in (power, 2 * power))
    error = np.mean(normals**power) - mean
    assert abs(error) < Z * np.sqrt((second - mean**2) / normals.size)


@pytest.mark.parametrize("level", [2, 3, 4, 5])
@pytest.mark.parametrize("sign", [1, -1])
def test_tails_are_normal(normals, level, sign):
    beyond = int(np.count_nonzero(sign * normals > level))
    assert stats.binomtest(beyond, normals.size, stats.norm.sf(level)).pvalue > P


def test_the_distribution_is_normal(normals):
    assert stats.kstest(normals.ravel(), "norm").pvalue > P
    counts = np.histogram(stats.norm.cdf(normals), bins=256, range=(0, 1))[0]
    assert stats.chisquare(counts).pvalue > P


def test_single_precision_normals_are_double_precision_rounded():
    pair = noise.words(KEY, 1, 1, 200_000)
    single, double = (np.asarray(noise.normal(pair, t), np.float64) for t in (jnp.float32, jnp.float64))
    np.testing.assert_allclose(np.abs(single - double).max(), 0, atol=4e-4)  # where u rounds to 1
    usual = np.hypot(*np.split(double, 2)) > 0.1
    error = np.maximum(*np.split(np.abs(single - double), 2))[usual]
    assert error.max() < 5e-6


def test_normals_are_sine_and_cosine_of_a_turn(normals):
    """The two numbers of one pair: exponential squared radius, uniform angle, and independent."""
    first, second = np.split(normals, 2, axis=-1)
    half_square = ((first**2 + second**2) / 2).ravel()
    angle = np.arctan2(second, first).ravel() / (2 * np.pi) + 0.5
    assert stats.kstest(half_square, "expon").pvalue > P
    assert stats.kstest(angle, "uniform").pvalue > P
    assert stats.chisquare(np.histogram(angle, bins=360, range=(0, 1))[0]).pvalue > P
    assert joint(np.exp(-half_square), angle) > P
    assert joint(stats.norm.cdf(first), stats.norm.cdf(second)) > P


# ---- independence ---------------------------------------------------------------------------------


def joint(a, b, bins=16):
    """p-value of joint uniformity of two arrays of numbers in [0, 1]."""
    counts = np.histogram2d(np.ravel(a), np.ravel(b), bins=bins, range=((0, 1), (0, 1)))[0]
    return stats.chisquare(counts.ravel()).pvalue


def correlation_z(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1] * np.sqrt(np.size(a))


def neighbours(x, axis, lag):
    x = np.moveaxis(x, axis, 0)
    return x[lag:], x[:-lag]


@pytest.mark.parametrize("lag", [1, 2, 64])
@pytest.mark.parametrize("axis", [0, 1, 2], ids=["trial", "step", "word"])
def test_neighbours_are_independent(normals, axis, lag):
    a, b = neighbours(normals, axis, lag)
    for left, right in ((a, b), (a**2, b**2), (a, b**2), (a**2, b)):
        assert abs(correlation_z(left, right)) < Z
    assert joint(stats.norm.cdf(a), stats.norm.cdf(b)) > P


def test_the_diagonal_of_trials_and_steps_is_independent(normals):
    """(trial, step) and (step, trial) are different draws."""
    upper = np.triu_indices(TRIALS, 1)
    a, b = normals[upper], normals[upper[::-1]]
    assert abs(correlation_z(a, b)) < Z
    assert abs(correlation_z(a**2, b**2)) < Z


def test_the_uniform_of_a_row_is_independent_of_its_normals():
    gaussian, flat = map(np.asarray, grid(lambda t, n: noise.row(KEY, t, n, 3, jnp.float64), 256, 256))
    assert gaussian.shape == (256, 256, 3)
    assert stats.kstest(flat.ravel(), "uniform").pvalue > P
    for k in range(3):
        assert abs(correlation_z(gaussian[..., k], flat)) < Z
        assert abs(correlation_z(gaussian[..., k] ** 2, flat)) < Z
        assert joint(stats.norm.cdf(gaussian[..., k]), flat, bins=8) > P


def test_sums_over_a_trial_and_over_a_step_have_the_variance_of_independence(normals):
    """Mean squares of sums along each axis: sensitive to weak correlation at any lag."""
    for axis in range(3):
        sums = normals.sum(axis) / np.sqrt(normals.shape[axis])
        assert abs(np.mean(sums**2) - 1) < Z * np.sqrt(2 / sums.size)
