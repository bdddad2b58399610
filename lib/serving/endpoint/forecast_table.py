"""A study's forecasts, as the server answers them: ready to send, and looked up by symbol.

NumPy and the standard library alone: the endpoint starts in a fraction of a second.
"""

from __future__ import annotations

import csv
import io
import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.evaluation.forecast_file import COLUMNS, KEYS, read
from lib.features.definitions import VOLUME_AVERAGE
from lib.serving.letter_case import LetterCases
from lib.text import csv_cell

# Equal for all horizons of a symbol.
OF_SYMBOL = ("symbol", "security_name", "as_of", "stale", "judged", VOLUME_AVERAGE.name)
NEAREST = 5  # symbols that an error names


class UnknownSymbolError(LookupError):
    """A symbol without a forecast; ``str()`` names the nearest ones that have one."""

    def __init__(self, symbol: str, nearest: list[str]) -> None:
        hint = f"; the nearest are {', '.join(nearest)}" if nearest else ""
        super().__init__(f"there is no forecast of this symbol{hint}")
        self.symbol = symbol


class ForecastTable:
    """Forecasts, one row a symbol and horizon.

    Parameters
    ----------
    rows : sequence of dict
        Each with the keys `KEYS`, in the order to be listed; ``ratio`` may be None, where the average is 0.

    Examples
    --------
    >>> same = {"symbol": "ONE", "security_name": "One, Inc.", "as_of": "2013-03-01", "stale": False, "judged": True, "vol_moving_avg": 1000.0}
    >>> week = {"for_from": "2013-03-04", "for_to": "2013-03-08", "horizon": 5, "forecast": 950, "low": 700, "high": 1200}
    >>> table = ForecastTable([{**same, **week, "ratio": 0.95}])
    >>> json.loads(table.of("ONE"))["forecasts"][0]["forecast"]
    950
    >>> table.of("one") == table.of("ONE")
    True
    >>> table.of("OEN")
    Traceback (most recent call last):
    lib.serving.endpoint.forecast_table.UnknownSymbolError: there is no forecast of this symbol; the nearest are ONE
    """

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.horizons = sorted({row["horizon"] for row in rows})
        self._horizon = np.array([row["horizon"] for row in rows], dtype=np.int64)
        self._ratio = np.array([math.nan if row["ratio"] is None else row["ratio"] for row in rows], dtype=np.float64)
        self._json = [json.dumps({key: row[key] for key in KEYS}, separators=(",", ":")).encode() for row in rows]
        self._csv = [_csv_line([row[key] for key in KEYS]) for row in rows]
        self._rows: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            self._rows.setdefault(row["symbol"], []).append(index)
        self._symbols = sorted(self._rows)
        self._letter_cases = LetterCases(self._symbols)
        self._of = {symbol: _one_symbol([rows[index] for index in found]) for symbol, found in self._rows.items()}

    @classmethod
    def load(cls, path: Path) -> ForecastTable:
        """The table of a study's ``forecasts.csv``; raises as `lib.evaluation.forecast_file.read` does."""
        return cls(read(path))

    def of(self, symbol: str, horizon: int | None = None) -> bytes:
        """JSON of one symbol's forecasts, or of the one for ``horizon``; raises `UnknownSymbolError`.

        The symbol may be in any letter case, where that leaves one.
        """
        found = self._of.get(symbol) or self._of[self._meant(symbol)]
        if horizon is not None and horizon not in found:
            raise UnknownSymbolError(symbol, nearest(symbol, self._symbols))
        return found[horizon]

    def _meant(self, symbol: str) -> str:
        """The symbol that a name means which may be in another letter case."""
        meant = self._letter_cases.meant(symbol)
        if len(meant) != 1:
            raise UnknownSymbolError(symbol, meant[:NEAREST] or nearest(symbol, self._symbols))
        return meant[0]

    def select(
        self,
        symbols: Iterable[str] | None = None,
        horizon: int | None = None,
        min_ratio: float | None = None,
        max_ratio: float | None = None,
    ) -> NDArray[np.intp]:
        """The positions of the rows that pass every filter given, in the table's order.

        The symbols may be in any letter case, where that leaves one of each.
        """
        kept = np.ones(len(self._json), dtype=bool)
        if symbols is not None:
            kept[:] = False
            for symbol in symbols:
                kept[self._rows.get(symbol) or self._rows[self._meant(symbol)]] = True
        if horizon is not None:
            kept &= self._horizon == horizon
        if min_ratio is not None:
            kept &= self._ratio >= min_ratio
        if max_ratio is not None:
            kept &= self._ratio <= max_ratio
        return np.flatnonzero(kept)

    def json(self, rows: NDArray[np.intp]) -> bytes:
        """A JSON list of the rows at these positions."""
        return b"[" + b",\n".join([self._json[row] for row in rows.tolist()]) + b"]"

    def csv(self, rows: NDArray[np.intp]) -> bytes:
        """CSV text of the rows at these positions, a header first. A text that a spreadsheet would take for a formula is quoted with ``'``."""
        return _csv_line(COLUMNS) + b"".join([self._csv[row] for row in rows.tolist()])


def nearest(symbol: str, known: Sequence[str]) -> list[str]:
    """Up to `NEAREST` of the symbols ``known``, which ascend, that ``symbol`` may stand for: in other letter case, one typing error away, or longer."""
    wanted = symbol.upper()[:16]  # looking at every symbol would let wrong ones stop the server
    starts = {candidate: bisect_left(known, candidate) for candidate in [wanted, *_one_edit(wanted)]}
    found = [candidate for candidate, start in starts.items() if known[start : start + 1] == [candidate]]
    start = starts[wanted]
    found += [name for name in known[start : start + NEAREST] if wanted and name.startswith(wanted)]
    return list(dict.fromkeys(found))[:NEAREST]


def _one_edit(text: str) -> Iterable[str]:
    """Every text that one exchange of neighbours, change, deletion or insertion makes of ``text`` (Damerau, 1964)."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-."
    for index in range(len(text) - 1):
        yield text[:index] + text[index + 1] + text[index] + text[index + 2 :]
    for index in range(len(text)):
        yield text[:index] + text[index + 1 :]
        yield from (text[:index] + letter + text[index + 1 :] for letter in letters)
    for index in range(len(text) + 1):
        yield from (text[:index] + letter + text[index:] for letter in letters)


def _one_symbol(rows: list[dict[str, Any]]) -> dict[int | None, bytes]:
    """JSON of a symbol's forecasts by horizon, and of all of them under None."""
    same = {key: rows[0][key] for key in OF_SYMBOL}
    each = {row["horizon"]: {key: row[key] for key in KEYS if key not in OF_SYMBOL} for row in rows}
    found: dict[int | None, bytes] = {
        horizon: json.dumps({**same, "forecasts": [one]}).encode() for horizon, one in each.items()
    }
    found[None] = json.dumps({**same, "forecasts": list(each.values())}).encode()
    return found


def _csv_line(values: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(
        "true" if value is True else "false" if value is False else csv_cell(value) for value in values
    )
    return text.getvalue().encode()
