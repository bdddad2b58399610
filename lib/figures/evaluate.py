"""The figures of 04_evaluate."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from lib.features.counts import AVERAGE_EDGES
from lib.features.definitions import VOLUME_AVERAGE
from lib.figures.axes import density, logarithmic
from lib.figures.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE,
    SKY,
    described,
    house_style,
    new_figure,
    nothing,
    short_labels,
    slant_long_labels,
)
from lib.text import as_text, percent


@house_style
def predicted_against_actual(counts: npt.NDArray[np.int64]) -> Figure:
    """How far days lie from what was predicted for them, and where the middle of them lies.

    Parameters
    ----------
    counts : numpy.ndarray of int64, shape (100, 100)
        From `count_predictions`.

    Examples
    --------
    >>> from lib.features.counts import count_predictions
    >>> predicted_against_actual(count_predictions([1e6, 1e6], [1e6, 3e6])).get_label()
    'Density of 2 days by predicted and actual volume, both logarithmic, with the line where they are equal: on 50% of \
the days the actual volume is within a factor of about 1.6 of the predicted.'
    """
    title = "Actual volume against predicted"
    total = int(counts.sum())
    if not total:
        return nothing(title, "No day is held out.")
    figure, axes = new_figure(title, "predicted volume (shares)", "actual volume (shares)", 4.6)
    logarithmic(axes, AVERAGE_EDGES, AVERAGE_EDGES, counts.T)
    density(axes, AVERAGE_EDGES, AVERAGE_EDGES, counts.T, "days")
    for width, color in ((4.0, "white"), (1.8, ORANGE)):
        axes.plot(AVERAGE_EDGES[[0, -1]], AVERAGE_EDGES[[0, -1]], color=color, linewidth=width)
    near = sum(int(np.trace(counts, offset)) for offset in range(-2, 3)) / total
    return described(
        figure,
        f"Density of {total:,} days by predicted and actual volume, both logarithmic, with the line where they are equal: "
        f"on {percent(near)} of the days the actual volume is within a factor of about 1.6 of the predicted.",
    )


@house_style
def errors_by_tenth(table: pd.DataFrame, quantity: str) -> Figure:
    """Where the error is, and where the model gains: by tenths of the held-out rows.

    Parameters
    ----------
    table : pandas.DataFrame
        From ``lib.evaluation.tables.errors_by``.
    quantity : str
        What the tenths are in order of, with its unit.

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
        return nothing(title, "No row is held out.")
    figure, axes = new_figure(title, "", "", 5.0)
    axes.remove()
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    positions = np.arange(len(table))
    upper.axhline(1, color=INK, linewidth=1.4)
    upper.plot(positions, table["scaled_relative_mae"], "s--", color=ORANGE, markersize=5, label="best multiple")
    upper.plot(positions, table["relative_mae"], "o-", color=BLUE, markersize=6, label="model")
    upper.set_ylabel("error / average's")
    upper.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    upper.yaxis.set_major_formatter("{x:.2f}")
    upper.margins(y=0.2)
    upper.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    lower.bar(positions, table["error_share"], color=SKY, width=0.8)
    lower.set_ylabel("share of error")
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    engineering = EngFormatter(places=0, sep="")
    # The first tenth ends where the second begins: as two neighbours they would never be told apart.
    begins = short_labels(table["low"].iloc[1:].tolist())
    lower.set_xticks(positions, [f"under\n{begins[0]}", *begins] if begins else ["all"])
    slant_long_labels(lower)
    lower.set_xlabel(f"{quantity}: where each tenth begins")
    largest = table.loc[table["error_share"].idxmax()]
    better = int((table["relative_mae"] < 1).sum())
    return described(
        figure,
        f"By tenths of {quantity}: the model's error from {table['relative_mae'].min():.3f} to "
        f"{table['relative_mae'].max():.3f} times the moving average's, below it in {better} of {len(table)}; the tenth from "
        f"{engineering(float(largest['low']))} to {engineering(float(largest['high']))} holds the largest part of the error, "
        f"{percent(float(largest['error_share']))}.",
    )


@house_style
def interval_coverage(table: pd.DataFrame, level: float) -> Figure:
    """How often the interval holds the volume, by decile of the moving average.

    Parameters
    ----------
    table : pandas.DataFrame
        From ``lib.evaluation.tables.coverage``: decile, vol_moving_avg and coverage; the last line is of all rows.
    level : float
        What the interval promises, such as 0.8.

    Examples
    --------
    >>> lines = [["1", 1e3, 0.75], ["2", 1e6, 0.85], ["all", 1e4, 0.8]]
    >>> interval_coverage(pd.DataFrame(lines, columns=["decile", "vol_moving_avg", "coverage"]), 0.8).get_label()
    'Points: share of days within the 80% interval, by decile of the moving average: from 75.0% to 85.0%; 80.0% over all rows.'
    """
    title = f"Days within the {level:.0%} interval"
    tenths, whole = table[table["decile"] != "all"], float(table["coverage"].iloc[-1])
    figure, axes = new_figure(title, "moving average (shares a day): middle of each decile", "share of days")
    positions = np.arange(len(tenths))
    axes.axhspan(level - 0.06, level + 0.06, color=PALE, alpha=0.6, linewidth=0, label=f"{level:.0%} ± 6 points")
    axes.axhline(level, color=INK, linewidth=1.4)
    axes.axhline(whole, color=ORANGE, linewidth=1.8, linestyle="--", label=f"all rows: {whole:.1%}")
    axes.plot(positions, tenths["coverage"], "o", color=BLUE, markersize=8, label="one decile")
    axes.set_xticks(positions, short_labels(tenths[VOLUME_AVERAGE.name].tolist()))
    slant_long_labels(axes)
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
        From ``lib.evaluation.tables.learning_curve``: rows, relative_mae and train_relative_mae.
    scaled : float
        The error of the average's best multiple on the same test rows, as a multiple of the average's.

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
        The chronological comparisons of ``lib.evaluation.tables.compare`` by horizon, 0 and 1.
    predictors : sequence of str
        Which lines of them.

    Examples
    --------
    >>> tables = {days: pd.DataFrame({"predictor": ["model"], "mae": [100.0 + 4 * days]}) for days in (0, 1)}
    >>> errors_by_horizon(tables, ["model"]).get_label()
    'Bars: mean absolute error on the held-out dates, same day and evening before. model: 100 and 104, 4.0% more.'
    """
    figure, axes = new_figure("Same day, or the evening before", "mean absolute error (shares)", "")
    errors = {days: table.set_index("predictor")["mae"] for days, table in tables.items()}
    positions = np.arange(len(predictors))[::-1]
    for days, offset, color, label in (
        (0, 0.2, SKY, "average that includes the day itself"),
        (1, -0.2, BLUE, "average of the evening before"),
    ):
        axes.barh(positions + offset, [errors[days][name] for name in predictors], 0.36, color=color, label=label)
    words = []
    for position, name in zip(positions, predictors, strict=True):
        more = errors[1][name] / errors[0][name] - 1 if errors[0][name] else 0.0
        axes.annotate(
            f"{more:+.1%}",
            (errors[1][name], position - 0.2),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
        words.append(
            f"{name}: {as_text(float(errors[0][name]))} and {as_text(float(errors[1][name]))}, "
            f"{abs(more):.1%} {'more' if more >= 0 else 'less'}"
        )
    axes.set_yticks(positions, [textwrap.fill(name, 14) for name in predictors])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(False)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.set_xlim(0, 1.14 * max(errors[days][name] for days in errors for name in predictors))
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=1)
    return described(
        figure, f"Bars: mean absolute error on the held-out dates, same day and evening before. {'; '.join(words)}."
    )
