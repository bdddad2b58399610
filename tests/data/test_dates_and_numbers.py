"""Dates of many forms; numbers by column against the same numbers one by one."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

from lib.data.dates_and_numbers import date_form, date_orders, numbers, parse_date, parse_number, proven_orders

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
    assert date_orders(text) >= {"day_first", "month_first"} and parse_date(text) is None
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


@pytest.mark.parametrize("first", [datetime.date(2003, 1, 2), datetime.date(2010, 3, 1), datetime.date(2024, 1, 2)])
@pytest.mark.parametrize(
    ("form", "order"), [("%y/%m/%d", "year_first"), ("%d/%m/%y", "day_first"), ("%m-%d-%y", "month_first")]
)
def test_the_order_of_dates_with_two_digits_for_the_year_is_that_in_which_they_follow_each_other(first, form, order):
    days = [first + datetime.timedelta(number) for number in range(0, 60, 3)]
    texts = [format(day, form) for day in days]
    assert proven_orders(texts) == {order}
    assert proven_orders(texts[::-1]) == {order}
    epoch = datetime.date(1970, 1, 1)
    assert [epoch + datetime.timedelta(parse_date(text, order).day) for text in texts] == days


def test_dates_with_two_digits_for_the_year_prove_no_order_where_several_are_possible():
    assert not proven_orders(["10/11/12", "11/11/12"])
    assert not proven_orders(["01/01/01", "02/02/02", "03/03/03"])
    assert proven_orders(["99/12/30", "00/01/04"]) == {"year_first"}
    assert parse_date("24/01/2021", "year_first") is None


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
    assert date_form("03/08/2024 (Fri)") == "/"
