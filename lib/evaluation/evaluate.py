"""Everything that 04_evaluate measures: three splits at two horizons, one pass to draw rows, one to judge.

What is fitted (the model on other splits, the reference forest, the oracle) is fitted on the rows drawn, by the engine's workers; who is judged, is judged
on every held-out row.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from lib import code
from lib.compute.engine import Engine
from lib.evaluation import tables
from lib.evaluation.baselines import (
    MODEL,
    ORACLE,
    REFERENCE,
    Predict,
    baselines,
    looked_up,
    multiple_of_average,
    oracle,
    reference_forest,
)
from lib.evaluation.errors import tenths
from lib.evaluation.rows import Rows, Split, random_split, split_at, symbol_split
from lib.evaluation.sample import Sample, draw_rows
from lib.evaluation.scores import Case, judge
from lib.features.definitions import INPUTS
from lib.models.regressor import TableRegressor
from lib.models.table import LookupTable
from lib.storage import arrays
from lib.storage.dataset import Dataset
from lib.storage.kept import digest, map_kept

WORKERS_ROWS = 100_000  # fits on fewer take less time than workers to start
CURVE, SPREAD = "learning curve", "spread"  # kinds of fits, beside those of a comparison


@dataclass(frozen=True)
class Settings:
    """What a study sets; see the sections ``train`` and ``evaluate`` of `lib.params`."""

    horizon: int
    first_test_date: np.datetime64
    random_test_share: float = 0.2
    seed: int = 42
    seeds: int = 5
    forest_trees: int = 25
    forest_rows: int = 100_000


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Parameters
    ----------
    comparisons : dict of (int, str) to pandas.DataFrame
        By horizon and split; see `lib.evaluation.tables.compare`.
    rows, held_out : int
        Rows of the study's horizon, and those from the first test date on.
    test : Rows
        Held-out rows that were drawn.
    coverage, by_volume, by_price, spread, learning_curve : pandas.DataFrame
        See `lib.evaluation.tables`.
    """

    comparisons: dict[tuple[int, str], pd.DataFrame]
    rows: int
    held_out: int
    test: Rows
    coverage: pd.DataFrame
    by_volume: pd.DataFrame
    by_price: pd.DataFrame
    spread: pd.DataFrame
    learning_curve: pd.DataFrame


@dataclass(frozen=True)
class _Fit:
    """One fit: what, on which horizon's rows, split how; ``number`` is a part of the learning curve, or a seed."""

    kind: str
    horizon: int
    split: Split
    number: int = 0


@dataclass(frozen=True)
class _Shared:
    """What the fits need."""

    rows: Mapping[int, Rows]
    estimator: TableRegressor
    settings: Settings


def evaluate(
    features: Dataset,
    served: TableRegressor,
    settings: Settings,
    engine: Engine | None = None,
    kept: Path | None = None,
) -> Evaluation:
    """Judge a fitted model on the study's features, beside the baselines, the reference forest and the oracle.

    Parameters
    ----------
    served : TableRegressor
        Fitted on the days before the first test date; for the other splits, copies of it are fitted.
    kept : pathlib.Path, optional
        A folder for what was drawn, fitted and added up; see `lib.storage.kept.map_kept`.

    Raises
    ------
    ValueError
        There are no rows, or none before or after the first test date.
    """
    engine = engine or Engine()
    rows_kept, fits_kept, sums_kept = (kept and kept / name for name in ("rows", "models", "errors"))
    samples = draw_rows(features, (1 - settings.horizon, settings.horizon), engine, kept=rows_kept)
    splits = {horizon: make_splits(sample, settings) for horizon, sample in samples.items()}
    own = samples[settings.horizon].rows
    own_split = splits[settings.horizon][0]
    train, test = own.chosen(~own_split.test(own)), own.chosen(own_split.test(own))
    parts = tables.curve_parts(train, settings.seed)
    tasks = [
        *(_Fit(kind, days, split) for kind in (ORACLE, REFERENCE, MODEL) for days in samples for split in splits[days]),
        *(_Fit(CURVE, settings.horizon, own_split, number) for number in range(len(parts) - 1)),
        *(_Fit(SPREAD, settings.horizon, own_split, settings.seed + number) for number in range(settings.seeds)),
    ]
    served_fit = _Fit(MODEL, settings.horizon, own_split)
    tasks.remove(served_fit)
    shared = _Shared({days: sample.rows for days, sample in samples.items()}, clone(served), settings)
    workers = engine if len(own) > WORKERS_ROWS else Engine(workers=1)
    drawn = {days: digest(rows) for days, rows in shared.rows.items()}
    seeds = settings.random_test_share, settings.seed, settings.forest_trees, settings.forest_rows
    how = [code.digest(__name__, {}), type(served).__qualname__, served.get_params(), seeds]
    keys = [[digest(*how, task, drawn[task.horizon])] for task in tasks]
    fitted: dict[_Fit, Any] = {
        task: _from_bytes(content)
        for task, [content] in zip(tasks, map_kept(_fit_to_bytes, tasks, keys, workers, fits_kept, shared), strict=True)
    }
    fitted[served_fit] = functools.partial(looked_up, served.table_)
    fitted[_Fit(CURVE, settings.horizon, own_split, len(parts) - 1)] = fitted[served_fit]

    objective = _objective(served)
    cases = [_case(samples[days].rows, days, split, objective, fitted) for days in samples for split in splits[days]]
    index = next(at for at, case in enumerate(cases) if (case.horizon, case.split) == (settings.horizon, own_split))
    curve = {f"{len(part):,} rows": train.chosen(part) for part in parts}
    edges = {name: tenths(test.features[:, column]) for column, name in enumerate(INPUTS)}
    curve_fits = {name: fitted[_Fit(CURVE, settings.horizon, own_split, number)] for number, name in enumerate(curve)}
    shown = [name for name in cases[index].predictors if name != tables.MEAN]
    predictors, whole_only = {**cases[index].predictors, **curve_fits}, frozenset({tables.MEAN, *curve})
    cases[index] = Case(settings.horizon, own_split, predictors, served.table_, edges, whole_only)
    scores = judge(features, cases, engine, sums_kept)
    comparisons = {}
    for case, judged in zip(cases, scores, strict=True):
        rows = samples[case.horizon].rows
        learned = rows.chosen(~case.split.test(rows))
        comparisons[case.horizon, case.split.name] = tables.compare(judged, case, learned, objective, shown)
    headline = scores[index]
    return Evaluation(
        comparisons,
        samples[settings.horizon].total,
        int(headline.loc[headline["grouping"] == "all", "rows"].iloc[0]),
        test,
        tables.coverage(headline, edges[INPUTS[0]], test, served.table_),
        tables.errors_by(headline, INPUTS[0], test, edges[INPUTS[0]]),
        tables.errors_by(headline, INPUTS[1], test, edges[INPUTS[1]]),
        pd.DataFrame([fitted[task] for task in tasks if task.kind == SPREAD]),
        tables.learning_curve(headline, curve, cases[index]),
    )


def make_splits(sample: Sample, settings: Settings) -> list[Split]:
    """The splits of the report: by date first, then at random, then by symbol where there are two symbols."""
    share, seed = settings.random_test_share, settings.seed
    splits: list[Split] = [split_at(sample.days, settings.first_test_date), random_split(sample.rows, share, seed)]
    if len(sample.symbols) > 1:
        splits.append(symbol_split(sample.symbols, share, seed))
    return splits


def fitted_copy(estimator: TableRegressor, train: Rows) -> Predict:
    """What a copy of an estimator predicts, fitted on rows; the estimator stays as it is."""
    copy: TableRegressor = clone(estimator)
    return functools.partial(looked_up, copy.fit(train.features, train.volume).table_)


def _objective(estimator: TableRegressor) -> str:
    return str(estimator.get_params().get("objective", "squared"))


def _fit(task: _Fit, shared: _Shared) -> Predict | dict[str, float]:
    rows, settings = shared.rows[task.horizon], shared.settings
    fit = functools.partial(fitted_copy, shared.estimator)
    if task.kind == SPREAD:
        return tables.spread_line(rows, fit, settings.random_test_share, task.number)
    held = task.split.test(rows)
    if task.kind == ORACLE:
        return oracle(rows.chosen(held), _objective(shared.estimator))
    train = rows.chosen(~held)
    if task.kind == REFERENCE:
        return reference_forest(train, settings.forest_trees, settings.forest_rows, settings.seed)
    return fit(train.chosen(tables.curve_parts(train, settings.seed)[task.number]) if task.kind == CURVE else train)


def _fit_to_bytes(task: tuple[_Fit, tuple[int, ...]], shared: _Shared) -> list[bytes]:
    result = _fit(task[0], shared)
    if isinstance(result, dict):
        return [arrays.to_bytes({"line": arrays.text_to_array(json.dumps(result))})]
    assert isinstance(result, functools.partial)
    [fitted] = result.args
    return [arrays.to_bytes(fitted.arrays() if isinstance(fitted, LookupTable) else {"multiple": np.array(fitted)})]


def _from_bytes(content: bytes) -> Predict | dict[str, float]:
    found = arrays.from_bytes(content)
    if "line" in found:
        line: dict[str, float] = json.loads(arrays.array_to_text(found["line"]))
        return line
    if "multiple" in found:
        return functools.partial(multiple_of_average, float(found["multiple"]))
    return functools.partial(looked_up, LookupTable.of(found))


def _case(rows: Rows, horizon: int, split: Split, objective: str, fitted: Mapping[_Fit, Any]) -> Case:
    held: NDArray[np.bool_] = split.test(rows)
    predictors = baselines(rows.chosen(~held), objective)
    for kind in (MODEL, REFERENCE, ORACLE):
        predictors[kind] = fitted[_Fit(kind, horizon, split)]
    predictors[tables.MEAN] = functools.partial(tables.constant, float(rows.volume[held].mean()))
    return Case(horizon, split, predictors, whole_only=frozenset({tables.MEAN}))
