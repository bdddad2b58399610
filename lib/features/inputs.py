"""The two inputs of a prediction, as programs write them and as people do."""

from __future__ import annotations

import math
import re

from lib.text import DECIMAL

MAX_CHARACTERS = 64  # of one number; no number needs more
TAKEN = "12345, 3,226,530, 5M, $25 or 1.2e6"  # what `written_number` takes, in the words of its messages

_FACTORS = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "bn": 1e9, "t": 1e12, "tn": 1e12}
_SPACES = "  \N{NO-BREAK SPACE}\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}\N{FIGURE SPACE}"
_MARKS = {".": "point", ",": "comma"}
# Groups of three, all with the same mark between; the decimal mark and the groups' marks depend on the country.
_WRITTEN = {
    decimal: re.compile(
        rf"[$€£]?[{_SPACES}]?(?P<sign>[+-]?)[$€£]?[{_SPACES}]?"
        rf"(?P<whole>\d{{1,3}}(?:(?P<mark>[{group}{_SPACES}'’])\d{{3}})(?:(?P=mark)\d{{3}})*|\d*)"
        rf"(?:{re.escape(decimal)}(?P<part>\d*))?(?P<power>[eE][+-]?\d+)?[{_SPACES}]?(?P<unit>k|m|bn?|tn?|)"
        rf"[{_SPACES}]?(?:shares|[$€£])?",
        re.ASCII | re.IGNORECASE,
    )
    for decimal, group in ((".", ","), (",", "."))
}


class InputError(ValueError):
    """Text that is not a number an input can be; ``str()`` says it in full, ``kind`` is a short name of it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def number(name: str, text: str) -> float:
    """The finite number that a program wrote: a decimal, nothing else, or an `InputError` that calls it ``name``.

    Examples
    --------
    >>> number("vol_moving_avg", "1.5e3")
    1500.0
    >>> number("vol_moving_avg", "1,500")
    Traceback (most recent call last):
    lib.features.inputs.InputError: vol_moving_avg must be a decimal number, such as 12345 or 25.5
    """
    _check_length(name, text, "12345 or 25.5")
    if not DECIMAL.fullmatch(text):
        raise InputError("not_a_number", f"{name} must be a decimal number, such as 12345 or 25.5")
    return _finite(name, float(text))


def written_number(name: str, text: str, decimal: str = ".") -> float:
    """The finite number that a person wrote: grouped, abbreviated or with a currency sign, as this project's own pages print numbers.

    Parameters
    ----------
    decimal : {".", ","}
        The decimal mark. The other one, spaces and apostrophes may stand between groups of three digits.

    Examples
    --------
    >>> [written_number("volume", text) for text in ("3,226,530", "5M", "$25", "1.2e6", "3 226 530")]
    [3226530.0, 5000000.0, 25.0, 1200000.0, 3226530.0]
    >>> written_number("price", "1.234,5", decimal=",")
    1234.5
    """
    text = text.strip()
    _check_length(name, text, TAKEN)
    found = _WRITTEN[decimal].fullmatch(text)
    whole, part = (re.sub(r"\D", "", found[group] or "") for group in ("whole", "part")) if found else ("", "")
    if not found or not whole + part or (found["power"] and found["unit"]):
        other = "," if decimal == "." else "."
        marks = f"; a {_MARKS[decimal]} stands before decimals" if other in text else ""
        raise InputError("not_a_number", f"{name} must be a number, such as {TAKEN}{marks}")
    value = float(f"{found['sign']}{whole or 0}.{part or 0}{found['power'] or ''}")
    return _finite(name, value * _FACTORS[found["unit"].lower()])


def _check_length(name: str, text: str, examples: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise InputError("too_long", f"{name} has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    if not text:
        raise InputError("empty", f"{name} is empty; a number is needed, such as {examples}")


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise InputError("not_finite", f"{name} is too large for a floating-point number")
    return value
