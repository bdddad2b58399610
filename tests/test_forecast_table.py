"""The file of forecasts that the dashboard reads, and what is computed from it."""

from __future__ import annotations

import datetime
import json
import math

import pytest
from serving_study import forecast_columns

from lib.forecast_table import (
    ForecastsError,
    HorizonForecast,
    SymbolForecast,
    largest_changes,
    load,
    sessions_needed,
    write,
)

AS_OF = datetime.date(2013, 3, 4)
NAMES = {"A": "Agilent", "B": None, "TRUE": "TrueCar"}


def symbol(means, low=0.5, high=2.0, average=1_000.0, name="A", stale=False):
    horizons = {
        horizon: HorizonForecast(horizon, AS_OF, AS_OF, mean, round(low * mean), round(high * mean))
        for horizon, mean in means.items()
    }
    return SymbolForecast(name, "", AS_OF, average, stale, horizons)


def test_reads_back_what_was_written(tmp_path):
    columns = forecast_columns(NAMES, AS_OF, stale=("B",))
    write(tmp_path / "forecasts.json", {**columns, "ratio": [1] * 9}, 30, 0.8)
    table = load(tmp_path / "forecasts.json")
    assert (table.window, table.interval_level, table.horizons) == (30, 0.8, [1, 5, 21])
    assert list(table.symbols) == list(NAMES)
    assert table.symbols["B"].stale and not table.symbols["A"].stale
    assert table.symbols["B"].security_name == ""
    one = table.symbols["TRUE"]
    assert one.as_of == AS_OF and one.vol_moving_avg == columns["vol_moving_avg"][-1]
    rows = zip(
        *(columns[name][-3:] for name in ("horizon", "for_from", "for_to", "forecast", "low", "high")), strict=True
    )
    assert list(one.horizons.values()) == [HorizonForecast(*row) for row in rows]


def test_horizons_come_in_any_order(tmp_path):
    columns = {name: values[::-1] for name, values in forecast_columns(NAMES, AS_OF).items()}
    write(tmp_path / "file", columns, 30, 0.8)
    assert {tuple(one.horizons) for one in load(tmp_path / "file").symbols.values()} == {(1, 5, 21)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content["columns"].pop("low"), "KeyError"),
        (lambda content: content["columns"]["low"].pop(), "ValueError"),
        (lambda content: content["columns"]["low"].__setitem__(0, 10**12), "does not hold"),
        (lambda content: content["columns"]["horizon"].__setitem__(0, 0), "does not hold"),
        (lambda content: content["columns"]["as_of"].__setitem__(0, "4 March"), "isoformat"),
        (lambda content: content.pop("window"), "window"),
    ],
)
def test_a_malformed_file_is_refused_by_name(tmp_path, change, said):
    path = tmp_path / "mine" / "forecasts.json"
    write(path, forecast_columns(NAMES, AS_OF), 30, 0.8)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ForecastsError, match=said) as caught:
        load(path)
    assert "forecasts.json" in str(caught.value) and "bash run_all.sh mine" in str(caught.value)


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
    write(tmp_path / "file", forecast_columns({f"S{n:02}": None for n in range(40)}, AS_OF, stale=("S00",)), 30, 0.8)
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
