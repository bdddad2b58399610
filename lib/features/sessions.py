"""Which days an exchange trades: the calendar that a forecast's date, and what is known of that date beforehand, come from.

The sessions are those of `exchange_calendars <https://github.com/gerrymanoim/exchange_calendars>`_, asked for with a start and an end, since
its defaults move with today's date. Where that calendar has no sessions to offer (before its first year, after its last),
and for `FROM_DATA`, the exchange trades on a weekly pattern, without holidays.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.features import definitions
from lib.features.definitions import FROM_DATA

MARGIN = 150  # calendar days of sessions beyond the archive's first and last date
NEEDED = 130  # of them: a forecast is of 63 sessions at most, and looks at the whole of their last month
# Where a larger share of an archive's rows, on more than a few dates, are not on sessions of a calendar, the calendar is another market's: of the
# sessions of Milan, London, Toronto, Frankfurt, Sydney, Tokyo, Hong Kong and Bombay from 2015 to 2024, 1.8 to 3.4 % are none of New York's; of the
# rows of a real archive of NASDAQ, one in a million.
MAX_NON_SESSION_SHARE = 0.01
_FEW_DATES = 2
Days = NDArray[np.int32]  # days since 1970-01-01


# The years 1700 to 2199, in days since 1970-01-01: exchange_calendars' days are pandas', which end in 1677 and 2262.
_PANDAS = -98_615, 84_005


@dataclass(frozen=True)
class Calendar:
    """The sessions around an archive's dates, and what is known of each the evening before.

    Parameters
    ----------
    name : str
        `FROM_DATA`, or one of exchange_calendars'.
    sessions : ndarray of int32, shape (n,)
        Days since 1970-01-01, ascending.
    known : ndarray of float32, shape (n, len(lib.features.definitions.CALENDAR))
        Of each session, the calendar features.
    following : ndarray of int32
        For each day from ``sessions[0]`` on, the index of the first session after it.
    """

    name: str
    sessions: Days
    known: NDArray[np.float32]
    following: NDArray[np.int32]

    def next_session(self, days: Days) -> NDArray[np.int32]:
        """The index of the first session after each day.

        Parameters
        ----------
        days : ndarray of int32, shape (rows,)
            Between the first session and the one before the last.
        """
        return self.following[days - self.sessions[0]]

    def until(self, last: datetime.date | None) -> tuple[str, Days, NDArray[np.float32]]:
        """The name, and what is known of the sessions up to ``last`` (None: of none); newer days do not change it."""
        sessions = self.sessions.astype("datetime64[D]")
        end = 0 if last is None else np.searchsorted(sessions, np.datetime64(last), side="right")
        return self.name, self.sessions[:end], self.known[:end]


def calendar_for(name: str, dates: Days, rows: NDArray[np.int64] | None = None) -> Calendar:
    """The calendar of an archive.

    Parameters
    ----------
    name : str
        `FROM_DATA`, or one of exchange_calendars' names. When more than `MAX_NON_SESSION_SHARE` of the rows are not on sessions of
        that calendar, but on weekdays on which the archive's market trades, it is another market's, and the weekly pattern of the rows is taken
        instead. So a few currencies that trade on Sundays do not give many shares a session on Sunday.
    dates : ndarray of int32
        The archive's distinct dates (days since 1970-01-01), ascending.
    rows : ndarray of int64, optional
        Of each date; one, unless given.

    Raises
    ------
    ValueError
        exchange_calendars has no calendar of that name.

    Examples
    --------
    >>> friday = np.array(["2026-11-20"], dtype="datetime64[D]").astype("int32")
    >>> calendar = calendar_for("XNYS", friday)
    >>> str(calendar.sessions[calendar.next_session(friday)].astype("datetime64[D]")[0])
    '2026-11-23'
    """
    first, last = int(dates[0]), int(dates[-1])
    weekdays = trading_weekdays(dates, rows)
    if name != FROM_DATA:
        sessions, early = _exchange_sessions(name, first - MARGIN, last + MARGIN)
        other = np.isin(dates, sessions, invert=True) & weekdays[weekday(dates)]
        if other.sum() <= _FEW_DATES or np.average(other, weights=rows) <= MAX_NON_SESSION_SHARE:
            return _calendar(name, sessions, early)
    return _weekly(weekdays, first, last)


def continued(calendar: Calendar, first: int, last: int) -> Calendar:
    """The same market's calendar around other dates (days since 1970-01-01); ``calendar`` itself where it reaches far enough for them."""
    if calendar.sessions[0] <= first - NEEDED and calendar.sessions[-1] >= last + NEEDED:
        return calendar
    if calendar.name == FROM_DATA:
        return _weekly(np.bincount(weekday(calendar.sessions), minlength=7) > 0, first, last)
    return _calendar(calendar.name, *_exchange_sessions(calendar.name, first - MARGIN, last + MARGIN))


def _weekly(weekdays: NDArray[np.bool_], first: int, last: int) -> Calendar:
    sessions = weekly_sessions(weekdays, first - MARGIN, last + MARGIN)
    return _calendar(FROM_DATA, sessions, np.zeros(len(sessions), dtype=bool))


def trading_weekdays(dates: Days, rows: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
    """The weekdays on which a market trades, from the distinct dates that have rows, and how many each has (one, unless given).

    Returns
    -------
    ndarray of bool, shape (7,)
        Monday to Sunday: those with at least half as many rows as the one with the most.
    """
    counts = np.bincount(weekday(dates), rows, minlength=7)
    return 2 * counts >= counts.max()


def weekday(days: Days) -> NDArray[np.int32]:
    """The weekday of each day, 0 for Monday; 1970-01-01 was a Thursday."""
    return (days + 3) % 7


def weekly_sessions(weekdays: NDArray[np.bool_], first: int, last: int) -> Days:
    """Every day from ``first`` to ``last`` that falls on one of the weekdays."""
    days = np.arange(first, last + 1, dtype=np.int32)
    return days[weekdays[weekday(days)]]


def _exchange_sessions(name: str, first: int, last: int) -> tuple[Days, NDArray[np.bool_]]:
    """The exchange's sessions and which of them close early; Monday to Friday where its calendar does not reach."""
    import exchange_calendars
    import pandas as pd
    from exchange_calendars.calendar_utils import global_calendar_dispatcher

    try:
        # The class itself, to ask how far back and ahead its holidays are recorded: exchange_calendars 4.13 has no public way.
        factory = global_calendar_dispatcher._calendar_factories[exchange_calendars.resolve_alias(name)]
    except (KeyError, exchange_calendars.errors.InvalidCalendarName):
        raise ValueError(
            f"forecast.calendar is {name!r}; allowed: {', '.join([FROM_DATA, *exchange_calendars.get_calendar_names()])}"
        ) from None
    wanted = [pd.Timestamp(int(np.clip(day, *_PANDAS)), unit="D") for day in (first, last)]
    start = max(wanted[0], factory.bound_min() or wanted[0])
    end = min(wanted[1], factory.bound_max() or wanted[1])
    workdays = np.array([True] * 5 + [False] * 2)
    if start >= end:
        sessions = weekly_sessions(workdays, first, last)
        return sessions, np.zeros(len(sessions), dtype=bool)
    calendar = exchange_calendars.get_calendar(name, start=start, end=end)
    inner, early = days_of(calendar.sessions), days_of(calendar.early_closes)
    before = weekly_sessions(workdays, first, int(days_of(start)) - 1)
    after = weekly_sessions(workdays, int(days_of(end)) + 1, last)
    sessions = np.concatenate([before, inner, after])
    return sessions, np.isin(sessions, early)


def days_of(dates: object) -> Days:
    """Dates as days since 1970-01-01."""
    return np.asarray(dates, dtype="datetime64[D]").astype(np.int32)


def _calendar(name: str, sessions: Days, early: NDArray[np.bool_]) -> Calendar:
    date = sessions.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    gap = np.diff(sessions)
    since, until = np.append(1, gap), np.append(gap, 1)
    count = len(sessions)
    months, month_index = np.unique(month, return_inverse=True)
    month_end = np.searchsorted(month, months, side="right") - 1
    month_start = np.searchsorted(month, months, side="left")
    # Of options: the third Friday, or the session before it when that is a holiday.
    first_day = days_of(months)
    third_friday = first_day + (4 - weekday(first_day)) % 7 + 14
    expiry = np.zeros(count, dtype=bool)
    at = np.searchsorted(sessions, third_friday, side="right") - 1
    expiry[at[at >= 0]] = True
    expiry[-1] = False  # the last month may not have reached its third Friday
    values = {
        "days_since_session": since,
        "days_until_session": until,
        "weekday": weekday(sessions),
        "month": month.astype(np.int64) % 12 + 1,
        "day_of_month": (date - month.astype("datetime64[D]")).astype(np.int64) + 1,
        "sessions_to_month_end": month_end[month_index] - np.arange(count),
        "sessions_from_month_start": np.arange(count) - month_start[month_index],
        "third_friday": expiry,
        "quarter_third_friday": expiry & (month.astype(np.int64) % 3 == 2),
        "early_close": early,
        "after_third_friday": np.append(False, expiry[:-1]),
        "after_early_close": np.append(False, early[:-1]),
        "before_early_close": np.append(early[1:], False),
    }
    # One mistaken date makes millions of sessions: no stack of them in 64 bits beside the one that is kept.
    known = np.empty((count, len(definitions.CALENDAR)), dtype=np.float32)
    for index, feature in enumerate(definitions.CALENDAR):
        known[:, index] = values[feature.name]
    everyday = np.arange(sessions[0], sessions[-1], dtype=np.int32)
    following = np.searchsorted(sessions, everyday, side="right").astype(np.int32)
    return Calendar(name, sessions.astype(np.int32), known, following)
