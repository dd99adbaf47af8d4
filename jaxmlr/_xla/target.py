"""Which kind of device programs are made for: "cpu", or another."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax

_aim: ContextVar[str | None] = ContextVar("_aim", default=None)


def target() -> str:
    """The platform that what is traced now will run on: JAX's default one unless `aimed_at` says another."""
    return _aim.get() or jax.default_backend()


@contextmanager
def aimed_at(platform: str) -> Iterator[None]:
    """Inside, programs are traced for devices of a kind that need not be at hand: "cpu", "gpu"."""
    token = _aim.set(platform)
    try:
        yield
    finally:
        _aim.reset(token)
