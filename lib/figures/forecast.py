"""The figures of 05_forecast, in the house style of `lib.figures.style`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from lib.figures.style import BLUE, GREY, INK, ORANGE, PALE, SKY, described, house_style, new_figure
from lib.text import as_text, days

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@house_style
def errors_by_group(table: pd.DataFrame, title: str, quantity: str, names: Sequence[str] | None = None) -> Figure:
    """The forecast's error, as a multiple of the 30-day average's, group by group.

    Parameters
    ----------
    table : pandas.DataFrame
        From `lib.evaluation.sums.by_group`: key and relative_mae.
    title, quantity : str
        What the figure is called, and what the groups are.
    names : sequence of str, optional
        What the group of each key is called, from 0 on; by default its key.

    Examples
    --------
    >>> table = pd.DataFrame({"key": [2001, 2002], "relative_mae": [0.8, 0.75]})
    >>> errors_by_group(table, "Error by year", "year").get_label()
    "Error by year: 0.8 times the average's (2001), 0.75 (2002)."
    """
    figure, axes = new_figure(title, quantity, "error / the average's")
    labels = [names[key] if names else str(key) for key in table["key"].astype(int)]
    positions = np.arange(len(table))
    axes.axhline(1, color=INK, linewidth=1.4)
    axes.vlines(positions, table["relative_mae"], 1, color=SKY, linewidth=1.4)
    axes.plot(positions, table["relative_mae"], "o", color=BLUE, markersize=8)
    step = max(1, -(-len(labels) // 10))
    axes.set_xticks(positions[::step], labels[::step])
    axes.set_ylim(
        min(0.6, float(table["relative_mae"].min()) - 0.05), max(1.05, float(table["relative_mae"].max()) + 0.05)
    )
    numbers = [f"{value:.3g} ({label})" for value, label in zip(table["relative_mae"], labels, strict=True)]
    numbers[0] = numbers[0].replace(" (", " times the average's (")
    return described(figure, f"{title}: {', '.join(numbers)}.")


@house_style
def errors_by_predictor(tables: dict[int, pd.DataFrame]) -> Figure:
    """Every predictor's error at each horizon, as a multiple of the 30-day average's.

    Parameters
    ----------
    tables : dict of int to pandas.DataFrame
        By horizon, from `lib.evaluation.forecast_metrics.compare`.

    Examples
    --------
    >>> table = pd.DataFrame({"predictor": ["30-day average", "model"], "relative_mae": [1.0, 0.78]})
    >>> errors_by_predictor({1: table}).get_label()
    'Error by predictor: 30-day average 1 (1 day); model 0.78 (1 day).'
    """
    names = next(iter(tables.values()))["predictor"].tolist()
    figure, axes = new_figure("Error by predictor", "error / the 30-day average's", "", height=0.45 * len(names) + 1.3)
    positions = np.arange(len(names))[::-1]
    errors = {_sessions(horizon): table["relative_mae"].tolist() for horizon, table in tables.items()}
    for (label, values), color in zip(errors.items(), (BLUE, ORANGE, INK, GREY), strict=False):
        axes.plot(values, positions, "o", color=color, markersize=7, label=label)
    axes.set_yticks(positions, names)
    axes.grid(True, axis="x")
    axes.legend(
        ncols=len(tables),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0,
        handletextpad=0.1,
        columnspacing=0.8,
    )
    numbers = zip(*([f"{value:.3g} ({label})" for value in values] for label, values in errors.items()), strict=True)
    parts = [f"{name} {', '.join(each)}" for name, each in zip(names, numbers, strict=True)]
    return described(figure, f"Error by predictor: {'; '.join(parts)}.")


def _sessions(horizon: int) -> str:
    return f"{horizon} day{'s' * (horizon > 1)}"


@house_style
def coverage_by_group(table: pd.DataFrame, level: float, quantity: str) -> Figure:
    """The share of days on which the range held the volume, group by group.

    Parameters
    ----------
    table : pandas.DataFrame
        From `lib.evaluation.sums.by_group`: key and coverage.
    level : float
        The share of days that the range promises to hold.

    Examples
    --------
    >>> coverage_by_group(pd.DataFrame({"key": [1, 2], "coverage": [0.79, 0.82]}), 0.8, "decile").get_label()
    'Days within the 80% range, by decile: from 79.0% to 82.0%.'
    """
    figure, axes = new_figure(f"Within the {level:.0%} range, by {quantity}", quantity, "share of days")
    axes.axhspan(level - 0.05, level + 0.05, color=PALE, alpha=0.6, linewidth=0, label=f"{level:.0%} ± 5 points")
    axes.axhline(level, color=INK, linewidth=1.4)
    axes.plot(np.arange(len(table)), table["coverage"], "o", color=BLUE, markersize=8)
    step = max(1, -(-len(table) // 10))
    axes.set_xticks(np.arange(len(table))[::step], [str(int(key)) for key in table["key"]][::step])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    low, high = float(table["coverage"].min()), float(table["coverage"].max())
    axes.set_ylim(min(low, level - 0.1) - 0.02, max(high, level + 0.1) + 0.04)
    axes.legend(loc="upper left")
    return described(figure, f"Days within the {level:.0%} range, by {quantity}: from {low:.1%} to {high:.1%}.")


@house_style
def fan(rows: pd.DataFrame, forecasts: pd.DataFrame, symbol: str) -> Figure:
    """A symbol's recent volume, and its forecasts with their ranges.

    Parameters
    ----------
    rows : pandas.DataFrame
        Date and Volume of its last days.
    forecasts : pandas.DataFrame
        Its forecasts: for_from, for_to, forecast, low, high, horizon.

    Examples
    --------
    >>> days = pd.to_datetime(["2020-01-02", "2020-01-03"])
    >>> ahead = pd.DataFrame({"for_from": days[1:], "for_to": days[1:], "forecast": [5], "low": [2], "high": [9], "horizon": [1]})
    >>> fan(pd.DataFrame({"Date": days, "Volume": [4, 6]}), ahead, "AAPL").get_label()
    "Bars: AAPL's volume to 2020-01-03; forecasts: 5 shares a day, 2 to 9 (1 day)."
    """
    figure, axes = new_figure(f"{symbol}: the last days, and what comes", "", "shares a day")
    dates = pd.Series(rows["Date"].to_numpy().astype("datetime64[s]"))
    axes.bar(dates, rows["Volume"], color=SKY, width=0.9, label="volume of the day")
    words = []
    spans = [forecasts[name].to_numpy().astype("datetime64[s]") for name in ("for_from", "for_to")]
    numbers = forecasts[["horizon", "forecast", "low", "high"]].to_numpy(dtype=np.int64).tolist()
    for first, last, (horizon, point, low, high), color in zip(
        *spans, numbers, (ORANGE, BLUE, GREY, INK), strict=False
    ):
        span = np.array([first, last + np.timedelta64(1, "D")])
        label = _sessions(horizon)
        if first == last:  # a day is too narrow for an area
            axes.vlines(span[:1], low, high, color=color, zorder=3)
            axes.plot(span[:1], [point], "o", color=color, markersize=7, label=label)
        else:
            axes.fill_between(span, [low] * 2, [high] * 2, color=color, alpha=0.22, linewidth=0)
            axes.plot(span, [point] * 2, color=color, label=label)
        words.append(f"{as_text(point)} shares a day, {as_text(low)} to {as_text(high)} ({label})")
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.set_xlabel(days(dates.iloc[0].date(), pd.Timestamp(forecasts["for_to"].max()).date()))
    locator = AutoDateLocator(maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.set_ylim(0, 1.35 * max(float(rows["Volume"].max()), float(forecasts["high"].max())))
    axes.legend(ncols=2, loc="upper left", borderaxespad=0, handlelength=1.2)
    return described(figure, f"Bars: {symbol}'s volume to {as_text(dates.iloc[-1])}; forecasts: {'; '.join(words)}.")


@house_style
def importance(table: pd.DataFrame) -> Figure:
    """By how much the error grows when one input is shuffled among the rows.

    Parameters
    ----------
    table : pandas.DataFrame
        label (of the feature) and growth, largest first; see `lib.evaluation.fits.importance`.

    Examples
    --------
    >>> importance(pd.DataFrame({"label": ["weekday"], "growth": [0.012]})).get_label()
    'Feature importance: weekday +1.2%.'
    """
    figure, axes = new_figure(
        "Feature importance", "growth of the error without it", "", height=0.32 * len(table) + 1.2
    )
    positions = np.arange(len(table))[::-1]
    axes.barh(positions, table["growth"], height=0.62, color=BLUE)
    axes.set_yticks(positions, table["label"])
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    words = [f"{label} +{growth:.1%}" for label, growth in zip(table["label"], table["growth"], strict=True)]
    return described(figure, f"Feature importance: {', '.join(words)}.")
