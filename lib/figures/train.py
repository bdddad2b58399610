"""The figures of 03_train."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from lib.features.counts import AVERAGE_EDGES, MEDIAN_EDGES
from lib.figures.axes import feature_axes
from lib.figures.style import INK, described, house_style, nothing


@house_style
def learned_surface(ratios: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> Figure:
    """What the model has learned: the predicted volume as a share of its average, over both features.

    Parameters
    ----------
    ratios : numpy.ndarray of float64, shape (7000,)
        Prediction / vol_moving_avg of each of the `feature_pairs`.
    counts : numpy.ndarray of int64, shape (100, 70)
        The training rows, from `count_feature_pairs`.

    Returns
    -------
    matplotlib.figure.Figure
        Pale where there are no training rows; two lines enclose the densest bins that hold 50% and 90% of them.

    Examples
    --------
    >>> from lib.features.counts import count_feature_pairs
    >>> counts = count_feature_pairs([1e6, 2e6], [25, 30])
    >>> learned_surface(np.full(7000, 0.9), counts).get_label()
    'Map of the predicted volume / moving average over both features: from 0.900 to 0.900 where there are training rows. \
Lines enclose 50% and 90% of them.'
    """
    title = "Predicted volume / moving average"
    if not counts.sum():
        return nothing(title, "There are no training rows.")
    surface = ratios.reshape(counts.shape)
    known = surface[counts > 0]
    figure, axes = feature_axes(title, counts)
    low, high = float(known.min()), float(known.max())
    mesh = axes.pcolormesh(MEDIAN_EDGES, AVERAGE_EDGES, surface, cmap="cividis", vmin=low, vmax=high)
    veil = np.ma.masked_where(counts > 0, np.ones(counts.shape))
    axes.pcolormesh(MEDIAN_EDGES, AVERAGE_EDGES, veil, cmap="gray", vmin=0, vmax=1, alpha=0.65, linewidth=0)
    smooth = _smoothed(counts.astype(float))
    ordered = np.sort(smooth.ravel())[::-1]
    enclosed = np.cumsum(ordered) / ordered.sum()
    levels = sorted({float(ordered[int(np.searchsorted(enclosed, share))]) for share in (0.9, 0.5)})
    centres = [np.sqrt(edges[1:] * edges[:-1]) for edges in (MEDIAN_EDGES, AVERAGE_EDGES)]
    for width, color in ((3.2, "white"), (1.4, INK)):  # a dark line on a light one is seen on any colour
        axes.contour(*centres, smooth, levels=levels, colors=color, linewidths=width)
    bar = figure.colorbar(mesh, ax=axes, label="predicted volume / moving average", pad=0.02)
    bar.ax.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))  # as many decimals as its ticks need
    bar.outline.set_visible(False)
    return described(
        figure,
        f"Map of the predicted volume / moving average over both features: from {low:.3f} to {high:.3f} where there are "
        "training rows. Lines enclose 50% and 90% of them.",
    )


def _smoothed(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each bin averaged with its neighbours, weights 1 2 1, twice over: a contour of raw counts is all corners."""
    for axis in (0, 1, 0, 1):
        before, after = np.roll(counts, 1, axis), np.roll(counts, -1, axis)
        counts = (before + 2 * counts + after) / 4
    return counts
