"""How much the rows of a table count, by a column of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jaxmlr import _check
from jaxmlr.fitting.tables import codes, columns

KINDS = ("relative", "counts", "sampling")


@dataclass(frozen=True)
class Weights:
    """A column of weights and what they mean; in all kinds w and c w give the same lines.

    relative  how much a row counts beside the others: the weights are scaled to mean 1
    counts    how many equal rows stand in one: not scaled, n is their sum
    sampling  one over the probability of being in the table: mean 1, standard errors by the sandwich
    """

    column: str
    kind: str = "relative"

    def __post_init__(self) -> None:
        """Raise ValueError for another kind."""
        _check.choice("--weights-are", self.kind, KINDS)

    def of(self, frame: pd.DataFrame, rows: "pd.Index[Any]") -> "tuple[pd.Series[Any], int, tuple[str, ...]]":
        """The weights of those of `rows` that count, how many have weight 0, and what is to be said.

        Args:
          frame: of `read.read`.
          rows: labels of those that have all other entries.

        Raises:
          ValueError: no such column, or entries that are no weights; the row is named.
        """
        values = columns.column(frame, self.column)
        numeric = pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)
        if not numeric:
            raise ValueError(f"--weights {self.column}: the column must hold numbers")
        codes.check(values, frame.attrs.get("missing", ()))
        weight = values.astype(np.float64).loc[rows]
        bad = ~(weight.isna() | ((weight >= 0) & np.isfinite(weight)))
        if self.kind == "counts":
            bad |= weight.notna() & (weight != np.round(weight))
        if bad.any():
            what = "a whole number" if self.kind == "counts" else "a finite number"
            row = bad.idxmax()
            raise ValueError(
                f"row {row}, column {self.column!r}: a weight must be {what}, 0 or more, not {weight[row]:g}"
            )
        none = int((weight == 0).sum())
        weight = weight[weight > 0]
        if weight.empty:
            raise ValueError(f"--weights {self.column}: no row has a weight above 0")
        said = [f"rows of weight 0 are left out: {none:,}"] if none else []
        if self.kind == "counts":
            said.append(f"column {self.column!r} counts equal rows: {weight.sum():,.0f} in all")
        else:
            weight = weight / weight.mean()
            said.append(
                f"rows count by column {self.column!r}, scaled to mean 1; --weights-are counts does not scale"
            )
        return weight, none, tuple(said)
