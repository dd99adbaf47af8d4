"""The command line, `jaxmlr`. Needs the extra `study`.

Each command imports what it needs when it runs: a fit does not wait for xarray.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import jax
import typer

from jaxmlr import __version__, registry
from jaxmlr._xla import cache, host
from jaxmlr.cli import dialect
from jaxmlr.cli.plot import plot
from jaxmlr.cli.settings import Folder, key_values, loaded
from jaxmlr.cli.signals import leaving_at_once
from jaxmlr.cli.tables import fit, predict, warm
from jaxmlr.cli.trial import trial
from jaxmlr.fitting.terminal import Terminal, say

app = typer.Typer(
    help="Mixed linear regression: Monte Carlo studies, and fits to tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"jaxmlr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Entry point: bad input is one line on standard error and exit status 2."""
    sys.path.insert(0, os.getcwd())  # as `python -m` has it, for methods of one's own
    try:
        status = app(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except _CommandLineError as error:
        if error.format_message():  # none where nothing was asked for, and the help was printed
            context = getattr(error, "ctx", None)
            command = f" {context.info_name}" if context is not None and context.parent is not None else ""
            say(f"jaxmlr: {error.format_message()} (try jaxmlr{command} --help)", file=sys.stderr)
        sys.exit(2)
    except (ValueError, OSError) as error:
        say(f"jaxmlr: {_line(error)}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        why = f" ({_line(error)})" if isinstance(error, MemoryError) and str(error) else ""
        advice = "finished blocks are saved; a smaller --block needs less"
        say(f"jaxmlr: out of memory{why}; {advice}", file=sys.stderr)
        sys.exit(2)


# The base class of what a wrong command line raises; Typer does not export it by name.
_CommandLineError: Any = typer.BadParameter.__mro__[2]


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


@app.command()
def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="What to run.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results; run again to go on.")],
    trials: Annotated[int | None, typer.Option(help="Number of trials, instead of the file's.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a value: --set problem.p=0.7"),
    ] = None,
    block: Annotated[
        str | None, typer.Option(metavar="N|probe", help="Trials computed together; probe tries sizes out.")
    ] = None,
    share: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Another study's folder, from which blocks are copied that are the same."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress and no table.")] = False,
) -> None:
    """Run a study and save its results.

    Ctrl-C, SIGTERM and SIGHUP begin no other block; those under way are finished and saved, and the status
    is 130, 143 or 129. A second one leaves at once, without the blocks under way. Run again to go on.
    A folder takes a study that has grown in trials, methods or grid points: only what is new is computed.
    """
    from jaxmlr.cli.outlook import say_outlook
    from jaxmlr.study import Study, run_study
    from jaxmlr.study.compute import probe
    from jaxmlr.study.run.blocks import Interrupted
    from jaxmlr.study.run.manifest import block_of

    host.use_all_cores()
    cache.keep()
    overrides = key_values("--set", settings) | ({} if trials is None else {"trials": trials})
    if block is not None and block != "probe":
        overrides |= key_values("--block", [f"block={block}"])
    planned = Study.from_toml(study, overrides)
    if block == "probe":
        planned = dataclasses.replace(planned, block=block_of(out) or probe.block_size(planned))
    if dry_run:
        say_outlook(planned, out, share)
        return
    with leaving_at_once(out):
        try:
            results = run_study(planned, out, share=share, progress=not quiet)
        except Interrupted as error:
            say(f"jaxmlr: interrupted; {error}; run again to go on in {out}", file=sys.stderr)
            raise typer.Exit(128 + error.signal) from None
    if not quiet:
        _print(results)
        took = results.attrs
        say(
            f"{out / 'results.zarr'}: {took['trial_steps_per_second']:,} trial-steps/s,"
            f" {took['wall_seconds']:.1f} s in all, {took['compile_seconds']:.1f} s of it compilation"
        )


@app.command()
def show(
    folder: Folder,
    sort: Annotated[
        str | None, typer.Option(metavar="METRIC|AXIS", help="Smallest mean, or value of an axis, first.")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Only the first so many rows.")] = None,
    wide: Annotated[bool, typer.Option("--wide", help="A column for each method, of one metric.")] = False,
) -> None:
    """Print a table of a study's last recorded step; one table for grids of more than 6 points.

    Of a study under way it shows the trials so far, and says how many they are.
    """
    from jaxmlr.study.results.long_table import long_table

    results = loaded(folder)
    if sort is None and top is None and not wide:
        _print(results)
    else:
        _console().print(long_table(results, sort=sort, top=top, wide=wide))


@app.command()
def export(
    folder: Folder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .nc, .csv or .parquet.")],
    trials: Annotated[
        bool, typer.Option("--trials", help="The kept single trials instead of statistics, as a table.")
    ] = False,
) -> None:
    """Write a study's results as netCDF, which has all of them, or as a tidy table."""
    from jaxmlr.study import to_dataframe

    results = loaded(folder)
    if file.suffix not in (".nc", ".csv", ".parquet"):
        raise ValueError(f"FILE must end in .nc, .csv or .parquet, not {file}")
    try:
        if file.suffix == ".nc":
            results.to_netcdf(file, engine="h5netcdf")
        else:
            table = to_dataframe(results, trials=trials)
            table.to_csv(file, index=False) if file.suffix == ".csv" else table.to_parquet(file, index=False)
    except ImportError as error:
        raise ValueError(f"{error}; pip install 'jaxmlr[export]'") from error
    say(str(file))


app.command()(plot)
app.command()(trial)


app.command()(fit)
app.command()(predict)
app.command()(warm)


@app.command()
@dialect.reads("dates")
def stream(
    response: Annotated[str, typer.Option(metavar="COLUMN", help="What to explain, by all other columns.")],
    method: Annotated[str, typer.Option(help="A recursive method.")] = registry.RECOMMENDED["lines"],
    components: Annotated[int, typer.Option(metavar="K", min=1, help="How many lines.")] = 2,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the state is kept; there, the stream goes on.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Rows after which the state is kept anew.")] = 10_000,
    kind: Annotated[str, typer.Option("--format", help="Of what is written: csv or json lines.")] = "csv",
    forgetting: Annotated[
        float | None, typer.Option(help="Of the method, as 0.999: old rows count less and less.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="Any other of the method.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the start.")] = 0,
    *,
    written: Mapping[str, Any],
) -> None:
    """Answer rows as they come: tail -f feed.csv | jaxmlr stream --response y --state FILE.

    Standard input is CSV with a header and numbers; every line has an intercept. For each row a line is
    written at once: row, label (of the most probable component, from 1), probability (its posterior),
    prediction (the mean of y given x), all from the estimate before that row. A row with a gap is not learnt
    from. The state is kept every so often and at the end of input, in a file from which a stream goes on bit
    for bit.
    """
    from jaxmlr.cli import stream
    from jaxmlr.fitting.tables.dialect import Reading

    options = key_values("--option", settings) | ({} if forgetting is None else {"forgetting": forgetting})
    stream.stream(method, response, components, state, every, kind, seed, options, Reading(**written))


@app.command()
def bench(
    dim: Annotated[int, typer.Option(min=1, help="Number of regressors d.")] = 3,
    trials: Annotated[int, typer.Option(min=1, help="Number of trials.")] = 8192,
    steps: Annotated[int, typer.Option(min=1, help="Length of each trial.")] = 10_000,
    block: Annotated[int | None, typer.Option(min=1, help="Trials computed together.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Time the two-step recursion on eq. (17), compilation apart."""
    from jaxmlr.cli import bench

    host.use_all_cores()
    measured = bench.bench(dim, trials, steps, block)
    if as_json:
        print(json.dumps(measured))
    else:
        for key, value in measured.items():
            print(f"{key:24} {value:,}" if isinstance(value, int | float) else f"{key:24} {value}")


def _print(results: Any) -> None:
    from jaxmlr.study.results.long_table import long_table
    from jaxmlr.study.results.table import MOST_TABLES, tables

    points = results["diverged"].size // (results.sizes["estimator"] * results.sizes["step"])
    for table in tables(results) if points <= MOST_TABLES else [long_table(results)]:
        _console().print(table)


def _console() -> Terminal:
    return Terminal(width=None if sys.stdout.isatty() else 240)
