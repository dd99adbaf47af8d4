"""The site has every key of a study file and every public name, and every public name has a docstring."""

import dataclasses
import importlib.util
import inspect
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from jaxmlr import processes, registry
from jaxmlr.study import Problem, Study
from jaxmlr.study.declare import resolve

DOCS = Path(__file__).resolve().parents[2] / "docs"


def load(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages, docstrings = load("pages"), load("docstrings")
PUBLIC = {full: value for _, full, value in pages.documented()}


@pytest.mark.parametrize("described", [Study, Problem])
def test_every_key_of_a_study_file_has_a_row(described):
    table = pages.keys(described)
    for field in dataclasses.fields(described):
        assert f"\n| `{field.name}` | " in table


def test_a_key_without_a_description_is_refused():
    @dataclasses.dataclass
    class Short:
        """A key is missing.

        Attributes:
          described: this one.
        """

        described: int
        forgotten: int = 0

    with pytest.raises(ValueError, match=r"Short\.forgotten is not described"):
        pages.keys(Short)


def test_every_method_process_and_law_of_the_noise_has_a_row_with_its_options():
    fragments = pages.fragments()
    for name in (*registry.METHODS, *resolve.PROCESSES, *resolve.DISTURBANCES):
        assert any(f"| `{name}` | " in text for text in fragments.values())
    for name in inspect.signature(processes.closed_loop).parameters:
        assert f"`{name}" in fragments["processes"]


def test_every_command_has_its_options():
    program = subprocess.run(
        [sys.executable, "-m", "jaxmlr", "fit", "--help"], capture_output=True, text=True, check=True
    )
    table = pages.commands().partition("## `jaxmlr fit`")[2].partition("\n## ")[0]
    options = {*re.findall(r"--[a-z][a-z-]*", program.stdout)} - {"--help"}
    assert {"--response", "--components", "--out"} <= options
    for option in options:
        assert f"\n| `{option}" in table


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring(name):
    assert inspect.getdoc(PUBLIC[name])


def test_formulas_become_literal_blocks_and_bars_stay_bars():
    lines = [
        "The law of |x|:",
        "",
        "    y = |x|^2",
        "",
        "Args:",
        "  a: as `*` in",
        "    a list.",
        "",
        "After.",
    ]
    assert docstrings.converted(lines) == [
        r"The law of \|x\|:",
        "",
        "::",
        "",
        "    y = |x|^2",
        "",
        "Args:",
        "  a: as `*` in",
        "    a list.",
        "",
        "After.",
    ]


def test_comments_of_a_tuple_are_its_fields():
    from jaxmlr.recursive import TwoStepState

    assert "  scale: () q, estimates 1 / |2p - 1|" in docstrings.fields(TwoStepState)
    assert docstrings.fields(Study) == []


def inventory(path):
    """Names in an objects.inv."""
    data = path.read_bytes().split(b"\n", 4)[4]
    return {line.split(" ", 1)[0] for line in zlib.decompress(data).decode().splitlines()}


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_has_every_public_name(tmp_path):
    pytest.importorskip("myst_nb")
    pytest.importorskip("sphinx_book_theme")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "-D", "nb_execution_mode=off"]
    done = subprocess.run([*command, DOCS, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(PUBLIC) <= inventory(tmp_path / "objects.inv")
    assert "excit" in (tmp_path / "searchindex.js").read_text(encoding="utf-8")  # stems are searched
