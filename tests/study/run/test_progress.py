"""What a running study looks like: a bar in a terminal, lines elsewhere, nothing when silent."""

import pytest
from rich.console import Console

from jaxmlr.study.run.progress import TrialProgress


def test_progress_is_lines_where_there_is_no_terminal(capsys):
    with TrialProgress("study", 10, 4, show=True) as shown:
        shown.start()
        shown.advance(3)
        shown.advance(3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "study: 4 of 10 trials are there, compiling"
    assert lines[-1].startswith("study: 10 of 10 trials, ")
    assert lines[-1].endswith("/s, 0 s left")


def test_progress_is_a_bar_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(Console, "is_terminal", True)
    with TrialProgress("study", 10, 0, show=True) as shown:
        shown.start()
        shown.advance(10)
    err = capsys.readouterr().err
    assert "study" in err
    assert "10/10" in err


def test_progress_is_silent_when_asked(capsys):
    with TrialProgress("study", 10, 0, show=False) as shown:
        shown.start()
        shown.advance(10)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_bar_is_taken_down_after_an_error(monkeypatch):
    monkeypatch.setattr(Console, "is_terminal", True)
    shown = TrialProgress("study", 10, 0, show=True)
    with pytest.raises(RuntimeError), shown:
        raise RuntimeError
    assert shown._bar.finished is False
    assert not shown._bar.live.is_started
