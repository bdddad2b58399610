"""How values are written; the examples of each function run as doctests."""

from __future__ import annotations

import datetime
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lib import paths, text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.int64(12154), "12,154"),
        (np.float32(0.5), "0.5"),
        (np.float64("nan"), "–"),
        (pd.NaT, "–"),
        (pd.NA, "–"),
        (np.bool_(True), "yes"),
        (False, "no"),
        (pd.Timestamp("2000-03-01"), "2000-03-01"),
        (np.datetime64("2000-03-01"), "2000-03-01"),
        (datetime.datetime(2000, 3, 1, 12, 30), "2000-03-01 12:30:00"),
        ("<b>", "<b>"),
    ],
)
def test_as_text_takes_the_types_of_every_library(value, written):
    assert text.as_text(value) == written


@pytest.mark.parametrize("value", [0, 0.4, 999, 999.6, 999_499, 999_500, 1e6, 12_345_678, 999_999_999, 1e15])
def test_short_has_three_digits_and_never_an_exponent(value):
    written = text.short(value)
    assert "e" not in written
    number, _, unit = written.partition(" ")
    factor = {"": 1, "k": 1e3, "M": 1e6, "bn": 1e9, "tn": 1e12}[unit]
    assert float(number.replace(",", "")) * factor == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "-2+3+cmd|' /C calc'!A0", "=-1"]
)
def test_a_formula_cell_is_text(cell):
    assert text.csv_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-5", "+5.5", "-1e-3", "a=1", "", "5", -5, -0.5, None, True])
def test_other_cells_stay_as_they_are(cell):
    assert text.csv_cell(cell) is cell


def test_days_name_what_differs():
    day = datetime.date
    assert text.days(day(2013, 3, 5), day(2013, 3, 11)) == "5 to 11 March 2013"
    assert text.days(day(2013, 3, 28), day(2013, 4, 3)) == "28 March to 3 April 2013"
    assert text.days(day(2012, 3, 5), day(2013, 3, 11)) == "5 March 2012 to 11 March 2013"


def test_flattened_joins_the_keys_of_every_depth():
    assert text.flattened({"a": {"b": {"c": 1}}, "d": {}, "e": [1]}, " ") == {"a b c": 1, "e": [1]}


def test_imports_nothing_that_is_large():
    code = "import sys, lib.text; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert not {"numpy", "pandas", "pyarrow", "matplotlib", "sklearn"} & set(done.stdout.split())
