"""Which day a predicted Volume is for, in words. Pure Python: the dashboard and the endpoint say the same."""

from __future__ import annotations

import datetime

from lib.text import day


def predicted_day(horizon: int) -> str:
    """The day that a prediction of two numbers is for: nobody said which day their averages end on.

    Parameters
    ----------
    horizon : int
        0 for the day that the averages end on, 1 for the trading day after it.

    Examples
    --------
    >>> predicted_day(0), predicted_day(1)
    ('the day the average ends on', 'the trading day after the average ends')
    """
    if horizon == 0:
        return "the day the average ends on"
    return "the trading day after the average ends"


def predicted_day_of(symbol: str, last_day: datetime.date, horizon: int) -> str:
    """The day that a prediction from a symbol's latest row is for.

    Examples
    --------
    >>> predicted_day_of("AAPL", datetime.date(2013, 3, 1), 0)
    'Friday 1 March 2013, the latest day of AAPL'
    >>> predicted_day_of("AAPL", datetime.date(2013, 3, 1), 1)
    'the trading day after Friday 1 March 2013, the latest day of AAPL'
    """
    start = "the trading day after " if horizon else ""
    return f"{start}{day(last_day)}, the latest day of {symbol}"
