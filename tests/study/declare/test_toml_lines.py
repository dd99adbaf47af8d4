"""Errors about a study name the line of its file."""

import pytest

from jaxmlr.study import Study
from jaxmlr.study.declare.toml_lines import line_of, lines

TEXT = """\
name = "lines"
trials = 4
steps = 10

[problem]
process = { kind = "growing", delta = 0.2 }
coefficients = [1.0]
p = 0.7

[estimators.seed]
method = "two_step"  # the paper's
bound = 3.0
[grid]
"problem.p" = [0.6, 0.8]
"""


def test_every_key_has_its_line():
    found = lines(TEXT)
    assert found["trials"] == 2
    assert found["problem.process.delta"] == 6
    assert found["estimators.seed"] == 10
    assert found["estimators.seed.bound"] == 12
    assert found["grid.problem.p"] == 14


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("trials = 4", "trails = 4", 2),
        ("trials = 4", "trials = 0", 2),
        ("delta = 0.2", "delta = -0.2", 6),
        ("delta = 0.2", "dleta = 0.2", 6),
        ("p = 0.7", "p = 1.7", 8),
        ('"two_step"', '"two_stop"', 11),
        ("bound = 3.0", "buond = 3.0", 12),
        ("bound = 3.0", 'bound = "wide"', 12),
        ("[0.6, 0.8]", "[0.6, 1.8]", 14),
        ("[0.6, 0.8]", "[]", 14),
    ],
)
def test_a_wrong_value_is_found(tmp_path, old, new, line):
    path = tmp_path / "study.toml"
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(ValueError, match=rf"study\.toml, line {line}\)$"):
        Study.from_toml(path)


def test_what_the_file_does_not_have_has_no_line():
    assert line_of(TEXT, "seed must be a whole number") is None
    assert line_of(TEXT, "(something else)") is None
