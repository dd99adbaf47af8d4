"""Seconds of a call."""

import time
from collections.abc import Callable

import jax


def timed(call: Callable[[], object], times: int = 3) -> float:
    """Least seconds of a call, results awaited."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return min(seconds)
