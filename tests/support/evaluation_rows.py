"""Rows to evaluate models on: small datasets of features, and a market in which a model can beat every multiple of the average."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.compute.engine import Engine
from lib.evaluation.evaluate import Evaluation, Settings, evaluate
from lib.evaluation.rows import COLUMNS, Rows, chronological_split, distinct_days, joined, needed, part_rows
from lib.models.ratio_by_quantile import RatioByQuantile
from lib.models.regressor import TableRegressor
from lib.storage.dataset import Dataset, PartFile


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


def all_rows(features: Dataset | Parts, horizon: int = 0) -> Rows:
    """What `draw_rows` gives of features of few rows."""
    return needed(joined([part_rows(table, horizon) for table in features.tables(COLUMNS)]), features)


def by_symbol(rows: Rows) -> list[pd.DataFrame]:
    """Rows as features have them: a frame a symbol, in order of the dates."""
    whole = pd.DataFrame(
        {
            "Symbol": np.array(rows.symbols)[rows.symbol],
            "Date": rows.date.astype(object),
            "Volume": rows.volume.astype(np.int64),
            "vol_moving_avg": rows.features[:, 0],
            "adj_close_rolling_med": rows.features[:, 1],
        }
    )
    return [group.sort_values("Date", kind="stable") for _, group in whole.groupby("Symbol")]


def stored(folder: Path, *frames: pd.DataFrame) -> Dataset:
    """Features on disk, a part a frame."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, part in enumerate(frames):
        path = folder / f"part-{number}.parquet"
        pq.write_table(pa.Table.from_pandas(part, preserve_index=False), path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        parts.append(PartFile(path.name, digest, digest, len(part), path.stat().st_size))
    return Dataset(folder, tuple(parts))


def evaluated(
    features: Dataset, estimator: TableRegressor, rows: Rows, test_share: float = 0.2, **settings: Any
) -> Evaluation:
    """An estimator, fitted on the earlier dates of the features' rows and judged."""
    split = chronological_split(distinct_days(rows.date), test_share)
    train = rows.chosen(~split.test(rows))
    fitted = estimator.fit(train.features, train.volume)
    wanted = {"seeds": 2, "forest_trees": 5, "forest_rows": 2000, **settings}
    return evaluate(features, fitted, Settings(0, split.first_test_date, **wanted), Engine(workers=1))


@functools.cache
def compared() -> tuple[Rows, RatioByQuantile, Evaluation]:
    """Rows, a model fitted on the earlier dates, and its evaluation; not to be changed."""
    rows, fitted = study(12_000), RatioByQuantile()
    with tempfile.TemporaryDirectory() as folder:
        return rows, fitted, evaluated(stored(Path(folder), *by_symbol(rows)), fitted, rows)


def headline() -> pd.DataFrame:
    """The comparison of `compared` on later dates."""
    return compared()[2].comparisons[0, "chronological"].copy()
