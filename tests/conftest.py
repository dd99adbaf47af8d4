"""Every test runs in double precision, without implicit promotion of ranks or dtypes, on two devices.

The tables here list every method; test_estimator.py and batch/test_contract.py run over them.
"""

import atexit
import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from hypothesis import settings

from jaxmlr import Mixture, __main__, averaged, batch, diagnosed, recursive, registry, symmetric
from jaxmlr._xla import cache, host
from jaxmlr._xla.versions import applies

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_num_cpu_devices", 2)

# Programs are compiled once for all processes of a run, commands that a test starts included; the user's own
# are left alone. The first process makes the folder, the others have it from the environment.
if "JAXMLR_TESTS_CACHE" not in os.environ:
    os.environ["JAXMLR_TESTS_CACHE"] = tempfile.mkdtemp(prefix="jaxmlr-tests-")
    atexit.register(shutil.rmtree, os.environ["JAXMLR_TESTS_CACHE"], ignore_errors=True)
os.environ["XDG_CACHE_HOME"] = os.environ["JAXMLR_TESTS_CACHE"]
jax.config.update("jax_compilation_cache_dir", os.environ["JAXMLR_TESTS_CACHE"] + "/tests")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

# The same examples every time, however slow the machine.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")


LEVELS = {"not slow": 0, "slow": 1}  # of LLVM; the fast tests compile more than they compute


def pytest_configure(config):
    """Compile for the tests, not for users, whose long runs ask for their levels themselves."""
    level = LEVELS.get(config.option.markexpr)
    if level is not None:
        flags = [f"--xla_backend_optimization_level={level}"]
        if applies("slow_emitters"):
            flags.append("--xla_cpu_use_fusion_emitters=false")
        os.environ.setdefault("XLA_FLAGS", " ".join(flags))


ORACLES = Path(__file__).resolve().parent / "oracles"


@pytest.fixture(scope="session")
def oracles() -> Path:
    """The folder of independent answers, most of them R's; its README has their sources."""
    return ORACLES


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command line in this process: (status, standard output, standard error)."""
    monkeypatch.setattr(host, "use_all_cores", lambda: None)  # the tests' devices are set
    monkeypatch.setattr(cache, "keep", lambda: None)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["jaxmlr", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            __main__.main()
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return run


LINES = Mixture(np.array([[1.0, 0.5], [-0.5, 0.2]]), np.array([0.6, 0.4]), np.array([1.0, 2.0]))
OPPOSITE = symmetric(np.array([1.0, -1.5]), 0.7)

RECURSIVE = {  # the registry's example of every recursive method, and more settings of some
    **{name: registry.METHODS[name].example or registry.METHODS[name].factory for name in registry.RECURSIVE},
    "two_step newton": lambda: recursive.two_step(1.0, gain="newton", bound=3.0, delta=0.2, delay=5),
    "two_step free": lambda: recursive.two_step(2.0, bound=np.inf, initial_covariance=np.array([1.0, 2.0])),
    "least_squares weighted": lambda: recursive.least_squares(delta=0.3, initial_covariance=10.0),
    "least_squares forgetting": lambda: recursive.least_squares(forgetting=0.98),
    "least_squares sqrt": lambda: recursive.least_squares(forgetting=0.98, form="sqrt"),
    "symmetric_em all": lambda: recursive.symmetric_em(
        4.0, gain="em", learn_weights=True, learn_variance=True, forgetting=0.98
    ),
    "midpoint_em all": lambda: recursive.midpoint_em(4.0, learn_variance=True, forgetting=0.98),
    "recursive_em all": lambda: recursive.recursive_em(
        2, np.full(2, 4.0), learn_variance=True, forgetting=0.98
    ),
    "online_gradient symmetric": lambda: recursive.online_gradient(optax.sgd(1e-3), OPPOSITE, symmetric=True),
    "fisher_scoring forgetting": lambda: recursive.fisher_scoring(burn_in=20, forgetting=0.98),
    "averaged": lambda: averaged(recursive.online_em(LINES), after=10),
    "diagnosed": lambda: diagnosed(recursive.two_step(1.0, gain="newton", bound=3.0)),
}

BATCH = {  # likewise: a function of (phi (n, 2), y (n,), key) to a Fit of two components
    **{name: registry.METHODS[name].example for name in registry.BATCH},
    "em equal_variance": lambda phi, y, key: batch.em(phi, y, LINES, max_iterations=50, equal_variance=True),
    "em symmetric": lambda phi, y, key: batch.em(
        phi, y, OPPOSITE, max_iterations=50, tie="symmetric", known_variance=True
    ),
    "gradient adam": lambda phi, y, key: batch.gradient(phi, y, LINES, optax.adam(1e-2), max_iterations=50),
}


def cases(methods):
    """Names of methods; settings beyond the registry's example are slow to go through as well."""
    return [pytest.param(name, marks=[pytest.mark.slow] if " " in name else []) for name in methods]


@pytest.fixture(params=cases(RECURSIVE))
def factory(request):
    """A function that makes every recursive method in turn."""
    return RECURSIVE[request.param]


@functools.cache
def made(name):
    """One object for all tests of a method, which then share its compiled programs."""
    return RECURSIVE[name]()


@pytest.fixture(params=cases(RECURSIVE))
def estimator(request):
    """Every recursive method in turn."""
    return made(request.param)


@pytest.fixture(params=cases(BATCH))
def batch_method(request):
    """Every batch method in turn."""
    return BATCH[request.param]
