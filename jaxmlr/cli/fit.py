"""`jaxmlr fit`: a mixture of lines from a table. Needs the extra `data`."""

import sys
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jaxmlr import _check
from jaxmlr.fitting import methods
from jaxmlr.fitting.model import Model
from jaxmlr.fitting.tables import read, report
from jaxmlr.fitting.tables.design import Design
from jaxmlr.fitting.tables.dialect import Reading
from jaxmlr.fitting.tables.fit import StreamFit, TableFit, fit_rows, fit_stream
from jaxmlr.fitting.terminal import Terminal, say

FORMATS = ("csv", "parquet")


def fit(
    data: str,
    response: str | None,
    formula: str | None,
    counts: list[int],
    method: str,
    criterion: str,
    out: Path | None,
    kind: str,
    seed: int,
    reading: Reading,
) -> None:
    """Fit, print and save; the arguments are the command's options.

    Raises:
      ValueError: what the user got wrong, in one line.
      OSError: a file that cannot be read or written.
    """
    record = methods.for_table(method)
    _check.choice("--criterion", criterion, ("aic", "bic", "icl"))
    _check.choice("--format", kind, FORMATS)
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; it must be a folder")
    if record.kind == "recursive":
        if len(counts) > 1:
            raise ValueError(
                f"--components {counts[0]}:{counts[-1]}: {method} takes one number;"
                " a range needs a batch method"
            )
        streamed = _stream(data, response, formula, counts[0], method, seed, out, kind, reading)
        _print(streamed)
        return
    design, rows = Design.learn(read.read(data, reading), response, formula)
    fitted = fit_rows(design, rows, counts, method, seed, criterion)
    if out is not None:
        _save(fitted, out, kind)
        about = report.provenance(fitted, method, criterion, seed) | {"data": data, "command": sys.argv[1:]}
        model = Model(fitted.design, fitted.fit.mixture, about)
        model.save(out / "model.json")
        say(str(out / "model.json"))
    _print(fitted)


def _stream(
    data: str,
    response: str | None,
    formula: str | None,
    components: int,
    method: str,
    seed: int,
    out: Path | None,
    kind: str,
    reading: Reading,
) -> StreamFit:
    total = read.rows_in(data)
    columns = (
        TextColumn(method),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeRemainingColumn(),
    )
    terminal = sys.stderr.isatty()
    labels = None if out is None else report.LabelFile(out / "labels.csv")
    streamed = None
    try:
        with Progress(*columns, console=Terminal(stderr=True), disable=not terminal) as progress:
            task = progress.add_task(method, total=total)
            stream = fit_stream(data, response, formula, components, method, seed, reading=reading)
            for streamed, rows, given in stream:
                if labels is not None:
                    labels.add(rows, given)
                progress.update(task, completed=streamed.used + streamed.dropped)
    finally:
        if labels is not None:
            labels.close()
    if streamed is None:
        raise ValueError(f"{data} has no rows")
    if out is not None and labels is not None:
        say(str(labels.path))
        say(str(report.save(report.coefficients(streamed), out / f"coefficients.{kind}")))
    return streamed


def _print(result: TableFit | StreamFit) -> None:
    console = Terminal(width=None if sys.stdout.isatty() else 240)
    for table in report.printed(result):
        console.print(table)
    for line in report.lines(result):
        say(line)


def _save(result: TableFit, out: Path, kind: str) -> None:
    for path in report.write(result, out, kind):
        say(str(path))
    try:
        from jaxmlr.fitting.tables import picture
    except ModuleNotFoundError as error:
        say(f"no picture: {error}; pip install 'jaxmlr[plot]'", file=sys.stderr)
        return
    for path in picture.save(result, out):
        say(str(path))
