"""The dataset of prices to the dataset of features, part by part, and what reports and forecasts need of them in the same pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lib import code, paths
from lib.compute.engine import Engine
from lib.features import summary, windows
from lib.storage import dataset
from lib.storage.dataset import Dataset, StoredPart


@dataclass
class FeaturesPart:
    """One part of prices, to the same part of features.

    Parameters
    ----------
    min_periods : int
        Rows that a window must hold to give a value.
    summarised : bool
        Whether `lib.features.summary.summarise` is made of it, too.
    """

    part: StoredPart
    window: int
    min_periods: int
    summarised: bool

    def read(self, shared: Any = None) -> str:
        """The digest that the manifest of prices gives the part; `tables` checks it against the bytes."""
        return self.part.sha256

    def tables(self, shared: Any = None) -> Mapping[str, pa.Table | dataset.Beside]:
        """Compute the features; the columns of prices are copied as they are."""
        content = self.part.content()
        columns = None if self.summarised else windows.COLUMNS
        table = dataset.decode(content, columns, dictionaries=("Symbol", "Security Name"))
        rolling = windows.rolling_features(table, self.window, self.min_periods)
        features = {"features": dataset.Beside(content, rolling)}
        if not self.summarised:
            return features
        whole = pa.table([*table.columns, *rolling.columns], schema=pa.schema([*table.schema, *rolling.schema]))
        return {**features, **summary.summarise(whole, self.min_periods)}


def build_features(
    study: paths.StudyPaths,
    window: int = 30,
    min_periods: int | None = None,
    engine: Engine | None = None,
    summarised: bool = True,
) -> Dataset:
    """Make the dataset of features from that of prices.

    Parameters
    ----------
    window, min_periods : int
        See `lib.features.windows.rolling_features`.
    summarised : bool
        Whether to make the datasets of `lib.features.summary` in the same pass; later stages need them.

    Raises
    ------
    lib.storage.dataset.DatasetError
        No prices, or prices that have changed since they were written.
    """
    source = dataset.open_dataset(study.prices)
    names = ["features", *(summary.DATASETS if summarised else ())]
    folders = {name: getattr(study, name) for name in names}
    needed = window if min_periods is None else min_periods
    works = [FeaturesPart(part, window, needed, summarised) for part in source.stored]
    digest = code.digest(__name__, {"window": window, "min_periods": needed})
    sizes = [part.rows for part in source.parts]
    built = dataset.build("features", works, sizes, "rows", folders, digest, engine or Engine())
    return dataset.commit(built, folders)["features"]
