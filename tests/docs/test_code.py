"""Every command and every block of code in README and on the site runs, at small sizes."""

import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jaxmlr.study import Study

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"python", "sh", "toml", "text"}  # text is not run: shown output, and what needs another machine
BASE = {
    "name": "a page without a study of its own",
    "trials": 8,
    "steps": 20_000,
    "problem": {"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.7},
    "estimators": {"seed": {"method": "two_step"}},
}
# Commands as they stand, but with a study's trials and steps cut down; pip must only name extras that exist.
JAXMLR = """#!{python}
import sys
from jaxmlr.__main__ import main
if sys.argv[1:2] == ["run"]:
    sys.argv += ["--trials", "4", "--set", "steps=200"]
main()
"""
PIP = """#!{python}
import re, sys, tomllib
extras = tomllib.load(open("{root}/pyproject.toml", "rb"))["project"]["optional-dependencies"]
named = re.findall(r"\\[([^]]*)\\]", " ".join(sys.argv))
assert named and {{*",".join(named).split(",")}} <= {{*extras}}, named
"""


def blocks(path: Path, *languages: str) -> list[str]:
    """The blocks of code of a page in some languages."""
    fenced = re.findall(r"^```(\w+)\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in fenced if language in languages]


def pages(*languages: str) -> list[object]:
    """The pages that have blocks in one of these languages."""
    return [pytest.param(path, id=path.name) for path in PAGES if path.exists() and blocks(path, *languages)]


def install(folder: Path, name: str, text: str) -> None:
    """Put a program into a folder."""
    path = folder / name
    path.write_text(text.format(python=sys.executable, root=ROOT), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with experiments and tables as in a clone, but which a command may write into."""
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    (tmp_path / "jaxmlr" / "data").mkdir(parents=True)
    (tmp_path / "jaxmlr" / "data" / "tables").symlink_to(ROOT / "jaxmlr" / "data" / "tables")
    (tmp_path / "bin").mkdir()
    install(tmp_path / "bin", "jaxmlr", JAXMLR)
    install(tmp_path / "bin", "pip", PIP)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    """What a command prints, run in a folder with this package and this Python first."""
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "MPLBACKEND": "agg",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_block_says_its_language(path):
    fences = re.findall(r"^```([^`\n]*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    opening = fences[::2]
    assert {each for each in opening if not each.startswith("{")} <= LANGUAGES
    assert not any(fences[1::2])


@pytest.mark.slow
@pytest.mark.parametrize("path", pages("python", "sh"))
def test_commands_and_then_the_python_of_a_page_run_from_top_to_bottom(path, folder):
    lines = "".join(blocks(path, "sh")).splitlines()
    elsewhere = ("-m venv", "-m sphinx")  # .ci/run and test_pages.py run these
    commands = [line for line in lines if not any(each in line for each in elsewhere)]
    (folder / "page.sh").write_text("set -euo pipefail\n" + "\n".join(commands) + "\n", encoding="utf-8")
    run(folder, "bash", "page.sh")
    program = folder / "page.py"
    program.write_text("\n".join(blocks(path, "python")), encoding="utf-8")
    assert "nan" not in run(folder, sys.executable, "-W", "error", str(program))


@pytest.mark.parametrize("path", pages("toml"))
def test_toml_of_a_page_is_a_study(path, folder, monkeypatch):
    (folder / "my_module.py").write_text("\n".join(blocks(path, "python")), encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    table = BASE
    for text in blocks(path, "toml"):
        block = tomllib.loads(text)
        if "problem" in block:
            table = block
        estimators = {**table["estimators"], **block.get("estimators", {})}
        table = {**table, **block, "estimators": estimators}
        study = Study(**table)
        assert study.size >= 1
