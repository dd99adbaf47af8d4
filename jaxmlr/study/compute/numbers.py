"""The numbers of a study that its compiled program takes as arguments, where the study asks for that.

They are the floats that stand alone: of the problem and its laws, and among the options of recursive methods.
Two studies that differ in these, or in the seed, have one structure, and so one program.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from jaxmlr.study.compute.plan import is_static
from jaxmlr.study.declare.paths import plain, replaced
from jaxmlr.study.declare.spec import Study

KEPT = 256  # structures whose numbers are known
SEED = "seed"

_known: OrderedDict[tuple[Any, ...], tuple[str, ...]] = OrderedDict()


def numbers(study: Study) -> dict[str, Any]:
    """The numbers that are arguments, by path; none where the study does not ask for it."""
    if not study.arguments:
        return {}
    every = dict(_floats(study))
    key = (_without(study, every), tuple(study.functions.values()))
    if key not in _known:
        _known[key] = tuple(path for path, value in every.items() if not is_static(study, path, [value]))
        while len(_known) > KEPT:
            _known.popitem(last=False)
    return {SEED: study.seed} | {path: every[path] for path in _known[key]}


def structure(study: Study) -> str:
    """A digest of all that a study's compiled program depends on."""
    if not study.arguments:
        # What is done with a block's values does not change the program.
        return study.fingerprint(but=("name", "reference", "until", "keep"))
    return _without(study, numbers(study))


def _without(study: Study, values: Mapping[str, Any]) -> str:
    table: Any = study.to_table()
    for path in values:
        table = replaced(table, path.split("."), "a number", path)
    text = json.dumps(
        {key: x for key, x in table.items() if key not in ("name", "reference", "until", "keep")},
        sort_keys=True,
        default=plain,
    )
    # The order of axes and of methods is the order of the results.
    ordered = [[(axis.name, axis.columns) for axis in study.axes], list(study.estimators), study.block_size]
    return hashlib.sha256((text + json.dumps(ordered, default=plain)).encode()).hexdigest()


def _floats(study: Study) -> Iterator[tuple[str, float]]:
    problem = vars(study.problem)
    laws = ("process", "noise", "drift", "labels")
    tables = {f"problem.{name}": problem[name] or {} for name in laws}
    tables |= {f"estimators.{name}": study.estimators[name] for name in study.recursive}
    single = {"problem": {name: problem[name] for name in ("p", "noise_variance", "missing")}}
    axes = {path for axis in study.axes for path in axis.columns}
    for root, table in (single | tables).items():
        for key, value in table.items():
            path = f"{root}.{key}"
            if isinstance(value, float) and path not in axes and not (key == "missing" and value == 0):
                yield path, value
