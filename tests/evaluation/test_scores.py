"""Sums over parts say what the rows themselves would."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_rows import all_rows, by_symbol, stored, study

from lib.compute.engine import Engine
from lib.evaluation.baselines import AVERAGE, LAST, MODEL, SCALED, baselines, looked_up
from lib.evaluation.errors import best_scale, tenths
from lib.evaluation.rows import ByDate, random_split, symbol_split
from lib.evaluation.scores import Case, headline_metrics, judge
from lib.models.ratio_by_quantile import RatioByQuantile

FIRST_TEST_DATE = np.datetime64("2004-06-01")


@pytest.fixture
def features(tmp_path: Path):
    return stored(tmp_path, *by_symbol(study(4000)))


def case(features, split) -> tuple[Case, object, np.ndarray]:
    """A case, all rows in memory, and which are held out."""
    rows = all_rows(features)
    held = split.test(rows)
    train = rows.chosen(~held)
    fitted = RatioByQuantile().fit(train.features, train.volume)
    predictors = {**baselines(train), MODEL: functools.partial(looked_up, fitted.table_)}
    edges = {"vol_moving_avg": tenths(rows.features[held, 0])}
    return Case(0, split, predictors, fitted.table_, edges), rows, held


def test_errors_and_squares_are_those_of_the_rows(features) -> None:
    one, rows, held = case(features, ByDate(FIRST_TEST_DATE))
    [scores] = judge(features, [one], Engine(workers=1))
    everything = scores[scores["grouping"] == "all"].set_index("predictor")
    test = rows.chosen(held)
    train = rows.chosen(~held)
    by_hand = {
        AVERAGE: test.features[:, 0],
        SCALED: test.features[:, 0] * best_scale(train.features[:, 0], train.volume),
        LAST: test.previous_volume,
        MODEL: RatioByQuantile().fit(train.features, train.volume).predict(test.features),
    }
    for name, predicted in by_hand.items():
        assert everything["rows"][name] == held.sum()
        assert everything["error"][name] == pytest.approx(np.abs(predicted - test.volume).sum(), rel=1e-12)
        assert everything["squared"][name] == pytest.approx(((predicted - test.volume) ** 2).sum(), rel=1e-12)


def test_groups_are_quarters_symbols_and_tenths(features) -> None:
    one, rows, held = case(features, ByDate(FIRST_TEST_DATE))
    [scores] = judge(features, [one], Engine(workers=1))
    error = np.abs(rows.features[held, 0] - rows.volume[held])
    own = scores[scores["predictor"] == AVERAGE]
    quarters = pd.PeriodIndex(pd.DatetimeIndex(rows.date[held]), freq="Q")
    blocks = own[own["grouping"] == "block"]["error"].to_numpy()
    assert blocks == pytest.approx(pd.Series(error).groupby(quarters).sum().to_numpy())
    tenth = own[own["grouping"] == "vol_moving_avg"]
    assert tenth["rows"].tolist() == pytest.approx([held.sum() / 10] * 10, abs=1)
    by_symbols, rows, held = case(features, symbol_split(rows.symbols, 0.4, 1))
    [scores] = judge(features, [by_symbols], Engine(workers=1))
    blocks = scores[(scores["predictor"] == AVERAGE) & (scores["grouping"] == "block")]
    error = np.abs(rows.features[held, 0] - rows.volume[held])
    assert blocks["error"].to_numpy() == pytest.approx(pd.Series(error).groupby(rows.symbol[held]).sum().to_numpy())


def test_the_interval_is_judged_to_whole_shares(features) -> None:
    one, rows, held = case(features, ByDate(FIRST_TEST_DATE))
    [scores] = judge(features, [one], Engine(workers=1))
    low, high = one.table.interval(rows.features[held, 0], rows.features[held, 1])
    inside = (np.floor(low) <= rows.volume[held]) & (rows.volume[held] <= np.ceil(high))
    own = scores[(scores["predictor"] == MODEL) & (scores["grouping"] == "all")].iloc[0]
    assert own["inside"] == inside.sum()
    assert own["inside"] / own["rows"] == pytest.approx(0.8, abs=0.05)


def test_the_cut_into_parts_and_the_workers_change_nothing(features, tmp_path: Path) -> None:
    rows = all_rows(features)
    cases = [case(features, split)[0] for split in (ByDate(FIRST_TEST_DATE), random_split(rows, 0.2, 1))]
    alone = judge(features, cases, Engine(workers=1))
    for again, score in zip(judge(features, cases, Engine(workers=2)), alone, strict=True):
        pd.testing.assert_frame_equal(again, score, check_exact=True)
    together = stored(tmp_path / "together", pd.concat(by_symbol(study(4000))))
    for again, score in zip(judge(together, cases, Engine(workers=1)), alone, strict=True):
        pd.testing.assert_frame_equal(again, score, rtol=1e-12)


def test_the_headline_is_of_the_held_out_rows(features) -> None:
    one, rows, held = case(features, ByDate(FIRST_TEST_DATE))
    measured = headline_metrics(features, rows.chosen(~held), one.split, one.table, Engine(workers=1))
    test = rows.chosen(held)
    assert measured["mae_moving_average"] == pytest.approx(np.abs(test.features[:, 0] - test.volume).mean())
    assert measured["mae"] == pytest.approx(np.abs(looked_up(one.table, test) - test.volume).mean())
    assert measured["mae"] < measured["mae_scaled_average"] < measured["mae_moving_average"]
    assert measured["coverage"] == pytest.approx(0.8, abs=0.05)
