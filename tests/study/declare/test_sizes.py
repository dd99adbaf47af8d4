"""Studies that no machine can hold are refused at once, in one line."""

import tracemalloc

import jax
import pytest

from jaxmlr._xla import host
from jaxmlr.study import Study
from jaxmlr.study.compute.program import Program
from jaxmlr.study.declare.toml_lines import line_of

PROBLEM = {"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.7}
CUBE = {f"problem.{name}": {"linspace": [0.5, 0.9, 2000]} for name in ("p", "noise_variance", "x")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 2**31}, "trials must be less than 2147483648"),
        ({"steps": 2**31}, "steps must be less than"),
        ({"record": 2 * 10**9, "steps": 2**31 - 2}, "record must be at most 100,000, not 2,000,000,000"),
        ({"block": 2 * 10**9}, "block must be at most"),
        ({"problem": PROBLEM | {"coefficients": [1.0] * 10**5}}, "at most 10,000 regressors, not 100,000"),
        ({"problem": PROBLEM | {"coefficients": [[1.0] * 10**5] * 2}}, "at most 10,000 regressors"),
        (
            {"grid": {"problem.p": {"linspace": [0.5, 0.9, 10**9]}}},
            "at most 100,000 points, not 1,000,000,000",
        ),
        ({"grid": CUBE}, "grid must have at most 100,000 points, not 8,000,000,000"),
        ({"grid": {"zip": {"problem.p": {"logspace": [0.5, 0.9, 10**9]}}}}, "grid must have at most"),
        ({"grid": [CUBE, CUBE]}, "not 16,000,000,000"),
        (
            {"grid": {"problem.p": {"linspace": [0.5, 0.9, 10**5]}}, "record": 500},
            "recorded steps x metrics must be at most 50,000,000, not 150,000,000",
        ),
    ],
)
def test_what_no_machine_can_hold_is_refused_before_anything_is_made_of_it(changes, message):
    tracemalloc.start()
    options = {"name": "large", "problem": PROBLEM, "estimators": {"seed": {"method": "two_step"}}}
    try:
        with pytest.raises(ValueError, match=message) as error:
            Study(**options | {"trials": 10, "steps": 10} | changes)
        assert tracemalloc.get_traced_memory()[1] < 2**24  # of arrays too
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["x = " + "[" * 5000 + "]" * 5000, "x = " + "{a=" * 5000 + "1" + "}" * 5000])
def test_nested_brackets_are_refused(tmp_path, text):
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(ValueError, match=r"study\.toml"):
        Study.from_toml(tmp_path / "study.toml")


def test_a_block_that_needs_more_memory_than_there_is_is_one_error(plain, monkeypatch):
    monkeypatch.setattr(host, "memory", lambda: 1000)
    with pytest.raises(MemoryError, match="a block of 4 trials needs"):
        Program(plain, jax.local_devices()[0])


def test_the_line_of_what_follows_a_long_list_is_known():
    text = "\n".join(["x = [", *("1.0," for _ in range(100_000)), "]", "y = 1"])
    assert line_of(text, ("y",)) == 100_003
