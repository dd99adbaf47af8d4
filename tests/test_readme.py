"""The README's Python runs as it stands, in one session from top to bottom, and its settings exist."""

import re
import tomllib
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

from jaxmlr.study import Study, run_study

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_python_of_the_readme_runs_and_its_own_method_enters_a_study() -> None:
    session: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, session)  # the README is our own
    assert jnp.isfinite(session["state"].direction).all()
    table = {"method": session["sign_rule"], "step_size": 0.05}
    study = Study(
        name="readme",
        problem={"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.75},
        estimators={"mine": table},
        trials=8,
        steps=2000,
        record=1,
    )
    results = run_study(study, progress=False)
    assert float(results["coefficient_error_mean"].squeeze()) < 0.5


def test_the_study_of_the_readme_is_one() -> None:
    first, _ = map(tomllib.loads, blocks("toml"))
    assert Study(**first).points["estimators.seed.delta"] == [0.0, 0.1, 0.25, 0.4]


def test_the_grid_of_the_readme_fits_that_study() -> None:
    first, more = map(tomllib.loads, blocks("toml"))
    first["problem"]["process"] = {"kind": "decaying_ar"}
    study = Study(**first | more)
    assert [len(axis) for axis in study.axes] == [9, 2, 2]
