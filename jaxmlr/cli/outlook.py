"""What `jaxmlr run --dry-run` says of a study."""

import jax

from jaxmlr.fitting.terminal import say
from jaxmlr.study import Study
from jaxmlr.study.compute import probe


def say_outlook(study: Study) -> None:
    """Print points, blocks, programs, memory and time of a study, from a short block that is measured."""
    plan = probe.outlook(study)
    grid = " x ".join(f"{axis.name} ({len(axis)})" for axis in study.axes) or "no grid"
    say(f"{study.name}: {study.trials:,} trials of {study.steps:,} steps, {study.precision}")
    say(f"grid        {plan.points:,} points: {grid}")
    for name, rows in plan.rows.items():
        say(f"method      {name}: computed at {rows:,} points")
    say(f"blocks      {plan.blocks:,} of {plan.block_size:,} trials, on {len(jax.local_devices())} devices")
    say(f"programs    {plan.programs}; a short one compiled in {plan.compile_seconds:.1f} s")
    say(f"memory      about {plan.memory / 2**20:,.0f} MiB in all")
    if plan.seconds is None:
        say("time        not estimated: there are batch methods only")
    else:
        left = " without the batch methods" if study.batch else ""
        say(f"time        about {plan.seconds:,.0f} s of computation{left}")
