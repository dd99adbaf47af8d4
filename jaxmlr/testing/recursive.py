"""The contract of a recursive method."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from jaxmlr._xla.lanes.transform import lanes
from jaxmlr.estimator import Estimator, Info, plain_step
from jaxmlr.registry import Method
from jaxmlr.testing.promise import GLOBAL, TRACED, attempt, equal, require, require_finite, require_valid
from jaxmlr.testing.rows import degenerate, rows

TRIALS = 3
KEEP_DTYPE = (
    "begin `init` with `dtype = jnp.result_type(float) if dtype is None else dtype`, and `step` with"
    " `phi, y = row[0].astype(dtype), row[1].astype(dtype)`, where dtype is that of the state"
)
NEAREST = "take both from `jaxmlr.estimator.nearest(lines, y)` with the lines of the state before the update"


def check(method: Method, options: Mapping[str, Any], dim: int) -> None:
    """Raise `Broken` at the first promise that is not kept."""
    for enabled_before in (False, True):
        with jax.enable_x64(enabled_before):
            estimator = attempt(
                "the factory",
                functools.partial(method.factory, **options),
                mend="give check_method the options that it needs",
            )
        require(
            isinstance(estimator, Estimator),
            f"the factory must return an Estimator, not {type(estimator).__name__}",
            "end it with `return Estimator(init, step, mixture)`",
        )
        estimator = estimator._replace(step=plain_step(estimator))  # as a study runs it
        for enabled in (False, True):
            with jax.enable_x64(enabled):
                _check_shapes(estimator, dim)
    with jax.enable_x64(True):
        for dtype in (np.float32, np.float64):
            _check_mixture(estimator, dim, dtype)
        _check_purity(estimator, dim)
        _check_loop(estimator, dim)
        _check_label(estimator, dim)
        _check_trials(estimator, dim)
        for dtype in (np.float32, np.float64):
            _check_finite(estimator, dim, dtype)


def _init(estimator: Estimator, dim: int, dtype: DTypeLike | None = None) -> Any:
    return attempt(
        "init(dim, key, dtype)",
        lambda: estimator.init(dim, jax.random.key(0), dtype),
        mend=KEEP_DTYPE,
    )


def _advance(estimator: Estimator, state: Any, phi: Any, y: Any) -> Any:
    return lax.scan(estimator.step, state, (phi, y))


def _check_shapes(estimator: Estimator, dim: int) -> None:
    """Promises 1 and 2."""
    x64 = jnp.result_type(float) == np.float64
    dtypes: tuple[Any, ...] = (np.float32, np.float64) if x64 else (np.float32,)
    attempt("init(dim)", lambda: estimator.init(dim), mend="key and dtype default to None")
    for dtype in (None, *dtypes):
        wanted = np.dtype(jnp.result_type(float) if dtype is None else dtype)
        state = _init(estimator, dim, dtype)
        bits = f"with jax_enable_x64={x64}"
        require(
            all(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(state)),
            "the state must hold arrays only",
            "numbers become arrays by jnp.asarray(value, dtype)",
        )
        floats = {leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)}
        require(
            floats <= {wanted},
            f"init with dtype {dtype and wanted} must make floats of {wanted}, not {floats}, {bits}",
            KEEP_DTYPE,
        )
        for of_rows in dtypes:
            case = f"of a {wanted} state on {np.dtype(of_rows)} data {bits}"
            row = jax.ShapeDtypeStruct((dim,), of_rows), jax.ShapeDtypeStruct((), of_rows)
            step = functools.partial(jax.eval_shape, estimator.step)
            after, info = attempt(f"a step {case}", step, state, row, mend=KEEP_DTYPE)
            _check_step(state, after, info, case)
            require(
                info.residual.dtype == wanted or of_rows != wanted,
                f"info.residual {case} must be {wanted}, not {info.residual.dtype}",
                KEEP_DTYPE,
            )


def _check_step(state: Any, after: Any, info: Any, case: str) -> None:
    """Promise 2 of the shapes that a step has returned."""
    trees: list[Any] = [jax.tree.structure(tree) for tree in (state, after)]
    require(
        trees[0] == trees[1], f"a step must keep the structure {trees[0]}, not make it {trees[1]}", GLOBAL
    )
    shapes = [[f"{leaf.dtype}{leaf.shape}" for leaf in jax.tree.leaves(tree)] for tree in (state, after)]
    require(
        shapes[0] == shapes[1],
        f"a step {case} must keep shapes and dtypes {shapes[0]}, not make them {shapes[1]}",
        KEEP_DTYPE,
    )
    require(isinstance(info, Info), f"a step must return (state, Info), not {type(info).__name__}", NEAREST)
    require(
        info.label.shape == info.residual.shape == () and info.label.dtype == jnp.int32,
        f"info {case} must be a () int32 label and a () residual, not {info.label} and {info.residual}",
        NEAREST,
    )


def _check_purity(estimator: Estimator, dim: int) -> None:
    """Promise 5, without jit, which would hide what changes from call to call."""
    phi, y = map(jnp.asarray, rows(dim, np.float64))
    state = _init(estimator, dim)
    copy = jax.tree.map(np.array, state)
    first, second = (
        attempt("a step outside of jit", estimator.step, state, (phi[0], y[0]), mend=GLOBAL) for _ in range(2)
    )
    mend = "use no global or random state other than init's key"
    require(equal(first, second), "step must be pure: two calls with equal arguments differ", mend)
    require(equal(copy, state), "step must not change its arguments, but the old state has changed", mend)
    require(equal(_init(estimator, dim), copy), "init must be pure: two calls with one key differ", mend)


def _check_loop(estimator: Estimator, dim: int) -> None:
    """Promise 6."""
    traces = 0

    def counted(state: Any, row: Any) -> Any:
        nonlocal traces
        traces += 1
        return estimator.step(state, row)

    phi, y = map(jnp.asarray, rows(dim, np.float64))
    start, step = _init(estimator, dim), jax.jit(counted)
    state, infos = start, []
    for row in zip(phi, y, strict=True):
        state, info = step(state, row)
        infos.append(info)
    require(
        traces == 1,
        f"a step must be traced once, not {traces} times",
        "init's arrays need an explicit dtype: jnp.full(dim, 0.1, None) is weakly typed and changes its type",
    )
    looped = state, jax.tree.map(lambda *leaves: np.stack(leaves), *infos)
    scan = jax.jit(functools.partial(_advance, estimator))
    scanned = attempt("lax.scan", scan, start, phi, y, mend=TRACED)
    require(equal(scanned, looped, 1e-10), "lax.scan must equal the loop of single steps", GLOBAL)


def _check_label(estimator: Estimator, dim: int) -> None:
    """Promise 4."""
    phi, y = rows(dim, np.float64)

    @jax.jit
    def follow(phi: Any, y: Any) -> Any:
        def step(state: Any, row: Any) -> Any:
            after, info = estimator.step(state, row)
            return after, (estimator.mixture(state).coefficients, info)

        return lax.scan(step, _init(estimator, dim), (phi, y))[1]

    coefficients, info = follow(phi, y)
    errors = y[:, None] - np.einsum("nkd,nd->nk", np.asarray(coefficients), phi)
    label, residual = np.asarray(info.label), np.asarray(info.residual)
    components = errors.shape[1]
    require(((label >= 0) & (label < components)).all(), f"info.label must be in [0, {components})", NEAREST)
    tolerance = 1e-8 * (1 + np.abs(errors).max())
    own = np.take_along_axis(errors, label[:, None], axis=1)[:, 0]
    require(
        (np.abs(own) <= np.abs(errors).min(axis=1) + tolerance).all(),
        "info.label must be the component whose line is nearest to y in the estimate before the update",
        NEAREST,
    )
    require(
        (np.abs(residual - own) <= tolerance).all(),
        "info.residual must be y - beta_label' phi with the estimate before the update",
        NEAREST,
    )


def _check_trials(estimator: Estimator, dim: int) -> None:
    """Promise 7."""

    def one(phi: Any, y: Any) -> Any:
        return _advance(estimator, estimator.init(dim, jax.random.key(0)), phi, y)

    trials = [rows(dim, np.float64, trial) for trial in range(TRIALS)]
    alone = jax.tree.map(lambda *leaves: np.stack(leaves), *(jax.jit(one)(*trial) for trial in trials))
    stacked = [np.stack(part) for part in zip(*trials, strict=True)]
    for name, transform in (("vmap", jax.vmap), ("lanes", lanes)):
        together = attempt(f"{name} of trials", jax.jit(transform(one)), *stacked, mend=TRACED)
        require(equal(together, alone, 1e-9), f"{name} of trials must equal the trials one by one", GLOBAL)


def _check_mixture(estimator: Estimator, dim: int, dtype: DTypeLike) -> None:
    """Promise 3, at the start and after some rows."""
    start = _init(estimator, dim, dtype)
    after, _ = jax.jit(functools.partial(_advance, estimator))(start, *rows(dim, dtype))
    for state in (start, after):
        require_valid(attempt("mixture(state)", estimator.mixture, state, mend=GLOBAL), dim, dtype)


def _check_finite(estimator: Estimator, dim: int, dtype: DTypeLike) -> None:
    """Promise 8."""

    @jax.jit
    @jax.vmap
    def run(phi: Any, y: Any) -> Any:
        state, info = _advance(estimator, estimator.init(dim, jax.random.key(0), dtype), phi, y)
        return state, info, estimator.mixture(state)

    names, phi, y = degenerate(dim, dtype)
    require_finite(names, run(phi, y), dtype)
