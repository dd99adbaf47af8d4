"""How every picture looks: widths of journals, fonts, colours for all kinds of colour vision, mathematics."""

import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogFormatter

from jaxmlr import _check
from jaxmlr.fitting.terminal import printable

# Okabe and Ito's palette without its yellow, too pale for lines, and its black, which references have.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#882255")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (5, 1, 1, 1, 1, 1)))
MARKERS = "osD^vPX"
SAME = 0.005  # relative distance up to which two curves cannot be told apart on paper
WIDTHS = {"single": 3.5, "double": 7.16}  # inches, of one and of two columns of a journal
FORMATS = ("png", "pdf", "svg")
SYMBOLS = {
    "p": "$p$",
    "noise_variance": r"$\sigma^2$",
    "delta": r"$\delta$",
    "bound": "$C$",
    "forgetting": r"$\lambda$",
    "initial_scale": r"$q_0$",
    "initial_precision": r"$r_0$",
    "initial_covariance": "$P_0$",
}


class LineStyle(NamedTuple):
    """How one curve is drawn; a NamedTuple whose `_asdict` matplotlib takes."""

    color: str
    linestyle: Any
    marker: str


def width_of(width: float | None = None, column: str | None = None) -> float:
    """Inches of a picture: `width`, or those of a `column`, or of two columns.

    Raises:
      ValueError: both are given, the column has another name, or the width is outside of [2, 20].
    """
    if width is not None and column is not None:
        raise ValueError("give a width or a column, not both")
    if column is not None:
        _check.choice("column", column, tuple(WIDTHS))
        return WIDTHS[column]
    if width is None:
        return WIDTHS["double"]
    _check.number("width", width, at_least=2, scalar=True)
    if width > 20:
        raise ValueError(f"width must be at most 20 inches, not {width:g}")
    return float(width)


def settings(width: float) -> Any:
    """The settings of matplotlib for a picture of `width` inches."""
    size = 7.0 if width < 5 else 8.0 if width < 9 else 9.0
    return {
        "axes.prop_cycle": cycler(color=PALETTE),
        "font.size": size,
        "axes.titlesize": size,
        "axes.labelsize": size,
        "xtick.labelsize": size - 0.5,
        "ytick.labelsize": size - 0.5,
        "legend.fontsize": size - 0.5,
        "figure.titlesize": size + 1,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.0,
        "axes.formatter.use_mathtext": False,
        "savefig.dpi": 200,
        "pdf.fonttype": 42,  # text that can be selected and edited, in PDF
        "svg.fonttype": "none",  # and in SVG
    }


@contextmanager
def drawing(width: float) -> Iterator[None]:
    """`settings` in force inside of the block."""
    with mpl.rc_context(settings(width)):
        yield


def line_styles(methods: Mapping[str, str], colours: Mapping[str, str]) -> dict[str, LineStyle]:
    """A style for each curve: a method has one colour everywhere, its variants shades, dashes and marks.

    Args:
      methods: the name of each curve, and its method's.
      colours: of the methods that have one of their own; others take what the picture has left.
    """
    used = {colours[method] for method in methods.values() if method in colours}
    spare = iter([colour for colour in PALETTE if colour not in used] * len(methods))
    own: dict[str, str] = {}
    turns: dict[str, int] = {}
    styles = {}
    for name, method in methods.items():
        if method not in own:
            own[method] = colours.get(method) or next(spare, PALETTE[0])
        turn = turns.get(own[method], 0)
        turns[own[method]] = turn + 1
        styles[name] = LineStyle(
            _shade(own[method], turn), DASHES[turn % len(DASHES)], MARKERS[turn % len(MARKERS)]
        )
    return styles


def _shade(colour: str, turn: int) -> str:
    """The colour itself, then darker and lighter ones of its hue in turn."""
    towards, by = ((0.0, 0.0), (0.0, 0.5), (1.0, 0.45), (0.0, 0.75), (1.0, 0.65))[turn % 5]
    red, green, blue = ((1 - by) * part + by * towards for part in to_rgb(colour))
    return to_hex((red, green, blue))


def area_colours(methods: Mapping[str, str], colours: Mapping[str, str]) -> dict[str, str]:
    """A colour for each name, none twice while there are enough: the method's where it is still free."""
    areas: dict[str, str] = {}
    reserved = {colours[method] for method in methods.values() if method in colours}
    for name, method in methods.items():
        free = [colour for colour in PALETTE if colour not in reserved | set(areas.values())]
        mine = colours.get(method)
        areas[name] = mine if mine and mine not in areas.values() else (free or PALETTE)[0]
    return areas


def plain(text: Any) -> str:
    """Text as it stands: a user's dollar sign begins no formula, and control characters are escapes."""
    return printable(str(text)).replace("$", r"\$")


def symbol(path: str) -> str:
    """The symbol of an option, or its name: "problem.p" is p in mathematics."""
    *owner, name = path.split(".")
    text = SYMBOLS.get(name, plain(name))
    return f"{plain('.'.join(owner[1:]))}: {text}" if owner[:1] == ["estimators"] and owner[1:] else text


def value_of(value: Any) -> str:
    """A number in four digits, anything else as it stands."""
    return f"{value:.4g}" if isinstance(value, int | float) and not isinstance(value, bool) else plain(value)


def text_width(text: str, size: float) -> float:
    """Inches that a line of text takes."""
    return float(TextPath((0, 0), text, size=size).get_extents().width) / 72 if text.strip() else 0.0


def wrapped(text: str, inches: float, size: float) -> str:
    """Text in lines that fit into `inches`."""
    letters = max(12, int(inches / max(text_width(text, size), 1e-9) * len(text)))
    return "\n".join(textwrap.wrap(text, letters, break_long_words=False))


def headline(figure: Figure, text: str) -> None:
    """The picture's title, in as many lines as its width needs."""
    size = mpl.rcParams["figure.titlesize"]
    figure.suptitle(wrapped(text, 0.92 * figure.get_figwidth(), size))


def legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """One legend under all panels, in as many columns as fit."""
    if not labels:
        return
    size = mpl.rcParams["legend.fontsize"]
    inches = 0.95 * figure.get_figwidth()
    labels = [wrapped(label, inches - 0.6, size) for label in labels]
    widest = max(text_width(line, size) for label in labels for line in label.split("\n")) + 0.55
    columns = max(1, min(len(labels), int(inches / widest)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, handlelength=2.6)


def coinciding(curves: Mapping[str, np.ndarray], tolerance: float = SAME) -> list[str]:
    """A sentence for each curve that lies on one before it wherever both are finite."""
    sentences = []
    for place, (name, curve) in enumerate(curves.items()):
        for other, earlier in itertools.islice(curves.items(), place):
            both = np.isfinite(curve) & np.isfinite(earlier)
            if both.any() and np.allclose(earlier[both], curve[both], rtol=tolerance, atol=0):
                sentences.append(f"{name} lies on {other}")
                break
    return sentences


def note(panel: Axes, lines: Sequence[str], inches: tuple[float, float]) -> None:
    """Text at the foot of a panel so many inches wide and high, and room for it below the curves."""
    if not lines:
        return
    text = "\n".join(wrapped(line, inches[0], 6) for line in lines)
    panel.annotate(text, (0.03, 0.03), xycoords="axes fraction", fontsize=6).set_in_layout(False)
    fraction = min(0.6, 0.05 + 0.1 * (text.count("\n") + 1) / inches[1])
    scale = panel.yaxis.get_transform()
    bottom, top = scale.transform(np.array(panel.get_ylim()))
    lower = bottom - (top - bottom) * fraction / (1 - fraction)
    panel.set_ylim(bottom=float(scale.inverted().transform(np.array([lower]))[0]))


class _PlainLogFormatter(LogFormatter):
    """The ticks that matplotlib labels on a short logarithmic axis, without powers."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:.4g}" if super().__call__(x, pos) else ""


def plain_numbers(axis: Axis) -> None:
    """Write 0.2 and 0.5 on a logarithmic axis of less than two decades, where powers of ten are too few."""
    low, high = axis.get_view_interval()
    if axis.get_scale() == "log" and low > 1e-3 and high < min(100 * low, 1e4):
        for set_formatter in (axis.set_major_formatter, axis.set_minor_formatter):
            set_formatter(_PlainLogFormatter(minor_thresholds=(2, 0.8)))


def save(figure: Figure, paths: Sequence[Path]) -> list[Path]:
    """Write a picture to each path, its format by the ending; the same picture gives the same bytes.

    Raises:
      OSError: a file cannot be written.
    """
    for path in paths:
        dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:])
        with mpl.rc_context({"svg.hashsalt": "jaxmlr", "svg.fonttype": "none", "pdf.fonttype": 42}):
            figure.savefig(path, dpi=200, metadata=dated)
    return list(paths)
