"""The bytes of a price file in any layout to columns of typed values, and the rows that cannot be read. Pure.

`plan_file` looks at the beginning (and the end) of a file: its encoding, its delimiter, its header, how its dates and numbers
are written. `read_rows` reads the rows of files that share a plan, by Arrow, with whole columns converted at once. What that
refuses is read again file by file, line by line, so that a bad row costs only itself. `parse_fields` is the definition of a
good row; the rest only gets there faster.
"""

from __future__ import annotations

import codecs
import csv
import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from lib.data import layouts, values
from lib.data.layouts import LayoutError, Reading
from lib.data.rows import BLANK
from lib.data.values import DateOrder, DecimalMark

VALUES = ("Date", "Open", "High", "Low", "Close", "Adj Close", "Volume")
MARKS: tuple[DecimalMark, ...] = ("point", "comma")
DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR = "\x1f"  # between the fields of rows that had quotes
_SAMPLE = 15  # lines of each end of a file
_FIRST_DATE = -719162  # 0001-01-01 in days since 1970
_EXACT = 2.0**53  # beyond it a float64 does not hold every whole number
_NULL_TEXTS = sorted({spelling for null in values.NULLS for spelling in (null, null.upper(), null.capitalize(), "NaN")})
_LONGEST = 10_000  # characters of a raw line that are kept
_DAILY = {"d", "1d", "day", "daily", "1day"}


class Refused(ValueError):
    """A file that cannot be read, or that is not one of daily prices; the text says why."""


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
        ``day_first`` or ``month_first``, for dates such as 01/02/2021.
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
        utf-8, utf-16 or cp1252.
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
    separator : str
        What stands between the numbers of such dates, where the file has them.
    plain_dates : bool
        All dates of the sample are YYYY-MM-DD.
    texts : frozenset of str
        The columns of numbers that are written other than as plain numbers, such as 1,234 or 6.85M.
    rounded, volume_unit :
        See `Options`.
    """

    encoding: str
    delimiter: str
    skip: int
    header: tuple[str, ...]
    reading: Reading
    tickers: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    mark: DecimalMark = "point"
    order: DateOrder | None = None
    separator: str = ""
    plain_dates: bool = False
    texts: frozenset[str] = frozenset()
    rounded: bool = False
    volume_unit: float = 1.0

    def __hash__(self) -> int:
        return hash((self.encoding, self.delimiter, self.skip, self.header, self.order, self.texts))

    @staticmethod
    def nothing() -> Plan:
        """A plan for no files."""
        return Plan("utf-8", ",", 1, VALUES, Reading((), dict(zip(VALUES, range(len(VALUES)), strict=True))))

    @property
    def parquet(self) -> bool:
        """Whether the file is Parquet, whose rows have no lines."""
        return self.encoding == "parquet"

    @property
    def has_symbols(self) -> bool:
        """Whether the rows say which symbol they are of."""
        return "Symbol" in self.reading.columns or bool(self.tickers)


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


@dataclass
class Rows:
    """The rows of some files.

    Parameters
    ----------
    table : pyarrow.Table
        The good rows, in the order of the files: `VALUES`, and Symbol and Security Name where the files have them.
    counts : numpy.ndarray of int64
        The rows of each file, good and bad.
    bad : dict of int to str
        Among all rows, from 0: why a row is not good.
    bad_symbols : dict of int to str
        The symbols of the bad rows, where the rows say so.
    lines : list of numpy.ndarray
        For each file, the line of each of its rows.
    raw : callable
        From a file and the number of a row within it to the row's text.
    no_adjusted : numpy.ndarray of bool
        Of each file: Adj Close is Close, as it has none.
    rounded : numpy.ndarray of int64
        Of each file: volumes that were rounded.
    timed : numpy.ndarray of bool
        Of each good row: its date has a time of day.
    """

    table: pa.Table
    counts: npt.NDArray[np.int64]
    bad: dict[int, str]
    bad_symbols: dict[int, str]
    lines: list[npt.NDArray[np.int64]]
    raw: Callable[[int, int], str]
    no_adjusted: npt.NDArray[np.bool_]
    rounded: npt.NDArray[np.int64]
    timed: npt.NDArray[np.bool_]


def encoding_of(content: bytes, whole: bool = True) -> str:
    """The encoding of a text file, or of its beginning.

    Parameters
    ----------
    content : bytes
        Of the file, or of its beginning.
    whole : bool
        Whether it is the whole file: else its last character may be cut.

    Returns
    -------
    str
        As Python names it.

    Examples
    --------
    >>> encoding_of("Eröffnung".encode("cp1252")), encoding_of("Date".encode("utf-16"))
    ('cp1252', 'utf-16')
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
        return "cp1252"
    return "utf-8"


def to_utf8(content: bytes, encoding: str) -> bytes:
    """A file's text as UTF-8 with one kind of line end, without a byte-order mark.

    Parameters
    ----------
    content : bytes
        Of the file, or of its beginning.
    encoding : str
        As `encoding_of` names it.
    """
    if encoding.startswith("utf-16"):
        content = content[: len(content) // 2 * 2].decode(encoding, "replace").encode()
    elif encoding != "utf-8":
        content = content.decode(encoding, "replace").encode()
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content


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
    >>> plan.delimiter, plan.mark, plan.separator
    (';', 'comma', '.')
    """
    options = options or Options()
    encoding = encoding_of(head, whole)
    text = to_utf8(head, encoding).decode("utf-8", "replace")
    lines = text.split("\n", 2000)[:2000]
    if not whole and len(lines) > 1:
        lines.pop()
    if not text.strip():
        raise Refused("empty file")
    start, delimiter, header, tickers, reading = _find_header(lines, options)
    skip = start
    ends = to_utf8(tail, encoding.replace("utf-16", "utf-16-le") if encoding == "utf-16" else encoding)
    sample = [*lines[skip : skip + _SAMPLE], *ends.decode("utf-8", "replace").split("\n")[1:][-_SAMPLE:]]
    fields = [tuple(split_line(line, delimiter)) for line in sample if line.strip(f"{delimiter} \t")]
    fields = [row for row in fields if len(row) == len(header) and not _is_header(row, header)]
    if not fields:
        if any(line.strip(f"{delimiter} \t") for line in lines[skip:]):
            raise Refused(
                f"wrong number of fields: no row has the {len(header)} fields of the header: {_short(delimiter.join(header), 200)}"
            )
        raise Refused("no rows: the header stands alone")
    columns = reading.columns
    if layouts.normalised(header[columns["Date"]]) in ("", "unnamed0", "index") and not any(
        values.date_orders(row[columns["Date"]]) or values.parse_date(row[columns["Date"]]) for row in fields
    ):
        raise Refused("wrong header: no column of dates: " + _short(delimiter.join(header), 200))
    symbol = columns.get("Symbol")
    if (
        symbol is not None
        and layouts.normalised(header[symbol]) == "index"
        and all(row[symbol].strip().isdigit() for row in fields)
    ):
        columns = {name: index for name, index in columns.items() if name != "Symbol"}  # pandas' row numbers
        reading = replace(reading, columns=columns)
    numeric = [name for name in VALUES[1:] if name in columns]
    indices = {columns[name] for name in numeric} | {index for _, own in tickers for _, index in own}
    mark = options.decimal or _mark(fields, indices, delimiter)
    plan = Plan(
        encoding,
        delimiter,
        skip,
        header,
        reading,
        tickers,
        mark,
        options.dates,
        rounded=options.rounded,
        volume_unit=options.volume_unit,
        texts=frozenset(name for name in numeric if not _all_plain(fields, columns[name], mark)),
    )
    return with_dates(plan, fields)


def with_dates(plan: Plan, fields: list[tuple[str, ...]]) -> Sample:
    """A plan with what its sample's dates say; raises `Refused` for intraday rows.

    Parameters
    ----------
    fields : list of tuple of str
        The rows of the sample.
    """
    texts = [row[plan.reading.columns["Date"]].strip() for row in fields]
    possible = [found for text in texts if (found := values.date_orders(text))]
    orders = frozenset(next(iter(found)) for found in possible if len(found) == 1)
    separator = next((mark for text in texts if (mark := values.date_separator(text))), "")
    plan = replace(plan, separator=separator, plain_dates=all(map(_PLAIN_DATE.fullmatch, texts)))
    _refuse_intraday(plan, fields)
    return Sample(plan, orders, tuple(fields))


_PLAIN_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _find_header(
    lines: Sequence[str], options: Options
) -> tuple[int, str, tuple[str, ...], tuple[tuple[str, tuple[tuple[str, int], ...]], ...], Reading]:
    """The line after the header, the delimiter, the header's names, the columns of several symbols, and the reading."""
    delimiters: tuple[str, ...] = DELIMITERS
    first = lines[0].strip().strip('"').lower()
    if first.startswith("sep=") and len(first) == 5:
        delimiters = (first[4],)
    best: tuple[int, int, str, list[str]] | None = None  # of the most fields, where no line has names of prices
    named: tuple[int, int, str, list[str]] | None = None
    for number, line in enumerate(lines[:30]):
        if (
            not line.strip()
            or line.lstrip().startswith(("#", "//"))
            or line.strip().strip('"').lower().startswith("sep=")
        ):
            continue
        for delimiter in delimiters:
            if line.count(delimiter) < 4:
                continue
            names = split_line(line, delimiter)
            found = len(names), number, delimiter, names
            if sum(map(layouts.is_known, names)) >= 3 and (named is None or len(names) > named[0]):
                named = found
            if best is None or len(names) > best[0]:
                best = found
        if named:
            break
    if best is None:
        raise NotPrices(f"no columns of dates and prices: it begins {_short(lines[0].strip(), 80)!r}")
    _, number, delimiter, names = named or best
    if levels := _levels(lines, number, delimiter):
        return levels
    header = tuple(name.strip(" \t\ufeff") for name in names)
    if _is_row(header):
        raise (
            Refused(
                f"no header: line {number + 1} is a row already ({_short(lines[number], 80)}). Put a line with the columns' names "
                "above it, or number them in the params file, such as archive.columns: {Date: 1, Open: 2, ...}"
            )
            if not options.columns
            else Refused("no header: put a line with the columns' names above the first row")
        )
    try:
        return number + 1, delimiter, header, (), recognised(header, options.layout, options.columns)
    except LayoutError as error:
        kind = Refused if options.columns or options.layout or layouts.looks_like_prices(header) else NotPrices
        raise kind(f"wrong header: {error}") from None


@functools.lru_cache(maxsize=1024)
def recognised(header: tuple[str, ...], layout: str, columns: tuple[tuple[str, str], ...]) -> Reading:
    """`lib.data.layouts.recognise`, which most files of an archive ask the same."""
    return layouts.recognise(header, layout, dict(columns))


def _is_row(header: Sequence[str]) -> bool:
    dates = sum(1 for name in header if values.parse_date(name, "day_first") or values.parse_date(name, "month_first"))
    return dates > 0 and sum(values.parse_number(name) is not None for name in header) >= 4


def _levels(
    lines: Sequence[str], number: int, delimiter: str
) -> tuple[int, str, tuple[str, ...], tuple[tuple[str, tuple[tuple[str, int], ...]], ...], Reading] | None:
    """A header of two levels, as pandas writes yfinance's: prices above tickers, or tickers above prices."""
    names = split_line(lines[number], delimiter)
    for other in (number + 1, number - 1):
        if not 0 <= other < len(lines):
            continue
        tickers = split_line(lines[other], delimiter)
        if len(tickers) != len(names) or not all(name.strip() for name in tickers[1:]):
            continue
        if other > number and any(_is_value(name) for name in tickers):
            continue
        if sum(map(layouts.is_known, tickers[1:])) > 2:
            continue
        end = max(number, other) + 1
        if end < len(lines):
            third = split_line(lines[end], delimiter)
            if third[0].strip().lower() in ("date", "datetime") and not any(name.strip() for name in third[1:]):
                end += 1
        by_ticker: dict[str, dict[str, int]] = {}
        for index in range(1, len(names)):
            by_ticker.setdefault(tickers[index].strip(), {})[names[index].strip()] = index
        columns = []
        adjusted = ""
        for ticker, own in by_ticker.items():
            try:
                reading = layouts.recognise(["Date", *own])
            except LayoutError as error:
                raise Refused(f"wrong header: {ticker}: {error}") from None
            adjusted = "" if "Adj Close" in reading.columns else "for splits and dividends (auto_adjust)"
            order = list(own.values())
            found = {ours: order[index - 1] for ours, index in reading.columns.items() if index}
            columns.append((ticker, tuple(found.items())))
        header = tuple(f"{ticker} {name}".strip() for ticker, name in zip(tickers, names, strict=True))
        titles = ("yfinance: download()" + (f", {len(columns):,} symbols in columns" if len(columns) > 1 else ""),)
        return end, delimiter, header, tuple(columns), Reading(titles, {"Date": 0, **dict(columns[0][1])}, adjusted)
    return None


def _is_value(text: str) -> bool:
    return (
        any(values.parse_number(text.strip("% "), mark) is not None for mark in MARKS)
        or values.parse_date(text) is not None
        or values.date_orders(text) is not None
    )


def split_line(line: str, delimiter: str) -> list[str]:
    """The fields of a line."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def _is_header(row: Sequence[str], header: Sequence[str]) -> bool:
    return [name.strip().lower() for name in row] == [name.lower() for name in header]


def _mark(fields: Sequence[Sequence[str]], indices: set[int], delimiter: str) -> DecimalMark:
    samples = [row[index].strip() for row in fields for index in indices]
    mark = values.decimal_mark([text for text in samples if not values.is_null(text)])
    if mark is None:
        example = next((text for text in samples if "," in text), samples[0])
        raise Refused(
            f"undecided numbers: {example!r} can be read with a decimal comma or with a comma between thousands; say which: "
            "archive.decimal: comma, or archive.decimal: point"
        )
    return mark


def _all_plain(fields: Sequence[Sequence[str]], index: int, mark: DecimalMark) -> bool:
    pattern = _PLAIN_COMMA if mark == "comma" else _PLAIN_POINT
    return all(pattern.fullmatch(row[index].strip().lstrip("$€£")) or values.is_null(row[index]) for row in fields)


_PLAIN_POINT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PLAIN_COMMA = re.compile(r"[+-]?\d+(,\d+)?", re.ASCII)


def _refuse_intraday(plan: Plan, fields: Sequence[Sequence[str]]) -> None:
    """Refuse rows of less than a day: by a column that says so, or by several times of one day."""
    columns = plan.reading.columns
    if "Period" in columns:
        other = {
            row[columns["Period"]].strip() for row in fields if row[columns["Period"]].strip().lower() not in _DAILY
        }
        if other:
            raise Refused(
                f"intraday rows: {plan.header[columns['Period']]} is {min(other)!r}; only daily prices are read"
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
    for row in fields:
        moment = values.parse_date(row[columns["Date"]], plan.order or "day_first") or values.parse_date(
            row[columns["Date"]], "month_first"
        )
        if moment is not None:
            symbol = row[columns["Symbol"]] if "Symbol" in columns else ""
            time = moment.time or (row[clock].strip() if clock is not None else "")
            seen.setdefault((symbol, moment.day), set()).add(time)
    several = [times for times in seen.values() if len(times) > 1]
    if len(several) > max(1, len(seen) // 10) or (several and len(seen) < 3):
        first, second = sorted(several[0])[:2]
        raise Refused(
            f"intraday rows: one day has the times {first or '00:00'} and {second}; only daily prices are read, so make one row a day of them"
        )


def parse_fields(fields: Sequence[str], plan: Plan) -> tuple[int, float, float, float, float, float, int, bool] | str:
    """Read one row, slowly and exactly: the definition of what a good row is.

    Parameters
    ----------
    fields : sequence of str
        Of the whole line.

    Returns
    -------
    tuple or str
        Days since 1970, open, high, low, close, adjusted close, volume, and whether that was rounded; or why the row is refused.
    """
    columns = plan.reading.columns
    if not any(field.strip() for field in fields):  # as spreadsheets leave behind
        return BLANK
    if len(fields) != len(plan.header):
        return f"wrong number of fields: {len(fields)}, expected {len(plan.header)}"
    found = {name: fields[columns[name]].strip() for name in VALUES if name in columns}
    nulls = [name for name, text in found.items() if values.is_null(text)]
    if nulls:
        return f"null value: {', '.join(nulls)}"
    moment = values.parse_date(found["Date"], plan.order)
    if moment is None or moment.day < _FIRST_DATE:
        expected = "YYYY-MM-DD" if plan.plain_dates else "a date such as the others"
        return f"unparsable date: {_short(found['Date'], 40)!r}, expected {expected}"
    numbers: dict[str, Decimal] = {}
    for name in VALUES[1:]:
        if name in found:
            number = values.parse_number(found[name], plan.mark)
            if number is None or abs(number) > Decimal("1.7e308"):
                return f"unparsable value: {name} is {_short(found[name], 40)!r}"
            numbers[name] = number
    numbers.setdefault("Adj Close", numbers["Close"])
    text = _short(found["Volume"], 40)
    volume = numbers["Volume"]
    if plan.volume_unit != 1:
        volume /= Decimal(repr(plan.volume_unit))
    if volume < 0:
        return f"negative volume: {text!r}"
    if volume >= 2**63:
        return f"volume too large: {text!r}"
    whole = volume.to_integral_value()  # half to even
    if whole != volume and not plan.rounded:
        return f"fractional volume: {text!r}"
    prices = (float(numbers[name]) for name in VALUES[1:6])
    opening, high, low, close, adjusted = prices
    return moment.day, opening, high, low, close, adjusted, int(whole), whole != volume


def read_rows(bodies: Sequence[Body], plan: Plan) -> Rows:
    """Read the rows of files that share a plan.

    Parameters
    ----------
    bodies : sequence of Body
        Of each file, as `body_of` cuts it.
    """
    if not bodies:
        return _no_rows(0)
    if plan.tickers:
        return _concatenated([_read_wide(body, plan) for body in bodies])
    plain = [_unquoted(body, plan) for body in bodies]
    if all(text is not None for text, _ in plain) and len({separator for _, separator in plain}) == 1:
        texts = [text for text, _ in plain if text is not None]
        for own in (plan, replace(plan, plain_dates=False, texts=frozenset(VALUES[1:]))):
            if rows := _read_together(bodies, texts, own, plain[0][1]):
                return rows
    if len(bodies) > 1:
        return _concatenated([read_rows([body], plan) for body in bodies])
    return _read_by_line(bodies[0], plan)


@dataclass(frozen=True)
class Body:
    """The rows of a file.

    Parameters
    ----------
    text : bytes
        UTF-8, each line ended by a newline.
    first_line : int
        The line that they begin on.
    """

    text: bytes
    first_line: int


def body_of(content: bytes, plan: Plan) -> Body:
    """Cut the header off a file.

    Parameters
    ----------
    content : bytes
        Of the file, or of its beginning.
    """
    text = to_utf8(content, plan.encoding)
    position = 0
    for _ in range(plan.skip):
        position = text.find(b"\n", position) + 1
        if position == 0:
            return Body(b"", plan.skip + 1)
    return Body(_ended(text[position:]), plan.skip + 1)


def _ended(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + b"\n"


def _unquoted(body: Body, plan: Plan) -> tuple[bytes | None, str]:
    """The rows without quotes and the separator between their fields; None where only a line by line look can tell."""
    text, delimiter = body.text, plan.delimiter.encode()
    if b"$" in text and "Symbol" not in plan.reading.columns:
        text = text.replace(b"$", b"")
    if b'"' not in text:
        return text, plan.delimiter
    separator = _SEPARATOR.encode()
    every = text.replace(b'"' + delimiter + b'"', separator).replace(b'"\n"', b"\n")
    if every.startswith(b'"') and every.endswith(b'"\n') and every.count(b'"') == 2:
        return every[1:-2] + b"\n", _SEPARATOR
    content = np.frombuffer(text, dtype=np.uint8)
    quote = content == ord('"')
    places = np.flatnonzero(quote)
    if len(places) % 2:
        return None, _SEPARATOR
    edges = np.array([ord("\n"), ord(delimiter)], dtype=np.uint8)
    before, after = content[np.maximum(places[0::2] - 1, 0)], content[places[1::2] + 1]
    if not (np.isin(before, edges) | (places[0::2] == 0)).all() or not np.isin(after, edges).all():
        return None, _SEPARATOR
    inside = (np.cumsum(quote, dtype=np.uint8) & 1).astype(bool)
    if (content[inside] == ord("\n")).any():
        return None, _SEPARATOR
    parted = np.where((content == ord(delimiter)) & ~inside, np.uint8(ord(separator)), content)
    return parted[~quote].tobytes(), _SEPARATOR


def _read_together(bodies: Sequence[Body], texts: Sequence[bytes], plan: Plan, separator: str) -> Rows | None:
    """Read the rows of several files as one; None where Arrow takes them for something else than as many rows."""
    counts = np.array([text.count(b"\n") for text in texts], dtype=np.int64)
    joined = texts[0] if len(texts) == 1 else b"".join(texts)
    if not joined:
        return _no_rows(len(bodies))
    table = _by_arrow(joined, plan, separator, plan.texts)
    if table is None or table.num_rows != counts.sum():
        return None
    raw = _RawText(bodies)
    lines = [np.arange(body.first_line, body.first_line + count) for body, count in zip(bodies, counts, strict=True)]
    return rows_of_table(table, plan, counts, lines, raw)


def _by_arrow(joined: bytes, plan: Plan, separator: str, texts: frozenset[str]) -> pa.Table | None:
    columns = plan.reading.columns
    names = {name: f"c{index}" for name, index in columns.items()}
    types: dict[str, pa.DataType] = {}
    for name, column in names.items():
        if name == "Date":
            types[column] = pa.date32() if plan.plain_dates else pa.dictionary(pa.int32(), pa.string())
        elif name in VALUES:
            types[column] = pa.string() if name in texts else pa.float64()
        else:
            types[column] = pa.dictionary(pa.int32(), pa.string())
    wanted = [name for name in (*VALUES, "Symbol", "Security Name", "Series") if name in names]
    table = _read_csv(joined, plan, separator, [names[name] for name in wanted], types)
    return None if table is None else table.rename_columns(wanted)


def _read_csv(
    text: bytes, plan: Plan, separator: str, wanted: list[str], types: Mapping[str, pa.DataType]
) -> pa.Table | None:
    """The columns ``wanted``, which are named after their indices; None where the text is not of these types."""
    columns = [f"c{index}" for index in range(len(plan.header))]
    try:
        return pa.csv.read_csv(
            pa.BufferReader(text),
            pa.csv.ReadOptions(column_names=columns, use_threads=False, block_size=max(1 << 22, 64 * len(columns))),
            pa.csv.ParseOptions(delimiter=separator, quote_char=False),
            pa.csv.ConvertOptions(
                column_types=dict(types),
                include_columns=wanted,
                null_values=_NULL_TEXTS,
                strings_can_be_null=True,
                decimal_point="," if plan.mark == "comma" else ".",
            ),
        )
    except pa.ArrowInvalid:
        return None


def rows_of_table(
    table: pa.Table,
    plan: Plan,
    counts: npt.NDArray[np.int64],
    lines: list[npt.NDArray[np.int64]],
    raw: RowTexts,
) -> Rows:
    """Convert the columns of some files, and look for the rows that are not good.

    Parameters
    ----------
    table : pyarrow.Table
        Under the names of `VALUES`: each column typed, or as text.
    counts : numpy.ndarray of int64
        Rows of each file.
    lines : list of numpy.ndarray
        See `Rows`.
    """
    columns: dict[str, pa.Array] = {}
    timed = np.zeros(table.num_rows, dtype=bool)
    dates = table["Date"]
    if pa.types.is_date32(dates.type):
        columns["Date"] = _whole(dates)
    else:
        columns["Date"], timed = values.dates(dates, plan.order)
    for name in VALUES[1:]:
        if name in table.schema.names:
            column = table[name]
            columns[name] = values.numbers(column, plan.mark) if pa.types.is_string(column.type) else _whole(column)
    ends = np.cumsum(counts)
    no_adjusted = np.ones(len(counts), dtype=bool)
    if "Adj Close" in columns:
        columns["Adj Close"], no_adjusted = _adjusted(columns, table["Adj Close"], counts)
    else:
        columns["Adj Close"] = columns["Close"]
    volume, fractional = _volumes(columns["Volume"], plan)
    doubts = [column.is_null() for column in columns.values() if column.null_count]
    for name in VALUES[1:]:
        total = pc.sum(columns[name]).as_py()
        if total is not None and not np.isfinite(total):
            doubts.append(pc.invert(pc.is_finite(columns[name])))
    extreme = (volume < 0) | ~(volume < _EXACT)
    if not plan.rounded:
        extreme |= fractional
    days = columns["Date"].cast(pa.int32()).fill_null(0).to_numpy()
    bad = extreme | (days < _FIRST_DATE)
    for doubt in doubts:
        bad |= doubt.fill_null(True).to_numpy(zero_copy_only=False)
    places = np.flatnonzero(bad)
    columns["Volume"] = pa.array(np.where(bad, 0, volume).astype(np.int64))
    symbols = _symbols(table)
    if symbols is not None:
        columns["Symbol"] = symbols
        if symbols.null_count:
            bad |= symbols.is_null().to_numpy(zero_copy_only=False)
            places = np.flatnonzero(bad)
    if "Security Name" in table.schema.names:
        columns["Security Name"] = _whole(table["Security Name"].unify_dictionaries())
    reasons, repaired = _reasons(places, plan, ends, counts, raw, symbols, no_adjusted)
    made = _set_rows(columns, repaired)
    good = np.ones(table.num_rows, dtype=bool)
    good[list(reasons)] = False
    bad_symbols = (
        {} if symbols is None else {row: text for row in reasons if (text := symbols[row].as_py()) is not None}
    )
    file_of_row = np.repeat(np.arange(len(counts)), counts)
    was_rounded = fractional & good if plan.rounded else np.zeros(len(good), dtype=bool)
    return Rows(
        made if len(reasons) == 0 else made.filter(pa.array(good)),
        counts,
        reasons,
        bad_symbols,
        lines,
        raw.line,
        no_adjusted,
        np.bincount(file_of_row[was_rounded], minlength=len(counts)).astype(np.int64),
        timed[good],
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        return combined.chunk(0) if combined.num_chunks else pa.array([], column.type)
    return combined


def _adjusted(
    columns: Mapping[str, pa.Array], texts: pa.ChunkedArray, counts: npt.NDArray[np.int64]
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Adj Close, which is Close in the files whose column of that name is empty."""
    adjusted = columns["Adj Close"]
    if not texts.null_count and not pa.types.is_string(texts.type):
        return adjusted, np.zeros(len(counts), dtype=bool)
    empty = np.asarray(texts.is_null().to_numpy())
    if pa.types.is_string(texts.type):
        empty |= np.asarray(
            pc.is_in(
                pc.utf8_lower(pc.ascii_trim_whitespace(texts)), value_set=pa.array(sorted(values.NULLS))
            ).to_numpy()
        )
    starts = np.concatenate([[0], np.cumsum(counts)])
    without = np.array([bool(empty[a:b].all()) and b > a for a, b in itertools.pairwise(starts)], dtype=bool)
    if without.any():
        adjusted = pc.if_else(pa.array(np.repeat(without, counts)), columns["Close"], adjusted)
    return adjusted, without


def _volumes(column: pa.Array, plan: Plan) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Volumes in the plan's unit, whole ones rounded half to even, and which of them had a fraction."""
    volume = np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    if plan.volume_unit != 1:
        volume = volume / plan.volume_unit
    whole = np.rint(volume)
    tolerance = 1e-9 * np.maximum(1, np.abs(volume)) if plan.volume_unit != 1 else 0
    with np.errstate(invalid="ignore"):
        fractional = np.abs(volume - whole) > tolerance
    return np.where(np.isnan(volume), np.nan, whole), fractional


def _symbols(table: pa.Table) -> pa.Array | None:
    """The symbols of rows that say theirs, as a dictionary; a series other than EQ is a symbol of its own."""
    if "Symbol" not in table.schema.names:
        return None
    symbols = _whole(table["Symbol"])
    if not pa.types.is_dictionary(symbols.type):
        symbols = symbols.dictionary_encode()
    names = [None if text is None else symbol_text(text) for text in symbols.dictionary.to_pylist()]
    if "Series" in table.schema.names:
        series = _whole(table["Series"])
        series = series if pa.types.is_dictionary(series.type) else series.dictionary_encode()
        codes = [(text or "").strip() for text in series.dictionary.to_pylist()]
        if set(codes) - {"EQ", ""}:
            pairs = pa.StructArray.from_arrays([symbols.indices, series.indices], ["symbol", "series"]).to_pylist()
            texts = [
                None
                if pair["symbol"] is None or names[pair["symbol"]] is None
                else names[pair["symbol"]]
                if pair["series"] is None or codes[pair["series"]] in ("EQ", "")
                else f"{names[pair['symbol']]}-{codes[pair['series']]}"
                for pair in pairs
            ]
            return pa.array(texts, pa.string()).dictionary_encode()
    # Two texts may be one symbol: encode again.
    plain = pa.array([name or None for name in names], pa.string())
    return plain.take(symbols.indices).dictionary_encode()


def symbol_text(text: str) -> str:
    """The symbol that a column's text stands for: Stooq writes AAPL.US.

    Examples
    --------
    >>> symbol_text(" AAPL.US "), symbol_text("BRK.B")
    ('AAPL', 'BRK.B')
    """
    text = text.strip()
    return text[:-3] if text.upper().endswith(".US") and len(text) > 3 else text


def _reasons(
    places: npt.NDArray[np.int64],
    plan: Plan,
    ends: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    raw: RowTexts,
    symbols: pa.Array | None,
    no_adjusted: npt.NDArray[np.bool_],
) -> tuple[dict[int, str], dict[int, tuple]]:
    """Why the rows at ``places`` are bad, and the values of those that are good all the same (a volume beyond 2**53)."""
    reasons: dict[int, str] = {}
    good: dict[int, tuple] = {}
    without = dict(plan.reading.columns)
    without.pop("Adj Close", None)
    plan_without = replace(plan, reading=replace(plan.reading, columns=without))
    for row in places.tolist():
        file = int(np.searchsorted(ends, row, side="right"))
        text = raw.text(file, row - int(ends[file] - counts[file]))
        found = parse_fields(_fields(text, plan), plan_without if no_adjusted[file] else plan)
        if isinstance(found, str):
            reasons[row] = found
        elif symbols is not None and symbols[row].as_py() is None:
            reasons[row] = "null value: Symbol"
        else:
            good[row] = found
    return reasons, good


def _set_rows(columns: dict[str, pa.Array], rows: Mapping[int, tuple]) -> pa.Table:
    """The table of some columns, in the order of `VALUES`, with a few rows set."""
    if rows:
        mask = np.zeros(len(columns["Date"]), dtype=bool)
        mask[list(rows)] = True
        in_order = sorted(rows)
        for index, name in enumerate(VALUES):
            new = pa.array([rows[row][index] for row in in_order], pa.int32() if name == "Date" else columns[name].type)
            columns[name] = pc.replace_with_mask(columns[name], pa.array(mask), new.cast(columns[name].type))
    names = [*VALUES, *(name for name in ("Symbol", "Security Name") if name in columns)]
    return pa.table([columns[name] for name in names], names=names)


class RowTexts(Protocol):
    """The text of rows, by file and number within the file."""

    def line(self, file: int, row: int) -> str:
        """The text of a row, shortened where it is very long.

        Parameters
        ----------
        file : int
            Its index.
        row : int
            Its number within the file.
        """

    def text(self, file: int, row: int) -> str:
        """The text of a row.

        Parameters
        ----------
        file : int
            Its index.
        row : int
            Its number within the file.
        """


class _RawText:
    """The text of rows by file and number; newlines are looked for only in the files that are asked for."""

    def __init__(self, bodies: Sequence[Body], numbers: Sequence[npt.NDArray[np.int64] | None] = ()) -> None:
        self._bodies, self._numbers = bodies, numbers
        self._ends: dict[int, npt.NDArray[np.int64]] = {}

    def line(self, file: int, row: int) -> str:
        """The text of a row, shortened where it is very long.

        Parameters
        ----------
        file : int
            Its index.
        row : int
            Its number within the file.
        """
        return _short(self.text(file, row), _LONGEST)

    def text(self, file: int, row: int) -> str:
        """The text of a row.

        Parameters
        ----------
        file : int
            Its index.
        row : int
            Its number within the file.
        """
        if file not in self._ends:
            self._ends[file] = np.flatnonzero(np.frombuffer(self._bodies[file].text, dtype=np.uint8) == ord("\n"))
        numbers = self._numbers[file] if self._numbers else None
        number = row if numbers is None else int(numbers[row])
        ends = self._ends[file]
        start = int(ends[number - 1]) + 1 if number else 0
        return self._bodies[file].text[start : int(ends[number])].decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class _Lines:
    """The lines of a file that are rows, and the fields of those that have as many as the header."""

    rows: npt.NDArray[np.int64]  # numbers of the lines, from 0
    fitting: npt.NDArray[np.int64]  # positions among the rows
    text: bytes  # the fields, with _SEPARATOR between


def _by_line(body: Body, plan: Plan) -> _Lines:
    """Look at a file line by line: blank lines, comments and headers that come again are no rows."""
    width = len(plan.header)
    texts: list[str] = []
    numbers: list[int] = []
    fitting: list[int] = []
    for number, line in enumerate(body.text.decode("utf-8", "backslashreplace").split("\n")[:-1]):
        if not line.strip(f'{plan.delimiter} \t"') or line.startswith("#"):
            continue
        fields = _fields(line, plan)
        if _is_header(fields, plan.header):
            continue
        if len(fields) == width and not any(_SEPARATOR in text or "\n" in text for text in fields):
            fitting.append(len(numbers))
            texts.append(_SEPARATOR.join(text.strip() for text in fields) + "\n")
        numbers.append(number)
    return _Lines(np.array(numbers, dtype=np.int64), np.array(fitting, dtype=np.int64), "".join(texts).encode())


def _fields(line: str, plan: Plan) -> list[str]:
    """A line's fields; a delimiter at its end begins no field."""
    fields = split_line(line, plan.delimiter)
    if len(fields) == len(plan.header) + 1 and not fields[-1].strip():
        fields.pop()
    return fields


def _read_by_line(body: Body, plan: Plan) -> Rows:
    found = _by_line(body, plan)
    raw = _RawText([body], [found.rows])
    lines = found.rows + body.first_line
    if len(found.fitting):
        table = _by_arrow(found.text, replace(plan, plain_dates=False), _SEPARATOR, frozenset(VALUES[1:]))
        assert table is not None and table.num_rows == len(found.fitting), "its fields have been counted"
        inner = _RawText([body], [found.rows[found.fitting]])
        rows = rows_of_table(table, plan, np.array([len(found.fitting)], dtype=np.int64), [lines[found.fitting]], inner)
    else:
        rows = _no_rows(1)
    bad = {int(found.fitting[row]): reason for row, reason in rows.bad.items()}
    for row in np.setdiff1d(np.arange(len(found.rows)), found.fitting).tolist():
        reason = parse_fields(_fields(raw.text(0, row), plan), plan)
        bad[row] = reason if isinstance(reason, str) else "unparsable row: it has a control character"
    return replace(
        rows,
        counts=np.array([len(found.rows)], dtype=np.int64),
        bad=bad,
        bad_symbols={int(found.fitting[row]): symbol for row, symbol in rows.bad_symbols.items()},
        lines=[lines],
        raw=raw.line,
    )


def _read_wide(body: Body, plan: Plan) -> Rows:
    """Read a file that has columns for several symbols: a line is a row of each symbol that has a value there."""
    text, separator = _unquoted(body, plan)
    lines = np.arange(text.count(b"\n")) if text is not None else np.zeros(0, dtype=np.int64)
    table = None if text is None else _all_columns(text, plan, separator, pa.float64())
    strays: list[Rows] = []
    if table is None or table.num_rows != len(lines):
        found = _by_line(body, plan)
        lines = found.rows[found.fitting]
        table = _all_columns(found.text, plan, _SEPARATOR, pa.string())
        assert table is not None and table.num_rows == len(lines), "its fields have been counted"
        others = np.setdiff1d(found.rows, lines)
        strays = [_strays(body, others, plan)] if len(others) else []
    long = [_of_ticker(table, lines, body, plan, ticker, dict(columns)) for ticker, columns in plan.tickers]
    merged = _concatenated([*long, *strays])
    ends = np.cumsum(merged.counts)

    def raw(file: int, row: int) -> str:
        part = int(np.searchsorted(ends, row, side="right"))
        return merged.raw(part, row - int(ends[part] - merged.counts[part]))

    return replace(
        merged,
        counts=np.array([merged.counts.sum()], dtype=np.int64),
        lines=[np.concatenate(merged.lines)],
        raw=raw,
        no_adjusted=np.array([all(rows.no_adjusted.all() for rows in long)]),
        rounded=np.array([merged.rounded.sum()], dtype=np.int64),
    )


def _of_ticker(
    table: pa.Table,
    lines: npt.NDArray[np.int64],
    body: Body,
    plan: Plan,
    ticker: str,
    columns: Mapping[str, int],
) -> Rows:
    """The rows of one symbol; where it has no value at all, it was not traded while others were."""
    own = table.select([f"c{index}" for index in (0, *columns.values())]).rename_columns(["Date", *columns])
    empty = np.ones(own.num_rows, dtype=bool)
    for name in columns:
        empty &= np.asarray(own[name].is_null().to_numpy())
    own, numbers = own.filter(pa.array(~empty)), lines[~empty]
    reading = replace(plan.reading, columns={"Date": 0, **columns})
    rows = rows_of_table(
        own,
        replace(plan, tickers=(), reading=reading),
        np.array([len(numbers)], dtype=np.int64),
        [numbers + body.first_line],
        _RawText([body], [numbers]),
    )
    symbols = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows.table.num_rows, dtype=np.int32)), pa.array([ticker])
    )
    return replace(rows, table=rows.table.append_column("Symbol", symbols), bad_symbols=dict.fromkeys(rows.bad, ticker))


def _strays(body: Body, numbers: npt.NDArray[np.int64], plan: Plan) -> Rows:
    """The lines, by their numbers, that have another number of fields than the header."""
    raw = _RawText([body], [numbers])
    reasons = (parse_fields(_fields(raw.text(0, row), plan), plan) for row in range(len(numbers)))
    bad = {row: reason if isinstance(reason, str) else "unparsable row" for row, reason in enumerate(reasons)}
    return replace(
        _no_rows(1),
        counts=np.array([len(numbers)], dtype=np.int64),
        bad=bad,
        lines=[numbers + body.first_line],
        raw=raw.line,
    )


def _all_columns(text: bytes, plan: Plan, separator: str, kind: pa.DataType) -> pa.Table | None:
    names = [f"c{index}" for index in range(len(plan.header))]
    dates = pa.dictionary(pa.int32(), pa.string())
    return _read_csv(text, plan, separator, names, {name: kind if name != "c0" else dates for name in names})


def _no_rows(files: int) -> Rows:
    kinds = [pa.date32(), *[pa.float64()] * 5, pa.int64()]
    table = pa.table([pa.array([], kind) for kind in kinds], names=list(VALUES))
    zeros = np.zeros(files, dtype=np.int64)
    nothing = [zeros[:0] for _ in range(files)]
    return Rows(table, zeros, {}, {}, nothing, lambda file, row: "", zeros.astype(bool), zeros, np.zeros(0, dtype=bool))


def _concatenated(parts: Sequence[Rows]) -> Rows:
    """The rows of several files, read apart, as if they had been read together."""
    if len(parts) == 1:
        return parts[0]
    first_row, first_file = 0, 0
    bad: dict[int, str] = {}
    bad_symbols: dict[int, str] = {}
    of_file: list[tuple[Rows, int]] = []
    for part in parts:
        bad.update((first_row + row, reason) for row, reason in part.bad.items())
        bad_symbols.update((first_row + row, symbol) for row, symbol in part.bad_symbols.items())
        of_file += [(part, file) for file in range(len(part.counts))]
        first_row += int(part.counts.sum())
        first_file += len(part.counts)
    names = max((part.table.schema.names for part in parts), key=len)
    tables = [part.table for part in parts if part.table.num_rows and part.table.schema.names == names]
    return Rows(
        pa.concat_tables(tables) if tables else parts[0].table,
        np.concatenate([part.counts for part in parts]),
        bad,
        bad_symbols,
        [lines for part in parts for lines in part.lines],
        lambda file, row: of_file[file][0].raw(of_file[file][1], row),
        np.concatenate([part.no_adjusted for part in parts]),
        np.concatenate([part.rounded for part in parts]),
        np.concatenate([part.timed for part in parts]),
    )


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"
