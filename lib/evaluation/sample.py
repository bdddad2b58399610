"""Rows drawn from a study's features, a fixed number however many there are: what models and baselines are fitted on.

A row is drawn when a hash of its symbol and date says so, so the same rows are drawn however the dataset is cut into parts and whoever reads them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lib import code
from lib.compute.engine import Engine
from lib.evaluation.hashing import power_of_two
from lib.evaluation.rows import COLUMNS, Rows, distinct_days, joined, needed, part_rows, some_symbols
from lib.storage import arrays
from lib.storage.dataset import Dataset, StoredPart
from lib.storage.kept import digest, map_kept

DRAWN_ROWS = 500_000  # of each horizon, about, at most; from 100,000 on the learning curve of 04_evaluate is flat
_STORED = ("symbol", "features", "volume", "previous_volume")


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
    features: Dataset,
    horizons: Sequence[int],
    engine: Engine | None = None,
    most: int = DRAWN_ROWS,
    kept: Path | None = None,
) -> dict[int, Sample]:
    """Draw rows from a study's features, for each horizon.

    Parameters
    ----------
    most : int
        All rows are drawn where there are no more; else a share of them, see `lib.evaluation.hashing.power_of_two`.
    kept : pathlib.Path, optional
        Where what was drawn is kept; see `lib.storage.kept.map_kept`.

    Raises
    ------
    lib.evaluation.rows.ShortPricesError
        No row has features.
    """
    share = power_of_two(most, features.rows)
    how = code.digest(__name__, {})
    keys = [[digest(how, part.sha256, horizon, share) for horizon in horizons] for part in features.stored]
    shared = tuple(horizons), share
    found = map_kept(_draw, features.stored, keys, engine or Engine(), kept, shared)
    parts = [[_from_bytes(content) for content in contents] for contents in found]
    samples = {horizon: _one([part.pop(0) for part in parts]) for horizon in horizons}
    for sample in samples.values():
        needed(sample.rows, features)
    return samples


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
    return Sample(rows, distinct_days(rows.date), tuple(rows.symbols[index] for index in present), len(rows))


def _draw(task: tuple[StoredPart, tuple[int, ...]], shared: tuple[tuple[int, ...], float]) -> list[bytes]:
    part, indices = task
    horizons, share = shared
    table = part.table(COLUMNS, dictionaries=("Symbol",))
    found: list[list[Sample]] = [[] for _ in indices]
    for some in [*some_symbols(table)] or [table]:
        for index, samples in zip(indices, found, strict=True):
            sample = whole(part_rows(some, horizons[index]))
            rows = sample.rows
            drawn = rows if share == 1 else rows.chosen(rows.hashed("drawn", 0) < share)
            samples.append(replace(sample, rows=drawn))
    return [_to_bytes(_one(samples)) for samples in found]


def _to_bytes(sample: Sample) -> bytes:
    rows = sample.rows
    about = {"names": rows.symbols, "symbols": sample.symbols, "total": sample.total, "horizon": rows.horizon}
    return arrays.to_bytes(
        {
            "about": arrays.text_to_array(json.dumps(about)),
            "days": sample.days.astype(np.int64),
            "date": rows.date.astype(np.int64),
            **{name: getattr(rows, name) for name in _STORED},
        }
    )


def _from_bytes(content: bytes) -> Sample:
    found = arrays.from_bytes(content)
    about = json.loads(arrays.array_to_text(found["about"]))
    date, days = (found[name].astype("datetime64[D]") for name in ("date", "days"))
    rows = Rows(about["names"], date=date, horizon=about["horizon"], **{name: found[name] for name in _STORED})
    return Sample(rows, days, tuple(about["symbols"]), about["total"])
