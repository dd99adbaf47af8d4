"""`jaxmlr stream`: lines of CSV in, a line of CSV or JSON out for each, at once."""

import csv
import itertools
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxmlr import _check
from jaxmlr._xla import cache
from jaxmlr.fitting import methods
from jaxmlr.fitting.live import Live, Said
from jaxmlr.fitting.terminal import say

FORMATS = ("csv", "json")


def stream(
    method: str,
    response: str,
    components: int,
    state: Path | None,
    every: int,
    kind: str,
    seed: int,
    options: dict[str, Any],
) -> None:
    """Answer every row of standard input; the arguments are the command's options.

    Raises:
      ValueError: what the user got wrong, in one line.
      OSError: a file that cannot be read or written.
    """
    _check.choice("--format", kind, FORMATS)
    estimator = methods.estimator(method, components, options)
    cache.keep()
    batches = _batches(sys.stdin.fileno())
    header = next(batches, None)
    if header is None:
        raise ValueError("standard input is empty; its first line must name the columns")
    names = next(csv.reader(header[:1]))
    if response not in names:
        raise ValueError(f"no column {response!r}; standard input has {', '.join(names[:20])}")
    place = names.index(response)
    about = {"method": method, "components": components, "options": options, "columns": names}
    live = Live(estimator, len(names), seed, about | {"response": response})
    if state is not None and state.exists():
        live.resume(state)
        say(f"going on after {live.rows:,} rows of {state}", file=sys.stderr)
    if kind == "csv":
        print("row,label,probability,prediction", flush=True)
    saved = live.rows
    try:
        for lines in itertools.chain([header[1:]], batches):
            _answer(live, lines, len(names), place, kind)
            if state is not None and live.rows - saved >= every:
                live.save(state)
                saved = live.rows
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - nothing more can be said there
    finally:
        if state is not None:
            live.save(state)


def _batches(source: int) -> Iterator[list[str]]:
    """The whole lines that are there, as soon as there is one."""
    rest = b""
    while piece := os.read(source, 1 << 16):
        *lines, rest = (rest + piece).split(b"\n")
        if lines:
            yield [line.decode("utf-8", "replace").rstrip("\r") for line in lines]
    if rest.strip():
        yield [rest.decode("utf-8", "replace")]


def _number(entry: str) -> float:
    try:
        return float(entry)
    except ValueError:
        return math.nan


def _answer(live: Live, lines: list[str], width: int, place: int, kind: str) -> None:
    """Take rows and write a line for each."""
    entries = [row for row in csv.reader(lines) if row]
    if not entries:
        return
    table = np.full((len(entries), width), np.nan)
    for i, row in enumerate(entries):
        if len(row) == width:  # a row of another length is no observation
            table[i] = [_number(entry) for entry in row]
    y = table[:, place].copy()
    table[:, place] = 1  # the intercept
    first = live.rows
    said = live.update(table, y)
    sys.stdout.write("".join(_written(said, first, kind)))
    sys.stdout.flush()


def _written(said: Said, first: int, kind: str) -> Iterator[str]:
    columns = zip(said.label.tolist(), said.probability.tolist(), said.prediction.tolist(), strict=True)
    for row, (label, probability, prediction) in enumerate(columns, first + 1):
        known, finite = label >= 0, math.isfinite(prediction)
        if kind == "json":
            values = {
                "row": row,
                "label": label + 1 if known else None,
                "probability": probability if known else None,
                "prediction": prediction if finite else None,
            }
            yield json.dumps(values) + "\n"
        else:
            sure = f"{label + 1},{probability!r}" if known else ","
            yield f"{row},{sure},{prediction!r}\n" if finite else f"{row},{sure},\n"
