"""Long hostile texts take no time: of 200,000 characters, a pattern that takes the square of a text's length would not end."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

import lib.data
from lib.data import plans, text_files
from lib.data.column_names import normalised
from lib.data.dates_and_numbers import Moment, parse_date, parse_number
from lib.data.detect import symbol_of

LONG = 200_000  # characters
BEGINNINGS = ("", "1", "1.", "1 234", "2021-01-04", "2021-01-04 10:00", "1 jan", "mon", "a", "quote-equity-a", "WIKI-a")
REPEATED = ("1", " ", "(", "A", "a", ".", "-", "_", ",", "\t", '"', " 123", ",123", "(1", "-aa-", ", 1D", ".csv")


def patterns():
    for module in pkgutil.iter_modules(lib.data.__path__, "lib.data."):
        for name, value in vars(importlib.import_module(module.name)).items():
            for number, each in enumerate(value if isinstance(value, tuple) else (value,)):
                if isinstance(each, re.Pattern):
                    yield pytest.param(each, id=f"{module.name}.{name}.{number}")


@pytest.mark.parametrize("pattern", [*patterns()])
def test_no_pattern_takes_the_square_of_a_texts_length(pattern):
    for beginning in BEGINNINGS:
        for repeated in REPEATED:
            text = (beginning + repeated * LONG)[:LONG] + "!\n"
            pattern.fullmatch(text.encode() if isinstance(pattern.pattern, bytes) else text)


def test_a_long_field_is_no_number_and_no_date_at_once():
    assert parse_number("1" * LONG + "x") is None and parse_number("1" * LONG + ".x") is None
    assert parse_date("2021-01-04 10:00" + " " * LONG + "x") is None
    assert parse_date("2021-01-04 10:00   PM   UTC") == parse_date("2021-01-04 10:00PM") == Moment(18631, "10:00 PM")
    assert [str(parse_number(text)) for text in ("1", "1.", ".5", "1.5e3")] == ["1", "1", "0.5", "1.5E+3"]


def test_a_row_with_a_long_field_is_set_aside_at_once():
    row = "2021-01-{:02},10,11,9,10,{}\n"
    text = "Date,Open,High,Low,Close,Volume\n" + row.format(4, 5) + row.format(5, "1" * LONG + "x")
    plan = plans.plan_file(text.encode()).plan
    rows = text_files.read_rows([text_files.body_of(text.encode(), plan)], plan)
    assert rows.table["Volume"].to_pylist() == [5] and rows.bad[1].startswith("unparsable value: Volume is '111")


def test_a_column_called_by_a_long_text_has_a_name_at_once():
    assert normalised("é" + "(" * LONG) == "e"
    assert normalised("é" + "\u0301\u0316" * LONG) == "e"
    assert normalised("成交量(股)") == normalised("成交量（千(股)") == "成交量"


def test_a_file_called_by_a_long_text_has_a_symbol_at_once():
    assert symbol_of("quote-equity-ab" + "-aa-" * LONG + "\n") == "ab"
