"""What `jaxmlr run --dry-run` says of a study."""

from collections import Counter
from pathlib import Path

import jax

from jaxmlr.fitting.terminal import say
from jaxmlr.study import Study
from jaxmlr.study.compute import probe
from jaxmlr.study.run.placement import Calls
from jaxmlr.study.run.store import Store


def say_outlook(study: Study, folder: Path, share: Path | None = None) -> None:
    """Print points, blocks, programs, memory, disk and time of a study, and what its folder holds of it.

    What can be copied from the folder `share` counts as held.

    Time is measured on one block a device, on a short one where a block takes long. Nothing is written.

    Raises:
      ValueError: the folder holds another study.
      MemoryError: a block needs more than there is.
    """
    store = Store.look(study, folder)
    if share is not None:
        store.share(share, copy=False)
    missing, whole = store.missing(), store.parts
    every = study.trials * sum(map(len, whole.saved.values()))
    left = sum(unit.trials * len(unit.parts) for unit in missing) / every
    members = {unit.group: unit.parts for unit in missing}
    calls = Calls(study, whole, {group: whole.chosen(set(parts)) for group, parts in members.items()})
    blocks = Counter(unit.group for unit in missing)
    plan = probe.outlook(study, [probe.Work(calls.chosen(group), n) for group, n in blocks.items()])
    grid = " x ".join(f"{axis.name} ({len(axis)})" for axis in study.axes) or "no grid"
    say(f"{study.name}: {study.trials:,} trials of {study.steps:,} steps, {study.precision}")
    say(f"grid        {plan.points:,} points: {grid}")
    for name, rows in plan.rows.items():
        say(f"method      {name}: computed at {rows:,} points")
    there = f"{folder} holds {1 - left:.0%} of this" if left < 1 else f"{folder}: nothing of this"
    say(f"folder      {there}")
    say(f"blocks      {plan.blocks:,} of {plan.block_size:,} trials, on {len(jax.local_devices())} devices")
    say(f"programs    {plan.programs} a device, compiled in {plan.compile_seconds:.1f} s")
    say(f"memory      about {plan.memory / 2**20:,.0f} MiB in all")
    say(f"disk        at most {max(plan.disk / 2**20, 0.1):,.1f} MiB of blocks")
    total = plan.again_seconds + plan.seconds
    cached = " from the cache" if plan.again_seconds < plan.compile_seconds else ""
    say(f"time        about {total:,.1f} s, {plan.again_seconds:,.1f} s of it compilation{cached}")
