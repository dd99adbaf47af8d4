"""Names that hold markup or control characters are shown as the text that they are."""

import io

import pytest
from rich.table import Table

from jaxmlr.fitting.terminal import Terminal, printable, say
from jaxmlr.study.run.progress import TrialProgress

NAMES = [
    "speed [km/h]",
    "rate [/s]",
    "x[/bold]",
    "[red]",
    ":warning:",
    "a\x1b[31mb",
    "\x07\x9b",
    "\u202eabc",
    "\\[",
]


@pytest.mark.parametrize("name", NAMES)
def test_titles_headings_and_cells_are_text(name):
    file = io.StringIO()
    table = Table(name, title=name)
    table.add_row(name)
    Terminal(file=file, width=100).print(table)
    assert file.getvalue().count(printable(name)) == 3
    assert printable(name).isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_text(name, capsys):
    say(name)
    with TrialProgress(name, 2, 0, show=True) as shown:
        shown.wait(name)
    out, err = capsys.readouterr()
    assert out == printable(name) + "\n"
    assert "\x1b" not in err
    assert err.count(printable(name)) == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_bar_is_text(name, monkeypatch, capsys):
    monkeypatch.setattr(Terminal, "is_terminal", True)
    monkeypatch.setenv("COLUMNS", "200")
    with TrialProgress(name, 2, 0, show=True) as shown:
        shown.advance(2)
    assert printable(name) in capsys.readouterr().err


def test_a_stream_that_lacks_a_letter_gets_its_number():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("größe", file=file)
    assert file.buffer.getvalue() == b"gr\\xf6\\xdfe\n"
