"""A study's forecasts by symbol, and what follows from them: what the dashboard's tab Forecast shows.

From ``forecasts.csv``, and without pandas or Parquet: every visitor has a process of their own, which must stay small.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.evaluation.forecast_file import read
from lib.features.definitions import VOLUME_AVERAGE


class ForecastsError(ValueError):
    """A file that holds no forecasts; the message says what is wrong and what makes it."""


@dataclass(frozen=True)
class HorizonForecast:
    """The mean daily Volume of the next sessions.

    Parameters
    ----------
    horizon : int
        Sessions.
    for_from, for_to : datetime.date
        The first and the last of them.
    forecast, low, high : int
        Shares a day; low and high are the ends of the range.
    """

    horizon: int
    for_from: datetime.date
    for_to: datetime.date
    forecast: int
    low: int
    high: int


@dataclass(frozen=True)
class SymbolForecast:
    """All forecasts of one symbol.

    Parameters
    ----------
    symbol, security_name : str
        The name is empty where the metadata has none.
    as_of : datetime.date
        The last day that was used.
    vol_moving_avg : float
        On that day, shares a day.
    stale : bool
        The symbol's days end before the archive's, so that its forecasts are for days that are past.
    horizons : dict of HorizonForecast by int
        Ascending, by sessions.
    judged : bool
        Forecasts from as many days of prices as the symbol has were judged.
    """

    symbol: str
    security_name: str
    as_of: datetime.date
    vol_moving_avg: float
    stale: bool
    horizons: dict[int, HorizonForecast]
    judged: bool = True

    def change(self, horizon: int) -> float | None:
        """The forecast beside the moving average: -0.08 is 8 % below it; None where the average is zero."""
        if self.vol_moving_avg <= 0:
            return None
        return self.horizons[horizon].forecast / self.vol_moving_avg - 1


@dataclass(frozen=True)
class SymbolForecasts:
    """The forecasts of a study."""

    symbols: dict[str, SymbolForecast]

    @property
    def horizons(self) -> list[int]:
        """Those that every symbol has, ascending."""
        each = [set(one.horizons) for one in self.symbols.values()]
        return sorted(set.intersection(*each)) if each else []


def load(path: Path) -> SymbolForecasts | None:
    """Read a study's ``forecasts.csv``; None where there is none, `ForecastsError` where it is not such a table."""
    try:
        rows = read(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ForecastsError(str(error)) from None
    symbols: dict[str, SymbolForecast] = {}
    for row in sorted(rows, key=lambda row: row["horizon"]):
        symbol, name = row["symbol"], row["security_name"] or ""
        if symbol not in symbols:
            as_of = datetime.date.fromisoformat(row["as_of"])
            average = row[VOLUME_AVERAGE.name]
            symbols[symbol] = SymbolForecast(symbol, name, as_of, average, row["stale"], {}, row["judged"])
        first, last = (datetime.date.fromisoformat(row[key]) for key in ("for_from", "for_to"))
        each = HorizonForecast(row["horizon"], first, last, row["forecast"], row["low"], row["high"])
        symbols[symbol].horizons[each.horizon] = each
    return SymbolForecasts(symbols)


def sessions_needed(symbol: SymbolForecast, shares: float, share_of_volume: float) -> tuple[float, float, float]:
    """How many sessions it takes to trade a position, as a given share of each session's volume.

    Between two horizons the forecast total grows evenly, and after the longest it goes on as on average until there.

    Parameters
    ----------
    share_of_volume : float
        Of each session's volume, above 0 and at most 1.

    Returns
    -------
    (expected, fewest, most) : tuple of float
        Whole sessions: by the forecasts, and by the upper and lower ends of their ranges; infinite where no volume is expected.

    Examples
    --------
    >>> day = datetime.date(2013, 3, 5)
    >>> one = SymbolForecast("A", "", day, 1e6, False, {1: HorizonForecast(1, day, day, 1_000_000, 500_000, 2_000_000)})
    >>> sessions_needed(one, 400_000, 0.1)
    (4.0, 2.0, 8.0)
    """
    wanted = shares / share_of_volume
    forecasts = symbol.horizons.values()
    expected, fewest, most = (
        _sessions(wanted, [(each.horizon, getattr(each, name)) for each in forecasts])
        for name in ("forecast", "high", "low")
    )
    return expected, fewest, most


def _sessions(wanted: float, means: Sequence[tuple[int, int]]) -> float:
    """Whole sessions until the total reaches ``wanted``, given the mean a session up to each horizon."""
    sessions, total = 0, 0.0
    for horizon, mean in means:
        next_total = max(total, float(horizon * mean))  # a total does not fall, whatever the two models say
        if wanted <= next_total:
            grows = next_total - total
            return _ceiling(sessions + (horizon - sessions) * (wanted - total) / grows) if grows else float(sessions)
        sessions, total = horizon, next_total
    return _ceiling(sessions + (wanted - total) / (total / sessions)) if total else math.inf


def _ceiling(sessions: float) -> float:
    return float(math.ceil(round(sessions, 9)))  # 4.000000000000001 sessions are four


def largest_changes(table: SymbolForecasts, horizon: int, least_average: float, count: int) -> list[SymbolForecast]:
    """The symbols with the largest expected rises, then those with the largest falls; by change, descending.

    Parameters
    ----------
    horizon : int
        Sessions.
    least_average : float
        Symbols with a smaller moving average are left out, and so are stale ones and those with an average of zero.
    count : int
        Of rises, and of falls, at most.
    """
    changes = {
        one.symbol: change
        for one in table.symbols.values()
        if not one.stale and one.vol_moving_avg >= least_average and (change := one.change(horizon)) is not None
    }
    ordered = sorted(changes, key=lambda symbol: (-changes[symbol], symbol))
    rises = [symbol for symbol in ordered if changes[symbol] >= 0][:count]
    falls = [symbol for symbol in ordered if changes[symbol] < 0][-count:]
    return [table.symbols[symbol] for symbol in rises + falls]
