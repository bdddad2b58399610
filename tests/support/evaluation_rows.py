"""Rows to evaluate models on: a dataset of features in memory, and a market in which a model can beat every multiple of the average."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lib.evaluation.rows import Rows, Split, chronological_split
from lib.evaluation.tables import compare
from lib.models.ratio_by_quantile import RatioByQuantile


class Parts:
    """A dataset of features, in memory: one table a part."""

    def __init__(self, *frames: pd.DataFrame) -> None:
        self.frames = frames

    def tables(self, columns: Any = None) -> Iterator[pa.Table]:
        for frame in self.frames:
            yield pa.Table.from_pandas(frame, preserve_index=False).select(list(columns))


def frame(symbol: str, volumes: list[int], averages: list[float | None], start: str = "2020-01-01") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Symbol": symbol,
            "Date": [day.date() for day in pd.date_range(start, periods=len(volumes))],
            "Volume": volumes,
            "vol_moving_avg": np.array(averages, dtype=float),
            "adj_close_rolling_med": 10 * np.array(averages, dtype=float),
        }
    )


TWO_PARTS = Parts(
    pd.concat([frame("A", [10, 20, 30, 40], [None, 15, 25, 35]), frame("B", [1, 2], [None, 1.5])]),
    frame("C", [7], [None]),
    frame("D", [100, 300], [None, 200], "2020-02-01"),
)


def study(count: int = 4000, symbols: int = 8, seed: int = 0, noise: float = 0.4) -> Rows:
    """Rows whose ratio rises with the average, from 0.5 to 1.3: a model can beat every multiple of the average."""
    random = np.random.default_rng(seed)
    average = 10 ** random.uniform(4, 6, count)
    volume = average * (0.5 + 0.4 * (np.log10(average) - 4)) * np.exp(random.normal(0, noise, count))
    price = 10 ** random.uniform(0, 3, count)
    date_ = np.datetime64("2001-01-01") + np.arange(count).astype("timedelta64[D]") // 2
    symbol = (np.arange(count) % symbols).astype(np.int32)
    names = [chr(65 + number) for number in range(symbols)]
    inputs = np.column_stack([average, price])
    return Rows(names, symbol, date_, inputs, np.rint(volume), np.roll(volume, 1), 0)


@functools.cache
def compared() -> tuple[Rows, Split, RatioByQuantile, pd.DataFrame]:
    """Rows, a split by date, a model fitted on it, and its comparison; not to be changed."""
    rows = study(12_000)
    split = chronological_split(rows, 0.2)
    fitted = RatioByQuantile().fit(rows.features[split.train], rows.volume[split.train])
    return rows, split, fitted, compare(rows, split, fitted, fitted=True, forest=(5, 0.2))
