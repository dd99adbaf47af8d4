"""Mixed linear regression in JAX: recursive and batch methods, their limits, and Monte Carlo studies."""

from typing import TYPE_CHECKING, Any

from jaxmlr._xla import versions as versions  # first: it refuses a jaxlib that computes wrong numbers
from jaxmlr._xla.lanes.transform import lanes as lanes
from jaxmlr.batch import Fit as Fit
from jaxmlr.batch import aic as aic
from jaxmlr.batch import bic as bic
from jaxmlr.batch import bootstrap_test as bootstrap_test
from jaxmlr.batch import confidence_intervals as confidence_intervals
from jaxmlr.batch import em as em
from jaxmlr.batch import fit as fit
from jaxmlr.batch import hard_em as hard_em
from jaxmlr.batch import icl as icl
from jaxmlr.batch import select as select
from jaxmlr.batch import standard_errors as standard_errors
from jaxmlr.data import disturbances as disturbances
from jaxmlr.data import processes as processes
from jaxmlr.data.simulate import simulate as simulate
from jaxmlr.estimator import Estimator as Estimator
from jaxmlr.estimator import Info as Info
from jaxmlr.estimator import run as run
from jaxmlr.evaluation import diagnostics as diagnostics
from jaxmlr.evaluation import metrics as metrics
from jaxmlr.evaluation import theory as theory
from jaxmlr.evaluation.agreement import adjusted_rand_index as adjusted_rand_index
from jaxmlr.evaluation.diagnostics import diagnosed as diagnosed
from jaxmlr.evaluation.tuning import Tuned as Tuned
from jaxmlr.evaluation.tuning import tune as tune
from jaxmlr.mixture import Mixture as Mixture
from jaxmlr.mixture import symmetric as symmetric
from jaxmlr.recursive import fisher_scoring as fisher_scoring
from jaxmlr.recursive import least_squares as least_squares
from jaxmlr.recursive import midpoint_em as midpoint_em
from jaxmlr.recursive import multistart_em as multistart_em
from jaxmlr.recursive import online_em as online_em
from jaxmlr.recursive import online_gradient as online_gradient
from jaxmlr.recursive import oracle as oracle
from jaxmlr.recursive import recursive_em as recursive_em
from jaxmlr.recursive import second_moment as second_moment
from jaxmlr.recursive import symmetric_em as symmetric_em
from jaxmlr.recursive import two_step as two_step

if TYPE_CHECKING:
    from jaxmlr.study import Study as Study
    from jaxmlr.study import run_study as run_study

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the study engine at its first use, since it needs the extra `study`."""
    if name in {"Study", "run_study"}:
        from jaxmlr import study

        return getattr(study, name)
    raise AttributeError(f"module 'jaxmlr' has no attribute {name!r}")
