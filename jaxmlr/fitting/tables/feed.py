"""Lines of a feed as rows of numbers: what cannot be looked at as a whole is read as it is said to be."""

import csv
import math
import re
from collections.abc import Sequence

import numpy as np

from jaxmlr.fitting.tables.dialect import SEPARATORS, Reading
from jaxmlr.fitting.tables.numerals import MISSING


class Feed:
    """The columns that a header names, and rows of them; the intercept takes the place of the response."""

    def __init__(self, header: str, response: str, reading: Reading):
        """Read the header.

        Without a separator in `reading`, it is the one of , ; tab and | that stands in the header.

        Raises:
          ValueError: no such response, a name that stands twice, or a separator that is not certain.
        """
        used = [sign for sign in (",", ";", "\t", "|") if sign in header]
        if reading.separator is None and len(used) > 1:
            raise ValueError(f"several signs may separate the columns of {header[:60]!r}: give --separator")
        self.separator = SEPARATORS.get(reading.separator or "", reading.separator) or (used or [","])[0]
        self.reading = reading
        all_names = [name.strip() for name in self._fields([header])[0]]
        self.width = len(all_names)
        self.kept = [i for i, name in enumerate(all_names) if name]  # no name: row numbers
        self.names = [all_names[i] for i in self.kept]
        if response not in self.names:
            shown = ", ".join(self.names[:20])
            raise ValueError(f"no column {response!r}; standard input has {shown}; --separator may help")
        twice = [name for name in self.names if self.names.count(name) > 1]
        if twice:
            raise ValueError(f"two columns are called {twice[0]!r}; give one of them another name")
        self.place = self.names.index(response)
        self.regressors = [name for i, name in enumerate(self.names) if i != self.place]
        self._missing = MISSING | {*reading.missing}
        self._signs: dict[int, str | None] | None = None  # where numbers are as Python writes them
        if reading.decimal is not None or reading.thousands is not None:
            decimal = reading.decimal or ("," if reading.thousands == "." else ".")
            self._signs = {ord("."): "?", ord(decimal): "."}  # a point that is no decimal sign is an error
            if reading.thousands is not None:
                self._signs[ord(reading.thousands)] = None
        self._said: set[int] = set()  # columns of which it was said that an entry is no number

    def rows(self, lines: Sequence[str], seen: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Rows (n, d) with 1 in the place of the response, the response (n,), and what there is to say.

        Args:
          lines: of the feed; empty ones are no rows.
          seen: how many rows came before.
        """
        entries = [row for row in self._fields(lines) if row]
        table, said = np.full((len(entries), len(self.names)), np.nan), []
        for i, row in enumerate(entries):
            if len(row) != self.width:  # a row of another length is no observation
                if -1 not in self._said:
                    self._said.add(-1)
                    said.append(
                        f"row {seen + i + 1} has {len(row)} entries, not {self.width}: it is not learnt from"
                    )
                continue
            for j, place in enumerate(self.kept):
                table[i, j] = value = self._number(row[place])
                if math.isnan(value) and place not in self._said and row[place].strip() not in self._missing:
                    self._said.add(place)
                    what = f"row {seen + i + 1}, column {self.names[j]!r}: {row[place]!r} is not a number"
                    said.append(f"{what}; rows with such entries are not learnt from")
        y = table[:, self.place].copy()
        table[:, self.place] = 1  # the intercept
        return table, y, said

    def _fields(self, lines: Sequence[str]) -> list[list[str]]:
        if self.separator == r"\s+":
            return [re.findall(r"\S+", line) for line in lines]
        return list(csv.reader(lines, delimiter=self.separator, skipinitialspace=True))

    def _number(self, entry: str) -> float:
        if entry in self._missing:
            return math.nan
        try:
            return float(entry if self._signs is None else entry.translate(self._signs))
        except ValueError:
            return math.nan
