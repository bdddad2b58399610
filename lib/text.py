"""How values from outside are written for people."""

from __future__ import annotations

import re
import unicodedata

_PLAIN = re.compile(r"[!-\[\]-~]+(?: [!-\[\]-~]+)*")


def printable(text: str) -> str:
    """Write a name from outside so that it is safe to show anywhere: on one line, and every character of it visible.

    Control and format characters (ANSI escapes, newlines, text direction), bytes that are not UTF-8, spaces at an end or
    in a row, and a combining mark at the start become escapes, and a backslash becomes two. So two names never become one.

    Parameters
    ----------
    text : str
        Such as a file's name, as `os.fsdecode` gives it.

    Returns
    -------
    str
        Text that UTF-8 can encode.

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
            or (character == " " and (place in (0, last) or text[place - 1] == " "))
            or (place == 0 and unicodedata.category(character).startswith("M"))
            else character
            for place, character in enumerate(text)
        )
    return text


def shortened(text: str, longest: int) -> str:
    """``text``, or its beginning and how long it is.

    Examples
    --------
    >>> shortened("AAPL", 4), shortened("ABCDEF", 4)
    ('AAPL', 'ABCD... (6 characters)')
    """
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def _escaped(character: str) -> str:
    number = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8, as os.fsdecode keeps it
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
