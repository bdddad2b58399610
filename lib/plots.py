"""Every figure and table of the notebooks, in one house style.

Small tables go in, a `matplotlib.figure.Figure` comes out; nothing is read, nothing is written and no pyplot state is
touched. A figure's label (``figure.get_label()``) is its alt text: what it shows, with numbers, for readers who cannot
see it. `show` puts a figure into a notebook, `show_table` a table.

A new figure is a function under ``@house_style`` that starts with `new_figure` and ends with `described`.
"""

from __future__ import annotations

import datetime
import html
import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython.display import HTML, Image, display
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, PercentFormatter, ScalarFormatter
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from lib.text import shortened

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
    "text.parse_math": False,  # a symbol may have dollar signs
    "text.color": INK,
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

    Returns
    -------
    tuple of (matplotlib.figure.Figure, matplotlib.axes.Axes)

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
    """Give a figure its alt text.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        It is changed in place.
    alt : str
        What it shows, in words.

    Returns
    -------
    matplotlib.figure.Figure
        The same figure.
    """
    figure.set_label(alt)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG at twice the screen's density; the same figure gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    bytes
        No date and no software version in them.

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
    """Display a figure in a notebook, with its alt text in the output's metadata (where Jupyter and our reports look).

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Its label is the alt text.

    Raises
    ------
    ValueError
        The figure has no alt text.
    """
    alt = str(figure.get_label())
    if not alt:
        raise ValueError("this figure has no alt text; say in words what it shows: plots.described(figure, '...')")
    display(Image(png(figure), format="png", width=PIXELS, alt=alt))


def show_table(frame: pd.DataFrame, caption: str, index: bool = False) -> None:
    """Display a small table in a notebook, numbers to the right and grouped by thousands.

    Parameters
    ----------
    frame : pandas.DataFrame
        Shown whole: pass ``frame.head(10)`` of a long one.
    caption : str
        What it shows, with units that the column names do not say.
    index : bool
        Show the index as row headings.
    """
    display(HTML(table_html(frame, caption, index)))


NUMBER = ' class="number"'


def table_html(frame: pd.DataFrame, caption: str, index: bool = False) -> str:
    """The HTML of `show_table`.

    Parameters
    ----------
    frame : pandas.DataFrame
    caption : str
    index : bool
        Show the index as row headings.

    Returns
    -------
    str
        A ``<table>``.

    Examples
    --------
    >>> table_html(pd.DataFrame({"rows": [12154]}), "Kept")
    '<table><caption>Kept</caption><thead><tr><th scope="col" class="number">rows</th></tr></thead>\
<tbody><tr><td class="number">12,154</td></tr></tbody></table>'
    """
    if index:
        frame = frame.rename_axis(index=str(frame.index.name or "")).reset_index()
    numeric = [is_numeric_dtype(dtype) and not is_bool_dtype(dtype) for dtype in frame.dtypes.tolist()]
    texts = [_spelt_column(frame.iloc[:, place].tolist()) for place in range(frame.shape[1])]
    head = "".join(
        f'<th scope="col"{NUMBER if is_number else ""}>{html.escape(str(name))}</th>' if str(name) else "<td></td>"
        for name, is_number in zip(frame.columns, numeric, strict=True)
    )
    rows = []
    for row in zip(*texts, strict=True):
        cells = []
        for place, text in enumerate(row):
            tag = 'th scope="row"' if index and place == 0 else "td"
            kind = NUMBER if numeric[place] else ' class="long"' if len(text) > 24 else ""
            cells.append(f"<{tag}{kind}>{html.escape(text)}</{tag[:2]}>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _spelt_column(values: Sequence[Any]) -> list[str]:
    """Each value `spelt`; floats of like size with the same number of decimals, so that the points align."""
    sizes = [abs(value) for value in values if isinstance(value, float) and math.isfinite(value) and value]
    if len(sizes) < 2 or max(sizes) > 1000 * min(sizes):
        return [spelt(value) for value in values]
    size = min(sizes) if max(sizes) < 10 * min(sizes) else max(sizes)
    decimals = max(0, 3 - math.floor(math.log10(size)))
    return [
        f"{value:,.{decimals}f}" if isinstance(value, float) and math.isfinite(value) else spelt(value)
        for value in values
    ]


def spelt(value: Any) -> str:
    """A value as readers like it: thousands grouped, four significant digits, ISO dates, a dash for none.

    Examples
    --------
    >>> spelt(12154), spelt(3.14159), spelt(1234567.8), spelt(None), spelt(datetime.date(2000, 3, 1))
    ('12,154', '3.142', '1,234,568', '–', '2000-03-01')
    """
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:,.0f}" if abs(float(value)) >= 1000 else f"{value:.4g}"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)


def _nothing(title: str, message: str) -> Figure:
    """What a figure of nothing looks like: words, not empty axes."""
    lines = textwrap.wrap(message, 60)
    figure, axes = new_figure(title, "", "", height=0.7 + 0.2 * len(lines))
    axes.set_axis_off()
    axes.text(0, 0.5, "\n".join(lines), transform=axes.transAxes, va="center", color=GREY)
    return described(figure, f"{title}: {message}")


def _counted_bars(axes: Axes, names: Sequence[str], counts: Sequence[int], total: int, color: str) -> None:
    """Horizontal bars, the longest on top, each with its count and its share of ``total``."""
    places = np.arange(len(names))[::-1]
    axes.barh(places, counts, height=0.62, color=color)
    axes.set_yticks(places, [shortened(name, 40) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(False)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    labels = [f"{count:,}  ({share_text(count / total)})" if total else f"{count:,}" for count in counts]
    # A letter is about 0.1 inch wide: the longest bar leaves room for the names and for the longest label.
    room = WIDTH - 0.4 - 0.1 * min(40, max(map(len, names)))
    axes.set_xlim(0, max(counts) * room / max(0.5, room - 0.1 * max(map(len, labels))))
    for place, count, label in zip(places, counts, labels, strict=True):
        axes.annotate(label, (count, place), (5, 0), textcoords="offset points", va="center", color=INK)


def share_text(share: float) -> str:
    """A share as a percentage that does not round something to nothing.

    Examples
    --------
    >>> share_text(0.5), share_text(0.0123), share_text(1e-7), share_text(0)
    ('50%', '1.2%', 'under 0.001%', '0%')
    """
    percent = 100 * share
    if percent == 0 or percent >= 10:
        return f"{percent:.0f}%"
    return "under 0.001%" if percent < 0.001 else f"{percent:.2g}%"


# --- 01_ingest ------------------------------------------------------------------------------------------


@house_style
def symbols_by_year(files: pd.DataFrame) -> Figure:
    """How many symbols have prices in each year, stocks and exchange-traded funds.

    Parameters
    ----------
    files : pandas.DataFrame
        A row a raw file: ``file`` (``"stocks/AAPL.csv"``; the folder is the kind), ``first_date`` and ``last_date``
        (dates; null where nothing was kept). A symbol counts in every year from its first to its last row.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> files = pd.DataFrame({"file": ["stocks/A.csv"], "first_date": ["2000-01-03"], "last_date": ["2002-01-03"]})
    >>> symbols_by_year(files).get_label()
    'Bars: symbols with prices, by year, 2000 to 2002. Stocks: 1 in 2000, 1 in 2002, at most 1 (first in 2000).'
    """
    title = "Symbols with prices, by year"
    kept = files.dropna(subset=["first_date", "last_date"])
    if kept.empty:
        return _nothing(title, "No file gave a single row.")
    # By its text: pandas' timestamps end in 2262, Python's dates in 9999.
    first, last = (np.array([int(str(day)[:4]) for day in kept[name]]) for name in ("first_date", "last_date"))
    folder = kept["file"].str.split("/").str[0].to_numpy()
    years = np.arange(first.min(), last.max() + 1)
    names = {"stocks": "Stocks", "etfs": "ETFs"}
    kinds = [kind for kind in names if (folder == kind).any()]
    counts = [
        ((first[:, None] <= years) & (years <= last[:, None]) & (folder == kind)[:, None]).sum(axis=0) for kind in kinds
    ]

    figure, axes = new_figure(title, "year", "symbols")
    below = np.zeros(len(years), dtype=int)
    for kind, count, color in zip(kinds, counts, (BLUE, YELLOW), strict=False):
        axes.bar(years, count, bottom=below, width=1.0, color=color, label=names[kind])
        below += count
    axes.set_xlim(years[0] - 0.5, years[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    if len(kinds) > 1:
        axes.legend(loc="upper left", reverse=True)
    text = " ".join(
        f"{names[kind]}: {count[0]:,} in {years[0]}, {count[-1]:,} in {years[-1]}, at most {count.max():,} "
        f"(first in {years[count.argmax()]})."
        for kind, count in zip(kinds, counts, strict=True)
    )
    return described(figure, f"Bars: symbols with prices, by year, {years[0]} to {years[-1]}. {text}")


@house_style
def rows_per_symbol(rows: pd.Series) -> Figure:
    """How long the symbols' histories are: a bar each for up to twelve symbols, a histogram for more.

    Parameters
    ----------
    rows : pandas.Series
        Rows (trading days) kept of each symbol, indexed by symbol.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> rows_per_symbol(pd.Series({"AAPL": 3270, "FB": 200})).get_label()
    'Bars: rows (trading days) of each of 2 symbols, from 200 (FB) to 3,270 (AAPL), the middle symbol 1,735.'
    """
    title = "Rows (trading days) of each symbol"
    rows = rows[rows > 0].sort_values(ascending=False, kind="stable")
    if rows.empty:
        return _nothing(title, "No symbol has a single row.")
    least, most = (f"{rows.iloc[place]:,} ({rows.index[place]})" for place in (-1, 0))
    ends = f"from {least} to {most}, the middle symbol {rows.median():,.0f}."
    if len(rows) <= 12:
        figure, axes = new_figure(title, "", "", height=1.0 + 0.38 * len(rows))
        _counted_bars(axes, [str(name) for name in rows.index], rows.tolist(), 0, BLUE)
        return described(figure, f"Bars: rows (trading days) of each of {len(rows)} symbols, {ends}")

    figure, axes = new_figure(title, "rows (about 252 a year)", "symbols")
    axes.hist(rows, bins=30, range=(0, rows.iloc[0]), color=BLUE, rwidth=0.92)
    axes.axvline(rows.median(), color=ORANGE)
    axes.annotate(
        f"half have {rows.median():,.0f} or more",
        (rows.median(), 1),
        xycoords=("data", "axes fraction"),
        xytext=(6, -2),
        textcoords="offset points",
        va="top",
        color=ORANGE,
        bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1},
    )
    axes.set_xlim(0, None)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return described(figure, f"Histogram: rows (trading days) of {len(rows):,} symbols, {ends}")


@house_style
def quarantine_by_reason(counts: Mapping[str, int], rows_read: int) -> Figure:
    """Why rows were set aside.

    Parameters
    ----------
    counts : mapping of str to int
        Rows quarantined for each reason.
    rows_read : int
        All raw rows, for the shares.

    Returns
    -------
    matplotlib.figure.Figure
        Words where nothing was quarantined.

    Examples
    --------
    >>> quarantine_by_reason({}, 12154).get_label()
    'Rows quarantined, by reason: Nothing quarantined: each of the 12,154 rows read was kept.'
    >>> quarantine_by_reason({"null value": 28}, 1000).get_label()
    'Bars: 28 of 1,000 rows quarantined (2.8%), by reason: null value 28.'
    """
    title = "Rows quarantined, by reason"
    present = sorted(
        ((count, reason) for reason, count in counts.items() if count), key=lambda pair: (-pair[0], pair[1])
    )
    if not present:
        return _nothing(title, f"Nothing quarantined: each of the {rows_read:,} rows read was kept.")
    figure, axes = new_figure(title, "", "", height=1.0 + 0.42 * len(present))
    _counted_bars(axes, [reason for _, reason in present], [count for count, _ in present], rows_read, ORANGE)
    total = sum(count for count, _ in present)
    listed = ", ".join(f"{reason} {count:,}" for count, reason in present)
    return described(
        figure,
        f"Bars: {total:,} of {rows_read:,} rows quarantined ({share_text(total / rows_read)}), by reason: {listed}.",
    )


@house_style
def odd_values(counts: Mapping[str, int], rows_kept: int) -> Figure:
    """Values that are odd but possible: kept, and counted here.

    Parameters
    ----------
    counts : mapping of str to int
        Rows kept for each kind of oddity.
    rows_kept : int
        All rows kept, for the shares.

    Returns
    -------
    matplotlib.figure.Figure
        Words where there are none.

    Examples
    --------
    >>> odd_values({"zero volume": 3, "High below Low": 0}, 300).get_label()
    'Bars: odd values among 300 rows kept: zero volume 3 (1%), High below Low 0 (0%).'
    """
    title = "Odd but possible values, kept"
    if not any(counts.values()):
        return _nothing(title, f"None among the {rows_kept:,} rows kept ({', '.join(counts)}).")
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    present = [(name, count) for name, count in ordered if count]
    figure, axes = new_figure(title, "", "", height=1.0 + 0.42 * len(present))
    _counted_bars(axes, [name for name, _ in present], [count for _, count in present], rows_kept, YELLOW)
    listed = ", ".join(f"{name} {count:,} ({share_text(count / rows_kept)})" for name, count in ordered)
    return described(figure, f"Bars: odd values among {rows_kept:,} rows kept: {listed}.")


# --- 02_features ------------------------------------------------------------------------------------------


@house_style
def volume_with_average(rows: pd.DataFrame, symbol: str, window: int) -> Figure:
    """One symbol's volume and its moving average.

    Parameters
    ----------
    rows : pandas.DataFrame
        ``Date``, ``Volume`` (shares a day) and ``vol_moving_avg`` (shares a day, null at first) of one symbol.
    symbol : str
    window : int
        Rows (trading days) of the moving average.

    Returns
    -------
    matplotlib.figure.Figure

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
    axes.plot(dates, rows["vol_moving_avg"], color=INK, label=f"{window}-day moving average")
    axes.set_ylim(0, None)
    axes.margins(x=0)
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    _date_axis(axes, dates)
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.02), ncols=2, borderaxespad=0, handlelength=1.2)
    axes.set_ylim(0, float(rows["Volume"].max()) * 1.15)  # room for the legend
    return described(
        figure,
        f"Lines: {symbol}'s volume, {spelt(dates.iloc[0])} to {spelt(dates.iloc[-1])}, "
        f"{spelt(rows['Volume'].min())} to {spelt(rows['Volume'].max())} shares, and its {window}-day moving average, "
        f"{spelt(rows['vol_moving_avg'].min())} to {spelt(rows['vol_moving_avg'].max())} shares.",
    )


@house_style
def price_with_median(rows: pd.DataFrame, symbol: str, window: int) -> Figure:
    """One symbol's adjusted close and its rolling median.

    Parameters
    ----------
    rows : pandas.DataFrame
        ``Date``, ``Adj Close`` (dollars) and ``adj_close_rolling_med`` (dollars, null at first) of one symbol.
    symbol : str
    window : int
        Rows (trading days) of the rolling median.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = new_figure(f"{symbol}: adjusted close and its {window}-day median", "", "dollars")
    dates = pd.Series(rows["Date"].to_numpy().astype("datetime64[s]"))
    axes.plot(dates, rows["Adj Close"], color=SKY, linewidth=1.2, label="adjusted close")
    axes.plot(dates, rows["adj_close_rolling_med"], color=INK, label=f"{window}-day rolling median")
    axes.margins(x=0, y=0.12)
    _date_axis(axes, dates)
    axes.legend(loc="best", handlelength=1.2)
    return described(
        figure,
        f"Lines: {symbol}'s adjusted close, {spelt(dates.iloc[0])} to {spelt(dates.iloc[-1])}, "
        f"{spelt(rows['Adj Close'].min())} to {spelt(rows['Adj Close'].max())} dollars, "
        f"and its {window}-day rolling median.",
    )


def _date_axis(axes: Axes, dates: pd.Series[pd.Timestamp]) -> None:
    """Few dates, short, the year where it changes."""
    axes.set_xlabel(f"{dates.iloc[0]:%B %Y} to {dates.iloc[-1]:%B %Y}")
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


# Bins of the ratio Volume / vol_moving_avg: 0 to 3 by 0.05; larger ratios go to the last bin.
RATIO_EDGES: npt.NDArray[np.float64] = np.append(np.linspace(0, 3, 61), np.inf)


def count_ratios(volume: npt.ArrayLike, vol_moving_avg: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Count ``volume / vol_moving_avg`` in the bins of `RATIO_EDGES`, a part of a dataset at a time.

    Parameters
    ----------
    volume, vol_moving_avg : array-like of float, shape (rows,)
        Shares a day. Rows whose average is null (NaN) or 0 have no ratio and are left out.

    Returns
    -------
    numpy.ndarray of int64, shape (61,)
        The sum over parts is what `ratio_distribution` takes.

    Examples
    --------
    >>> int(count_ratios([10, 20, 0, 5], [10, float("nan"), 0, 1]).sum())
    2
    """
    volume, average = (np.asarray(volume, dtype=float), np.asarray(vol_moving_avg, dtype=float))
    usable = average > 0  # False for NaN
    bins = np.minimum(volume[usable] / average[usable] * 20, len(RATIO_EDGES) - 2).astype(np.int64)
    return np.bincount(bins, minlength=len(RATIO_EDGES) - 1)


@house_style
def ratio_distribution(counts: npt.NDArray[np.int64]) -> Figure:
    """How a day's volume compares with its moving average, over all rows.

    Parameters
    ----------
    counts : numpy.ndarray of int64, shape (61,)
        Sum of `count_ratios` over all parts.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> ratio_distribution(count_ratios([5, 8, 15, 90], [10, 10, 10, 10])).get_label()
    "Histogram: a day's volume divided by its average, 4 rows. 50% of them are below 1, 25% above 3."
    """
    title = "A day's volume against its moving average"
    total = int(counts.sum())
    if not total:
        return _nothing(title, "No row has a moving average above zero.")
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
    for side, place, text in (
        ("right", 0.97, f"{share_text(below)} below"),
        ("left", 1.03, f"{share_text(1 - below)} above"),
    ):
        axes.text(place, 0.99, text, transform=axes.get_xaxis_transform(), ha=side, va="top", color=INK)
    return described(
        figure,
        f"Histogram: a day's volume divided by its average, {total:,} rows. {share_text(below)} of them are below "
        f"1, {share_text(float(shares[-1]))} above 3.",
    )


# Bins of the two features: a tenth of a power of ten each, 1 to 10 billion shares and 1 cent to 100,000 dollars.
AVERAGE_EDGES: npt.NDArray[np.float64] = np.logspace(0, 10, 101)
MEDIAN_EDGES: npt.NDArray[np.float64] = np.logspace(-2, 5, 71)


def count_feature_pairs(vol_moving_avg: npt.ArrayLike, adj_close_rolling_med: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Count rows by their two features, a part of a dataset at a time.

    Parameters
    ----------
    vol_moving_avg : array-like of float, shape (rows,)
        Shares a day.
    adj_close_rolling_med : array-like of float, shape (rows,)
        Dollars.

    Returns
    -------
    numpy.ndarray of int64, shape (100, 70)
        By `AVERAGE_EDGES` and `MEDIAN_EDGES`; what lies outside them counts in the bins at the border, rows with a
        null (NaN) feature nowhere. The sum over parts is what `feature_density` takes.

    Examples
    --------
    >>> int(count_feature_pairs([1e6, float("nan")], [25, 25]).sum())
    1
    """
    average, median = np.asarray(vol_moving_avg, dtype=float), np.asarray(adj_close_rolling_med, dtype=float)
    known = ~(np.isnan(average) | np.isnan(median))
    row = _tenth_of_a_decade(average[known], AVERAGE_EDGES)
    column = _tenth_of_a_decade(median[known], MEDIAN_EDGES)
    shape = len(AVERAGE_EDGES) - 1, len(MEDIAN_EDGES) - 1
    return np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1]).reshape(shape)


def _tenth_of_a_decade(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The bin of each value among logarithmic ``edges``: a logarithm costs less than a search."""
    exponents = np.log10(np.clip(values, edges[0], edges[-1]))
    return np.clip(10 * (exponents - np.log10(edges[0])), 0, len(edges) - 2).astype(np.int64)


@house_style
def feature_density(counts: npt.NDArray[np.int64]) -> Figure:
    """Where the rows are, by their two features.

    Parameters
    ----------
    counts : numpy.ndarray of int64, shape (100, 70)
        Sum of `count_feature_pairs` over all parts.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> feature_density(count_feature_pairs([1e6, 2e6], [25, 30])).get_label()
    'Density of 2 rows by their two features, logarithmic: half have a moving average from 1 M to 3 M shares a day.'
    """
    title = "Rows by their two features"
    total = int(counts.sum())
    if not total:
        return _nothing(title, "No row has both features.")
    figure, axes = _feature_axes(title, counts)
    mesh = axes.pcolormesh(
        MEDIAN_EDGES,
        AVERAGE_EDGES,
        np.ma.masked_equal(counts, 0),
        cmap="viridis_r",
        norm=LogNorm(1, max(2, counts.max())),
    )
    bar = figure.colorbar(mesh, ax=axes, label="rows", pad=0.02, format="{x:,g}")
    bar.outline.set_visible(False)
    quartiles = np.searchsorted(np.cumsum(counts.sum(axis=1)), [0.25 * total, 0.75 * total])
    low, high = AVERAGE_EDGES[quartiles[0]], AVERAGE_EDGES[quartiles[1] + 1]
    engineering = EngFormatter(places=0, sep=" ")
    return described(
        figure,
        f"Density of {total:,} rows by their two features, logarithmic: half have a moving average from "
        f"{engineering(low)} to {engineering(high)} shares a day.",
    )


# --- 03_train -------------------------------------------------------------------------------------------


@house_style
def training_loss(history: Sequence[Mapping[str, float]], chosen: int) -> Figure:
    """How boosting lowers the error, iteration by iteration.

    Parameters
    ----------
    history : sequence of mapping
        ``lib.model.RatioBoosting.history_``: iteration, train and validation error.
    chosen : int
        The iteration that the model stops at.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> history = [{"iteration": 0, "train": 10, "validation": 12}, {"iteration": 1, "train": 9, "validation": 11.4}]
    >>> training_loss(history, 1).get_label()
    'Lines: error by boosting iteration, as a multiple of the best single ratio. At iteration 1, where boosting stops: \
0.9000 on the rows it learns from, 0.9500 on the validation rows.'
    """
    title = "Error by boosting iteration"
    if not history:
        return _nothing(title, "This model is not boosted: it has no iterations.")
    figure, axes = new_figure(title, "iteration", "error / best single ratio's")
    iterations = [entry["iteration"] for entry in history]
    ends = {}
    for name, label, color in (("train", "earlier dates, fitted", BLUE), ("validation", "validation dates", ORANGE)):
        start = history[0][name] or 1.0
        values = [entry[name] / start for entry in history]
        axes.plot(iterations, values, color=color, label=label, linestyle="-" if name == "train" else "--")
        axes.plot([chosen], [values[chosen]], marker="o", markersize=7, color=color)
        ends[name] = values[chosen]
    axes.axvline(chosen, color=GREY, linewidth=1.2, linestyle=":")
    axes.annotate(
        "stops here", (chosen, 1), (4, -2), xycoords=("data", "axes fraction"), textcoords="offset points", va="top"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter("{x:.4f}")
    axes.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    axes.margins(y=0.15)
    return described(
        figure,
        "Lines: error by boosting iteration, as a multiple of the best single ratio. At iteration "
        f"{chosen}, where boosting stops: {ends['train']:.4f} on the rows it learns from, {ends['validation']:.4f} on the "
        "validation rows.",
    )


def feature_pairs() -> npt.NDArray[np.float64]:
    """The middle of each bin of `count_feature_pairs`.

    Returns
    -------
    numpy.ndarray of float64, shape (7000, 2)
        vol_moving_avg and adj_close_rolling_med, ready for a model's ``predict``.

    Examples
    --------
    >>> feature_pairs().shape
    (7000, 2)
    """
    averages, medians = (np.sqrt(edges[1:] * edges[:-1]) for edges in (AVERAGE_EDGES, MEDIAN_EDGES))
    return np.column_stack([np.repeat(averages, len(medians)), np.tile(medians, len(averages))])


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
    >>> counts = count_feature_pairs([1e6, 2e6], [25, 30])
    >>> learned_surface(np.full(7000, 0.9), counts).get_label()
    'Map of the predicted volume / moving average over both features: from 0.900 to 0.900 where there are training rows. \
Lines enclose 50% and 90% of them.'
    """
    title = "Predicted volume / moving average"
    if not counts.sum():
        return _nothing(title, "There are no training rows.")
    surface = ratios.reshape(counts.shape)
    known = surface[counts > 0]
    figure, axes = _feature_axes(title, counts)
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


def _feature_axes(title: str, counts: npt.NDArray[np.int64]) -> tuple[Figure, Axes]:
    """Logarithmic axes of both features that end where the counted rows do."""
    figure, axes = new_figure(
        title, "rolling median of the adjusted close (dollars)", "moving average (shares a day)", 4.4
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    rows, columns = np.flatnonzero(counts.sum(axis=1)), np.flatnonzero(counts.sum(axis=0))
    axes.set_ylim(AVERAGE_EDGES[rows[0]], AVERAGE_EDGES[rows[-1] + 1])
    axes.set_xlim(MEDIAN_EDGES[columns[0]], MEDIAN_EDGES[columns[-1] + 1])
    axes.grid(False)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter("{x:,g}")
    return figure, axes


# --- 04_evaluate ----------------------------------------------------------------------------------------


def count_predictions(predicted: npt.ArrayLike, actual: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Count days by predicted and actual volume.

    Parameters
    ----------
    predicted, actual : array-like of float, shape (rows,)
        Shares.

    Returns
    -------
    numpy.ndarray of int64, shape (100, 100)
        By `AVERAGE_EDGES`, predicted first; a volume below 1 share counts in the first bin.

    Examples
    --------
    >>> int(count_predictions([1e6, 0], [2e6, 0]).sum())
    2
    """
    bins = [_tenth_of_a_decade(np.asarray(values, dtype=float), AVERAGE_EDGES) for values in (predicted, actual)]
    size = len(AVERAGE_EDGES) - 1
    return np.bincount(bins[0] * size + bins[1], minlength=size * size).reshape(size, size)


@house_style
def predicted_against_actual(counts: npt.NDArray[np.int64]) -> Figure:
    """How far days lie from what was predicted for them, and where the middle of them lies.

    Parameters
    ----------
    counts : numpy.ndarray of int64, shape (100, 100)
        From `count_predictions`.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> predicted_against_actual(count_predictions([1e6, 1e6], [1e6, 3e6])).get_label()
    'Density of 2 days by predicted and actual volume, both logarithmic, with the line where they are equal: on 50% of \
the days the actual volume is within a factor of about 1.6 of the predicted.'
    """
    title = "Actual volume against predicted"
    total = int(counts.sum())
    if not total:
        return _nothing(title, "No day is held out.")
    figure, axes = new_figure(title, "predicted volume (shares)", "actual volume (shares)", 4.6)
    mesh = axes.pcolormesh(
        AVERAGE_EDGES,
        AVERAGE_EDGES,
        np.ma.masked_equal(counts.T, 0),
        cmap="viridis_r",
        norm=LogNorm(1, max(2, counts.max())),
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    shown = np.flatnonzero(counts.sum(axis=1)), np.flatnonzero(counts.sum(axis=0))
    axes.set_xlim(AVERAGE_EDGES[shown[0][0]], AVERAGE_EDGES[shown[0][-1] + 1])
    axes.set_ylim(AVERAGE_EDGES[shown[1][0]], AVERAGE_EDGES[shown[1][-1] + 1])
    for width, color in ((4.0, "white"), (1.8, ORANGE)):
        axes.plot(AVERAGE_EDGES[[0, -1]], AVERAGE_EDGES[[0, -1]], color=color, linewidth=width)
    axes.grid(False)
    axes.minorticks_off()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(EngFormatter(sep=" "))
    bar = figure.colorbar(mesh, ax=axes, label="days", pad=0.02, format="{x:,g}")
    bar.outline.set_visible(False)
    near = sum(int(np.trace(counts, offset)) for offset in range(-2, 3)) / total
    return described(
        figure,
        f"Density of {total:,} days by predicted and actual volume, both logarithmic, with the line where they are equal: "
        f"on {share_text(near)} of the days the actual volume is within a factor of about 1.6 of the predicted.",
    )


@house_style
def errors_by_tenth(table: pd.DataFrame, quantity: str) -> Figure:
    """Where the error is, and where the model gains: by tenths of the held-out rows.

    Parameters
    ----------
    table : pandas.DataFrame
        From ``lib.evaluation.errors_by``.
    quantity : str
        What the tenths are in order of, with its unit.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> columns = ["low", "high", "relative_mae", "scaled_relative_mae", "error_share"]
    >>> table = pd.DataFrame([[1, 9, 0.9, 0.95, 0.25], [10, 99, 1.1, 1.0, 0.75]], columns=columns)
    >>> errors_by_tenth(table, "price (dollars)").get_label()
    "By tenths of price (dollars): the model's error from 0.900 to 1.100 times the moving average's, below it in 1 of 2; \
the tenth from 10 to 99 holds the largest part of the error, 75%."
    """
    title = f"Error by {quantity.partition(' (')[0]}"
    if table.empty:
        return _nothing(title, "No row is held out.")
    figure, axes = new_figure(title, "", "", 5.0)
    axes.remove()
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    places = np.arange(len(table))
    upper.axhline(1, color=INK, linewidth=1.4)
    upper.plot(places, table["scaled_relative_mae"], "s--", color=ORANGE, markersize=5, label="best multiple")
    upper.plot(places, table["relative_mae"], "o-", color=BLUE, markersize=6, label="model")
    upper.set_ylabel("error / average's")
    upper.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    upper.yaxis.set_major_formatter("{x:.2f}")
    upper.margins(y=0.2)
    upper.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    lower.bar(places, table["error_share"], color=SKY, width=0.8)
    lower.set_ylabel("share of error")
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    engineering = EngFormatter(places=0, sep="")
    names = [
        f"under\n{engineering(float(table['high'].iloc[0]))}",
        *(engineering(low) if low >= 10 else f"{low:.2g}" for low in table["low"].tolist()[1:]),
    ]
    lower.set_xticks(places, names if len(table) > 1 else ["all"])
    lower.set_xlabel(f"{quantity}: where each tenth begins")
    largest = table.loc[table["error_share"].idxmax()]
    better = int((table["relative_mae"] < 1).sum())
    return described(
        figure,
        f"By tenths of {quantity}: the model's error from {table['relative_mae'].min():.3f} to "
        f"{table['relative_mae'].max():.3f} times the moving average's, below it in {better} of {len(table)}; the tenth from "
        f"{engineering(float(largest['low']))} to {engineering(float(largest['high']))} holds the largest part of the error, "
        f"{share_text(float(largest['error_share']))}.",
    )


@house_style
def interval_coverage(table: pd.DataFrame, level: float) -> Figure:
    """How often the interval holds the volume, by decile of the moving average.

    Parameters
    ----------
    table : pandas.DataFrame
        From ``lib.evaluation.coverage``: decile, vol_moving_avg and coverage; the last line is of all rows.
    level : float
        What the interval promises, such as 0.8.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> lines = [["1", 1e3, 0.75], ["2", 1e6, 0.85], ["all", 1e4, 0.8]]
    >>> interval_coverage(pd.DataFrame(lines, columns=["decile", "vol_moving_avg", "coverage"]), 0.8).get_label()
    'Points: share of days within the 80% interval, by decile of the moving average: from 75.0% to 85.0%; 80.0% over all rows.'
    """
    title = f"Days within the {level:.0%} interval"
    tenths, whole = table[table["decile"] != "all"], float(table["coverage"].iloc[-1])
    figure, axes = new_figure(title, "moving average (shares a day): middle of each decile", "share of days")
    places = np.arange(len(tenths))
    axes.axhspan(level - 0.06, level + 0.06, color=PALE, alpha=0.6, linewidth=0, label=f"{level:.0%} ± 6 points")
    axes.axhline(level, color=INK, linewidth=1.4)
    axes.axhline(whole, color=ORANGE, linewidth=1.8, linestyle="--", label=f"all rows: {whole:.1%}")
    axes.plot(places, tenths["coverage"], "o", color=BLUE, markersize=8, label="one decile")
    engineering = EngFormatter(places=0, sep="")
    axes.set_xticks(places, [engineering(value) for value in tenths["vol_moving_avg"].tolist()])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    low, high = float(tenths["coverage"].min()), float(tenths["coverage"].max())
    axes.set_ylim(min(low, level - 0.1) - 0.02, max(high, level + 0.1) + 0.06)
    axes.legend(ncols=3, loc="upper left", columnspacing=1.2, handletextpad=0.5)
    return described(
        figure,
        f"Points: share of days within the {level:.0%} interval, by decile of the moving average: from {low:.1%} to "
        f"{high:.1%}; {whole:.1%} over all rows.",
    )


@house_style
def learning_curve(table: pd.DataFrame, scaled: float) -> Figure:
    """What more training rows are worth.

    Parameters
    ----------
    table : pandas.DataFrame
        From ``lib.evaluation.learning_curve``: rows, relative_mae and train_relative_mae.
    scaled : float
        The error of the average's best multiple on the same test rows, as a multiple of the average's.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> table = pd.DataFrame({"rows": [100, 400], "relative_mae": [1.02, 0.95], "train_relative_mae": [0.9, 0.94]})
    >>> learning_curve(table, 0.96).get_label()
    "Lines: error by number of training rows, as a multiple of the moving average's. On the held-out dates 1.020 with \
100 rows, 0.950 with 400; the best multiple has 0.960."
    """
    figure, axes = new_figure("Error by number of training rows", "training rows", "error / average's")
    axes.axhline(1, color=INK, linewidth=1.4)
    axes.axhline(scaled, color=GREY, linewidth=1.4, linestyle=":", label="best multiple")
    axes.plot(table["rows"], table["train_relative_mae"], "s--", color=SKY, markersize=5, label="rows fitted")
    axes.plot(table["rows"], table["relative_mae"], "o-", color=BLUE, markersize=6, label="held-out dates")
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(EngFormatter(places=0, sep=" "))
    axes.set_xticks(table["rows"])
    axes.yaxis.set_major_formatter("{x:.2f}")
    axes.legend(loc="best")
    first, last = table.iloc[0], table.iloc[-1]
    return described(
        figure,
        "Lines: error by number of training rows, as a multiple of the moving average's. On the held-out dates "
        f"{first['relative_mae']:.3f} with {first['rows']:,.0f} rows, {last['relative_mae']:.3f} with {last['rows']:,.0f}; "
        f"the best multiple has {scaled:.3f}.",
    )


@house_style
def errors_by_horizon(tables: Mapping[int, pd.DataFrame], predictors: Sequence[str]) -> Figure:
    """What it is worth that at horizon 0 the average contains the day itself.

    Parameters
    ----------
    tables : mapping of int to pandas.DataFrame
        The chronological comparisons of ``lib.evaluation.compare`` by horizon, 0 and 1.
    predictors : sequence of str
        Which lines of them.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> tables = {days: pd.DataFrame({"predictor": ["model"], "mae": [100.0 + 4 * days]}) for days in (0, 1)}
    >>> errors_by_horizon(tables, ["model"]).get_label()
    'Bars: mean absolute error on the held-out dates, same day and evening before. model: 100 and 104, 4.0% more.'
    """
    figure, axes = new_figure("Same day, or the evening before", "mean absolute error (shares)", "")
    errors = {days: table.set_index("predictor")["mae"] for days, table in tables.items()}
    places = np.arange(len(predictors))[::-1]
    for days, offset, color, label in (
        (0, 0.2, SKY, "average with the day itself (horizon 0)"),
        (1, -0.2, BLUE, "average of the evening before (horizon 1)"),
    ):
        axes.barh(places + offset, [errors[days][name] for name in predictors], 0.36, color=color, label=label)
    words = []
    for place, name in zip(places, predictors, strict=True):
        more = errors[1][name] / errors[0][name] - 1 if errors[0][name] else 0.0
        axes.annotate(
            f"{more:+.1%}", (errors[1][name], place - 0.2), (4, 0), textcoords="offset points", va="center", color=INK
        )
        words.append(
            f"{name}: {spelt(float(errors[0][name]))} and {spelt(float(errors[1][name]))}, "
            f"{abs(more):.1%} {'more' if more >= 0 else 'less'}"
        )
    axes.set_yticks(places, [textwrap.fill(name, 14) for name in predictors])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(False)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.set_xlim(0, 1.14 * max(errors[days][name] for days in errors for name in predictors))
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=1)
    return described(
        figure, f"Bars: mean absolute error on the held-out dates, same day and evening before. {'; '.join(words)}."
    )


# --- api_tour -------------------------------------------------------------------------------------------


@house_style
def latencies(seconds: npt.ArrayLike) -> Figure:
    """How long a server took to answer.

    Parameters
    ----------
    seconds : array of float64, shape (calls,)
        At least one, each above zero.

    Returns
    -------
    matplotlib.figure.Figure

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
