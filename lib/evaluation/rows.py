"""The rows that a model is fitted on and judged on, and how they are split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lib.features.definitions import INPUTS
from lib.models.regressor import sampled_rows
from lib.models.table import Floats

Mask = NDArray[np.bool_]
COLUMNS = ["Symbol", "Date", "Volume", *INPUTS]


class Features(Protocol):
    """What `load_rows` needs of a dataset."""

    def tables(self, columns: list[str] | None = None) -> Iterable[pa.Table]:
        """One table a part, sorted by Symbol and Date; a symbol is in one part only."""


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

    def sample(self, most: int, seed: int) -> Rows:
        """Some rows at random.

        Parameters
        ----------
        most : int
            How many; where there are no more, all are given.

        Returns
        -------
        Rows
            In the order they had.
        """
        if len(self) <= most:
            return self
        chosen = sampled_rows(len(self), most / len(self), seed)
        return Rows(
            self.symbols,
            self.symbol[chosen],
            self.date[chosen],
            self.features[chosen],
            self.volume[chosen],
            self.previous_volume[chosen],
            self.horizon,
        )


@dataclass(frozen=True)
class Split:
    """Which rows a model is fitted on and which ones judge it.

    Parameters
    ----------
    train, test : ndarray of bool, shape (n,)
        They share no row.
    """

    name: str
    train: Mask
    test: Mask


def load_rows(features: Features, horizon: int) -> Rows:
    """Read the rows of a study's features.

    Parameters
    ----------
    features : Features
        ``lib.storage.dataset.open_dataset(StudyPaths(study).features)``.
    horizon : int
        0: a day's Volume beside the features of that day, whose average contains it. 1: beside the features of the
        symbol's row before, which are known the evening before.

    Returns
    -------
    Rows
        Without the rows whose features are null (a symbol's first window - 1).

    Raises
    ------
    ValueError
        No row has features.
    """
    symbols: list[str] = []
    parts: list[tuple[NDArray[Any], ...]] = []
    for table in features.tables(COLUMNS):
        if not table.num_rows:
            continue
        names = table["Symbol"].combine_chunks().dictionary_encode()
        symbol = names.indices.to_numpy().astype(np.int32)
        volume = table["Volume"].to_numpy().astype(np.float64)
        inputs = np.column_stack([table[name].to_numpy() for name in INPUTS])
        first = np.concatenate([[True], symbol[1:] != symbol[:-1]])  # of its symbol
        before = np.where(first, np.nan, np.roll(volume, 1))
        for _ in range(horizon):
            inputs = np.where(first[:, np.newaxis], np.nan, np.roll(inputs, 1, axis=0))
        known = ~np.isnan(inputs).any(axis=1)
        before = np.where(np.isnan(before), inputs[:, 0], before)
        days = table["Date"].combine_chunks().cast(pa.int32()).to_numpy()
        parts.append((symbol[known] + np.int32(len(symbols)), days[known], inputs[known], volume[known], before[known]))
        symbols.extend(names.dictionary.to_pylist())
    if not sum(len(part[0]) for part in parts):
        raise ValueError(
            "the features hold no row with both features: every symbol is shorter than features.window; lower it"
        )
    # One column after the other, and its parts are let go: at full scale, memory for all of them twice is too much.
    columns = [list(arrays) for arrays in zip(*parts, strict=True)]
    parts.clear()
    symbol, days, inputs, volume, before = (np.concatenate(columns.pop(0)) for _ in range(5))
    return Rows(symbols, symbol, days.astype("datetime64[D]"), inputs, volume, before, horizon)


def distinct_days(dates: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """The different days, ascending; counting is twenty times faster than sorting 22 M rows.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape (n,)
        At least one.
    """
    first = dates.min()
    return first + np.flatnonzero(np.bincount((dates - first).astype(np.int64)))


def chronological_split(rows: Rows, test_share: float) -> Split:
    """Hold out the last dates: the model is judged on days that it could not have seen.

    Parameters
    ----------
    test_share : float
        Share of the dates that rows have, rounded up to at least one.
    """
    days = distinct_days(rows.date)
    if len(days) < 2:
        raise ValueError(f"the rows have {len(days)} date; a chronological split needs 2 at least")
    return split_at(rows, days[min(len(days) - 1, max(1, int(len(days) * (1 - test_share))))])


def split_at(rows: Rows, first_test_date: np.datetime64) -> Split:
    """The chronological split whose test begins on a date.

    Parameters
    ----------
    first_test_date : datetime64[D]
        Rows of earlier dates are the training rows.

    Raises
    ------
    ValueError
        One side would be empty.
    """
    test = rows.date >= first_test_date
    if test.all() or not test.any():
        raise ValueError(
            f"no row is {'before' if test.all() else 'on or after'} {first_test_date}; there is nothing to split"
        )
    return Split("chronological", ~test, test)


def random_split(rows: Rows, test_share: float, seed: int) -> Split:
    """Hold out rows at random, as published solutions do: a row's neighbours in time stay in the training, so it flatters.

    Parameters
    ----------
    test_share : float
        Share of the rows.
    """
    drawn = np.random.default_rng(seed).random(len(rows))
    count = max(1, round(len(rows) * test_share))
    test = drawn <= np.partition(drawn, count - 1)[count - 1]
    return Split("random", ~test, test)


def symbol_split(rows: Rows, test_share: float, seed: int) -> Split:
    """Hold out whole symbols: can the model predict a symbol that it never saw?

    Parameters
    ----------
    test_share : float
        Share of the symbols, at least one.
    """
    present = np.flatnonzero(np.bincount(rows.symbol))
    if len(present) < 2:
        raise ValueError(f"the rows have {len(present)} symbol; a split by symbol needs 2 at least")
    held = np.zeros(len(rows.symbols), dtype=bool)
    held[np.random.default_rng(seed).permutation(present)[: max(1, round(len(present) * test_share))]] = True
    test = held[rows.symbol]
    return Split("symbol", ~test, test)


def splits(rows: Rows, first_test_date: np.datetime64, test_share: float, seed: int) -> list[Split]:
    """The splits of the report: by date first, then at random, then by symbol where there are two symbols.

    Parameters
    ----------
    first_test_date : datetime64[D]
        Of the chronological split.
    test_share : float
        Of the rows in the random split, of the symbols in the split by symbol.
    """
    made = [split_at(rows, first_test_date), random_split(rows, test_share, seed)]
    if np.count_nonzero(np.bincount(rows.symbol)) > 1:
        made.append(symbol_split(rows, test_share, seed))
    return made
