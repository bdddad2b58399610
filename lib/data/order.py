"""Whether a dataset of prices is as promised, read back part by part: in order of symbol and date, no volume below zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.compute.engine import Engine
from lib.storage.dataset import Dataset, StoredPart


@dataclass(frozen=True)
class PartOrder:
    """What was found in one part.

    Parameters
    ----------
    symbols : list of str
        One a run of rows with the same symbol, in the order of the rows.
    dates_rise : bool
        Within each such run every date is later than the one before.
    least_volume : int
        0 where there are no rows.
    """

    symbols: list[str]
    dates_rise: bool
    least_volume: int


def order_of_parts(prices: Dataset, engine: Engine | None = None) -> Iterator[PartOrder]:
    """Look at every part, in order; each is checked against its digest."""
    return (engine or Engine()).map_in_order(_look, prices.stored)


def _look(part: StoredPart) -> PartOrder:
    table = part.table(["Symbol", "Date", "Volume"], dictionaries=("Symbol",))
    if not table.num_rows:
        return PartOrder([], True, 0)
    chunks = table["Symbol"].unify_dictionaries().chunks
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in chunks])
    later = np.diff(table["Date"].cast(pa.int32()).to_numpy()) > 0
    changes = np.flatnonzero(np.diff(codes))
    later[changes] = True  # from one symbol to the next the date may fall
    symbols = chunks[0].dictionary.take(pa.array(codes[np.append(0, changes + 1)])).to_pylist()
    return PartOrder(symbols, bool(later.all()), pc.min(table["Volume"]).as_py())
