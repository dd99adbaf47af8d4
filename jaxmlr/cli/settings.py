"""What several commands take: a folder of results, and settings written as key=value."""

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxmlr.fitting.terminal import say

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study's results.")]
Width = Annotated[float | None, typer.Option(metavar="INCHES", help="Of the picture, 2 to 20.")]
Column = Annotated[
    str | None, typer.Option(metavar="single|double", help="A journal's width: 3.5 or 7.16 inches.")
]
Picture = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A picture of this name: .png, .pdf or .svg.")
]


_QUOTED = r""""([^"]*)"|'([^']*)'"""
_SETTING = re.compile(rf"""(?P<key>(?:{_QUOTED}|[^="'])+)=(?P<text>.*)""", re.DOTALL)


def key_values(option: str, settings: list[str] | None) -> dict[str, Any]:
    """Read `key=value` settings; both are written as in TOML, but bare words are texts.

    Raises:
      ValueError: a setting has no key or no equals sign.
    """
    values: dict[str, Any] = {}
    for setting in settings or []:
        quoted = _SETTING.fullmatch(setting)
        key, equals, text = setting.partition("=")
        if quoted:
            key, text = re.sub(_QUOTED, r"\1\2", quoted["key"]), quoted["text"]
        if not equals or not key:
            raise ValueError(f"{option} must be key=value, not {setting!r}")
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
        except RecursionError as error:
            raise ValueError(f"{option} {key}: its value is nested too deeply") from error
        except tomllib.TOMLDecodeError:
            values[key] = text
    return values


def inches_of(picture: Path | None, width: float | None, column: str | None) -> float:
    """The width of a picture, once its file, if it has a name of its own, is one that can be drawn.

    Raises:
      ValueError: as `style.width_of`; another ending; or there is no matplotlib.
    """
    try:
        from jaxmlr.fitting import style
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; pip install 'jaxmlr[plot]'") from error
    if picture is not None and picture.suffix[1:] not in style.FORMATS:
        raise ValueError(f"--picture must end in .png, .pdf or .svg, not {picture}")
    return style.width_of(width, column)


def loaded(folder: Path) -> Any:
    """A study's results; that they are those of an unfinished one is said on standard error."""
    from jaxmlr.study import load

    results = load(folder)
    if results.attrs.get("unfinished"):
        trials = json.loads(results.attrs["study"])["trials"]
        so_far = f"{results.attrs['trials']:,} of {trials:,} trials so far"
        say(f"{folder}: not finished, {so_far}", file=sys.stderr)
    return results


def counts_of(text: str) -> list[int]:
    """The numbers of components that `--components` asks for."""
    if not re.fullmatch(r"[0-9]{1,3}(:[0-9]{1,3})?", text):
        raise ValueError(f"--components must be a number or a range as 1:5, not {text!r}")
    first, _, last = text.partition(":")
    counts = list(range(int(first), int(last or first) + 1))
    if not counts or counts[0] < 1:
        raise ValueError(f"--components must be at least 1 and rise, not {text!r}")
    return counts
