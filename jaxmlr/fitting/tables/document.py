"""A fitted table for readers: a page of HTML that stands alone, and a table for LaTeX."""

import itertools
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from jaxmlr.fitting.tables import report
from jaxmlr.fitting.tables.fit import TableFit


def side_by_side(result: TableFit) -> pd.DataFrame:
    """Estimates with standard errors, a row for each term and a column for each component, as text."""
    table = report.coefficients(result)
    table["text"] = [f"{row.estimate:.5g} ({row.standard_error:.2g})" for row in table.itertuples()]
    wide = table.pivot(index="term", columns="component", values="text")
    return wide.loc[list(dict.fromkeys(table["term"]))].rename(columns=lambda k: f"component {k}")


def differences(result: TableFit) -> pd.DataFrame:
    """Coefficients of one component less those of another, with standard errors and 95 % intervals.

        se^2 = C[aj, aj] + C[bj, bj] - 2 C[aj, bj],  C the covariance of all estimates

    Returns:
      Columns `components` (as "1 - 2"), `term`, `difference`, `standard_error`, `lower`, `upper`.
    """
    beta = np.asarray(result.fit.mixture.coefficients)
    count, d = beta.shape
    rows = []
    for a, b in itertools.combinations(range(count), 2):
        for j, name in enumerate(result.design.names):
            if j in result.design.common:
                continue
            i, k = a * d + j, b * d + j
            both = result.covariance[i, i] + result.covariance[k, k] - 2 * result.covariance[i, k]
            trusted = both >= 0 and np.isfinite(result.errors.coefficients[[a, b], j]).all()
            error = float(np.sqrt(both)) if trusted else np.nan
            value = float(beta[a, j] - beta[b, j])
            ends = value - report.NORMAL * error, value + report.NORMAL * error
            rows.append((f"{a + 1} - {b + 1}", name, value, error, *ends))
    return pd.DataFrame(
        rows, columns=["components", "term", "difference", "standard_error", "lower", "upper"]
    )


def latex(result: TableFit) -> str:
    """The coefficients side by side, standard errors in parentheses, as a tabular of the package booktabs."""
    styled = side_by_side(result).rename_axis(index=None, columns=None).style
    escaped = styled.format_index(escape="latex").format_index(escape="latex", axis="columns")
    return str(escaped.to_latex(hrules=True, column_format="l" + "r" * len(result.fit.mixture.weights)))


def save(result: TableFit, about: dict[str, Any], folder: Path, picture: Path | None) -> Path:
    """Write report.html; whatever comes from the table is escaped.

    Args:
      result: of a table.
      about: `report.provenance`, the data's name and the command.
      folder: where to.
      picture: an SVG file of `picture.save` to stand in the page, or None.

    Raises:
      OSError: the file cannot be written.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((files(__package__) / "report.html.jinja").read_text("utf-8"))
    svg = "" if picture is None else picture.read_text("utf-8")
    path = folder / "report.html"
    page = template.render(
        about=about,
        result=result,
        choice=report.choice(result),
        coefficients=report.coefficients(result),
        wide=side_by_side(result),
        differences=differences(result),
        concomitants=report.concomitants(result),
        criteria=result.criteria,
        command=shlex.join(["jaxmlr", *about["command"]]),
        picture=svg[svg.index("<svg") :] if svg else "",
    )
    path.write_text(page, "utf-8")
    return path
