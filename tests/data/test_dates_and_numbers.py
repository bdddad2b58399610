"""Dates of many forms; numbers by column against the same numbers one by one."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lib.data.dates_and_numbers import date_orders, date_separator, numbers, parse_date, parse_number

TEXTS = [
    "6.85M",
    "1.2K",
    "-3B",
    "1,234",
    "80.22m",
    "1M2",
    "x",
    "",
    ".5T",
    "1,234.5M",
    "5e3",
    "5e3M",
    "0.1M",
    "+7",
    "$5",
    "7'110'196",
    "-1 234 567.5",
    "1’234,5",
    "1'23",
    "1'234 567",
]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2024-03-08",
            "2024/3/8",
            "20240308",
            "8-Mar-24",
            "March 8, 2024",
            "Fri, 8 Mar 2024",
            "Friday, March 08, 2024",
            "Fri 2024-03-08",
        ),
        *(
            "ven. 8 mars 2024",
            "2024年3月8日",
            "2024年03月08日 09:00",
            "2024년 3월 8일",
            "2024. 3. 8.",
            "2024- 03- 08",
            "1709856000",
        ),
    ],
)
def test_a_date_is_read_in_each_form(text):
    assert parse_date(text).day == 19790
    assert date_orders(text) is None


@pytest.mark.parametrize("text", ["Fri 03/08/2024", "Fri, 03.08.24", "03-08-2024"])
def test_a_date_of_two_numbers_stays_open_behind_a_day_of_the_week(text):
    assert date_orders(text) == {"day_first", "month_first"} and parse_date(text) is None
    assert parse_date(text, "month_first").day == 19790


@pytest.mark.parametrize(
    "text", ["Fri", "Fri 8", "1 2 2024-03-08", "2024年13月8日", "2024. 3- 8", "Mar 2024", "x y 2024-03-08"]
)
def test_what_is_no_date_is_not_read_as_one(text):
    assert parse_date(text, "day_first") is None


@pytest.mark.parametrize("mark", ["point", "comma"])
@pytest.mark.parametrize(
    "texts",
    [
        *(TEXTS, ["1.5M", "80.22M"], ["1.5", "2"], ["1,234", "5"], ["1,234,567.50", "-1.5"], ["1,234", "1.2.3"]),
        *(
            ["9e999999K", "5"],
            ["1,23", "5"],
            ["12,34,567", "5"],
            ["1234,567"],
            ["1,234e5", "5"],
            ["5e3", "1,234"],
            ["1.2.3", "5"],
            [],
        ),
    ],
)
def test_a_column_is_read_as_each_of_its_numbers_is(mark, texts):
    if mark == "comma":
        texts = [text.translate(str.maketrans(",.", ".,")) for text in texts]
    each = [parse_number(text, mark) for text in texts]
    assert numbers(pa.chunked_array([texts], pa.string()), mark).to_pylist() == [
        None if n is None else float(n) for n in each
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,23,263.12", 123263.12),
        ("23,00,006", 2300006),
        ("-12,34,567", -1234567),
        ("₹1,00,000", 100000),
        ("3\u2009024.5", 3024.5),
        ("432\u2009631", 432631),
        *((text, None) for text in ("1,2,3", "1,23", "123,45,678", "1,23,4567", "1,23,45", "1\u20092", "12,34,567,")),
    ],
)
def test_thousands_are_grouped_as_in_india_and_by_thin_spaces(text, value):
    found = parse_number(text)
    assert (None if found is None else float(found)) == value
    assert numbers(pa.chunked_array([[text, "1"]]), "point").to_pylist() == [value, 1]
    if text.count(",") > 1:
        assert parse_number(text.replace(",", "."), "comma") is None or "." in text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2024-03-08 Friday",
            "2024/3/8(金)",
            "2024.03.08(금)",
            "2024年3月8日(金曜日)",
            "2024-03-08 星期五",
            "8 Mar 2024, Fri.",
        ),
        *("2024-03-08 (Fr)", "20240308.0", "20240308.00"),
    ],
)
def test_a_date_is_read_with_its_weekday_behind_it_and_as_a_float(text):
    assert parse_date(text).day == 19790
    assert parse_date("20240308.5") is None and parse_date("8 Fri") is None


def test_a_weekday_behind_a_date_does_not_settle_its_order_in_silence():
    assert parse_date("03/08/2024 Fri") is None
    assert date_orders("03/08/2024 Fri") == {"day_first", "month_first"}
    assert date_separator("03/08/2024 (Fri)") == "/"
