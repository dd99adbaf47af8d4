"""What the package imports is what it declares, and its other files agree with pyproject.toml."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import jaxmlr

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = {"scikit-learn": "sklearn"}  # distribution -> what is imported, where names differ
# Needed by a function of another library: xarray writes zarr and netCDF, pandas Parquet.
BY_OTHERS = {"zarr", "h5netcdf", "h5py", "pandas", "pyarrow"}
OPTIONAL = {"cluster": {"dask"}, "notebooks": {"ipykernel", "jupytext", "nbconvert"}}  # used, not imported
PLOT = ("fitting/style.py", "cli/trial_picture.py", "fitting/tables/picture.py", "study/results/*.py")
EXTRAS = {  # which files may import what an extra brings
    "study": ("study/**/*.py", "data/recorded.py", "cli/*.py", "_xla/cache.py", "fitting/tables/report.py"),
    "plot": PLOT,
    "data": ("fitting/**/*.py", "cli/*.py"),
    "sklearn": ("sklearn.py",),
    "river": ("river.py",),
}


def names(requirements: list[str]) -> set[str]:
    """Imported names of requirements, those of an extra of this project included."""
    packages = set()
    for text in requirements:
        own = re.match(r"jaxmlr\[(.+)\]", text)
        if own:
            packages |= names(PROJECT["project"]["optional-dependencies"][own[1]])
        else:
            name = re.match(r"[\w-]+", text)[0]
            packages.add(MODULES.get(name, name.replace("-", "_")))
    return packages


CORE = names(PROJECT["project"]["dependencies"])
BY_EXTRA = {extra: names(each) for extra, each in PROJECT["project"]["optional-dependencies"].items()}


def imported(path: Path) -> set[str]:
    """The foreign packages that a file imports."""
    packages = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            packages.add(node.module.partition(".")[0])
    return packages - {*sys.stdlib_module_names, "jaxmlr"}


FILES = {path.relative_to(ROOT / "jaxmlr"): imported(path) for path in (ROOT / "jaxmlr").rglob("*.py")}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_what_is_declared_for_it(path):
    allowed = CORE.copy()
    for extra, patterns in EXTRAS.items():
        if any((ROOT / "jaxmlr" / path) in (ROOT / "jaxmlr").glob(pattern) for pattern in patterns):
            allowed |= BY_EXTRA[extra]
    assert FILES[path] <= allowed


def test_what_is_declared_is_imported():
    used = set().union(*FILES.values())
    assert used >= CORE
    for extra, packages in BY_EXTRA.items():
        assert used | BY_OTHERS | OPTIONAL.get(extra, set()) >= packages


def test_the_hooks_have_the_versions_of_the_group():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (pinned,) = {*re.findall(r"ruff==([\d.]+)", hooks)}
    assert f"ruff~={pinned}" in PROJECT["dependency-groups"]["dev"]


def test_the_citation_has_the_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {jaxmlr.__version__}\n" in citation
    assert f"\nlicense: {PROJECT['project']['license']}\n" in citation


def test_the_changelog_is_in_the_usual_form():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.*)$", changelog, re.MULTILINE)
    assert sections[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", each) for each in sections[1:])
    kinds = re.findall(r"^### (.*)$", changelog, re.MULTILINE)
    assert {*kinds} <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_readme_is_short_and_its_files_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    for link in re.findall(r"\]\(([^)#]+)", readme):
        assert link.startswith("http") or (ROOT / link).exists(), link


def test_files_are_short_and_the_top_level_is_seen_at_once():
    package = ROOT / "jaxmlr"
    assert len([each for each in package.iterdir() if each.name != "__pycache__"]) <= 18
    lines = {path.name: len(path.read_text("utf-8").splitlines()) for path in package.rglob("*.py")}
    assert {name: n for name, n in lines.items() if n > 350} == {}
