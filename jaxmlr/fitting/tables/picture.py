"""The picture of a fitted table: lines over the points, residuals, criteria, posteriors. Needs `plot`."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from jaxmlr.batch import bands
from jaxmlr.fitting.tables.fit import TableFit

POINTS = 5000  # drawn at most


def save(found: TableFit, folder: Path) -> list[Path]:
    """Draw fit.png and fit.svg into a folder and return their paths.

    Raises:
      OSError: the folder cannot be written.
    """
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    (upper_left, upper_right), (lower_left, lower_right) = figure.subplots(2, 2)
    _lines(upper_left, found)
    _residuals(upper_right, found)
    _criteria(lower_left, found)
    _rootogram(lower_right, found)
    paths = [folder / f"fit.{suffix}" for suffix in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths


def _colours(found: TableFit) -> np.ndarray:
    """The components' colours, mixed in each row by its posterior; (n, 3)."""
    palette = np.array([to_rgb(f"C{k % 10}") for k in range(found.posterior.shape[1])])
    return np.clip(found.posterior @ palette, 0, 1)


def _some(found: TableFit) -> np.ndarray:
    """Rows to draw."""
    n = len(found.rows.y)
    return np.arange(n) if n <= POINTS else np.random.default_rng(0).choice(n, POINTS, replace=False)


def _lines(axes: Axes, found: TableFit) -> None:
    """Against the regressor whose coefficient the components differ in most, the others at their means."""
    phi, y = found.rows.phi, found.rows.y
    beta = np.asarray(found.fit.mixture.coefficients)
    matters = (np.ptp(beta, axis=0) if len(beta) > 1 else np.abs(beta[0])) * phi.std(axis=0)
    chosen = int(np.argmax(matters))
    some = _some(found)
    axes.scatter(phi[some, chosen], y[some], s=12, c=_colours(found)[some], alpha=0.7, linewidths=0)
    grid = np.tile(phi.mean(axis=0), (100, 1))
    grid[:, chosen] = np.linspace(phi[:, chosen].min(), phi[:, chosen].max(), 100)
    with jax.enable_x64(True):
        lower, upper = map(np.asarray, bands(found.fit, jnp.asarray(found.covariance), grid))
    for k, line in enumerate((grid @ beta.T).T):
        axes.plot(grid[:, chosen], line, color=f"C{k % 10}", label=f"component {k + 1}")
        axes.fill_between(grid[:, chosen], lower[:, k], upper[:, k], color=f"C{k % 10}", alpha=0.25)
    others = ", the others at their means" if phi.shape[1] - (found.design.intercept is not None) > 1 else ""
    axes.set(xlabel=found.design.names[chosen] + others, ylabel=found.design.response)
    axes.set_title("lines with 95 % bands")
    axes.legend()


def _residuals(axes: Axes, found: TableFit) -> None:
    some, labels = _some(found), found.labels
    lines = found.rows.phi @ found.fit.mixture.coefficients.T
    fitted = lines[np.arange(len(labels)), labels]
    axes.scatter(
        fitted[some], (found.rows.y - fitted)[some], s=12, c=_colours(found)[some], alpha=0.7, linewidths=0
    )
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set(xlabel="line of the most probable component", ylabel="residual", title="residuals")


def _criteria(axes: Axes, found: TableFit) -> None:
    for name, label in (("bic", "BIC"), ("icl", "ICL"), ("aic", "AIC")):
        axes.plot(found.criteria.index, found.criteria[name], marker="o", label=label)
    axes.set_xticks(list(found.criteria.index))
    axes.set(xlabel="number of components", title="criteria, less is better")
    axes.legend()


def _rootogram(axes: Axes, found: TableFit) -> None:
    """Roots of counts, so that the few uncertain rows are seen (Tantrum, Murua and Stuetzle 2003)."""
    edges = np.linspace(0, 1, 21)
    counts = [np.sqrt(np.histogram(column, edges)[0]) for column in found.posterior.T]
    width = (edges[1] - edges[0]) / len(counts)
    for k, heights in enumerate(counts):
        axes.bar(
            edges[:-1] + (k + 0.5) * width, heights, width, color=f"C{k % 10}", label=f"component {k + 1}"
        )
    axes.set(xlabel="posterior", ylabel="root of the number of rows", title="rootogram of the posteriors")
