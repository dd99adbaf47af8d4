"""A fitted table on the terminal and in files."""

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from jaxmlr.fitting.tables.fit import StreamFit, TableFit, as_table

_CRITERIA = {"log_likelihood": "log-likelihood", "aic": "AIC", "bic": "BIC", "icl": "ICL"}


def coefficients(result: TableFit | StreamFit) -> pd.DataFrame:
    """The parameters as a tidy table, with standard errors and intervals.

    `note` says "no interval" where none can be trusted; the entries are then NaN.
    """
    if isinstance(result, StreamFit):
        return as_table(result.design, result.mixture)
    table = as_table(
        result.design,
        result.fit.mixture,
        standard_error=result.errors,
        lower=result.lower,
        upper=result.upper,
    )
    return table.assign(note=np.where(table["standard_error"].isna(), "no interval", ""))


def posteriors(result: TableFit) -> pd.DataFrame:
    """For each row that was used: its number, response, label from 1, and posteriors.

    A response that has the name of another column keeps it; the other stands in parentheses, as "(label)".
    """
    response = result.design.response
    own = {"row": result.rows.rows, "label": result.labels + 1}
    own |= {f"posterior_{k + 1}": column for k, column in enumerate(result.posterior.T)}
    named = {f"({name})" if name == response else name: column for name, column in own.items()}
    first, *others = named.items()
    return pd.DataFrame(dict([first, (response, result.rows.y + result.rows.offset), *others]))


def printed(result: TableFit | StreamFit) -> Iterator[Table]:
    """Tables for the terminal."""
    values = coefficients(result)
    for component, part in values.groupby("component"):
        table = Table(title=f"component {component}", title_justify="left")
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
        yield table
    if isinstance(result, TableFit):
        table = Table(title="number of components", title_justify="left")
        for heading in ("K", *_CRITERIA.values()):
            table.add_column(heading, justify="right")
        for count, row in result.criteria.iterrows():
            table.add_row(str(count), *(f"{row[name]:.8g}" for name in _CRITERIA))
        yield table


def lines(result: TableFit | StreamFit) -> Iterator[str]:
    """What there is to say in sentences: rows, starts, and advice."""
    dropped = result.dropped if isinstance(result, StreamFit) else result.rows.dropped
    used = result.used if isinstance(result, StreamFit) else len(result.rows.y)
    yield f"{result.design.formula}: {used:,} rows used, {dropped:,} left out for missing entries"
    yield from result.design.notes
    if isinstance(result, TableFit):
        yield choice(result)
        if result.fit.agreed is not None and result.starts > 1:
            agreed = int(result.fit.agreed)
            yield f"{result.starts} starts; {agreed} of the best, which went on, ended at this optimum"
    yield from result.advice


def choice(result: TableFit) -> str:
    """Which number of components was taken, and by what."""
    best, tried = len(result.fit.mixture.weights), list(result.criteria.index)
    if len(tried) == 1:
        return f"components: {best}, the only number tried; ordered from the heaviest"
    values, name = result.criteria[result.criterion], _CRITERIA[result.criterion]
    second = values.drop(best).idxmin()
    return (
        f"components: {best}, of {tried[0]} to {tried[-1]} the least {name}, {values[best]:.8g}"
        f" (next {second}: {values[second]:.8g}); ordered from the heaviest"
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
    rows = coefficients(result).to_dict("records")
    known = [
        {
            str(key): None if isinstance(each, float) and not np.isfinite(each) else each
            for key, each in row.items()
        }
        for row in rows
    ]
    return about | {"notes": list(result.design.notes), "coefficients": known}


def write(result: TableFit, folder: Path, kind: str) -> Iterator[Path]:
    """Write coefficients, posteriors with labels, and criteria as CSV or Parquet; yields the paths.

    Raises:
      OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {
        "coefficients": coefficients(result),
        "posteriors": posteriors(result),
        "criteria": result.criteria.reset_index(),
    }
    for name, table in named.items():
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
