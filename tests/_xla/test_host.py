"""What a program asks for before it uses jax: devices, and loops as one kernel on every version."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from jaxmlr._xla import host
from jaxmlr._xla.versions import applies

SCRIPT = """
import os
import jax, jax.numpy as jnp
from jaxmlr.study import use_all_cores

use_all_cores()
print(len(jax.devices()))
print(os.environ.get("XLA_FLAGS", ""))
start = [jnp.ones(1000)] * 3
run = jax.jit(lambda c: jax.lax.fori_loop(0, 9, lambda i, c: [c[1] * 2, c[2] + 1, c[0]], c))
print("xla_cpu_small_call" in run.lower(start).compile().as_text())
"""


@pytest.mark.parametrize("flags", ["", "--xla_cpu_enable_fast_math=false"])
def test_every_core_is_a_device_and_a_loop_is_one_kernel(flags):
    environment = os.environ | {"XLA_FLAGS": flags}
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    devices, total, one_kernel = done.stdout.splitlines()
    assert int(devices) == len(os.sched_getaffinity(0))
    assert total.startswith(flags)
    assert ("xla_backend_extra_options" in total) == applies("kernel_for_every_array")
    assert one_kernel == "True"


def test_what_the_user_has_set_is_left_alone():
    flags = "--xla_backend_extra_options=xla_cpu_disable_tiled_emitter"
    command = [sys.executable, "-c", SCRIPT.split("start =")[0]]
    environment = os.environ | {"XLA_FLAGS": flags}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == flags


def test_float64_is_on_the_cpu():
    with jax.enable_x64(False), host.float64():
        value = jnp.zeros(()) + 1
    assert value.dtype == jnp.float64
    assert {device.platform for device in value.devices()} == {"cpu"}
