"""Fitting the rows of a table: a batch method for one or several K, or a recursive method in one pass."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from jaxmlr import registry
from jaxmlr._xla import host
from jaxmlr.batch import Fit, aic, bic, confidence_intervals, covariance
from jaxmlr.batch.fit import MIXED
from jaxmlr.batch.inference import errors_of
from jaxmlr.batch.support import few_rows
from jaxmlr.evaluation import diagnostics
from jaxmlr.fitting import evaluate, methods
from jaxmlr.fitting.scaling import Units
from jaxmlr.fitting.tables.design import Design, TableRows
from jaxmlr.fitting.tables.dialect import Reading
from jaxmlr.fitting.tables.doubts import doubts, refusal
from jaxmlr.fitting.tables.options import in_units
from jaxmlr.fitting.tables.survey import survey
from jaxmlr.mixture import Mixture

COLLINEAR = 1e-12  # of a centred column's length outside of the columns before it


class TableFit(NamedTuple):
    """A mixture fitted to the rows of a table, in the units of the table, all float64 NumPy."""

    design: Design
    rows: TableRows
    fit: Fit
    errors: Mixture  # standard errors, from the observed information
    lower: Mixture  # ends of 95 % confidence intervals
    upper: Mixture
    covariance: np.ndarray  # (q, q), of `inference.covariance`
    posterior: np.ndarray  # (n, K)
    criteria: pd.DataFrame  # index K: log_likelihood, aic, bic, icl, one row for each K that was fitted
    criterion: str  # that chose the number of components
    starts: int  # 1 where the method has one start
    advice: tuple[str, ...]  # one sentence each

    @property
    def labels(self) -> np.ndarray:
        """The most probable component of every row, (n,), from 0."""
        return self.posterior.argmax(axis=1)


class StreamFit(NamedTuple):
    """What a recursive method has learnt from the rows of a table, in their order."""

    design: Design
    mixture: Mixture  # in the units of the table
    used: int
    dropped: int
    advice: tuple[str, ...]  # one sentence each


def check(design: Design, rows: TableRows, components: int, *, collinear: bool = False) -> None:
    """Raise ValueError where no method could fit `components` lines to these rows.

    Fewer rows than K (d + 2) - 1 parameters, a constant response, or regressors that are collinear, unless
    that is said to be bearable.
    """
    n, d = rows.phi.shape
    if n <= d:
        raise ValueError(f"{n} rows are too few for a line with {d} coefficients")
    parameters = components * (d + 2) - 1
    if n <= parameters:
        raise ValueError(
            f"{components} components of {d} coefficients have {parameters} parameters; {n} rows are too few"
        )
    if np.ptp(rows.y) == 0:
        raise ValueError(f"the response {design.response!r} is constant: {rows.y[0]:g} in all {n} rows")
    if not collinear and (
        message := _collinear(design, Units.of(rows.phi, rows.y, design.intercept), rows.phi)
    ):
        raise ValueError(message)


def _collinear(design: Design, units: Units, phi: np.ndarray, factor: np.ndarray | None = None) -> str:
    """What is wrong with the regressors: judged after centring, of which phi (n, d) is the last part.

    Args:
      design: names the columns.
      units: of the rows.
      phi: (n, d).
      factor: R (d, d) of a QR factorisation of all rows, where there are more than these.
    """
    if factor is None:
        factor = np.asarray(np.linalg.qr(units.apply(phi, np.zeros(len(phi)))[0], mode="r"))
    norms = np.linalg.norm(factor, axis=0)
    # An entry of size c has an error of eps c, which is eps c / scale after centring.
    rounding = 4 * np.finfo(np.float64).eps * np.abs(phi).max(axis=0) / units.scale * np.sqrt(len(phi))
    bad = np.flatnonzero(np.abs(np.diag(factor)) <= np.maximum(COLLINEAR * norms, rounding))
    if not len(bad):
        return ""
    name, before = design.names[bad[0]], design.names[: bad[0]]
    if design.intercept is not None and np.ptp(phi[:, bad[0]]) == 0:
        return (
            f"collinear columns: {name!r} is {phi[0, bad[0]]:g} in all rows, like the intercept; leave it out"
        )
    shown = f"{', '.join(before[:5])}{', ...' if len(before) > 5 else ''}"
    what = "is zero everywhere" if not before else f"is a linear combination of {shown}"
    return f"collinear columns: {name!r} {what}; leave it out of the formula"


def fit_rows(
    design: Design,
    rows: TableRows,
    components: Sequence[int],
    method: str,
    seed: int,
    criterion: str = "bic",
    options: Mapping[str, Any] | None = None,
) -> TableFit:
    """Fit every K by a batch method and keep the K of the least criterion.

    Args:
      design: names of the columns.
      rows: of `design`.
      components: the K to try.
      method: a batch method, as `registry.find` takes it.
      seed: of the random starts.
      criterion: "aic", "bic" or "icl".
      options: keyword arguments of the method, in the units of the table.

    Raises:
      ValueError: as `check` and `options.in_units`; a method that takes no weights; or no K for which an
        optimum was found that is not spurious.
    """
    check(design, rows, min(components))
    weight = rows.weight
    units = Units.of(rows.phi, rows.y, design.intercept, weight=weight).orthogonal(rows.phi)
    whole = rows.phi, rows.y
    scaled = units.apply(*whole)
    n, d = rows.phi.shape
    total = n if weight is None else float(weight.sum())
    given = in_units(method, options or {}, units.unit)
    fits: dict[int, Fit] = {}
    values, advice = {}, []
    with host.float64():
        for count in components:
            if n <= count * (d + 2) - 1:
                advice.append(f"{count} components were not tried: {n} rows are too few")
                continue
            own = "em" if count == 1 and method != "fit" and not given else method
            one = methods.batch(own, *scaled, count, seed, row_weights=weight, **given)
            if one.spurious() or not np.isfinite(one.log_likelihood):
                advice.append(refusal(one, *scaled, units.unit))
                continue
            if not one.converged:
                advice.append(f"{count} components: not converged after {int(one.iterations)} steps")
            one = fits[count] = _by_weight(one)
            unscaled = units.fit(one, total)
            values[count] = {
                "log_likelihood": float(unscaled.log_likelihood),
                "aic": float(aic(unscaled)),
                "bic": float(bic(unscaled, total)),
                "icl": float(bic(unscaled, total)) - 2 * _sureness(unscaled.mixture, rows),
            }
        if not fits:
            raise ValueError(f"{n} rows do not carry {max(components)} components; {'; '.join(advice)}")
        criteria = pd.DataFrame.from_dict(values, orient="index").rename_axis("components")
        best = int(criteria[criterion].idxmin())
        fit: Fit = jax.tree.map(np.asarray, units.fit(fits[best], total))
        form = "sandwich" if rows.sampled else "observed"
        own_matrix = np.asarray(covariance(fits[best], *scaled, form=form, row_weights=weight))
        matrix = units.covariance(fits[best].mixture, own_matrix)
    errors = errors_of(fit, matrix)
    few = few_rows(fit.mixture, *whole, weight)
    if few.any():
        fit = fit.marked("few_rows")
        trusted: Any = np.where(few, np.nan, errors.coefficients)
        errors = errors._replace(coefficients=trusted)
        for k, j in np.argwhere(few):
            advice.append(f"component {k + 1}: {design.names[j]} rests on fewer than five rows: no interval")
    if np.isnan(matrix).all():
        fit = fit.marked("singular")
    lower, upper = confidence_intervals(fit, errors)
    posterior = evaluate.posterior(fit.mixture, *whole)
    if np.isnan(matrix).all():
        advice.append("no standard errors: the information is singular at this optimum")
    elif "floor" in str(fit.result):
        advice.append("no intervals for a component whose variance rests on its floor")
    advice.extend(_falls(criteria["log_likelihood"]))
    if best > 1:
        advice.extend(doubts(rows, posterior))
        alone = methods.batch("fit", *scaled, 1, seed, row_weights=weight) if 1 not in fits else fits[1]
        with host.float64():
            alone_bic = float(bic(units.fit(alone, total), total))
        if alone_bic < criteria.loc[best, "bic"]:
            advice.append(
                f"a single line has the lower BIC, {alone_bic:.6g}: nothing speaks for {best} components"
            )
    starts = sum(count for name, count in MIXED.items() if name != "tensor" or best <= d)
    return TableFit(
        design,
        rows,
        fit,
        errors,
        lower,
        upper,
        matrix,
        posterior,
        criteria,
        criterion,
        starts if method == "fit" and best > 1 else 1,
        tuple(advice),
    )


def _falls(likelihood: pd.Series) -> Iterator[str]:
    """Where more components have less likelihood, which the optimum does not allow."""
    for fewer, more in itertools.pairwise(likelihood.sort_index().items()):
        if more[1] < fewer[1] - 1e-3:
            yield (
                f"the log-likelihood falls from {fewer[1]:.8g} with {fewer[0]} components to {more[1]:.8g}"
                f" with {more[0]}: no better optimum was found that is not refused"
            )


def _by_weight(fit: Fit) -> Fit:
    """The components from the heaviest to the lightest; equal weights keep their order."""
    beta, weights, variance = fit.mixture
    order = np.argsort(-np.asarray(weights), kind="stable")
    mixture = Mixture(beta[order], weights[order], variance[order] if variance.ndim else variance)
    return fit._replace(mixture=mixture)


def _sureness(mixture: Mixture, rows: TableRows) -> float:
    """sum_i w_i log max_k p_ik with the posterior p, which ICL takes from BIC twice."""
    sure = np.log(evaluate.posterior(mixture, rows.phi, rows.y).max(axis=1))
    return float(sure.sum() if rows.weight is None else sure @ rows.weight)


def fit_stream(
    source: str | Path,
    response: str | None,
    formula: str | None,
    components: int,
    method: str,
    seed: int,
    chunk: int = 65_536,
    reading: Reading | None = None,
    *,
    options: Mapping[str, Any] | None = None,
) -> Iterator[tuple[StreamFit, np.ndarray, np.ndarray]]:
    """Run a recursive method over a file that need not fit into memory.

    `survey.survey` gives the levels, and rows for the units: with an intercept, x_j of mean 0 and variance 1.
    The answer does not depend on `chunk`.

    Args:
      source: as in `read.read`.
      response: as in `Design.learn`.
      formula: as in `Design.learn`.
      components: K.
      method: a recursive method, as `registry.find` takes it.
      seed: of the start.
      chunk: rows read at a time.
      reading: as in `read.read`.
      options: as in `fit_rows`.

    Yields:
      After each chunk: what is learnt, the rows' numbers, and their labels, each given before its update.

    Raises:
      ValueError: as `survey.survey` and `check`.
    """
    methods.estimator(
        method, components, in_units(method, options or {}, 1.0)
    )  # what is wrong with it is said before a file is read
    symmetric = registry.find(method).symmetric
    design, telling, pieces, whole = survey(source, response, formula, reading, chunk)
    check(design, telling, components, collinear=not whole)
    # A method of unknown symmetry may be symmetric, and is right without a centred response too.
    units = Units.of(telling.phi, telling.y, design.intercept, centre_response=symmetric is False)
    given = in_units(method, options or {}, units.unit)
    stream = methods.stream(method, components, given, len(design.names), seed, watched=True)
    assumed = stream.mixture().noise_variance
    doubtful = bool(_collinear(design, units, telling.phi))  # till later rows tell the columns apart
    factor = np.empty((0, len(design.names)))
    used = dropped = 0
    for frame in pieces:
        rows = design.observations(frame)
        scaled = units.apply(rows.phi, rows.y)
        info = stream.update(*scaled)
        if doubtful:
            factor = np.asarray(np.linalg.qr(np.vstack([factor, scaled[0]]), mode="r"))
        used, dropped = used + len(rows.y), dropped + rows.dropped
        with host.float64():
            mixture = jax.tree.map(np.asarray, units.mixture(stream.mixture()))
        if not all(np.isfinite(leaf).all() for leaf in mixture):
            raise ValueError(f"{method} diverged before row {frame.index[-1]}; try another method")
        with host.float64():
            advice = diagnostics.advice(_report(stream.state))
        if np.array_equal(stream.mixture().noise_variance, assumed):
            advice.append("sigma is not learnt: it is that of noise_variance, by default the mean of y^2")
        yield StreamFit(design, mixture, used, dropped, tuple(advice)), rows.rows, np.asarray(info.label)
    if doubtful and (message := _collinear(design, units, telling.phi, factor)):
        raise ValueError(message)


_report = jax.jit(diagnostics.report)


def as_table(design: Design, mixture: Mixture, **others: Mixture) -> pd.DataFrame:
    """Every parameter of every component, one row each; `others` are further columns by name.

    The columns `component` (from 1), `term` (a regressor, "weight" or "sigma") and `estimate`. A regressor
    may have the name of a parameter, which then stands in parentheses, as "(weight)".
    """

    def flat(each: Mixture, of_errors: bool) -> list[Any]:
        count = len(each.weights)
        variance = np.broadcast_to(each.noise_variance, (count,))
        sigma = np.sqrt(np.broadcast_to(mixture.noise_variance, (count,)))
        # The standard error of sigma is that of sigma^2 over 2 sigma; ends of intervals are roots.
        last = variance / (2 * sigma) if of_errors else np.sqrt(variance)
        return np.column_stack([each.coefficients, each.weights, last]).reshape(-1).tolist()

    parameters = [f"({name})" if name in design.names else name for name in ("weight", "sigma")]
    terms = [*design.names, *parameters]
    count = len(mixture.weights)
    table = {
        "component": np.repeat(np.arange(1, count + 1), len(terms)),
        "term": terms * count,
        "estimate": flat(mixture, False),
    }
    return pd.DataFrame(table | {name: flat(each, name == "standard_error") for name, each in others.items()})
