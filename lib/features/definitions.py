"""What each feature is: one entry a feature, from which schemas, the model's inputs, figures, forms, pages and the API follow.

`DAILY` are the columns that the dataset of features adds to prices; the first two are the inputs of the model behind ``/predict``.
`FEATURES` are those of the forecast, all known the evening before: they are made of the symbol's rows up to and including that day, and of
the exchange's calendar. Volumes are compared on the logarithmic scale, relative to the symbol's 30-day average: 0 is an average day, 0.69 twice as much.
To add one to `DAILY`: an entry there, and a function in `lib.features.windows`. To add one to `FEATURES`: an entry, and its values in
`lib.features.evening` under the same name. Pure Python: the dashboard's kernels, which must stay small, import this module.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

AVERAGE_ROWS = 30  # of the average that every volume is taken relative to, and that forecasts are compared with
LAGS = (1, 2, 3, 4, 5, 10, 21)  # sessions back from the day that is forecast
MEANS = (5, 10, 21, 63, 126, 252)  # rows
DECAYS = (60, 30, 10)  # percent: the newest row's weight in an exponential mean
SPREADS = (21, 63)  # rows
LONGEST = 320  # rows that a feature looks back at most
FROM_DATA = "from_data"  # the calendar of no exchange: the weekdays on which the archive has dates


@dataclass(frozen=True)
class Feature:
    """One feature.

    Parameters
    ----------
    source : tuple of str
        The columns of prices that it is made of, in the order that its function takes them; none for what the calendar says.
    label : str
        As an axis or a table has it.
    text : str
        What it is, in a sentence.
    low, high : float
        What a feature of the forecast is cut off at, since beyond lies bad data; what an input of the model may be.
    function : str
        What computes a feature of `DAILY`: the name of a function in `lib.features.windows`, so that nothing is imported here.
    example : int
        An input's, for the pages that show how to ask.
    """

    name: str
    source: tuple[str, ...]
    unit: str
    label: str
    text: str
    low: float = -12.0
    high: float = 12.0
    function: str = ""
    example: int = 0


VOLUME_AVERAGE = Feature(
    "vol_moving_avg",
    ("Volume",),
    "shares a day",
    "volume moving average",
    "mean of Volume over the window",
    0.0,
    1e15,
    "moving_average",
    12345,
)
PRICE_MEDIAN = Feature(
    "adj_close_rolling_med",
    ("Adj Close",),
    "dollars",
    "median adjusted close",
    "median of Adj Close over the window",
    -math.inf,
    math.inf,
    "rolling_median",
    25,
)
DAILY = (
    VOLUME_AVERAGE,
    PRICE_MEDIAN,
)
INPUTS = (VOLUME_AVERAGE.name, PRICE_MEDIAN.name)
BY_NAME = {feature.name: feature for feature in DAILY}
EXAMPLE_QUERY = "&".join(f"{name}={BY_NAME[name].example}" for name in INPUTS)

_LOG = "log of a ratio"
_VOLUME, _CLOSE, _RANGE = ("Volume",), ("Close",), ("High", "Low")


def _features(*rows: tuple[Any, ...]) -> tuple[Feature, ...]:
    """One feature a row: its name, source, unit, label, text and bounds."""
    return tuple(Feature(*row) for row in rows)


def _volume(name: str, label: str, text: str) -> Feature:
    """A feature that is a log volume relative to the average."""
    return Feature(name, _VOLUME, _LOG, label, text)


VOLUMES = (
    *(
        _volume(
            f"volume_lag_{k}",
            f"volume {k} session{'s' * (k > 1)} before",
            f"Volume {k} row{'s' * (k > 1)} before the day forecast.",
        )
        for k in LAGS
    ),
    *(_volume(f"volume_mean_{w}", f"mean of {w} days", f"Mean log Volume over the last {w} rows.") for w in MEANS),
    *(
        _volume(
            f"volume_decay_{a}",
            f"exponential mean, {a} %",
            f"Exponential mean of log Volume; the newest row weighs {a} %, each older one {100 - a} % of the one after it.",
        )
        for a in DECAYS
    ),
    *(
        Feature(
            f"volume_spread_{w}",
            _VOLUME,
            "log units",
            f"volatility of volume over {w} days",
            f"Standard deviation of log Volume over the last {w} rows.",
            0.0,
        )
        for w in SPREADS
    ),
    _volume("volume_weekday", "same weekday", "Mean log Volume of the last 4 rows on the weekday of the day forecast."),
    _volume(
        "volume_quarter_ago", "a quarter ago", "Mean log Volume of the rows 61 to 65 rows before the day forecast."
    ),
    _volume("volume_year_ago", "a year ago", "Mean log Volume of the rows 250 to 254 rows before the day forecast."),
    _volume("volume_peak_21", "busiest of 21 days", "Largest log Volume of the last 21 rows."),
    *_features(
        (
            "rows_since_peak",
            _VOLUME,
            "rows",
            "rows since a spike",
            "Rows since Volume was last above twice its 30-day average.",
            0,
            252,
        ),
        ("quiet_share", _VOLUME, "share", "days without trade", "Share of the last 63 rows without any trade.", 0, 1),
        ("volume_average", _VOLUME, "log shares", "30-day average", "Mean Volume over the last 30 rows.", 0, 30),
        ("history", (), "log rows", "length of history", "Rows of the symbol so far, up to 252.", 0),
    ),
)
PRICES = _features(
    (
        "dollar_volume",
        _CLOSE + _VOLUME,
        "log dollars",
        "dollar volume",
        "The average times the closing price.",
        -10,
        40,
    ),
    ("price", _CLOSE, "log dollars", "price", "The closing price.", -10, 20),
    ("range", _RANGE, _LOG, "day's range", "High over low.", 0, 2),
    ("range_relative", _RANGE, _LOG, "day's range / usual", "The day's range over its mean of 21 rows.", -5, 5),
    ("range_mean_5", _RANGE, _LOG, "range of 5 days", "Mean range over 5 rows.", 0, 2),
    ("range_mean_21", _RANGE, _LOG, "range of 21 days", "Mean range over 21 rows.", 0, 2),
    ("return", _CLOSE, _LOG, "day's return", "Close over the close before.", -2, 2),
    ("return_size", _CLOSE, _LOG, "size of the return", "The return's absolute value.", 0, 2),
    ("return_5", _CLOSE, _LOG, "5-day return", "Close over the close 5 rows before.", -2, 2),
    ("return_21", _CLOSE, _LOG, "21-day return", "Close over the close 21 rows before.", -3, 3),
    ("return_spread", _CLOSE, _LOG, "volatility", "Mean size of the return over 21 rows.", 0, 2),
    ("gap", ("Open", "Close"), _LOG, "overnight gap", "Size of the move from the close before to the open.", 0, 2),
    ("close_in_range", _RANGE + _CLOSE, "share", "close within the range", "0: the day's low, 1: its high.", 0, 1),
)
CALENDAR = _features(
    ("days_since_session", (), "days", "days since the last session", "Calendar days since the session before.", 0, 60),
    ("days_until_session", (), "days", "days until the next session", "Calendar days until the session after.", 0, 60),
    ("weekday", (), "0 = Monday", "weekday", "Weekday of the day forecast.", 0, 6),
    ("month", (), "1 = January", "month", "Month of the day forecast.", 1, 12),
    ("day_of_month", (), "1 to 31", "day of month", "Day of the month of the day forecast.", 1, 31),
    ("sessions_to_month_end", (), "sessions", "sessions to month's end", "Sessions left in the month.", 0, 31),
    ("sessions_from_month_start", (), "sessions", "sessions of the month", "Sessions before it in the month.", 0, 31),
    (
        "third_friday",
        (),
        "0 or 1",
        "third Friday",
        "Whether options expire (the session before, when it is a holiday).",
        0,
        1,
    ),
    ("quarter_third_friday", (), "0 or 1", "third Friday of a quarter", "Whether futures expire as well.", 0, 1),
    ("early_close", (), "0 or 1", "early close", "Whether the exchange closes early.", 0, 1),
    ("after_third_friday", (), "0 or 1", "after a third Friday", "Whether options expired the session before.", 0, 1),
    ("after_early_close", (), "0 or 1", "after an early close", "Whether the session before closed early.", 0, 1),
    ("before_early_close", (), "0 or 1", "before an early close", "Whether the session after closes early.", 0, 1),
)
FEATURES = (*VOLUMES, *PRICES, *CALENDAR)
NAMES = tuple(feature.name for feature in FEATURES)
# Of prices, beside Symbol and Date: all that the features of the forecast are made of.
COLUMNS = ("Open", "High", "Low", "Close", "Volume")
