"""`jaxmlr stream`: a line for each row, and a stream that goes on where it stopped."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest


def feed(n=50):
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    y = np.where(rng.random(n) < 0.5, 1, -1) * x + 0.1 * rng.normal(size=n)
    return [f"{a!r},{b!r}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def stream(lines, *options, status=0, header="x,y"):
    done = subprocess.run(
        [sys.executable, "-m", "jaxmlr", "stream", "--response", "y", *map(str, options)],
        input="\n".join([header, *lines]) + "\n",
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.slow
def test_a_stream_that_is_stopped_goes_on_bit_for_bit(tmp_path):
    lines = feed()
    whole = stream(lines).stdout.splitlines()
    assert whole[0] == "row,label,probability,prediction"
    assert len(whole) == 51
    state = tmp_path / "state.npz"
    first = stream(lines[:20], "--state", state)
    second = stream(lines[20:], "--state", state)
    assert "going on after 20 rows" in second.stderr
    assert first.stdout.splitlines() + second.stdout.splitlines()[1:] == whole


@pytest.mark.slow
def test_json_lines_and_gaps():
    printed = [
        json.loads(line) for line in stream([*feed(3), "1.5,", "x,2"], "--format", "json").stdout.splitlines()
    ]
    assert [each["row"] for each in printed] == [1, 2, 3, 4, 5]
    assert printed[3]["label"] is None
    assert printed[3]["prediction"] is not None
    assert printed[4]["prediction"] is None


@pytest.mark.slow
def test_a_feed_in_another_dialect_gets_the_same_answers():
    lines = feed(20)
    german = [line.replace(",", ";").replace(".", ",") for line in lines]
    done = stream(lines)
    other = stream(["# made by us", *german], "--decimal", ",", "--comment", "#", header="x;y")
    assert other.stdout == done.stdout


@pytest.mark.slow
def test_bad_options_are_one_line():
    assert "has no option 'magic'" in stream(feed(2), "--option", "magic=1", status=2).stderr
