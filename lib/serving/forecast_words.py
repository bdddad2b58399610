"""A forecast in words, the same in the dashboard and in the terminal.

The standard library alone, as `lib.serving.symbol_forecasts`.
"""

from __future__ import annotations

from lib.evaluation.judged_forecasts import how_often
from lib.features.definitions import AVERAGE_ROWS
from lib.serving.symbol_forecasts import HorizonForecast, SymbolForecast
from lib.text import beside_average, day, days, short


def when(each: HorizonForecast) -> str:
    """The day or the days that a forecast is for."""
    return day(each.for_from) if each.for_from == each.for_to else days(each.for_from, each.for_to)


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
    average = f"the {AVERAGE_ROWS}-day average" if one.judged else "its average so far"
    between = f"{how_often(each.horizon)} between {short(each.low)} and {short(each.high)}"
    return f"about {short(each.forecast)} {unit(each)}, {beside_average(one.change(each.horizon), average)}; {between}."


def warnings(one: SymbolForecast) -> list[str]:
    """What a reader must know of a symbol whose prices end early, or have just begun; empty for any other."""
    past = (
        f"The prices of {one.symbol} end on {day(one.as_of)}, earlier than others of this study: "
        "the forecast period may already be over."
    )
    new = f"{one.symbol} has fewer than {AVERAGE_ROWS} days of prices: forecasts from so few have not been tested."
    return [past] * one.stale + [new] * (not one.judged)
