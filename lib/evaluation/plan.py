"""When models are fitted, and which share of the rows is drawn for each.

The dates at which models are refitted lie on a grid of the calendar (every so many months, or weeks, or days in a short archive), so a day more or less at
the archive's end leaves the forecasts before it as they are. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.evaluation.hashing import power_of_two
from lib.features.sessions import Calendar, Days, calendar_for, days_of

Floats = NDArray[np.float64]
TEST_SHARE = 0.2  # of the dates, the last ones, at least
LATER_SHARE = 0.5  # of the training rows, at horizons beyond the first, whose targets are steadier
LINEAR_ROWS = 2_000_000  # that the Gram matrices are made of, at most
GRID_MONTHS, GRID_DAYS = (36, 24, 18, 12, 6, 4, 3, 2, 1), (7, 1)


@dataclass(frozen=True)
class Settings:
    """What a study sets; see the section ``forecast`` of `lib.params`."""

    horizons: tuple[int, ...] = (1, 5, 21)
    model: str = "boosting"
    training_rows: int = 150_000
    refits: int = 4


@dataclass(frozen=True)
class Plan:
    """When models are fitted, and on which rows.

    Parameters
    ----------
    last : int
        The archive's last date; like all dates here in days since 1970-01-01.
    cuts : ndarray of int32
        A model is fitted on the days before each: first the one that only calibrates, a year before the test; then the test's first day and the refits;
        last, for the forecasts, the day after the archive's.
    share : ndarray of float64
        For each cut, the share of the evenings before it that is drawn.
    later_share : ndarray of float64
        The same for fits of horizons beyond the first.
    linear_share : float
        The share of the evenings that goes into the Gram matrices.
    """

    settings: Settings
    calendar: Calendar
    last: int
    cuts: Days
    share: Floats
    later_share: Floats
    linear_share: float

    @property
    def start(self) -> int:
        """The first day of the test."""
        return int(self.cuts[1])


def refit_dates(dates: Days, refits: int) -> Days:
    """The first day of the test and the days at which the model is refitted.

    Parameters
    ----------
    dates : ndarray of int32
        The archive's distinct dates, ascending.
    refits : int
        How many there are at least, where the test has so many dates.

    Returns
    -------
    ndarray of int32
        Ascending; the first is the test's, at the beginning of a quarter or of a shorter period.

    Examples
    --------
    >>> dates = np.arange("2000-01-01", "2010-01-01", dtype="datetime64[D]").astype("int32")
    >>> refit_dates(dates, 4).astype("datetime64[D]").astype(str).tolist()
    ['2008-01-01', '2008-05-01', '2008-09-01', '2009-01-01', '2009-05-01', '2009-09-01']
    """
    last = int(dates[-1])
    edge = int(dates[min(len(dates) - 1, int(len(dates) * (1 - TEST_SHARE)))])
    months = np.arange(0, 12 * 300)  # from 1900 on
    first_days = np.datetime64("1900-01", "M") + months
    grids = [(first_days[::step], first_days[:: min(step, 3)]) for step in GRID_MONTHS]
    found = np.array([edge], dtype=np.int32)
    days = [np.arange(edge - edge % step, last + 1, step).astype("datetime64[D]") for step in GRID_DAYS]
    for coarse, fine in [*grids, *zip(days, days, strict=True)]:
        refit_grid, start_grid = days_of(coarse), days_of(fine)
        start = start_grid[np.searchsorted(start_grid, edge, side="right") - 1]
        later = _with_news(refit_grid[(refit_grid > start) & (refit_grid <= last)], dates, start)
        found = np.append(start, later).astype(np.int32)
        if len(later) >= refits:
            break
    return found


def _with_news(refits: Days, dates: Days, start: int) -> Days:
    """Those before which the archive has dates that the model before them has not seen: another fit on the same rows is the same model."""
    seen = np.searchsorted(dates, np.append(start, refits))
    return refits[np.diff(seen) > 0]


def make_plan(dates: Days, usable: NDArray[np.int64], settings: Settings, calendar_name: str) -> Plan:
    """Decide when models are fitted, and which share of the rows is drawn for each.

    Parameters
    ----------
    dates : ndarray of int32
        The archive's distinct dates, ascending.
    usable : ndarray of int64
        Of each date, the evenings that may be drawn.
    """
    tests = refit_dates(dates, settings.refits)
    last = int(dates[-1])
    cuts = np.concatenate([[tests[0] - 365], tests, [last + 1]]).astype(np.int32)
    before = np.append(0, np.cumsum(usable))[np.searchsorted(dates, cuts)]
    # Rounded, so that a day more or less does not change which rows are drawn, but for once in a while.
    share, later_share = (
        np.array([min(1.0, float(f"{wanted / max(count, 1):.1e}")) for count in before.tolist()])
        for wanted in (settings.training_rows, LATER_SHARE * settings.training_rows)
    )
    calendar = calendar_for(calendar_name, dates, np.maximum(usable, 1))
    return Plan(settings, calendar, last, cuts, share, later_share, power_of_two(LINEAR_ROWS, int(before[-1])))
