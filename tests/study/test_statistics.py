"""Streaming statistics against NumPy on all values at once: any split, any order, any size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmlr.study import statistics
from jaxmlr.study.statistics import BINS, merge, quantile, standard_error

run = jax.jit(statistics.summarise)
WIDTH = 16  # one shape, so one compilation, for all splits


def summary(values, keep=None, dtype=np.float64):
    """Of a (trials,) array, padded to a multiple of WIDTH, blocks merged in the order of their index."""
    values = np.asarray(values, dtype)
    keep = np.ones(len(values), bool) if keep is None else np.asarray(keep)
    blocks = []
    for first in range(0, max(len(values), 1), WIDTH):
        part, kept = np.zeros((1, WIDTH), dtype), np.zeros((1, WIDTH), bool)
        there = values[first : first + WIDTH]
        part[0, : len(there)], kept[0, : len(there)] = there, keep[first : first + WIDTH]
        blocks.append(statistics.host(jax.device_get(run(jnp.asarray(part), jnp.asarray(kept)))))
    return functools.reduce(merge, blocks)


def agrees(found, values, rtol=1e-12):
    """Whether a summary is that of these values."""
    values = np.asarray(values, np.float64)
    size = np.abs(values).max(initial=1e-300)
    assert found.count == len(values)
    np.testing.assert_allclose(found.mean, values.mean(), rtol=rtol, atol=rtol * size)
    np.testing.assert_allclose(
        found.m2, ((values - values.mean()) ** 2).sum(), rtol=rtol, atol=rtol * size**2
    )
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert found.histogram.sum() == len(values)


numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(numbers, min_size=1, max_size=20), min_size=1, max_size=6), st.randoms())
def test_any_split_merged_in_any_order_is_the_whole(parts, random):
    random.shuffle(parts)
    found = functools.reduce(merge, [summary(part) for part in parts])
    whole = np.concatenate(parts)
    agrees(found, whole)
    np.testing.assert_array_equal(found.histogram, summary(whole).histogram)


def test_merging_nothing_changes_nothing():
    some, none = summary([1.0, 2.0, 4.0]), summary([])
    for found in (merge(some, none), merge(none, some)):
        agrees(found, [1.0, 2.0, 4.0])
    assert merge(none, none).count == 0
    assert np.isnan(quantile(none, 0.5))
    assert np.isnan(standard_error(none))


def test_a_small_spread_about_a_large_mean_survives_single_precision():
    values = (1 + 1e-3 * np.random.default_rng(0).standard_normal(4096)).astype(np.float32)
    found = summary(values, dtype=np.float32)
    exact = values.astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean(), rtol=1e-7)
    np.testing.assert_allclose(found.m2 / 4095, exact.var(ddof=1), rtol=1e-3)
    np.testing.assert_allclose(standard_error(found), exact.std(ddof=1) / 64, rtol=1e-3)
    naive = np.sum(values * values, dtype=np.float32) - np.sum(values, dtype=np.float32) ** 2 / np.float32(
        4096
    )
    assert abs(naive / 4095 / exact.var(ddof=1) - 1) > 0.01  # the formula that this one is not


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_or_not_kept_is_left_out(bad):
    values = [1.0, bad, 3.0, 1e9, 8.0]
    found = summary(values, keep=[True, True, True, False, True])
    agrees(found, [1.0, 3.0, 8.0])
    alone = summary([bad, 5.0])
    assert (alone.count, alone.mean, alone.m2) == (1, 5.0, 0.0)
    assert np.isnan(standard_error(alone))


def test_leading_axes_are_kept_apart():
    values = np.random.default_rng(1).normal(size=(2, 3, WIDTH))
    found = statistics.host(jax.device_get(run(jnp.asarray(values), jnp.ones(values.shape, bool))))
    assert found.histogram.shape == (2, 3, BINS)
    np.testing.assert_allclose(found.mean, values.mean(-1), rtol=1e-13)
    np.testing.assert_allclose(standard_error(found), values.std(-1, ddof=1) / 4, rtol=1e-12)
    np.testing.assert_allclose(quantile(found, 0.0), values.min(-1), rtol=0.032)


LAWS = {
    "lognormal": lambda rng: rng.lognormal(sigma=3, size=800),
    "negative": lambda rng: -rng.lognormal(sigma=2, size=800),
    "mixed": lambda rng: rng.standard_normal(800) * np.exp(rng.normal(size=800)),
    "few": lambda rng: rng.lognormal(size=3),
    "equal": lambda rng: np.full(20, 0.731),
    "zeros": lambda rng: np.where(rng.uniform(size=300) < 0.7, 0.0, rng.uniform(size=300)),
}


@pytest.mark.parametrize("law", LAWS)
def test_quantiles_are_off_by_at_most_the_width_of_a_bin(law):
    values = LAWS[law](np.random.default_rng(5))
    found = summary(values)
    for q in (0.0, 0.001, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999, 1.0):
        value = quantile(found, q)
        # The bin of the order statistic with at least q of the values at or below it.
        expected = np.quantile(values, q, method="inverted_cdf")
        np.testing.assert_allclose(value, expected, rtol=0.032, atol=6e-8)
        assert values.min() <= value <= values.max()


def test_quantiles_increase_with_their_level():
    found = summary(np.random.default_rng(6).standard_normal(200))
    values = [quantile(found, q) for q in np.linspace(0, 1, 41)]
    assert np.all(np.diff(values) >= 0)


@pytest.mark.parametrize("value", [1e-9, -1e-9])
def test_values_too_small_for_a_bin_count_as_nothing(value):
    assert quantile(summary([value] * 5), 0.5) == pytest.approx(0, abs=1e-9)


def test_values_too_large_for_a_bin_stay_within_the_largest():
    assert 65_000 <= quantile(summary([1e8, 1e9, 1e10]), 0.5) <= 1e10


def test_the_bin_increases_with_the_value_and_its_edges_hold_it():
    size = np.logspace(-7.2, 4.8, 20_000)
    values = np.concatenate([-size[::-1], [0.0], size]).astype(np.float32)
    index = np.asarray(statistics._bin(jnp.asarray(values)))
    assert np.all(np.diff(index) >= 0)
    assert index[20_000] == (BINS - 1) // 2
    low, high = statistics._EDGES[index].T
    assert np.all((low <= values) & (values <= high))
    wide = np.concatenate([[-np.inf, -1e30], [1e30, np.inf]]).astype(np.float32)
    assert np.asarray(statistics._bin(jnp.asarray(wide))).tolist() == [0, 0, BINS - 1, BINS - 1]
    positive = statistics._EDGES[(BINS + 1) // 2 :]
    assert np.max(positive[:, 1] / positive[:, 0]) <= 1.032
    np.testing.assert_array_equal(positive[1:, 0], positive[:-1, 1])
