"""The figures of 02_features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from lib.features.counts import AVERAGE_EDGES, MEDIAN_EDGES, RATIO_EDGES
from lib.features.definitions import PRICE_MEDIAN, VOLUME_AVERAGE
from lib.figures.axes import density, feature_axes
from lib.figures.style import BLUE, INK, SKY, described, house_style, new_figure, nothing
from lib.text import as_text, percent


@house_style
def volume_with_average(rows: pd.DataFrame, symbol: str, window: int) -> Figure:
    """One symbol's volume and its moving average.

    Parameters
    ----------
    rows : pandas.DataFrame
        ``Date``, ``Volume`` (shares a day) and ``vol_moving_avg`` (shares a day, null at first) of one symbol.
    window : int
        Rows (trading days) of the moving average.

    Examples
    --------
    >>> days = pd.date_range("2000-01-03", periods=3)
    >>> rows = pd.DataFrame({"Date": days, "Volume": [1, 2, 6], "vol_moving_avg": [float("nan"), 1.5, 4]})
    >>> volume_with_average(rows, "AAPL", 2).get_label()
    "Lines: AAPL's volume, 2000-01-03 to 2000-01-05, 1 to 6 shares, and its 2-day moving average, 1.5 to 4 shares."
    """
    figure, axes = new_figure(f"{symbol}: volume and its {window}-day average", "", "shares a day")
    dates = pd.Series(rows["Date"].to_numpy().astype("datetime64[s]"))
    axes.plot(dates, rows["Volume"], color=SKY, linewidth=0.9, label="volume of the day")
    axes.plot(dates, rows[VOLUME_AVERAGE.name], color=INK, label=f"{window}-day moving average")
    axes.margins(x=0)
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    _date_axis(axes, dates)
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.02), ncols=2, borderaxespad=0, handlelength=1.2)
    axes.set_ylim(0, float(rows["Volume"].max()) * 1.15)  # room for the legend
    return described(
        figure,
        f"Lines: {symbol}'s volume, {as_text(dates.iloc[0])} to {as_text(dates.iloc[-1])}, "
        f"{as_text(rows['Volume'].min())} to {as_text(rows['Volume'].max())} shares, and its {window}-day moving average, "
        f"{as_text(rows[VOLUME_AVERAGE.name].min())} to {as_text(rows[VOLUME_AVERAGE.name].max())} shares.",
    )


@house_style
def price_with_median(rows: pd.DataFrame, symbol: str, window: int) -> Figure:
    """One symbol's adjusted close and its rolling median.

    Parameters
    ----------
    rows : pandas.DataFrame
        ``Date``, ``Adj Close`` (dollars) and ``adj_close_rolling_med`` (dollars, null at first) of one symbol.
    window : int
        Rows (trading days) of the rolling median.
    """
    figure, axes = new_figure(f"{symbol}: adjusted close and its {window}-day median", "", "dollars")
    dates = pd.Series(rows["Date"].to_numpy().astype("datetime64[s]"))
    axes.plot(dates, rows["Adj Close"], color=SKY, linewidth=1.2, label="adjusted close")
    axes.plot(dates, rows[PRICE_MEDIAN.name], color=INK, label=f"{window}-day rolling median")
    axes.margins(x=0, y=0.12)
    _date_axis(axes, dates)
    axes.legend(loc="best", handlelength=1.2)
    return described(
        figure,
        f"Lines: {symbol}'s adjusted close, {as_text(dates.iloc[0])} to {as_text(dates.iloc[-1])}, "
        f"{as_text(rows['Adj Close'].min())} to {as_text(rows['Adj Close'].max())} dollars, "
        f"and its {window}-day rolling median.",
    )


def _date_axis(axes: Axes, dates: pd.Series[pd.Timestamp]) -> None:
    """Few dates, short, the year where it changes."""
    axes.set_xlabel(f"{dates.iloc[0]:%B %Y} to {dates.iloc[-1]:%B %Y}")
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


@house_style
def ratio_distribution(counts: npt.NDArray[np.int64]) -> Figure:
    """How a day's volume compares with its moving average, over all rows.

    Parameters
    ----------
    counts : numpy.ndarray of int64, shape (61,)
        Sum of `count_ratios` over all parts.

    Examples
    --------
    >>> from lib.features.counts import count_ratios
    >>> ratio_distribution(count_ratios([5, 8, 15, 90], [10, 10, 10, 10])).get_label()
    "Histogram: a day's volume divided by its average, 4 rows. 50% of them are below 1, 25% above 3."
    """
    title = "A day's volume against its moving average"
    total = int(counts.sum())
    if not total:
        return nothing(title, "No row has a moving average above zero.")
    shares = counts / total
    below = float(shares[: int(np.searchsorted(RATIO_EDGES, 1.0))].sum())
    figure, axes = new_figure(title, "volume / moving average", "share of rows")
    width = RATIO_EDGES[1] - RATIO_EDGES[0]
    colors = [SKY if edge < 1 - width / 2 else BLUE for edge in RATIO_EDGES[:-1]]
    axes.bar(RATIO_EDGES[:-1] + width / 2, shares, width=width * 0.9, color=colors)
    axes.axvline(1, color=INK, linewidth=1.4)
    axes.set_xlim(0, RATIO_EDGES[-2] + width)
    axes.set_xticks([0, 0.5, 1, 1.5, 2, 2.5, 3.025], ["0", "0.5", "1", "1.5", "2", "2.5", "3+"])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(0, shares.max() * 1.18)
    for side, position, text in (
        ("right", 0.97, f"{percent(below)} below"),
        ("left", 1.03, f"{percent(1 - below)} above"),
    ):
        axes.text(position, 0.99, text, transform=axes.get_xaxis_transform(), ha=side, va="top", color=INK)
    return described(
        figure,
        f"Histogram: a day's volume divided by its average, {total:,} rows. {percent(below)} of them are below "
        f"1, {percent(float(shares[-1]))} above 3.",
    )


@house_style
def feature_density(counts: npt.NDArray[np.int64]) -> Figure:
    """Where the rows are, by their two features.

    Parameters
    ----------
    counts : numpy.ndarray of int64, shape (100, 70)
        Sum of `count_feature_pairs` over all parts.

    Examples
    --------
    >>> from lib.features.counts import count_feature_pairs
    >>> feature_density(count_feature_pairs([1e6, 2e6], [25, 30])).get_label()
    'Density of 2 rows by their two features, logarithmic: half have a moving average from 1 M to 3 M shares a day.'
    """
    title = "Rows by their two features"
    total = int(counts.sum())
    if not total:
        return nothing(title, "No row has both features.")
    figure, axes = feature_axes(title, counts)
    density(axes, MEDIAN_EDGES, AVERAGE_EDGES, counts, "rows")
    quartiles = np.searchsorted(np.cumsum(counts.sum(axis=1)), [0.25 * total, 0.75 * total])
    low, high = AVERAGE_EDGES[quartiles[0]], AVERAGE_EDGES[quartiles[1] + 1]
    engineering = EngFormatter(places=0, sep=" ")
    return described(
        figure,
        f"Density of {total:,} rows by their two features, logarithmic: half have a moving average from "
        f"{engineering(low)} to {engineering(high)} shares a day.",
    )
