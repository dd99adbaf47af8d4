"""The contract of a recursive method."""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from jaxmlr._xla.lanes.transform import lanes
from jaxmlr.estimator import Estimator, Info, plain_step
from jaxmlr.mixture import Mixture
from jaxmlr.registry import Method
from jaxmlr.testing.promise import (
    GLOBAL,
    TRACED,
    attempt,
    equal,
    require,
    require_finite,
    require_mixture,
    require_valid,
)
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
        _check_purity(estimator, dim)
        for dtype in (np.float32, np.float64):
            _check_runs(estimator, dim, dtype)


def _init(estimator: Estimator, dim: int, dtype: DTypeLike | None = None) -> Any:
    return estimator.init(dim, jax.random.key(0), dtype)


def _check_shapes(estimator: Estimator, dim: int) -> None:
    """Promises 1 and 2."""
    x64 = jnp.result_type(float) == np.float64
    bits = f"with jax_enable_x64={x64}"
    dtypes: tuple[Any, ...] = (np.float32, np.float64) if x64 else (np.float32,)
    attempt("init(dim)", jax.eval_shape, lambda: estimator.init(dim), mend="key and dtype default to None")
    for dtype in (None, *dtypes):
        wanted = np.dtype(jnp.result_type(float) if dtype is None else dtype)
        state = _check_init(estimator, dim, dtype, wanted, bits)
        shape = functools.partial(jax.eval_shape, estimator.mixture)
        require_mixture(attempt("mixture(state)", shape, state, mend=GLOBAL))
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


def _check_init(
    estimator: Estimator, dim: int, dtype: DTypeLike | None, wanted: np.dtype[Any], bits: str
) -> Any:
    """Promise 1: the state, as shapes."""
    arrays: list[bool] = []

    def init() -> Any:
        state = _init(estimator, dim, dtype)
        arrays.extend(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(state))
        return state

    state = attempt("init(dim, key, dtype)", jax.eval_shape, init, mend=KEEP_DTYPE)
    mend = "numbers become arrays by jnp.asarray(value, dtype)"
    require(all(arrays), "the state must hold arrays only", mend)
    floats = {leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    require(
        floats <= {wanted},
        f"init with dtype {dtype and wanted} must make floats of {wanted}, not {floats}, {bits}",
        KEEP_DTYPE,
    )
    return state


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


class _Course(NamedTuple):
    """What a run over rows gives."""

    start: Mixture
    coefficients: jax.Array  # (n, K, d), before every update
    info: Info  # of n steps
    state: Any
    end: Mixture


def _follow(estimator: Estimator, dim: int, dtype: DTypeLike | None) -> Callable[[Any, Any], _Course]:
    """A run over phi (n, d) and y (n,): all that several checks look at, and so one program for them."""

    def follow(phi: Any, y: Any) -> _Course:
        def step(state: Any, row: Any) -> Any:
            after, info = estimator.step(state, row)
            return after, (estimator.mixture(state).coefficients, info)

        start = _init(estimator, dim, dtype)
        state, (coefficients, info) = lax.scan(step, start, (phi, y))
        return _Course(estimator.mixture(start), coefficients, info, state, estimator.mixture(state))

    return follow


def _check_purity(estimator: Estimator, dim: int) -> None:
    """Promise 5: traced anew, init and step are the same programs, whatever has been called in between."""
    phi, y = rows(dim, np.float64)

    def programs() -> list[str]:
        def init() -> Any:
            return _init(estimator, dim)

        def step(state: Any, row: Any) -> Any:
            given = jax.tree.leaves(state)
            result = estimator.step(state, row)
            kept = jax.tree.leaves(state)
            unchanged.append(len(kept) == len(given) and all(map(operator.is_, kept, given)))
            return result

        state = jax.eval_shape(init)
        return [jax.jit(init).lower().as_text(), jax.jit(step).lower(state, (phi[0], y[0])).as_text()]

    unchanged: list[bool] = []
    (init, step), (init_again, step_again) = programs(), programs()
    mend = "use no global or random state other than init's key"
    require(step == step_again, "step must be pure: two calls with equal arguments differ", mend)
    require(all(unchanged), "step must not change its arguments, but the old state has changed", mend)
    require(init == init_again, "init must be pure: two calls with one key differ", mend)


def _check_runs(estimator: Estimator, dim: int, dtype: DTypeLike) -> None:
    """Promises 3 and 8, and in double precision, which is JAX's default where it is enabled, 4, 6 and 7."""
    names, phi, y = degenerate(dim, dtype)
    trials = [rows(dim, dtype, trial) for trial in range(TRIALS)]
    every = [np.concatenate(part) for part in zip((phi, y), _stacked(trials), strict=True)]
    double = np.dtype(dtype) == np.float64
    follow = _follow(estimator, dim, None if double else dtype)
    together = attempt("vmap of runs by lax.scan", jax.jit(jax.vmap(follow)), *every, mend=TRACED)
    ordinary = jax.tree.map(lambda leaf: np.asarray(leaf)[len(names) :], together)
    for mixture in (ordinary.start, ordinary.end):
        require_valid(jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), mixture), dim, dtype)
    if double:
        _check_label(ordinary, trials)
        _check_loop(estimator, ordinary, trials)
        in_lanes = attempt("lanes of runs", jax.jit(lanes(follow)), *_stacked(trials), mend=TRACED)
        require(equal(in_lanes, ordinary, 1e-9), "lanes of trials must equal the trials one by one", GLOBAL)
    require_finite(names, together, dtype)


def _stacked(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _check_label(course: _Course, trials: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Promise 4."""
    phi, y = _stacked(trials)
    errors = y[..., None] - np.einsum("tnkd,tnd->tnk", course.coefficients, phi)
    label, residual = map(np.asarray, course.info)
    components = errors.shape[-1]
    require(((label >= 0) & (label < components)).all(), f"info.label must be in [0, {components})", NEAREST)
    tolerance = 1e-8 * (1 + np.abs(errors).max())
    own = np.take_along_axis(errors, label[..., None], axis=-1)[..., 0]
    require(
        (np.abs(own) <= np.abs(errors).min(axis=-1) + tolerance).all(),
        "info.label must be the component whose line is nearest to y in the estimate before the update",
        NEAREST,
    )
    require(
        (np.abs(residual - own) <= tolerance).all(),
        "info.residual must be y - beta_label' phi with the estimate before the update",
        NEAREST,
    )


def _check_loop(estimator: Estimator, course: _Course, trials: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Promises 6 and 7: runs under `vmap` are loops of single steps."""
    traces = 0

    @jax.jit
    def step(state: Any, row: Any) -> Any:
        nonlocal traces
        traces += 1
        return estimator.step(state, row)

    start = jax.jit(lambda: _init(estimator, trials[0][0].shape[1]))()
    loops = []
    for phi, y in trials:
        state, infos = start, []
        for row in zip(phi, y, strict=True):
            state, info = step(state, row)
            infos.append(info)
        loops.append((state, _stacked(infos)))
    require(
        traces == 1,
        f"a step must be traced once, not {traces} times",
        "init's arrays need an explicit dtype: jnp.full(dim, 0.1, None) is weakly typed and changes its type",
    )
    require(
        equal((course.state, course.info), _stacked(loops), 1e-9),
        "vmap of trials by lax.scan must equal the trials one by one, as loops of single steps",
        GLOBAL,
    )
