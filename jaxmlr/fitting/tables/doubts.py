"""What speaks against a fit to a table, in sentences."""

import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy.special import chdtrc, fdtrc  # scipy.stats takes half a second to import

from jaxmlr.batch import Fit
from jaxmlr.batch.families import Law
from jaxmlr.batch.spurious import distinct, suspects
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.fitting.repeats import distinct as distinct_rows
from jaxmlr.fitting.tables.design import TableRows
from jaxmlr.mixture import Mixture

OVERLAP = 0.75  # mean of the greatest posterior below which labels are said to be uncertain
LEVEL = 1e-3  # of the test that membership does not depend on the regressors
ALIKE = 0.05  # level of the test that two lines differ, by which they do not
HEAVY = 6.0  # standard errors of the kurtosis of normal noise, beyond which tails are heavy
WIDE, LIGHT = 8.0, 0.1  # sigma over the least of the others, and weight, of a component of outliers
FEW = 10  # values of a response that are few


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


def doubts(
    rows: TableRows,
    mixture: Mixture,
    posterior: np.ndarray,
    prior: np.ndarray,
    covariance: np.ndarray,
    law: Law | None = None,
    outlier: np.ndarray | None = None,
) -> Iterator[str]:
    """Signs that the rows are not a mixture of lines, or not of so many.

    Args:
      rows: of the table.
      mixture: fitted to them.
      posterior: (n, K).
      prior: the weights, (n, K) with concomitants, else (1, K).
      covariance: (q, q) of the estimates, coefficients first.
      law: of the responses; None where they are normal.
      outlier: (n,) probabilities that rows are outliers, whose noise is not judged.
    """
    yield from _few_values(rows, law)
    if law is None:
        yield from _noise(rows, mixture, posterior if outlier is None else (1 - outlier)[:, None] * posterior)
    if len(mixture.weights) > 1:
        yield from _alike(mixture, covariance)
        yield from _membership(rows, posterior, prior)


def falls(likelihood: pd.Series) -> Iterator[str]:
    """Where more components have less likelihood, which the optimum does not allow."""
    for fewer, more in itertools.pairwise(likelihood.sort_index().items()):
        if more[1] < fewer[1] - 1e-3:
            yield (
                f"the log-likelihood falls from {fewer[1]:.8g} with {fewer[0]} components to {more[1]:.8g}"
                f" with {more[0]}: no better optimum was found that is not refused"
            )


def _few_values(rows: TableRows, law: Law | None) -> Iterator[str]:
    n, values = len(rows.y), len(np.unique(rows.y))
    if law is None and values <= FEW and n > 2 * values:
        yield (
            f"the response has {values} different values in {n:,} rows: if these are counts or classes and"
            " not rounded measurements, lines with normal noise do not describe them; think of --family"
        )
    if rows.weight is None and rows.groups is None:
        repeated = n - len(distinct_rows(rows.phi, rows.y, np.ones(n)).y)
        if 2 * repeated >= n:
            yield (
                f"{repeated:,} of {n:,} rows repeat another one: if they are copies, standard errors are too"
                " small, and criteria take too many components"
            )


def _noise(rows: TableRows, mixture: Mixture, posterior: np.ndarray) -> Iterator[str]:
    """Whether the noise is normal, when sum_ik p_ik (e_ik / sigma_k)^4 / n has mean 3, and of one spread."""
    variance = np.broadcast_to(mixture.noise_variance, mixture.weights.shape)
    n, sigma = len(rows.y), np.sqrt(variance)
    weight = np.ones(n) if rows.weight is None else rows.weight
    with np.errstate(all="ignore"):
        scaled = (rows.y[:, None] - rows.phi @ np.transpose(mixture.coefficients)) / sigma
        kurtosis = float(np.sum(weight[:, None] * posterior * scaled**4) / np.sum(weight))
        squares = np.sum(posterior * (scaled**2 - 1), axis=1)  # has mean 0 given x, if sigma does not vary
    if (explained := _explained(rows, squares, LEVEL)) is not None:
        yield (
            f"the spread about the lines depends on the regressors (R2 = {explained:.2f}): standard errors"
            " and labels know of one sigma a component; think of a logarithm of the response"
        )
    if kurtosis - 3 > HEAVY * np.sqrt(24 * np.sum(weight**2)) / np.sum(weight):
        row = int(rows.rows[np.abs(scaled).min(axis=1).argmax()])
        yield (
            f"the noise is not normal (kurtosis {kurtosis:.2g}, not 3): outliers, heavy tails or a changing"
            f" spread; row {row} is farthest from all lines"
        )
    for k in range(len(sigma)) if len(sigma) > 1 else ():
        if sigma[k] > WIDE * np.delete(sigma, k).min() and mixture.weights[k] < LIGHT:
            yield (
                f"component {k + 1}, with sigma {sigma[k]:.3g} on {100 * mixture.weights[k]:.2g} % of the"
                " rows, may gather outliers rather than be a line"
            )


def _alike(mixture: Mixture, covariance: np.ndarray) -> Iterator[str]:
    """Pairs whose lines differ by no more than their errors: Wald's test of beta_j = beta_k."""
    count, d = np.shape(mixture.coefficients)
    if not np.isfinite(covariance).all():
        return
    for j, k in itertools.combinations(range(count), 2):
        contrast = np.zeros((d, len(covariance)))
        places = np.arange(d)
        contrast[places, j * d + places], contrast[places, k * d + places] = 1, -1
        difference = np.asarray(mixture.coefficients[j] - mixture.coefficients[k], np.float64)
        own = np.flatnonzero(difference)  # common coefficients are the same to the bit
        spread = (contrast @ covariance @ contrast.T)[np.ix_(own, own)]
        scale = np.sqrt(np.diag(spread))
        if not len(own) or not (scale > 0).all():
            continue
        unit = difference[own] / scale
        statistic = float(unit @ np.linalg.lstsq(spread / np.outer(scale, scale), unit, rcond=None)[0])
        if chdtrc(len(own), statistic) > ALIKE:
            yield (
                f"the lines of components {j + 1} and {k + 1} differ by no more than their errors: they may"
                " be one line, whose noise is not normal"
            )


def _membership(rows: TableRows, posterior: np.ndarray, prior: np.ndarray) -> Iterator[str]:
    """Labels that are uncertain, or depend on the regressors: p_ik less the weight has mean 0 given x."""
    sure = float(posterior.max(axis=1).mean())
    if sure < OVERLAP:
        yield f"labels are uncertain: the most probable component has posterior {sure:.2f} on average"
    for k in range(posterior.shape[1] - (posterior.shape[1] == 2)):
        explained = _explained(rows, (posterior - prior)[:, k], LEVEL / posterior.shape[1])
        if explained is not None:
            yield (
                f"membership of component {k + 1} depends on the regressors (R2 = {explained:.2f}),"
                " which a mixture of lines excludes: think of a curve, a missing variable or a switch"
            )
            return


def _explained(rows: TableRows, values: np.ndarray, level: float) -> float | None:
    """R2 of the regression of values (n,) on phi and the squares of phi, where the F test of it rejects.

    None where it does not, or where rows are not independent ones that count alike, which the test knows.
    """
    n = len(rows.y)
    spread = (rows.phi - rows.phi.mean(axis=0)) / np.maximum(rows.phi.std(axis=0), np.finfo(float).tiny)
    varying = spread[:, rows.phi.std(axis=0) > 0]
    regressors = np.column_stack([np.ones(n), varying, varying**2])
    rank = int(np.linalg.matrix_rank(regressors))
    if n <= 2 * rank or rank < 2 or rows.weight is not None or rows.groups is not None:
        return None
    total = float(np.sum((values - values.mean()) ** 2))
    left = float(np.sum((values - regressors @ np.linalg.lstsq(regressors, values, rcond=None)[0]) ** 2))
    if total <= 0 or left <= 0 or not np.isfinite(total):
        return None
    statistic = (total - left) / (rank - 1) / (left / (n - rank))
    return 1 - left / total if fdtrc(rank - 1, n - rank, statistic) < level else None
