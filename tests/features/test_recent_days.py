"""Each symbol's recent days: written from the features, read back as they were."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from serving_study import features

from lib.features.recent_days import DAYS, Symbols, mismatch, write_recent_days
from lib.storage import arrays

NAMES = {"A": "Agilent", "NAN": None, "ON": "ON Semiconductor", "TRUE": "TrueCar"}


def test_reads_back_the_last_days_of_each_symbol(tmp_path):
    table = features(NAMES, days=75)
    half = [features({name: NAMES[name] for name in part}, days=75) for part in (("A", "NAN"), ("ON", "TRUE"))]
    assert write_recent_days([table], tmp_path / "one", 30) == 4
    assert write_recent_days(half, tmp_path / "two", 30) == 4
    symbols = Symbols(tmp_path / "one")
    assert symbols.names == {name: title or "" for name, title in NAMES.items()}
    for symbol in NAMES:
        rows = table.filter(pa.compute.equal(table["Symbol"], symbol)).slice(75 - DAYS)
        recent = symbols.recent(symbol)
        np.testing.assert_array_equal(recent.dates, rows["Date"].to_numpy())
        np.testing.assert_array_equal(recent.volume, rows["Volume"].to_numpy())
        np.testing.assert_array_equal(recent.vol_moving_avg, rows["vol_moving_avg"].to_numpy())
        np.testing.assert_array_equal(recent.adj_close_rolling_med, rows["adj_close_rolling_med"].to_numpy())
    assert Symbols(tmp_path / "two").names.keys() == NAMES.keys()


def test_leaves_out_symbols_without_features(tmp_path):
    short, long = features({"A": None}, days=12), features({"B": None}, days=40)
    assert write_recent_days([short, short.slice(0, 0), long], tmp_path / "file", 30) == 1
    symbols = Symbols(tmp_path / "file")
    assert list(symbols.names) == ["B"]
    assert len(symbols.recent("B").dates) == 40
    assert np.isnan(symbols.recent("B").vol_moving_avg[:29]).all()
    with pytest.raises(KeyError):
        symbols.recent("A")


def test_a_run_that_adds_and_drops_symbols_shifts_nobodys_days(tmp_path):
    write_recent_days([features({"B": None, "C": None, "D": "Old"})], tmp_path / "file", 30)
    symbols = Symbols(tmp_path / "file")
    table = features({"A": None, "B": None, "D": "New"})
    write_recent_days([table], tmp_path / "file", 30)
    recent = symbols.recent("D")
    rows = table.filter(pa.compute.equal(table["Symbol"], "D"))
    np.testing.assert_array_equal(recent.volume, rows["Volume"].to_numpy()[-DAYS:])
    assert recent.security_name == "New"
    with pytest.raises(KeyError):
        symbols.recent("C")


def test_a_name_with_tabs_and_newlines_stays_one_name(tmp_path):
    write_recent_days([features({"A": "Acme\tInc.\n Class A", "B": "Bee"})], tmp_path / "file", 30)
    assert Symbols(tmp_path / "file").names == {"A": "Acme Inc. Class A", "B": "Bee"}


def test_no_symbols_are_no_error(tmp_path):
    assert write_recent_days([], tmp_path / "file", 30) == 0
    assert Symbols(tmp_path / "file").names == {}
    assert Symbols(tmp_path / "missing").names == {}


@pytest.mark.parametrize(
    ("made", "trained", "message"),
    [
        ((30, None), {"window": 30, "min_periods": 30}, ""),
        ((30, None), {"window": 30}, ""),
        ((20, None), {"window": 30, "min_periods": 30}, "are over 20 trading days and the model was trained on 30:"),
        ((30, 1), {"window": 30, "min_periods": 30}, "are over 30 trading days, 1 of them at least, and the model"),
    ],
)
def test_another_window_than_the_models_is_refused(tmp_path, made, trained, message):
    write_recent_days([features(NAMES)], tmp_path / "file", *made)
    found = Symbols(tmp_path / "file")
    refused = mismatch(found, trained, "mine")
    assert message in refused
    assert bool(refused) == bool(message)
    if refused:
        assert refused.endswith("bash run_all.sh mine")
        assert f"up to {found.last_date}," in refused


def test_same_rows_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_recent_days([features(NAMES)], tmp_path / name, 30)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: b"x",
        lambda content: content[:-9],
        lambda content: arrays.to_bytes({**arrays.from_bytes(content), "end": np.array([60, 70])}),
        lambda content: arrays.to_bytes({**arrays.from_bytes(content), "end": np.array([70, 60, 180])}),
        lambda content: arrays.to_bytes({**arrays.from_bytes(content), "window": np.array([30])}),
        lambda content: arrays.to_bytes({**arrays.from_bytes(content), "date": np.zeros(180)}),
        lambda content: arrays.to_bytes({**arrays.from_bytes(content), "symbols": np.array([255], dtype="uint8")}),
        lambda content: arrays.to_bytes({**arrays.from_bytes(content), "symbols": arrays.text_to_array("A\nB\nC")}),
    ],
)
def test_a_damaged_file_has_no_symbols_and_says_why(tmp_path, spoil):
    path = tmp_path / "symbols.safetensors"
    write_recent_days([features({"A": "a", "B": "b", "C": "c"}, days=75)], path, 30)
    assert Symbols(path).damage == ""
    path.write_bytes(spoil(path.read_bytes()))
    symbols = Symbols(path)
    assert symbols.names == {} and symbols.damage and str(tmp_path) not in symbols.damage
    why = mismatch(symbols, {"window": 30}, "sample")
    assert symbols.damage in why and why.endswith("Make it again with: bash run_all.sh sample")
