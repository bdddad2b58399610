"""A symbol in whatever letter case a person types it. Pure Python: the endpoint and every visitor's process import it."""

from __future__ import annotations

from collections.abc import Iterable


class LetterCases:
    """Symbols, to be found in any letter case.

    Examples
    --------
    >>> symbols = LetterCases(["AAPL", "BRKa", "BRKA"])
    >>> symbols.meant("aapl"), symbols.meant("BRKa"), symbols.meant("brka"), symbols.meant("IBM")
    (['AAPL'], ['BRKa'], ['BRKa', 'BRKA'], [])
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        self._alike: dict[str, list[str]] = {}
        for symbol in symbols:
            self._alike.setdefault(symbol.casefold(), []).append(symbol)

    def meant(self, given: str) -> list[str]:
        """The symbol that is called exactly so, alone; or else all that differ from ``given`` in letter case only."""
        alike = self._alike.get(given.casefold(), [])
        return [given] if given in alike else alike
