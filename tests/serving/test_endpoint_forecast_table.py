"""The forecasts that a server answers: read whole or refused with line and column, found by symbol, filtered, written."""

from __future__ import annotations

import csv
import io
import json

import pytest
from serving_study import write_three_forecasts

from lib.evaluation.forecast_file import COLUMNS, KEYS, LARGEST
from lib.serving.endpoint.forecast_table import ForecastTable, UnknownSymbolError, nearest


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "forecasts.csv"
    write_three_forecasts(path)
    return path


@pytest.fixture
def table(path):
    return ForecastTable.load(path)


def change(path, line, column, text):
    """Put ``text`` into one cell of a file."""
    rows = list(csv.reader(path.open(newline="")))
    rows[line - 1][rows[0].index(column)] = text
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def test_gives_a_symbol_s_forecasts(table):
    found = json.loads(table.of("AAPL"))
    assert {key: found[key] for key in ("symbol", "security_name", "as_of", "stale", "judged", "vol_moving_avg")} == {
        "symbol": "AAPL",
        "security_name": "Apple Inc.",
        "as_of": "2013-03-01",
        "stale": False,
        "judged": True,
        "vol_moving_avg": 1000000.0,
    }
    assert [one["horizon"] for one in found["forecasts"]] == [1, 5, 21]
    assert found["forecasts"][0] == {
        "for_from": "2013-03-04",
        "for_to": "2013-03-04",
        "horizon": 1,
        "forecast": 900000,
        "low": 700000,
        "high": 1300000,
        "ratio": 0.9,
    }
    assert [one["horizon"] for one in json.loads(table.of("AAPL", 5))["forecasts"]] == [5]
    assert json.loads(table.of("ZED"))["security_name"] is None


def test_takes_columns_by_name(path, table):
    rows = [row[::-1] for row in csv.reader(path.open(newline=""))]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert ForecastTable.load(path).json(table.select()) == table.json(table.select())


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [("appl", "AAPL"), ("APPL", "AAPL"), ("AAP", "AAPL"), ("AAPLE", "AAPL"), ("TR", "TRUE"), ("ZDE", "ZED")],
)
def test_names_the_nearest_symbols(table, asked, nearest):
    with pytest.raises(UnknownSymbolError, match=f"the nearest are .*{nearest}"):
        table.of(asked)


@pytest.mark.parametrize("asked", ["", "QQQQQQ", "A" * 100_000])
def test_names_none_where_none_is_near(table, asked):
    assert nearest(asked, ["AAPL", "TRUE", "ZED"]) == []


def test_a_symbol_may_be_in_another_letter_case_where_that_leaves_one(path, table):
    assert json.loads(table.of("aapl"))["symbol"] == "AAPL"
    assert table.of("Aapl", 5) == table.of("AAPL", 5)
    assert table.select(["zed", "AaPl"]).tolist() == table.select(["ZED", "AAPL"]).tolist()
    path.write_text(path.read_text().replace("TRUE,", "aapl,"))
    table = ForecastTable.load(path)
    assert [json.loads(table.of(symbol))["symbol"] for symbol in ("AAPL", "aapl")] == ["AAPL", "aapl"]
    for ask in (table.of, lambda symbol: table.select([symbol])):
        with pytest.raises(UnknownSymbolError, match=r"the nearest are AAPL, aapl$"):
            ask("Aapl")


def test_filters(table):
    def found(*filters):
        return [(row["symbol"], row["horizon"]) for row in json.loads(table.json(table.select(*filters)))]

    assert len(found()) == 9
    assert found(["ZED", "AAPL"], 5) == [("AAPL", 5), ("ZED", 5)]
    assert found(None, 1, 1.1) == [("TRUE", 1)]
    assert found(None, 1, None, 0.95) == [("AAPL", 1)]
    assert found(None, 1, 2.0) == []
    assert found([]) == []
    with pytest.raises(UnknownSymbolError):
        found(["AAPL", "nothing"])


def test_csv_has_the_file_s_columns_and_no_formula(path):
    change(path, 2, "Security Name", '=1+1, "x"')
    table = ForecastTable.load(path)
    header, first, *rest = csv.reader(io.StringIO(table.csv(table.select()).decode()))
    assert header == list(COLUMNS)
    assert first[:2] == ["AAPL", '\'=1+1, "x"']
    assert len(rest) == 8
    assert json.loads(table.of("AAPL"))["security_name"] == '=1+1, "x"'
    assert tuple(json.loads(table.json(table.select()))[0]) == KEYS


@pytest.mark.parametrize(
    ("column", "text", "message"),
    [
        ("Symbol", "", "line 3: Symbol is empty"),
        ("as_of", "2013-02-30", "line 3: as_of is '2013-02-30'; allowed: a date"),
        ("for_from", "2013-02-28", "line 3: as_of 2013-03-01 is above for_from 2013-02-28"),
        ("horizon", "0", "line 3: horizon is 0"),
        ("horizon", "1", "line 3: AAPL has horizon 1 more than once"),
        ("horizon", "five", "line 3: horizon is 'five'"),
        ("forecast", "1e6", "line 3: forecast is '1e6'; allowed: a whole number"),
        ("forecast", "-1", "line 3: forecast is '-1'"),
        ("low", "99999999", "line 3: low 99999999 is above forecast"),
        ("high", str(LARGEST + 1), "line 3: high is"),
        ("high", "1" * 5000, "line 3: high is"),
        ("vol_moving_avg", "nan", "line 3: vol_moving_avg is 'nan'; allowed: a number from 0"),
        ("vol_moving_avg", "inf", "line 3: vol_moving_avg is 'inf'"),
        ("ratio", "-0.1", "line 3: ratio is '-0.1'"),
        ("stale", "perhaps", "line 3: stale is 'perhaps'; allowed: true or false"),
        ("judged", "", "line 3: judged is ''; allowed: true or false"),
    ],
)
def test_refuses_a_wrong_cell_with_line_and_column(path, column, text, message):
    change(path, 3, column, text)
    with pytest.raises(ValueError, match=r"forecasts\.csv: ") as error:
        ForecastTable.load(path)
    assert message in str(error.value)
    assert "bash run_all.sh" in str(error.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "", "the header must have Symbol once"),
        (lambda text: text.replace("stale", "fresh", 1), "the header must have stale once"),
        (lambda text: text.replace("ZED,", "ZED,,", 1), "line 8: 14 cells; the header has 13"),
        (lambda text: text.splitlines()[0], "it has no rows"),
        (lambda text: text[:-40], "cells; the header has 13"),
        (lambda text: text + '"', "unexpected end of data"),
        (lambda text: text.encode("utf-16").decode("latin-1"), "forecasts.csv: "),
    ],
    ids=["empty", "other header", "a column more", "header alone", "cut", "open quote", "no UTF-8"],
)
def test_refuses_a_damaged_file(path, damage, message):
    path.write_bytes(damage(path.read_text()).encode("latin-1"))
    with pytest.raises(ValueError, match=r"forecasts\.csv: ") as error:
        ForecastTable.load(path)
    assert message in str(error.value)


def test_takes_the_largest_forecast_that_is_written(path):
    change(path, 3, "high", str(LARGEST))
    assert json.loads(ForecastTable.load(path).of("AAPL"))["forecasts"][1]["high"] == LARGEST


def test_a_ratio_may_be_missing(path):
    change(path, 2, "ratio", "")
    table = ForecastTable.load(path)
    assert json.loads(table.of("AAPL", 1))["forecasts"][0]["ratio"] is None
    assert table.select(["AAPL"], 1, 0.0).tolist() == []
