"""The picture of one trial: the scale q, the coefficients and the share of wrong labels over n."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from jaxmlr.fitting import style
from jaxmlr.registry import COLOURS
from jaxmlr.study import Study, Trajectory

DRIFTING = {"color": "0.6", "linewidth": 0.8, "linestyle": ":"}  # the true coefficients


def save(
    study: Study,
    number: int,
    paths: Mapping[str, Trajectory],
    label: np.ndarray,
    file: Path,
    inches: float,
) -> Path:
    """Draw trajectories of a trial into a file.

    Args:
      study: whose trial it is.
      number: of the trial.
      paths: estimator -> its trajectory.
      label: (n,) the components that produced the observations.
      file: where to.
      inches: its width; below 5 the panels stand above one another.

    Returns:
      The file.
    """
    methods = {name: str(study.estimators[name]["method"]) for name in paths}
    looks = style.line_styles(methods, COLOURS)
    rows = 3 if inches < 5 else 1
    with style.drawing(inches):
        figure = Figure(figsize=(inches, (0.6 * rows if rows > 1 else 0.4) * inches), layout="constrained")
        scale, lines, labels = figure.subplots(rows, 3 // rows)
        for name, path in paths.items():
            look = {"color": looks[name].color, "linestyle": looks[name].linestyle}
            if len(path.step) < 50:
                look["marker"] = looks[name].marker
            if path.mixture.weights.shape[1] == 2:
                gap = np.abs(path.mixture.weights[:, 0] - path.mixture.weights[:, 1])
                q = np.where(gap > 0, 1 / np.where(gap > 0, gap, 1), np.nan)  # infinite where p = 1/2
                scale.plot(path.step, q, label=style.plain(name), **look)
            else:
                scale.plot([], [], label=style.plain(name), **look)
            entries = path.mixture.coefficients.reshape(len(path.step), -1)
            lines.plot(path.step, entries, **look)
            if study.problem.drift is not None:
                lines.plot(path.step, path.truth.coefficients.reshape(len(path.step), -1), **DRIFTING)
            if path.info is not None and path.mixture.weights.shape[1] == 2:
                seen = np.isfinite(path.info.residual)
                wrong = np.cumsum(seen & (path.info.label != label)) / np.maximum(np.cumsum(seen), 1)
                labels.plot(path.step, np.minimum(wrong, 1 - wrong), **look)
        titles = "scale $q$", "coefficients", "wrong labels up to $n$"
        for panel, title in zip((scale, lines, labels), titles, strict=True):
            panel.set(xlabel="observations $n$", title=title, xscale="log")
        if any(np.isfinite(line.get_ydata()).any() for line in scale.lines):
            scale.set_yscale("log")
        style.legend(figure, *scale.get_legend_handles_labels())
        style.headline(figure, style.plain(f"{study.name}: trial {number}"))
        return style.save(figure, [file])[0]
