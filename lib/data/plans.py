"""How a price file is read: its encoding, delimiter and header, and how its dates and numbers are written. Pure.

`plan_file` finds it out from the beginning and the end of a file; files with equal plans are read together.
"""

from __future__ import annotations

import codecs
import csv
import functools
import itertools
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from lib.data import dates_and_numbers, layouts, usual_order
from lib.data.dates_and_numbers import DateOrder, DecimalMark
from lib.data.layouts import LayoutError, Reading
from lib.text import printable, shortened, visible

VALUES = ("Date", "Open", "High", "Low", "Close", "Adj Close", "Volume")
MARKS: tuple[DecimalMark, ...] = ("point", "comma")
DELIMITERS = (",", ";", "\t", "|")
# As Chinese (mainland and Taiwan), Japanese, Korean and Russian programs write CSV.
_OTHER_ENCODINGS = ("gb18030", "big5", "cp932", "cp949", "cp1251")
_AUTO_ADJUST = "for splits and dividends (auto_adjust)"
_HEADER_WITHIN = 30  # lines
_FOR_SUGGESTION = 200  # lines
_SAMPLE = 15  # lines of each end of a file
_DAILY = {"d", "1d", "d1", "day", "daily", "1day", "1440", "86400"}
_MINUTES_AND_SECONDS = {
    *("1", "2", "3", "5", "10", "15", "20", "30", "45", "60", "90", "120", "180", "240", "360", "480", "720", "1440"),
    *("300", "600", "900", "1800", "3600", "7200", "14400", "86400"),
}
_TICKER = re.compile(r"(?!(?:PRICES?|OHLCV?|DATA|DAILY|STOCKS?|QUOTES?|VALUES?)$)[\^$]?[A-Z0-9][A-Z0-9.\-=^]{0,9}")
_PLAIN_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_PLAIN_POINT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PLAIN_COMMA = re.compile(r"[+-]?\d+(,\d+)?", re.ASCII)


Tickers = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]  # see `Plan`


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
class Plan:
    """How a file is read; equal for files that are written alike.

    Parameters
    ----------
    encoding : str
        As `encoding_of` names it; parquet for a Parquet file.
    skip : int
        Lines before the first row.
    reading : Reading
        Which column is what.
    tickers : tuple of (str, dict)
        For a file with columns for several symbols: each one's name and columns, beside those of ``reading``.
    mark : str
        The decimal mark.
    order : str, optional
        Of dates such as 01/02/2021.
    date_form : str
        How such dates are written, where the file has them; see `lib.data.dates_and_numbers.date_form`.
    plain_dates : bool
        All dates of the sample are YYYY-MM-DD.
    texts : bool
        Some numbers are written other than as plain numbers, such as 1,234 or 6.85M.
    ends_empty : bool
        The last field of some rows is empty: a delimiter at a line's end then begins a field.
    rounded, volume_unit :
        See `Options`.
    header_lines : tuple of str
        Of a file with columns named by symbols: the header as it is written.
    """

    encoding: str
    delimiter: str
    skip: int
    header: tuple[str, ...]
    reading: Reading
    tickers: Tickers = ()
    mark: DecimalMark = "point"
    order: DateOrder | None = None
    date_form: str = ""
    plain_dates: bool = False
    texts: bool = False
    ends_empty: bool = False
    rounded: bool = False
    volume_unit: float = 1.0
    header_lines: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash((self.encoding, self.delimiter, self.skip, self.header, self.order, self.texts))

    @property
    def parquet(self) -> bool:
        """Whether the file is Parquet, whose rows have no lines."""
        return self.encoding == "parquet"

    @property
    def has_symbols(self) -> bool:
        """Whether the rows say which symbol they are of."""
        return "Symbol" in self.reading.columns or bool(self.tickers)


@dataclass(frozen=True)
class _Header:
    """The lines from ``first`` to before ``end``, and what they say."""

    first: int
    end: int
    delimiter: str
    names: tuple[str, ...]
    tickers: Tickers
    reading: Reading


@dataclass(frozen=True)
class Sample:
    """A plan, and the evidence for what only the whole archive can settle.

    Parameters
    ----------
    orders : frozenset of str
        The orders that at least one date of the sample rules out the other of.
    fields : tuple of tuple of str
        Rows of the sample.
    """

    plan: Plan
    orders: frozenset[DateOrder]
    fields: tuple[tuple[str, ...], ...]


def encoding_of(content: bytes, whole: bool = True) -> str:
    """The encoding of a text file, or of its beginning, as Python names it.

    Parameters
    ----------
    whole : bool
        Whether it is the whole file: else its last character may be cut.

    Examples
    --------
    >>> encoding_of("Eröffnung".encode("cp1252")), encoding_of("Date".encode("utf-16")), encoding_of("日付,始値,高値".encode("cp932"))
    ('cp1252', 'utf-16', 'cp932')
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if content[1:200:2].count(0) > len(content[1:200:2]) // 2:
        return "utf-16-le"
    if content[:200:2].count(0) > len(content[:200:2]) // 2:
        return "utf-16-be"
    if content.isascii():
        return "utf-8"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=whole)
    except UnicodeDecodeError:
        return next((name for name in _OTHER_ENCODINGS if _names_columns(content, name)), "cp1252")
    return "utf-8"


def _names_columns(content: bytes, encoding: str) -> bool:
    """Whether a file's beginning, read so, has a line with names of columns that only this encoding gives."""
    lines = content[:4096].decode(encoding, "ignore").splitlines()
    names = ({name for name in re.split(r'[,;\t|"]', line) if not name.isascii()} for line in lines)
    return any(sum(map(layouts.is_known, line)) > 1 for line in names)


def to_utf8(content: bytes, encoding: str) -> bytes:
    """A file's text as UTF-8 with one kind of line end, without a byte-order mark at its beginning or, of files put together, a line's."""
    if encoding.startswith("utf-16"):
        content = content[: len(content) // 2 * 2].decode(encoding, "replace").encode()
    elif encoding != "utf-8":
        content = content.decode(encoding, "replace").encode()
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content.replace(b"\n" + codecs.BOM_UTF8, b"\n")


def plan_file(head: bytes, tail: bytes = b"", options: Options | None = None, whole: bool = True) -> Sample:
    """Find out how a file is to be read.

    Parameters
    ----------
    head : bytes
        The beginning of the file.
    tail : bytes
        Its end, where the head is not all of it.
    whole : bool
        Whether the head is the whole file: else its last line may be cut.

    Raises
    ------
    Refused
        No layout fits, or more than one; no header; intraday rows; numbers that can be read in two ways.

    Examples
    --------
    >>> plan = plan_file(b"Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke\\n26.03.2021;32,3;33;32,1;32,1;685\\n").plan
    >>> plan.delimiter, plan.mark, plan.date_form
    (';', 'comma', '.')
    """
    options = options or Options()
    encoding = encoding_of(head, whole)
    content = to_utf8(head, encoding)
    text = content.decode("utf-8", "replace")
    lines = text.split("\n", 2000)[:2000]
    if not whole and len(lines) > 1:
        lines.pop()
    if not text.strip():
        raise Refused("empty file")
    _refuse_binary(content)
    found = _find_header(lines, options)
    skip, delimiter, header, tickers, reading = found.end, found.delimiter, found.names, found.tickers, found.reading
    ends = to_utf8(tail, encoding.replace("utf-16", "utf-16-le") if encoding == "utf-16" else encoding)
    sample = [*lines[skip : skip + _SAMPLE], *ends.decode("utf-8", "replace").split("\n")[1:][-_SAMPLE:]]
    fields = [tuple(split_line(line, delimiter)) for line in sample if line.strip(f"{delimiter} \t")]
    fields = [row for row in fields if len(row) == len(header) and not is_header(row, header)]
    if not fields:
        if any(line.strip(f"{delimiter} \t") for line in lines[skip:]):
            raise Refused(
                f"wrong number of fields: no row has the {len(header)} fields of the header: {shortened(delimiter.join(header), 200)}. Has a "
                f"column no name, or do numbers have {delimiter!r} in them without quotes?"
            )
        raise Refused("no rows: the header stands alone")
    columns = reading.columns
    if layouts.normalised(header[columns["Date"]]) in layouts.UNNAMED and not any(
        dates_and_numbers.date_orders(row[columns["Date"]]) or dates_and_numbers.parse_date(row[columns["Date"]])
        for row in fields
    ):
        raise Refused("wrong header: no column of dates: " + shortened(delimiter.join(header), 200))
    numeric = [name for name in VALUES[1:] if name in columns]
    indices = {columns[name] for name in numeric} | {index for _, own in tickers for _, index in own}
    mark = options.decimal or _mark(fields, indices, delimiter)
    if "Adj Close" not in dict(options.columns):
        _refuse_factors(
            header,
            sorted(fields, key=lambda row: row[columns["Symbol"]]) if "Symbol" in columns else fields,
            columns,
            mark,
        )
    plan = Plan(
        encoding,
        delimiter,
        skip,
        header,
        reading,
        tickers,
        mark,
        options.dates,
        ends_empty=any(not row[-1].strip() for row in fields),
        rounded=options.rounded,
        volume_unit=options.volume_unit,
        texts=not all(_all_plain(fields, columns[name], mark) for name in numeric),
        header_lines=tuple(line.strip() for line in lines[found.first : skip]) if tickers else (),
    )
    return with_dates(plan, fields)


def _refuse_factors(
    header: Sequence[str], fields: Sequence[Sequence[str]], columns: Mapping[str, int], mark: DecimalMark
) -> None:
    """Refuse a column called Adj or the like that holds what prices are to be multiplied by: it stays the same while the close changes."""
    index = columns.get("Adj Close")
    if index is None or not layouts.is_loosely("Adj Close", header[index]):
        return
    numbers = [[dates_and_numbers.parse_number(row[i], mark) for i in (index, columns["Close"])] for row in fields]
    pairs = [(float(adjusted), float(close)) for adjusted, close in numbers if adjusted is not None and close]
    small = bool(pairs) and all(adjusted <= 1 and close > 2 for adjusted, close in pairs)
    if small or (
        _steady([adjusted for adjusted, _ in pairs]) and not _steady([adjusted / close for adjusted, close in pairs])
    ):
        raise Refused(
            f"undecided numbers: column {header[index].strip()!r} seems to hold factors, not adjusted closes, such as {pairs[0][0]:g} for {pairs[0][1]:g}. Leave it out: "
            'archive.columns: {Adj Close: ""}, or name the column to take'
        )


def _steady(values: Sequence[float]) -> bool:
    """Whether most values are as the one before."""
    changes = [
        abs(second - first) / abs(first) if first else abs(second) for first, second in itertools.pairwise(values)
    ]
    return sum(change < 0.0005 for change in changes) >= 0.8 * len(changes)


_CONTROLS = bytes(set(range(32)) - set(b"\t\n\f\x1a"))


def _refuse_binary(content: bytes) -> None:
    """Refuse what is no text, whatever its name says."""
    if content.startswith(b"PK\x03\x04"):
        raise NotPrices("not text, but a workbook or a zip: give it the ending .xlsx, or unpack it")
    controls = len(content) - len(content.translate(None, _CONTROLS))
    if controls > len(content) / 50:
        raise NotPrices(f"not text: {controls:,} of its first {len(content):,} bytes are control characters")


def with_dates(plan: Plan, fields: list[tuple[str, ...]]) -> Sample:
    """A plan with what its sample's rows say; raises `Refused` for intraday rows, and for dates that are written in two ways."""
    plan = _without_row_numbers(plan, fields)
    texts = [row[plan.reading.columns["Date"]].strip() for row in fields]
    _refuse_two_ways(texts, plan.order)
    date_form = next((form for text in texts if (form := dates_and_numbers.date_form(text))), "")
    plan = replace(plan, date_form=date_form, plain_dates=all(map(_PLAIN_DATE.fullmatch, texts)))
    _refuse_intraday(plan, fields)
    return Sample(plan, dates_and_numbers.proven_orders(texts), tuple(fields))


def _refuse_two_ways(texts: Sequence[str], order: DateOrder | None) -> None:
    """Refuse dates some of which begin with their year and some of which may begin with the day or the month.

    A spreadsheet that takes days for months makes real dates of those up to the 12th, and leaves the others as they were.
    """
    open_order = [text for text in texts if dates_and_numbers.date_orders(text)]
    year_first = [text for text in texts if text not in open_order and dates_and_numbers.parse_date(text)]
    if open_order and year_first and order is None:
        raise Refused(
            f"undecided dates: written in two ways, such as {year_first[0]!r} and {open_order[0]!r}, so that a spreadsheet may have taken days for months. "
            "Import the file anew, with the dates as text; or, if all are right, archive.dates: day_first or month_first"
        )


def _without_row_numbers(plan: Plan, fields: Sequence[Sequence[str]]) -> Plan:
    """A plan whose column of symbols, if its name may say something else too, holds no row numbers and no numbers with decimals."""
    columns = plan.reading.columns
    index = columns.get("Symbol")
    if index is None or not layouts.is_loosely("Symbol", plan.header[index]):
        return plan
    texts = [row[index].strip() for row in fields]
    counted = len(texts) > 1 and usual_order.are_counted(texts)
    if not counted and not all(_is_number(text) and not text.isdigit() for text in texts):
        return plan
    columns = {name: column for name, column in columns.items() if name != "Symbol"}
    return replace(plan, reading=replace(plan.reading, columns=columns))


def _find_header(lines: Sequence[str], options: Options) -> _Header:
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
            known = sum(map(layouts.is_known, names)) >= 3 or (
                names[-1][:1].isalpha() and layouts.of_each_symbol(names)
            )
            if known and (named is None or len(names) > named[0]):
                named = found
            if best is None or len(names) > best[0]:
                best = found
        if named:
            break
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
    try:
        return _Header(number, start, delimiter, header, (), recognised(header, options.layout, options.columns))
    except LayoutError as error:
        if side_by_side := symbols_in_columns(header, options):
            return _Header(number, start, delimiter, header, *side_by_side)
        kind = Refused if options.columns or options.layout or layouts.looks_like_prices(header) else NotPrices
        raise kind(f"wrong header: {error}") from None


def _as_wide_as_rows(header: tuple[str, ...], rows: Sequence[str], delimiter: str) -> tuple[str, ...]:
    """The header, with as many names as the rows have fields.

    One without a name is added where each row has a field more, an empty one at its end or the row's name before it; and taken away where
    each row has a field less than a header that ends with a delimiter.
    """
    fields = [split_line(row, delimiter) for row in rows[:_SAMPLE] if row.strip(f"{delimiter} \t")]
    if fields and not header[-1] and all(len(row) == len(header) - 1 for row in fields):
        return header[:-1]
    if not fields or any(len(row) != len(header) + 1 for row in fields):
        return header
    date = layouts.date_column(header)
    first = [row[0].strip() for row in fields]
    fits = date is None or all(_is_date(row[date]) for row in fields)
    if fits and not any(row[-1].strip() for row in fields):
        return (*header, "")
    # R writes the rows' names, which are numbers or dates, without a name above them.
    if (
        all(map(_is_date, first))
        if date is None
        else not fits and usual_order.are_counted(first) and all(_is_date(row[date + 1]) for row in fields)
    ):
        return ("", *header)
    raise Refused(
        f"wrong number of fields: each row has {len(header) + 1}, one more than the header: {shortened(delimiter.join(header), 200)}; the first "
        f"is {shortened(delimiter.join(fields[0]), 200)}. Name the column that the header lacks, in its place"
    )


@functools.lru_cache(maxsize=1024)
def recognised(header: tuple[str, ...], layout: str, columns: tuple[tuple[str, str], ...]) -> Reading:
    """`lib.data.layouts.recognise`, which most files of an archive ask the same."""
    return layouts.recognise(header, layout, dict(columns))


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
        return _is_date(header[numbers["Date"] - 1]) or sum(map(_is_number, prices)) >= 4
    values = sum(_is_number(text) or dates_and_numbers.is_null(text) for text in header)
    return any(map(_is_date, header)) and values >= 4


def _is_number(text: str) -> bool:
    return any(dates_and_numbers.parse_number(text, mark) is not None for mark in MARKS)


def _is_date(text: str) -> bool:
    return any(dates_and_numbers.parse_date(text, order) for order in get_args(DateOrder))


def _levels(lines: Sequence[str], number: int, delimiter: str, options: Options) -> _Header | None:
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
        # Where row numbers come first, under the names of the levels, the dates are a column that one level alone names.
        one_name = [
            f"{name}{ticker}" if not (name and ticker) else "" for name, ticker in zip(names, tickers, strict=True)
        ]
        dates = [i for i, name in enumerate(one_name) if layouts.is_date(name)]
        date = dates[0] if dates else 0
        own: dict[str, dict[str, int]] = {}
        pairs = [(i, tickers[i].strip(), names[i].strip()) for i in range(1, len(names)) if i != date]
        pairs = [pair for pair in pairs if pair[1] or pair[2]]  # without empty columns
        for index, ticker, name in pairs:
            own.setdefault(ticker, {})[name] = index
        whole = all(map(layouts.is_whole, own.values()))
        levels = {names[0].strip(), tickers[0].strip()} <= {"", "Price", "Ticker", "Attributes", "Symbols"}
        clear = whole and all(map(layouts.is_symbol, own))
        if date and not levels and not (clear and _are_numbered(lines[max(number, other) + 1 :], delimiter)):
            continue
        if not pairs or not all(ticker for _, ticker, _ in pairs):
            continue
        # A row below the header of a table is no level; tickers of digits are one, where the corner says so.
        titled = whole and {"Ticker", "Symbols"} & {names[0].strip(), tickers[0].strip()}
        if not titled and other > number and any(_is_value(name) for name in tickers):
            continue
        if not whole and _known(tickers) > 2:
            continue
        if twice := [f"{ticker} {name}" for index, ticker, name in pairs if own[ticker][name] != index]:
            raise Refused(f"wrong header: two columns are {twice[0]}; take one of them away, or give it another name")
        end = max(number, other) + 1
        if end < len(lines):
            third = split_line(lines[end], delimiter)
            if third[0].strip().lower() in ("date", "datetime") and not any(name.strip() for name in third[1:]):
                end += 1
        chosen = _chosen_of_levels(
            options, {names[0].strip(), tickers[0].strip(), lines[end - 1].split(delimiter)[0].strip()}
        )
        columns = _columns_of(own, chosen)
        adjusted = "" if "Adj Close" in dict(columns[-1][1]) else _AUTO_ADJUST
        header = tuple(f"{ticker} {name}".strip() for ticker, name in zip(tickers, names, strict=True))
        titles = ("yfinance: download()" + (f", {len(columns):,} symbols in columns" if len(columns) > 1 else ""),)
        reading = Reading(titles, {"Date": date, **dict(columns[0][1])}, adjusted)
        return _Header(min(number, other), end, delimiter, header, columns, reading)
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
    named = {upper[0].strip(), lower[0].strip()} & {"Price", "Ticker", "Attributes", "Symbols"}
    symbols_above = all(map(layouts.is_symbol, own)) and all(map(layouts.is_whole, own.values()))
    names_above = layouts.is_whole(own) and len({tuple(symbols) for symbols in own.values()}) == 1
    alone = len(own) == 1 and not named and not _TICKER.fullmatch(min(own))
    return filled if own and not alone and (symbols_above or names_above) else upper


def _known(names: Sequence[str]) -> int:
    """How many different names of prices there are."""
    return len({layouts.normalised(name) for name in names if layouts.is_known(name)})


def _are_numbered(rows: Sequence[str], delimiter: str) -> bool:
    """Whether some rows begin with their numbers."""
    return usual_order.are_counted([row.partition(delimiter)[0] for row in rows[:_SAMPLE] if row.strip()])


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


def symbols_in_columns(header: Sequence[str], options: Options) -> tuple[Tickers, Reading] | None:
    """The columns of each symbol, and the reading, of a header that names both in one: ``Close_AAPL``, or as pandas writes levels."""
    by_ticker, date = layouts.of_each_symbol(header), layouts.date_column(header)
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
        _is_number(text.strip("% "))
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


def fields_of(line: str, plan: Plan) -> list[str]:
    """A line's fields; one delimiter more at its end begins no field, where no row ends with an empty one."""
    fields = split_line(line, plan.delimiter)
    if len(fields) == len(plan.header) + 1 and not fields[-1].strip() and not plan.ends_empty:
        fields.pop()
    while len(fields) < len(plan.header) and not any(
        plan.header[len(fields) :]
    ):  # columns without a name may be left out
        fields.append("")
    return fields


def is_header(row: Sequence[str], header: Sequence[str]) -> bool:
    """Whether a row is the header once more."""
    if len(row) == len(header) - 1:  # which was given a column without a name: see `_as_wide_as_rows`
        header = header[1:] if not header[0] else header[:-1] if not header[-1] else header
    return len(row) == len(header) and all(
        name.strip().lower() == other.lower() for name, other in zip(row, header, strict=True)
    )


def _mark(fields: Sequence[Sequence[str]], indices: set[int], delimiter: str) -> DecimalMark:
    samples = [row[index].strip() for row in fields for index in indices]
    mark = dates_and_numbers.decimal_mark([text for text in samples if not dates_and_numbers.is_null(text)])
    if mark is None:
        example = next((text for text in samples if "," in text), samples[0])
        raise Refused(
            f"undecided numbers: {example!r} can be read with a decimal comma or with a comma between thousands; choose one: "
            "archive.decimal: comma, or archive.decimal: point"
        )
    return mark


def _all_plain(fields: Sequence[Sequence[str]], index: int, mark: DecimalMark) -> bool:
    pattern = _PLAIN_COMMA if mark == "comma" else _PLAIN_POINT
    return all(
        pattern.fullmatch(row[index].strip().lstrip("$€£")) or dates_and_numbers.is_null(row[index]) for row in fields
    )


def _refuse_intraday(plan: Plan, fields: Sequence[Sequence[str]]) -> None:
    """Refuse rows of less than a day: by a column that says so, or by several times of one day."""
    columns = plan.reading.columns
    if "Period" in columns:
        periods = {row[columns["Period"]].strip() for row in fields}
        periods = {text for text in periods if not dates_and_numbers.is_null(text)}
        # PER is the price over the earnings, too: numbers that differ, or that no program counts minutes or seconds by.
        if len(periods) > 1 or not periods <= _MINUTES_AND_SECONDS:
            periods = {text for text in periods if not _is_number(text) or text[-1:].isalpha()}
        if other := {text for text in periods if text.lower() not in _DAILY}:
            raise Refused(
                f"intraday rows: {plan.header[columns['Period']]} is {min(other)!r}; only daily prices are read. If it is no period: "
                'archive.columns: {Period: ""}'
            )
    clock = next(
        (
            i
            for i, name in enumerate(plan.header)
            if layouts.normalised(name) in ("time", "hour") and i != columns["Date"]
        ),
        None,
    )
    seen: dict[tuple[str, int], set[str]] = {}
    moments = dates_and_numbers.parse_dates([row[columns["Date"]] for row in fields], plan.order)
    for row, moment in zip(fields, moments, strict=True):
        if moment is not None:
            symbol = row[columns["Symbol"]] if "Symbol" in columns else ""
            time = moment.time or (row[clock].strip() if clock is not None else "")
            seen.setdefault((symbol, moment.day), set()).add(time)
    several = [times for times in seen.values() if len(times) > 1]
    if len(several) > max(1, len(seen) // 10) or (several and len(seen) < 3):
        first, second = sorted(several[0])[:2]
        raise Refused(
            f"intraday rows: one day has the times {first or '00:00'} and {second}; only daily prices are read, so aggregate them to one row per day"
        )
