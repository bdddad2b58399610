"""Judge predictors on every held-out row of a study, part by part: each part gives sums, which are added up."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lib import code
from lib.compute.engine import Engine
from lib.evaluation import sums
from lib.evaluation.baselines import AVERAGE, MODEL, SCALED, Predict, baselines, looked_up
from lib.evaluation.errors import tenth_of
from lib.evaluation.rows import COLUMNS, Rows, Split, part_rows, some_symbols
from lib.features.definitions import INPUTS
from lib.models.table import Floats, LookupTable
from lib.storage.dataset import Dataset, StoredPart
from lib.storage.kept import digest, map_kept, table_from_bytes, table_to_bytes

PART_BLOCKS = 1 << 12  # more than the symbols of a part


@dataclass(frozen=True)
class Case:
    """One split at one horizon, and who is judged on its held-out rows.

    Parameters
    ----------
    predictors : mapping of str to callable
        See `lib.evaluation.baselines.Predict`.
    table : LookupTable, optional
        The model's, whose interval is judged.
    tenths : mapping of str to ndarray of float64, shape (9,)
        By feature, where to cut the rows into tenths that are judged apart; see `lib.evaluation.errors.tenths`.
    whole_only : frozenset of str
        Predictors that are judged over all rows and not by group.
    """

    horizon: int
    split: Split
    predictors: Mapping[str, Predict]
    table: LookupTable | None = None
    tenths: Mapping[str, Floats] = field(default_factory=dict)
    whole_only: frozenset[str] = frozenset()


def judge(
    features: Dataset, cases: Sequence[Case], engine: Engine | None = None, kept: Path | None = None
) -> list[pd.DataFrame]:
    """Judge every case on all its held-out rows, in one pass over the features.

    Parameters
    ----------
    kept : pathlib.Path, optional
        Where the sums of each part and case are kept; see `lib.storage.kept.map_kept`.

    Returns
    -------
    list of pandas.DataFrame
        For each case what `lib.evaluation.sums.Total` makes: groupings "all"; "block", a quarter of a year, or a symbol where symbols are
        held out; and, for each feature of ``tenths``, its name.
    """
    tasks = list(enumerate(features.stored))
    how = code.digest(__name__, {})
    of_cases = [digest(how, case) for case in cases]
    keys = [[digest(case, part.sha256, index) for case in of_cases] for index, part in tasks]
    totals = [sums.Total() for _ in cases]
    for contents in map_kept(_judge_part, tasks, keys, engine or Engine(), kept, tuple(cases)):
        for total, content in zip(totals, contents, strict=True):
            total.add(table_from_bytes(content))
    return [total.lines() for total in totals]


def headline_metrics(
    features: Dataset,
    train: Rows,
    split: Split,
    table: LookupTable,
    engine: Engine | None = None,
    kept: Path | None = None,
) -> dict[str, float]:
    """The few numbers that a model carries with it, on the held-out rows.

    Returns
    -------
    dict
        mae, mae_moving_average and mae_scaled_average in shares; coverage, the share of the Volumes within the interval.
    """
    predictors: dict[str, Predict] = {**baselines(train), MODEL: functools.partial(looked_up, table)}
    [scores] = judge(features, [Case(train.horizon, split, predictors, table)], engine, kept)
    everything = scores[scores["grouping"] == "all"].set_index("predictor")
    mae = everything["error"] / everything["rows"]
    return {
        "mae": float(mae[MODEL]),
        "mae_moving_average": float(mae[AVERAGE]),
        "mae_scaled_average": float(mae[SCALED]),
        "coverage": float(everything["inside"][MODEL] / everything["rows"][MODEL]),
    }


def _judge_part(task: tuple[tuple[int, StoredPart], tuple[int, ...]], cases: Sequence[Case]) -> list[bytes]:
    (index, part), wanted = task
    table = part.table(COLUMNS, dictionaries=("Symbol",))
    some_cases = [cases[number] for number in wanted]
    totals = [sums.Total() for _ in wanted]
    for some in some_symbols(table):
        rows = {horizon: part_rows(some, horizon) for horizon in {case.horizon for case in some_cases}}
        for case, total in zip(some_cases, totals, strict=True):
            total.add(_sums(case, rows[case.horizon], index))
    return [table_to_bytes(total.table()) for total in totals]


def _sums(case: Case, rows: Rows, part: int) -> pa.Table:
    some = rows.chosen(case.split.test(rows))
    groups: dict[str, NDArray[Any]] = {"block": _blocks(case, some, part)}
    for name, edges in case.tenths.items():
        groups[name] = tenth_of(some.features[:, INPUTS.index(name)], edges)
    predictions = {name: predict(some) for name, predict in case.predictors.items()}
    ranges = {}
    if case.table is not None:
        low, high = case.table.interval(np.maximum(some.features[:, 0], 0), some.features[:, 1])
        ranges[MODEL] = np.floor(low), np.ceil(high)
    judged = sums.Judged(case.horizon, some.volume, groups, predictions)
    return sums.error_sums(judged, ranges, 0.0, case.whole_only)


def _blocks(case: Case, rows: Rows, part: int) -> NDArray[np.int64]:
    """The block of each row: rows of one day or symbol are not independent."""
    if case.split.name == "symbol":
        return rows.symbol.astype(np.int64) + part * PART_BLOCKS
    return rows.date.astype("datetime64[M]").astype(np.int64) // 3
