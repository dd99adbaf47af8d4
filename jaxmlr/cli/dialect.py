"""The options that say how a table's file is written, for every command that reads one."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

OPTIONS: dict[str, Any] = {  # argument of `fitting.tables.dialect.Reading` -> type and default
    "separator": (
        Annotated[
            str | None,
            typer.Option(metavar="SIGN", help="Between columns of a text file: a sign, tab or space."),
        ],
        None,
    ),
    "decimal": (Annotated[str | None, typer.Option(metavar="SIGN", help="Decimal sign: . or ,")], None),
    "thousands": (
        Annotated[str | None, typer.Option(metavar="SIGN", help="Between groups of three digits: , or .")],
        None,
    ),
    "encoding": (Annotated[str | None, typer.Option(help="Of a text file, as utf-8 or cp1252.")], None),
    "comment": (
        Annotated[str | None, typer.Option(metavar="SIGN", help="Lines that begin with it are left out.")],
        None,
    ),
    "skip_rows": (Annotated[int | None, typer.Option(min=0, help="Lines in front of the header.")], None),
    "missing": (
        Annotated[
            list[str] | None,
            typer.Option(metavar="ENTRY", help="Stands for a missing entry, beside NA, NaN and the like."),
        ],
        None,
    ),
    "dates": (Annotated[bool, typer.Option("--dates", help="Make dates days since 1970-01-01.")], False),
}


def reads(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these options, all but some; it takes them as one mapping, its argument `written`."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_options(**arguments: Any) -> None:
            written = {name: arguments.pop(name) for name in OPTIONS if name in arguments}
            command(**arguments, written=written | {"missing": tuple(written["missing"] or ())})

        own = inspect.signature(command)
        options = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in OPTIONS.items()
            if name not in without
        ]
        parameters = [each for name, each in own.parameters.items() if name != "written"]
        with_options.__signature__ = own.replace(  # type: ignore[attr-defined]  # what Typer reads
            parameters=[*parameters, *options]
        )
        types = {name: each for name, each in command.__annotations__.items() if name != "written"}
        with_options.__annotations__ = types | {each.name: each.annotation for each in options}
        return with_options

    return decorated
