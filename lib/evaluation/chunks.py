"""A part of features, some whole symbols at a time, with the features of each evening and a number that decides which rows are drawn."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lib.evaluation import hashing
from lib.features import definitions, evening, windows
from lib.features.definitions import VOLUME_AVERAGE
from lib.features.sessions import Calendar
from lib.storage.dataset import StoredPart

Floats = NDArray[np.float64]

Days = NDArray[np.int32]
CHUNK = 1 << 17  # rows whose features are computed at a time


def tickets(symbols: Sequence[str], starts: NDArray[np.int64], days: Days) -> Floats:
    """A number from 0 to 1 for each row, from a hash of its symbol and date alone: draws compare it with a share."""
    counts = np.diff(np.append(starts, len(days)))
    return hashing.uniform(np.repeat(hashing.symbol_seeds(symbols), counts), days)


@dataclass(frozen=True)
class Chunk:
    """Some whole symbols of a part, or the last rows of each.

    Parameters
    ----------
    starts : ndarray of int64
        The row at which each symbol starts.
    skipped : ndarray of int64, shape (rows,)
        Rows of the symbol that were left out before.
    """

    symbols: list[str]
    starts: NDArray[np.int64]
    skipped: NDArray[np.int64]
    table: pa.Table

    @functools.cached_property
    def days(self) -> Days:
        """Of each row, days since 1970."""
        return self.table["Date"].combine_chunks().cast(pa.int32()).to_numpy()

    @functools.cached_property
    def volume(self) -> NDArray[np.int64]:
        """Of each row, in shares."""
        return np.maximum(self.table["Volume"].to_numpy(), 0)

    @functools.cached_property
    def tickets(self) -> Floats:
        """The number that decides whether a row is drawn, see `tickets`."""
        return tickets(self.symbols, self.starts, self.days)

    @functools.cached_property
    def left(self) -> NDArray[np.int64]:
        """Rows of the symbol after each row."""
        ends = np.append(self.starts[1:], len(self.days))
        return np.repeat(ends, ends - self.starts) - 1 - np.arange(len(self.days))

    def evenings(self, calendar: Calendar) -> evening.Evenings:
        """What is known on the evening of each row."""
        columns = {name: self.table[name].to_numpy() for name in definitions.COLUMNS}
        return evening.evenings(columns, self.starts, self.days, calendar)

    def traded(self, rows: NDArray[np.int64], horizon: int) -> Floats:
        """Mean Volume over the ``horizon`` rows after each of ``rows``; NaN where the symbol ends before."""
        total = np.append(0, np.cumsum(self.volume))
        whole = self.left[rows] >= horizon
        end = np.where(whole, rows + 1 + horizon, 0)
        return np.where(whole, (total[end] - total[np.where(whole, rows + 1, 0)]) / horizon, np.nan)


def chunks(part: StoredPart, since: int | None = None) -> Iterator[Chunk]:
    """A part's symbols, some at a time; ``since``: without rows that only tell of evenings before that day."""
    columns = ["Symbol", "Security Name", "Date", *definitions.COLUMNS, VOLUME_AVERAGE.name]
    table = part.table(columns, dictionaries=("Symbol", "Security Name"))
    if not table.num_rows:
        return
    starts = windows.symbol_starts(table["Symbol"])
    ends = np.append(starts[1:], table.num_rows)
    names = table["Symbol"].take(starts).to_pylist()
    begins = starts
    if since is not None:
        days = table["Date"].combine_chunks().cast(pa.int32()).to_numpy()
        late = np.append(0, np.cumsum(days >= since))
        recent = np.maximum(late[ends] - late[starts], 1)  # at least the last row, for the forecasts
        begins = np.maximum(starts, ends - recent - definitions.LONGEST)
    first = 0
    while first < len(starts):
        sizes = np.cumsum(ends[first:] - begins[first:])
        end = first + max(1, int(np.searchsorted(sizes, CHUNK, side="right")))
        counts = (ends - begins)[first:end]
        kept = np.append(0, np.cumsum(counts)[:-1])
        some = table.slice(starts[first], ends[end - 1] - starts[first])
        if (begins[first:end] > starts[first:end]).any():
            rows = np.repeat(begins[first:end] - starts[first] - kept, counts) + np.arange(counts.sum())
            some = some.take(rows)
        yield Chunk(names[first:end], kept, np.repeat((begins - starts)[first:end], counts), some.combine_chunks())
        first = end
