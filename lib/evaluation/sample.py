"""Rows drawn from a study's features, a fixed number however many there are: what models and baselines are fitted on.

A row is drawn when a hash of its symbol and date says so, so the same rows are drawn however the dataset is cut into parts and whoever reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lib.compute.engine import Engine
from lib.evaluation.rows import COLUMNS, Rows, distinct_days, joined, needed, part_rows, some_symbols
from lib.storage.dataset import Dataset, StoredPart

DRAWN_ROWS = 500_000  # of each horizon, about, at most; from 100,000 on the learning curve of 04_evaluate is flat


@dataclass(frozen=True)
class Sample:
    """What `draw_rows` found, at one horizon.

    Parameters
    ----------
    rows : Rows
        Those drawn.
    days : ndarray of datetime64[D]
        The different days of all rows, ascending.
    symbols : tuple of str
        Those that have rows.
    total : int
        How many rows there are.
    """

    rows: Rows
    days: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    total: int


def draw_rows(
    features: Dataset, horizons: Sequence[int], engine: Engine | None = None, most: int = DRAWN_ROWS
) -> dict[int, Sample]:
    """Draw rows from a study's features.

    Parameters
    ----------
    horizons : sequence of int
        See `lib.evaluation.rows.part_rows`.
    most : int
        About how many rows to draw; all where there are no more.

    Returns
    -------
    dict
        By horizon.

    Raises
    ------
    ValueError
        No row has features.
    """
    share = min(1.0, most / max(features.rows, 1))
    parts = list((engine or Engine()).map_in_order(_draw, features.stored, (tuple(horizons), share)))
    made = {horizon: _one([part.pop(0) for part in parts]) for horizon in horizons}
    for sample in made.values():
        needed(sample.rows)
    return made


def _one(samples: Sequence[Sample]) -> Sample:
    """Samples of different symbols as one."""
    return Sample(
        joined([sample.rows for sample in samples]),
        distinct_days(np.concatenate([sample.days for sample in samples])),
        tuple(symbol for sample in samples for symbol in sample.symbols),
        sum(sample.total for sample in samples),
    )


def whole(rows: Rows) -> Sample:
    """A sample that is all of some rows."""
    present = np.flatnonzero(np.bincount(rows.symbol, minlength=len(rows.symbols)))
    return Sample(rows, distinct_days(rows.date), tuple(rows.symbols[place] for place in present), len(rows))


def _draw(part: StoredPart, wanted: tuple[tuple[int, ...], float]) -> list[Sample]:
    horizons, share = wanted
    table = part.table(COLUMNS, dictionaries=("Symbol",))
    found: list[list[Sample]] = [[] for _ in horizons]
    for some in [*some_symbols(table)] or [table]:
        for horizon, samples in zip(horizons, found, strict=True):
            sample = whole(part_rows(some, horizon))
            rows = sample.rows
            drawn = rows if share == 1 else rows.chosen(rows.hashed("drawn", 0) < share)
            samples.append(replace(sample, rows=drawn))
    return [_one(samples) for samples in found]
