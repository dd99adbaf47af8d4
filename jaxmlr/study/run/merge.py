"""Blocks of trials to statistics of all trials, in the order of the blocks."""

import bisect
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from jaxmlr.study.compute.plan import rows
from jaxmlr.study.compute.program import ORACLE, Values
from jaxmlr.study.declare import grid
from jaxmlr.study.declare.spec import Study
from jaxmlr.study.results import statistics
from jaxmlr.study.results.statistics import Summary
from jaxmlr.study.run.coverage import Unit
from jaxmlr.study.run.parts import Parts
from jaxmlr.study.run.store import Saved, Store

Summaries = dict[str, dict[str, Summary]]  # estimator -> metric -> (rows, records)


class Totals(NamedTuple):
    """What a study's trials amount to."""

    summaries: Summaries
    diverged: dict[str, np.ndarray]  # estimator -> (rows, records)
    differences: Summaries  # from the reference, trial by trial, at all grid points
    kept: dict[str, dict[str, list[np.ndarray]]]  # estimator -> metric -> blocks of (rows, kept trials)


class Merger:
    """Takes units in any order and merges blocks of trials in theirs.

    A block is `size` trials of all parts, however they were cut when they were computed.
    """

    def __init__(self, study: Study, parts: Parts, store: Store | None, missing: Iterable[Unit], size: int):
        self._study, self._parts, self._store, self._size = study, parts, store, size
        self._rows = {name: row.of for name, row in rows(study).items()}
        self._pending = sorted(missing)
        self._early: dict[Unit, Values] = {}
        self._last: tuple[str, Saved] | None = None  # the file that was read last may hold the next block too
        self.trials = 0
        self.totals = Totals({}, {}, {}, {})
        self.settled = False
        self._advance()

    def add(self, unit: Unit, values: Values | None) -> None:
        """Take a unit: method -> metric -> (rows, records, trials), or None where it is in the store."""
        del self._pending[bisect.bisect_left(self._pending, unit)]
        if values is not None and (self._store is None or unit.first < self.trials + self._size):
            self._early[unit] = values
        self._advance()

    @property
    def worst(self) -> float:
        """The largest standard error of the metric in question at the last recorded step."""
        metric = self._study.until["metric"] if self._study.until else self._study.metric_names[0]
        tables = [table for name, table in self.totals.summaries.items() if name != ORACLE]
        errors = [statistics.standard_error(table[metric])[:, -1] for table in tables]
        return float(np.max(np.concatenate(errors))) if errors else np.nan

    @property
    def lost(self) -> int:
        """Trials diverged at the last recorded step, over all methods and grid points."""
        lost = [self.totals.diverged[name][self._rows[name], -1] for name in self.totals.diverged]
        return int(sum(map(np.sum, lost)))

    def _advance(self) -> None:
        while self.trials < self._study.trials and not self.settled:
            stop = min(self.trials + self._size, self._study.trials)
            if self._pending and self._pending[0].first < stop:
                return
            self._merge(self._block(self.trials, stop))
            self.trials = stop
            self._early = {unit: values for unit, values in self._early.items() if unit.stop > stop}
            if self._study.until is not None:
                self.settled = self.worst <= self._study.until["standard_error"]

    def _block(self, first: int, stop: int) -> Values:
        """The values of a range of trials, NaN behind its last up to the size of a block."""
        block: Values = {}
        for piece in self._pieces(first, stop):
            left, right = max(first, piece.first), min(stop, piece.stop)
            where = {part: (t, row) for t, listed in piece.tables.items() for row, part in enumerate(listed)}
            for name, listed in self._parts.saved.items():
                there = [(row, *where[part]) for row, part in enumerate(listed) if part in where]
                for row, table, place in there:
                    for metric, values in piece.values[table].items():
                        if metric not in block.setdefault(name, {}):
                            shape = (len(listed), values.shape[1], self._size)
                            block[name][metric] = np.full(shape, np.nan, values.dtype)
                        part_of = values[place, :, left - piece.first : right - piece.first]
                        block[name][metric][row, :, left - first : right - first] = part_of
        return block

    def _pieces(self, first: int, stop: int) -> Iterator[Saved]:
        for unit, values in self._early.items():
            if unit.first < stop and unit.stop > first:
                chosen = self._parts.chosen(set(unit.parts))
                tables = {name: [self._parts.saved[name][row] for row in at] for name, at in chosen.items()}
                yield Saved(unit.first, unit.stop, tables, values)
        if self._store is None:
            return
        early = {unit.name for unit in self._early}
        for name in self._store.overlapping(first, stop):
            if name not in early:
                if self._last is None or self._last[0] != name:
                    self._last = name, self._store.load(name)
                yield self._last[1]

    def _merge(self, values: Values) -> None:
        lost = {name: table["finite"] == 0 for name, table in values.items()}
        exact = {
            name: {m: np.where(lost[name], np.nan, x) for m, x in table.items() if m != "finite"}
            for name, table in values.items()
        }
        totals = self.totals
        for name, table in exact.items():
            if name != ORACLE:
                totals.diverged[name] = totals.diverged.get(name, 0) + np.sum(lost[name], axis=-1)
            _add(totals.summaries.setdefault(name, {}), table)
        reference = self._study.reference
        for name in self._study.estimators if reference is not None else ():
            mine, theirs = self._rows[name], self._rows[str(reference)]
            first, _ = self.pairs(name)
            with np.errstate(invalid="ignore"):  # a condition number may be infinite for both: no number
                difference = {
                    m: x[mine[first]] - exact[str(reference)][m][theirs[first]]
                    for m, x in exact[name].items()
                }
            _add(totals.differences.setdefault(name, {}), difference)
        if self._study.keep:
            trials = self.trials + np.arange(self._size)
            wanted = (trials % self._study.keep == 0) & (trials < self._study.trials)
            for name in self._study.estimators:
                of_trials = totals.kept.setdefault(name, {})
                for metric in self._study.metric_names:
                    of_trials.setdefault(metric, []).append(exact[name][metric][:, -1, wanted])

    def pairs(self, name: str) -> tuple[list[int], np.ndarray]:
        """Grid points where the pair of a method and the reference is new, and each point's pair."""
        rows = {
            "mine": self._rows[name].tolist(),
            "theirs": self._rows[str(self._study.reference)].tolist(),
        }
        return grid.distinct(rows, len(rows["mine"]))


def _add(summaries: dict[str, Summary], table: Mapping[str, np.ndarray]) -> None:
    for metric, values in table.items():
        summary = statistics.summarise(values)
        summaries[metric] = statistics.merge(summaries[metric], summary) if metric in summaries else summary
