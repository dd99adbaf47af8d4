"""`jaxmlr fit`: a mixture of lines from a table. Needs the extra `data`."""

import dataclasses
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jaxmlr import _check
from jaxmlr.fitting import methods
from jaxmlr.fitting.model import Model
from jaxmlr.fitting.tables import read, report
from jaxmlr.fitting.tables.design import Design
from jaxmlr.fitting.tables.dialect import Reading
from jaxmlr.fitting.tables.fit import StreamFit, TableFit, fit_rows, fit_stream, terms_of
from jaxmlr.fitting.tables.formula import quoted, split
from jaxmlr.fitting.tables.terms import Terms, check_method
from jaxmlr.fitting.tables.weights import Weights
from jaxmlr.fitting.terminal import Terminal, say

FORMATS = ("csv", "parquet")


@dataclass(frozen=True)
class Asked:
    """What is to be fitted to what, and how."""

    data: str
    response: str | None
    formula: str | None
    counts: list[int]  # numbers of components to try
    method: str
    criterion: str
    seed: int
    reading: Reading
    weights: Weights | None
    terms: Terms
    options: dict[str, Any]  # of the method
    robust: bool = False  # whether outliers are expected


class Drawn(NamedTuple):
    """How the picture is drawn."""

    file: Path | None = None  # a picture of this name too
    inches: float | None = None  # its width and that of those in the folder, None for two columns


def fit(asked: Asked, out: Path | None, kind: str, as_json: bool, latex: Path | None, drawn: Drawn) -> None:
    """Fit, print and save; the arguments are the command's options.

    Raises:
      ValueError: what the user got wrong, in one line.
      OSError: a file that cannot be read or written.
    """
    record, counts = methods.for_table(asked.method), asked.counts
    _check.choice("--criterion", asked.criterion, ("aic", "bic", "icl"))
    _check.choice("--format", kind, FORMATS)
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; it must be a folder")
    if latex is not None and record.kind == "recursive":
        raise ValueError(f"--latex: {asked.method} has no standard errors; it needs a batch method")
    if drawn.file is not None and record.kind == "recursive":
        raise ValueError(f"--picture: {asked.method} reads a stream and draws none; it needs a batch method")
    check_method(asked.method, asked.terms.arguments())
    written = sys.stderr if as_json else sys.stdout
    result: TableFit | StreamFit
    if record.kind == "recursive":
        if len(counts) > 1:
            raise ValueError(
                f"--components {counts[0]}:{counts[-1]}: {asked.method} takes one number;"
                " a range needs a batch method"
            )
        if asked.weights is not None:
            raise ValueError(f"--weights: {asked.method} takes none; weights need a batch method")
        result = _stream(asked, out, kind, written)
        mixture, gate = result.mixture, None
    else:
        frame = read.read(asked.data, asked.reading)
        design, rows = Design.learn(
            frame, asked.response, asked.formula, weights=asked.weights, terms=asked.terms
        )
        options = asked.options | (robust(rows.y) if asked.robust else {})
        result = fit_rows(design, rows, counts, asked.method, asked.seed, asked.criterion, options)
        mixture, gate = result.fit.mixture, terms_of(result.fit, rows).gate
    about = report.provenance(result, asked.method, asked.seed) | {
        "data": asked.data,
        "weights": None if asked.weights is None else dataclasses.asdict(asked.weights),
        "terms": dataclasses.asdict(asked.terms),
        "options": asked.options,
        "robust": asked.robust,
        "command": sys.argv[1:],
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        family: dict[str, Any] = {}
        if isinstance(result, TableFit):
            known = result.fit.constraints
            family = {"family": known.family, "degrees": known.degrees}
        Model(result.design, mixture, about, gate, **family).save(out / "model.json")
        say(str(out / "model.json"), file=written)
    if isinstance(result, TableFit) and (out is not None or latex is not None):
        from jaxmlr.fitting.tables import document  # its imports take time

        if out is not None:
            svg = _save(result, out, kind, written, drawn)
            say(str(document.save(result, about, out, svg)), file=written)
        if latex is not None:
            latex.write_text(document.latex(result), "utf-8")
            say(str(latex), file=written)
    if isinstance(result, TableFit) and drawn.file is not None:
        from jaxmlr.fitting import style
        from jaxmlr.fitting.tables import picture

        style.save(picture.draw(result, style.width_of(drawn.inches)), [drawn.file])
        say(str(drawn.file), file=written)
    if as_json:
        print(json.dumps(report.plain(result, about), ensure_ascii=False, allow_nan=False))
    else:
        _print(result)


def robust(y: np.ndarray) -> dict[str, Any]:
    """Options of a method that set gross errors apart: density 0.001 / s, s the median deviation over 0.6745.

    A row counts as an outlier from some 3.3 sigma to 5 sigma off the lines on, as s is greater than sigma.

    Raises:
      ValueError: more than half of the responses are one number.
    """
    spread = 1.4826 * float(np.median(np.abs(y - np.median(y))))
    if spread == 0:
        raise ValueError("--robust: more than half of the responses are one number; give outlier_density=")
    return {"outlier_density": 0.001 / spread, "equal_variance": True}


def with_offset(formula: str | None, column: str) -> str:
    """A formula, or None for all other columns, with an offset, which `.` then does not stand for."""
    (whole, gate), name = split("." if formula is None else formula), quoted(column)
    aside = f" - {name}" if re.search(r"(?<![\w.`])\.(?![\w.])", whole) else ""
    return f"{whole}{aside} + offset({name})" + ("" if gate is None else f" | {gate}")


def _stream(asked: Asked, out: Path | None, kind: str, written: TextIO) -> StreamFit:
    data, method = asked.data, asked.method
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
            stream = fit_stream(
                data,
                asked.response,
                asked.formula,
                asked.counts[0],
                method,
                asked.seed,
                reading=asked.reading,
                options=asked.options,
            )
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
        say(str(labels.path), file=written)
        say(str(report.save(report.coefficients(streamed), out / f"coefficients.{kind}")), file=written)
    return streamed


def _print(result: TableFit | StreamFit) -> None:
    console = Terminal(width=None if sys.stdout.isatty() else 240)
    for table in report.printed(result):
        console.print(table)
    for line in report.lines(result):
        say(line)


def _save(result: TableFit, out: Path, kind: str, written: TextIO, drawn: Drawn) -> Path | None:
    """Write tables and pictures; the path of the picture as SVG, if one can be drawn."""
    for path in report.write(result, out, kind):
        say(str(path), file=written)
    try:
        from jaxmlr.fitting.tables import picture
    except ModuleNotFoundError as error:
        say(f"no picture: {error}; pip install 'jaxmlr[plot]'", file=sys.stderr)
        return None
    paths = picture.save(result, out, drawn.inches)
    for path in paths:
        say(str(path), file=written)
    return next(path for path in paths if path.suffix == ".svg")
