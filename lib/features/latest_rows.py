"""The latest rows of every symbol of a study, read part by part: what `lib.features.recent_days` writes for the dashboard."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from lib.compute.engine import Engine
from lib.features.recent_days import COLUMNS, DAYS
from lib.features.windows import symbol_starts
from lib.storage.dataset import Dataset, StoredPart


def latest_rows(features: Dataset, engine: Engine | None = None) -> Iterator[pa.Table]:
    """The last `lib.features.recent_days.DAYS` rows of every symbol, a table a part, in symbol order."""
    return (engine or Engine()).map_in_order(_latest, features.stored)


def _latest(part: StoredPart) -> pa.Table:
    table = part.table(COLUMNS, dictionaries=("Symbol", "Security Name"))
    starts = symbol_starts(table["Symbol"])
    ends = np.append(starts[1:], table.num_rows)
    first = np.repeat(np.maximum(starts, ends - DAYS), ends - starts)
    recent = table.filter(pa.array(np.arange(table.num_rows) >= first))
    # A dictionary would be sent with the names of all rows.
    texts = {name: recent[name].cast(pa.string()).combine_chunks() for name in COLUMNS[:2]}
    return pa.table({name: texts.get(name, recent[name].combine_chunks()) for name in COLUMNS})
