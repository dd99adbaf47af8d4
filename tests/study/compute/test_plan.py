"""Grids of all kinds: points against studies of their own, nothing computed or compiled twice."""

import jax
import numpy as np
import pytest

from jaxmlr.study import Study, run_study
from jaxmlr.study.compute import program as programs
from jaxmlr.study.compute.plan import is_static, plan

METHODS = {
    "seed": {"method": "two_step", "bound": 2.0},
    "other": {"method": "second_moment"},
}
EM = {"em": {"method": "em", "at": [30], "start": "truth"}}


def study(grid, **changes):
    options = {
        "name": "plan",
        "seed": 5,
        "trials": 6,
        "block": 4,
        "steps": 30,
        "record": [3, 30],
        "metrics": ["coefficient_error", "excess_misclassification"],
        "problem": {"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.7},
        "estimators": METHODS,
        "precision": "float64",
        "grid": grid,
    }
    return Study(**options | changes)


P, BOUND, GAIN, KIND = "problem.p", "estimators.seed.bound", "estimators.seed.gain", "problem.process"
GRIDS = {
    "two numbers": {P: [0.6, 0.8], BOUND: [1.0, 3.0]},
    "a choice of a method": {P: [0.6, 0.8], GAIN: ["em", "newton"]},
    "a choice of the problem": {
        KIND: [{"kind": "gaussian"}, {"kind": "growing", "delta": 0.2}],
        BOUND: [1.0, 3.0],
    },
    "together": {"zip": {P: [0.6, 0.8], "problem.noise_variance": [1.0, 0.5]}},
    "union": [{P: [0.6], BOUND: [1.0, 3.0]}, {P: [0.8], BOUND: [3.0]}],
    "of a batch method": {"estimators.em.max_iterations": [2, 5]},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GRIDS)
def test_the_first_and_the_last_point_are_studies_of_their_own(name):
    whole = study(GRIDS[name], estimators=METHODS | EM if "batch" in name else METHODS)
    results = run_study(whole, progress=False)
    axes = [axis.name for axis in whole.axes]
    flat = results.stack(all=axes).transpose(..., "all") if axes else results
    for k in (0, whole.size - 1):  # a program is compiled for each
        point = {path: column[k] for path, column in whole.points.items()}
        alone = run_study(whole.at(point), progress=False)
        at_point = flat.isel(all=k)
        for variable in alone.data_vars:
            np.testing.assert_allclose(
                at_point[variable].values,
                alone[variable].values,
                rtol=1e-6 if variable.endswith(("sd", "se")) else 1e-8,
                atol=1e-10,
                err_msg=f"{name} {point} {variable}",
            )


@pytest.mark.parametrize(
    ("path", "numbers", "static"),
    [
        ("problem.p", [0.6, 0.7], False),
        ("problem.process.scale", [0.1, 0.2], False),
        ("estimators.seed.bound", [1.0, 2.0], False),
        ("estimators.seed.gain", ["em", "newton"], True),
        ("estimators.em.ridge", [0.1, 0.2], False),
        ("estimators.em.max_iterations", [3, 9], True),
    ],
)
def test_numbers_that_a_method_cannot_take_traced_are_choices(path, numbers, static):
    assert is_static(study({path: numbers}, estimators=METHODS | EM), path, numbers) is static


def rows(grid):
    return {name: len(places) for name, places in plan(study(grid, estimators=METHODS | EM)).places.items()}


def test_the_axes_of_one_method_do_not_multiply_the_others():
    assert rows(GRIDS["two numbers"]) == {"seed": 4, "other": 2, "em": 2}
    assert rows(GRIDS["a choice of a method"]) == {"seed": 4, "other": 2, "em": 2}
    assert rows(GRIDS["union"]) == {"seed": 3, "other": 2, "em": 2}
    assert rows(GRIDS["of a batch method"]) == {"seed": 1, "other": 1, "em": 2}


@pytest.mark.parametrize(
    ("grid", "compiled"),
    [
        pytest.param({}, 1, marks=pytest.mark.slow),
        ({P: [0.55, 0.6, 0.7, 0.8], BOUND: [1.0, 2.0, 3.0]}, 1),
        pytest.param({GAIN: ["em", "newton"], P: [0.6, 0.8]}, 1, marks=pytest.mark.slow),
        ({KIND: [{"kind": "gaussian"}, {"kind": "growing"}], P: [0.6, 0.8]}, 2),
    ],
)
def test_one_compilation_for_each_shape_of_program(grid, compiled, monkeypatch):
    calls = []
    real = programs.compiled
    monkeypatch.setattr(programs, "compiled", lambda *args: calls.append(args) or real(*args))
    planned = study(grid, seed=100 + len(grid) + 10 * compiled, estimators={"seed": METHODS["seed"]})
    device = jax.local_devices()[0]
    for block in range(planned.blocks):
        programs.program(planned, device)(block)
    assert len(calls) == compiled
    assert len(plan(planned).cells) == compiled


def test_old_programs_are_let_go(monkeypatch):
    monkeypatch.setattr(programs, "PROGRAMS", 2)
    monkeypatch.setattr(programs, "_programs", type(programs._programs)())
    monkeypatch.setattr(programs.Program, "_compile", lambda self, cell: None)
    device = jax.local_devices()[0]
    for seed in range(4):
        programs.program(study({}, seed=seed), device)
    assert len(programs._programs) == 2
    assert set(programs._compiling) >= set(programs._programs)
