"""The dataset of prices to the dataset of features, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lib import code, paths
from lib.compute.engine import Engine
from lib.features import windows
from lib.storage import dataset
from lib.storage.dataset import Dataset, StoredPart


@dataclass
class FeaturesPart:
    """One part of prices, to the same part of features.

    Parameters
    ----------
    part : StoredPart
        Of prices.
    min_periods : int or None
        See `lib.features.windows.rolling_features`.
    """

    part: StoredPart
    window: int
    min_periods: int | None

    def read(self) -> str:
        """The digest that the manifest of prices gives the part; `tables` checks it against the bytes."""
        return self.part.sha256

    def tables(self, shared: Any = None) -> Mapping[str, dataset.Beside]:
        """Read the columns that the features are made of; all of them are copied as they are."""
        content = self.part.content()
        table = dataset.decode(content, windows.COLUMNS, dictionaries=("Symbol",))
        made = windows.rolling_features(table, self.window, self.min_periods)
        return {"features": dataset.Beside(content, made)}


def build_features(
    study: paths.StudyPaths, window: int = 30, min_periods: int | None = None, engine: Engine | None = None
) -> Dataset:
    """Make the dataset of features from that of prices.

    Parameters
    ----------
    window, min_periods : int
        See `lib.features.windows.rolling_features`.

    Raises
    ------
    lib.storage.dataset.DatasetError
        No prices, or prices that have changed since they were written.
    """
    source = dataset.open_dataset(study.prices)
    folders = {"features": study.features}
    works = [FeaturesPart(part, window, min_periods) for part in source.stored]
    parameters = {"window": window, "min_periods": window if min_periods is None else min_periods}
    digest = code.digest(__name__, parameters)
    sizes = [part.rows for part in source.parts]
    built = dataset.build("features", works, sizes, "rows", folders, digest, engine or Engine())
    return dataset.commit(built, folders)["features"]
