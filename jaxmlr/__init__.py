"""Mixed linear regression in JAX: recursive and batch methods, their limits, and Monte Carlo studies."""

import importlib.util
from typing import TYPE_CHECKING, Any

from jaxmlr._xla import versions as versions  # first: it refuses a jaxlib that computes wrong numbers

# isort: split
from jaxmlr import batch, registry, testing
from jaxmlr._xla.lanes.transform import lanes
from jaxmlr.batch import (
    Fit,
    aic,
    bic,
    bootstrap_test,
    confidence_intervals,
    em,
    fit,
    hard_em,
    icl,
    select,
    standard_errors,
)
from jaxmlr.data import datasets, disturbances, drifts, labels, processes
from jaxmlr.data.follow import follow
from jaxmlr.data.simulate import simulate
from jaxmlr.estimator import Estimator, Info, run
from jaxmlr.evaluation import diagnostics, metrics, theory
from jaxmlr.evaluation.agreement import adjusted_rand_index
from jaxmlr.evaluation.diagnostics import diagnosed
from jaxmlr.evaluation.tuning import Tuned, tune
from jaxmlr.mixture import Mixture, symmetric
from jaxmlr.recursive import (
    averaged,
    fisher_scoring,
    least_squares,
    midpoint_em,
    multistart_em,
    natural_gradient,
    online_em,
    online_gradient,
    oracle,
    recursive_em,
    second_moment,
    symmetric_em,
    two_step,
)

if TYPE_CHECKING:
    from jaxmlr.fitting.model import load
    from jaxmlr.study import Study, run_study

__version__ = "0.1.0"

__all__ = [
    "Estimator",
    "Fit",
    "Info",
    "Mixture",
    "Tuned",
    "adjusted_rand_index",
    "aic",
    "averaged",
    "batch",
    "bic",
    "bootstrap_test",
    "confidence_intervals",
    "datasets",
    "diagnosed",
    "diagnostics",
    "disturbances",
    "drifts",
    "em",
    "fisher_scoring",
    "fit",
    "follow",
    "hard_em",
    "icl",
    "labels",
    "lanes",
    "least_squares",
    "load",
    "metrics",
    "midpoint_em",
    "multistart_em",
    "natural_gradient",
    "online_em",
    "online_gradient",
    "oracle",
    "processes",
    "recursive_em",
    "registry",
    "run",
    "second_moment",
    "select",
    "simulate",
    "standard_errors",
    "symmetric",
    "symmetric_em",
    "testing",
    "theory",
    "tune",
    "two_step",
]
if importlib.util.find_spec("xarray"):  # the extra `study`
    __all__ += ["Study", "run_study"]
__all__ += [name for name in registry.RECURSIVE if name not in __all__]  # a record is enough


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """A registered method, or what needs an extra and is imported at its first use."""
    if name in registry.RECURSIVE:
        return registry.METHODS[name].factory
    if name == "load":
        from jaxmlr.fitting.model import load

        return load
    if name in {"Study", "run_study"}:
        from jaxmlr import study

        return getattr(study, name)
    raise AttributeError(f"module 'jaxmlr' has no attribute {name!r}")
