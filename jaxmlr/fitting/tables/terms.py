"""What a table tells beside phi and y: groups, concomitants, labels known in part, common coefficients."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxmlr import registry
from jaxmlr.fitting.tables import columns

OPTIONS = {
    "groups": "--group",
    "concomitant": "--concomitant",
    "known": "--known-labels",
    "common": "--common",
}


@dataclass(frozen=True)
class Terms:
    """The columns that say it, and the terms of the formula; None where there is none."""

    group: str | None = None  # rows with the same entry share their component
    concomitant: str | None = None  # the right side of a formula: what the weights depend on
    known_labels: str | None = None  # the components that a row may belong to, as 1 or 1|3; blank: any
    common: str | None = None  # terms of the right side whose coefficients all components share

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that `.` does not stand for."""
        return tuple(name for name in (self.group, self.known_labels) if name is not None)

    def arguments(self) -> Iterable[str]:
        """The arguments of a batch method that these columns give."""
        given = (self.group, self.concomitant, self.known_labels, self.common)
        values = zip(OPTIONS, given, strict=True)
        return [name for name, value in values if value is not None]


def check_method(method: str, arguments: Iterable[str]) -> None:
    """Raise ValueError where a method, as `registry.find` takes it, lacks an argument of these names."""
    for name in arguments:
        if name not in registry.find(method, label="--method").parameters:
            takers = [each for each, record in registry.METHODS.items() if name in record.parameters]
            raise ValueError(f"{OPTIONS[name]}: {method} cannot take it; {' and '.join(takers)} can")


def groups_of(frame: pd.DataFrame, name: str, rows: "pd.Index[Any]") -> "pd.Series[Any]":
    """The group of each of `rows` as text, None where it is missing.

    Raises:
      ValueError: no such column, an empty one, or one without entries that can be read.
    """
    values = columns.column(frame, name)
    if columns.is_empty(values):
        raise ValueError(f"--group {name}: the column is empty")
    return columns.texts(values).loc[rows]


def labels_of(frame: pd.DataFrame, name: str, rows: "pd.Index[Any]") -> tuple[np.ndarray, tuple[str, ...]]:
    """The components that each of `rows` may belong to, and the names of the components.

    An entry is a component or several, as "2" or "1|3"; a blank one tells nothing. Whole numbers from 1 on
    are the numbers of components. Other entries are names, numbered in their order: of numbers where all
    are numbers, else of texts.

    Returns:
      (n, L + 1) bool, of which the last column speaks of all components without a name, and L names.

    Raises:
      ValueError: no such column, an empty one, or an entry that is no set of components; the row is named.
    """
    values = columns.column(frame, name)
    if columns.is_empty(values):
        raise ValueError(f"--known-labels {name}: the column is empty")
    text = columns.texts(values).loc[rows]
    sets = [set() if pd.isna(entry) else {part.strip() for part in entry.split("|")} for entry in text]
    for row, entry, each in zip(rows, text, sets, strict=True):
        if "" in each:
            raise ValueError(
                f"row {row}, column {name!r}: {entry!r} names no components; write one as 2, several as 1|3"
            )
    names = columns.ordered(set[str]().union(*sets))
    if all(re.fullmatch(r"[1-9][0-9]{0,3}", each) for each in names):
        names = [str(k) for k in range(1, max(map(int, names), default=0) + 1)]
    known = np.array([[not each or one in each for one in (*names, None)] for each in sets])
    return known, tuple(names)


class TermValues(NamedTuple):
    """What the columns of `Terms` say of some rows."""

    groups: np.ndarray | None  # (n,) int64 from 0 on, in the order of their first rows
    names: tuple[str, ...]  # of the groups
    known: np.ndarray | None  # (n, L + 1) bool, of `labels_of`
    labels: tuple[str, ...]  # names of the first L components
    notes: tuple[str, ...]  # a sentence each


def read_terms(terms: Terms, frame: pd.DataFrame, rows: "pd.Index[Any]") -> TermValues:
    """What is said of `rows`, none of which lacks a group.

    Raises:
      ValueError: as `groups_of` and `labels_of`; or the labels of a group have no component in common.
    """
    groups = known = None
    labels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    notes = []
    if terms.group is not None:
        texts = groups_of(frame, terms.group, rows)
        groups, levels = pd.factorize(texts)
        names = tuple(map(str, levels))
        notes.append(f"rows of one {terms.group!r} share their component: {len(names):,} groups")
    if terms.known_labels is not None:
        known, labels = labels_of(frame, terms.known_labels, rows)
        called = ", ".join(f"{k} is {name!r}" for k, name in enumerate(labels[:10], 1) if name != str(k))
        count = int((~known.all(axis=1)).sum())
        notes.append(
            f"column {terms.known_labels!r} says to which components {count:,} rows may belong"
            + (f"; component {called}" if called else "")
        )
    if groups is not None and known is not None:
        common = np.ones((len(names), known.shape[1]), bool)
        np.logical_and.at(common, groups, known)
        apart = ~common.any(axis=1)
        if apart.any():
            group = names[int(np.argmax(apart))]
            raise ValueError(f"--known-labels: the rows of group {group!r} have no component in common")
    return TermValues(groups, names, known, labels, tuple(notes))
