"""Numbers that stand for missing entries are asked about or remarked on; others are not."""

import re

import numpy as np
import pandas as pd
import pytest

from jaxmlr.fitting.tables import codes

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 10, 100)


def coded(*values, x=X):
    return pd.Series(np.where(np.arange(100) % 7 == 4, np.resize(values, 100), x), name="x")


@pytest.mark.parametrize(
    "values",
    [(-999,), (99,), (-99.9,), (-998, -999), (97, 98, 99), (-99, -999), (-32768,), (2147483647,), (1e30,)],
)
def test_a_code_is_asked_about(values):
    options = " ".join(f"--missing {value:.12g}" for value in sorted(values, key=abs, reverse=True))
    with pytest.raises(ValueError, match=re.escape(f"give {options} if")):
        codes.check(coded(*values))
    codes.check(coded(*values), ("NA",))
    with pytest.raises(ValueError, match=re.escape(options)):
        codes.check(coded(*values), ("-77",))


@pytest.mark.parametrize(
    ("value", "x"), [(-9, X), (-1, X), (88, X), (777, X), (99, 20 + 5 * X), (0, np.round(40 + 6 * X))]
)
def test_what_may_be_a_code_is_remarked_on(value, x):
    values = coded(value, x=x)
    codes.check(values)
    (said,) = codes.remarks(values)
    assert f"holds {value} in 14 rows" in said
    assert said.endswith(f"--missing {value} if it stands for a missing entry")
    assert not list(codes.remarks(values, ("NA",)))


PLAIN = {
    "uniform": X,
    "counts": RNG.poisson(3, 200),
    "wide": np.round(np.exp(2 * RNG.normal(size=200))),
    "Cauchy": RNG.standard_cauchy(200),
    "powers": 2.0 ** RNG.integers(0, 12, 200),
    "decades": 10.0 ** RNG.integers(0, 5, 200),
    "an indicator": RNG.integers(0, 2, 200),
    "an outlier": np.append(X, 500.0),
    "zeros": np.where(RNG.random(100) < 0.3, 0, X),
    "clipped": np.clip(RNG.normal(size=200), -1, 1),
    "constant": np.full(9, 99.0),
}


@pytest.mark.parametrize("name", PLAIN)
def test_other_numbers_are_numbers(name):
    values = pd.Series(PLAIN[name], name="x")
    codes.check(values)
    assert not list(codes.remarks(values))
