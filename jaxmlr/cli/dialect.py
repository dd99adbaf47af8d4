"""The options that say how a table's file is written, for every command that reads one."""

from typing import Annotated

import typer

Separator = Annotated[
    str | None, typer.Option(metavar="SIGN", help="Between columns of a text file: a sign, tab or space.")
]
Decimal = Annotated[str | None, typer.Option(metavar="SIGN", help="Decimal sign: . or ,")]
Thousands = Annotated[str | None, typer.Option(metavar="SIGN", help="Between groups of three digits: , or .")]
Encoding = Annotated[str | None, typer.Option(help="Of a text file, as utf-8 or cp1252.")]
Comment = Annotated[str | None, typer.Option(metavar="SIGN", help="Lines that begin with it are left out.")]
SkipRows = Annotated[int | None, typer.Option(min=0, help="Lines in front of the header.")]
Missing = Annotated[
    list[str] | None,
    typer.Option(metavar="ENTRY", help="Stands for a missing entry, beside NA, NaN and the like."),
]
Dates = Annotated[bool, typer.Option("--dates", help="Make dates days since 1970-01-01.")]
