"""`lanes` means `vmap`: rule by rule, nested in other transformations, and on random shapes."""

import logging
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxmlr import lanes
from jaxmlr._xla.lanes import entry_rules, transform
from jaxmlr._xla.lanes.transform import LARGE

SIZE = 5
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(SIZE, 3)))
A = jnp.asarray(RNG.normal(size=(SIZE, 3, 3)))
N = jnp.asarray(RNG.integers(-4, 9, (SIZE, 4)), jnp.int32)


def assert_same(actual, expected, rtol=1e-11, atol=1e-12):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def check(function, *args, **tolerance):
    both = jax.jit(lambda *a: (lanes(function)(*a), jax.vmap(function)(*a)))
    assert_same(*both(*args), **tolerance)


def ragged(x):
    return lax.while_loop(lambda c: jnp.sum(c) < 20, lambda c: c + jnp.abs(x) + 0.1, x)


def common(x):
    return lax.while_loop(lambda c: c[0] < 4, lambda c: (c[0] + 1, 1.5 * c[1], c[1][0] + c[2]), (0, x, x[0]))


def lane_decides_constant(x):
    """The carry starts equal in all trials and comes to differ inside the loop, entry by entry."""
    return lax.fori_loop(0, 4, lambda i, c: c.at[1].add(x[0] * c[0]).at[2].add(c[1]), jnp.ones(3))


def scan_all(x, a):
    """Carry, common and batched xs, stacked and constant ys."""

    def step(carry, row):
        u, count = carry
        v, w = row
        return (jnp.tanh(a @ u + v) * w, count + 1), (u, count, v, w)

    return lax.scan(step, (x, 0), (a, jnp.arange(3.0)))


def matrix(a):
    return a @ a.T + jnp.eye(3)


REAL = {  # of one trial's x (3,) and a (3, 3); all differentiable
    "arithmetic": lambda x, a: (x + 2.0, 2.0 - x, x * a[0], a / (1 + x[0] * x[0]), -x, x**3, abs(x) ** 1.5),
    "elementary": lambda x, a: (jnp.exp(x), jnp.log1p(x * x), jnp.sqrt(1 + x * x), jnp.tanh(a), jnp.sin(a)),
    "special": lambda x, a: (lax.erf(x), lax.logistic(a), lax.lgamma(1 + x * x), lax.rsqrt(2 + x)),
    "two arguments": lambda x, a: (jnp.arctan2(x, a[0]), jnp.maximum(x, a[1]), jnp.minimum(x, 0.0)),
    "select and clamp": lambda x, a: (
        jnp.where(x > a[0], x, 1.0),
        jnp.clip(a, -0.5, 0.5),
        lax.clamp(-1.0, a, 1.0),
    ),
    "broadcast": lambda x, a: (jnp.broadcast_to(x, (2, 3)), x[:, None] * a, jnp.outer(x, a[0]), a + x[0]),
    "reshape": lambda x, a: (
        a.reshape(9),
        a.reshape(1, 3, 3),
        x[:, None],
        jnp.squeeze(x[:1]),
        x.reshape(3, 1),
    ),
    "transpose": lambda x, a: (a.T, jnp.einsum("ij,k->kji", a, x), jnp.moveaxis(a[None], 0, 2)),
    "slice": lambda x, a: (a[1], a[:, 2], a[::2, 1:], x[-1], x[::-1], a[::-2]),
    "concatenate": lambda x, a: (
        jnp.concatenate([a, x[None]]),
        jnp.stack([x, a[0], jnp.ones(3)], 1),
        jnp.hstack([x, x]),
    ),
    "reverse": lambda x, a: (jnp.flip(a), jnp.flip(a, 1), lax.rev(x, (0,))),
    "sums": lambda x, a: (a.sum(), a.sum(0), a.sum((0, 1), keepdims=True), jnp.mean(x), jnp.trace(a)),
    "products and extremes": lambda x, a: (a.prod(1), a.max(0), a.min(), jnp.max(x), jnp.linalg.norm(x)),
    "dot": lambda x, a: (x @ x, a @ x, x @ a, a @ a, a.T @ a @ x, jnp.ones((2, 3)) @ a, x @ jnp.ones((3, 2))),
    "batched dot": lambda x, a: (
        jnp.einsum("bi,bi->b", a, a),
        jnp.einsum("bij,bjk->bik", a[:, None], a[:, :, None]),
    ),
    "tensordot": lambda x, a: (
        jnp.tensordot(a, a),
        jnp.tensordot(a, x, axes=(0, 0)),
        jnp.einsum("ij,kj,l->kil", a, a, x),
    ),
    "dot with many free axes": lambda x, a: (
        jnp.tensordot(x, x[:, None, None] * a[None], 1),
        jnp.tensordot(x[:, None, None] * a[None], x, axes=(0, 0)),
    ),
    "barrier": lambda x, a: lax.optimization_barrier((x * 2, a, jnp.ones(2), 1.0)),
    "scan": scan_all,
    "reverse scan": lambda x, a: lax.scan(lambda c, v: (c * 0.5 + v, c), x, a, reverse=True),
    "unrolled scan": lambda x, a: lax.scan(lambda c, v: (c * 0.5 + v, c), x, a, unroll=2),
    "scan without rows": lambda x, a: lax.scan(lambda c, _: (a @ c, c[0]), x, None, length=4),
    "scan of constants": lambda x, a: (x, lax.scan(lambda c, v: (c + v, c), 0.0, jnp.arange(3.0))),
    "nested scan": lambda x, a: lax.scan(lambda c, v: lax.scan(lambda u, w: (u * w + 1, u), c, v), x[0], a),
    "loop over constants": lambda x, a: lane_decides_constant(x),
    "counted loop": lambda x, a: lax.fori_loop(0, 4, lambda i, c: c * 0.5 + x * i, a[0]),
    "cond": lambda x, a: lax.cond(x[0] > 0, lambda: a @ x, lambda: x - 1.0),
    "common cond": lambda x, a: lax.cond(jnp.ones(()) > 0, lambda v: a @ v, lambda v: v, x),
    "switch": lambda x, a: lax.switch(
        jnp.int32(x[0] > 0) + jnp.int32(x[1] > 0), [jnp.sin, jnp.cos, jnp.exp], x
    ),
    "solve": lambda x, a: (
        jnp.linalg.solve(matrix(a), x),
        jnp.linalg.inv(matrix(a)),
        jnp.linalg.cholesky(matrix(a)),
    ),
    "sort and cumulate": lambda x, a: (jnp.sort(a, 0), jnp.cumsum(x), jnp.cumprod(a, 1)),
    "gather": lambda x, a: (
        x[jnp.int32(x[0] > 0)],
        jnp.take(a, jnp.array([2, 0]), 0),
        a[jnp.int32(x[1] > 0)],
    ),
    "scatter": lambda x, a: (a.at[1, 2].set(x[0]), x.at[jnp.int32(x[0] > 0)].add(1.0), a.at[0].multiply(x)),
    "dynamic slice": lambda x, a: lax.dynamic_slice(a, (jnp.int32(x[0] > 0), jnp.int32(0)), (2, 2)),
    "softmax": lambda x, a: (jax.nn.softmax(a), jax.nn.logsumexp(x), jnp.logaddexp(x, a[0])),
    "relu": lambda x, a: (jax.nn.relu(x), jax.nn.relu(a - x[0])),
    "nested jit": lambda x, a: jax.jit(lambda u: (u @ x, u.T))(a),
    "vmap inside": lambda x, a: jax.vmap(lambda row: row @ x * row[0])(a),
    "gradient inside": lambda x, a: jax.grad(lambda u: jnp.sum(jnp.tanh(a @ u) ** 2))(x),
    "checkpoint": lambda x, a: jax.checkpoint(lambda u: jnp.sin(a @ u))(x),
    "split": lambda x, a: (jnp.split(x, 3), jnp.pad(x, 1), jnp.unstack(x), jnp.unstack(a, axis=1)),
    "large": lambda x, a: (jnp.sum(jnp.broadcast_to(x, (LARGE, 3)), 0), jnp.tile(a, (9, 9)) @ jnp.tile(x, 9)),
    "just too large and not": lambda x, a: (jnp.tile(x[:1], LARGE) * 2, jnp.tile(x[:1], LARGE + 1) * 2),
    "large scan": lambda x, a: lax.scan(lambda c, v: (c + v[0], c[:2]), jnp.tile(x, LARGE), a),
    "empty": lambda x, a: (
        jnp.sum(x[:0]),
        a[:, :0],
        jnp.concatenate([x[:0], x]),
        a[:, :0] @ x[:0],
        x[:0] * 2,
    ),
    "scan without steps": lambda x, a: lax.scan(lambda c, v: (c + v, c), x, a[:0]),
    "empty carry": lambda x, a: lax.scan(lambda c, v: ((c[0] * 2, c[1] + v), c[0]), (x[:0], x), a),
    "what no trial changes": lambda x, a: (x, jnp.arange(3.0), 2.0, jnp.eye(2) @ jnp.ones(2)),
    "nothing": lambda x, a: {"none": None, "pair": (x, x)},
}

DISCRETE = {  # of one trial's x (3,) float and n (4,) int32
    "integers": lambda x, n: (n + 1, n * n, n // 3, n % 3, -n, n << 1, n >> 1, n ^ 5, n & 3, n | 8, abs(n)),
    "comparisons": lambda x, n: (x < 0, n == 2, n != 2, n >= 0, (x > 0) & (x < 1), ~(x > 0), jnp.sign(x)),
    "rounding": lambda x, n: (jnp.floor(x), jnp.ceil(x), jnp.round(x * 3), jnp.isfinite(x)),
    "casts": lambda x, n: (
        n.astype(float),
        x.astype(jnp.float32),
        (x > 0).astype(int),
        (x * 9).astype(jnp.int8),
    ),
    "bitcast": lambda x, n: (
        lax.bitcast_convert_type(n, jnp.uint32),
        lax.bitcast_convert_type(x, jnp.uint32),
        lax.bitcast_convert_type(lax.bitcast_convert_type(x, jnp.uint32), jnp.float64),
    ),
    "any and all": lambda x, n: (jnp.any(x > 0), jnp.all(n > 0), jnp.any(n[None] > 3, axis=1)),
    "integer reductions": lambda x, n: (n.sum(), n.prod(), n.max(), n.min(), n @ n),
    "products of other kinds": lambda x, n: (
        jnp.dot(jnp.tile(n.astype(jnp.int8), 75), jnp.tile(n.astype(jnp.int8), 75)),
        (n > 2)[:, None] @ (n < 3)[None, :],
        jnp.tile(n > 2, (20, 5)) @ jnp.tile(n > 2, 5),
    ),
    "argmin and argmax": lambda x, n: (jnp.argmin(x), jnp.argmax(x), jnp.argmin(n), jnp.argmax(n)),
    "argument along an axis": lambda x, n: (
        jnp.argmin(n.reshape(2, 2), 0),
        jnp.argmax(n.reshape(2, 2), 1),
        jnp.argmax(n.reshape(2, 2)),
    ),
    "argmin with NaN": lambda x, n: (
        jnp.argmin(jnp.where(n > 3, jnp.nan, 1.0 * n.astype(float))),
        jnp.argmax(jnp.where(n > 3, jnp.nan, n.astype(float))),
    ),
    "argmin of ties": lambda x, n: (
        jnp.argmin(n // 5),
        jnp.argmax(n // 5),
        jnp.argmin(0 * x),
        jnp.argmax(0 * n),
    ),
    "extremes with NaN": lambda x, n: (jnp.max(jnp.log(x)), jnp.min(jnp.log(x))),
    "complex": lambda x, n: (
        lax.complex(x, -x) * 2j,
        abs(lax.complex(x, x)),
        jnp.real(lax.complex(x, x) * 1j),
    ),
    "ragged loop": lambda x, n: ragged(x),
    "common loop": lambda x, n: common(x),
    "sorting": lambda x, n: (jnp.argsort(n), jnp.sort(n), lax.top_k(x, 2)),
    "bits": lambda x, n: (lax.population_count(n), lax.shift_right_logical(n, jnp.int32(1))),
}


@pytest.mark.parametrize("name", REAL)
def test_equals_vmap(name):
    check(REAL[name], X, A)


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_equals_vmap_where_nothing_is_smooth(name):
    check(DISCRETE[name], X, N)


@pytest.mark.parametrize(("name", "function"), [*REAL.items(), *DISCRETE.items()], ids=[*REAL, *DISCRETE])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_equals_vmap_with_arrays_kept_whole(name, function, monkeypatch):
    """As in functions that would be long entry by entry."""
    monkeypatch.setattr(transform, "LONG", 0)
    check(jax.jit(function), X, A if name in REAL else N)


@pytest.mark.parametrize("name", ["arithmetic", "special", "sums", "batched dot", "reverse scan", "softmax"])
def test_equals_vmap_in_single_precision(name):
    check(REAL[name], X.astype(jnp.float32), A.astype(jnp.float32), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["arithmetic", "dot", "scan", "argument", "empty"])
def test_needs_no_jit(name):
    function = {**REAL, "argument": lambda x, a: jnp.argmin(a, 1)}[name]
    assert_same(lanes(function)(X, A), jax.vmap(function)(X, A))


def floats(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


@pytest.mark.parametrize("name", REAL)
def test_gradient_equals_that_of_vmap(name):
    def loss(args, batched):
        results = floats(batched(REAL[name])(*args))
        weights = [jnp.cos(jnp.arange(v.size)).reshape(v.shape) for v in results]
        return sum((jnp.sum(w * v) for w, v in zip(weights, results, strict=True)), jnp.zeros(()))

    both = jax.jit(lambda args: [jax.grad(loss)(args, batched) for batched in (lanes, jax.vmap)])
    assert_same(*both((X, A)), rtol=1e-9, atol=1e-10)


# ---- arrays kept whole ----------------------------------------------------------------------------


def test_a_long_function_keeps_its_arrays_whole(monkeypatch):
    """In a loop, where what depends on no trial, here the count, must stay so."""

    @jax.jit
    def long(state):
        x, count = state
        for _ in range(250):
            x = jnp.tanh(x + 1) * count
        return x, count + 1

    monkeypatch.setattr(transform, "LONG", 1000)

    def run(x):
        return lax.fori_loop(0, 3, lambda _, state: long(state), (x, 1))

    check(run, X, rtol=1e-9)
    assert str(jax.make_jaxpr(lanes(run))(X)).count(" tanh ") == 250


@pytest.mark.parametrize(
    ("function", "length"),
    [
        (lambda x, a: x + x, 3),
        (lambda x, a: a @ x, 2 * 9),
        (lambda x, a: jnp.reshape(a, 9)[::-1], 0),
        (lambda x, a: lax.fori_loop(0, 7, lambda _, y: y * x, x), 3 + 3),  # the body, and the counter's steps
        (lambda x, a: jnp.sum(a), 9),
    ],
)
def test_length_counts_operations_on_entries(function, length):
    counted = transform._length(jax.make_jaxpr(function)(X[0], A[0]).jaxpr)
    assert abs(counted - length) <= 2


def test_a_function_with_a_large_array_has_no_length():
    counted = transform._length
    jaxprs = [jax.make_jaxpr(lambda x: x * 2)(jnp.ones(entries)) for entries in (LARGE, LARGE + 1)]
    assert [counted(each.jaxpr) for each in jaxprs] == [LARGE, math.inf]


def test_what_is_left_to_vmap_is_said_once(caplog):
    entry_rules._say_fallback.cache_clear()
    with caplog.at_level(logging.DEBUG, "jaxmlr.lanes"):
        for _ in range(2):
            lanes(lambda x: jnp.sort(x) + jnp.sum(x))(X)
    (record,) = caplog.records
    assert "'sort' to vmap" in record.getMessage()


def test_arguments_and_results_are_any_pytrees():
    def function(tree, scalar):
        return {"a": tree["x"] * scalar, "b": [tree["a"].T, scalar]}

    check(function, {"x": X, "a": A}, jnp.arange(5.0))


def test_keys_draw_what_they_draw_under_vmap():
    def draw(key, x):
        first, second = jax.random.split(key)
        return jax.random.normal(first, (3,)) + x, jax.random.bits(jax.random.fold_in(second, 3), (2,))

    check(draw, jax.random.split(jax.random.key(0), SIZE), X)


def test_one_trial_and_none():
    check(REAL["dot"], X[:1], A[:1])
    check(REAL["sums"], X[:0], A[:0])


def test_a_trial_does_not_see_the_others():
    changed = lanes(scan_all)(X.at[0].set(jnp.nan), A)
    kept = lanes(scan_all)(X, A)
    for a, b in zip(jax.tree.leaves(changed), jax.tree.leaves(kept), strict=True):
        np.testing.assert_array_equal(a[1:], b[1:])
    assert np.isnan(changed[0][0][0]).all()


def test_an_entry_that_no_trial_changes_stays_one_number():
    """Half of the point: the shared counter of a recursion costs one number, not one a trial."""
    text = str(
        jax.make_jaxpr(
            lanes(lambda x: lax.fori_loop(0, 3, lambda i, c: (c[0] * 2.0, c[1] + x), (jnp.ones(()), x)))
        )(X)
    )
    assert "f64[5,3]" in text.split("scan[")[0]
    assert "f64[5,3]" not in text.split("scan[")[1].split("length=")[0]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((1.0,), r"one common leading axis, not \[\(\)\]"),
        ((jnp.ones(3), jnp.ones(4)), r"one common leading axis, not \[\(3,\), \(4,\)\]"),
        ((jnp.ones(3), 1.0), r"one common leading axis, not \[\(\), \(3,\)\]"),
        ((), r"one common leading axis, not \[\]"),
    ],
)
def test_arguments_without_a_common_leading_axis_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        lanes(lambda *a: a)(*args)


# ---- random shapes --------------------------------------------------------------------------------

sizes = st.integers(1, 3)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_product(data):
    """dot_general with any batch, contracted and free axes, in any order."""
    draw = data.draw
    batch, summed, free_a, free_b = (draw(st.lists(sizes, max_size=k)) for k in (1, 2, 2, 2))
    shared, a_shape, b_shape = batch + summed, batch + summed + free_a, batch + summed + free_b
    order_a, order_b = (draw(st.permutations(range(len(shape)))) for shape in (a_shape, b_shape))
    places = [[order.index(k) for k in range(len(shared))] for order in (order_a, order_b)]
    dims = (
        tuple(tuple(place[len(batch) :]) for place in places),
        tuple(tuple(place[: len(batch)]) for place in places),
    )
    a = jnp.asarray(RNG.normal(size=(2, *(a_shape[k] for k in order_a))))
    b = jnp.asarray(RNG.normal(size=(2, *(b_shape[k] for k in order_b))))
    assert_same(*(batched(lambda u, v: lax.dot_general(u, v, dims))(a, b) for batched in (lanes, jax.vmap)))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_reduction(data):
    shape = data.draw(st.lists(sizes, min_size=1, max_size=4).map(tuple))
    axes = data.draw(st.lists(st.sampled_from(range(len(shape))), unique=True).map(tuple))
    reduce = data.draw(st.sampled_from([jnp.sum, jnp.prod, jnp.max, jnp.min]))
    x = jnp.asarray(RNG.normal(size=(2, *shape)))
    assert_same(lanes(lambda u: reduce(u, axis=axes))(x), jax.vmap(lambda u: reduce(u, axis=axes))(x))
