"""Summaries: blocks together are the whole, in any split and order; quantiles within their bound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmlr.study.results import statistics

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def merged(parts):
    total, *rest = (statistics.summarise(part) for part in parts)
    for part in rest:
        total = statistics.merge(total, part)
    return total


def draws(kind, n, rng):
    return {
        "lognormal": lambda: rng.lognormal(0, 2, n),
        "negative": lambda: -rng.lognormal(-3, 1, n),
        "mixed": lambda: np.concatenate([rng.lognormal(size=n // 2), -rng.lognormal(size=n - n // 2)]),
        "concentrated": lambda: rng.normal(0.2435, 0.0013, n),
        "with zeros": lambda: np.where(rng.random(n) < 0.5, 0, rng.random(n)),
        "tiny": lambda: rng.lognormal(-40, 1, n),
        "huge": lambda: rng.lognormal(40, 1, n),
    }[kind]()


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(
        st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf, -np.inf]), min_size=1, max_size=40
    ),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    seed=st.integers(0, 99),
)
def test_blocks_in_any_split_and_order_are_the_whole(values, cuts, seed):
    whole = np.array(values)
    parts = np.split(whole, sorted(min(cut, len(whole)) for cut in cuts))
    order = np.random.default_rng(seed).permutation(len(parts))
    actual, expected = merged([parts[k] for k in order]), statistics.summarise(whole)
    kept = whole[np.isfinite(whole)]
    assert actual.n == expected.n == len(kept)
    np.testing.assert_array_equal(actual.sketch.keys, expected.sketch.keys)
    np.testing.assert_array_equal(actual.sketch.counts, expected.sketch.counts)
    if len(kept):
        scale = np.abs(kept).max() + 1e-300
        np.testing.assert_allclose(actual.mean, kept.mean(), rtol=1e-12, atol=1e-13 * scale)
        np.testing.assert_allclose(
            actual.m2, np.sum((kept - kept.mean()) ** 2), rtol=1e-9, atol=1e-12 * scale**2
        )
        assert (actual.minimum, actual.maximum) == (kept.min(), kept.max())


def test_a_small_spread_on_a_large_mean_survives_float32_values():
    values = np.random.default_rng(0).normal(1, 1e-3, (64, 2000)).astype(np.float32)
    summary = merged(list(values))
    exact = values.astype(np.float64)
    np.testing.assert_allclose(summary.m2, np.sum((exact - exact.mean()) ** 2), rtol=1e-9)


@pytest.mark.parametrize(
    "kind", ["lognormal", "negative", "mixed", "concentrated", "with zeros", "tiny", "huge"]
)
@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_quantiles_are_numpys_to_a_bin(kind, n):
    values = draws(kind, n, np.random.default_rng(n)).astype(np.float32).astype(np.float64)
    summary = merged(np.array_split(values, 3))
    for q in QUANTILES:
        exact = np.quantile(values, q)
        estimate = float(statistics.quantile(summary, q))
        assert values.min() <= estimate <= values.max()
        # Between two order statistics the error is at most a bin of the larger one.
        near = np.abs(np.quantile(values, q, method="lower")), np.abs(np.quantile(values, q, method="higher"))
        assert abs(estimate - exact) <= 2.0**-11 * max(near) + 1e-40


def test_cells_do_not_mix():
    values = np.random.default_rng(1).lognormal(size=(2, 3, 50)) * np.arange(1, 7).reshape(2, 3, 1)
    values[1, 2] = np.nan
    summary = merged([values[..., :20], values[..., 20:]])
    expected = np.quantile(values, 0.25, axis=-1)
    np.testing.assert_allclose(statistics.quantile(summary, 0.25), expected, rtol=5e-4)
    assert summary.n.tolist() == [[50] * 3, [50, 50, 0]]


def test_one_value_has_no_standard_error_and_none_no_quantile():
    one, none = statistics.summarise(np.array([2.0])), statistics.summarise(np.array([np.nan]))
    assert np.isnan(statistics.standard_error(one))
    assert float(statistics.quantile(one, 0.5)) == 2.0
    assert np.isnan(statistics.quantile(none, 0.5))


def test_standard_error_is_that_of_the_mean():
    values = np.random.default_rng(2).normal(size=100)
    expected = values.std(ddof=1) / 10
    np.testing.assert_allclose(statistics.standard_error(statistics.summarise(values)), expected, rtol=1e-12)
