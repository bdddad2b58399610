"""What a good row is, and which values of good rows are odd. Pure."""

from __future__ import annotations

import codecs
import csv
import datetime
import math
import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lib.data.column_names import is_another_header, other_columns
from lib.data.dates_and_numbers import parse_number
from lib.data.schema import COLUMNS
from lib.text import DECIMAL, shortened

BLANK = "blank row"  # or the header once more: no row at all, neither kept nor set aside
ANOTHER_HEADER = "another header"  # how the reason begins
CODES = {  # of rows, then of files that are set aside entirely
    *("null_value", "unparsable_date", "unparsable_value", "negative_volume", "volume_too_large", "fractional_volume"),
    *("repeated_date", "wrong_number_of_fields", "unparsable_row", "another_header", "not_utf_8"),
    *("wrong_header", "empty_file", "no_rows", "unreadable_file"),
    *("no_header", "no_symbol", "intraday_rows", "undecided_numbers", "undecided_dates"),
}
LONGEST_RAW = 10_000  # characters of a row's text that are kept
FIRST_DATE = -719162  # 0001-01-01 in days since 1970: Arrow reads year 0, Python and Parquet's readers do not
EXACT = 2.0**53  # beyond it a float64 does not hold every whole number

_COLUMNS = {name: index for index, name in enumerate(COLUMNS)}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NULLS = {"", "nan", "null", "none", "na", "n/a", "nat"}


def another_header(header: Sequence[str]) -> str:
    """The reason why a row is refused that is a header other than the file's, ``header``."""
    return f"{ANOTHER_HEADER}: the rows below it would be read as if it were {shortened(','.join(header), 200)}"


def of_header(fields: Sequence[str], header: Sequence[str], columns: Mapping[str, int]) -> str | None:
    """Why a line that is a header is no row: `BLANK` where it says the same as ``header`` in other words, else `another_header`; None for any other line."""
    if not is_another_header(fields, dated=len(fields) != len(header)):
        return None
    same = len(fields) == len(header) and not other_columns(fields, header, columns)
    return BLANK if same else another_header(header)


def code(reason: str) -> str:
    """What kind of reason it is, to count by: its words before the colon, one of `CODES`.

    Examples
    --------
    >>> code("null value: Open, High"), code("empty file")
    ('null_value', 'empty_file')
    """
    return re.sub("[^a-z0-9]+", "_", reason.partition(":")[0].lower())


def parse_row(line: bytes) -> tuple[datetime.date, float, float, float, float, float, int] | str:
    """Read one row, without its newline, slowly and exactly: the definition of what a good row is.

    Returns
    -------
    tuple or str
        Date, open, high, low, close, adjusted close (float64, the nearest to the text) and volume (int); or why the row
        is refused; or `BLANK`.

    Examples
    --------
    >>> parse_row(b"2020-01-02,1,2,.5,1.5,1.5,123.0")
    (datetime.date(2020, 1, 2), 1.0, 2.0, 0.5, 1.5, 1.5, 123)
    >>> parse_row(b"2020-01-02,1,2,.5,1.5,1.5,-3")
    "negative volume: '-3'"
    """
    try:
        text = line.removeprefix(codecs.BOM_UTF8).decode("utf-8")  # files put together have it in the middle
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte {line[error.start]:#04x} at position {error.start + 1}"
    try:
        fields = next(csv.reader([text]), []) if '"' in text else text.split(",")
    except csv.Error as error:
        return f"unparsable row: {error}"
    fields = [value.strip(" \t") for value in fields]
    if not any(fields) or tuple(fields) == COLUMNS:  # as spreadsheets leave behind, and files put one after the other
        return BLANK
    if reason := of_header(fields, COLUMNS, _COLUMNS):
        return reason
    if len(fields) != len(COLUMNS):
        return f"wrong number of fields: {len(fields)}, expected {len(COLUMNS)}"
    nulls = [name for name, value in zip(COLUMNS, fields, strict=True) if value.lower() in _NULLS]
    if nulls:
        return f"null value: {', '.join(nulls)}"
    try:
        date = datetime.date.fromisoformat(fields[0]) if _DATE.fullmatch(fields[0]) else None
    except ValueError:
        date = None
    if date is None:
        return f"unparsable date: {shortened(fields[0], 40)!r}, expected YYYY-MM-DD"
    numbers = []
    # Commas within a field mean that it was in quotes: "1,234".
    fields = [str(parse_number(value) or value) if "," in value else value for value in fields]
    for name, value in zip(COLUMNS[1:], fields[1:], strict=True):
        number = float(value) if DECIMAL.fullmatch(value) else math.nan
        if not math.isfinite(number):
            return f"unparsable value: {name} is {shortened(value, 40)!r}"
        numbers.append(number)
    volume = numbers.pop()
    if volume < 0:
        return f"negative volume: {shortened(fields[6], 40)!r}"
    exact = Decimal(volume) if volume < EXACT else Decimal(fields[6])
    if exact >= 2**63:
        return f"volume too large: {shortened(fields[6], 40)!r}"
    if exact != exact.to_integral_value():
        return f"fractional volume: {shortened(fields[6], 40)!r}"
    opening, high, low, close, adjusted = numbers
    return date, opening, high, low, close, adjusted, int(exact)


class RowTexts:
    """The rows of files as they are written; newlines are looked for only in the files that are asked for.

    Parameters
    ----------
    files : sequence of bytes or memoryview
        Lines, each ended by a newline.
    numbers : sequence of numpy.ndarray, optional
        For each file, which of its lines are rows, from 0; without them, all are.
    """

    def __init__(self, files: Sequence[bytes | memoryview], numbers: Sequence[npt.NDArray[np.int64]] = ()) -> None:
        self._files, self._numbers = files, numbers
        self._ends: dict[int, npt.NDArray[np.int64]] = {}

    def line(self, file: int, row: int) -> bytes:
        """A row, by the index of its file and the row's number within it."""
        if file not in self._ends:
            self._ends[file] = np.flatnonzero(np.frombuffer(self._files[file], dtype=np.uint8) == ord("\n"))
        number = int(self._numbers[file][row]) if self._numbers else row
        ends = self._ends[file]
        return bytes(self._files[file][int(ends[number - 1]) + 1 if number else 0 : int(ends[number])])

    def text(self, file: int, row: int) -> str:
        """A row as text."""
        return self.line(file, row).decode("utf-8", "backslashreplace")

    def shown(self, file: int, row: int) -> str:
        """A row as text, shortened where it is very long."""
        return shortened(self.text(file, row), LONGEST_RAW)


def places(rows: Collection[int], counts: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Of rows, by their numbers among all rows, of which each file has as many as ``counts`` says: the file, and the number within it.

    Examples
    --------
    >>> places([0, 4], np.array([2, 0, 3]))
    [(0, 0), (2, 2)]
    """
    numbers = np.fromiter(rows, np.int64, len(rows))
    ends = np.cumsum(counts)
    files = np.searchsorted(ends, numbers, side="right")
    return list(zip(files.tolist(), (numbers - (ends - counts)[files]).tolist(), strict=True))


# Odd values. Prices may leave the day's range by rounding: by a tenth of a percent (yfinance rounds what it adjusts: 0.3 % in
# https://github.com/ranaroussi/yfinance/issues/2857 is counted) or half a cent. Half of the shares that traded before 1980 have
# no Open at Yahoo, but a 0 (https://github.com/ranaroussi/yfinance/issues/1281): those contradict nothing.
_RELATIVE, _ABSOLUTE = 0.001, 0.005
_ORDER = 1e-6  # relative tolerance by which High may be below Low: float32 and what is computed with it
_JUMP = 50
_GAP = 31  # days. In 662 real files, 1.6 M rows, no day is more than that after the one before
_FIRST_EXCHANGE = int(np.datetime64("1792-05-17").astype(np.int64))  # when New York's was founded
_VOLUME_AS_PRICE = 100
_TOO_MANY, _AT_LEAST = 0.05, 10  # contradicting rows of a file: their share, and how many

Mask = npt.NDArray[np.bool_]


def odd_values(table: pa.Table, starts: npt.NDArray[np.int64]) -> tuple[dict[str, Mask], Mask, Mask]:
    """Find the values that are odd in rows that are good.

    Parameters
    ----------
    table : pyarrow.Table
        Of `lib.data.schema.COLUMNS`, with rows and without nulls; each file's rows stand together, sorted by date.
    starts : ndarray of int64
        Where each file that has rows begins.

    Returns
    -------
    odd : dict of str to ndarray of bool
        By the columns of `lib.data.schema.ODD` that concern single rows.
    high_below_low : ndarray of bool
        Beyond rounding.
    contradicting : ndarray of bool
        Those, prices outside the day's range, and volumes under Adj Close.
    """
    opening, high, low, close, adjusted, volume = (table[name].to_numpy() for name in COLUMNS[1:])
    dates = table["Date"].cast(pa.int32()).to_numpy()
    reversed_ = high < low
    beyond = reversed_ & (high < low * (1 - _ORDER)) if reversed_.any() else reversed_
    lower = np.minimum(opening, close)
    positive = (np.minimum(lower, low) > 0) & (high > 0)
    outside = (np.maximum(opening, close) > high) | (lower < low)
    outside &= positive
    if outside.any():  # few are, so how far is computed for those alone
        outside[outside] = _far_outside(*(prices[outside] for prices in (opening, high, low, close)))
    gap = np.zeros(len(dates), dtype=bool)
    gap[1:] = np.diff(dates) > _GAP
    gap[starts] = False
    odd = {
        "zero_volume": volume == 0,
        "adj_close_not_positive": adjusted <= 0,
        "price_not_positive": ~positive,
        "high_below_low": reversed_,
        "outside_range": outside,
        "price_jump": _jumps(close, starts) | ((high > _JUMP * low) & positive),
        "date_gap": gap,
        "date_before_exchanges": dates < _FIRST_EXCHANGE,
    }
    return odd, beyond, beyond | outside | _volume_as_price(adjusted, close, high, starts)


def _far_outside(
    opening: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    close: npt.NDArray[np.float64],
) -> Mask:
    """Whether Open or Close is farther outside the day's range than rounding explains; all are positive."""
    above = np.maximum(opening, close) > np.maximum(high * (1 + _RELATIVE), high + _ABSOLUTE)
    return above | (np.minimum(opening, close) < np.minimum(low * (1 - _RELATIVE), low - _ABSOLUTE))


def contradicts_itself(rows: int, high_below_low: int, contradicting: int) -> bool:
    """Whether a file's columns must be in another order than its header says.

    A few rows out of the day's range prove nothing: 14 of 662 real files have a single row, and an Open outside it.
    """
    most = _TOO_MANY * rows
    return high_below_low > most or (contradicting > most and contradicting >= _AT_LEAST)


def _jumps(close: npt.NDArray[np.float64], starts: npt.NDArray[np.int64]) -> Mask:
    """The days whose close is over `_JUMP` times that of both neighbours, or less than a fiftieth; a file's last day has one neighbour."""
    before, after = close[:-1], close[1:]
    up, down = after > _JUMP * before, _JUMP * after < before
    if not up.any() and not down.any():
        return np.zeros(len(close), dtype=bool)
    steps = np.zeros(len(close) + 1, dtype=np.int8)  # into each row, and out of the last
    steps[1:-1] = up.astype(np.int8) - down
    steps[1:-1] *= (before > 0) & (after > 0)
    steps[starts] = 0
    into, out = steps[:-1], steps[1:]
    last = np.zeros(len(close), dtype=bool)
    last[np.append(starts[1:], len(close)) - 1] = True
    return (into * out == -1) | (last & (into != 0))


def _volume_as_price(
    adjusted: npt.NDArray[np.float64],
    close: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    starts: npt.NDArray[np.int64],
) -> Mask:
    """The rows whose Adj Close is far above any price, and another multiple of Close than the day before.

    After many reverse splits Adj Close is far above any price too, but then the multiple stays.
    """
    with np.errstate(over="ignore"):
        found = adjusted > _VOLUME_AS_PRICE * high
    if found.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            multiple = np.log(adjusted / close)
            steps = np.abs(np.diff(multiple, prepend=np.nan)) > 0.2
        steps[starts[starts + 1 < len(steps)]] = steps[starts[starts + 1 < len(steps)] + 1]
        found &= steps
    return found
