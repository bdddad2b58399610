"""Each symbol's recent days, in one small file: what the dashboard fills its form with and draws.

The features dataset holds every row of every symbol; opening a page must not read it. A run writes the last `DAYS` rows of each
symbol to one file (11 MB for 8,000 symbols), of which a symbol's days are read when it is picked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.features.definitions import INPUTS
from lib.files import write_atomically
from lib.storage import arrays
from lib.text import printable

DAYS = 60  # recent trading days kept of each symbol
COLUMNS = ["Symbol", "Security Name", "Date", "Volume", *INPUTS]


@dataclass(frozen=True)
class RecentDays:
    """The recent days of one symbol, the latest last.

    Parameters
    ----------
    symbol, security_name : str
        The name is empty where the metadata has none.
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


def write_recent_days(tables: Iterable, path: Path, window: int, min_periods: int | None = None) -> int:
    """Write the file that `Symbols` reads; a run calls it once its features are complete.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        The features dataset's parts, with at least `COLUMNS`: ``dataset.tables(COLUMNS)``. Rows sorted by symbol and date;
        a symbol in one part only.
    path : pathlib.Path
        The file to write, ``StudyPaths(study).symbols``.
    window, min_periods : int
        What both features were made with: see `lib.features.windows.rolling_features`.

    Returns
    -------
    int
        Symbols written: those whose latest row has both features.
    """
    names: list[tuple[str, str]] = []
    counts = [np.empty(0, dtype="int64")]
    columns = [[np.empty(0, dtype)] for dtype in ("datetime64[D]", "int64", "float64", "float64")]
    for table in tables:
        if not table.num_rows:
            continue
        column = {name: table.column(name) for name in COLUMNS}
        symbol = column["Symbol"].to_numpy()
        ends = np.append(np.flatnonzero(symbol[1:] != symbol[:-1]) + 1, len(symbol))
        starts = np.append(0, ends[:-1])
        complete = ~np.any([np.isnan(column[name].to_numpy()[ends - 1]) for name in INPUTS], axis=0)
        starts, ends = starts[complete], ends[complete]
        # On one line, whatever the metadata has: tabs and newlines separate the names in the file.
        called = [
            printable(" ".join((name or "").split())) for name in column["Security Name"].take(starts).to_pylist()
        ]
        names += zip(symbol[starts].tolist(), called, strict=True)
        days = np.minimum(ends - starts, DAYS)
        counts.append(days)
        rows = np.repeat(ends - np.cumsum(days), days) + np.arange(days.sum())
        for found, name in zip(columns, COLUMNS[2:], strict=True):
            found.append(column[name].to_numpy()[rows].astype(found[0].dtype))
    date, volume, *inputs = map(np.concatenate, columns)
    content = {
        "symbols": arrays.text_to_array("\n".join("\t".join(pair) for pair in names)),
        "end": np.cumsum(np.concatenate(counts)),
        "window": np.array([window, window if min_periods is None else min_periods], dtype="int64"),
        "date": date.astype("int64"),  # days since 1970
        "volume": volume,
        **dict(zip(INPUTS, inputs, strict=True)),
    }
    write_atomically(path, arrays.to_bytes(content))
    return len(names)


class Symbols:
    """The symbols of a study, by name, with their recent days.

    Parameters
    ----------
    path : pathlib.Path
        What `write_recent_days` wrote. Where it is missing, or damaged, there are no symbols.

    Attributes
    ----------
    window : tuple of int
        The rows of a window, and how many of them it must hold; empty when the file does not say.
    last_date : str
        The latest day of any symbol, YYYY-MM-DD; empty when there is none.
    damage : str
        What is wrong with the file; empty when nothing is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.names: dict[str, str] = {}
        self.window: tuple[int, ...] = ()
        self.last_date = self.damage = ""
        if path.exists():
            try:
                with arrays.opened(path) as read:
                    names, window, dates, ends = (_names(read("symbols")), *map(read, ("window", "date", "end")))
                    last_date = str(dates.max().astype("datetime64[D]")) if len(dates) else ""
                _check_lengths(names, window, dates, ends)
            except (OSError, ValueError, TypeError) as error:
                self.damage = str(error).replace(str(path), path.name)
            else:
                self.names, self.window, self.last_date = names, tuple(window.tolist()), last_date

    def recent(self, symbol: str) -> RecentDays:
        """The recent days of a symbol.

        Raises
        ------
        KeyError
            The study doesn't have the symbol, or has it no longer.
        """
        with arrays.opened(self._path) as read:
            names = _names(read("symbols"))  # as they are now: a run may have replaced the file since then
            index = {name: number for number, name in enumerate(names)}[symbol]
            ends = [0, *read("end").tolist()]
            days = slice(ends[index], ends[index + 1])
            return RecentDays(
                symbol,
                names[symbol],
                read("date", days).astype("datetime64[D]"),
                read("volume", days),
                *(read(name, days) for name in INPUTS),
            )


def mismatch(symbols: Symbols, information: Mapping[str, Any], study: str) -> str:
    """Why the model must not, or cannot, be asked with a symbol's features; empty when it may.

    Parameters
    ----------
    information : mapping
        The model's, as `lib.models.store.describe` makes it: ``window`` and ``min_periods``. What it does not say is not compared.
    study : str
        Whose they are.
    """
    if symbols.damage:
        return f"The file of the symbols is damaged ({symbols.damage}): no symbol can be picked. Make it again with: bash run_all.sh {study}"
    theirs = information.get("window"), information.get("min_periods")
    if all(own == their for own, their in zip(symbols.window, theirs, strict=False) if their is not None):
        return ""
    (days, least), (model_days, model_least) = symbols.window, theirs
    least_shown = f", {least} of them at least," if days == model_days else ""
    model_least_shown = f", {model_least} at least" if days == model_days else ""
    return (
        f"The symbols' averages and medians, up to {symbols.last_date}, are over {days} trading days{least_shown} and the model was "
        f"trained on {model_days}{model_least_shown}: no symbol can be picked until both come from the same run. "
        f"Run the study again: bash run_all.sh {study}"
    )


def _check_lengths(names: Mapping[str, str], window: NDArray[Any], dates: NDArray[Any], ends: NDArray[Any]) -> None:
    """A ValueError where the arrays are not of each other."""
    found = {"window": (window, 2), "end": (ends, len(names)), "date": (dates, int(ends[-1]) if ends.size else 0)}
    for name, (values, length) in found.items():
        if values.dtype != np.int64 or values.shape != (length,):
            raise ValueError(
                f"{name} is {values.dtype} of shape {values.shape}; int64 of shape ({length},) is expected"
            )
    if (np.diff(ends, prepend=0) < 1).any():
        raise ValueError("end does not ascend")


def _names(text: NDArray[np.uint8]) -> dict[str, str]:
    """Security names by symbol, in the order of their days."""
    return dict(line.split("\t") for line in arrays.array_to_text(text).split("\n") if line)
