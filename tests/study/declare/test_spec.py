"""What a study accepts, what it says of bad input, and what makes two studies the same."""

import dataclasses
import math
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest
import tomli_w

from jaxmlr import oracle, two_step
from jaxmlr.study import Problem, Study, StudyError

ROWS = {
    "name": "tiny",
    "seed": 7,
    "trials": 20,
    "steps": 30,
    "record": [1, 30],
    "metrics": ["coefficient_error", "scale"],
    "problem": {
        "process": {"kind": "decaying_ar", "pole": 0.5},
        "coefficients": [1.0, -1.5],
        "p": 0.6,
        "noise_variance": 0.5,
    },
    "estimators": {"paper": {"method": "two_step", "bound": math.inf}, "truth": {"method": "oracle"}},
    "grid": {"problem.p": [0.6, 0.75]},
    "block": 8,
    "precision": "float64",
}
GENERAL = {
    "process": {"kind": "gaussian", "mean": [0.0, 1.0]},
    "coefficients": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    "weights": [0.2, 0.3, 0.5],
    "noise_variance": [1.0, 2.0, 3.0],
}


def tiny(**changes):
    return Study(**ROWS | changes)


def problem(**changes):
    return {"problem": ROWS["problem"] | changes}


def without(name):
    return {"problem": {k: v for k, v in ROWS["problem"].items() if k != name}}


def method(**options):
    return {"estimators": {"paper": {"method": "two_step"} | options}}


def process(**table):
    return problem(process=table)


# ---- TOML -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"record": 5, "block": None, "grid": {}},
        {
            "problem": GENERAL,
            "estimators": {"o": {"method": "oracle"}},
            "grid": {},
            "metrics": ["misclassification"],
        },
        {"estimators": {"mine": {"method": "jaxmlr:two_step", "initial_direction": [0.1, 0.2]}}},
        {"problem": ROWS["problem"] | {"coefficients": np.array([1.0, -1.5])}},
    ],
)
def test_a_study_survives_toml(tmp_path, changes):
    study = tiny(**changes)
    file = tmp_path / "study.toml"
    file.write_text(tomli_w.dumps(study.to_table()))
    back = Study.from_toml(file)
    assert back.to_table() == study.to_table()
    assert back.fingerprint() == study.fingerprint()
    np.testing.assert_array_equal(back.recorded, study.recorded)


def test_the_main_job_is_the_simulation_of_the_paper():
    study = Study.from_toml(Path(__file__).resolve().parents[3] / "experiments" / "convergence.toml")
    assert (study.trials, study.steps, study.grid["problem.p"]) == (1000, 100_000, [0.6, 0.75])
    assert study.problem.process == {"kind": "decaying_ar", "pole": 0.8, "decay": 0.1}
    options = [
        (t.get("gain"), t.get("bound")) for t in study.estimators.values() if t["method"] == "two_step"
    ]
    assert sorted(options) == [("em", 1.0), ("em", 3.0), ("newton", 1.0), ("newton", 3.0)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(tomli_w.dumps({k: v for k, v in ROWS.items()}))
    return path


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("trials", 3, lambda s: s.trials),
        ("problem.noise_variance", 4.0, lambda s: s.problem.noise_variance),
        ("problem.process.pole", 0.1, lambda s: s.problem.process["pole"]),
        ("problem.process.decay", 0.2, lambda s: s.problem.process["decay"]),
        ("estimators.paper.bound", 2.0, lambda s: s.estimators["paper"]["bound"]),
        ("estimators.paper.delta", 0.25, lambda s: s.estimators["paper"]["delta"]),
        ("grid.problem.p", [0.7], lambda s: s.grid["problem.p"]),
        ("metrics", ["scale"], lambda s: s.metrics),
        ("grid", {}, lambda s: s.grid),
    ],
)
def test_an_override_replaces_one_value(file, key, value, read):
    changed, original = Study.from_toml(file, {key: value}), Study.from_toml(file)
    assert read(changed) == value
    assert changed.fingerprint() != original.fingerprint()


def test_an_override_may_be_the_first_axis(file):
    file.write_text(tomli_w.dumps({key: value for key, value in ROWS.items() if key != "grid"}))
    assert Study.from_toml(file, {"grid.problem.p": [0.6, 0.7]}).size == 2


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("trails", "study: unknown name 'trails'; did you mean 'trials'"),
        ("problem.noise_varience", "problem: unknown name 'noise_varience'; did you mean 'noise_variance'"),
        ("estimators.papr.bound", "did you mean 'paper'"),
        ("estimators.paper.bond", "estimators.paper: unknown name 'bond'; did you mean 'bound'"),
        ("problem.p.x", "problem.p"),
        ("trials.x", "there is nothing called 'x' inside a value"),
        ("problem.p", "problem.p is an axis of the grid; set grid.problem.p to a list instead"),
        ("", "unknown name ''"),
    ],
)
def test_an_override_of_nothing_says_so(file, key, message):
    with pytest.raises(ValueError, match=message):
        Study.from_toml(file, {key: 1})


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_what_is_not_toml_is_named(tmp_path, content):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.toml is not TOML"):
        Study.from_toml(path)


@pytest.mark.parametrize("name", ["name", "problem", "estimators", "trials", "steps"])
def test_what_is_missing_is_named(tmp_path, name):
    path = tmp_path / "study.toml"
    path.write_text(tomli_w.dumps({k: v for k, v in ROWS.items() if k != name}))
    with pytest.raises(ValueError, match=f"^{name} is missing"):
        Study.from_toml(path)


# ---- bad input --------------------------------------------------------------------------------------

BAD = [
    ({"name": 3}, "name must be a text"),
    ({"name": ""}, "name must be a text"),
    ({"name": "a/b"}, "name must be a text that can name a file"),
    ({"trials": 0}, "trials must be a whole number of at least 1, not 0"),
    ({"trials": 2.5}, "trials must be a whole number"),
    ({"trials": True}, "trials must be a whole number"),
    ({"trials": 2**31}, "trials must be less than 2147483648"),
    ({"steps": -1}, "steps must be a whole number"),
    ({"steps": "many"}, "steps must be a whole number"),
    ({"steps": 2**31}, "steps must be less than"),
    ({"seed": -1}, "seed must be a whole number of at least 0"),
    ({"seed": 2**63}, "seed must be less than"),
    ({"block": 0}, "block must be a whole number"),
    ({"precision": "float16"}, "precision must be one of 'float32', 'float64', not 'float16'"),
    ({"precision": 64}, "precision must be one of"),
    ({"record": 0}, "record must be a whole number"),
    ({"record": "all"}, "record must be a whole number"),
    ({"record": []}, "record must be a whole number"),
    ({"record": [1, 2.5]}, "record must be a whole number"),
    ({"record": [1, 31]}, "record must hold steps up to 30, not 31"),
    ({"metrics": "scale"}, "metrics must be a list of names"),
    ({"metrics": 3}, "metrics must be a list of names, not 3"),
    ({"metrics": []}, "metrics must be a list of names"),
    ({"metrics": [1]}, r"metrics must be a list of names, not \[1\]"),
    ({"metrics": ["coeficient_error"]}, "metrics: unknown name .* did you mean 'coefficient_error'"),
    ({"problem": 3}, "problem must be a table"),
    (problem(noise_varience=1.0), "did you mean 'noise_variance'"),
    (problem(coefficients="x"), "problem.coefficients must be numbers, not 'x'"),
    (problem(coefficients=[]), "problem.coefficients must be"),
    (problem(coefficients=1.0), "problem.coefficients must be"),
    (problem(coefficients=[[[1.0]]]), "problem.coefficients must be"),
    (problem(coefficients=[[1.0], [1.0, 2.0]]), "problem.coefficients must be numbers"),
    (problem(coefficients=[1.0, math.nan]), r"problem.coefficients must be finite, not \[1.0, nan\]"),
    (problem(coefficients=[1.0, math.inf]), "problem.coefficients must be finite"),
    (problem(coefficients=[[1.0], [2.0]]), "either coefficients"),
    (problem(p=0.0), "problem.p must be greater than 0"),
    (problem(p=1.0), "problem.p must be greater than 0 and less than 1"),
    (problem(p=math.nan), "problem.p must be"),
    (problem(p="0.5"), "problem.p must be a number, not '0.5'"),
    (problem(p=True), "problem.p must be a number"),
    (problem(p=[0.5, 0.6]), "problem.p must be a number"),
    (problem(weights=[0.5, 0.5]), "either coefficients"),
    (without("p"), "either coefficients"),
    (without("coefficients"), "problem.coefficients is missing"),
    (without("process"), "problem.process is missing"),
    (problem(noise_variance=-1.0), "problem.noise_variance must be greater than 0"),
    (problem(noise_variance=0), "problem.noise_variance must be greater than 0"),
    (problem(noise_variance=math.nan), "problem.noise_variance must be"),
    (problem(noise_variance=[1.0, 2.0, 3.0]), r"problem.noise_variance must have shape \(\) or \(2,\)"),
    ({"problem": GENERAL | {"weights": [0.5, 0.6, 0.7]}}, "problem.weights must sum to 1"),
    ({"problem": GENERAL | {"weights": [0.5, 0.5]}}, r"problem.weights must have shape \(3,\)"),
    ({"problem": GENERAL | {"weights": [1.2, -0.1, -0.1]}}, "problem.weights must be greater than 0"),
    ({"problem": GENERAL, "grid": {}}, "estimators.paper: noise_variance must be one number"),
    (
        {"problem": GENERAL, "grid": {}, "estimators": {"o": {"method": "oracle"}}},
        "metrics: scale is defined for 2 components",
    ),
    (problem(process="gaussian"), "problem.process must be a table with a kind"),
    (process(pole=0.5), "problem.process: kind is missing"),
    (process(kind="decayng_ar"), "problem.process.kind: unknown name .* did you mean 'decaying_ar'"),
    (process(kind=3), "problem.process.kind: unknown name '3'"),
    (process(kind="ar", pol=0.5), "problem.process: unknown name 'pol'; did you mean 'pole'"),
    (process(kind="ar", pole=1.5), "problem.process: pole must be greater than -1 and less than 1"),
    (process(kind="ar", pole="x"), "problem.process: pole must be a number"),
    (process(kind="ar", pole=True), "problem.process: pole must be a number"),
    (process(kind="gaussian", mean=[1.0, 2.0, 3.0]), "problem.process: "),
    (process(kind="unexcited", direction=[1.0, 2.0, 3.0]), r"direction must have shape \(2,\)"),
    ({"estimators": {}}, "estimators must be a table with at least one method"),
    ({"estimators": []}, "estimators must be a table"),
    ({"estimators": {"a": 3}}, "estimators.a must be a table with a method"),
    ({"estimators": {"a": {}}}, "estimators.a: method is missing; it must be one of two_step"),
    ({"estimators": {"<oracle>": {"method": "oracle"}}}, "must be a text and not begin with '<'"),
    (method(method="two_stp"), "estimators.paper.method: unknown name .* did you mean 'two_step'"),
    (method(method=["two_step"]), "estimators.paper.method must be a name"),
    (method(method="no_such_module:f"), "estimators.paper.method: cannot import"),
    (method(method="json:no_such_name"), "estimators.paper.method: cannot import"),
    (method(method=":f"), "estimators.paper.method: cannot import"),
    (method(method="os:path"), "'os:path' is not a function"),
    (method(method="os:getcwd"), "returns .*, which is no Estimator"),
    (method(bund=1.0), "estimators.paper: unknown name 'bund'; did you mean 'bound'"),
    (method(delta=-0.1), "estimators.paper: delta must be at least 0"),
    (method(delta="x"), "estimators.paper: delta must be a number, not 'x'"),
    (method(gain="sgd"), "estimators.paper: gain must be one of 'em', 'newton'"),
    (method(gain=3), "estimators.paper: gain must be one of"),
    (method(initial_direction=[1.0, 2.0, 3.0]), "estimators.paper: initial_direction must have shape"),
    (method(noise_variance=[1.0, 2.0, 3.0]), "estimators.paper: "),
    (method(method="oracle", mixture=3), "estimators.paper: mixture must be a Mixture"),
    ({"grid": 3}, "grid must be a table"),
    ({"grid": {"problem.p": 0.6}}, "grid: problem.p must be a list of numbers"),
    ({"grid": {"problem.p": []}}, "grid: problem.p must be a list of numbers"),
    ({"grid": {"problem.p": ["a"]}}, "grid: problem.p must be a number"),
    ({"grid": {"problem.p": [0.6, 1.2]}}, "problem.p must be greater than 0 and less than 1"),
    ({"grid": {"problem.p": [0.6, 0.6]}}, "grid: problem.p must not repeat a value"),
    ({"grid": {"problem.noise_varianc": [1.0]}}, "did you mean 'noise_variance'"),
    ({"grid": {"problem": [1.0]}}, "grid: problem is not a number"),
    ({"grid": {"problem.coefficients": [1.0]}}, "grid: problem.coefficients is not a number"),
    ({"grid": {"problem.p.x": [1.0]}}, "nothing called 'x'"),
    ({"grid": {"estimators.papr.bound": [1.0]}}, "did you mean 'paper'"),
    ({"grid": {"estimators.paper.bund": [1.0]}}, "did you mean 'bound'"),
    ({"grid": {"estimators.paper.gain": [1.0]}}, "gain must be one of"),
    ({"grid": {"estimators.paper.method": [1.0]}}, "estimators.paper.method is not a number"),
    ({"grid": {"estimators.paper.bound": [-1.0]}}, "bound must be greater than 0"),
    ({"grid": {"seed": [1, 2]}}, "grid: seed is neither a number of the problem nor a method's option"),
    ({"grid": {"": [1]}}, "grid: "),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_input_is_one_line_that_names_the_thing(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        tiny(**changes)
    assert "\n" not in str(caught.value)


def test_more_components_than_can_be_matched_are_refused():
    many = {
        "process": {"kind": "gaussian"},
        "coefficients": [[float(k)] for k in range(7)],
        "weights": [1 / 7] * 7,
    }
    options = {"problem": many, "estimators": {"o": {"method": "oracle"}}, "grid": {}}
    assert tiny(**options, metrics=["within_cluster_error"]).problem.dim == 1
    with pytest.raises(ValueError, match="misclassification takes at most 6 components, the problem has 7"):
        tiny(**options, metrics=["misclassification"])


def test_a_general_problem_is_the_mixture_it_says():
    mixture = Problem(**GENERAL).mixture("float32")
    np.testing.assert_array_equal(mixture.coefficients, GENERAL["coefficients"])
    np.testing.assert_allclose(mixture.weights, GENERAL["weights"], rtol=1e-7)
    assert mixture.noise_variance.shape == (3,)
    assert {leaf.dtype.name for leaf in mixture} == {"float32"}


# ---- the grid ---------------------------------------------------------------------------------------


def test_points_are_all_combinations_with_the_last_axis_fastest():
    study = tiny(grid={"problem.p": [0.6, 0.7], "estimators.paper.bound": [1.0, 2.0, math.inf]})
    np.testing.assert_array_equal(study.points["problem.p"], [0.6] * 3 + [0.7] * 3)
    np.testing.assert_array_equal(study.points["estimators.paper.bound"], [1.0, 2.0, math.inf] * 2)


def test_a_point_of_the_grid_replaces_numbers_perhaps_by_traced_ones():
    study = tiny()
    at_point = study.at({"problem.p": 0.8, "estimators.paper.delta": 0.25})
    assert (at_point.problem.p, at_point.estimators["paper"]["delta"], dict(at_point.grid)) == (0.8, 0.25, {})
    assert study.problem.p == 0.6
    weights = jax.jit(lambda p: study.at({"problem.p": p}).problem.mixture("float64").weights)(0.8)
    np.testing.assert_allclose(weights, [0.8, 0.2], rtol=1e-15)


def test_a_grid_builds_no_method_again():
    calls = []

    def mine(noise_variance=1.0, *, gain=1.0):
        calls.append(gain)
        return two_step(noise_variance)

    many = {"linspace": [0.55, 0.95, 100]}
    study = tiny(
        estimators={"mine": {"method": mine}, "paper": ROWS["estimators"]["paper"]},
        grid={"problem.p": many, "estimators.paper.delta": many},
    )
    assert study.size == 10_000
    assert calls == [1.0]


@pytest.mark.parametrize("wrong", [-1.0, math.nan])
@pytest.mark.parametrize("place", [0, 500, 999])
def test_a_wrong_value_in_a_long_axis_is_named(wrong, place):
    path, values = "estimators.paper.delta", [k / 1000 for k in range(1000)]
    values[place:place] = [wrong]
    with pytest.raises(StudyError, match=rf"delta must be .*, not {wrong}$") as caught:
        tiny(grid={path: values})
    assert caught.value.path == ("grid", path, place)


# ---- the fingerprint ---------------------------------------------------------------------------------

CHANGES = [
    {"name": "other"},
    {"seed": 8},
    {"trials": 21},
    {"steps": 31},
    {"record": [1, 29]},
    {"metrics": ["coefficient_error"]},
    {"reference": "paper"},
    {"until": {"metric": "scale", "standard_error": 0.1}},
    {"keep": 3},
    {"diagnostics": True},
    {"arguments": True},
    {"grid": {"problem.p": [0.6, 0.76]}},
    {"grid": {}},
    {"block": 9},
    {"precision": "float32"},
    problem(p=0.61),
    problem(coefficients=[1.0, -1.6]),
    problem(noise_variance=0.6),
    process(kind="decaying_ar", pole=0.6),
    process(kind="ar", pole=0.5),
    {"estimators": ROWS["estimators"] | {"paper": {"method": "two_step", "bound": 2.0}}},
    {"estimators": ROWS["estimators"] | {"paper": {"method": oracle}}},
    {"estimators": {"paper": ROWS["estimators"]["paper"]}},
]


def test_the_fingerprint_knows_every_field():
    changed = [tiny(**change).fingerprint() for change in CHANGES]
    assert len({*changed, tiny().fingerprint()}) == len(CHANGES) + 1
    fields = {field.name for field in dataclasses.fields(Study)}
    assert fields == {key for change in CHANGES for key in change}


def test_the_fingerprint_does_not_depend_on_how_the_study_was_written():
    written = tomllib.loads(tomli_w.dumps(ROWS))
    same = tiny(problem=Problem(**ROWS["problem"]), record=(1, 30), metrics=tuple(ROWS["metrics"]))
    assert Study(**written).fingerprint() == tiny().fingerprint() == same.fingerprint()
