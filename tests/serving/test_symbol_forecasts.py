"""The file of forecasts that the dashboard reads, and what is computed from it."""

from __future__ import annotations

import csv
import datetime
import math

import pytest
from serving_study import write_forecasts

from lib.serving.symbol_forecasts import (
    ForecastsError,
    HorizonForecast,
    SymbolForecast,
    largest_changes,
    load,
    sessions_needed,
)

AS_OF = datetime.date(2013, 3, 4)
NAMES = {"A": "Agilent", "B": None, "TRUE": "TrueCar"}


def symbol(means, low=0.5, high=2.0, average=1_000.0, name="A", stale=False):
    horizons = {
        horizon: HorizonForecast(horizon, AS_OF, AS_OF, mean, round(low * mean), round(high * mean))
        for horizon, mean in means.items()
    }
    return SymbolForecast(name, "", AS_OF, average, stale, horizons)


def rows_of(path):
    return list(csv.DictReader(path.open(newline="")))


def test_reads_every_forecast(tmp_path):
    path = tmp_path / "forecasts.csv"
    write_forecasts(path, NAMES, AS_OF, stale=("B",), unjudged=("A",))
    table = load(path)
    assert table.symbols["B"].judged and not table.symbols["A"].judged
    assert table.horizons == [1, 5, 21] and list(table.symbols) == list(NAMES)
    assert table.symbols["B"].stale and not table.symbols["A"].stale
    assert [one.security_name for one in table.symbols.values()] == ["Agilent", "", "TrueCar"]
    for row in rows_of(path):
        one = table.symbols[row["Symbol"]]
        each = one.horizons[int(row["horizon"])]
        assert (str(one.as_of), one.vol_moving_avg) == (row["as_of"], float(row["vol_moving_avg"]))
        assert [str(each.for_from), str(each.for_to)] == [row["for_from"], row["for_to"]]
        assert [each.forecast, each.low, each.high] == [int(row[name]) for name in ("forecast", "low", "high")]
        assert one.change(each.horizon) == pytest.approx(float(row["ratio"]) - 1)


def test_rows_and_columns_come_in_any_order(tmp_path):
    path = tmp_path / "forecasts.csv"
    write_forecasts(path, NAMES, AS_OF)
    right = load(path)
    rows = rows_of(path)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0])[::-1])
        writer.writeheader()
        writer.writerows(rows[::-1])
    assert load(path).symbols == right.symbols
    assert {tuple(one.horizons) for one in load(path).symbols.values()} == {(1, 5, 21)}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("low", "lowest", "the header must have low once"),
        ("A,Agilent", "A", "line 2: 12 cells; the header has 13"),
        ("2013-03-05", "5 March", "line 2: for_from is '5 March'; allowed: a date as YYYY-MM-DD"),
        ("false", "no", "line 2: stale is 'no'; allowed: true or false"),
        ("false", '"fal', "unexpected end of data"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, old, new, message):
    path = tmp_path / "mine" / "forecasts.csv"
    write_forecasts(path, NAMES, AS_OF)
    content = path.read_text()
    path.write_text(content.replace(old, new, 1))
    with pytest.raises(ForecastsError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith("forecasts.csv: ") and "bash run_all.sh mine" in str(caught.value)


def test_a_study_without_forecasts_has_no_table(tmp_path):
    assert load(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        (1, 1),
        (100, 1),  # a tenth of the first session's 1,000
        (101, 2),
        (1_000, 5),  # the five sessions' total is 10,000: after the first, 2,250 each
        (325, 2),
        (326, 3),
        (1_001, 6),
        (1_160, 6),  # then (21 x 1,714.28... - 10,000) / 16 each
        (3_600, 21),
        (36_000, 210),  # as on average until there
    ],
)
def test_sessions_follow_the_forecast_total(shares, expected):
    one = symbol({1: 1_000, 5: 2_000, 21: 36_000 // 21 + 1})
    assert sessions_needed(one, shares, 0.1)[0] == pytest.approx(expected, abs=0)


def test_the_range_of_sessions_encloses_them():
    one = symbol({1: 1_000, 5: 2_000, 21: 1_500})
    for shares in (1, 99, 100, 5_000, 10**7):
        expected, fewest, most = sessions_needed(one, shares, 0.25)
        assert 1 <= fewest <= expected <= most
        assert all(number == int(number) for number in (expected, fewest, most))


def test_without_volume_a_position_is_never_traded():
    assert sessions_needed(symbol({1: 0, 5: 0}), 1, 1) == (math.inf,) * 3
    assert sessions_needed(symbol({1: 10}, low=0), 1, 1) == (1, 1, math.inf)


def test_a_mean_that_falls_steeply_gives_no_negative_session():
    assert sessions_needed(symbol({1: 1_000, 5: 100, 21: 200}), 1_100, 1)[0] == 6


def test_largest_changes_are_rises_then_falls(tmp_path):
    write_forecasts(tmp_path / "file", {f"S{n:02}": None for n in range(40)}, AS_OF, stale=("S00",))
    table = load(tmp_path / "file")
    rows = largest_changes(table, 5, 4_000_001, 3)
    changes = [one.change(5) for one in rows]
    assert changes == sorted(changes, reverse=True) and changes[2] > 0 > changes[3] and len(rows) == 6
    eligible = [one.change(5) for one in table.symbols.values() if one.vol_moving_avg > 4e6]
    assert (changes[0], changes[-1]) == (max(eligible), min(eligible))
    assert largest_changes(table, 1, 1e15, 3) == []
    assert "S00" not in {one.symbol for one in largest_changes(table, 1, 0, 100)}


def test_no_change_beside_an_average_of_zero():
    assert symbol({1: 5}, average=0.0).change(1) is None
