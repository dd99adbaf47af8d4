"""The compiled block of a study: what it returns, how often it is made, and what it leaves alone."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxmlr import two_step
from jaxmlr._xla.target import aimed_at
from jaxmlr.data import follow
from jaxmlr.study import Study, run_block, run_study
from jaxmlr.study.compute.program import ORACLE, Program, program

ROOT = Path(__file__).resolve().parents[3]


def test_the_last_block_counts_only_the_trials_that_exist(plain):
    errors = [run_block(plain, block)["seed"]["coefficient_error"] for block in range(3)]
    assert [np.unique(np.isfinite(e).sum(axis=-1)).tolist() for e in errors] == [[4], [4], [2]]


def test_a_block_holds_the_recorded_steps_and_nothing_of_the_length_of_a_trial(plain):
    values = run_block(plain, 0)
    assert set(values) == {"seed", ORACLE}
    assert set(values[ORACLE]) == {"misclassification", "finite"}
    assert {array.shape for table in values.values() for array in table.values()} == {(1, 3, 4)}


def test_a_study_is_compiled_once_for_each_device(plain, plain_results, monkeypatch):
    run_study(plain, progress=False)  # its program may have been let go
    compiled = []
    monkeypatch.setattr(Program, "_compile", lambda self, *args: compiled.append(self))
    again = run_study(plain, progress=False)
    assert again.drop_attrs().identical(plain_results.drop_attrs())
    assert compiled == []


def test_threads_that_ask_at_once_compile_once(plain, monkeypatch):
    compiled = []

    def slow(self, *args):
        compiled.append(self)
        time.sleep(0.05)
        return lambda first, points: {}

    monkeypatch.setattr(Program, "_compile", slow)
    fresh = type(plain)(**{**vars(plain), "seed": 4321})
    with ThreadPoolExecutor(3) as executor:
        list(executor.map(lambda _: program(fresh, jax.local_devices()[0]), range(3)))
    assert len(compiled) == 1


def test_what_does_not_change_the_program_does_not_compile_it_again(plain, plain_results, monkeypatch):
    run_study(plain, progress=False)  # its program may have been let go
    monkeypatch.setattr(Program, "_compile", lambda self, cell: pytest.fail("compiled"))
    same = {"name": "other", "keep": 2, "reference": "seed"}
    again = run_study(type(plain)(**vars(plain) | same), progress=False)
    for name in plain_results.data_vars:
        np.testing.assert_array_equal(again[name], plain_results[name])


def test_a_block_does_not_check_the_study_again(plain, plain_results, monkeypatch):
    first = run_block(plain, 0)
    monkeypatch.setattr(type(plain), "__post_init__", lambda self: pytest.fail("checked"))
    again = run_block(plain, 0)
    np.testing.assert_array_equal(again["seed"]["finite"], first["seed"]["finite"])


def test_two_functions_of_one_name_are_two_methods(plain, monkeypatch):
    studies = []
    monkeypatch.setattr(Program, "__init__", lambda self, study, device, chosen: studies.append(study))
    study = []
    for bound in (1.0, 2.0):
        table = {"a": {"method": lambda noise_variance, bound=bound: two_step(noise_variance, bound=bound)}}
        study.append(type(plain)(**{**vars(plain), "estimators": table}))
    assert study[0].fingerprint() == study[1].fingerprint()
    programs = [program(s, jax.local_devices()[0]) for s in study]
    assert len(studies) == 2
    assert programs[0] is not programs[1]
    assert program(study[0], jax.local_devices()[0]) is programs[0]


def test_float64_needs_no_setting_and_leaves_none_behind():
    script = """
import jax, numpy as np
before = {name: getattr(jax.config, name) for name in ("jax_enable_x64", "jax_num_cpu_devices")}
from jaxmlr.study import Study, run_block
study = Study(name="double", trials=4, steps=5, record=1, metrics=["coefficient_error"], precision="float64",
              problem=dict(process=dict(kind="gaussian"), coefficients=[1.0, -1.5], p=0.7),
              estimators=dict(a=dict(method="two_step")))
found = run_block(study, 0)["a"]["coefficient_error"]
assert found.dtype == np.float64, found.dtype
assert float(np.float32(found[0, 0, 0])) != float(found[0, 0, 0])
assert jax.numpy.ones(()).dtype == np.float32
assert before == {name: getattr(jax.config, name) for name in before}
assert not before["jax_enable_x64"]
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["two_step", "fisher_scoring"])
def test_a_program_for_another_device_computes_the_same(plain, method, monkeypatch):
    monkeypatch.setattr(follow, "UNIT", 2)  # a CPU's compiler takes minutes for five
    study = Study(**{**vars(plain), "estimators": {"m": {"method": method}}, "precision": "float64"})
    device = jax.local_devices()[0]
    own = Program(study, device)(0)
    with aimed_at("gpu"):
        elsewhere = Program(study, device)(0)
    for name, values in own.items():
        for metric, expected in values.items():
            np.testing.assert_allclose(elsewhere[name][metric], expected, rtol=1e-6, err_msg=metric)
