"""The host: how many processors programs use, 64 bits on them, and how much memory there is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from jaxmlr._xla.versions import applies

# A loop of small arrays is one kernel, however much it carries.
ONE_KERNEL = "xla_cpu_small_while_loop_byte_threshold=1000000000"


@contextmanager
def float64() -> Iterator[None]:
    """Compute in 64 bits and on the CPU, whatever JAX's own defaults are.

    For tables: their numbers deserve all digits, and accelerators are slow in 64 bits.
    """
    with jax.enable_x64(True):
        if jax.default_backend() == "cpu":
            yield
        else:
            with jax.default_device(jax.local_devices(backend="cpu")[0]):
                yield


def use_all_cores() -> None:
    """One host device per core, and loops over steps compiled as one kernel each.

    For programs to ask for, never for a library. XLA runs one program at a time on each CPU device, and
    studies run a block of trials on each. Before jax 0.11 an option of XLA is added to the environment's
    XLA_FLAGS too, unless that variable sets options of its kind already: without it studies take 2.3 to 2.5
    times as long.

    Raises:
      RuntimeError: jax has computed something already, so that its devices are fixed.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jax.config.update("jax_num_cpu_devices", cores)
    flags = os.environ.get("XLA_FLAGS", "")
    if applies("kernel_for_every_array") and "xla_backend_extra_options" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_backend_extra_options={ONE_KERNEL}".strip()


def memory() -> int | None:
    """Bytes of memory that this process may use, those of its container if it is in one; None if unknown."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdecimal() else machine
