"""Dates and numbers as price files write them, to days and floats: by value, and by column. Pure."""

from __future__ import annotations

import contextlib
import datetime
import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.text import DECIMAL

DateOrder = Literal["day_first", "month_first", "year_first"]
DecimalMark = Literal["point", "comma"]

NULLS = frozenset({"", "-", "--", "nan", "null", "none", "na", "n/a", "nat", "#n/a", "n.a."})
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_TIME = (
    r"(?:[T ,]\s*(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?|\d{6}(?!\d))(?:\s*(?P<half>[AaPp][Mm]))?"
    r"(?:\s*(?:Z|[A-Z]{3,4}(?:[+-]\d{2}:?\d{2})?|[+-]\d{2}:?\d{2}))?)?"
)
# In English, German, French, Spanish, Portuguese and Italian.
_WEEKDAYS = (
    "monday tuesday wednesday thursday friday saturday sunday mon tues tue wed thurs thur thu fri sat sun montag dienstag mittwoch "
    "donnerstag freitag samstag sonntag mo di mi do fr sa so lundi mardi mercredi jeudi vendredi samedi dimanche lun mar mer jeu ven sam "
    "dim lunes martes miércoles miercoles jueves viernes sábado sabado domingo mié mie jue vie sáb sab dom segunda terça terca quarta "
    "quinta sexta seg ter qua qui sex lunedì martedì mercoledì giovedì venerdì sabato domenica gio"
)
_WEEKDAY = rf"(?:(?i:{'|'.join(_WEEKDAYS.split())})[.,]{{0,2}}\s+)?"
# Behind a date: 2021/1/4(月), 2021-01-04 Monday.
_LETTER_WEEKDAYS = "[月火水木金土日](?:曜日?)?|[월화수목금토일](?:요일)?|(?:星期|周|週)[一二三四五六日天]"
_WEEKDAY_BEHIND = re.compile(
    rf"(?<=[\d日일.])(?:\s*[(（](?:(?i:{'|'.join(_WEEKDAYS.split())})\.?|{_LETTER_WEEKDAYS})[)）]"
    rf"|[,\s]\s*(?:(?i:{'|'.join(_WEEKDAYS.split())})\.?|{_LETTER_WEEKDAYS}))$"
)
_DAY_AS_FLOAT = re.compile(r"(\d{8})\.0+", re.ASCII)  # 20210104.0
_YEAR_FIRST = re.compile(
    _WEEKDAY + r"(?P<y>\d{4})(?P<s>[-/.]?)(?P<m>\d{2}|(?<=[-/.])\d)(?P=s)(?P<d>\d{2}|(?<=[-/.])\d)" + _TIME
)
_YEAR_LAST = re.compile(_WEEKDAY + r"(?P<a>\d{1,2})(?P<s>[-/.])(?P<b>\d{1,2})(?P=s)(?P<y>\d{4}|\d{2})" + _TIME)
_DAY_WORD = re.compile(_WEEKDAY + r"(?P<d>\d{1,2})[-/ .]+(?P<w>[^\W\d]{3,10})\.?[-/ ,.]+(?P<y>\d{4}|\d{2})" + _TIME)
_WORD_DAY = re.compile(_WEEKDAY + r"(?P<w>[^\W\d]{3,10})\.?[- ]+(?P<d>\d{1,2})(?:,\s*|[- ]+)(?P<y>\d{4})" + _TIME)
# 2024年3月28日 and 2024년 3월 28일, and what Korean programs write: 2024. 3. 28. and 2024- 03- 28
_EAST_ASIAN = re.compile(
    r"(?P<y>\d{4})(?:[年년] ?|(?P<s>[.-]) )(?P<m>\d{1,2})(?:[月월] ?|(?P=s) )(?P<d>\d{1,2})(?:[日일.])?" + _TIME
)
_SINCE_1970 = re.compile(r"(\d{9,10}|\d{12,13}|\d{15,16}|\d{18,19})(?:\.0*)?", re.ASCII)
# The first letters of the months in English, German, French, Spanish, Portuguese and Italian, without accents.
_MONTHS = {
    name: month
    for month, names in enumerate(
        (
            "jan ene gen",
            "feb fev fevr",
            "mar mrz maer marz",
            "apr avr abr",
            "may mai mag",
            "jun juin giu",
            "jul juil lug",
            "aug aou ago",
            "sep set",
            "oct okt out ott",
            "nov",
            "dec dez dic",
        ),
        1,
    )
    for name in names.split()
}
_CURRENCY = "$€£¥₹"
_SPACED = re.compile(r"[+-]?\d{1,3}(?:(?P<s>[ '’])\d{3})(?:(?P=s)\d{3})*(?:[.,]\d*)?", re.ASCII)  # 1 234 567, 1'234'567
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)
_INDIAN = re.compile(r"[+-]?\d{1,2}(,\d{2})+,\d{3}(\.\d*)?", re.ASCII)  # 12,34,567.89: lakhs and crores
_THIN_SPACES = str.maketrans("\u2007\u2009", "  ")
_UNITS = {"K": 3, "M": 6, "B": 9, "T": 12}


@dataclass(frozen=True)
class Moment:
    """A date as a file writes it.

    Parameters
    ----------
    day : int
        Days since 1970-01-01.
    time : str
        The time of day, where there is one but midnight.
    """

    day: int
    time: str = ""

    @property
    def hour(self) -> int:
        """The hour that the time begins with; -1 where it has no colon."""
        hour, colon, _ = self.time.partition(":")
        return int(hour) if colon else -1


@functools.lru_cache(maxsize=1 << 16)  # the days of a century, in two forms
def parse_date(text: str, order: DateOrder | None = None) -> Moment | None:
    """Read a date.

    Parameters
    ----------
    text : str
        Year, month and day in digits or with the month's name in six languages, perhaps with the day of the week before it, and
        a time and a zone behind it (the day is the one that is written); or seconds, milli-, micro- or nanoseconds since 1970 (the day is that of UTC).
    order : str, optional
        What comes first in a date such as 01/02/2021 or 24/01/02; without it such a date is not read.

    Examples
    --------
    >>> parse_date("04.01.2021", "day_first") == parse_date("Jan 4, 2021") == parse_date("20210104")
    True
    >>> parse_date("2021-01-04 00:00:00-05:00"), parse_date("2021-01-04 09:30"), parse_date("1/4/2021")
    (Moment(day=18631, time=''), Moment(day=18631, time='09:30'), None)
    """
    text = _bare(text)
    if found := _YEAR_FIRST.fullmatch(text) or _EAST_ASIAN.fullmatch(text):
        return _moment(found, found["y"], int(found["m"]), int(found["d"]))
    if found := _YEAR_LAST.fullmatch(text):
        first, second, last = found["a"], found["b"], found["y"]
        if order == "year_first" and len(first) == len(last) == 2:
            return _moment(found, first, int(second), int(last))
        if order == "day_first":
            return _moment(found, last, int(second), int(first))
        return _moment(found, last, int(first), int(second)) if order == "month_first" else None
    if found := _DAY_WORD.fullmatch(text) or _WORD_DAY.fullmatch(text):
        month = _month(found["w"])
        return _moment(found, found["y"], month, int(found["d"])) if month else None
    if found := _SINCE_1970.fullmatch(text):
        digits = found[1]
        seconds, rest = divmod(int(digits), 10 ** (3 * ((len(digits) - 9) // 3)))
        day, time = divmod(seconds, 86_400)
        return Moment(day, str(datetime.timedelta(seconds=time)) if time or rest else "")
    return None


def is_date(text: str) -> bool:
    """Whether a text is a date in any order of day, month and year."""
    return any(parse_date(text, order) for order in get_args(DateOrder))


def parse_dates(texts: Sequence[str], order: DateOrder | None = None) -> list[Moment | None]:
    """As `parse_date`, in the order that reads the most of them where none is given.

    Examples
    --------
    >>> parse_dates(["01/30/21", "01/02/21"]) == parse_dates(["30.1.2021", "2.1.2021"])
    True
    """
    orders = (order,) if order else get_args(DateOrder)
    return max(
        ([parse_date(text, each) for text in texts] for each in orders), key=lambda read: len(read) - read.count(None)
    )


def _bare(text: str) -> str:
    """A date's text without the day of the week behind it, and without the fraction of a number."""
    text = _WEEKDAY_BEHIND.sub("", text.strip())
    found = _DAY_AS_FLOAT.fullmatch(text)
    return found[1] if found else text


@functools.lru_cache(maxsize=1 << 10)
def _month(word: str) -> int | None:
    plain = unicodedata.normalize("NFKD", word.lower().replace("ä", "a")).encode("ascii", "ignore").decode()
    return _MONTHS.get(plain[:4]) or _MONTHS.get(plain[:3])


def _moment(found: re.Match[str], written: str, month: int, day: int) -> Moment | None:
    year = int(written)
    if len(written) == 2:
        year += 1900 if year >= 69 else 2000  # as POSIX has it
    try:
        days = datetime.date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    time = found["time"] or ""
    return Moment(days, f"{time} {found['half']}".strip() if found["half"] else time if time.strip("0:.") else "")


@functools.lru_cache(maxsize=1 << 16)
def date_orders(text: str) -> set[DateOrder] | None:
    """The orders in which a date of three numbers is one; None for any other text.

    Examples
    --------
    >>> sorted(date_orders("01/02/2021")), date_orders("13/01/2021"), date_orders("2021-01-13")
    (['day_first', 'month_first'], {'day_first'}, None)
    >>> sorted(date_orders("24/01/02")), date_orders("99/12/31")
    (['day_first', 'year_first'], {'year_first'})
    """
    if not _YEAR_LAST.fullmatch(_bare(text)):
        return None
    return {order for order in get_args(DateOrder) if parse_date(text, order)}


def proven_orders(texts: Iterable[str]) -> frozenset[DateOrder]:
    """The orders that dates prove, given as a file's rows have them.

    A date proves an order if it is one in no other. Where no date does, an order is proven if it is the only one in which the dates follow each other by
    days, in others they jump by months and years; where the year has four digits, by six days at least, all in order, and none of a weekend, as the
    first of each month may be meant.

    Examples
    --------
    >>> list(proven_orders(["01/02/2021", "13/02/2021"])), list(proven_orders(["24/01/02", "24/01/03", "24/01/04"]))
    (['day_first'], ['year_first'])
    >>> week, months = [f"01/{day:02}/2021" for day in (4, 5, 6, 7, 8, 11)], [f"01/{month:02}/2021" for month in range(1, 13)]
    >>> list(proven_orders(week)), list(proven_orders(months))
    (['month_first'], [])
    """
    texts = [text for text in dict.fromkeys(texts) if date_orders(text)]
    possible = [date_orders(text) or set() for text in texts]
    alone = frozenset(order for found in possible if len(found) == 1 for order in found)
    if alone:
        return alone
    days = {
        order: [moment.day for text in texts if (moment := parse_date(text, order))] for order in get_args(DateOrder)
    }
    whole_orders = [order for order, own in days.items() if 3 <= len(own) == len(texts)]
    following = [order for order in whole_orders if np.median(np.abs(np.diff(days[order]))) <= 7]
    if len(following) != 1:
        return frozenset()
    long = not any(date_form(text).endswith("yy") for text in texts)
    return frozenset() if long and not _are_of_a_month(days[following[0]]) else frozenset(following)


def _are_of_a_month(days: Sequence[int]) -> bool:
    """Whether at least six days are in order, without a weekend: read so, the first days of six months in turn would have one."""
    steps = np.diff(days)
    in_order = (steps > 0).all() or (steps < 0).all()
    return len(days) > 5 and bool(in_order) and int(np.abs(steps).max()) <= 5 and max(map(weekday, days)) < 5


def weekday(day: int) -> int:
    """The weekday of a day since 1970-01-01, 0 for Monday."""
    return (day + 3) % 7


def days_and_months_exchanged(days: Sequence[int]) -> bool:
    """Whether dates, in the order of a file's rows, follow each other by days only when the day and the month of those up to the 12th are exchanged.

    A program that has taken 04/01/2021 for the first of April leaves them so, as there is no month 13 to take 13/01/2021 for.

    Examples
    --------
    >>> days = [parse_date(f"2021-{day}-01" if day < "13" else f"2021-01-{day}").day for day in ("05", "06", "07", "08", "11", "12", "13", "14")]
    >>> days_and_months_exchanged(days), days_and_months_exchanged([*range(days[0], days[0] + 20)])
    (True, False)
    """
    dates = [datetime.date.fromordinal(day + _EPOCH) for day in days]
    exchanged = [date.replace(month=date.day, day=date.month) if date.day <= 12 else date for date in dates]
    if len(days) < 8 or all(date.day <= 12 for date in dates) or any(date.weekday() >= 5 for date in exchanged):
        return False
    jumps = np.abs(np.diff(days)) > 20
    left = np.abs(np.diff([date.toordinal() for date in exchanged])) > 10
    return bool(jumps.sum() >= 4 and left.sum() <= 1)


def date_form(text: str) -> str:
    """How a date is written whose order is open: what stands between its numbers, and yy behind it for a year of two digits; empty for any other text."""
    found = _YEAR_LAST.fullmatch(_bare(text))
    return found["s"] + ("yy" if len(found["y"]) == 2 else "") if found else ""


def parse_number(text: str, mark: DecimalMark = "point") -> Decimal | None:
    """Read a number exactly: with thousands, a currency sign, or K, M, B, T behind it. None for what is no number.

    Examples
    --------
    >>> parse_number("$1,234.50"), parse_number("6.85M"), parse_number("1.234,5", "comma"), parse_number("1'234"), parse_number("1,23")
    (Decimal('1234.50'), Decimal('6.85E+6'), Decimal('1234.5'), Decimal('1234'), None)
    >>> parse_number("12,34,567.8"), parse_number("1,2,3")
    (Decimal('1234567.8'), None)
    """
    text = text.strip().replace("\xa0", "").replace("\u202f", "").translate(_THIN_SPACES)
    sign = text[:1] if text[:1] in "+-" else ""
    text = sign + text[len(sign) :].strip(_CURRENCY).strip()
    indian = mark == "point" and _INDIAN.fullmatch(text)
    if mark == "comma":
        text = text.translate(str.maketrans(",.", ".,"))
    unit = _UNITS.get(text[-1:].upper(), 0)
    if unit:
        text = text[:-1].rstrip()
    if indian or _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    elif found := _SPACED.fullmatch(text):
        text = text.replace(found["s"], "")
    try:
        return Decimal(text).scaleb(unit) if DECIMAL.fullmatch(text) else None
    except DecimalException:  # an exponent of more than six digits
        return None


def is_number(text: str) -> bool:
    """Whether a text is a number with either decimal mark."""
    return any(parse_number(text, mark) is not None for mark in get_args(DecimalMark))


def is_weekday(text: str) -> bool:
    """Whether a text is the name of a day of the week, or the beginning of one."""
    return text.strip().rstrip(".").lower() in _WEEKDAYS.split() or bool(re.fullmatch(_LETTER_WEEKDAYS, text.strip()))


def is_null(text: str) -> bool:
    """Whether a field says that there is no value.

    Examples
    --------
    >>> is_null(" NaN"), is_null("0")
    (True, False)
    """
    return text.strip().lower() in NULLS


def dates(column: pa.ChunkedArray, order: DateOrder | None) -> pa.Array:
    """A column of dates as date32, each distinct text read once; null where there is no date."""
    texts = encoded(column)
    moments = [None if text is None else parse_date(text, order) for text in texts.dictionary.to_pylist()]
    days = pa.array([None if moment is None else moment.day for moment in moments], pa.int32())
    return days.take(texts.indices).cast(pa.date32())


def numbers(column: pa.ChunkedArray, mark: DecimalMark) -> pa.Array:
    """Read a column of numbers.

    Returns
    -------
    pyarrow.Array of float64
        Each the nearest to its text, as `parse_number` reads it; null where that reads nothing.
    """
    texts = column.combine_chunks()
    others = set(bytes(texts.buffers()[2] or b"").translate(None, b"0123456789.+-"))
    with contextlib.suppress(pa.ArrowInvalid):  # two points in one number, say
        if not others and mark == "point":
            return texts.cast(pa.float64())
        if others <= {ord(",")}:
            grouped = texts.filter(pc.match_substring(texts, "," if mark == "point" else "."))
            if pc.all(_written(grouped, mark), min_count=0).as_py():
                return _without_groups(texts, mark).cast(pa.float64())
    encoded = texts.dictionary_encode()  # volumes such as 6.85M: few are distinct
    return _of_any_kind(pc.ascii_trim_whitespace(encoded.dictionary), mark).take(encoded.indices)


def _written(texts: pa.Array, mark: DecimalMark) -> pa.Array:
    """Whether each text is a number, perhaps with groups of thousands, without a currency or a unit."""
    group, point = (",", r"\.") if mark == "point" else (r"\.", ",")
    plain = rf"(\d+{point}?\d*|{point}\d+)([eE][+-]?\d+)?"
    groups = rf"\d{{1,3}}({group}\d{{3}})+" + (r"|\d{1,2}(,\d{2})+,\d{3}" if mark == "point" else "")
    return pc.match_substring_regex(texts, rf"^[+-]?({plain}|({groups})({point}\d*)?)$")


def _without_groups(texts: pa.Array, mark: DecimalMark) -> pa.Array:
    if mark == "point":
        return pc.replace_substring(texts, ",", "")
    return pc.replace_substring(pc.replace_substring(texts, ".", ""), ",", ".")


def _of_any_kind(texts: pa.Array, mark: DecimalMark) -> pa.Array:
    plain, readable = _without_groups(texts, mark), _written(texts, mark)
    scaled = pc.match_substring_regex(texts, rf"^[+-]?\d+([{'.' if mark == 'point' else ','}]\d+)?[KMBT]$")
    if pc.any(scaled, min_count=0).as_py():  # 6.85M as 6.85e6
        for unit, exponent in _UNITS.items():
            plain = pc.replace_substring(plain, unit, f"e{exponent}")
        readable = pc.or_(readable, scaled)
    values = pc.if_else(readable, plain, None).cast(pa.float64())
    rest = pc.if_else(readable, None, texts)
    if rest.null_count == len(rest):
        return values
    slowly = [None if text is None else parse_number(text, mark) for text in rest.to_pylist()]
    return pc.coalesce(values, pa.array([None if one is None else float(one) for one in slowly], pa.float64()))


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    return (column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column).combine_chunks()


def encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A column in one piece, as a dictionary."""
    found = whole(column)
    return found if pa.types.is_dictionary(found.type) else found.dictionary_encode()


def decimal_mark(samples: Sequence[str]) -> DecimalMark | None:
    """Which decimal mark some numbers are written with; None where both readings are possible.

    Examples
    --------
    >>> decimal_mark(["32,37", "1.234,5"]), decimal_mark(["4,589,054", "1.5"]), decimal_mark(["1,234"])
    ('comma', 'point', None)
    """
    marks: set[DecimalMark] = set()
    doubtful = False
    for text in samples:
        digits = text.strip(f"{_CURRENCY}+- \xa0%KkMmBbTt")
        point = digits.rfind("."), digits.rfind(",")
        if max(point) < 0:
            continue
        if min(point) >= 0:
            marks.add("point" if point[0] > point[1] else "comma")
        elif digits.count(".") > 1:
            marks.add("comma")
        elif digits.count(",") > 1:
            marks.add("point")
        elif point[0] >= 0:
            # 1.234 is a decimal fraction wherever nothing says otherwise: so all the world's CSV files have them.
            if len(digits) - point[0] != 4:
                marks.add("point")
        elif re.fullmatch(r"[1-9]\d{0,2},\d{3}", digits):
            doubtful = True
        else:
            marks.add("comma")
    if len(marks) == 1:
        return marks.pop()
    return None if marks or doubtful else "point"
