"""The line of every key of a TOML file, so that an error about a value can name it."""

import bisect
import re
import tomllib
from collections.abc import Mapping

from jaxmlr.study.declare.errors import Path


def line_of(text: str, path: Path) -> int | None:
    """The line, from 1, of the longest part of `path` that a TOML document has; None if it has none."""
    numbers = lines(text)
    return next((numbers[path[:k]] for k in range(len(path), 0, -1) if path[:k] in numbers), None)


def lines(text: str) -> Mapping[Path, int]:
    """The line, from 1, of every table, key and element of a list in a valid TOML document."""
    return _Document(text).lines


class _Document:
    """Reads a document that `tomllib` has accepted, so it need not look for errors."""

    def __init__(self, text: str):
        self.lines: dict[Path, int] = {}
        self._text, self._at = text.replace("\r\n", "\n"), 0
        self._ends = [end.start() for end in re.finditer("\n", self._text)]
        self._tables: dict[Path, int] = {}  # arrays of tables: how many tables each has so far
        table: Path = ()
        while self._skip(" \t\n"):
            if self._text.startswith("[[", self._at):
                table = self._header(2)
                self._tables[table] = self._tables.get(table, -1) + 1
                table = (*table, self._tables[table])
                self._note(table)
            elif self._text[self._at] == "[":
                table = self._header(1)
            else:
                self._pair(table)

    def _header(self, brackets: int) -> Path:
        """The path of `[a.b]` or `[[a.b]]`, each array of tables on the way at its last table."""
        self._at += brackets
        start = self._at
        path: Path = ()
        keys = self._keys("]")
        for k, key in enumerate(keys, 1):
            path = (*path, key)
            self.lines.setdefault(path, self._line(start))
            if path in self._tables and (brackets == 1 or k < len(keys)):
                path = (*path, self._tables[path])
        self._at += brackets
        return path

    def _pair(self, table: Path) -> None:
        start, path = self._at, table
        for key in self._keys("="):
            path = (*path, key)
            self.lines.setdefault(path, self._line(start))
        self._at += 1
        self._value(path)

    def _keys(self, end: str) -> list[str]:
        """The parts of a dotted key, up to `end`."""
        start = self._at
        while self._text[self._at] != end:
            self._string() if self._text[self._at] in "\"'" else self._step()
        keys: list[str] = []
        node = tomllib.loads(f"{self._text[start : self._at]} = 0")
        while isinstance(node, dict):
            ((key, node),) = node.items()
            keys.append(key)
        return keys

    def _value(self, path: Path) -> None:
        self._skip(" \t")
        opening = self._text[self._at]
        if opening in "\"'":
            self._string()
        elif opening in "[{":
            self._step()
            for place in range(len(self._text)):
                self._skip(" \t\n,")
                if self._text[self._at] in "]}":
                    break
                if opening == "{":
                    self._pair(path)
                else:
                    self._note((*path, place))
                    self._value((*path, place))
            self._step()
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}#\n":
                self._step()

    def _string(self) -> None:
        """Behind the string that begins here, of any of the four kinds."""
        quote = self._text[self._at]
        long = self._text.startswith(3 * quote, self._at)
        self._at += 3 if long else 1
        end = 3 * quote if long else quote
        while not self._text.startswith(end, self._at):
            self._at += 2 if quote == '"' and self._text[self._at] == "\\" else 1
        self._at += len(end)
        while long and self._at < len(self._text) and self._text[self._at] == quote:
            self._step()  # a long string may end with quotes of its own

    def _skip(self, characters: str) -> bool:
        """Behind such characters and comments; whether anything is left."""
        while self._at < len(self._text) and self._text[self._at] in characters + "#":
            if self._text[self._at] == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
                if "\n" not in characters:
                    break
            else:
                self._step()
        return self._at < len(self._text)

    def _step(self) -> None:
        self._at += 1

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, self._line(self._at))

    def _line(self, at: int) -> int:
        return bisect.bisect_left(self._ends, at) + 1
