"""The figure of api_tour."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from lib.figures.style import BLUE, ORANGE, described, house_style, new_figure


@house_style
def latencies(seconds: npt.ArrayLike) -> Figure:
    """How long a server took to answer.

    Parameters
    ----------
    seconds : array of float64, shape (calls,)
        At least one, each above zero.

    Examples
    --------
    >>> latencies([0.001, 0.001, 0.002]).get_label()
    'Histogram: milliseconds until the answer, of 3 calls. Half took at most 1, 99 in 100 at most 1.98, the slowest 2.'
    """
    milliseconds = np.sort(np.asarray(seconds, dtype="float64")) * 1e3
    half, most = (float(np.quantile(milliseconds, share)) for share in (0.5, 0.99))
    figure, axes = new_figure("Time to answer", "milliseconds", "calls")
    edges = np.geomspace(milliseconds[0] * 0.99, milliseconds[-1] * 1.01, 41)
    axes.hist(milliseconds, edges.tolist(), color=BLUE)
    axes.set_xscale("log")
    for value, name, height, side in ((half, "half", 0.97, "left"), (most, "99 in 100", 0.87, "right")):
        axes.axvline(value, color=ORANGE, linewidth=1.2)
        axes.text(value, height, f"  {name}: {value:.3g}  ", ha=side, va="top", transform=axes.get_xaxis_transform())
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(LogLocator(subs=()))
    return described(
        figure,
        f"Histogram: milliseconds until the answer, of {len(milliseconds):,} calls. Half took at most {half:.3g}, "
        f"99 in 100 at most {most:.3g}, the slowest {milliseconds[-1]:.3g}.",
    )
