"""Rows and splits, against rows written by hand."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from evaluation_rows import TWO_PARTS, Parts, all_rows, frame, study
from hypothesis import given
from hypothesis import strategies as st

from lib.evaluation.rows import (
    ShortPricesError,
    chronological_split,
    distinct_days,
    joined,
    random_split,
    split_at,
    symbol_split,
)


def test_rows_without_features_are_left_out_and_symbols_numbered_over_all_parts() -> None:
    rows = all_rows(TWO_PARTS)
    assert [rows.symbols[number] for number in rows.symbol] == ["A", "A", "A", "B", "D"]
    assert rows.volume.tolist() == [20, 30, 40, 2, 300]
    assert rows.features.tolist() == [[15, 150], [25, 250], [35, 350], [1.5, 15], [200, 2000]]
    assert rows.previous_volume.tolist() == [10, 20, 30, 1, 100]
    assert rows.date.astype(object).tolist()[0] == date(2020, 1, 2)
    assert len(rows) == 5


def test_at_horizon_1_the_features_are_those_of_the_symbols_row_before() -> None:
    rows = all_rows(TWO_PARTS, 1)
    assert [rows.symbols[number] for number in rows.symbol] == ["A", "A"]
    assert rows.volume.tolist() == [30, 40]
    assert rows.features.tolist() == [[15, 150], [25, 250]]
    assert rows.previous_volume.tolist() == [20, 30]
    assert [str(day) for day in rows.date] == ["2020-01-03", "2020-01-04"]


def test_without_a_row_before_the_last_value_is_the_average() -> None:
    rows = all_rows(Parts(frame("A", [10, 30], [10.0, 20.0])))
    assert rows.previous_volume.tolist() == [10.0, 10.0]


def test_no_features_at_all_is_an_error_that_says_what_to_do() -> None:
    one, three = frame("A", [1], [None]), frame("B", [1, 2, 3], [None, None, None])
    with pytest.raises(
        ShortPricesError, match=r"no symbol has more than 1 row, .*; provide a longer price history, a year or more$"
    ):
        all_rows(Parts(one))
    with pytest.raises(ShortPricesError, match=r"more than 3 rows, .* a year or more, or lower features.window$"):
        all_rows(Parts(one, three))


@given(st.integers(2, 60), st.floats(0.01, 0.99))
def test_the_chronological_split_cuts_at_one_date(days: int, share: float) -> None:
    rows = study(2 * days)
    test = chronological_split(distinct_days(rows.date), share).test(rows)
    assert rows.date[~test].max() < rows.date[test].min()
    held = len(np.unique(rows.date[test]))
    assert 1 <= held <= days - 1
    assert held == pytest.approx(days * share, abs=1)


def test_random_and_symbol_splits_hold_out_their_share() -> None:
    rows = study(1000, symbols=10)
    random = random_split(rows, 0.2, 42)
    assert random.test(rows).sum() == 200
    assert (random.test(rows) != random_split(rows, 0.2, 43).test(rows)).any()
    held = symbol_split(rows.symbols, 0.2, 42)
    assert len(held.held) == 2
    assert {rows.symbols[index] for index in rows.symbol[held.test(rows)]} == held.held
    assert len({symbol_split(rows.symbols, 0.2, seed).held for seed in range(20)}) > 5


def test_what_is_held_out_does_not_depend_on_how_rows_are_cut() -> None:
    rows = study(1000, symbols=10)
    for split in (random_split(rows, 0.2, 42), symbol_split(rows.symbols, 0.2, 42)):
        pieces = [rows.chosen(slice(start, start + 77)) for start in range(0, 1000, 77)]
        assert (np.concatenate([split.test(piece) for piece in pieces]) == split.test(rows)).all()


def test_rows_held_out_at_random_are_of_every_symbol_and_year() -> None:
    rows = study(20_000, symbols=10)
    test = random_split(rows, 0.2, 7).test(rows)
    for groups in (rows.symbol, rows.date.astype("datetime64[Y]").astype(int)):
        shares = np.bincount(groups, test)[np.unique(groups)] / np.bincount(groups)[np.unique(groups)]
        assert (abs(shares - 0.2) < 0.07).all()


def test_what_cannot_be_split_is_said() -> None:
    days = distinct_days(study(10).date)
    with pytest.raises(ValueError, match="both features exist for 1 day, and at least 2 are needed"):
        chronological_split(days[:1], 0.2)
    with pytest.raises(ValueError, match="1 symbol; a split by symbol needs 2"):
        symbol_split(["A"], 0.2, 42)
    with pytest.raises(ValueError, match="no row is on or after 2030-01-01"):
        split_at(days, np.datetime64("2030-01-01"))
    with pytest.raises(ValueError, match="no row is before 1990-01-01"):
        split_at(days, np.datetime64("1990-01-01"))


def test_joined_rows_are_those_of_the_parts() -> None:
    rows = all_rows(TWO_PARTS)
    again = joined([all_rows(Parts(part)) for part in (TWO_PARTS.frames[0], TWO_PARTS.frames[2])])
    assert [again.symbols[index] for index in again.symbol] == [rows.symbols[index] for index in rows.symbol]
    assert (again.volume == rows.volume).all()
