"""Which column of a file without a header is what, as far as its rows show it: a suggestion, for the user to confirm. Pure."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Mapping, Sequence

from lib.data import dates_and_numbers

_NEARLY_ALL = 0.95
_MOST_COLUMNS = 100
_LEAST_VOLUME = 100  # the median of volumes, below which a column may hold anything
_MIDNIGHT = re.compile(r"0{4}|0{6}|0{8,9}")
_TICKER = re.compile(r"[\^$]?[A-Z0-9][A-Z0-9.\-=/^&]{0,14}")
_SINCE_1970 = re.compile(r"\d{9,}(\.0*)?", re.ASCII)
_LETTER = re.compile(r"[^\W\d_]")
_DIGITS = re.compile(r"\d{3,10}", re.ASCII)
# What stands beside a ticker, and may be one.
_BESIDE_TICKERS = "D 1D DAILY DAY EQ US NYSE NASDAQ AMEX ARCA BATS LSE XETRA NSE BSE STOCK ETF USD EUR GBP JPY CHF CAD AUD CNY HKD INR KRW"
RARELY_TICKERS = frozenset(_BESIDE_TICKERS.split())
Columns = Mapping[int, Sequence[float]]


def suggestion(rows: Sequence[Sequence[str]]) -> dict[str, int] | None:
    """The index of each column that is read, by our names; None where the rows do not show all of it, or show two possible orders.

    Parameters
    ----------
    rows : sequence of sequence of str
        Of equal length.

    Examples
    --------
    >>> suggestion([["AAPL", "2021-01-04", "10", "11", "9", "10.5", "1000"]])
    {'Symbol': 0, 'Date': 1, 'Open': 2, 'High': 3, 'Low': 4, 'Close': 5, 'Volume': 6}
    >>> suggestion([["2021-01-04", "11", "10", "9", "10.5", "1000"]]) is None
    True
    """
    if len(rows[0]) > _MOST_COLUMNS:
        return None
    texts = _filled(rows)
    days = {index: own for index, column in texts.items() if (own := _days(column))}
    # Seconds since 1970 may be any large number.
    days = {index: own for index, own in days.items() if not all(map(_SINCE_1970.fullmatch, texts[index]))} or days
    if not days or any(own != next(iter(days.values())) for own in days.values()):
        return None
    date, own_days = next(iter(days.items()))
    counted = {index for index, column in texts.items() if are_counted(column)}
    rest = {index: column for index, column in texts.items() if index not in days and index not in counted}
    numbers = _numbers(rest)
    in_order = list(numbers)
    fours = [in_order[start : start + 4] for start in range(len(in_order) - 3)]
    found = [four for four in fours if _are_prices(*(numbers[index] for index in four))]
    if len(found) != 1:
        return None
    [prices] = found
    letters = [index for index, column in rest.items() if index not in numbers and all(map(_LETTER.search, column))]
    codes = [index for index in numbers if index < prices[0] and all(map(_DIGITS.fullmatch, rest[index]))]
    symbols = _symbols(rest, letters, own_days) or _symbols(rest, codes, own_days)
    rarely = [index for index in symbols if RARELY_TICKERS.issuperset(map(str.upper, rest[index]))]
    if len(symbols) > 1:
        symbols, rarely = [index for index in symbols if index not in rarely], []
    unclear = not symbols and len(set(own_days)) < _NEARLY_ALL * len(own_days)
    if len(symbols) > 1 or rarely or unclear:
        return None
    of = rest[symbols[0]] if symbols else [""] * len(own_days)
    order = sorted(range(len(own_days)), key=lambda row: (of[row], own_days[row]))
    pairs = [(first, second) for first, second in itertools.pairwise(order) if of[first] == of[second]]
    named = _beside(numbers, prices, pairs)
    if named is None or _open_and_close_exchanged(numbers[prices[0]], numbers[prices[3]], pairs):
        return None
    return {**({"Symbol": symbols[0]} if symbols else {}), "Date": date, **named}


def are_counted(texts: Sequence[str]) -> bool:
    """Whether texts are numbers each of which is one more, or one less, than the last.

    Examples
    --------
    >>> are_counted(["7", "8", "9"]), are_counted(["7"]), are_counted(["7", "9"])
    (True, False, False)
    """
    numbers = [int(text) for text in (text.strip(' "') for text in texts) if text.isdecimal() and len(text) < 10]
    steps = {second - first for first, second in itertools.pairwise(numbers)}
    return len(numbers) == len(texts) and steps in ({1}, {-1})


def _filled(rows: Sequence[Sequence[str]]) -> dict[int, list[str]]:
    """The columns that are not empty, of different rows none of whose other fields is empty."""
    different = list(dict.fromkeys(tuple(field.strip() for field in row) for row in rows))
    columns = list(zip(*different, strict=True))
    kept = [index for index, column in enumerate(columns) if not all(map(dates_and_numbers.is_null, column))]
    whole = [row for row in different if not any(dates_and_numbers.is_null(row[index]) for index in kept)]
    return {index: [row[index] for row in whole] for index in kept} if whole else {}


def _days(texts: Sequence[str]) -> list[int] | None:
    """The days of a column of dates between 1800 and 2100; None for another."""
    moments = dates_and_numbers.parse_dates(texts)
    days = [moment.day for moment in moments if moment is not None and -62_091 <= moment.day <= 47_481]
    return days if len(days) == len(texts) else None


def _numbers(texts: Mapping[int, Sequence[str]]) -> dict[int, list[float]]:
    """The columns of numbers, but for those of times at midnight."""
    every = itertools.chain.from_iterable(texts.values())
    mark = dates_and_numbers.decimal_mark([*filter(dates_and_numbers.is_number, every)]) or "point"
    found = {}
    for index, column in texts.items():
        values = [dates_and_numbers.parse_number(text, mark) for text in column]
        if not any(value is None for value in values) and not all(map(_MIDNIGHT.fullmatch, column)):
            found[index] = [float(value) for value in values if value is not None]
    return found


def _are_prices(*columns: Sequence[float]) -> bool:
    """Whether four columns are Open, High, Low and Close, or Close, High, Low and Open."""
    rows = list(zip(*columns, strict=True))
    fitting = [min(row) > 0 and max(row) <= row[1] * 1.001 and row[2] <= min(row) * 1.001 for row in rows]
    return sum(fitting) >= _NEARLY_ALL * len(rows) and any(row[1] > row[2] for row in rows)


def _open_and_close_exchanged(
    opens: Sequence[float], closes: Sequence[float], pairs: Sequence[tuple[int, int]]
) -> bool:
    """Whether the opens are clearly farther from the closes before them than the other way round; of less than five pairs of days nobody knows."""
    overnight = sum(abs(opens[second] - closes[first]) for first, second in pairs)
    other = sum(abs(closes[second] - opens[first]) for first, second in pairs)
    return len(pairs) >= 5 and overnight > 1.3 * other


def _beside(numbers: Columns, prices: Sequence[int], pairs: Sequence[tuple[int, int]]) -> dict[str, int] | None:
    """The prices, the volumes, and perhaps an adjusted close between them."""
    named = dict(zip(("Open", "High", "Low", "Close"), prices, strict=True))
    after = [index for index in numbers if index > prices[3]]
    if not after:
        return None
    ratios = [other / close for other, close in zip(numbers[after[0]], numbers[prices[3]], strict=True)]
    if len(after) > 1 and all(0.1 < ratio < 10 for ratio in ratios) and _are_volumes(numbers[after[1]]):
        # It is as many times the close as the day before, but for splits and dividends; an average price is not.
        steady = [abs(ratios[second] / ratios[first] - 1) < 0.002 for first, second in pairs]
        if sum(steady) >= 0.8 * len(steady):
            named["Adj Close"] = after[0]
        after = after[1:]
    return {**named, "Volume": after[0]} if _are_volumes(numbers[after[0]]) else None


def _are_volumes(values: Sequence[float]) -> bool:
    return all(value >= 0 and value.is_integer() for value in values) and statistics.median(values) >= _LEAST_VOLUME


def _symbols(texts: Mapping[int, Sequence[str]], among: Sequence[int], days: Sequence[int]) -> list[int]:
    """Which columns ``among`` some may hold tickers: the same ones day after day, or the same day for many of them."""
    found = []
    for index in among:
        column = texts[index]
        different, dates = len(set(column)), len(set(days))
        if not all(_TICKER.fullmatch(text.upper()) and text in (text.upper(), text.lower()) for text in column):
            continue
        weekdays = all(map(dates_and_numbers.is_weekday, column)) and (different > 1 or dates == 1)
        if not weekdays and min(different, dates) <= max(2, len(column) // 3):
            found.append(index)
    return found
