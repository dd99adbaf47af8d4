"""`jaxmlr stream`: lines of CSV in, a line of CSV or JSON out for each, at once."""

import codecs
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
from jaxmlr.fitting.raw_units import FirstRows
from jaxmlr.fitting.tables.dialect import Reading
from jaxmlr.fitting.tables.feed import Feed
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
    reading: Reading,
) -> None:
    """Answer every row of standard input; the arguments are the command's options.

    Raises:
      ValueError: what the user got wrong, in one line.
      OSError: a file that cannot be read or written.
    """
    _check.choice("--format", kind, FORMATS)
    estimator = methods.estimator(method, components, options)
    cache.keep()
    batches = _batches(sys.stdin.fileno(), reading)
    opening = next(batches, None)
    if opening is None:
        raise ValueError("standard input is empty; its first line must name the columns")
    feed = Feed(opening[0], response, reading)
    about = {"method": method, "components": components, "options": options, "columns": feed.names}
    live = Live(estimator, len(feed.names), seed, about | {"response": response})
    first = FirstRows(method, components, feed.regressors)
    if state is not None and state.exists():
        live.resume(state)
        say(f"going on after {live.rows:,} rows of {state}", file=sys.stderr)
    if kind == "csv":
        print("row,label,probability,prediction", flush=True)
    saved = live.rows
    try:
        for lines in itertools.chain([opening[1:]], batches):
            _answer(live, feed, lines, kind, first)
            if state is not None and live.rows - saved >= every:
                live.save(state)
                saved = live.rows
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - nothing more can be said there
    finally:
        if state is not None:
            live.save(state)


def _batches(source: int, reading: Reading) -> Iterator[list[str]]:
    """The whole lines of the table that are there, as soon as there is one."""
    decoder = codecs.getincrementaldecoder(reading.encoding or "utf-8-sig")("replace")
    skip, rest = reading.skip_rows or 0, ""
    while True:
        piece = os.read(source, 1 << 16)
        *lines, rest = (rest + decoder.decode(piece, final=not piece)).split("\n")
        if not piece and rest.strip():
            lines.append(rest)
        skip, lines = max(0, skip - len(lines)), lines[skip:]
        lines = [line.rstrip("\r") for line in lines]
        if reading.comment is not None:
            lines = [line for line in lines if not line.startswith(reading.comment)]
        if lines:
            yield lines
        if not piece:
            return


def _answer(live: Live, feed: Feed, lines: list[str], kind: str, watched: FirstRows) -> None:
    """Take rows and write a line for each."""
    table, y, said_of = feed.rows(lines, live.rows)
    if doubt := watched.update(np.delete(table, feed.place, axis=1)):
        said_of.append(f"{doubt}; `jaxmlr fit` on a file does so by itself")
    for sentence in said_of:
        say(sentence, file=sys.stderr)
    if not len(y):
        return
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
