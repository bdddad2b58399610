"""Prices to the features of each day, per symbol: the moving average of Volume, the rolling median of Adj Close. Pure.

A window holds the last ``window`` rows of one symbol, the row itself included. Each column is computed over the
whole table at once, as if it were one symbol; only the first rows of each symbol, whose windows would reach into the
symbol before, are then corrected. The results are those of ``pandas.Series.rolling(window, min_periods)``.
"""

from __future__ import annotations

import bottleneck
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lib.data import schema
from lib.features.definitions import DAILY

# The columns of prices that the features are made of.
COLUMNS = tuple(
    name for name in schema.PRICES.names if name == "Symbol" or any(name in feature.source for feature in DAILY)
)
SCHEMA = pa.schema([*schema.PRICES, *((feature.name, pa.float64()) for feature in DAILY)])


def rolling_features(table: pa.Table, window: int = 30, min_periods: int | None = None) -> pa.Table:
    """Compute the features of each row of prices, `lib.features.definitions.DAILY`.

    Parameters
    ----------
    table : pyarrow.Table
        Of `COLUMNS` at least, typed as in `lib.data.schema.PRICES` (Symbol may be dictionary-encoded), sorted by Symbol and
        Date, symbols whole.
    window : int
        Rows (trading days) of a window.
    min_periods : int or None
        Rows a window must hold to give a value; None: ``window``.

    Returns
    -------
    pyarrow.Table
        Row by row, a column of float64 a feature, null where a window holds fewer than ``min_periods`` rows.

    Examples
    --------
    >>> table = pa.table({"Symbol": ["A"] * 3, **dict.fromkeys(COLUMNS[1:], [10, 20, 40])})
    >>> rolling_features(table, window=2)["vol_moving_avg"].to_pylist()
    [None, 15.0, 30.0]
    """
    starts = symbol_starts(table["Symbol"])
    columns = {name: table[name].to_numpy() for name in COLUMNS[1:]}
    missing = np.zeros(table.num_rows, dtype=bool)
    missing[_heads(starts, table.num_rows, (window if min_periods is None else min_periods) - 1)[0]] = True
    features = {}
    for feature in DAILY:
        compute = globals()[feature.function]
        values = compute(*(columns[name] for name in feature.source), starts, window)
        features[feature.name] = pa.array(values, mask=missing)
    return pa.table(features)


def symbol_starts(symbols: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The row at which each symbol starts.

    Parameters
    ----------
    symbols : pyarrow.ChunkedArray of string, length n
        The column of symbols, in order; it may be dictionary-encoded.
    """
    symbols = symbols.combine_chunks() if isinstance(symbols, pa.ChunkedArray) else symbols
    if isinstance(symbols, pa.ChunkedArray):  # what pyarrow leaves of a column of several dictionaries
        symbols = pa.concat_arrays([chunk.dictionary_decode() for chunk in symbols.chunks])
    encoded = symbols if pa.types.is_dictionary(symbols.type) else pc.dictionary_encode(symbols)
    codes = encoded.indices.to_numpy()
    changes = np.flatnonzero(np.diff(codes)) + 1
    return np.concatenate([np.zeros(min(1, len(codes)), dtype=np.int64), changes])


def positions(starts: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int64]:
    """Each row's position within its symbol, from 0.

    Examples
    --------
    >>> positions(np.array([0, 2]), 5)
    array([0, 1, 0, 1, 2])
    """
    return np.arange(rows) - np.repeat(starts, np.diff(np.append(starts, rows)))


def moving_average(
    volume: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], window: int
) -> npt.NDArray[np.float64]:
    """Mean of each row's window.

    The sums are exact: 64-bit integers, whose running total may wrap around without harm since only its differences
    count. A mean is one division away from its sum, so it is the float64 nearest to the true mean.

    Parameters
    ----------
    volume : array of int64, shape (rows,)
        Shares, of all symbols, one after the other.
    starts : array of int64
        Where each symbol starts.

    Returns
    -------
    array of float64, shape (rows,)
        Over the rows that the window holds: fewer than ``window`` at a symbol's start.

    Examples
    --------
    >>> moving_average(np.array([3, 5, 100]), np.array([0, 2]), 2).tolist()
    [3.0, 4.0, 100.0]
    """
    limit = np.iinfo(np.int64).max // window
    if len(volume) and (volume.max() > limit or volume.min() < -limit):
        # A sum might not fit 64 bits: add the halves apart.
        high, count = window_sums(volume >> 32, starts, window)
        low, _ = window_sums(volume & 0xFFFFFFFF, starts, window)
        return (high.astype(np.float64) * 2.0**32 + low) / count
    sums, count = window_sums(volume, starts, window)
    return sums / count


def rolling_median(
    values: npt.NDArray[np.float64], starts: npt.NDArray[np.int64], window: int
) -> npt.NDArray[np.float64]:
    """Median of each row's window; of an even number of rows, the mean of the middle two.

    Parameters
    ----------
    values : array of float64, shape (rows,)
        Finite; the rest is as for `moving_average`.

    Examples
    --------
    >>> rolling_median(np.array([1.0, 5.0, 2.0, 9.0]), np.array([0, 3]), 3).tolist()
    [1.0, 3.0, 2.0, 9.0]
    """
    rows = len(values)
    if window == 1 or rows == 0:
        return values.copy()
    median = np.empty(rows) if rows < window else bottleneck.move_median(values, window, 1)
    for start, end in zip(starts, [*starts[1:], rows], strict=True):
        head = values[start : min(start + window - 1, end)]
        median[start : start + len(head)] = bottleneck.move_median(head, len(head), 1)
    return median


def _heads(
    starts: npt.NDArray[np.int64], rows: int, length: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first ``length`` rows of each symbol, or all that it has, and the position of each within its symbol, from 0."""
    position = np.arange(length)
    row = starts[:, None] + position
    within = row < np.append(starts[1:], rows)[: len(starts), None]
    return row[within], np.broadcast_to(position, row.shape)[within]


def window_sums(
    values: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], window: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The sum of each row's window, and how many rows the window holds: fewer than ``window`` at a symbol's start."""
    total = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=total[1:])
    sums = total[1:].copy()
    sums[window - 1 :] = total[window:] - total[:-window]
    count = np.full(len(values), window)
    row, position = _heads(starts, len(values), window - 1)
    sums[row] = total[row + 1] - total[row - position]
    count[row] = position + 1
    return sums, count
