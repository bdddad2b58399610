"""The figures of 01_ingest."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lib.figures.style import BLUE, INK, ORANGE, WIDTH, YELLOW, described, house_style, new_figure, nothing
from lib.text import percent, shortened

_LETTERS = 24  # of a bar's name, in a line


@house_style
def symbols_by_year(files: pd.DataFrame) -> Figure:
    """How many symbols have prices in each year, stocks and exchange-traded funds.

    Parameters
    ----------
    files : pandas.DataFrame
        A row a raw file: ``file`` (``"stocks/AAPL.csv"``; the folder is the kind), ``first_date`` and ``last_date``
        (dates; null where nothing was kept). A symbol counts in every year from its first to its last row.

    Examples
    --------
    >>> files = pd.DataFrame({"file": ["stocks/A.csv"], "first_date": ["2000-01-03"], "last_date": ["2002-01-03"]})
    >>> symbols_by_year(files).get_label()
    'Bars: symbols with prices, by year, 2000 to 2002. Stocks: 1 in 2000, 1 in 2002, at most 1 (first in 2000).'
    """
    title = "Symbols with prices, by year"
    kept = files.dropna(subset=["first_date", "last_date"])
    if kept.empty:
        return nothing(title, "No file gave a single row.")
    # By its text: pandas' timestamps end in 2262, Python's dates in 9999.
    first, last = (np.array([int(str(day)[:4]) for day in kept[name]]) for name in ("first_date", "last_date"))
    folder = kept["file"].str.split("/").str[0].to_numpy()
    years = np.arange(first.min(), last.max() + 1)
    names = {"stocks": "Stocks", "etfs": "ETFs"}
    kinds = [kind for kind in names if (folder == kind).any()]
    counts = [_spans(first[folder == kind], last[folder == kind], years) for kind in kinds]

    figure, axes = new_figure(title, "year", "symbols")
    below = np.zeros(len(years), dtype=int)
    edges = np.append(years, years[-1] + 1) - 0.5
    for kind, count, color in zip(kinds, counts, (BLUE, YELLOW), strict=False):
        # One shape, however many years there are: a mistaken date may make thousands of them.
        axes.stairs(below + count, edges, baseline=below, fill=True, color=color, label=names[kind])
        below = below + count
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


def _spans(first: NDArray[np.int64], last: NDArray[np.int64], years: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each year, how many spans from a first to a last year have it."""
    begun, ended = (np.bincount(each - years[0], minlength=len(years) + 1) for each in (first, last + 1))
    return np.cumsum(begun - ended)[: len(years)]


@house_style
def rows_per_symbol(rows: pd.Series) -> Figure:
    """How long the symbols' histories are: a bar each for up to twelve symbols, a histogram for more.

    Parameters
    ----------
    rows : pandas.Series
        Rows (trading days) kept of each symbol, indexed by symbol.

    Examples
    --------
    >>> rows_per_symbol(pd.Series({"AAPL": 3270, "FB": 200})).get_label()
    'Bars: rows (trading days) of each of 2 symbols, from 200 (FB) to 3,270 (AAPL), the middle symbol 1,735.'
    """
    title = "Rows (trading days) of each symbol"
    rows = rows[rows > 0].sort_values(ascending=False, kind="stable")
    if rows.empty:
        return nothing(title, "No symbol has a single row.")
    least, most = (f"{rows.iloc[position]:,} ({rows.index[position]})" for position in (-1, 0))
    ends = f"from {least} to {most}, the middle symbol {rows.median():,.0f}."
    if len(rows) <= 12:
        figure = _counted_bars(title, [(str(name), int(count)) for name, count in rows.items()], 0, BLUE, 0.38)
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
    """Why rows were set aside, with their share of all raw rows: bars, or a sentence if none were.

    Examples
    --------
    >>> quarantine_by_reason({}, 12154).get_label()
    'Rows quarantined, by reason: Nothing quarantined: each of the 12,154 rows read was kept.'
    >>> quarantine_by_reason({"null value": 28}, 1000).get_label()
    'Bars: 28 of 1,000 rows quarantined (2.8%), by reason: null value 28.'
    """
    title = "Rows quarantined, by reason"
    present = [(reason, count) for reason, count in _ordered(counts) if count]
    if not present:
        return nothing(title, f"Nothing quarantined: each of the {rows_read:,} rows read was kept.")
    total = sum(counts.values())
    listed = ", ".join(f"{reason} {count:,}" for reason, count in present)
    return described(
        _counted_bars(title, present, rows_read, ORANGE),
        f"Bars: {total:,} of {rows_read:,} rows quarantined ({percent(total / rows_read)}), by reason: {listed}.",
    )


@house_style
def odd_values(counts: Mapping[str, int], rows_kept: int) -> Figure:
    """Values that are odd but possible, kept and counted here, with their share of the rows kept: bars, or a sentence if there are none.

    Examples
    --------
    >>> odd_values({"zero volume": 3, "High below Low": 0}, 300).get_label()
    'Bars: odd values among 300 rows kept: zero volume 3 (1%), High below Low 0 (0%).'
    """
    title = "Odd but possible values, kept"
    if not any(counts.values()):
        return nothing(title, f"None among the {rows_kept:,} rows kept ({', '.join(counts)}).")
    ordered = _ordered(counts)
    figure = _counted_bars(title, [(name, count) for name, count in ordered if count], rows_kept, YELLOW)
    listed = ", ".join(f"{name} {count:,} ({percent(count / rows_kept)})" for name, count in ordered)
    return described(figure, f"Bars: odd values among {rows_kept:,} rows kept: {listed}.")


def _ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _counted_bars(
    title: str, bars: Sequence[tuple[str, int]], total: int, color: str, inches_a_bar: float = 0.42
) -> Figure:
    """Horizontal bars, the longest on top, each with its count and its share of ``total``."""
    figure, axes = new_figure(title, "", "", height=1.0 + inches_a_bar * len(bars))
    names, counts = zip(*bars, strict=True)
    positions = np.arange(len(names))[::-1]
    axes.barh(positions, counts, height=0.62, color=color)
    written = [textwrap.fill(shortened(name, 2 * _LETTERS), _LETTERS) for name in names]
    axes.set_yticks(positions, written)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(False)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    labels = [f"{count:,}  ({percent(count / total)})" if total else f"{count:,}" for count in counts]
    # A letter is about 0.1 inch wide: the longest bar leaves room for the names and for the longest label.
    room = WIDTH - 0.4 - 0.1 * max(len(line) for name in written for line in name.split("\n"))
    axes.set_xlim(0, max(counts) * room / max(0.5, room - 0.1 * max(map(len, labels))))
    for position, count, label in zip(positions, counts, labels, strict=True):
        axes.annotate(label, (count, position), (5, 0), textcoords="offset points", va="center", color=INK)
    return figure
