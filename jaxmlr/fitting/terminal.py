"""Names on a terminal as the text that they are: no markup, no emoji codes, no control characters."""

import sys
import unicodedata
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text


def printable(text: str) -> str:
    """A text with what would steer a terminal written as in Python, as an escape is x1b after a backslash."""
    steering = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in steering else char
        for char in text
    )


def say(text: str, file: TextIO | None = None) -> None:
    """Print a line, at once; what the stream's encoding lacks is written as in Python."""
    file = file or sys.stdout
    encoding = getattr(file, "encoding", None) or "utf-8"
    shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
    print(shown, file=file, flush=True)


class Terminal(Console):
    """A console that takes every text in titles, headings and cells as it is."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The text without markup and emoji codes, its control characters as in Python."""
        shown = "\n".join(printable(line) for line in text.split("\n"))
        return super().render_str(shown, **options | {"markup": False, "emoji": False, "highlight": False})
