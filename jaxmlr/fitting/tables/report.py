"""A fitted table on the terminal and in files."""

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from jaxmlr.batch.families import Law
from jaxmlr.fitting.tables.design import Design
from jaxmlr.fitting.tables.fit import StreamFit, TableFit
from jaxmlr.mixture import Mixture

NAMED = 20  # outliers that are named
NORMAL = 1.959963984540054  # the 97.5 % quantile of N(0, 1)
_CRITERIA = {"log_likelihood": "log-likelihood", "aic": "AIC", "bic": "BIC", "icl": "ICL"}


def coefficients(result: TableFit | StreamFit) -> pd.DataFrame:
    """The parameters as a tidy table, with standard errors and intervals.

    `note` says "no interval" where none can be trusted; the entries are then NaN.
    """
    if isinstance(result, StreamFit):
        return _tidy(result.design, result.mixture)
    table = _tidy(
        result.design,
        result.fit.mixture,
        result.fit.constraints.law,
        standard_error=result.errors,
        lower=result.lower,
        upper=result.upper,
    )
    return table.assign(note=np.where(table["standard_error"].isna(), "no interval", ""))


def _tidy(design: Design, mixture: Mixture, law: Law | None = None, **others: Mixture) -> pd.DataFrame:
    """Every parameter of every component, one row each; `others` are further columns by name.

    The columns `component` (from 1), `term` (a regressor, "weight" or "sigma") and `estimate`. A regressor
    may have the name of a parameter, which then stands in parentheses, as "(weight)". Of gamma responses
    "dispersion" takes the place of "sigma", and counts have neither.
    """
    spread = [] if law is not None and not law.dispersed else ["sigma"]
    if law is not None and law.dispersed and law.newton:
        spread = ["dispersion"]

    def flat(each: Mixture, of_errors: bool) -> list[Any]:
        count = len(each.weights)
        variance = np.broadcast_to(each.noise_variance, (count,))
        sigma = np.sqrt(np.broadcast_to(mixture.noise_variance, (count,)))
        # The standard error of sigma is that of sigma^2 over 2 sigma; ends of intervals are roots.
        last = variance / (2 * sigma) if of_errors else np.sqrt(variance)
        if spread == ["dispersion"]:
            last = variance
        parts = [each.coefficients, each.weights, last][: 2 + len(spread)]
        return np.column_stack(parts).reshape(-1).tolist()

    parameters = [f"({name})" if name in design.names else name for name in ("weight", *spread)]
    terms = [*design.names, *parameters]
    count = len(mixture.weights)
    table = {
        "component": np.repeat(np.arange(1, count + 1), len(terms)),
        "term": terms * count,
        "estimate": flat(mixture, False),
    }
    return pd.DataFrame(table | {name: flat(each, name == "standard_error") for name, each in others.items()})


def concomitants(result: TableFit) -> pd.DataFrame | None:
    """The gate as a tidy table: log weights[k] / weights[1] = alpha_k' z; None where weights are constant.

    Columns `component`, `term`, `estimate`, `standard_error`, `lower`, `upper` (95 %), `reference`: the
    component whose alpha is 0.
    """
    design, alpha = result.design.gate, result.fit.gate
    if design is None or alpha is None or result.gate_errors is None:
        return None
    count, m = np.shape(alpha)
    estimate, error = np.ravel(alpha[1:]), np.ravel(result.gate_errors[1:])
    table = {
        "component": np.repeat(np.arange(2, count + 1), m),
        "term": [*design.names] * (count - 1),
        "estimate": estimate,
        "standard_error": error,
        "lower": estimate - NORMAL * error,
        "upper": estimate + NORMAL * error,
        "reference": 1,
    }
    return pd.DataFrame(table)


def groups(result: TableFit) -> pd.DataFrame | None:
    """For each group of rows: its name, how many rows it has, label from 1, and posteriors; None without."""
    if result.rows.groups is None or result.design.group is None:
        return None
    _, first, sizes = np.unique(result.rows.groups, return_index=True, return_counts=True)
    own = {"rows": sizes, "label": result.labels[first] + 1}
    own |= {f"posterior_{k + 1}": column[first] for k, column in enumerate(result.posterior.T)}
    group = result.design.group
    named = {f"({name})" if name == group else name: column for name, column in own.items()}
    return pd.DataFrame({group: result.rows.group_names} | named)


def posteriors(result: TableFit) -> pd.DataFrame:
    """For each row that was used: its number, response, label from 1, posteriors, and of being an outlier.

    A response that has the name of another column keeps it; the other stands in parentheses, as "(label)".
    """
    response = result.design.response
    own = {"row": result.rows.rows, "label": result.labels + 1}
    own |= {f"posterior_{k + 1}": column for k, column in enumerate(result.posterior.T)}
    own |= {} if result.outlier is None else {"outlier": result.outlier}
    named = {f"({name})" if name == response else name: column for name, column in own.items()}
    first, *others = named.items()
    return pd.DataFrame(dict([first, (response, result.rows.y + result.rows.offset), *others]))


def printed(result: TableFit | StreamFit) -> Iterator[Table]:
    """Tables for the terminal."""
    values = coefficients(result)
    for component, part in values.groupby("component"):
        yield _estimates(f"component {component}", part)
    gate = concomitants(result) if isinstance(result, TableFit) else None
    for component, part in () if gate is None else gate.groupby("component"):
        yield _estimates(f"log weight of component {component} over that of component 1", part)
    if isinstance(result, TableFit):
        table = Table(title="number of components", title_justify="left")
        for heading in ("K", *_CRITERIA.values()):
            table.add_column(heading, justify="right")
        for count, row in result.criteria.iterrows():
            table.add_row(str(count), *(f"{row[name]:.8g}" for name in _CRITERIA))
        yield table


def _estimates(title: str, part: pd.DataFrame) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("term", no_wrap=True)
    table.add_column("estimate", justify="right")
    errors = "standard_error" in part
    if errors:
        for heading in ("std. error", "95 % interval"):
            table.add_column(heading, justify="right", no_wrap=True)
    for row in part.itertuples():
        cells = [str(row.term), f"{row.estimate:.6g}"]
        if errors:
            interval = f"{row.standard_error:.4g}", f"{row.lower:.5g} to {row.upper:.5g}"
            cells += ("none", "none") if np.isnan(row.standard_error) else interval
        table.add_row(*cells)
    return table


def lines(result: TableFit | StreamFit) -> Iterator[str]:
    """What there is to say in sentences: rows, starts, and advice."""
    dropped = result.dropped if isinstance(result, StreamFit) else result.rows.dropped
    used = result.used if isinstance(result, StreamFit) else len(result.rows.y)
    yield f"{result.design.formula}: {used:,} rows used, {dropped:,} left out for missing entries"
    yield from result.design.notes
    if isinstance(result, TableFit):
        if (law := result.fit.constraints.law) is not None:
            yield f"family: {law.words}"
        if result.outlier is not None:
            likely = result.rows.rows[result.outlier > 0.5]
            named = ", ".join(map(str, likely[:NAMED])) + (", ..." if len(likely) > NAMED else "")
            yield (
                f"outliers: {100 * result.outlier.mean():.2g} % of the rows; {len(likely):,} are more likely"
                f" outliers than not{': rows ' + named if len(likely) else ''}"
            )
        if result.fit.gate is not None:
            yield "the weight of a component is the mean of its weights over the rows, or groups"
        yield choice(result)
        if result.fit.agreed is not None and result.starts > 1:
            agreed = int(result.fit.agreed)
            yield f"{result.starts} starts; {agreed} of the best, which went on, ended at this optimum"
    yield from result.advice


def choice(result: TableFit) -> str:
    """Which number of components was taken, and by what."""
    best, tried = len(result.fit.mixture.weights), list(result.criteria.index)
    order = "in the order of the known labels" if result.design.labels else "ordered from the heaviest"
    if len(tried) == 1:
        return f"components: {best}, the only number tried; {order}"
    values, name = result.criteria[result.criterion], _CRITERIA[result.criterion]
    second = values.drop(best).idxmin()
    return (
        f"components: {best}, of {tried[0]} to {tried[-1]} the least {name}, {values[best]:.8g}"
        f" (next {second}: {values[second]:.8g}); {order}"
    )


def provenance(result: TableFit | StreamFit, method: str, seed: int) -> dict[str, Any]:
    """How a fit came about, as plain values: what a saved model and a report say of it."""
    packages = ("jaxmlr", "jax", "jaxlib", "numpy", "pandas", "formulaic")
    versions = {"python": platform.python_version()} | {name: version(name) for name in packages}
    about: dict[str, Any] = {
        "formula": result.design.formula,
        "method": method,
        "seed": seed,
        "versions": versions,
    }
    if isinstance(result, StreamFit):
        count = len(result.mixture.weights)
        return about | {"rows": result.used, "left_out": result.dropped, "components": count}
    criteria = result.criteria.reset_index().to_dict("records")
    return about | {
        "family": result.fit.constraints.family,
        "rows": len(result.rows.y),
        "left_out": result.rows.dropped,
        "components": len(result.fit.mixture.weights),
        "criterion": result.criterion,
        "criteria": [{name: float(value) for name, value in row.items()} for row in criteria],
        "log_likelihood": float(result.fit.log_likelihood),
        "result": result.fit.result,
        "advice": list(result.advice),
    }


def plain(result: TableFit | StreamFit, about: dict[str, Any]) -> dict[str, Any]:
    """A fit as values for JSON: how it came about, notes, and parameters with null for what is not known."""
    values = about | {"notes": list(result.design.notes), "coefficients": _records(coefficients(result))}
    gate = concomitants(result) if isinstance(result, TableFit) else None
    return values if gate is None else values | {"concomitants": _records(gate)}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            str(key): None if isinstance(each, float) and not np.isfinite(each) else each
            for key, each in row.items()
        }
        for row in table.to_dict("records")
    ]


def write(result: TableFit, folder: Path, kind: str) -> Iterator[Path]:
    """Write coefficients, posteriors with labels, and criteria as CSV or Parquet; yields the paths.

    With concomitants and with groups there is a table more of each.

    Raises:
      OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {
        "coefficients": coefficients(result),
        "posteriors": posteriors(result),
        "criteria": result.criteria.reset_index(),
        "concomitants": concomitants(result),
        "groups": groups(result),
    }
    for name, table in named.items():
        if table is not None:
            yield save(table, folder / f"{name}.{kind}")


def save(table: pd.DataFrame, path: Path) -> Path:
    """Write a table as its suffix says, with all digits."""
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False)
    return path


class LabelFile:
    """Labels of a stream, written as they come."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("w", encoding="utf-8", newline="")
        self._header = True

    def add(self, rows: np.ndarray, labels: np.ndarray) -> None:
        """Append rows' numbers and labels, from 1."""
        table = pd.DataFrame({"row": rows, "label": labels + 1})
        table.to_csv(self._file, index=False, header=self._header)
        self._header = False

    def close(self) -> None:
        """End the file."""
        self._file.close()
