"""Every method has one record, and a record is all it takes to be everywhere."""

import importlib
import inspect
import os
import pkgutil
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxmlr
from jaxmlr import Estimator, batch, recursive, registry
from jaxmlr.batch import Fit
from jaxmlr.evaluation import diagnostics
from jaxmlr.fitting import methods
from jaxmlr.study.declare import resolve

ROWS = np.random.default_rng(0).normal(size=(60, 2)), np.random.default_rng(1).normal(size=60)


def modules(package):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(module.name)


def is_method(function, package):
    """Whether a function makes an Estimator, not of another Estimator; or a Fit of phi and y."""
    hints = typing.get_type_hints(function)
    returned = hints.pop("return", None)
    if package is recursive:
        return returned is Estimator and Estimator not in hints.values()
    return returned is Fit and list(inspect.signature(function).parameters)[:2] == ["phi", "y"]


@pytest.mark.parametrize("package", [recursive, batch], ids=["recursive", "batch"])
def test_every_method_in_a_file_has_a_record(package):
    methods_in_files = {
        name: function
        for module in modules(package)
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not name.startswith("_")
        and is_method(function, package)
    }
    kind = "recursive" if package is recursive else "batch"
    recorded = {name: record.factory for name, record in registry.METHODS.items() if record.kind == kind}
    assert recorded == methods_in_files  # what is missing on the left needs a `Method` in jaxmlr/registry.py


@pytest.mark.parametrize("name", registry.METHODS)
def test_a_record_says_what_docs_need_and_is_true(name):
    record = registry.METHODS[name]
    assert record.needs
    assert record.gives
    assert record.use_when
    assert resolve.factory("a study", name) is record.factory
    assert f"| `{name}` | {record.needs} |" in registry.markdown(record.kind)
    assert set(record.table_options) <= set(record.parameters)
    assert (name in methods.METHODS) == (not record.missing)
    if record.kind == "recursive":
        assert getattr(jaxmlr, name) is record.factory
        example = (record.example or record.factory)()
        mixture = example.mixture(example.init(2))
        assert len(mixture.weights) == (record.components or len(mixture.weights))
        opposite = len(mixture.weights) == 2 and np.array_equal(
            mixture.coefficients[0], -mixture.coefficients[1]
        )
        assert opposite or not record.symmetric
    else:
        assert isinstance(record.example(*ROWS, jax.random.key(0)), Fit)


def test_the_recommended_methods_exist_and_are_what_is_advised():
    assert set(registry.RECOMMENDED) == {"symmetric", "lines"}
    for name in registry.RECOMMENDED.values():
        assert getattr(jaxmlr, name) is registry.METHODS[name].factory
        assert name in methods.METHODS
    assert registry.METHODS[registry.RECOMMENDED["symmetric"]].symmetric
    assert registry.METHODS[registry.RECOMMENDED["lines"]].components is None
    for alarm in ("overdamped", "balanced"):
        assert registry.RECOMMENDED["symmetric"] in diagnostics.ADVICE[alarm]


def own_batch(phi, y, key):
    return registry.METHODS["em"].example(phi, y, key)


def own(step_size=0.1):
    return recursive.two_step(step_size)


@pytest.mark.parametrize(
    ("method", "kind"), [(own, "recursive"), (own_batch, "batch"), ("jaxmlr:em", "batch")]
)
def test_a_method_of_ones_own_needs_no_record(method, kind):
    record = registry.find(method)
    assert record.kind == kind
    assert record.symmetric is None
    assert record.factory is (jaxmlr.em if isinstance(method, str) else method)


@pytest.mark.parametrize(
    ("method", "kind", "message"),
    [
        ("two_stp", None, "method: unknown name 'two_stp'; did you mean 'two_step'?"),
        (
            "magic",
            "batch",
            "unknown name 'magic'; it must be one of fit, em, .* or 'package.module:function'",
        ),
        ("fit", "recursive", "'fit' is a batch method, not a recursive one such as two_step"),
        ("jaxmlr:em", "recursive", "'jaxmlr:em' is a batch method"),
        ("no_such_module:f", None, "method: cannot import 'no_such_module:f': No module named"),
        ("json:no_such_name", None, "cannot import 'json:no_such_name': module 'json' has no attribute"),
        (":f", None, "cannot import ':f'"),
        ("os:path", None, "'os:path' is not a function"),
        (3, None, "method must be a name or a function, not 3"),
    ],
)
def test_what_is_wrong_with_a_name_is_said(method, kind, message):
    with pytest.raises(ValueError, match=message):
        registry.find(method, kind=kind)


FILE = '''
"""Two lines of which one is at rest."""

import jax.numpy as jnp

from jaxmlr.estimator import Estimator, nearest
from jaxmlr.mixture import Mixture


def newcomer(components=2, step_size=0.1) -> Estimator:
    """Gradient steps of the nearest line."""

    def init(dim, key=None, dtype=None):
        dtype = jnp.result_type(float) if dtype is None else dtype
        return jnp.arange(components * dim, dtype=dtype).reshape(components, dim) / 10

    def step(beta, row):
        phi, y = row[0].astype(beta.dtype), row[1].astype(beta.dtype)
        info = nearest(beta @ phi, y)
        move = step_size * info.residual * phi / (1 + phi @ phi)
        return beta + jnp.where(jnp.arange(components)[:, None] == info.label, move, 0), info

    def mixture(beta):
        weights = jnp.full(components, 1 / components, beta.dtype)
        return Mixture(beta, weights, jnp.ones((), beta.dtype))

    return Estimator(init, step, mixture)
'''
RECORD = '        Method(newcomer, needs="K", gives="K lines", use_when="never"),\n'
USES = """
import sys
import numpy as np, jaxmlr
from jaxmlr import registry
from jaxmlr import river
from jaxmlr.sklearn import MixtureOfLinearRegressions
from jaxmlr.testing import check_method

assert "newcomer" in dir(jaxmlr) and jaxmlr.newcomer is registry.METHODS["newcomer"].factory
check_method("newcomer")
assert "| `newcomer` | K |" in registry.markdown("recursive")
problem = {"process": {"kind": "gaussian"}, "coefficients": [1.0, -1.5], "p": 0.7}
study = jaxmlr.Study("s", problem, {"a": {"method": "newcomer"}}, trials=4, steps=10, record=1)
assert float(jaxmlr.run_study(study, progress=False)["diverged"].squeeze()) == 0
x, y = np.random.default_rng(0).normal(size=(50, 1)), np.random.default_rng(1).normal(size=50)
assert MixtureOfLinearRegressions(3, method="newcomer").fit(x, y).coef_.shape == (3, 1)
model = river.MixtureOfLinearRegressions(3, method="newcomer")
model.learn_one({"a": 1.0}, 2.0)
assert len(model.predict_proba_one({"a": 1.0}, 2.0)) == 3
np.savetxt("rows.csv", np.column_stack([x, y]), delimiter=",", header="x,y", comments="")
sys.argv = ["jaxmlr", "fit", "rows.csv", "--response", "y", "--method", "newcomer", "--components", "3"]
from jaxmlr.__main__ import main
main()
"""


@pytest.mark.slow
def test_a_file_and_a_record_are_enough(tmp_path):
    """In a copy of the package; the tests of every method read the registry, as conftest.py shows."""
    copy = shutil.copytree(Path(jaxmlr.__file__).parent, tmp_path / "jaxmlr")
    (copy / "recursive" / "newcomer.py").write_text(FILE)
    text = (copy / "registry.py").read_text()
    text = text.replace(
        "from jaxmlr import batch",
        "from jaxmlr.recursive.newcomer import newcomer\nfrom jaxmlr import batch",
        1,
    )
    (copy / "registry.py").write_text(
        text.replace("    for method in (\n", "    for method in (\n" + RECORD, 1)
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", USES]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "50 rows used" in done.stdout
