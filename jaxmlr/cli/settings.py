"""What several commands take: a folder of results, and settings written as key=value."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study's results.")]


def key_values(option: str, settings: list[str] | None) -> dict[str, Any]:
    """Read `key=value` settings; values are written as in TOML, and bare words are texts.

    Raises:
      ValueError: a setting has no key or no equals sign.
    """
    values: dict[str, Any] = {}
    for setting in settings or []:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ValueError(f"{option} must be key=value, not {setting!r}")
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key] = text
    return values
