"""How a price file is read: its encoding, and how its dates and numbers are written. Pure.

`plan_file` finds it out from the beginning and the end of a file; files with equal plans are read together.
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lib.data import column_names, dates_and_numbers, usual_order
from lib.data.dates_and_numbers import DateOrder, DecimalMark, Moment, is_number
from lib.data.headers import (
    SAMPLE,
    VALUES,
    NotPrices,
    Options,
    Refused,
    Tickers,
    find_header,
    is_header,
    split_line,
)
from lib.data.layouts import Reading, recognise
from lib.text import DECIMAL, shortened

# As Chinese (mainland and Taiwan), Japanese, Korean and Russian programs write CSV.
_OTHER_ENCODINGS = ("gb18030", "big5", "cp932", "cp949", "cp1251")
_DAILY = {"d", "1d", "d1", "day", "daily", "1day", "1440", "86400"}
_MINUTES_AND_SECONDS = {
    *("1", "2", "3", "5", "10", "15", "20", "30", "45", "60", "90", "120", "180", "240", "360", "480", "720", "1440"),
    *("300", "600", "900", "1800", "3600", "7200", "14400", "86400"),
}
_MIDNIGHT = re.compile(r"^\d+:(00|30|45)(:00)?(\.0+)?$")  # somewhere, in UTC
_PLAIN_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_PLAIN_COMMA = re.compile(r"[+-]?\d+(,\d+)?", re.ASCII)


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


KAGGLE = Plan("utf-8", ",", 1, VALUES, recognise(VALUES), plain_dates=True)


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
    return any(sum(map(column_names.is_known, line)) > 1 for line in names)


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
    found = find_header(lines, options)
    skip, delimiter, header, tickers, reading = found.end, found.delimiter, found.names, found.tickers, found.reading
    ends = to_utf8(tail, encoding.replace("utf-16", "utf-16-le") if encoding == "utf-16" else encoding)
    sample = [*lines[skip : skip + SAMPLE], *ends.decode("utf-8", "replace").split("\n")[1:][-SAMPLE:]]
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
    unnamed = column_names.normalised(header[columns["Date"]]) in column_names.UNNAMED
    if unnamed and not any(dates_and_numbers.is_date(row[columns["Date"]]) for row in fields):
        raise Refused("wrong header: no column of dates: " + shortened(delimiter.join(header), 200))
    numeric = [name for name in VALUES[1:] if name in columns]
    indices = {columns[name] for name in numeric} | {index for _, own in tickers for _, index in own}
    mark = options.decimal or _mark(fields, indices)
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
    return with_sample(plan, fields, options)


def _without_flags(plan: Plan, fields: Sequence[tuple[str, ...]]) -> Plan:
    """A plan without a column called Adjusted or the like that says whether the prices are: it holds no number.

    Raises
    ------
    Refused
        It holds what prices are to be multiplied by: it stays the same while the close changes.
    """
    columns, header, mark = plan.reading.columns, plan.header, plan.mark
    index = columns.get("Adj Close")
    if index is None or not column_names.is_loosely("Adj Close", header[index]):
        return plan
    if "Symbol" in columns:
        fields = sorted(fields, key=lambda row: row[columns["Symbol"]])
    numbers = [[dates_and_numbers.parse_number(row[i], mark) for i in (index, columns["Close"])] for row in fields]
    given = any(not dates_and_numbers.is_null(row[index]) for row in fields)
    if given and not any(adjusted is not None for adjusted, _ in numbers):
        return without(plan, "Adj Close")
    pairs = [(float(adjusted), float(close)) for adjusted, close in numbers if adjusted is not None and close]
    if not pairs:
        return plan
    # Sorted by date, with many symbols: small numbers, of which there are few.
    few = 2 * len({adjusted for adjusted, _ in pairs}) <= len({close for _, close in pairs})
    small = few and all(adjusted <= 1 and close > 2 for adjusted, close in pairs)
    if small or (
        _steady([adjusted for adjusted, _ in pairs]) and not _steady([adjusted / close for adjusted, close in pairs])
    ):
        raise Refused(
            f"undecided numbers: column {header[index].strip()!r} seems to hold factors, not adjusted closes, such as {pairs[0][0]:g} for {pairs[0][1]:g}. Leave it out: "
            'archive.columns: {Adj Close: ""}, or name the column to take'
        )
    return plan


def without(plan: Plan, name: str) -> Plan:
    """A plan that does not read one of the columns."""
    columns = {ours: column for ours, column in plan.reading.columns.items() if ours != name}
    return replace(plan, reading=replace(plan.reading, columns=columns))


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


def with_sample(plan: Plan, fields: list[tuple[str, ...]], options: Options) -> Sample:
    """A plan with what its sample's rows say; raises `Refused` for intraday rows, and for dates and numbers that mean something else."""
    plan = _without_row_numbers(plan, fields)
    if "Adj Close" not in dict(options.columns):
        plan = _without_flags(plan, fields)
    texts = [row[plan.reading.columns["Date"]].strip() for row in fields]
    _refuse_two_ways(texts, plan.order)
    moments = {text: moment for text in texts if (moment := dates_and_numbers.parse_date(text, plan.order))}
    _refuse_exchanged(moments)
    _refuse_other_zones(moments)
    date_form = next((form for text in texts if (form := dates_and_numbers.date_form(text))), "")
    plan = replace(plan, date_form=date_form, plain_dates=all(map(_PLAIN_DATE.fullmatch, texts)))
    _refuse_intraday(plan, fields)
    return Sample(plan, dates_and_numbers.proven_orders(texts), tuple(fields))


def _refuse_two_ways(texts: Sequence[str], order: DateOrder | None) -> None:
    """Refuse dates some of which begin with their year and some of which may begin with the day or the month.

    A spreadsheet that takes days for months makes real dates of those up to the 12th, and leaves the others as they were.
    """
    open_order = [text for text in texts if dates_and_numbers.date_orders(text)]
    year_first = [text for text in texts if text[:4].isdigit() and dates_and_numbers.parse_date(text)]
    if open_order and year_first and order is None:
        raise Refused(
            f"undecided dates: written in two ways, such as {year_first[0]!r} and {open_order[0]!r}, so that a spreadsheet may have taken days for months. "
            "Import the file anew, with the dates as text; or, if all are right, archive.dates: day_first or month_first"
        )


def _refuse_exchanged(moments: Mapping[str, Moment]) -> None:
    """Refuse dates whose days and months a program has exchanged where it could."""
    if dates_and_numbers.days_and_months_exchanged([moment.day for moment in moments.values()]):
        raise Refused(
            f"undecided dates: they follow each other by days only if day and month of those up to the 12th are exchanged, such as {next(iter(moments))!r}: a program "
            "has read days as months. Make the file anew from its source, with the dates as text"
        )


def _refuse_other_zones(moments: Mapping[str, Moment]) -> None:
    """Refuse times of another zone, whose day is the one before the exchange's, always or in summer.

    The midnight of exchanges from London to New Zealand is at 10:00 UTC or later, of the day before, on the hour or on the half. Those that trade on Sundays
    open earlier, and close at other minutes.
    """
    zoned = all(text.isdigit() or text.endswith(("Z", "UTC", "GMT", "+00:00", "+0000")) for text in moments)
    before = {text: moment for text, moment in moments.items() if moment.hour >= (10 if zoned else 22)}
    weekdays = [dates_and_numbers.weekday(moment.day) for moment in before.values()]
    # In a part of the year, of exchanges in London: whole hours beside midnight.
    round_ = all(_MIDNIGHT.search(moment.time) for moment in before.values())
    others = [moment.time for moment in moments.values() if moment not in before.values()]
    partly = len(others) >= 3 and not any(others)
    if (
        round_
        and ((zoned and not others) or partly)
        and len(before) >= 10
        and weekdays.count(6) > 1
        and 4 not in weekdays
    ):
        raise Refused(
            f"undecided dates: times of another zone than the exchange's, such as {next(iter(before))!r}: without their times they fall on Sundays and never on "
            f"Fridays{' in a part of the year' if partly else ''}. Convert them to the exchange's zone, and keep the date"
        )


def _without_row_numbers(plan: Plan, fields: Sequence[Sequence[str]]) -> Plan:
    """A plan whose column of symbols, if its name may say something else too, holds no row numbers and no numbers with decimals."""
    columns = plan.reading.columns
    index = columns.get("Symbol")
    if index is None or not column_names.is_loosely("Symbol", plan.header[index]):
        return plan
    texts = [row[index].strip() for row in fields]
    # The codes of one day may follow each other, too.
    days = {row[columns["Date"]] for row in fields}
    counted = 2 * len(days) > len(texts) > 1 and usual_order.are_counted(texts)
    if not counted and not all(is_number(text) and not text.isdigit() for text in texts):
        return plan
    return without(plan, "Symbol")


def fields_of(line: str, plan: Plan) -> list[str]:
    """A line's fields; one delimiter more at its end begins no field, where no row ends with an empty one."""
    fields = split_line(line, plan.delimiter)
    if len(fields) == len(plan.header) + 1 and not fields[-1].strip() and not plan.ends_empty:
        fields.pop()
    # Columns without a name may be left out at the end.
    while len(fields) < len(plan.header) and not any(plan.header[len(fields) :]):
        fields.append("")
    return fields


def _mark(fields: Sequence[Sequence[str]], indices: set[int]) -> DecimalMark:
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
    pattern = _PLAIN_COMMA if mark == "comma" else DECIMAL
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
            periods = {text for text in periods if not is_number(text) or text[-1:].isalpha()}
        if other := {text for text in periods if text.lower() not in _DAILY}:
            raise Refused(
                f"intraday rows: {plan.header[columns['Period']]} is {min(other)!r}; only daily prices are read. If it is no period: "
                'archive.columns: {Period: ""}'
            )
    clock = next(
        (
            i
            for i, name in enumerate(plan.header)
            if column_names.normalised(name) in ("time", "hour") and i != columns["Date"]
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
