"""What a study's forecasts were found to be worth: ``forecast_metrics.json``, read for people.

The standard library alone: the dashboard's kernels, which must stay small, import this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lib import files, paths
from lib.features.definitions import FROM_DATA
from lib.text import percent, printable

LEVEL = 0.8  # the share of days that the ranges are meant to hold
_MOST = 1e18  # whatever is measured is less
TIMES = "4 times out of 5"  # the same in words
NO_EXCHANGE = (
    "The days are weekdays on which this archive has prices, not sessions of an exchange, so holidays are unknown. To name its exchange: "
    "forecast.calendar, such as XLON, XETR or XTKS."
)


def how_often(horizon: int) -> str:
    """How often a range is meant to hold, in words: that of a mean of several days for a share of the forecasts, not of the days.

    Examples
    --------
    >>> how_often(1), how_often(5)
    ('on 4 days out of 5', '4 times out of 5')
    """
    return "on 4 days out of 5" if horizon == 1 else TIMES


def judged_forecasts(study: paths.StudyPaths) -> dict[int, dict[str, Any]]:
    """What was measured, by horizon.

    Returns
    -------
    dict of int to dict
        ``verdict``, and of ``rows``, ``mae``, ``relative_mae`` and ``coverage`` those that are there, as `lib.evaluation.forecast_metrics.by_horizon` has
        them; empty where no forecasts were made, or the file cannot be read.
    """
    try:
        horizons = files.read_json(study.forecast_metrics)["horizons"]
        return {int(horizon): _measured(found) for horizon, found in horizons.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _measured(found: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {name: found.get(name) for name in ("rows", "mae", "relative_mae", "coverage")}
    measured = {
        name: value
        for name, value in numbers.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST
    }
    verdict, held = found.get("verdict"), ""
    if "coverage" in measured:
        held = f" Its range, which should hold {LEVEL:.0%} of the time, held {percent(measured['coverage'])}."
    return {"verdict": printable(verdict) + held, **measured} if isinstance(verdict, str) else measured


def verdicts(study: paths.StudyPaths, horizons: Sequence[int] | None = None) -> list[str]:
    """How good the forecasts are, and how often their ranges held, a few sentences a horizon (sessions); by default of all that were judged."""
    found = judged_forecasts(study)
    wanted = found if horizons is None else horizons
    return [found[horizon]["verdict"] for horizon in wanted if found.get(horizon, {}).get("verdict")]


def calendar_note(study: paths.StudyPaths) -> str:
    """What a reader must know of the days that forecasts are for, where no exchange's calendar has them; else empty."""
    try:
        calendar = files.read_json(study.forecast_metrics)["calendar"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return NO_EXCHANGE if calendar == FROM_DATA else ""
