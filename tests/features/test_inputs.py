"""Numbers as programs and people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.features.inputs import InputError, number, written_number
from lib.text import as_text, plain_number, short


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3,226,530", 3226530),
        ("3 226 530", 3226530),
        ("3\N{THIN SPACE}226\N{THIN SPACE}530", 3226530),
        ("3\N{NARROW NO-BREAK SPACE}226\N{NARROW NO-BREAK SPACE}530", 3226530),
        ("1'234.5", 1234.5),
        ("5M", 5e6),
        ("5 m", 5e6),
        ("3.86 M", 3.86e6),
        ("12.3 k", 12300),
        ("2.1 bn", 2.1e9),
        ("1 tn", 1e12),
        ("$25", 25),
        ("$ 1,000.50", 1000.5),
        ("25 €", 25),
        ("-$5", -5),
        ("12,345 shares", 12345),
        ("1.2e6", 1.2e6),
        (" .5 ", 0.5),
        ("5.", 5),
    ],
)
def test_takes_what_people_write(text, value):
    assert written_number("volume", text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    ["abc", "NaN", "inf", "1_000", "0x10", "$", "-", "", "1,23", "1,2345", "1,234 567", "1e5M", "5 X", "١٢", "1" * 65],
)
def test_refuses_the_rest_by_name(text):
    with pytest.raises(InputError, match=r"^The average "):
        written_number("The average", text)


@pytest.mark.parametrize(("text", "decimal"), [("25,5", "."), ("25.5", ",")])
def test_says_which_mark_stands_before_decimals(text, decimal):
    with pytest.raises(InputError, match=f"a {'point' if decimal == '.' else 'comma'} stands before decimals"):
        written_number("price", text, decimal)
    assert written_number("price", text, "," if decimal == "." else ".") == 25.5


@pytest.mark.parametrize("text", ["1,500", "5M", "$25", " 5", "1 000"])
def test_programs_write_decimals_only(text):
    with pytest.raises(InputError):
        number("vol_moving_avg", text)


@given(st.integers(0, 10**15))
def test_takes_what_the_page_prints(value):
    assert written_number("volume", f"{value:,}") == value
    assert written_number("volume", as_text(value)) == value
    assert written_number("volume", plain_number(value)) == value
    assert written_number("volume", short(value)) == pytest.approx(value, rel=0.006)


@given(st.text(max_size=20), st.sampled_from(".,"))
def test_any_text_is_a_finite_number_or_refused(text, decimal):
    try:
        assert abs(written_number("volume", text, decimal)) < float("inf")
    except InputError as error:
        assert str(error).startswith("volume ")
