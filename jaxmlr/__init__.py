"""Mixed linear regression in JAX: recursive estimators, their limits, and Monte Carlo studies of both."""

from typing import TYPE_CHECKING, Any

from jaxmlr._jaxlib import require_sound as _require_sound

_require_sound()

from jaxmlr import metrics as metrics  # noqa: E402
from jaxmlr import theory as theory  # noqa: E402
from jaxmlr.data import processes as processes  # noqa: E402
from jaxmlr.data.simulate import simulate as simulate  # noqa: E402
from jaxmlr.estimator import Estimator as Estimator  # noqa: E402
from jaxmlr.estimator import Info as Info  # noqa: E402
from jaxmlr.estimator import run as run  # noqa: E402
from jaxmlr.lanes import lanes as lanes  # noqa: E402
from jaxmlr.mixture import Mixture as Mixture  # noqa: E402
from jaxmlr.mixture import symmetric as symmetric  # noqa: E402
from jaxmlr.recursive import least_squares as least_squares  # noqa: E402
from jaxmlr.recursive import oracle as oracle  # noqa: E402
from jaxmlr.recursive import two_step as two_step  # noqa: E402

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
