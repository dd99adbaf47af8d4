"""What `check_method` says of recursive methods that keep the contract, and of those that break it."""

import itertools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlr import Estimator, Info, Mixture, two_step
from jaxmlr.estimator import nearest
from jaxmlr.testing import check_method

ROOT = Path(__file__).parents[2]


def opposite(beta):
    return Mixture(jnp.stack([beta, -beta]), jnp.full(2, 0.5, beta.dtype), jnp.ones((), beta.dtype))


def good(
    rate=0.1,
    *,
    start=lambda dim, dtype: jnp.full(dim, 0.1, jnp.result_type(float) if dtype is None else dtype),
    cast=lambda row, dtype: (row[0].astype(dtype), row[1].astype(dtype)),
    learn=lambda beta, phi, y, b: jnp.where(y * b >= 0, 1, -1) * y - b,
    label=lambda beta, new, phi, y: nearest(jnp.stack([beta, -beta]) @ phi, y),
    limit=lambda phi: 1 + phi @ phi,
    mixture=opposite,
):
    """What a stranger writes: two opposite lines by normalised gradient steps. Each part can be broken."""

    def step(beta, row):
        phi, y = cast(row, beta.dtype)
        new = beta + rate * learn(beta, phi, y, beta @ phi) * phi / limit(phi)
        return new, label(beta, new, phi, y)

    return Estimator(lambda dim, key=None, dtype=None: start(dim, dtype), step, mixture)


def test_a_strangers_method_keeps_the_contract():
    check_method(good)
    check_method(good, dim=1, rate=0.5)


def session(source):
    names = {"jnp": jnp}
    exec(source, names)  # the project's own documents
    return names["sign_rule"]


def test_the_documentations_own_method_keeps_it():
    page = (ROOT / "docs" / "add_a_method.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    check_method(session(next(block for block in blocks if "def sign_rule" in block)))


def test_the_notebooks_own_method_keeps_it():
    cells = (ROOT / "notebooks" / "06_your_own_estimator.py").read_text().split("\n# %%")
    check_method(session(next(cell for cell in cells if "def sign_rule" in cell)))


def test_a_name_and_options_will_do():
    check_method("least_squares", forgetting=0.9)
    check_method("jaxmlr:two_step")


def branching(beta, phi, y, b):
    return y - b if y * b >= 0 else -y - b


def in_numpy(beta, phi, y, b):
    return float(np.sign(np.asarray(y))) * y - b


counter = itertools.count()


def noisy(beta, phi, y, b):
    return y - b + next(counter)


def after_the_update(beta, new, phi, y):
    return nearest(jnp.stack([new, -new]) @ phi, y)


def always_first(beta, new, phi, y):
    return Info(jnp.int32(0), y - beta @ phi)


BROKEN = {
    "double state": (
        dict(start=lambda dim, dtype: jnp.full(dim, 0.1, jnp.result_type(float))),
        "init with dtype float32 must make floats of float32",
    ),
    "single state": (
        dict(start=lambda dim, dtype: jnp.full(dim, 0.1, jnp.float32)),
        "must make floats of float64, not .*jax_enable_x64=True; begin `init` with",
    ),
    "weak start": (
        dict(start=lambda dim, dtype: jnp.full(dim, 0.1, dtype)),
        "a step must be traced once, not 2 times; init's arrays need an explicit dtype",
    ),
    "number as state": (dict(start=lambda dim, dtype: (0.0, 1.0)), "the state must hold arrays only"),
    "dtype of the data": (
        dict(cast=lambda row, dtype: row),
        "a step of a float32 state on float64 data .* must .*phi, y = row",
    ),
    "branch": (dict(learn=branching), "a step .* must not depend on values in Python; use jnp.where"),
    "numpy": (dict(learn=in_numpy), "a step .* must not depend on values in Python; .* jax.numpy"),
    "impure": (dict(learn=noisy), "step must be pure: two calls with equal arguments differ"),
    "label after update": (dict(label=after_the_update, rate=0.9), "must be .* before the update; take both"),
    "one label": (dict(label=always_first), "info.label must be the component whose line is nearest"),
    "labels of another dtype": (
        dict(label=lambda beta, new, phi, y: Info(jnp.float32(0), y)),
        r"must be a \(\) int32 label",
    ),
    "no info": (dict(label=lambda beta, new, phi, y: y), r"a step must return \(state, Info\)"),
    "shape": (
        dict(learn=lambda beta, phi, y, b: jnp.stack([y, y])[:, None]),
        r"must keep shapes and dtypes .*\(2,\).* not make them .*\(2, 2\)",
    ),
    "error": (dict(limit=lambda phi: phi.no_such), "must not raise AttributeError"),
    "division by zero": (
        dict(limit=lambda phi: phi @ phi),
        "float32 must leave everything finite, .* zero reg",
    ),
    "runs away": (dict(limit=lambda phi: 1.0), "must leave everything finite, .*regressors times 100"),
    "no mixture": (dict(mixture=lambda beta: beta), "the estimate must be a Mixture, not"),
    "weights": (
        dict(mixture=lambda beta: opposite(beta)._replace(weights=jnp.ones(2, beta.dtype))),
        "weights must sum to 1",
    ),
    "negative weights": (
        dict(mixture=lambda beta: opposite(beta)._replace(weights=jnp.asarray([1.0, -0.01], beta.dtype))),
        "weights must not be negative",
    ),
    "other dimension": (
        dict(mixture=lambda beta: opposite(beta)._replace(coefficients=jnp.ones((2, 3), beta.dtype))),
        "the estimate must have 2 coefficients a component, not 3",
    ),
}


@pytest.mark.parametrize(("parts", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_promise_is_named(parts, message):
    with (
        pytest.raises(AssertionError, match=f"^good: .*{message}"),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        check_method(good, **parts)


def test_a_factory_that_makes_something_else_is_told():
    with pytest.raises(AssertionError, match="must return an Estimator, not int; end it with"):
        check_method(lambda: 3)
    with pytest.raises(AssertionError, match=r"the factory must not raise TypeError .*'mixture'"):
        check_method("oracle")
    with pytest.raises(ValueError, match="factory: unknown name 'two_stepp'; did you mean 'two_step'"):
        check_method("two_stepp")
    with pytest.raises(ValueError, match="factory must be a name or a function, not Estimator"):
        check_method(two_step())
