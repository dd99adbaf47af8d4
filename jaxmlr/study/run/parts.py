"""What of a study stands alone: the values of one method at one grid point, known by a fingerprint.

A part's numbers depend on the problem at its point, on the method's options there, on what is recorded, and
on what computes them; not on the other methods and points, on the number of trials or the size of blocks.
Numbers that vary over a grid enter a program as arguments, and others as constants, which may round
otherwise: so the paths of a grid's numbers, not their values, belong to every part.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxmlr.evaluation.metrics import running_means
from jaxmlr.study.compute.limits import LIMIT_TRIALS
from jaxmlr.study.compute.plan import PROBLEM, Chosen, rows
from jaxmlr.study.declare import grid
from jaxmlr.study.declare.paths import plain, replaced
from jaxmlr.study.declare.spec import Study


class SavedStudy(Study):
    """A study as its folder describes it, to read and not to run: no name in it is looked up or imported."""

    def __post_init__(self) -> None:
        """Check nothing: it was checked before it was saved."""

    @property
    def recorded(self) -> np.ndarray:
        """The recorded steps, which a folder lists in full."""
        return np.asarray(self.record, np.int64)

    @property
    def batch(self) -> tuple[str, ...]:
        """Whose methods are batch methods is not known without importing them."""
        return ()


class Parts(NamedTuple):
    """The parts of a study.

    Fields:
      of: method, or `PROBLEM` -> fingerprint of each of its rows.
      saved: the same without what is not saved: the oracle, where no metric asks for it.
      problem: part -> the row of the problem that it belongs to.
      limits: fingerprint of the limits at all problems.
    """

    of: dict[str, list[str]]
    saved: dict[str, list[str]]
    problem: dict[str, int]
    limits: str

    def chosen(self, wanted: set[str]) -> Chosen:
        """Rows of methods, and of the problem, whose parts are wanted."""
        every = {
            name: tuple(row for row, part in enumerate(listed) if part in wanted)
            for name, listed in self.saved.items()
        }
        return {name: listed for name, listed in every.items() if listed}


def parts(study: Study, environment: Mapping[str, Any], functions: Mapping[str, str]) -> Parts:
    """The parts of a study.

    Args:
      study: the study.
      environment: what computes it: versions, code, device.
      functions: a digest of the code of each function that is not this package's, by its path in the study.
    """
    points = study.points
    table = study.to_table()

    def belonging(prefix: str) -> dict[str, str]:
        return {
            path.removeprefix(prefix): digest for path, digest in functions.items() if path.startswith(prefix)
        }

    of_metrics = {"functions of the metrics": own} if (own := belonging("metrics.")) else {}
    common: dict[str, Any] = {
        "environment": dict(environment),
        "recorded": study.recorded.tolist(),
        "functions of the problem": belonging("problem."),
        "axes": sorted(path for path, column in points.items() if all(map(grid.is_number, column))),
        **of_metrics,
        **({"arguments": True} if table.get("arguments") else {}),
        **{key: table[key] for key in ("seed", "steps", "precision", "metrics")},
    }

    def at(node: Mapping[str, Any], prefix: str, k: int) -> Any:
        for path, column in points.items():
            if path.startswith(prefix):
                node = replaced(node, path.removeprefix(prefix).split("."), column[k], path)
        return node

    of: dict[str, list[str]] = {}
    problem: dict[str, int] = {}
    every = rows(study)
    for name, (first, _) in every.items():
        of_method = {"functions": belonging(f"estimators.{name}.")}
        of[name] = []
        for k in first:
            what = {**common, **of_method, "problem": at(table["problem"], "problem.", k)}
            if name != PROBLEM:
                what["method"] = at(table["estimators"][name], f"estimators.{name}.", k)
            of[name].append(_digest(what))
            problem[of[name][-1]] = int(every[PROBLEM].of[k])
    oracle = bool(running_means(study.metric_names))
    saved = {name: listed for name, listed in of.items() if name != PROBLEM or oracle}
    return Parts(of, saved, problem, _digest([of[PROBLEM], min(study.trials, LIMIT_TRIALS)]))


def group_of(listed: Iterable[str]) -> str:
    """A short name of a set of parts."""
    return _digest(sorted({*listed}))[:12]


def _digest(what: Any) -> str:
    text = json.dumps(what, sort_keys=True, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
