"""What `jaxmlr run --dry-run` says of a study."""

from pathlib import Path

import jax

from jaxmlr.fitting.terminal import say
from jaxmlr.study import Study
from jaxmlr.study.compute import probe
from jaxmlr.study.run.store import Store


def say_outlook(study: Study, folder: Path) -> None:
    """Print points, blocks, programs, memory, disk and time of a study, and what its folder holds of it.

    Time is measured on a short block. Nothing is written.

    Raises:
      ValueError: the folder holds another study.
    """
    store = Store.look(study, folder)
    every = study.trials * sum(map(len, store.parts.saved.values()))
    left = sum(unit.trials * len(unit.parts) for unit in store.missing())
    plan = probe.outlook(study)
    grid = " x ".join(f"{axis.name} ({len(axis)})" for axis in study.axes) or "no grid"
    say(f"{study.name}: {study.trials:,} trials of {study.steps:,} steps, {study.precision}")
    say(f"grid        {plan.points:,} points: {grid}")
    for name, rows in plan.rows.items():
        say(f"method      {name}: computed at {rows:,} points")
    say(f"blocks      {plan.blocks:,} of {plan.block_size:,} trials, on {len(jax.local_devices())} devices")
    say(f"programs    {plan.programs}; a short one compiled in {plan.compile_seconds:.1f} s")
    say(f"memory      about {plan.memory / 2**20:,.0f} MiB in all")
    say(f"disk        at most {max(plan.disk / 2**20, 0.1):,.1f} MiB of blocks")
    share = left / every
    say(
        f"folder      {folder} holds {1 - share:.0%} of this"
        if share < 1
        else f"folder      {folder}: nothing of this"
    )
    if plan.seconds is None:
        say("time        not estimated: there are batch methods only")
    else:
        without = " without the batch methods" if study.batch else ""
        say(f"time        about {share * plan.seconds:,.1f} s of computation{without}")
