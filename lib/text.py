"""How values are written for people, and what a written decimal number is. Pure Python: anything may import it."""

from __future__ import annotations

import datetime
import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# ASCII decimals, as JSON and CSV write them: float() would also take "1_000", "infinity" and other scripts' digits.
DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

_UNITS = ((1e12, "tn"), (1e9, "bn"), (1e6, "M"), (1e3, "k"))
# What a spreadsheet may run: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_PLAIN = re.compile(r"[!-\[\]-~]+(?: [!-\[\]-~]+)*")
_DIGEST = re.compile(r"[0-9a-f]{40,64}")


def as_text(value: Any) -> str:
    """A value as readers like it: thousands grouped, four significant digits, ISO dates, a dash for none.

    Examples
    --------
    >>> as_text(12154), as_text(3.14159), as_text(1234567.8), as_text(None), as_text(datetime.date(2000, 3, 1))
    ('12,154', '3.142', '1,234,568', '–', '2000-03-01')
    """
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()  # NumPy's own types are not all numbers to `numbers`
    if value is None or (value != value) is not False:  # not itself: NaN, and pandas' NaT and NA
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)


def column_as_text(values: Sequence[Any]) -> list[str]:
    """Each value `as_text`; floats of like size with the same number of decimals, so that the points align.

    Examples
    --------
    >>> column_as_text([0.5, 0.25, 1.0])
    ['0.5000', '0.2500', '1.0000']
    """
    sizes = [abs(value) for value in values if isinstance(value, float) and math.isfinite(value) and value]
    if len(sizes) < 2 or max(sizes) > 1000 * min(sizes):
        return [as_text(value) for value in values]
    size = min(sizes) if max(sizes) < 10 * min(sizes) else max(sizes)
    decimals = max(0, 3 - math.floor(math.log10(size)))
    return [
        f"{value:,.{decimals}f}" if isinstance(value, float) and math.isfinite(value) else as_text(value)
        for value in values
    ]


def short(value: float) -> str:
    """A count in three digits and a unit.

    Examples
    --------
    >>> [short(value) for value in (950, 12345, 3864436, 999999, 2.1e9)]
    ['950', '12.3 k', '3.86 M', '1 M', '2.1 bn']
    """
    value = float(f"{value:.3g}")  # rounded first: 999,999 is a million, not "1e+03 k"
    for factor, unit in _UNITS:
        if abs(value) >= factor:
            scaled = value / factor
            return f"{scaled:.3g} {unit}" if abs(scaled) < 1000 else f"{scaled:,.0f} {unit}"
    return f"{value:.3g}"


def plain_number(value: float) -> str:
    """A number as one would type it: two decimals where they matter.

    Examples
    --------
    >>> plain_number(3864436.6666), plain_number(25.0), plain_number(0.01234)
    ('3864436.67', '25', '0.01234')
    """
    written = f"{value:.2f}" if abs(value) >= 1 else f"{value:.6f}"
    return written.rstrip("0").rstrip(".")


def percent(share: float) -> str:
    """A share as a percentage that does not round something to nothing.

    Examples
    --------
    >>> percent(0.5), percent(0.0123), percent(1e-7), percent(0)
    ('50%', '1.2%', 'under 0.001%', '0%')
    """
    value = 100 * share
    if value == 0 or value >= 10:
        return f"{value:.0f}%"
    return "under 0.001%" if value < 0.001 else f"{value:.2g}%"


def file_size(size: int) -> str:
    """A number of bytes.

    Examples
    --------
    >>> file_size(2_500), file_size(12_500_000)
    ('2.4 KiB', '11.9 MiB')
    """
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"


def day(date: datetime.date) -> str:
    """A date in words, whatever the machine's language.

    Examples
    --------
    >>> day(datetime.date(2013, 3, 5))
    'Tuesday 5 March 2013'
    """
    return f"{_WEEKDAYS[date.weekday()]} {date.day} {_MONTHS[date.month - 1]} {date.year}"


def days(first: datetime.date, last: datetime.date) -> str:
    """A range of dates in words, without what both ends share.

    Examples
    --------
    >>> days(datetime.date(2013, 3, 5), datetime.date(2013, 3, 11))
    '5 to 11 March 2013'
    >>> days(datetime.date(2012, 12, 28), datetime.date(2013, 1, 3))
    '28 December 2012 to 3 January 2013'
    """
    start = str(first.day)
    if (first.year, first.month) != (last.year, last.month):
        start += f" {_MONTHS[first.month - 1]}" + (f" {first.year}" if first.year != last.year else "")
    return f"{start} to {last.day} {_MONTHS[last.month - 1]} {last.year}"


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


def short_digest(value: Any, digits: int = 12) -> Any:
    """A digest by its first digits; anything else as it is.

    Examples
    --------
    >>> short_digest("0123456789abcdef" * 4), short_digest("a name"), short_digest(3)
    ('0123456789ab', 'a name', 3)
    """
    return value[:digits] if isinstance(value, str) and _DIGEST.fullmatch(value) else value


def printable(text: str) -> str:
    """Write a name from outside so that it is safe to show anywhere: on one line, every character of it visible, and encodable as UTF-8.

    Control and format characters (ANSI escapes, newlines, text direction), bytes that are not UTF-8, spaces at an end or
    in a row, and a combining mark at the start become escapes, and a backslash becomes two. So two names never become one.

    Examples
    --------
    >>> printable("stocks/LGF.B.csv"), printable("a\\tb\\x1b[31m"), printable("caf\\udce9"), printable(" a")
    ('stocks/LGF.B.csv', 'a\\\\x09b\\\\x1b[31m', 'caf\\\\xe9', '\\\\x20a')
    """
    if not _PLAIN.fullmatch(text):
        last = len(text) - 1
        text = "".join(
            _escaped(character)
            if character == "\\"
            or not character.isprintable()
            or (character == " " and (index in (0, last) or text[index - 1] == " "))
            or (index == 0 and unicodedata.category(character).startswith("M"))
            else character
            for index, character in enumerate(text)
        )
    return text


def visible(text: str) -> str:
    """A message with its control and format characters as escapes; newlines and backslashes stay as they are.

    Examples
    --------
    >>> visible("found: Da\\x1b[31mte\\nnext line")
    'found: Da\\\\x1b[31mte\\nnext line'
    """
    return "".join(
        character if character == "\n" or character.isprintable() else _escaped(character) for character in text
    )


def shortened(value: str, longest: int) -> str:
    """A text's beginning, with its length where that is not all of it.

    Examples
    --------
    >>> shortened("abcdef", 3)
    'abc... (6 characters)'
    """
    return value if len(value) <= longest else f"{value[:longest]}... ({len(value)} characters)"


def near(given: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The names that ``given`` may stand for, with a typing error or in another letter case; the nearest first.

    Examples
    --------
    >>> near("Dat", ["Symbol", "Date"]), near("ibm", ["AAPL", "IBM"]), near("qqq", ["Symbol", "Date"])
    (['Date'], ['IBM'], [])
    """
    names: dict[str, list[str]] = {}
    for name in known:
        names.setdefault(name.casefold(), []).append(name)
    close = difflib.get_close_matches(given.casefold(), names, n=most)
    return [name for each in close for name in names[each]][:most]


def did_you_mean(names: Sequence[str]) -> str:
    """The end of a message about an unknown name, which asks for the ones that are `near`; empty without any.

    Examples
    --------
    >>> did_you_mean(["Date"]), did_you_mean(["mine", "mind", "line"]), did_you_mean([])
    ("; did you mean 'Date'?", "; did you mean 'mine', 'mind' or 'line'?", '')
    """
    *others, last = [repr(name) for name in names] or [""]
    return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?" if names else ""


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file for people, who open it in a spreadsheet: a text is not run there as a formula, a number stays one.

    Examples
    --------
    >>> csv_cell("=1+1"), csv_cell("-5.2"), csv_cell(-3), csv_cell("AAPL"), csv_cell("-5+cmd|' /C calc'!A0")
    ("'=1+1", '-5.2', -3, 'AAPL', "'-5+cmd|' /C calc'!A0")
    """
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS) and not DECIMAL.fullmatch(value):
        return f"'{value}"
    return value


def flattened(nested: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """The values of nested mappings by the joined keys that lead to them.

    Examples
    --------
    >>> flattened({"train": {"model": "grid", "seed": 1}, "name": "sample"})
    {'train.model': 'grid', 'train.seed': 1, 'name': 'sample'}
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}{separator}{inner}": each for inner, each in flattened(value, separator).items()}
        else:
            flat[key] = value
    return flat


def _escaped(character: str) -> str:
    number = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8, as os.fsdecode keeps it
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
