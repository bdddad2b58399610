"""How good are the forecasts? The model beside its baselines, and a verdict in plain words, from the sums over parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.evaluation import sums

AVERAGE, MULTIPLE, LAST, MEAN_5 = "30-day average", "best multiple of the average", "last value", "mean of 5 days"
DECAY, DECAY_MULTIPLE = "exponential mean", "best multiple of the exponential mean"
WEEKDAY, TWO_FEATURES, LINEAR, MODEL = "same weekday's mean", "two-feature model", "linear", "model"


def predictors(found: pd.DataFrame) -> list[str]:
    """The predictors of a table of sums, in the order that a reader meets them; the model comes last."""
    order = (AVERAGE, MULTIPLE, LAST, MEAN_5, DECAY, DECAY_MULTIPLE, WEEKDAY, TWO_FEATURES, LINEAR, MODEL)
    return [name for name in order if name in set(found["predictor"])]


def compare(found: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """The model beside every baseline, from the sums of `lib.evaluation.sums.Total`.

    Returns
    -------
    pandas.DataFrame
        One line a predictor: predictor, mae (shares), relative_mae (a multiple of the average's), median_ape; lead, the share by which the model's
        error is below this one's, and lead_error, its standard error over quarters.
    """
    everything = found[(found["horizon"] == horizon) & (found["grouping"] == "all")].set_index("predictor")
    lines = []
    for name in predictors(found[found["horizon"] == horizon]):
        lead, lead_error = sums.lead(found, horizon, MODEL, name) if name != MODEL else (np.nan, np.nan)
        error, average = (float(everything["error"][which]) for which in (name, AVERAGE))
        lines.append(
            {
                "predictor": name,
                "mae": error / everything["rows"][name],
                "relative_mae": error / average if average else np.nan,
                "median_ape": sums.median_ape(found, horizon, name),
                "lead": lead,
                "lead_error": lead_error,
            }
        )
    numbers = ["mae", "relative_mae", "median_ape", "lead", "lead_error"]
    return pd.DataFrame(lines, columns=["predictor", *numbers]).astype(dict.fromkeys(numbers, float))


def forecast_verdict(table: pd.DataFrame, horizon: int) -> str:
    """What a table of `compare` says, in plain words computed from its numbers, those of `lib.evaluation.sums.beats`."""
    what = "the next day" if horizon == 1 else f"the next {horizon} days"
    if not len(table):
        return (
            f"For {what}, no row could be held out to judge the forecast by: neither it nor its range has been tested. "
            "That takes a longer history of prices."
        )
    lines = table.set_index("predictor")
    if not lines["mae"][AVERAGE]:  # as where no share of any symbol is traded
        return f"For {what}, the 30-day average is never wrong, so no forecast can beat it; this one's mean absolute error is {lines['mae'][MODEL]:,.0f} shares."
    simple = lines.drop(index=[LINEAR, MODEL])
    best = str(simple["mae"].idxmin())

    words = [
        f"For {what}, on dates that its models never saw, the forecast's mean absolute error is {lines['mae'][MODEL]:,.0f} shares, "
        f"{lines['relative_mae'][MODEL]:.3f} times the 30-day average's.",
        f"It {sums.beats(lines, best)} the best simple answer, the {best} ({lines['relative_mae'][best]:.3f}), "
        f"and it {sums.beats(lines, LINEAR)} the linear model ({lines['relative_mae'][LINEAR]:.3f}).",
    ]
    if lines["lead_error"][[best, LINEAR]].isna().any():
        words.append(sums.UNTESTED)
    return " ".join(words)


def by_horizon(found: pd.DataFrame, horizons: Sequence[int]) -> dict[str, Any]:
    """Every measured number, as ``forecast_metrics.json`` holds them, from the sums of `lib.evaluation.sums.Total`.

    Returns
    -------
    dict of str to dict
        By horizon: rows, mae, relative_mae, median_ape, pinball, coverage, verdict, baselines, and the same by decile, year, weekday, kind of day and length of history;
        NaN is what could not be measured.
    """
    metrics: dict[str, Any] = {}
    for horizon in horizons:
        table = compare(found, horizon)
        content: dict[str, Any] = {"verdict": forecast_verdict(table, horizon), "rows": 0, "baselines": {}}
        if len(table):
            whole = found[(found["horizon"] == horizon) & (found["grouping"] == "all")].set_index("predictor")
            lines = table.set_index("predictor")
            content |= {"rows": int(whole["rows"][MODEL])}
            content |= {name: float(lines[name][MODEL]) for name in ("mae", "relative_mae", "median_ape")}
            content["coverage"] = float(whole["inside"][MODEL] / whole["rows"][MODEL])
            content["pinball"] = float(whole["pinball"][MODEL] / (2 * whole["rows"][MODEL]))
            content["baselines"] = {str(name): _numbers(line) for name, line in lines.drop(index=MODEL).iterrows()}
            for grouping in ("decile", "year", "weekday", "special", "history"):
                groups = sums.by_group(found, horizon, grouping, MODEL, AVERAGE)
                content[f"by_{grouping}"] = [_numbers(line) for _, line in groups.iterrows()]
        metrics[str(horizon)] = content
    return metrics


def _numbers(line: pd.Series) -> dict[str, float | int]:
    return {str(name): int(value) if name in ("key", "rows") else float(value) for name, value in line.items()}
