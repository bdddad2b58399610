"""The date that a forecast is for is a session of the exchange, whatever today is."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lib import paths
from lib.features import definitions
from lib.features.definitions import FROM_DATA
from lib.features.sessions import Calendar, calendar_for, continued, trading_weekdays, weekday


def days(*dates: str) -> np.ndarray:
    return np.array(dates, dtype="datetime64[D]").astype(np.int32)


def known_of(calendar: Calendar, date: str) -> dict[str, float]:
    index = int(np.searchsorted(calendar.sessions, days(date)[0]))
    assert calendar.sessions[index] == days(date)[0], f"{date} is no session"
    return dict(zip((feature.name for feature in definitions.CALENDAR), calendar.known[index].tolist(), strict=True))


def test_the_session_after_a_holiday_and_what_is_known_of_it() -> None:
    calendar = calendar_for("XNYS", days("2019-01-02", "2019-12-31"))
    after = calendar.next_session(days("2019-11-27", "2019-11-28", "2019-07-03", "2019-12-24"))
    found = calendar.sessions[after].astype("datetime64[D]").astype(str).tolist()
    assert found == ["2019-11-29", "2019-11-29", "2019-07-05", "2019-12-26"]
    friday = known_of(calendar, "2019-11-29")
    assert (friday["early_close"], friday["days_since_session"], friday["days_until_session"]) == (1, 2, 3)
    assert (friday["weekday"], friday["month"], friday["day_of_month"], friday["sessions_to_month_end"]) == (
        4,
        11,
        29,
        0,
    )
    expiry = known_of(calendar, "2019-12-20")
    assert (expiry["third_friday"], expiry["quarter_third_friday"]) == (1, 1)
    assert known_of(calendar, "2019-12-23")["after_third_friday"] == 1
    assert known_of(calendar, "2019-04-18")["third_friday"] == 1  # the third Friday was Good Friday


def test_it_reaches_from_1962_to_after_the_end_and_knows_no_today() -> None:
    calendar = calendar_for("XNYS", days("1962-01-02", "2031-06-02"))
    assert calendar.sessions[0] < days("1962-01-02")[0] and calendar.sessions[-1] > days("2031-09-01")[0]
    assert calendar.sessions[calendar.next_session(days("1962-01-02"))] == days("1962-01-03")
    # The same in a process in which exchange_calendars was imported on another day.
    program = (
        "import sys, hashlib, numpy as np, pandas as pd\n"
        "class Later(pd.Timestamp):\n"
        "    now = classmethod(lambda cls, tz=None: pd.Timestamp('2035-05-05', tz=tz))\n"
        "pd.Timestamp.now = Later.now\n"
        "from lib.features.sessions import calendar_for\n"
        "made = calendar_for('XNYS', np.array([-2921, 22432], dtype='int32'))\n"
        "print(hashlib.sha256(made.sessions.tobytes() + made.known.tobytes()).hexdigest())\n"
    )
    printed = {
        subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout
        for code in (program, program.replace("pd.Timestamp.now = Later.now\n", ""))
    }
    assert len(printed) == 1


@pytest.mark.parametrize("name", ["XTKS", "XSHG"])
def test_before_the_exchange_s_own_records_sessions_are_workdays(name: str) -> None:
    calendar = calendar_for(name, np.arange(*days("1985-01-01", "1985-12-31"), dtype=np.int32)[::7])
    assert calendar.name == name  # Tuesdays
    assert calendar.sessions[calendar.next_session(days("1985-05-03"))] == days("1985-05-06")


def test_a_market_of_seven_days_and_an_unknown_one_follow_their_own_dates() -> None:
    everyday = np.arange(*days("2015-01-01", "2016-01-01"), dtype=np.int32)
    for name in (FROM_DATA, "XNYS"):  # XNYS has no sessions on so many of these dates that it cannot be the market's
        calendar = calendar_for(name, everyday)
        assert calendar.name == FROM_DATA
        assert calendar.sessions[calendar.next_session(days("2015-12-31"))] == days("2016-01-01")
    sunday_to_thursday = everyday[np.isin((everyday + 3) % 7, [6, 0, 1, 2, 3])]
    calendar = calendar_for(FROM_DATA, sunday_to_thursday)
    assert calendar.sessions[calendar.next_session(days("2015-12-31"))] == days("2016-01-03")
    assert trading_weekdays(sunday_to_thursday).tolist() == [True, True, True, True, False, False, True]


@pytest.mark.parametrize("other", ["XMIL", "XLON", "XTSE", "XTKS"])
def test_the_dates_of_another_exchange_are_told_from_those_of_the_one_named(other: str) -> None:
    own, theirs = (calendar_for(name, days("2018-01-02", "2019-12-31")) for name in ("XNYS", other))
    assert own.name == "XNYS" and theirs.name == other
    dates = np.union1d(own.sessions, theirs.sessions).astype(np.int32)
    assert calendar_for("XNYS", theirs.sessions).name == FROM_DATA
    assert calendar_for("XNYS", own.sessions).name == "XNYS"
    # One foreign symbol among a hundred does not move the others to another market.
    rows = np.where(np.isin(dates, own.sessions), 100, 1)
    assert calendar_for("XNYS", dates, rows).name == "XNYS"
    assert calendar_for("XNYS", dates).name == FROM_DATA


def test_an_unknown_name_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"forecast.calendar is 'NYSEX'; allowed: from_data, .*XNYS"):
        calendar_for("NYSEX", days("2019-01-02"))


@pytest.mark.parametrize("name", ["XNYS", FROM_DATA])
def test_a_calendar_goes_on_as_it_would_have_been_made_of_newer_dates(name: str) -> None:
    everyday = calendar_for("XNYS", days("2018-01-02", "2019-12-31"))
    dates = everyday.sessions[(everyday.sessions >= days("2018-01-02")) & (everyday.sessions <= days("2019-12-31"))]
    newer = calendar_for(name, dates)
    made = continued(calendar_for(name, dates[:-30]), int(dates[0]), int(dates[-1]))
    assert made.name == newer.name == name
    for one, other in zip(list(vars(made).values())[1:], list(vars(newer).values())[1:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["XNYS", FROM_DATA])
@pytest.mark.parametrize("missing", range(1, 10))
def test_a_calendar_that_reaches_far_enough_is_kept_and_says_the_same_of_all_that_a_forecast_looks_at(
    name: str, missing: int
) -> None:
    everyday = calendar_for("XNYS", days("2018-01-02", "2019-12-31"))
    dates = everyday.sessions[(everyday.sessions >= days("2018-01-02")) & (everyday.sessions <= days("2019-12-31"))]
    before, newer = calendar_for(name, dates[:-missing]), calendar_for(name, dates)
    assert continued(before, int(dates[0]), int(dates[-1])) is before
    looked_at = before.sessions <= before.sessions[before.next_session(dates[-1:])[0] + 63 - 1]
    for attribute in ("sessions", "known"):
        one, other = getattr(before, attribute)[looked_at], getattr(newer, attribute)[: looked_at.sum()]
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(before.next_session(dates), newer.next_session(dates))


@pytest.mark.parametrize(("shares", "name"), [(20, "XNYS"), (1, FROM_DATA), (0, FROM_DATA)])
def test_a_currency_that_trades_every_day_gives_many_shares_no_session_on_saturday(shares: int, name: str) -> None:
    dates = np.arange(*days("2021-01-01", "2022-12-31"), dtype=np.int32)
    sessions = calendar_for("XNYS", days("2021-01-04", "2022-12-30")).sessions
    made = calendar_for("XNYS", dates, 1 + shares * np.isin(dates, sessions))
    assert made.name == name
    on_weekends = weekday(made.sessions) >= 5
    assert on_weekends.any() == (name == FROM_DATA)
