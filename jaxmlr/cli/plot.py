"""`jaxmlr plot`: pictures of a study's results."""

from pathlib import Path
from typing import Annotated

import typer

from jaxmlr.cli.settings import Column, Folder, Width, key_values, loaded


def plot(
    folder: Folder,
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric to draw, once for each; the default is chosen.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="curves, heat (over two axes) or phase (which method is best); auto chooses.")
    ] = "auto",
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=VALUE", help="Draw one value of a grid axis: --select problem.p=0.6"),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="png|pdf|svg", help="Once for each; png and svg by default."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The one file to write; its ending is its format.")
    ] = None,
    width: Width = None,
    column: Column = None,
) -> None:
    """Draw a study's results into its folder, a file for each kind, metrics and selection."""
    results = loaded(folder)
    choice = key_values("--select", select)
    try:
        from jaxmlr.study.results import pictures
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; pip install 'jaxmlr[plot]'") from error
    paths = pictures.save(
        results,
        folder,
        metric or None,
        kind,
        choice=choice,
        formats=formats or ("png", "svg"),
        out=out,
        width=width,
        column=column,
    )
    for path in paths:
        print(path)
