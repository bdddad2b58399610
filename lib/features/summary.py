"""What reports and forecasts need of a study's features, kept part by part: the last rows of each symbol, and rows counted in bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lib import paths
from lib.features import definitions
from lib.features.counts import AVERAGE_EDGES, MEDIAN_EDGES, RATIO_EDGES, count_feature_pairs, count_ratios
from lib.features.definitions import INPUTS
from lib.features.windows import positions, symbol_starts
from lib.storage import dataset
from lib.storage.dataset import Dataset

DATASETS = ("recent", "feature_counts", "date_counts")  # `lib.paths.StudyPaths` says where they are
RECENT_ROWS = definitions.LONGEST + 1  # of each symbol: a forecast from them is that from all of its rows
COUNTS = pa.schema(
    [
        pa.field("counted", pa.string(), nullable=False),
        pa.field("bin", pa.int32(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)
DATE_COUNTS = pa.schema(
    [
        pa.field("Date", pa.date32(), nullable=False),
        pa.field("evenings", pa.int64(), nullable=False),
    ]
)
_BINS = {
    "ratio": (len(RATIO_EDGES) - 1,),
    "pair": (len(AVERAGE_EDGES) - 1, len(MEDIAN_EDGES) - 1),
    "both features": (1,),
    "null out of place": (1,),
}


@dataclass(frozen=True)
class Summary:
    """What is kept of a study's features.

    Parameters
    ----------
    recent : Dataset
        The last `RECENT_ROWS` rows of each symbol, with the columns of features.
    ratios, pairs : ndarray of int64
        See `lib.features.counts.count_ratios` and `lib.features.counts.count_feature_pairs`.
    rows : int
        Rows that have both features.
    null_where_expected : bool
        Whether a feature is null in the first rows of each symbol, and nowhere else.
    """

    recent: Dataset
    ratios: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int64]
    rows: int
    null_where_expected: bool


def summarise(table: pa.Table, needed: int) -> dict[str, pa.Table]:
    """The last rows of each symbol of a part, and its rows counted, by `DATASETS`.

    Parameters
    ----------
    table : pyarrow.Table
        Of features: `lib.features.windows.SCHEMA`, symbols whole; Symbol and Security Name may be dictionary-encoded.
    needed : int
        Rows that a window must hold to give a value.
    """
    starts = symbol_starts(table["Symbol"])
    lengths = np.diff(np.append(starts, table.num_rows))
    position = positions(starts, table.num_rows)
    recent = np.flatnonzero(position >= np.repeat(lengths, lengths) - RECENT_ROWS)
    return {
        "recent": table.take(pa.array(recent)),
        "feature_counts": _counted(table, position, needed),
        "date_counts": _dates(table, position),
    }


def _counted(table: pa.Table, position: npt.NDArray[np.int64], needed: int) -> pa.Table:
    volume, average, median = (table[name].to_numpy() for name in ("Volume", *INPUTS))
    null = [table[name].is_null().to_numpy() for name in INPUTS]
    expected = position < needed - 1
    found = {
        "ratio": count_ratios(volume, average),
        "pair": count_feature_pairs(average, median).ravel(),
        "both features": np.array([np.count_nonzero(~null[0] & ~null[1])]),
        "null out of place": np.array([sum(np.count_nonzero(column != expected) for column in null)]),
    }
    bins = {name: np.flatnonzero(rows) for name, rows in found.items()}
    columns = [
        np.repeat(list(bins), [len(of_name) for of_name in bins.values()]),
        np.concatenate(list(bins.values())).astype(np.int32),
        np.concatenate([found[name][of_name] for name, of_name in bins.items()]).astype(np.int64),
    ]
    return pa.table([pa.array(column) for column in columns], schema=COUNTS)


def _dates(table: pa.Table, position: npt.NDArray[np.int64]) -> pa.Table:
    """The distinct dates of a part, and how many evenings of each may be drawn."""
    days = table["Date"].combine_chunks().cast(pa.int32()).to_numpy()
    first = int(days.min()) if len(days) else 0
    rows = np.bincount(days - first)
    evenings = np.bincount(days[position >= definitions.AVERAGE_ROWS - 1] - first, minlength=len(rows))
    dates = np.flatnonzero(rows)
    columns = [pa.array((dates + first).astype(np.int32)).cast(pa.date32()), evenings[dates]]
    return pa.table(columns, schema=DATE_COUNTS)


def date_counts(counts: Dataset) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The dates of a study, and how many evenings of each may be drawn, from `DATE_COUNTS`.

    Returns
    -------
    ndarray of int32, ndarray of int64
        Days since 1970-01-01, ascending; evenings.
    """
    table = counts.read(["Date", "evenings"])
    dates, index = np.unique(table["Date"].cast(pa.int32()).to_numpy(), return_inverse=True)
    evenings = np.zeros(len(dates), dtype=np.int64)
    np.add.at(evenings, index, table["evenings"].to_numpy())
    return dates, evenings


def read_summary(study: paths.StudyPaths) -> Summary:
    """What `lib.features.build.build_features` kept of a study's features.

    Raises
    ------
    lib.storage.dataset.DatasetError
        There are no features, or what was kept has changed since it was written.
    """
    table = dataset.open_dataset(study.feature_counts).read()
    names, bins, counts = (table[name].to_numpy() for name in COUNTS.names)
    counted = {}
    for name, shape in _BINS.items():
        counted[name] = np.zeros(shape, dtype=np.int64)
        np.add.at(counted[name].ravel(), bins[names == name], counts[names == name])
    return Summary(
        dataset.open_dataset(study.recent),
        counted["ratio"],
        counted["pair"],
        int(counted["both features"][0]),
        not counted["null out of place"][0],
    )
