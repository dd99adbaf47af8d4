"""Errors about a study name the line of its file."""

import pickle
import tomllib

import pytest

from jaxmlr.study import Study, StudyError
from jaxmlr.study.declare.toml_lines import line_of, lines

TEXT = """\
name = "lines"
trials = 4
steps = 10
record = [
  1,  # the first
  10,
]

[problem]
process = { kind = "growing", delta = 0.2 }
coefficients = [1.0]
p = 0.7

[estimators."em, C = 3"]  # a quoted key
method = "two_step"
bound = 3.0
[estimators]
'plain.dots'.method = "online_em"
'plain.dots'.start = { coefficients = [[1.0], [2.0]], weights = [0.5, 0.5] }
[grid]
"problem.p" = [
  0.6,
  0.8,
]
[[grid.zip]]
"problem.process.delta" = [0.1, 0.2]
"problem.noise_variance" = [1.0, 2.0]
[[grid.zip]]
'estimators.em, C = 3.delta' = [0.1, 0.2]
"""

DOCUMENTS = [  # a document, a path, its line
    (TEXT, ("trials",), 2),
    (TEXT, ("record", 1), 6),
    (TEXT, ("problem", "process", "delta"), 10),
    (TEXT, ("estimators", "em, C = 3"), 14),
    (TEXT, ("estimators", "em, C = 3", "bound"), 16),
    (TEXT, ("estimators", "plain.dots", "start", "weights"), 19),
    (TEXT, ("grid", "problem.p", 1), 23),
    (TEXT, ("grid", "zip", 0, "problem.noise_variance", 0), 27),
    (TEXT, ("grid", "zip", 1), 28),
    (TEXT, ("problem", "p", "no such key"), 12),
    (TEXT, ("seed",), None),
    (TEXT, (), None),
    ('a = """\nb = 1\\"""""\nb = 2', ("b",), 3),
    ("a = '''\nb = 1'''\nb = '#'", ("b",), 3),
    ('"a\\"]" = 1\n["x]".b]\nc = "]"\nd = 1', ("x]", "b", "d"), 4),
    ("a = [ # [\n '[', {b = 1}, [2, 3],\n [4]]\nc = 1", ("a", 1, "b"), 2),
    ("a = [ # [\n '[', {b = 1}, [2, 3],\n [4]]\nc = 1", ("c",), 4),
    ("[[a.b]]\n[[a.b.c]]\nd = 1\n[[a.b]]\n[[a.b.c]]\n[a.b.c.e]\nf = 1", ("a", "b", 1, "c", 0, "e", "f"), 7),
    ("a = {}\r\nb = []\r\nc = 1979-05-27 07:32:00\r\nd = -inf # d", ("d",), 4),
    ('"\u00e9" = 1\n a . "b" . c = 2', ("a", "b", "c"), 2),
]


@pytest.mark.parametrize(("text", "path", "line"), DOCUMENTS)
def test_every_key_and_element_has_its_line(text, path, line):
    assert line_of(text, path) == line


def test_lines_are_those_of_the_keys_that_the_parser_reads():
    def walk(node, path=()):
        if path:
            yield path
        pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in pairs:
            yield from walk(child, (*path, key))

    for text, _, _ in DOCUMENTS:
        assert {*walk(tomllib.loads(text))} <= {*lines(text)}


@pytest.mark.parametrize(
    ("old", "new", "line", "path"),
    [
        ("trials = 4", "trails = 4", 2, ("trails",)),
        ("trials = 4", "trials = 0", 2, ("trials",)),
        ("  10,\n", "  11,\n", 6, ("record", 1)),
        ("delta = 0.2", "delta = -0.2", 10, ("problem", "process", "delta")),
        ("delta = 0.2", "dleta = 0.2", 10, ("problem", "process", "dleta")),
        ("p = 0.7", "p = 1.7", 12, ("problem", "p")),
        ('"two_step"', '"two_stop"', 15, ("estimators", "em, C = 3", "method")),
        ("bound = 3.0", "buond = 3.0", 16, ("estimators", "em, C = 3", "buond")),
        ("bound = 3.0", 'bound = "wide"', 16, ("estimators", "em, C = 3", "bound")),
        ("bound = 3.0", "delay = -1", 16, ("estimators", "em, C = 3", "delay")),
        ("bound = 3.0", "initial_direction = [1, 2]", 16, ("estimators", "em, C = 3", "initial_direction")),
        ("[0.5, 0.5]", "[0.5, 0.6]", 19, ("estimators", "plain.dots", "start")),
        ("[[1.0], [2.0]]", "[[1.0, 2.0], [2.0, 1.0]]", 19, ("estimators", "plain.dots", "start")),
        ("  0.8", "  1.8", 23, ("grid", "problem.p", 1)),
        ("[\n  0.6,\n  0.8,\n]", "[]", 21, ("grid", "problem.p")),
        ("[1.0, 2.0]", "[1.0, -2.0]", 27, ("grid", "zip", 0, "problem.noise_variance", 1)),
        (
            "delta' = [0.1, 0.2]",
            "delta' = [0.1, -0.2]",
            29,
            ("grid", "zip", 1, "estimators.em, C = 3.delta", 1),
        ),
    ],
)
def test_a_wrong_value_is_found(tmp_path, old, new, line, path):
    file = tmp_path / "study.toml"
    assert old in TEXT
    file.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(StudyError, match=rf"study\.toml, line {line}\)$") as caught:
        Study.from_toml(file)
    assert caught.value.path == path
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.path, again.reason, str(again)) == (path, caught.value.reason, str(caught.value))


def test_what_an_override_says_has_no_line(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(TEXT)
    assert Study.from_toml(file).trials == 4
    with pytest.raises(StudyError, match=r"not 0$") as caught:
        Study.from_toml(file, {"trials": 0})
    assert caught.value.path == ("trials",)
