"""Each symbol's recent days, in one small file: what the dashboard fills its form with and draws.

The features dataset holds every row of every symbol; opening a page must not read it. A run writes the last `DAYS` rows of each
symbol to one NumPy archive (11 MB for 8,000 symbols), whose arrays are read only when a symbol is picked.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.files import write_atomically
from lib.text import printable

DAYS = 60  # recent trading days kept of each symbol
COLUMNS = ["Symbol", "Security Name", "Date", "Volume", "vol_moving_avg", "adj_close_rolling_med"]


@dataclass(frozen=True)
class RecentDays:
    """The recent days of one symbol, the latest last.

    Parameters
    ----------
    symbol, security_name : str
        The name is empty where the metadata has none.
    dates : ndarray of datetime64[D], shape (days,)
    volume : ndarray of int64, shape (days,)
        Shares.
    vol_moving_avg : ndarray of float64, shape (days,)
        Shares a day; NaN in a symbol's first days.
    adj_close_rolling_med : ndarray of float64, shape (days,)
        Dollars; NaN in a symbol's first days.
    """

    symbol: str
    security_name: str
    dates: NDArray[np.datetime64]
    volume: NDArray[np.int64]
    vol_moving_avg: NDArray[np.float64]
    adj_close_rolling_med: NDArray[np.float64]


def write_recent_days(tables: Iterable, path: Path) -> int:
    """Write the file that `Symbols` reads; a run calls it once its features are complete.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        The features dataset's parts, with at least `COLUMNS`: ``dataset.tables(COLUMNS)``. Rows sorted by symbol and date;
        a symbol in one part only.
    path : pathlib.Path
        The file to write, ``StudyPaths(study).symbols``.

    Returns
    -------
    int
        Symbols written: those whose latest row has both features.
    """
    names: list[tuple[str, str]] = []
    days: list[tuple[np.ndarray, ...]] = []
    for table in tables:
        if not table.num_rows:
            continue
        column = {name: table.column(name) for name in COLUMNS}
        symbol = column["Symbol"].to_numpy()
        ends = np.append(np.flatnonzero(symbol[1:] != symbol[:-1]) + 1, len(symbol))
        starts = np.append(0, ends[:-1])
        date = column["Date"].to_numpy().astype("datetime64[D]")
        values = [column[name].to_numpy() for name in COLUMNS[3:]]
        for start, end in zip(starts, ends, strict=True):
            if np.isnan(values[1][end - 1]) or np.isnan(values[2][end - 1]):
                continue
            recent = slice(max(start, end - DAYS), end)
            # On one line, whatever the metadata has: tabs and newlines separate the names in the file.
            security_name = printable(" ".join((column["Security Name"][start].as_py() or "").split()))
            names.append((symbol[start], security_name))
            days.append((date[recent], *(value[recent] for value in values)))
    counts = np.array([len(dates) for dates, *_ in days], dtype="int64")
    columns = [np.concatenate(column) for column in zip(*days, strict=True)] if days else [np.empty(0)] * 4
    buffer = io.BytesIO()
    np.savez(
        buffer,
        symbols=np.frombuffer("\n".join("\t".join(pair) for pair in names).encode(), dtype="uint8"),
        end=np.cumsum(counts),
        date=columns[0].astype("datetime64[D]"),
        volume=columns[1].astype("int64"),
        vol_moving_avg=columns[2].astype("float64"),
        adj_close_rolling_med=columns[3].astype("float64"),
    )
    write_atomically(path, buffer.getvalue())
    return len(names)


class Symbols:
    """The symbols of a study, by name, with their recent days.

    Parameters
    ----------
    path : pathlib.Path
        What `write_recent_days` wrote. Where it is missing there are no symbols.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.names: dict[str, str] = {}
        if path.exists():
            with np.load(path) as stored:
                self.names = _names(stored)

    def recent(self, symbol: str) -> RecentDays:
        """The recent days of a symbol.

        Parameters
        ----------
        symbol : str

        Returns
        -------
        RecentDays

        Raises
        ------
        KeyError
            The study doesn't have the symbol, or has it no longer.
        """
        with np.load(self._path) as stored:
            names = _names(stored)  # as they are now: a run may have replaced the file since this object was made
            place = {name: number for number, name in enumerate(names)}[symbol]
            end = stored["end"]
            days = slice(int(end[place - 1]) if place else 0, int(end[place]))
            return RecentDays(
                symbol,
                names[symbol],
                stored["date"][days],
                stored["volume"][days],
                stored["vol_moving_avg"][days],
                stored["adj_close_rolling_med"][days],
            )


def _names(stored: Mapping[str, Any]) -> dict[str, str]:
    """Security names by symbol, in the order of their days."""
    lines = stored["symbols"].tobytes().decode().split("\n")
    return dict(line.split("\t") for line in lines if line)
