"""What a user sees of the package: its public names, and nothing else."""

import inspect
import pydoc
import subprocess
import sys

import jaxmlr


def test_dir_is_the_public_names():
    names = dir(jaxmlr)
    assert names == sorted(jaxmlr.__all__)
    assert len(set(names)) == len(names)
    assert not [name for name in names if name.startswith("_")]
    assert {"Study", "run_study", "registry", "testing", "em", "two_step", "processes"} <= set(names)
    modules = {name for name in names if inspect.ismodule(getattr(jaxmlr, name))}
    assert modules == {
        "batch",
        "datasets",
        "diagnostics",
        "disturbances",
        "drifts",
        "labels",
        "metrics",
        "processes",
        "registry",
        "testing",
        "theory",
    }


def test_every_public_name_is_documented():
    for name in dir(jaxmlr):
        assert inspect.getdoc(getattr(jaxmlr, name)), name


def test_help_lists_the_functions_and_nothing_private():
    text = pydoc.plain(pydoc.render_doc(jaxmlr))
    functions = text[text.index("\nFUNCTIONS\n") :]
    for name in ("em(", "two_step(", "run_study(", "simulate("):
        assert f"\n    {name}" in functions
    assert "\nDATA\n" not in text.replace("\nDATA\n    __all__ =", "")


def test_the_study_engine_is_imported_at_its_first_use():
    """The bare import is fast, and works without the extra `study`."""
    code = (
        "import sys, jaxmlr; assert not {'jaxmlr.study', 'xarray', 'zarr'} & set(sys.modules);"
        "jaxmlr.Study; assert 'jaxmlr.study' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    code = (
        "import importlib.util; find = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'xarray' else find(name, *rest);"
        "import jaxmlr; assert 'Study' not in dir(jaxmlr); from jaxmlr import *"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
