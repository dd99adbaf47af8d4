"""Blocks of trials to statistics of all trials, in the order of the blocks' index."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxmlr.study.compute.plan import Plan
from jaxmlr.study.compute.program import ORACLE, Values
from jaxmlr.study.declare import grid
from jaxmlr.study.declare.spec import Study
from jaxmlr.study.results import statistics
from jaxmlr.study.results.statistics import Summary
from jaxmlr.study.run.store import Store

Summaries = dict[str, dict[str, Summary]]  # estimator -> metric -> (rows, records)


class Totals(NamedTuple):
    """What a study's trials amount to."""

    summaries: Summaries
    diverged: dict[str, np.ndarray]  # estimator -> (rows, records)
    differences: Summaries  # from the reference, trial by trial, at all grid points
    kept: dict[str, dict[str, list[np.ndarray]]]  # estimator -> metric -> blocks of (rows, kept trials)


class Merger:
    """Takes blocks in any order and merges them in theirs."""

    def __init__(self, study: Study, plan: Plan, store: Store | None, there: set[int]):
        self._study, self._plan, self._store, self._there = study, plan, store, set(there)
        self._early: dict[int, Values] = {}
        self.merged = 0  # blocks
        self.totals = Totals({}, {}, {}, {})
        self.settled = False
        self._advance()

    def add(self, block: int, found: Values | None) -> None:
        """Take a block: its values, or None where they are in the store."""
        if found is not None and (self._store is None or block == self.merged):
            self._early[block] = found
        self._there.add(block)
        self._advance()

    @property
    def trials(self) -> int:
        """Trials merged so far."""
        return min(self.merged * self._study.block_size, self._study.trials)

    @property
    def worst(self) -> float:
        """The largest standard error of the metric in question at the last recorded step."""
        metric = self._study.until["metric"] if self._study.until else self._study.metrics[0]
        tables = [table for name, table in self.totals.summaries.items() if name != ORACLE]
        errors = [statistics.standard_error(table[metric])[:, -1] for table in tables]
        return float(np.max(np.concatenate(errors))) if errors else np.nan

    @property
    def lost(self) -> int:
        """Trials diverged at the last recorded step, over all methods and grid points."""
        lost = [self.totals.diverged[name][self._plan.rows[name], -1] for name in self.totals.diverged]
        return int(sum(map(np.sum, lost)))

    def _advance(self) -> None:
        while self.merged in self._there and not self.settled:
            found = self._early.pop(self.merged, None)
            if found is None:
                assert self._store is not None
                found = self._store.load(self.merged)
            self._merge(found)
            self.merged += 1
            if self._study.until is not None:
                self.settled = self.worst <= self._study.until["standard_error"]

    def _merge(self, found: Values) -> None:
        lost = {name: table["finite"] == 0 for name, table in found.items()}
        exact = {
            name: {m: np.where(lost[name], np.nan, x) for m, x in table.items() if m != "finite"}
            for name, table in found.items()
        }
        totals = self.totals
        for name, table in exact.items():
            if name != ORACLE:
                totals.diverged[name] = totals.diverged.get(name, 0) + np.sum(lost[name], axis=-1)
            _add(totals.summaries.setdefault(name, {}), table)
        reference = self._study.reference
        for name in self._study.estimators if reference is not None else ():
            mine, theirs = self._plan.rows[name], self._plan.rows[str(reference)]
            first, _ = self.pairs(name)
            difference = {
                m: x[mine[first]] - exact[str(reference)][m][theirs[first]] for m, x in exact[name].items()
            }
            _add(totals.differences.setdefault(name, {}), difference)
        if self._study.keep:
            start = self.merged * self._study.block_size
            trials = start + np.arange(self._study.block_size)
            wanted = (trials % self._study.keep == 0) & (trials < self._study.trials)
            for name in self._study.estimators:
                here = totals.kept.setdefault(name, {})
                for metric in self._study.metrics:
                    here.setdefault(metric, []).append(exact[name][metric][:, -1, wanted])

    def pairs(self, name: str) -> tuple[list[int], np.ndarray]:
        """Grid points where the pair of a method and the reference is new, and each point's pair."""
        rows = {
            "mine": self._plan.rows[name].tolist(),
            "theirs": self._plan.rows[str(self._study.reference)].tolist(),
        }
        return grid.distinct(rows, len(rows["mine"]))


def _add(here: dict[str, Summary], table: Mapping[str, np.ndarray]) -> None:
    for metric, values in table.items():
        summary = statistics.summarise(values)
        here[metric] = statistics.merge(here[metric], summary) if metric in here else summary
