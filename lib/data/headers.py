"""The header of a text file: where it is, what its columns are called, and which of them are of which symbol. Pure.

`find_header` finds one line with the columns' names, two lines of prices and tickers, or none, where the params file numbers the columns.
"""

from __future__ import annotations

import csv
import functools
import itertools
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lib.data import column_names, dates_and_numbers, layouts, usual_order
from lib.data.dates_and_numbers import DateOrder, DecimalMark, is_date, is_number
from lib.data.layouts import LayoutError, Reading
from lib.data.schema import COLUMNS
from lib.text import printable, shortened, visible

VALUES = COLUMNS
DELIMITERS = (",", ";", "\t", "|")
_AUTO_ADJUST = "for splits and dividends (auto_adjust)"
_HEADER_WITHIN = 30  # lines
_FOR_SUGGESTION = 200  # lines
SAMPLE = 15  # lines of each end of a file
_LEVELS = {"Price", "Ticker", "Attributes", "Symbols"}  # what pandas_datareader and yfinance call them
_TICKER = re.compile(r"(?!(?:PRICES?|OHLCV?|DATA|STOCKS?|QUOTES?|VALUES?|\d+)$)[\^$]?[A-Z0-9][A-Z0-9.\-=^]{0,9}")
Tickers = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]  # see `lib.data.plans.Plan`


class Refused(ValueError):
    """A file that cannot be read, or that is not one of daily prices; the text says why."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))  # it quotes what files hold


class NotPrices(Refused):
    """A file that does not look like one of prices."""


@dataclass(frozen=True)
class Options:
    """What the params file says about how files are read.

    Parameters
    ----------
    layout, columns : str, tuple of (str, str)
        See `lib.data.layouts.recognise`.
    dates : str, optional
        ``day_first``, ``month_first`` or ``year_first``, for dates such as 01/02/21.
    decimal : str, optional
        ``point`` or ``comma``.
    rounded : bool
        Volumes with a fraction are rounded, half to even; else their rows are set aside.
    volume_unit : float
        The volume that counts as 1.
    """

    layout: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    dates: DateOrder | None = None
    decimal: DecimalMark | None = None
    rounded: bool = False
    volume_unit: float = 1.0


@dataclass(frozen=True)
class Header:
    """The lines from ``first`` to before ``end``, and what they say; for ``tickers`` see `lib.data.plans.Plan`."""

    first: int
    end: int
    delimiter: str
    names: tuple[str, ...]
    tickers: Tickers
    reading: Reading


def find_header(lines: Sequence[str], options: Options) -> Header:
    """Find the header among the first lines of a file.

    Raises
    ------
    Refused
        There is none, or it does not say which column is what; `NotPrices` where nothing looks like prices.
    """
    delimiters: tuple[str, ...] = DELIMITERS
    first = lines[0].strip().strip('"').lower()
    if first.startswith("sep=") and len(first) == 5:
        delimiters = (first[4],)
    best: tuple[int, int, str, list[str]] | None = None  # of the most fields, where no line has names of prices
    named: tuple[int, int, str, list[str]] | None = None
    for number, line in enumerate(lines[:_HEADER_WITHIN]):
        if not _is_content(line):
            continue
        for delimiter in delimiters:
            if line.count(delimiter) < 4:
                continue
            names = split_line(line, delimiter)
            found = len(names), number, delimiter, names
            known = column_names.are_names(names) or (names[-1][:1].isalpha() and column_names.of_each_symbol(names))
            if known and (named is None or len(names) > named[0]):
                named = found
            if best is None or len(names) > best[0]:
                best = found
        if named:
            break
    named = named or _commented(lines, delimiters)
    if best is None:
        begins = shortened(lines[0].strip(), 80)
        raise NotPrices(
            f"no columns of dates and prices, separated by a comma, semicolon, tab or |: it begins {begins!r}"
        )
    _, number, delimiter, names = named or best
    if levels := _levels(lines, number, delimiter, options):
        return levels
    header = tuple(name.strip(" \t\ufeff") for name in names)
    start = number + 1
    if _is_row(header, options):
        start, rows = _rows_without_header(lines, delimiter)
        if not any(theirs for _, theirs in options.columns):
            raise Refused(
                f"no header: line {start + 1} is a row already ({shortened(lines[start], 80)}). Put a line with the columns' names above it, or "
                f"{_by_number(rows)}"
            )
        header = numbered(len(rows[0]))
    else:
        header = _as_wide_as_rows(header, lines[start:], delimiter)
    return Header(number, start, delimiter, header, *read_names(header, options))


def _commented(lines: Sequence[str], delimiters: Sequence[str]) -> tuple[int, int, str, list[str]] | None:
    """A header that begins with #, as NumPy writes one or a column of numbers is called: right above a row of as many fields."""
    for number, (line, row) in enumerate(itertools.pairwise(lines[:_HEADER_WITHIN])):
        for delimiter in delimiters if line.startswith("#") else ():
            names = split_line(line[1:].strip(), delimiter)
            if column_names.are_names(names) and len(split_line(row, delimiter)) == len(names):
                return len(names), number, delimiter, names
    return None


def _as_wide_as_rows(header: tuple[str, ...], rows: Sequence[str], delimiter: str) -> tuple[str, ...]:
    """The header, with as many names as the rows have fields.

    One without a name is added where each row has a field more, an empty one at its end or the row's name before it; and taken away where
    each row has a field less than a header that ends with a delimiter.
    """
    fields = [split_line(row, delimiter) for row in rows[:SAMPLE] if row.strip(f"{delimiter} \t")]
    if fields and not header[-1] and all(len(row) == len(header) - 1 for row in fields):
        return header[:-1]
    if not fields or any(len(row) != len(header) + 1 for row in fields):
        return header
    date = column_names.date_column(header)
    first = [row[0].strip() for row in fields]
    fits = date is None or all(is_date(row[date]) for row in fields)
    if fits and not any(row[-1].strip() for row in fields):
        return (*header, "")
    # R writes the rows' names, which are numbers or dates, without a name above them.
    if (
        all(map(is_date, first))
        if date is None
        else not fits and usual_order.are_counted(first) and all(is_date(row[date + 1]) for row in fields)
    ):
        return ("", *header)
    raise Refused(
        f"wrong number of fields: each row has {len(header) + 1}, one more than the header: {shortened(delimiter.join(header), 200)}; the first "
        f"is {shortened(delimiter.join(fields[0]), 200)}. Name the column that the header lacks, in its place"
    )


@functools.lru_cache(maxsize=1024)  # which most files of an archive ask the same
def read_names(names: tuple[str, ...], options: Options) -> tuple[Tickers, Reading]:
    """Which of the columns with these names are of which symbol, and which is what; `Refused` where that is not clear."""
    try:
        return (), layouts.recognise(names, options.layout, dict(options.columns))
    except LayoutError as error:
        if side_by_side := _symbols_in_columns(names, options):
            return side_by_side
        kind = Refused if options.columns or options.layout or column_names.looks_like_prices(names) else NotPrices
        raise kind(f"wrong header: {error}") from None


def numbered(columns: int) -> tuple[str, ...]:
    """What the columns of a file without a header are called."""
    return tuple(f"column {number}" for number in range(1, columns + 1))


def _is_content(line: str) -> bool:
    """Whether a line is more than blank, a comment, or what tells a spreadsheet the delimiter."""
    return bool(line.strip()) and not (
        line.lstrip().startswith(("#", "//")) or line.strip().strip('"').lower().startswith("sep=")
    )


def _rows_without_header(lines: Sequence[str], delimiter: str) -> tuple[int, list[tuple[str, ...]]]:
    """Of a file without a header: its first line of several fields, and the first rows of as many as most have."""
    rows = [
        (number, tuple(field.strip(" \t\ufeff") for field in split_line(line, delimiter)))
        for number, line in enumerate(lines[:_FOR_SUGGESTION])
        if _is_content(line) and line.count(delimiter) >= 4
    ]
    width = Counter(len(row) for _, row in rows[:_HEADER_WITHIN]).most_common(1)[0][0]
    return rows[0][0], [row for _, row in rows if len(row) == width]


def _by_number(rows: Sequence[Sequence[str]]) -> str:
    """How to say by number what the columns of some rows are; as the rows show it, if they do."""
    if found := usual_order.suggestion(rows):
        named = ", ".join(f"{name}: {index + 1}" for name, index in found.items())
        return f"map the columns by number, and check this guess: -p archive.columns '{{{named}}}'"
    named = ", ".join(f"{name}: NUMBER" for name in layouts.REQUIRED)
    return (
        f"map the columns by number, from 1: -p archive.columns '{{{named}}}', and Symbol: NUMBER, where a column has the symbols. The rows "
        "do not show clearly which is which"
    )


def _is_row(header: Sequence[str], options: Options) -> bool:
    """Whether what stands where a header should is a row: by its date or its prices, where ``archive.columns`` says which columns these are."""
    numbers = {ours: int(theirs) for ours, theirs in options.columns if theirs.isdecimal() and len(theirs) < 5}
    if set(layouts.REQUIRED) <= numbers.keys() and 0 < numbers["Date"] <= len(header):
        prices = [
            header[number - 1] for ours, number in numbers.items() if ours in VALUES[1:] and number <= len(header)
        ]
        return is_date(header[numbers["Date"] - 1]) or sum(map(is_number, prices)) >= 4
    values = sum(is_number(text) or dates_and_numbers.is_null(text) for text in header)
    return any(map(is_date, header)) and values >= 4


def _levels(lines: Sequence[str], number: int, delimiter: str, options: Options) -> Header | None:
    """A header of two levels, as pandas writes yfinance's: prices above tickers, or tickers above prices."""
    for other in (number + 1, number - 1):
        if not 0 <= other < len(lines):
            continue
        upper, lower = (split_line(lines[one], delimiter) for one in sorted((number, other)))
        upper += [""] * (len(lower) - len(upper))  # of merged cells the last ones may be cut off
        if len(upper) != len(lower):
            continue
        upper = _as_merged(upper, lower)
        names, tickers = (upper, lower) if number < other else (lower, upper)
        if _known(tickers) > _known(names):  # a ticker may be a price's name: LOW,LOW,LOW,LOW,LOW is above the prices
            names, tickers = tickers, names
        names = [re.sub(r"\.\d+$", "", name) for name in names]  # pandas reads Close,Close as Close and Close.1
        # Where row numbers come first, under the names of the levels, the dates are a column that one level alone names.
        one_name = [
            f"{name}{ticker}" if not (name and ticker) else "" for name, ticker in zip(names, tickers, strict=True)
        ]
        dates = [i for i, name in enumerate(one_name) if column_names.is_certainly("Date", name)]
        date = dates[0] if dates else 0
        own: dict[str, dict[str, int]] = {}
        pairs = [(i, tickers[i].strip(), names[i].strip()) for i in range(1, len(names)) if i != date]
        pairs = [pair for pair in pairs if pair[1] or pair[2]]  # without empty columns
        for index, ticker, name in pairs:
            own.setdefault(ticker, {})[name] = index
        # What yfinance could not find may have one column only, an empty one.
        unknown = {ticker for ticker, found in own.items() if found.keys() == {"Adj Close"}}
        if unknown and unknown != own.keys():
            below = [split_line(line, delimiter) for line in lines[max(number, other) + 1 :]]
            filled = {i for row in below for i, text in enumerate(row) if not dates_and_numbers.is_null(text)}
            own = {
                ticker: found for ticker, found in own.items() if ticker not in unknown or filled & {*found.values()}
            }
            pairs = [pair for pair in pairs if pair[1] in own]
        whole = all(map(column_names.is_whole, own.values()))
        labels = {names[0].strip(), tickers[0].strip()}
        corner = _LEVELS & labels
        clear = whole and all(map(column_names.is_symbol, own))
        first = [row.partition(delimiter)[0] for row in lines[max(number, other) + 1 :][:SAMPLE] if row.strip()]
        if date and not labels <= {"", *_LEVELS} and not (clear and usual_order.are_counted(first)):
            continue
        if not pairs or not all(ticker for _, ticker, _ in pairs):
            continue
        markets = usual_order.RARELY_TICKERS | column_names.CURRENCIES
        if not corner and markets.issuperset(own):
            continue
        # A row below the header of a table is no level; tickers of digits are one, where the corner says so.
        titled = whole and labels & {"Ticker", "Symbols"}
        if not titled and other > number and any(_is_value(name) for name in tickers):
            continue
        if not whole and (_known(tickers) > 2 or not corner):
            continue
        if twice := [f"{ticker} {name}" for index, ticker, name in pairs if own[ticker][name] != index]:
            raise Refused(f"wrong header: two columns are {twice[0]}; take one of them away, or give it another name")
        end = max(number, other) + 1
        if end < len(lines):
            third = split_line(lines[end], delimiter)
            if third[0].strip().lower() in ("date", "datetime") and not any(name.strip() for name in third[1:]):
                end += 1
        chosen = _chosen_of_levels(options, {*labels, lines[end - 1].split(delimiter)[0].strip()})
        columns = _columns_of(own, chosen)
        adjusted = "" if "Adj Close" in dict(columns[-1][1]) else _AUTO_ADJUST
        header = tuple(f"{ticker} {name}".strip() for ticker, name in zip(tickers, names, strict=True))
        titles = ("yfinance: download()" + (f", {len(columns):,} symbols in columns" if len(columns) > 1 else ""),)
        reading = Reading(titles, {"Date": date, **dict(columns[0][1])}, adjusted)
        return Header(min(number, other), end, delimiter, header, columns, reading)
    return None


def _as_merged(upper: list[str], lower: Sequence[str]) -> list[str]:
    """The upper of two levels, with the names that workbooks have in the first of merged cells alone in all of them.

    Only where each name then has all columns of a symbol below it, or each symbol all names: a title above a table names none.
    """
    filled = upper[:1]
    last = ""
    own: dict[str, list[str]] = {}
    for above, below in zip(upper[1:], lower[1:], strict=True):
        last = above.strip() or last
        filled.append(last if below.strip() else above)
        if below.strip():
            own.setdefault(last, []).append(below.strip())
    named = _LEVELS & {upper[0].strip(), lower[0].strip()}
    symbols_above = all(map(column_names.is_symbol, own)) and all(map(column_names.is_whole, own.values()))
    names_above = column_names.is_whole(own) and len({tuple(symbols) for symbols in own.values()}) == 1
    alone = len(own) == 1 and not named and (not _TICKER.fullmatch(min(own)) or min(own) in usual_order.RARELY_TICKERS)
    return filled if own and not alone and (symbols_above or names_above) else upper


def _known(names: Sequence[str]) -> int:
    """How many different names of prices there are."""
    return len({column_names.normalised(name) for name in names if column_names.is_known(name)})


def _columns_of(by_ticker: Mapping[str, Mapping[str, int]], chosen: Mapping[str, str]) -> Tickers:
    """Of each ticker's columns, by their names, which is what."""
    columns = []
    for ticker, own in by_ticker.items():
        try:
            reading = layouts.recognise(["Date", *own], chosen=chosen)
        except LayoutError as error:
            raise Refused(f"wrong header: {ticker}: {error}") from None
        order = list(own.values())
        values = tuple((ours, order[index - 1]) for ours, index in reading.columns.items() if index and ours in VALUES)
        columns.append((printable(ticker), values))
    return tuple(columns)


def _symbols_in_columns(header: Sequence[str], options: Options) -> tuple[Tickers, Reading] | None:
    """The columns of each symbol, and the reading, of a header that names both in one: ``Close_AAPL``, or as pandas writes levels."""
    by_ticker, date = column_names.of_each_symbol(header), column_names.date_column(header)
    if not by_ticker or date is None or any(theirs for _, theirs in options.columns) or options.layout:
        return None
    columns = _columns_of(by_ticker, {})
    adjusted = ""
    title = "columns named by symbol and price"
    if any(name.startswith("('") for name in header):
        title = "yfinance: download()"
        adjusted = "" if "Adj Close" in dict(columns[-1][1]) else _AUTO_ADJUST
    several = f", {len(columns):,} symbols in columns" if len(columns) > 1 else ""
    return columns, Reading((f"{title}{several}",), {"Date": date, **dict(columns[0][1])}, adjusted)


def _chosen_of_levels(options: Options, dates: Collection[str]) -> dict[str, str]:
    """The columns that ``archive.columns`` names under each ticker; the dates, by one of the names given, stand first."""
    chosen = dict(options.columns)
    if (date := chosen.pop("Date", "1")) not in {"1", "Date", *dates}:
        raise Refused(
            f"wrong header: archive.columns: Date is {date!r}; under a header of two levels the dates are the first column"
        )
    if numbers := [theirs for theirs in chosen.values() if theirs.isdecimal()]:
        raise Refused(
            f"wrong header: archive.columns: {numbers[0]}: a header of two levels has its columns named, not numbered"
        )
    return chosen


def _is_value(text: str) -> bool:
    return (
        is_number(text.strip("% "))
        or dates_and_numbers.parse_date(text) is not None
        or dates_and_numbers.date_orders(text) is not None
    )


def split_line(line: str, delimiter: str) -> list[str]:
    """The fields of a line."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def is_header(row: Sequence[str], header: Sequence[str]) -> bool:
    """Whether a row is the header once more."""
    if len(row) == len(header) - 1:  # which was given a column without a name: see `_as_wide_as_rows`
        header = header[1:] if not header[0] else header[:-1] if not header[-1] else header
    return len(row) == len(header) and all(
        name.strip().lower() == other.lower() for name, other in zip(row, header, strict=True)
    )
