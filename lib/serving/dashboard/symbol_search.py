"""Find a symbol by what a person types: its ticker, or a part of its name. Pure Python."""

from __future__ import annotations

from collections.abc import Mapping

from lib.serving.letter_case import LetterCases

SEPARATOR = " · "  # between a ticker and a security name, in lists


def label(symbol: str, name: str) -> str:
    """How a symbol is listed.

    Examples
    --------
    >>> label("AAPL", "Apple Inc."), label("ZED", "")
    ('AAPL · Apple Inc.', 'ZED')
    """
    return f"{symbol}{SEPARATOR}{name}" if name else symbol


def exact(names: Mapping[str, str], text: str) -> str | None:
    """The symbol whose ticker, or entry of a list, ``text`` is; in any letter case where that leaves one, and None without one.

    Examples
    --------
    >>> names = {"AAPL": "Apple Inc.", "aapl": "Another", "BRKb": "Berkshire"}
    >>> exact(names, "aapl"), exact(names, "AAPL · Apple Inc."), exact(names, "BRKB"), exact(names, "Aapl"), exact(names, "apple")
    ('aapl', 'AAPL', 'BRKb', None, None)
    """
    # A symbol may have spaces around it, or the separator in it.
    tickers = [text, text.rpartition(SEPARATOR)[0], text.partition(SEPARATOR)[0]]
    candidates = [form for ticker in tickers for form in (ticker, ticker.strip())]
    if found := next((each for each in candidates if each in names), None):
        return found
    symbols = LetterCases(names)
    return next((meant[0] for each in candidates if len(meant := symbols.meant(each)) == 1), None)


def matches(names: Mapping[str, str], text: str) -> list[str]:
    """The symbols whose ticker or security name contains ``text``, in any case; the one whose ticker it is, alone.

    Examples
    --------
    >>> names = {"AAPL": "Apple Inc.", "APLE": "Apple Hospitality", "MSFT": "Microsoft"}
    >>> matches(names, "apple"), matches(names, "micro"), matches(names, "aapl"), matches(names, "")
    (['AAPL', 'APLE'], ['MSFT'], ['AAPL'], [])
    """
    wanted = " ".join(text.split()).casefold()
    if not wanted:
        return []
    found = exact(names, text)
    if found is not None:
        return [found]
    return [symbol for symbol, name in names.items() if wanted in symbol.casefold() or wanted in name.casefold()]
