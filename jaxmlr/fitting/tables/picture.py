"""The picture of a fitted table: lines over the points, residuals, criteria, posteriors. Needs `plot`."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from jaxmlr.batch import bands
from jaxmlr.fitting import evaluate, style
from jaxmlr.fitting.tables.fit import TableFit

POINTS = 5000  # drawn at most


def save(fit: TableFit, folder: Path, width: float | None = None) -> list[Path]:
    """Draw fit.png and fit.svg into a folder and return their paths.

    Args:
      fit: of a table.
      folder: where to.
      width: in inches; None takes that of two columns of a journal.

    Raises:
      OSError: the folder cannot be written.
    """
    return style.save(draw(fit, style.width_of(width)), [folder / f"fit.{kind}" for kind in ("png", "svg")])


def draw(fit: TableFit, width: float) -> Figure:
    """Lines over the points, residuals, and where there is a choice: criteria over K, posteriors."""
    panels = [_lines, _residuals]
    panels += [_criteria] if len(fit.criteria) > 1 else []
    panels += [_rootogram] if fit.posterior.shape[1] > 1 else []
    columns = 1 if width < 5 else 3 if len(panels) == 3 else 2
    rows = -(-len(panels) // columns)
    with style.drawing(width):
        height = (0.9 if columns == 3 else 0.72) * width / columns
        figure = Figure(figsize=(width, height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for draw_panel, place in zip(panels, axes, strict=False):
            draw_panel(place, fit)
        for empty in axes[len(panels) :]:
            empty.remove()
    return figure


def _colour(component: int) -> str:
    return style.PALETTE[component % len(style.PALETTE)]


def _colours(fit: TableFit) -> np.ndarray:
    """The components' colours, mixed in each row by its posterior; (n, 3)."""
    palette = np.array([to_rgb(_colour(k)) for k in range(fit.posterior.shape[1])])
    return np.clip(fit.posterior @ palette, 0, 1)


def _rows_to_draw(fit: TableFit) -> np.ndarray:
    """Rows to draw."""
    n = len(fit.rows.y)
    return np.arange(n) if n <= POINTS else np.random.default_rng(0).choice(n, POINTS, replace=False)


def _lines(axes: Axes, fit: TableFit) -> None:
    """Against the regressor whose coefficient the components differ in most, the others at their means."""
    phi, y = fit.rows.phi, fit.rows.y
    beta = np.asarray(fit.fit.mixture.coefficients)
    matters = (np.ptp(beta, axis=0) if len(beta) > 1 else np.abs(beta[0])) * phi.std(axis=0)
    chosen = int(np.argmax(matters))
    drawn = _rows_to_draw(fit)
    axes.scatter(phi[drawn, chosen], y[drawn], s=12, c=_colours(fit)[drawn], alpha=0.7, linewidths=0)
    grid = np.tile(phi.mean(axis=0), (100, 1))
    grid[:, chosen] = np.linspace(phi[:, chosen].min(), phi[:, chosen].max(), 100)
    law = fit.fit.constraints.law
    mean = law.mean if law is not None else np.asarray
    lower, upper = map(mean, bands(fit.fit, fit.covariance, grid))
    for k, line in enumerate(mean(grid @ beta.T).T):
        axes.plot(grid[:, chosen], line, color=_colour(k), label=f"component {k + 1}")
        axes.fill_between(grid[:, chosen], lower[:, k], upper[:, k], color=_colour(k), alpha=0.25)
    others = ", the others at their means" if phi.shape[1] - (fit.design.intercept is not None) > 1 else ""
    axes.set(xlabel=style.plain(fit.design.names[chosen]) + others, ylabel=style.plain(fit.design.response))
    axes.set_title("lines with 95 % bands")
    axes.legend(frameon=False)


def _residuals(axes: Axes, fit: TableFit) -> None:
    drawn, labels = _rows_to_draw(fit), fit.labels
    lines = evaluate.means(fit.fit.mixture, fit.rows.phi, evaluate.Terms(law=fit.fit.constraints.law))
    fitted = lines[np.arange(len(labels)), labels]
    axes.scatter(
        fitted[drawn], (fit.rows.y - fitted)[drawn], s=12, c=_colours(fit)[drawn], alpha=0.7, linewidths=0
    )
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set(xlabel="line of the most probable component", ylabel="residual", title="residuals")


def _criteria(axes: Axes, fit: TableFit) -> None:
    for k, (name, label) in enumerate((("bic", "BIC"), ("icl", "ICL"), ("aic", "AIC"))):
        look = {"color": _colour(k), "linestyle": style.DASHES[k], "marker": style.MARKERS[k]}
        axes.plot(fit.criteria.index, fit.criteria[name], label=label, markersize=7 - 2 * k, **look)
    axes.set_xticks(list(fit.criteria.index))
    axes.set(xlabel="number of components", title="criteria, less is better")
    axes.legend(frameon=False)


def _rootogram(axes: Axes, fit: TableFit) -> None:
    """Roots of counts, so that the few uncertain rows are seen (Tantrum, Murua and Stuetzle 2003)."""
    edges = np.linspace(0, 1, 21)
    counts = [np.sqrt(np.histogram(column, edges)[0]) for column in fit.posterior.T]
    width = (edges[1] - edges[0]) / len(counts)
    for k, heights in enumerate(counts):
        axes.bar(edges[:-1] + (k + 0.5) * width, heights, width, color=_colour(k), label=f"component {k + 1}")
    axes.set(xlabel="posterior", ylabel="root of the count", title="rootogram of the posteriors")
