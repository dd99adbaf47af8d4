"""Loops over rows as a CPU runs them best: in its widest vectors, one member of a batch after another."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxmlr._xla.target import target
from jaxmlr._xla.versions import applies

# The quirks "narrow_vectors" and "slow_llvm": of LLVM's levels 1 to 3 programs are equally fast.
CPU_OPTIONS: dict[str, Any] = {"xla_cpu_prefer_vector_width": 512, "xla_backend_optimization_level": 1}

# Of programs that take longer to compile than to run.
QUICK_OPTIONS = CPU_OPTIONS | ({"xla_cpu_use_fusion_emitters": False} if applies("slow_emitters") else {})

# A loop whose end only the device knows is a command of the device's own: its host never waits.
GPU_OPTIONS: dict[str, Any] = {
    "xla_gpu_enable_command_buffer": "FUSION,WHILE",
    "xla_gpu_graph_min_graph_size": 1,
}

P = ParamSpec("P")
R = TypeVar("R")


_only_checks = ContextVar("_only_checks", default=False)


class Reached(Exception):
    """All checks are passed: raised by a compiled core in `checks_only`, instead of running."""


@contextmanager
def checks_only() -> Iterator[None]:
    """Inside, a method runs its checks of arguments and raises `Reached` where it would begin to compute.

    Tracing what is computed takes a hundred times as long as the checks.
    """
    token = _only_checks.set(True)
    try:
        yield
    finally:
        _only_checks.reset(token)


def checking() -> bool:
    """Whether this runs inside `checks_only`."""
    return _only_checks.get()


def core(function: Callable[P, R]) -> Callable[P, R]:
    """Mark the compiled part of a method, which comes after all checks of its arguments."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if checking():
            raise Reached
        return function(*args, **kwargs)

    return call


def traced(*values: Any) -> bool:
    """Whether a transformation is under way, of these values or around them."""
    # Whatever is made while a jit traces is a tracer, even where no argument is.
    leaves = jax.tree.leaves((values, jnp.zeros(())))
    return any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)


def wide_jit(function: Callable[P, R], static_argnames: tuple[str, ...] = ()) -> Callable[P, R]:
    """`jax.jit` with `CPU_OPTIONS`, a `core`.

    Under a transformation (of nested jits the outermost's options count alone) and on other devices it is
    `jax.jit`.
    """
    plain = jax.jit(function, static_argnames=static_argnames)
    wide = jax.jit(function, static_argnames=static_argnames, compiler_options=CPU_OPTIONS)

    @core
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        result: R = (wide if not traced(args) and target() == "cpu" else plain)(*args, **kwargs)
        return result

    return call


def one_by_one(function: Callable[..., R]) -> Callable[..., R]:
    """`function` of positional pytrees, of which `vmap` makes a loop on a CPU.

    One member at a time stays in the cache, and none waits for the slowest of many.
    """
    if target() != "cpu":
        return function
    call = jax.custom_batching.custom_vmap(function)

    def loop(size: int, batched: Any, *args: Any) -> tuple[R, Any]:
        leaves, tree = jax.tree.flatten(args)
        mapped = jax.tree.leaves(tuple(batched))

        def one(own: list[Any]) -> R:
            rest = iter(own)
            chosen = [next(rest) if m else leaf for m, leaf in zip(mapped, leaves, strict=True)]
            result: R = call(*jax.tree.unflatten(tree, chosen))
            return result

        result: R = lax.map(one, [leaf for m, leaf in zip(mapped, leaves, strict=True) if m])
        return result, jax.tree.map(lambda _: True, result)

    call.def_vmap(loop)
    # custom_vmap has no derivative where only tangents are batched, nor where a leaf is None.
    outer = jax.custom_jvp(lambda *args: call(*args))
    outer.defjvp(lambda primals, tangents: jax.jvp(function, primals, tangents))
    return outer
