"""The house style of the figures: colours, letters, an empty figure, and how a notebook shows one.

A new figure is a function under ``@house_style`` that starts with `new_figure` and ends with `described`. Small tables go in, a
`matplotlib.figure.Figure` comes out; nothing is read, nothing is written and no pyplot state is touched. A figure's label
(``figure.get_label()``) is its alt text: what it shows, with numbers, for readers who cannot see it.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib
from IPython.display import Image, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

# Okabe and Ito's colours, which readers with any colour vision can tell apart (https://jfly.uni-koeln.de/color/).
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
YELLOW = "#e69f00"
SKY = "#56b4e9"
PINK = "#b0538a"  # theirs, darkened: the original has too little contrast for a thin line on white
INK = "#1c2430"
GREY = "#5b6675"
PALE = "#d5dae1"

WIDTH = 6.0  # inches; narrow, so that the letters are still read where a phone makes it 350 px
PIXELS = 640  # of a wide screen that the figure takes
STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same bytes on every machine
    "font.size": 11.5,
    "text.color": INK,
    "text.parse_math": False,  # a symbol may have dollar signs
    "figure.titlesize": 13.5,
    "figure.titleweight": "bold",
    "axes.labelcolor": GREY,
    "axes.labelsize": 11.5,
    "axes.edgecolor": GREY,
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.prop_cycle": f"cycler(color={[BLUE, ORANGE, GREEN, YELLOW, SKY, PINK]})",
    "grid.color": "#e6e9ee",
    "grid.linewidth": 0.9,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.linewidth": 2.0,
    "patch.linewidth": 0,
    "savefig.facecolor": "white",
    "svg.hashsalt": "market-study",
}
house_style = matplotlib.rc_context(STYLE)


@house_style
def new_figure(title: str, xlabel: str, ylabel: str, height: float = 3.7) -> tuple[Figure, Axes]:
    """An empty figure of the house's width with one pair of axes.

    Parameters
    ----------
    title : str
        What the figure says; at most about 48 characters fit.
    xlabel, ylabel : str
        The quantities with their units; ``""`` where the ticks say it all.
    height : float
        Inches.

    Examples
    --------
    >>> figure, axes = new_figure("Rows of each symbol", "rows (trading days)", "")
    >>> axes.get_xlabel()
    'rows (trading days)'
    """
    figure = Figure(figsize=(WIDTH, height))
    figure.suptitle(title, x=0.012, ha="left")  # at the figure's edge, however wide the labels beside the axes are
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return figure, axes


def described(figure: Figure, alt: str) -> Figure:
    """Give a figure its alt text, in place; returns the same figure."""
    figure.set_label(alt)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG at twice the screen's density, without date and software version: the same figure gives the same bytes.

    Examples
    --------
    >>> figure, _ = new_figure("Empty", "", "")
    >>> png(figure)[:4], png(figure) == png(figure)
    (b'\\x89PNG', True)
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def show(figure: Figure) -> None:
    """Display a figure in a notebook, with its label as alt text in the output's metadata, where Jupyter and our reports look; ValueError without one."""
    alt = str(figure.get_label())
    if not alt:
        raise ValueError("this figure has no alt text; say in words what it shows: described(figure, '...')")
    display(Image(png(figure), format="png", width=PIXELS, alt=alt))


def nothing(title: str, message: str) -> Figure:
    """What a figure of nothing looks like: words, not empty axes."""
    lines = textwrap.wrap(message, 60)
    figure, axes = new_figure(title, "", "", height=0.7 + 0.2 * len(lines))
    axes.set_axis_off()
    axes.text(0, 0.5, "\n".join(lines), transform=axes.transAxes, va="center", color=GREY)
    return described(figure, f"{title}: {message}")


def slant_long_labels(axes: Axes) -> None:
    """Slant the labels of the lower axis where they would touch each other: many, of more than four letters in the last line."""
    labels = [label.get_text() for label in axes.get_xticklabels()]
    if len(labels) > 7 and max(len(label.rpartition("\n")[2]) for label in labels) > 4:
        axes.tick_params(axis="x", labelrotation=40)


def short_labels(values: Sequence[float]) -> list[str]:
    """Numbers for the ticks of an axis, with as few digits as tell neighbours apart.

    Examples
    --------
    >>> short_labels([4.0e6, 4.7e6, 5.3e6, 14e6])
    ['4.0M', '4.7M', '5.3M', '14.0M']
    >>> short_labels([0.31, 22.0, 306.0])
    ['0.31', '22', '306']
    """
    labels: list[str] = []
    for places in range(3):
        engineering = EngFormatter(places=places, sep="")
        labels = [engineering(value) if value >= 10 else f"{value:.2g}" for value in values]
        if all(one != other for one, other in pairwise(labels)):
            break
    return labels
