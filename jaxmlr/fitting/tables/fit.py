"""Fitting the rows of a table: a batch method for one or several K, or a recursive method in one pass."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from jaxmlr import registry
from jaxmlr._xla import host
from jaxmlr.batch import Fit, aic, bic, confidence_intervals, covariance, gate_errors
from jaxmlr.batch.families import Law
from jaxmlr.batch.fit import MIXED
from jaxmlr.batch.gate import centred
from jaxmlr.batch.inference import errors_of
from jaxmlr.batch.support import few_rows
from jaxmlr.evaluation import diagnostics
from jaxmlr.fitting import evaluate, methods
from jaxmlr.fitting.rounding import least_variance, step_of
from jaxmlr.fitting.scaling import Units
from jaxmlr.fitting.tables.check import check, collinear_columns, law_of, too_few
from jaxmlr.fitting.tables.design import Design, TableRows
from jaxmlr.fitting.tables.dialect import Reading
from jaxmlr.fitting.tables.doubts import doubts, falls, refusal
from jaxmlr.fitting.tables.options import in_units
from jaxmlr.fitting.tables.survey import survey
from jaxmlr.fitting.tables.terms import check_method
from jaxmlr.mixture import Mixture

EXACT = 1e-11  # of the spread of y: what rounding leaves of a line through all rows


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
    prior: np.ndarray  # (n, K) or (1, K), the weights in front of the responses
    gate_errors: np.ndarray | None  # (K, m) standard errors of `fit.gate`, 0 for the first component
    outlier: np.ndarray | None = None  # (n,) probabilities that rows are outliers, with an outlier density

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
    terms = rows.terms()
    shared: dict[str, Any] = {"common": list(design.common)} if design.common else {}
    check_method(method, [*terms, *rows.known_of(1), *shared])
    check(design, rows, min(components))
    weight = rows.weight
    law = law_of(design, rows, options or {})
    units = _units(design, rows, law)
    gate_units = None
    if design.gate is not None and rows.concomitant is not None:
        z, flat = rows.concomitant, np.zeros(len(rows.y))
        gate_units = Units.of(z, flat, design.gate.intercept, weight=weight).orthogonal(z)
        terms["concomitant"] = gate_units.apply(z, flat)[0]
    whole = rows.phi, rows.y
    scaled = units.apply(*whole)
    n, d = rows.phi.shape
    total = n if weight is None else float(weight.sum())
    given = in_units(method, options or {}, units.unit)
    # A single line has one optimum; `fit` has a program ready where nothing but rows is given.
    plain = not terms and not design.labels and not shared
    single = "fit" if method == "fit" and plain else "em"
    fits: dict[int, Fit] = {}
    values, advice = {}, []
    exact = law is None and _single_variance(*scaled, weight) < EXACT**2
    reasons = {count: too_few(design, rows, count, exact) for count in components}
    if all(reasons.values()):
        count, reason = list(reasons.items())[-1]
        raise ValueError(f"no {count} component{'s' * (count != 1)}: {reason}")
    step = 0.0 if rows.offset.any() or law is not None else step_of(rows.y)
    with host.float64():
        for count, reason in reasons.items():
            if reason:
                advice.append(f"{count} components were not tried: {reason}")
                continue
            own = single if count == 1 and not given else method
            own_options = given | (shared if count > 1 else {})
            one = methods.batch(
                own,
                *scaled,
                count,
                seed,
                row_weights=weight,
                terms=terms | rows.known_of(count),
                step=step / units.unit,
                **own_options,
            )
            if one.spurious() or not np.isfinite(one.log_likelihood):
                judged = scaled[1] if law is None else law.transformed(scaled[1])
                advice.append(refusal(one, scaled[0], judged, units.unit))
                continue
            if not one.converged and not exact:
                advice.append(f"{count} components: not converged after {int(one.iterations)} steps")
            one = fits[count] = _by_weight(one, len(design.labels))
            unscaled = units.fit(one, total, gate_units)
            values[count] = {
                "log_likelihood": float(unscaled.log_likelihood),
                "aic": float(aic(unscaled)),
                "bic": float(bic(unscaled, total)),
                "icl": float(bic(unscaled, total)) - 2 * _sureness(unscaled, rows),
            }
        if not fits:
            raise ValueError(f"{n} rows do not carry {max(components)} components; {'; '.join(advice)}")
        criteria = pd.DataFrame.from_dict(values, orient="index").rename_axis("components")
        best = int(criteria[criterion].idxmin())
        fit: Fit = jax.tree.map(np.asarray, units.fit(fits[best], total, gate_units))
        form = "sandwich" if rows.sampled else "observed"
        full = methods.filled(*scaled, weight, terms | rows.known_of(best))
        own_matrix = covariance(fits[best], *full[:2], form=form, row_weights=full.weight, **full.terms)
        in_z = None if fit.gate is None else gate_units
        matrix = units.covariance(fits[best].mixture, np.asarray(own_matrix), in_z)
        of_gate = None if fit.gate is None else np.asarray(gate_errors(fit, matrix))
    errors = errors_of(fit, matrix)
    floor, by_rounding = fit.options and float(fit.options.variance_floor), least_variance(step)
    if by_rounding and floor is not None and np.isclose(floor, by_rounding, rtol=1e-6):
        advice.append(
            f"responses are multiples of {step:.6g}: sigma is at least {np.sqrt(by_rounding):.3g}, that of"
            " rounding; --option variance_floor= gives another square of it"
        )
    if exact:
        advice.append("a single line passes through all rows: there is no noise to judge it by")
    few = few_rows(fit.mixture, *whole, weight, law) if plain else np.zeros((best, d), bool)
    if few.any():
        fit = fit.marked("few_rows")
        trusted: Any = np.where(few, np.nan, errors.coefficients)
        errors = errors._replace(coefficients=trusted)
        for k, j in np.argwhere(few):
            advice.append(f"component {k + 1}: {design.names[j]} rests on fewer than five rows: no interval")
    if np.isnan(matrix).all():
        fit = fit.marked("singular")
    lower, upper = confidence_intervals(fit, errors)
    row_terms = terms_of(fit, rows)
    posterior = evaluate.posterior(fit.mixture, *whole, row_terms)
    prior = evaluate.weights(fit.mixture, row_terms)
    if "floor" in str(fit.result):
        advice.append("no intervals for a component whose variance rests on its floor")
    elif np.isnan(matrix).all():
        advice.append("no standard errors: the information is singular at this optimum")
    advice.extend(falls(criteria["log_likelihood"]))
    c = fit.options and fit.options.outlier_density
    outlier = None if c is None else evaluate.outliers(fit.mixture, *whole, float(c), row_terms)
    advice.extend(doubts(rows, fit.mixture, posterior, prior, matrix, law, outlier))
    if best > 1 and not design.labels and law is None and c is None:
        variance = max(_single_variance(*scaled, weight), float(np.finfo(float).tiny)) * units.unit**2
        alone = total * (np.log(2 * np.pi * variance) + 1) + (d + 1) * float(np.log(total))
        if alone < criteria.loc[best, "bic"]:
            advice.append(
                f"a single line has the lower BIC, {alone:.6g}: nothing speaks for {best} components"
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
        prior,
        of_gate,
        outlier,
    )


def _units(design: Design, rows: TableRows, law: Law | None) -> Units:
    """Units in which what is common to all components stays so: that rules out some.

    Responses of a law with a link keep theirs.
    """
    partly_common = 0 < len(design.common) < len(design.names)
    # Lines that meet at x = 0 do not meet at the mean of x.
    centred_at = None if partly_common and design.intercept in design.common else design.intercept
    units = Units.of(rows.phi, rows.y, centred_at, weight=rows.weight)
    if law is not None and law.newton:
        units = units._replace(origin=0.0, unit=1.0)
    return units if partly_common else units.orthogonal(rows.phi)


def _single_variance(phi: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> float:
    """The mean square of what a single line leaves, by least squares."""
    root = np.ones(len(y)) if weight is None else np.sqrt(weight)
    x, response = root[:, None] * phi, root * y
    left = float(np.sum((response - x @ np.linalg.lstsq(x, response, rcond=None)[0]) ** 2))
    return left / float(np.sum(root**2))


def _by_weight(fit: Fit, named: int) -> Fit:
    """The components from the heaviest to the lightest, behind those that known labels name.

    Equal weights keep their order.
    """
    beta, weights, variance = fit.mixture
    others = named + np.argsort(-np.asarray(weights)[named:], kind="stable")
    order: Any = np.concatenate([np.arange(named), others])
    mixture = Mixture(beta[order], weights[order], variance[order] if variance.ndim else variance)
    return fit._replace(mixture=mixture, gate=None if fit.gate is None else centred(fit.gate, order))


def terms_of(fit: Fit, rows: TableRows) -> evaluate.Terms:
    """Groups, labels and the gate of the rows of a table, for a fit to them."""
    known = rows.known_of(len(fit.mixture.weights)).get("known")
    gate = None if fit.gate is None else np.asarray(fit.gate)
    return evaluate.Terms(gate, rows.concomitant, rows.groups, known, rows.weight, fit.constraints.law)


def _sureness(fit: Fit, rows: TableRows) -> float:
    """sum_i w_i log max_k p_ik with the posterior p of rows or groups, which ICL takes from BIC twice."""
    sure = np.log(evaluate.posterior(fit.mixture, rows.phi, rows.y, terms_of(fit, rows)).max(axis=1))
    if rows.groups is not None:
        return float(sure[np.unique(rows.groups, return_index=True)[1]].sum())
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
    design, sample, pieces, whole = survey(source, response, formula, reading, chunk)
    check_method(method, list(sample.terms()))
    check(design, sample, components, collinear=not whole)
    # A method of unknown symmetry may be symmetric, and is right without a centred response too.
    units = Units.of(sample.phi, sample.y, design.intercept, centre_response=symmetric is False)
    given = in_units(method, options or {}, units.unit)
    stream = methods.stream(method, components, given, len(design.names), seed, watched=True)
    assumed = stream.mixture().noise_variance
    # Later rows may tell columns apart that are collinear up to there.
    doubtful = bool(collinear_columns(design.names, units, sample.phi))
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
    if doubtful and (message := collinear_columns(design.names, units, sample.phi, factor)):
        raise ValueError(message)


_report = jax.jit(diagnostics.report)
