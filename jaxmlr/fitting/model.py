"""A fitted mixture that is kept: saved as JSON, loaded, and asked about new rows."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from jaxmlr import _check
from jaxmlr.batch import families
from jaxmlr.fitting import evaluate
from jaxmlr.fitting.intervals import densest
from jaxmlr.mixture import Mixture

if TYPE_CHECKING:
    import pandas as pd

    from jaxmlr.fitting.tables.design import Design

FORMAT = "jaxmlr model 1"
OF_FAMILY = "jaxmlr model 2"  # has a family, which readers of 1 would not see


@dataclass(frozen=True)
class Model:
    """A mixture and the design that turns rows of a table into its regressors."""

    design: "Design"
    mixture: Mixture  # in the units of the table, NumPy float64
    about: dict[str, Any]  # how it came about: plain values, for people and reports
    gate: np.ndarray | None = None  # (K, m) alpha: weights are softmax(alpha_k' z) of the concomitants z
    family: str = "normal"  # of the response
    degrees: float | None = None  # of freedom of "student"

    def save(self, path: str | Path) -> None:
        """Write the model as JSON, in full precision; an old file is replaced at once or not at all.

        Raises:
          OSError: the file cannot be written.
        """
        from jaxmlr.fitting.tables import saved

        beta, weights, variance = (np.asarray(leaf, np.float64).tolist() for leaf in self.mixture)
        values = {
            "format": FORMAT if self.family == "normal" else OF_FAMILY,
            "about": self.about,
            "mixture": {"coefficients": beta, "weights": weights, "noise_variance": variance},
            "gate": None if self.gate is None else np.asarray(self.gate, np.float64).tolist(),
            "design": saved.dumped(self.design),
        }
        if self.family != "normal":
            values |= {"family": self.family, "degrees": self.degrees}
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False), "utf-8")
        os.replace(partial, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. It is data: nothing in it is run.

        Raises:
          OSError: the file cannot be read.
          ValueError: it is not a saved model.
        """
        from jaxmlr.fitting.tables import saved

        try:
            values = json.loads(Path(path).read_text("utf-8"))
            if values["format"] not in (FORMAT, OF_FAMILY):
                raise ValueError(f"its format is {values['format']!r}, not {FORMAT!r}")
            parts = [np.asarray(values["mixture"][name], np.float64) for name in Mixture._fields]
            design, about = saved.loaded(values["design"]), dict(values["about"])
            mixture = _checked(parts, len(design.names))
            gate = None if values.get("gate") is None else np.asarray(values["gate"], np.float64)
            _check_gate(gate, len(mixture.weights), design)
            family = {"family": values.get("family", "normal")}
            family |= families.facts(family["family"], values.get("degrees"))
        except (ValueError, KeyError, TypeError, UnicodeError, RecursionError) as error:
            raise ValueError(f"{path} is not a saved model: {error}") from error
        return cls(design, mixture, about, gate, **family)

    def predict(
        self, frame: "pd.DataFrame", *, interval: float | None = None, given: bool = False
    ) -> "pd.DataFrame":
        """What the mixture says of new rows, whose regressors must all be there.

        Args:
          frame: a table with the columns of the formula, concomitants included; its index numbers the rows.
          interval: in (0, 1): the probability of the sets `lower_1` to `upper_1`, and further where the set
            of highest density has several parts. They know of noise and membership, not of the error of
            the estimate.
          given: whether the response is there, which then tells the component: of a group, where the
            column of groups is there too.

        Returns:
          For each usable row: `row`; `mean`, E[y | x]; `component_k`, the lines, or of a family with another
          link the means of y under the components; `probability_k`,
          P(z = k | x, y), or the weights where the response is not given, those of its concomitants; with
          it `label`, the most probable component from 1.

        Raises:
          ValueError: a missing column, a level that the model does not know, or entries of a wrong kind.
        """
        import pandas as pd

        rows = self.design.observations(frame, response=given)
        law = families.law(self.family, self.degrees)
        terms = evaluate.Terms(self.gate, rows.concomitant, rows.groups, law=law)
        lines = evaluate.means(self.mixture, rows.phi, terms) + rows.offset[:, None]
        weights = np.broadcast_to(evaluate.weights(self.mixture, terms), lines.shape)
        posterior = weights
        if given and len(lines):
            posterior = evaluate.posterior(self.mixture, rows.phi, rows.y, terms)
        columns: dict[str, Any] = {"row": rows.rows, "mean": (lines * weights).sum(axis=1)}
        columns |= {f"component_{k + 1}": line for k, line in enumerate(lines.T)}
        columns |= {f"probability_{k + 1}": column for k, column in enumerate(posterior.T)}
        if given:
            columns["label"] = posterior.argmax(axis=1) + 1
        if interval is not None:
            _check.number("interval", interval, above=0, below=1, scalar=True)
            if law is not None:
                raise ValueError(
                    f"interval must be None with family={law.name!r}: sets are of normal responses"
                )
            sigma = np.sqrt(np.broadcast_to(self.mixture.noise_variance, lines.shape[1:]))
            ends = densest(lines, weights, sigma, interval)
            for i in range(ends.shape[1]):
                columns |= {f"lower_{i + 1}": ends[:, i, 0], f"upper_{i + 1}": ends[:, i, 1]}
        return pd.DataFrame(columns)


load = Model.load


def _checked(parts: list[np.ndarray], dim: int) -> Mixture:
    beta, weights, variance = parts
    count = len(weights)
    if beta.shape != (count, dim) or weights.ndim != 1 or variance.shape not in ((), (count,)):
        raise ValueError("the parts of its mixture do not fit together")
    if not all(np.isfinite(part).all() for part in parts) or (weights < 0).any() or (variance <= 0).any():
        raise ValueError("its mixture holds numbers that no mixture has")
    leaves: list[Any] = parts
    return Mixture(*leaves)


def _check_gate(gate: np.ndarray | None, components: int, design: "Design") -> None:
    wanted = None if design.gate is None or components == 1 else (components, len(design.gate.names))
    if (None if gate is None else gate.shape) != wanted:
        raise ValueError("its gate does not fit its mixture and its formula")
    if gate is not None and not np.isfinite(gate).all():
        raise ValueError("its gate holds numbers that are not finite")
