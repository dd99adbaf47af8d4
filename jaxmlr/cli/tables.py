"""The commands `fit`, `predict` and `warm` and their options; what they do is imported when they run."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import jax
import typer

from jaxmlr._xla import cache, programs
from jaxmlr.batch import ahead
from jaxmlr.cli import dialect
from jaxmlr.cli.settings import Column, Picture, Width, counts_of, inches_of, key_values
from jaxmlr.fitting import methods
from jaxmlr.fitting.terminal import say


@dialect.reads()
def fit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="CSV, Parquet or Arrow file, sqlite:///FILE?table=NAME, or - for CSV on standard input.",
        ),
    ],
    response: Annotated[str | None, typer.Option(metavar="COLUMN", help="What to explain.")] = None,
    formula: Annotated[
        str | None,
        typer.Option(
            help="As in R: 'y ~ x1 + log(x2) + C(group)'; without it, all other columns. Names with blanks or"
            " signs stand in backticks. Behind a bar, as 'y ~ x | z', stand concomitants."
        ),
    ] = None,
    components: Annotated[
        str, typer.Option(metavar="K|A:B", help="How many lines, or a range to choose from.")
    ] = "2",
    method: Annotated[
        str, typer.Option(help=f"One of {', '.join(methods.METHODS)}; or package.module:function.")
    ] = "fit",
    criterion: Annotated[str, typer.Option(help="aic, bic or icl: what chooses from a range.")] = "bic",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for tables and a picture.")] = None,
    kind: Annotated[str, typer.Option("--format", help="Of the tables in --out: csv or parquet.")] = "csv",
    picture: Picture = None,
    width: Width = None,
    column: Column = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="How much a row counts; any multiple is the same fit."),
    ] = None,
    weights_are: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="relative: beside other rows; counts: of equal rows; sampling: one over the probability to"
            " be in the table, with standard errors by the sandwich.",
        ),
    ] = "relative",
    offset: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Added with coefficient 1, as offset(...) in a formula."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Rows with the same entry share their component, as repeats do."),
    ] = None,
    concomitant: Annotated[
        str | None,
        typer.Option(
            metavar="TERMS",
            help="What the weights of the components depend on, as 'z1 + log(z2)': softmax(alpha_k' z).",
        ),
    ] = None,
    known_labels: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The component of a row, or the set that it is one of, as 2 or 1|3, by number or by name;"
            " blank where nothing is known.",
        ),
    ] = None,
    common: Annotated[
        str | None,
        typer.Option(
            metavar="TERMS",
            help="Terms of the formula whose coefficients all components share, as 'z + C(g)'; 1 is the"
            " intercept.",
        ),
    ] = None,
    family: Annotated[
        str,
        typer.Option(
            help="Of the response: normal; poisson, counts; binomial, 0 and 1; gamma, positive; student,"
            " heavy tails. Means of the middle three are exp(line), 1 / (1 + exp(-line)), exp(line)."
        ),
    ] = "normal",
    robust: Annotated[
        bool,
        typer.Option("--robust", help="Set gross errors apart, as outliers; one sigma for all components."),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="NAME=VALUE", help="Any other of the method; variances in units of the table."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    latex: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the coefficients as a table for LaTeX.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the random starts.")] = 0,
    *,
    written: Mapping[str, Any],
) -> None:
    """Fit a mixture of linear regressions to a table, in 64 bits on the CPU.

    How the file is written is recognised where that is certain, and said; the options from --separator on
    say it otherwise.
    """
    counts = counts_of(components)
    cache.keep()
    row_terms = (group, concomitant, known_labels, common)
    plain = all(each is None for each in row_terms) and "|" not in (formula or "")
    if method == "fit" and plain and not settings and family == "normal" and not robust:
        ahead.begin(counts)  # while what reads tables is imported, and the table is read
    try:
        from jaxmlr.cli import fit as command
        from jaxmlr.fitting.tables.dialect import Reading
        from jaxmlr.fitting.tables.terms import Terms
        from jaxmlr.fitting.tables.weights import Weights
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; pip install 'jaxmlr[data]'") from error
    drawn = command.Drawn()
    if (picture, width, column) != (None, None, None):
        drawn = command.Drawn(picture, inches_of(picture, width, column))
    what = command.Asked(
        data=data,
        response=response,
        formula=formula if offset is None else command.with_offset(formula, offset),
        counts=counts,
        method=method,
        criterion=criterion,
        seed=seed,
        reading=Reading(**written),
        weights=None if weights is None else Weights(weights, weights_are),
        terms=Terms(group, concomitant, known_labels, common),
        options=key_values("--option", settings) | ({} if family == "normal" else {"family": family}),
        robust=robust,
    )
    command.fit(what, out, kind, as_json, latex, drawn)


@dialect.reads()
def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="The folder of `jaxmlr fit --out`, or its model.json.")
    ],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="New rows: CSV, Parquet or Arrow file, or - for CSV.")
    ],
    interval: Annotated[
        float | None,
        typer.Option(metavar="LEVEL", help="Add prediction intervals, as .95: two where y has two modes."),
    ] = None,
    given: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The response is there: it tells the component.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ends in .csv or .parquet; else printed."),
    ] = None,
    *,
    written: Mapping[str, Any],
) -> None:
    """Predict new rows with a saved model.

    Columns: row; mean, the expectation of the response; component_k, each line; probability_k, of each
    component: its weight, or with --given its posterior, and then label; lower_k and upper_k, the ends of the
    intervals. What the formula has learnt, such as means, knots and levels, is as in the fit.
    """
    try:
        from jaxmlr.cli import predict as command
        from jaxmlr.fitting.tables.dialect import Reading
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; pip install 'jaxmlr[data]'") from error
    command.predict(model, data, interval, given, out, Reading(**written))


def warm(
    components: Annotated[
        str, typer.Option(metavar="K|A:B", help="How many lines the fits to come shall have.")
    ] = "1:5",
) -> None:
    """Compile now what `jaxmlr fit` needs, and keep it: the first fit then takes as long as any other.

    The programs serve tables of up to 16,384 rows and 13 columns. Another version of jaxmlr or of jax needs
    others.
    """
    counts, start = counts_of(components), time.perf_counter()
    cache.keep()
    ahead.begin(counts)
    programs.finish()
    folder = jax.config.values["jax_compilation_cache_dir"]
    say(f"{folder}: programs for {components} components, in {time.perf_counter() - start:.1f} s")
