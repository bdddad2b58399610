"""What is known of a symbol the evening before: the features of a forecast, computed for many symbols at once. Pure.

Each row of the result is one evening: that of the same row's date. It is made of the symbol's rows up to that one, and of the calendar of the next
session. Sums over windows are differences of running totals in 64-bit integers (logarithms are rounded to 2**-20), and an exponential mean
ends after a fixed number of rows: so a row's bits depend on the rows that its windows hold, and on no other row of its symbol or of any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.features import definitions
from lib.features.sessions import Calendar, weekday
from lib.features.windows import moving_average, positions, window_sums

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
STEP = 2.0**-20  # logarithms are whole multiples of it
FLOOR = 0.02  # share of its average that a smaller volume counts as: so the log of a day without trade stays finite
DECAY_ROWS = {60: 16, 30: 40, 10: 132}  # rows of an exponential mean: those before weigh less than 1e-6 together


@dataclass(frozen=True)
class Evenings:
    """What is known on each evening, row by row of the prices.

    Parameters
    ----------
    known : ndarray of float32, shape (len(lib.features.definitions.NAMES), rows)
        NaN where a symbol has too few rows.
    average : ndarray of float64, shape (rows,)
        Mean Volume over the last `lib.features.definitions.AVERAGE_ROWS` rows, or as many as there are: shares.
    position : ndarray of int64, shape (rows,)
        The row's position within its symbol, from 0.
    session : ndarray of int32, shape (rows,)
        Index of the next session in the calendar.
    """

    known: NDArray[np.float32]
    average: Floats
    position: Integers
    session: NDArray[np.int32]


class _Windows:
    """Sums and lags within symbols that lie one after the other."""

    def __init__(self, starts: Integers, rows: int) -> None:
        self.starts, self.rows = starts, rows
        self.position = positions(starts, rows)
        self._heads: dict[int, Integers] = {}

    def head(self, length: int) -> Integers:
        """The first ``length`` rows of each symbol."""
        if length not in self._heads:
            self._heads[length] = np.flatnonzero(self.position < length)
        return self._heads[length]

    def lag(self, values: NDArray[Any], rows: int, missing: float = np.nan) -> Floats:
        """The value so many rows before; ``missing`` where there is none."""
        lagged = np.empty(self.rows)
        lagged[rows:] = values[: max(0, self.rows - rows)]
        lagged[self.head(rows)] = missing
        return lagged

    def sums(self, values: Integers, window: int) -> Integers:
        """Sum of the last ``window`` values, or as many as the symbol has."""
        return window_sums(values, self.starts, window)[0]

    def mean(self, values: Integers, window: int) -> Floats:
        """Mean of the last ``window`` values, or as many as the symbol has."""
        return self.sums(values, window) / np.minimum(self.position + 1, window)


def evenings(
    columns: Mapping[str, NDArray[Any]], starts: Integers, days: NDArray[np.int32], calendar: Calendar
) -> Evenings:
    """Compute every feature of every row.

    Parameters
    ----------
    columns : dict of str to ndarray, each of shape (rows,)
        `lib.features.definitions.COLUMNS`: prices in dollars, Volume in shares. Symbols one after the other, each in order of its dates.
    starts : ndarray of int64
        The row at which each symbol starts.
    days : ndarray of int32, shape (rows,)
        Dates, as days since 1970-01-01.
    """
    rows = len(days)
    windows = _Windows(starts, rows)
    session = calendar.next_session(days)
    volume = np.maximum(columns["Volume"], 0)
    average = moving_average(volume, starts, definitions.AVERAGE_ROWS)
    values = {
        **_volumes(volume, average, windows, days, calendar.sessions[session]),
        **_prices(columns, average, windows),
        **dict(zip((feature.name for feature in definitions.CALENDAR), calendar.known.T[:, session], strict=True)),
    }
    known = np.empty((len(definitions.FEATURES), rows), dtype=np.float32)
    for index, feature in enumerate(definitions.FEATURES):
        np.clip(values.pop(feature.name), feature.low, feature.high, out=known[index], casting="same_kind")
    return Evenings(known, average, windows.position, session)


def _logarithms(values: Floats) -> Integers:
    return np.rint(np.log(values) / STEP).astype(np.int64)


def _volumes(
    volume: Integers, average: Floats, windows: _Windows, days: NDArray[np.int32], target: NDArray[np.int32]
) -> dict[str, NDArray[Any]]:
    position = windows.position
    level = _logarithms(np.maximum(average, 1.0))
    logs = _logarithms(np.maximum(np.maximum(volume, FLOOR * average), 1.0))
    relative = lambda values: (values - level) * STEP  # noqa: E731
    features: dict[str, NDArray[Any]] = {}
    for lag in definitions.LAGS:
        features[f"volume_lag_{lag}"] = relative(windows.lag(logs, lag - 1))
    for window in definitions.MEANS:
        features[f"volume_mean_{window}"] = relative(windows.mean(logs, window))
    for percent, smooth in _decays(logs, windows).items():
        features[f"volume_decay_{percent}"] = relative(smooth)
    for window in definitions.SPREADS:
        count = np.minimum(position + 1, window)
        square = windows.sums(logs * logs, window) - windows.sums(logs, window) ** 2 / count
        features[f"volume_spread_{window}"] = np.sqrt(np.maximum(square / count, 0)) * STEP
    features["volume_weekday"] = relative(_same_weekday(logs, windows, weekday(days), weekday(target)))
    for name, newest in (("volume_quarter_ago", 60), ("volume_year_ago", 249)):
        features[name] = relative(windows.lag(windows.mean(logs, 5), newest))
    features["volume_peak_21"] = relative(_maximum(logs, windows, 21))
    spikes = np.where(volume > 2 * average, np.arange(windows.rows), -1)
    since = np.arange(windows.rows) - np.maximum.accumulate(spikes) if windows.rows else spikes
    features["rows_since_peak"] = np.where(since > position, 252, since)
    features["quiet_share"] = windows.mean((volume == 0).astype(np.int64), 63)
    features["volume_average"] = level * STEP
    features["history"] = np.log(np.minimum(position + 1, 252))
    return features


def _decays(logs: Integers, windows: _Windows) -> dict[int, Floats]:
    """Exponential means by the newest row's weight in percent, each over `DECAY_ROWS`."""
    means = {}
    for percent, rows in DECAY_ROWS.items():
        keep = 1 - percent / 100
        counted = np.minimum(windows.position + 1, rows)
        mean = _decayed_sums(logs, windows, keep, rows) * (1 - keep) / (1 - keep**counted)
        # Whole steps: what the order of additions leaves in the last bits is rounded away.
        means[percent] = np.rint(mean)
    return means


def _decayed_sums(logs: Integers, windows: _Windows, keep: float, rows: int) -> Floats:
    """Sum of the last ``rows`` values, each weighted by ``keep`` to the power of its age, by doubling."""
    sums, width = np.zeros(windows.rows), 0
    power, size = logs.astype(np.float64), 1  # the sum of the last `size` values
    while rows > width:
        if (rows - width) & size:
            sums += keep**width * windows.lag(power, width, 0.0)
            width += size
        if rows > width:
            power += keep**size * windows.lag(power, size, 0.0)
            size *= 2
    return sums


def _same_weekday(logs: Integers, windows: _Windows, of_row: NDArray[np.int32], of_target: NDArray[np.int32]) -> Floats:
    """Mean over the last 4 rows on the weekday of the day forecast; NaN where there is none yet."""
    mean = np.full(windows.rows, np.nan)
    for day in range(7):
        at = np.flatnonzero(of_row == day)
        wanted = np.flatnonzero(of_target == day)
        if not len(at) or not len(wanted):
            continue
        total = np.append(0, np.cumsum(logs[at]))
        count = np.cumsum(of_row == day)  # rows of this weekday up to each row, of all symbols
        newest = count[wanted]
        first = wanted - windows.position[wanted]
        before = np.where(first > 0, count[first - 1], 0)  # of the symbols before
        oldest = np.maximum(newest - 4, before)
        with np.errstate(invalid="ignore"):
            mean[wanted] = (total[newest] - total[oldest]) / np.where(newest > oldest, newest - oldest, np.nan)
    return mean


def _maximum(logs: Integers, windows: _Windows, window: int) -> Floats:
    """The largest of the last ``window`` values, by doubling."""
    largest, width = logs.astype(np.float64), 1
    while width < window:
        step = min(width, window - width)
        largest = np.fmax(largest, windows.lag(largest, step))
        width += step
    return largest


def _prices(columns: Mapping[str, NDArray[Any]], average: Floats, windows: _Windows) -> dict[str, NDArray[Any]]:
    opened, high, low, close = (
        _logarithms(np.clip(np.nan_to_num(columns[name]), 1e-4, 1e9)) for name in ("Open", "High", "Low", "Close")
    )
    spread = np.abs(high - low)
    before = windows.lag(close, 1)
    moved = (close - before) * STEP
    size = np.abs(moved)
    usual = windows.mean(spread, 21)
    steps = np.where(np.isnan(before), 0, np.abs(close - np.nan_to_num(before))).astype(np.int64)
    bottom = np.minimum(high, low)
    return {
        "dollar_volume": np.log(np.maximum(average, 1.0)) + close * STEP,
        "price": close * STEP,
        "range": spread * STEP,
        "range_relative": np.log((spread * STEP + 1e-3) / (usual * STEP + 1e-3)),
        "range_mean_5": windows.mean(spread, 5) * STEP,
        "range_mean_21": usual * STEP,
        "return": moved,
        "return_size": size,
        "return_5": (close - windows.lag(close, 5)) * STEP,
        "return_21": (close - windows.lag(close, 21)) * STEP,
        "return_spread": windows.sums(steps, 21) / np.maximum(np.minimum(windows.position, 21), 1) * STEP,
        "gap": np.abs(opened - before) * STEP,
        "close_in_range": np.where(spread > 0, (close - bottom) / np.maximum(spread, 1), 0.5),
    }
