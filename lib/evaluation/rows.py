"""The rows that a model is fitted on and judged on, and how they are split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lib.evaluation import hashing
from lib.features.definitions import INPUTS
from lib.models.table import Floats
from lib.storage.dataset import Dataset

Mask = NDArray[np.bool_]
COLUMNS = ["Symbol", "Date", "Volume", *INPUTS]
_AT_ONCE = 1 << 18  # rows, unless one symbol has more


class ShortPricesError(ValueError):
    """Prices of too few days: there is nothing to learn from, or nothing to judge it on."""


@dataclass(frozen=True)
class Rows:
    """What a model is fitted on or judged on, one entry a symbol and day.

    Parameters
    ----------
    symbols : list of str
        The names.
    symbol : ndarray of int32, shape (n,)
        The index in ``symbols``.
    date : ndarray of datetime64[D], shape (n,)
        The day whose Volume is predicted.
    features : ndarray of float64, shape (n, 2)
        vol_moving_avg (shares a day) and adj_close_rolling_med (dollars), of that day or of ``horizon`` trading days before.
    volume : ndarray of float64, shape (n,)
        The day's Volume, in shares: what is predicted.
    previous_volume : ndarray of float64, shape (n,)
        The Volume of the symbol's row before; its moving average where there is none.
    horizon : int
        Trading days between the features and the Volume.
    """

    symbols: list[str]
    symbol: NDArray[np.int32]
    date: NDArray[np.datetime64]
    features: Floats
    volume: Floats
    previous_volume: Floats
    horizon: int

    def __len__(self) -> int:
        return len(self.volume)

    def chosen(self, which: Mask | NDArray[np.intp] | slice) -> Rows:
        """The rows of a mask, at these positions, or of a slice."""
        columns = ("symbol", "date", "features", "volume", "previous_volume")
        return replace(self, **{name: getattr(self, name)[which] for name in columns})

    def hashed(self, purpose: str, seed: int) -> Floats:
        """A number from 0 to 1 for each row, which its symbol and date alone decide; see `lib.evaluation.hashing`."""
        return hashing.uniform(
            hashing.symbol_seeds(self.symbols, purpose, seed)[self.symbol], self.date.astype(np.int64)
        )


class Split(Protocol):
    """Which rows judge a model; the others are those that it is fitted on. It can be asked of any rows of the study."""

    name: ClassVar[str]

    def test(self, rows: Rows) -> Mask:
        """Whether each row judges."""


@dataclass(frozen=True)
class ByDate:
    """Hold out the last dates: the model is judged on days that it could not have seen."""

    name: ClassVar[str] = "chronological"
    first_test_date: np.datetime64

    def test(self, rows: Rows) -> Mask:
        """Whether each row judges."""
        return rows.date >= self.first_test_date


@dataclass(frozen=True)
class AtRandom:
    """Hold out rows at random, as published solutions do: a row's neighbours in time stay in the training, so it flatters.

    Parameters
    ----------
    most : float
        The largest hash of a row that judges, from 0 to 1.
    """

    name: ClassVar[str] = "random"
    most: float
    seed: int

    def test(self, rows: Rows) -> Mask:
        """Whether each row judges."""
        return rows.hashed("random split", self.seed) <= self.most


@dataclass(frozen=True)
class BySymbol:
    """Hold out whole symbols: can the model predict a symbol that it never saw?"""

    name: ClassVar[str] = "symbol"
    held: frozenset[str]

    def test(self, rows: Rows) -> Mask:
        """Whether each row judges."""
        return np.array([symbol in self.held for symbol in rows.symbols], dtype=bool)[rows.symbol]


def part_rows(table: pa.Table, horizon: int) -> Rows:
    """The rows of one part of the features.

    Parameters
    ----------
    table : pyarrow.Table
        `COLUMNS`, sorted by Symbol and Date.
    horizon : int
        0: a day's Volume beside the features of that day, whose average contains it. 1: beside the features of the
        symbol's row before, which are known the evening before.

    Returns
    -------
    Rows
        Without the rows whose features are null (a symbol's first window - 1).
    """
    column = table["Symbol"].combine_chunks()
    names = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    symbol = names.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    volume = table["Volume"].to_numpy().astype(np.float64)
    average, median = (table[name].to_numpy() for name in INPUTS)
    later = symbol[horizon:] == symbol[: len(symbol) - horizon]  # whether it has a row so many rows before
    rows = np.flatnonzero(later & ~np.isnan(average[: len(later)]) & ~np.isnan(median[: len(later)])) + horizon
    inputs = np.column_stack([average[rows - horizon], median[rows - horizon]])
    before = np.maximum(rows - 1, 0)
    has_before = (rows > 0) & (symbol[before] == symbol[rows])
    previous = np.where(has_before, volume[before], inputs[:, 0])
    days = table["Date"].combine_chunks().cast(pa.int32()).to_numpy()[rows].astype("datetime64[D]")
    symbols: list[str] = names.dictionary.to_pylist()
    return Rows(symbols, symbol[rows], days, inputs, volume[rows], previous, horizon)


def some_symbols(table: pa.Table) -> Iterator[pa.Table]:
    """A part, some whole symbols at a time; its Symbol is dictionary-encoded."""
    if not table.num_rows:
        return
    table = table.unify_dictionaries().combine_chunks()  # a symbol has one index in all of them
    symbol = table["Symbol"].combine_chunks().indices.to_numpy(zero_copy_only=False)
    ends = np.append(np.flatnonzero(symbol[1:] != symbol[:-1]) + 1, len(symbol))
    start = 0
    while start < len(symbol):
        end = int(
            ends[max(np.searchsorted(ends, start + _AT_ONCE, side="right") - 1, np.searchsorted(ends, start + 1))]
        )
        yield table.slice(start, end - start)
        start = end


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of parts, one after the other; no symbol is in two of them."""
    offsets = np.cumsum([0, *(len(part.symbols) for part in parts)])
    names = [symbol for part in parts for symbol in part.symbols]
    symbol = np.concatenate([part.symbol + np.int32(offset) for part, offset in zip(parts, offsets[:-1], strict=True)])
    columns = ("date", "features", "volume", "previous_volume")
    others = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
    return Rows(names, symbol, horizon=parts[0].horizon, **others)


def needed(rows: Rows, features: Dataset) -> Rows:
    """``rows``; raises `ShortPricesError` where ``features`` gave none."""
    if not len(rows):
        counts = (
            pc.max(pc.value_counts(table["Symbol"]).field("counts")).as_py() for table in features.tables(["Symbol"])
        )
        longest = max((count for count in counts if count), default=0)
        lower = ", or lower features.window" if longest > 2 else ""  # two rows are a day and the evening before
        raise ShortPricesError(
            f"the prices are too short: no symbol has more than {longest:,} row{'' if longest == 1 else 's'}, too few for "
            f"features.window; provide a longer price history, a year or more{lower}"
        )
    return rows


def distinct_days(dates: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """The different days, ascending; counting is twenty times faster than sorting."""
    if not len(dates):
        return dates
    first = dates.min()
    return first + np.flatnonzero(np.bincount((dates - first).astype(np.int64)))


def chronological_split(days: NDArray[np.datetime64], test_share: float) -> ByDate:
    """Hold out the last dates, a share of them and at least one; `ShortPricesError` where there are not two.

    Parameters
    ----------
    days : ndarray of datetime64[D]
        The different days of the rows, ascending.
    """
    if len(days) < 2:
        raise ShortPricesError(
            f"the prices are too short: both features exist for {len(days)} day{'' if len(days) == 1 else 's'}, and at least 2 are "
            "needed, one to learn from and one to judge on; provide a longer price history, a year or more"
        )
    return ByDate(days[min(len(days) - 1, max(1, int(len(days) * (1 - test_share))))])


def split_at(days: NDArray[np.datetime64], first_test_date: np.datetime64) -> ByDate:
    """The chronological split of rows of these ``days`` whose test begins on a date; ValueError where one side would be empty."""
    late = days >= first_test_date
    if late.all() or not late.any():
        side = "before" if late.all() else "on or after"
        raise ValueError(f"no row is {side} {first_test_date}; there is nothing to split")
    return ByDate(first_test_date)


def random_split(rows: Rows, test_share: float, seed: int) -> AtRandom:
    """Hold out rows at random, a share of them and at least one: those whose hash is least.

    Parameters
    ----------
    rows : Rows
        All, or a sample: exactly a share of these is held out, and of all about as much.
    """
    hashed = rows.hashed("random split", seed)
    count = max(1, round(len(rows) * test_share))
    return AtRandom(float(np.partition(hashed, count - 1)[count - 1]), seed)


def symbol_split(symbols: Iterable[str], test_share: float, seed: int) -> BySymbol:
    """Hold out whole symbols, a share of them and at least one: those whose hash is least."""
    names = sorted(symbols)
    if len(names) < 2:
        raise ValueError(f"the rows have {len(names)} symbol; a split by symbol needs 2 at least")
    order = np.argsort(hashing.symbol_seeds(names, "symbol split", seed), kind="stable")
    return BySymbol(frozenset(names[index] for index in order[: max(1, round(len(names) * test_share))]))
