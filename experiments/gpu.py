"""What XLA makes of a study for an H100, counted without one: kernels, waits, instructions and bytes a step.

    pip install -e '.[study]' nvidia-cuda-nvdisasm 'jax[cuda12]'
    python experiments/gpu.py [--methods two_step,fisher_scoring] [--dims 2,3,5,10] [--check]

Programs are compiled for a description of the device, which need not be at hand. Of the loop over steps:

kernels       launched in four steps: those over trials, and those of one thread (counters and conditions)
waits         loops whose end the host must ask the device for, each iteration
instructions  of a trial-step, in machine code; rarely taken branches are counted too
bytes         of a trial-step that pass through memory
issue, memory G trial-steps a second that instructions (132 x 4 x 32 lanes at 1.755 GHz) and 3.35 TB/s allow

`--check` ends with status 1 where `two_step` at d <= 3 takes more than 3 kernels for four steps, waits, or
moves more than 30 bytes.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ACCESS = r"(?:ld|st)\.global(?:\.nc|\.L\w+)*(?:\.v(\d))?"
LANES = 132 * 4 * 32 * 1.755e9  # instructions of one thread a second
BANDWIDTH = 3.35e12  # bytes a second
TRIALS, RECORDS = 2**17, 40
H100 = """
gpu_device_info {
  name: "NVIDIA H100 80GB HBM3"  device_vendor: "NVIDIA Corporation"  device_address_bits: 64
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
  core_count: 132  fpus_per_core: 128  clock_rate_ghz: 1.755
  threads_per_warp: 32  threads_per_block_limit: 1024  threads_per_core_limit: 2048
  thread_dim_limit_x: 1024  thread_dim_limit_y: 1024  thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
  shared_memory_per_block: 49152  shared_memory_per_block_optin: 232448  shared_memory_per_core: 233472
  memory_bandwidth: 3352320000000  l2_cache_size: 52428800  device_memory_size: 84942979072
  runtime_version: "12.9.0"  driver_version: "12.9.0"  compile_time_toolkit_version: "12.9.0"
  dnn_version: "9.10.0"
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


class Count(NamedTuple):
    """What a trial-step costs; kernels are of four steps."""

    kernels: float
    small: float
    waits: int
    instructions: float
    bytes: float


def tool(name: str) -> Path:
    """A program of NVIDIA's packages."""
    import nvidia

    places = [path for root in nvidia.__path__ for path in Path(root).rglob(name) if path.is_file()]
    if not places:
        raise SystemExit(f"{name} is not installed: see the head of this file")
    return places[0]


def compile_block(method: str, dim: int) -> int:
    """Compile a block of trials for an H100; the number of steps that an iteration of its loop takes."""
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    from jaxmlr._xla.jit import GPU_OPTIONS
    from jaxmlr._xla.target import aimed_at
    from jaxmlr.data.follow import steps_per_iteration
    from jaxmlr.study import Problem, Study
    from jaxmlr.study.compute import program
    from jaxmlr.study.compute.plan import plan

    topology = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")
    device = SingleDeviceSharding(topology.devices[0])
    line = [1.5 * (i + 1) / dim for i in range(dim)]
    options = {"components": 2} if method in ("online_em", "multistart_em", "recursive_em") else {}
    study = Study(
        name="counted",
        problem=Problem(process={"kind": "decaying_ar"}, coefficients=line, p=0.6),
        estimators={method: {"method": method, **options}},
        trials=TRIALS,
        steps=1000,
        record=RECORDS,
        metrics=("coefficient_error",),
        block=TRIALS,
    )
    with aimed_at("gpu"):
        cell = plan(study).cells[0]
        points = program.points_of(study, cell, jax.devices("cpu")[0])
        shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), (jnp.int32(0), points)
        )
        traced = jax.jit(program.block_of(study, cell)).trace(*shapes, {})
        traced.lower().compile(compiler_options=GPU_OPTIONS)
        trackers = program.trackers_of(study, {method: study.make(method, {})})
        return steps_per_iteration(jax.eval_shape(lambda: program.begin(study, trackers, jnp.int32(0))[1]))


def innermost(text: str) -> tuple[list[str], int]:
    """Kernels that the loop over steps launches each iteration, and whether the host waits for its end."""
    lines = [(len(line) - len(line.lstrip()), line) for line in text.splitlines()]
    loops = [i for i, (_, line) in enumerate(lines) if "kWhile" in line]
    deepest = max(loops, key=lambda i: lines[i][0])
    depth = lines[deepest][0]
    inside: list[str] = []
    for indent, line in lines[deepest + 1 :]:
        if indent <= depth and not line.startswith("condition"):
            break
        launched = re.search(r"k(CustomKernel|Kernel) .*?\] (\S+) grid: \[(\d+)|k(Copy)", line)
        if launched:
            inside.append(f"{launched[2]} {launched[3]}" if launched[2] else "copy 1")
    commanded = any("kCommandBuffer" in line and indent < depth for indent, line in lines[:deepest])
    return inside, 0 if commanded else 1


def machine_code(ptx: Path) -> int:
    """Instructions of a kernel."""
    binary = ptx.with_suffix(".cubin")
    subprocess.run([tool("ptxas"), "-arch=sm_90a", ptx, "-o", binary], check=True, capture_output=True)
    code = subprocess.run([tool("nvdisasm"), "-c", binary], check=True, capture_output=True, text=True).stdout
    return len(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/", code, re.M))


def count(method: str, dim: int) -> Count:
    """Compile and count, in a process of its own: what is dumped is chosen once a process."""
    with tempfile.TemporaryDirectory() as folder:
        dump = f"--xla_dump_to={folder} --xla_gpu_dump_llvmir=true --xla_dump_emitter_re=ptx"
        environment = os.environ | {
            "XLA_FLAGS": f"{dump} --xla_gpu_autotune_level=0",
            "JAX_PLATFORMS": "cpu",
            "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
            "JAX_ENABLE_COMPILATION_CACHE": "false",
        }
        command = [sys.executable, __file__, "--compile", method, str(dim)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{method}, d = {dim}: {done.stderr.strip().splitlines()[-1]}")
        steps = int(done.stdout.split()[-1])
        (thunks,) = Path(folder).glob("*_block*thunk_sequence_after_thunk_passes.txt")
        launched, waits = innermost(thunks.read_text())
        kernels = {}
        for ptx in Path(folder).glob("*_block*.ptx"):
            names = re.findall(r"\.entry (\w+)", ptx.read_text())
            kernels.update(dict.fromkeys(names, ptx))
        large = [name for name, grid in (each.split() for each in launched) if int(grid) > 1]
        code = sum(machine_code(kernels[name]) for name in large)
        moved = sum(
            4 * int(width or 1) for name in large for width in re.findall(ACCESS, kernels[name].read_text())
        )
        few = len(launched) - len(large)
    return Count(4 * len(large) / steps, 4 * few / steps, waits, code / steps, moved / steps)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", default="two_step")
    parser.add_argument("--dims", default="2,3,5,10")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--compile", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.compile:
        print(compile_block(options.compile[0], int(options.compile[1])))
        return
    print("| method | d | kernels + small ones | waits | instructions | bytes | issue, memory (G/s) |")
    print("|---|---|---|---|---|---|---|")
    missed = []
    for method in options.methods.split(","):
        for dim in map(int, options.dims.split(",")):
            c = count(method, dim)
            bounds = f"{LANES / c.instructions / 1e9:.0f}, {BANDWIDTH / c.bytes / 1e9:.0f}"
            print(
                f"| {method} | {dim} | {c.kernels:.1f} + {c.small:.1f} | {c.waits} | {c.instructions:.0f} "
                f"| {c.bytes:.0f} | {bounds} |",
                flush=True,
            )
            if method == "two_step" and dim <= 3 and (c.kernels + c.small > 3 or c.waits or c.bytes > 30):
                missed.append(f"{method}, d = {dim}")
    if options.check and missed:
        raise SystemExit(f"above its limit: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
