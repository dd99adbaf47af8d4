"""`jaxmlr predict`: what a saved model says of new rows. Needs the extra `data`."""

import sys
from pathlib import Path

from jaxmlr import _check
from jaxmlr.fitting.model import Model
from jaxmlr.fitting.tables import columns, read, report
from jaxmlr.fitting.tables.dialect import Reading
from jaxmlr.fitting.terminal import say


def predict(
    model: Path, data: str, interval: float | None, given: str | None, out: Path | None, reading: Reading
) -> None:
    """Predict and print or save; the arguments are the command's options.

    Raises:
      ValueError: what the user got wrong, in one line.
      OSError: a file that cannot be read or written.
    """
    if interval is not None:
        _check.number("--interval", interval, above=0, below=1)
    loaded = Model.load(model / "model.json" if model.is_dir() else model)
    frame = read.read(data, reading)
    if given is not None:
        columns.column(frame, given)
        if given != loaded.design.response:
            raise ValueError(f"--given {given!r}: the response of the model is {loaded.design.response!r}")
    table = loaded.predict(frame, interval=interval, given=given is not None)
    missing = len(frame) - len(table)
    if missing:
        say(f"{missing:,} of {len(frame):,} rows left out for missing entries", file=sys.stderr)
    if out is None:
        table.to_csv(sys.stdout, index=False)
    else:
        say(str(report.save(table, out)))
