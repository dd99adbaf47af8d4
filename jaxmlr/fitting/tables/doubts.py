"""What speaks against a fit to a table, in sentences."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import fdtrc  # scipy.stats takes half a second to import

from jaxmlr.batch import Fit
from jaxmlr.batch.spurious import distinct, suspects
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.fitting.tables.design import TableRows
from jaxmlr.mixture import Mixture

OVERLAP = 0.75  # mean of the greatest posterior below which labels are said to be uncertain
LEVEL = 1e-3  # of the test that membership does not depend on the regressors


def refusal(fit: Fit, phi: np.ndarray, y: np.ndarray, unit: float) -> str:
    """Why the best optimum of a number of components is refused.

    Args:
      fit: a spurious one.
      phi: (n, d), as it was fitted.
      y: (n,), likewise.
      unit: of y.
    """
    components = len(fit.mixture.weights)
    if not np.isfinite(fit.log_likelihood):
        return f"{components} components: refused, the likelihood is not finite"
    data = Rows(jnp.asarray(phi), jnp.asarray(y), jnp.ones(len(y)))
    by_chance, size = map(np.asarray, _suspects(fit.mixture, data))
    variance = np.broadcast_to(fit.mixture.noise_variance, size.shape)
    worst = np.flatnonzero(by_chance)
    k = worst[np.argmin(size[worst])] if len(worst) else int(np.argmin(variance))
    return (
        f"{components} components: refused, every optimum found is spurious; the best has a line with sigma"
        f" {unit * np.sqrt(variance[k]):.3g} on {size[k]:.3g} distinct rows, which chance explains among"
        f" {len(y):,}"
    )


@jax.jit
def _suspects(mixture: Mixture, data: Rows) -> tuple[jax.Array, jax.Array]:
    return suspects(mixture, data, distinct(data))


def doubts(rows: TableRows, posterior: np.ndarray, prior: np.ndarray) -> Iterator[str]:
    """Signs that the rows are not a mixture of lines.

    Given x, the posterior of a component has its weight for a mean whatever x is, if the model is right: so
    the F test of the regression of posterior less weight on phi and the squares of phi has the stated level.

    Args:
      rows: of the table.
      posterior: (n, K).
      prior: the weights, (n, K) with concomitants, else (1, K).
    """
    sure = float(posterior.max(axis=1).mean())
    if sure < OVERLAP:
        yield f"labels are uncertain: the most probable component has posterior {sure:.2f} on average"
    n = len(rows.y)
    spread = (rows.phi - rows.phi.mean(axis=0)) / np.maximum(rows.phi.std(axis=0), np.finfo(float).tiny)
    varying = spread[:, rows.phi.std(axis=0) > 0]
    regressors = np.column_stack([np.ones(n), varying, varying**2])
    rank = int(np.linalg.matrix_rank(regressors))
    if n <= 2 * rank or rank < 2 or rows.weight is not None or rows.groups is not None:
        return  # the test knows independent rows that count alike
    for k in range(posterior.shape[1] - (posterior.shape[1] == 2)):
        p = (posterior - prior)[:, k]
        total = float(np.sum((p - p.mean()) ** 2))
        left = float(np.sum((p - regressors @ np.linalg.lstsq(regressors, p, rcond=None)[0]) ** 2))
        if total <= 0 or left <= 0:
            continue
        statistic = (total - left) / (rank - 1) / (left / (n - rank))
        if fdtrc(rank - 1, n - rank, statistic) < LEVEL / posterior.shape[1]:
            yield (
                f"membership of component {k + 1} depends on the regressors (R2 = {1 - left / total:.2f}),"
                " which a mixture of lines excludes: think of a curve, a missing variable or a switch"
            )
            return
