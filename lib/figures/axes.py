"""Axes that figures of several notebooks share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator

from lib.features.counts import AVERAGE_EDGES, MEDIAN_EDGES
from lib.features.definitions import PRICE_MEDIAN, VOLUME_AVERAGE
from lib.figures.style import new_figure

Edges = npt.NDArray[np.float64]


def feature_axes(title: str, counts: npt.NDArray[np.int64]) -> tuple[Figure, Axes]:
    """Logarithmic axes of both features that end where the counted rows do.

    Parameters
    ----------
    counts : numpy.ndarray of int64, shape (100, 70)
        From `lib.features.counts.count_feature_pairs`; at least one row.
    """
    average, median = (f"{each.label} ({each.unit})" for each in (VOLUME_AVERAGE, PRICE_MEDIAN))
    figure, axes = new_figure(title, median, average, 4.4)
    logarithmic(axes, MEDIAN_EDGES, AVERAGE_EDGES, counts)
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter("{x:,g}")
    return figure, axes


def logarithmic(axes: Axes, right: Edges, up: Edges, counts: npt.NDArray[np.int64]) -> None:
    """Logarithmic scales without a grid, which end where the rows do that ``counts`` has between edges."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    rows, columns = np.flatnonzero(counts.sum(axis=1)), np.flatnonzero(counts.sum(axis=0))
    axes.set_ylim(up[rows[0]], up[rows[-1] + 1])
    axes.set_xlim(right[columns[0]], right[columns[-1] + 1])
    axes.grid(False)
    axes.minorticks_off()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(EngFormatter(sep=" "))


def density(axes: Axes, right: Edges, up: Edges, counts: npt.NDArray[np.int64], what: str) -> None:
    """Colour the cells between edges by how many ``counts`` has there, row by row; a bar says which colour is how many."""
    norm = LogNorm(1, max(2, counts.max()))
    mesh = axes.pcolormesh(right, up, np.ma.masked_equal(counts, 0), cmap="viridis_r", norm=norm)
    bar = axes.figure.colorbar(mesh, ax=axes, label=what, pad=0.02, format="{x:,g}")
    bar.outline.set_visible(False)
