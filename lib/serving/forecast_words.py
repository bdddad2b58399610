"""A forecast in words, the same in the dashboard and in the terminal.

The standard library alone, as `lib.serving.symbol_forecasts`.
"""

from __future__ import annotations

import math

from lib.serving.forecast_file import LEVEL
from lib.serving.symbol_forecasts import WINDOW, HorizonForecast, SymbolForecast
from lib.text import day, days, short


def beside_average(change: float | None, average: str) -> str:
    """A forecast beside its moving average, in words.

    Examples
    --------
    >>> [beside_average(change, "the average") for change in (-0.083, 0.25, 0.001, 14.2, None)]
    ['8% below the average', '25% above the average', 'about the average', '15 times the average', 'the average is zero']
    """
    if change is None:
        return f"{average} is zero"
    if abs(change) < 0.005:
        return f"about {average}"
    if change >= 2:
        return f"{1 + change:.0f} times {average}"
    return f"{abs(change):.0%} {'above' if change > 0 else 'below'} {average}"


def when(each: HorizonForecast) -> str:
    """The day or the days that a forecast is for."""
    return day(each.for_from) if each.for_from == each.for_to else days(each.for_from, each.for_to)


def of_days(level: float) -> str:
    """How often a range holds, in words.

    Examples
    --------
    >>> of_days(0.8), of_days(0.9), of_days(0.95)
    ('on 4 days out of 5', 'on 9 days out of 10', 'on 19 days out of 20')
    """
    for total in (5, 10, 20, 100):
        if math.isclose(level * total, round(level * total), abs_tol=1e-9):
            return f"on {round(level * total)} days out of {total}"
    return f"on {level:.1%} of days"


def of_times(level: float) -> str:
    """As `of_days`, for a range that is not of single days.

    Examples
    --------
    >>> of_times(0.8)
    '4 times out of 5'
    """
    return of_days(level).removeprefix("on ").replace("days", "times")


def unit(each: HorizonForecast) -> str:
    """What a forecast counts: shares, or shares a day where it is the mean of several."""
    return "shares" if each.horizon == 1 else "shares a day"


def expectation(one: SymbolForecast, each: HorizonForecast) -> str:
    """How much is forecast, beside the average and with the range: what follows `when` in a sentence.

    Examples
    --------
    >>> import datetime
    >>> day = datetime.date(2013, 3, 5)
    >>> each = HorizonForecast(1, day, day, 18_500_000, 12_700_000, 30_300_000)
    >>> expectation(SymbolForecast("A", "", day, 2.01e7, False, {1: each}), each)
    'about 18.5 M shares, 8% below the 30-day average; on 4 days out of 5 between 12.7 M and 30.3 M.'
    """
    average = beside_average(one.change(each.horizon), f"the {WINDOW}-day average")
    # The range of a mean of several days holds for a share of the forecasts, not of the days.
    held = of_days(LEVEL) if each.horizon == 1 else of_times(LEVEL)
    return f"about {short(each.forecast)} {unit(each)}, {average}; {held} between {short(each.low)} and {short(each.high)}."


def past_warning(one: SymbolForecast) -> str:
    """What a reader must know of a symbol whose prices end early; empty for any other."""
    if not one.stale:
        return ""
    return (
        f"The prices of {one.symbol} end on {day(one.as_of)}, earlier than others of this study: "
        "what is forecast may be past."
    )
