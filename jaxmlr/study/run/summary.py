"""From what a merger has added up to the dataset of a study."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from jaxmlr.study.compute.plan import PROBLEM, rows
from jaxmlr.study.declare.spec import Study
from jaxmlr.study.results import dataset
from jaxmlr.study.run.merge import Merger


def summary(
    study: Study, merger: Merger, limits: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
) -> xr.Dataset:
    """The dataset of the trials that have been merged."""
    of = {name: row.of for name, row in rows(study).items()}
    problem_rows = of.pop(PROBLEM)
    totals = merger.totals
    summaries = {name: table for name, table in totals.summaries.items() if name != PROBLEM}
    return dataset.dataset(
        study,
        summaries,
        totals.diverged,
        totals.summaries.get(PROBLEM, {}),
        limits,
        {**attributes, "trials": merger.trials},
        rows=of,
        problem_rows=problem_rows,
        differences={name: (table, merger.pairs(name)[1]) for name, table in totals.differences.items()},
        kept=totals.kept,
    )
