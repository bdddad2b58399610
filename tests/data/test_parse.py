"""Prices are what an independent reading, row by row, makes of the same bytes; and every row is kept or quarantined."""

from __future__ import annotations

import csv
import datetime
import math
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import pyarrow as pa
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_archives import HEADER, price_rows

from lib.data import parse, schema
from lib.data.archive import PriceFile
from lib.data.ingest import IngestPart
from lib.data.parse import Body, Parsed, Source
from lib.data.rows import CODES

GOOD = "2020-01-02,1,2,0.5,1.5,1.25,100"


# An independent reading: what is in a file, by the csv module, datetime and Decimal.


@dataclass
class Reading:
    """What a file holds: rows by date, and of the bad ones, line number, kind of reason and raw text."""

    good: dict[datetime.date, tuple] = field(default_factory=dict)
    bad: list[tuple[int | None, str, str | None]] = field(default_factory=list)
    read: int = 0
    refused: bool = False


def read_number(text: str) -> float | None:
    if set(text) - set("0123456789+-.eE"):
        return None
    try:
        number = float(Decimal(text))
    except (InvalidOperation, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_row(line: bytes) -> tuple | str:
    """The row's values, or the first word of the reason why it is bad, or nothing for what is no row."""
    try:
        texts = [text.strip(" \t") for text in next(csv.reader([line.removeprefix(b"\xef\xbb\xbf").decode("utf-8")]))]
    except UnicodeDecodeError:
        return "not"
    if not any(texts) or ",".join(texts) == HEADER:
        return ""
    if len(texts) != 7:
        return "wrong"
    if any(text.lower() in ("", "nan", "null", "none", "na", "n/a", "nat") for text in texts):
        return "null"
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", texts[0]):
        return "unparsable"
    try:
        date = datetime.date(*map(int, texts[0].split("-")))
    except ValueError:
        return "unparsable"
    numbers = [read_number(text) for text in texts[1:]]
    if None in numbers:
        return "unparsable"
    if numbers[5] < 0:
        return "negative"
    # Up to 2**53 a volume is the float64 that is nearest to its text, as every reader has it; beyond, it is exact.
    volume = Decimal(numbers[5]) if numbers[5] < 2**53 else Decimal(texts[6])
    if volume >= 2**63:
        return "volume"
    return (date, *numbers[:5], int(volume)) if volume == int(volume) else "fractional"


def read_file(content: bytes) -> Reading:
    lines = content.removeprefix(b"\xef\xbb\xbf").splitlines()
    reading = Reading()
    text = [(number, line) for number, line in enumerate(lines[1:], start=2) if line]
    header = lines[0].decode("utf-8", "replace").split(",") if lines else []
    good_header = [name.strip(' \t"') for name in header] == HEADER.split(",")
    if not good_header or not text:
        kind = "no" if good_header else "wrong" if content.strip() else "empty"
        reading.refused, reading.read = True, len(text)
        reading.bad = [(number, kind, shown(line)) for number, line in text] or [(None, kind, None)]
        return reading
    lines: dict[datetime.date, tuple[int, bytes]] = {}
    for number, line in text:
        row = read_row(line)
        reading.read += row != ""
        if isinstance(row, str):
            reading.bad += [(number, row, shown(line))] if row else []
            continue
        if row[0] in reading.good:  # the last one counts
            earlier, text = lines[row[0]]
            reading.bad.append((earlier, "repeated", shown(text)))
        reading.good[row[0]], lines[row[0]] = row, (number, line)
    reading.bad.sort()
    return reading


def shown(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")


# What lib makes of it.


def parse_alone(content: bytes, symbol: str = "A", security_name: str | None = "A Inc.") -> Parsed:
    body = parse.split_body(content)
    digest = blake3(content).hexdigest()
    source = Source(f"stocks/{symbol}.csv", symbol, security_name, digest, len(content), body)
    return parse.parse([source], memoryview(body.text), [len(body.text)])


def parse_rows(*rows: str | bytes) -> Parsed:
    lines = [HEADER.encode(), *(row.encode() if isinstance(row, str) else row for row in rows)]
    return parse_alone(b"".join(line + b"\n" for line in lines))


def values(table: pa.Table) -> list[tuple]:
    return list(zip(*(table[name].to_pylist() for name in schema.COLUMNS), strict=True))


def reasons(parsed: Parsed) -> list[str]:
    return parsed.quarantine["reason"].to_pylist()


def assert_same_as_reading(parsed: Parsed, content: bytes) -> None:
    reading = read_file(content)
    assert repr(values(parsed.prices)) == repr([reading.good[date] for date in sorted(reading.good)])
    assert set(parsed.quarantine["code"].to_pylist()) <= CODES
    quarantined = [(row["line"], row["reason"].split(" ")[0], row["raw"]) for row in parsed.quarantine.to_pylist()]
    assert quarantined == reading.bad
    account = parsed.files.to_pylist()[0]
    assert account["rows_read"] == reading.read
    assert account["rows_kept"] == len(reading.good)
    assert account["rows_quarantined"] == reading.read - len(reading.good)
    assert (account["refused"] is not None) == reading.refused
    assert (account["first_date"], account["last_date"]) == (
        (min(reading.good), max(reading.good)) if reading.good else (None, None)
    )


# Single rows.


@pytest.mark.parametrize(
    ("row", "volume"),
    [
        (GOOD, 100),
        ("2020-01-02,1,2,.5,1.5,1.25,123.0", 123),
        ("2020-01-02,1,2,.5,1.5,1.25,1e3", 1000),
        (' 2020-01-02 ,1,"2",0.5,1.5,\t1.25,100', 100),
        ("2020-01-02,1,2,0.5,1.5,1.25,9007199254740993", 2**53 + 1),
        ("2020-01-02,1,2,0.5,1.5,1.25,9223372036854775807", 2**63 - 1),
        ("2020-01-02,1,2,0.5,1.5,1.25,9007199254740993.0", 2**53 + 1),
        ("2020-01-02,1,2,0.5,1.5,1.25,-0", 0),
    ],
)
def test_a_good_row(row, volume):
    parsed = parse_rows(row)
    assert values(parsed.prices) == [(datetime.date(2020, 1, 2), 1.0, 2.0, 0.5, 1.5, 1.25, volume)]
    assert parsed.quarantine.num_rows == 0
    assert parsed.prices.cast(schema.PRICES).schema == schema.PRICES


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2020-01-02,,,,,,", "null value: Open, High, Low, Close, Adj Close, Volume"),
        ("2020-01-02,1,2,0.5,1.5,nan,100", "null value: Adj Close"),
        ("2020-01-02,1,2,0.5,1.5,NULL,100", "null value: Adj Close"),
        (",1,2,0.5,1.5,1.25,100", "null value: Date"),
        ("2020-01-02,1,x,0.5,1.5,1.25,100", "unparsable value: High is 'x'"),
        ("2020-01-02,1,inf,0.5,1.5,1.25,100", "unparsable value: High is 'inf'"),
        ("2020-01-02,1,1e400,0.5,1.5,1.25,100", "unparsable value: High is '1e400'"),
        ("2020-01-02,1,1_0,0.5,1.5,1.25,100", "unparsable value: High is '1_0'"),
        ("2020-01-02,1,0x1,0.5,1.5,1.25,100", "unparsable value: High is '0x1'"),
        ("2020-01-02,1,１,0.5,1.5,1.25,100", "unparsable value: High is '１'"),
        ("2020-01-02,1,2,0.5,1.5,1.25,1\x00", "unparsable value: Volume is '1\\x00'"),
        ("2020-02-30,1,2,0.5,1.5,1.25,100", "unparsable date: '2020-02-30', expected YYYY-MM-DD"),
        ("01/02/2020,1,2,0.5,1.5,1.25,100", "unparsable date: '01/02/2020', expected YYYY-MM-DD"),
        ("20200102,1,2,0.5,1.5,1.25,100", "unparsable date: '20200102', expected YYYY-MM-DD"),
        ("0000-01-02,1,2,0.5,1.5,1.25,100", "unparsable date: '0000-01-02', expected YYYY-MM-DD"),
        ("2020-01-02,1,2,0.5,1.5,1.25,-100", "negative volume: '-100'"),
        ("2020-01-02,1,2,0.5,1.5,1.25,100.5", "fractional volume: '100.5'"),
        ("2020-01-02,1,2,0.5,1.5,1.25,9007199254740993.5", "fractional volume: '9007199254740993.5'"),
        ("2020-01-02,1,2,0.5,1.5,1.25,9223372036854775808", "volume too large: '9223372036854775808'"),
        ("2020-01-02,1,2,0.5,1.5,1.25", "wrong number of fields: 6, expected 7"),
        ("2020-01-02,1,2,0.5,1.5,1.25,100,", "wrong number of fields: 8, expected 7"),
        ('"2020-01-02,1,2,0.5,1.5,1.25,100', "wrong number of fields: 1, expected 7"),
        (b"2020-01-02,1,2,0.5,1.5,1.25,1\xff0", "not UTF-8: byte 0xff at position 30"),
    ],
)
def test_a_bad_row_costs_only_itself(row, reason):
    after = GOOD.replace("01-02", "01-03")
    parsed = parse_rows(GOOD.replace("01-02", "01-01"), row, after)
    assert reasons(parsed) == [reason]
    record = parsed.quarantine.to_pylist()[0]
    assert (record["file"], record["line"]) == ("stocks/A.csv", 3)
    assert record["raw"] == (shown(row) if isinstance(row, bytes) else row)
    assert [date.day for date in parsed.prices["Date"].to_pylist()] == [1, 3]


@pytest.mark.parametrize(
    "row", [GOOD.replace("2020", "0000"), GOOD.replace(",100", ",-100"), GOOD.replace(",100", ",9223372036854775808")]
)
def test_a_null_row_hides_no_bad_one(row):
    assert row != GOOD
    found = reasons(parse_rows(GOOD, row, "2020-01-03,,,,,,", ",1,2,0.5,1.5,1.25,100"))
    assert len(found) == 3
    assert not found[0].startswith("null value")


def test_dates_out_of_order_are_sorted_and_counted():
    parsed = parse_rows(*(f"2020-01-{day:02},1,1,1,1,1,{day}" for day in (3, 1, 2, 5, 4)))
    assert parsed.prices["Volume"].to_pylist() == [1, 2, 3, 4, 5]
    account = parsed.files.to_pylist()[0]
    assert (account["dates_out_of_order"], account["rows_kept"], account["rows_quarantined"]) == (2, 5, 0)
    assert (account["first_date"].day, account["last_date"].day) == (1, 5)


@pytest.mark.parametrize("line", ["   ", ",,,,,,", ",,,", '"",""', HEADER, HEADER.replace(",", ", "), "\t"])
def test_what_is_no_row_is_neither_kept_nor_set_aside(line):
    parsed = parse_rows(GOOD.replace("01-02", "01-01"), line, GOOD)
    account = parsed.files.to_pylist()[0]
    assert (account["rows_read"], account["rows_kept"], account["rows_quarantined"]) == (2, 2, 0)
    assert parsed.quarantine.num_rows == 0
    # The numbers of the lines behind it stay right.
    assert parse_rows(GOOD, line, GOOD.replace(",100", ",-1")).quarantine["line"].to_pylist() == [4]


def test_of_a_repeated_date_the_last_row_counts():
    parsed = parse_rows(
        *(f"2020-01-{day:02},1,1,1,1,1,{volume}" for day, volume in [(2, 10), (1, 20), (2, 30), (1, 40), (3, 50)])
    )
    assert parsed.prices["Volume"].to_pylist() == [40, 30, 50]
    records = parsed.quarantine.to_pylist()
    assert [(record["line"], record["code"], record["reason"]) for record in records] == [
        (2, "repeated_date", "repeated date: 2020-01-02 comes again further down"),
        (3, "repeated_date", "repeated date: 2020-01-01 comes again further down"),
    ]
    assert records[0]["raw"] == "2020-01-02,1,1,1,1,1,10"
    assert parsed.files["rows_repeated"].to_pylist() == [2]


def odd(parsed: Parsed) -> dict[str, int]:
    """What is counted as odd in the first file."""
    account = parsed.files.to_pylist()[0]
    return {name: account[name] for name in schema.ODD if account[name]}


def test_what_is_known_of_odd_values_is_in_the_accounts():
    assert odd(parse_rows(*price_rows("A", 100))) == {}


@pytest.mark.parametrize(
    ("change", "counted"),
    [
        ({4: "0"}, {"adj_close_not_positive": 1}),
        ({4: "-1"}, {"adj_close_not_positive": 1}),
        ({5: "0"}, {"zero_volume": 1}),
        ({0: "0"}, {"price_not_positive": 1}),  # as Yahoo has old prices without an Open
        ({0: "0", 1: "0", 2: "0"}, {"price_not_positive": 1}),
        ({1: "9.4", 2: "9.5"}, {"high_below_low": 1, "outside_range": 1}),
        ({3: "11.02"}, {"outside_range": 1}),
        ({3: "9.48"}, {"outside_range": 1}),
        ({0: "11.02"}, {"outside_range": 1}),
        ({3: "11.004"}, {}),  # half a cent, or a tenth of a percent, is rounding
        ({3: "9.4955"}, {}),
        ({0: "1000", 1: "1100", 2: "950", 3: "1000"}, {"price_jump": 1}),
        ({0: "0.1", 1: "0.11", 2: "0.095", 3: "0.1"}, {"price_jump": 1}),
        ({1: "1100"}, {"price_jump": 1}),
        ({2: "0.01"}, {"price_jump": 1}),
        ({0: "100", 1: "110", 2: "95", 3: "100"}, {}),
    ],
)
def test_odd_but_possible_values_are_kept_and_counted(change, counted):
    rows = [[f"2020-01-{day:02}", "10", "11", "9.5", "10", "10", "5"] for day in range(1, 25)]
    for number, text in change.items():
        rows[7][number + 1] = text
    parsed = parse_rows(*map(",".join, rows))
    assert odd(parsed) == counted
    assert parsed.prices.num_rows == len(rows)
    assert odd(parse_rows(*map(",".join, reversed(rows)))) == {**counted, "dates_out_of_order": 23}


def test_a_new_level_of_prices_is_no_jump_but_a_last_day_far_off_is():
    rows = [f"2020-01-{day:02},{p},{p},{p},{p},{p},5" for day, p in enumerate([10] * 5 + [1000] * 5, start=1)]
    assert odd(parse_rows(*rows)) == {}
    assert odd(parse_rows(*rows[:6])) == {"price_jump": 1}


def test_the_neighbours_of_a_row_are_those_of_its_own_file():
    bodies = [
        parse.split_body(f"{HEADER}\n{day},{p},{p},{p},{p},{p},5\n".encode())
        for p, day in [(1, "2020-01-01"), (1000, "2021-01-01"), (1, "2022-01-01")]
    ]
    sources = [Source(f"stocks/{n}.csv", f"{n}", None, "", 0, body) for n, body in enumerate(bodies)]
    joined = b"".join(body.text for body in bodies)
    ends = [len(b"".join(body.text for body in bodies[: n + 1])) for n in range(3)]
    parsed = parse.parse(sources, memoryview(joined), ends)
    assert all(parsed.files[name].to_pylist() == [0, 0, 0] for name in schema.ODD)


@pytest.mark.parametrize(
    ("date", "counted"),
    [
        ("2099-01-01", {"date_gap": 1}),
        ("2020-02-26", {"date_gap": 1}),
        ("2020-02-25", {}),
        ("1791-01-03", {"date_before_exchanges": 1, "date_gap": 1, "dates_out_of_order": 1}),
    ],
)
def test_dates_that_stand_apart(date, counted):
    rows = [GOOD.replace("01-02", f"01-{day}") for day in range(10, 26)]
    assert odd(parse_rows(*rows, GOOD.replace("2020-01-02", date))) == counted


@pytest.mark.parametrize(
    ("volumes", "newline", "counted"),
    [
        ([45_890_540, 4_589], False, {"no_last_newline": 1, "cut_volume": 1}),
        ([45_890_540, 4_589], True, {}),
        ([45_890_540, 15_890_540], False, {"no_last_newline": 1}),
        ([4_589], False, {"no_last_newline": 1}),
        ([500] * 40 + [50_000] * 30 + [400], False, {"no_last_newline": 1, "cut_volume": 1}),
    ],
)
def test_a_last_volume_that_may_be_cut_is_counted(volumes, newline, counted):
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=n) for n in range(len(volumes))]
    rows = [f"{day},1,2,0.5,1.5,1.25,{volume}" for day, volume in zip(days, volumes, strict=True)]
    parsed = parse_alone("\n".join([HEADER, *rows, ""] if newline else [HEADER, *rows]).encode())
    assert odd(parsed) == counted
    assert parsed.prices.num_rows == len(volumes)


def exchanged(order: list[int], rows: int = 180) -> Parsed:
    """Rows whose columns are in this order, under the usual header."""
    return parse_rows(*(",".join(row.split(",")[n] for n in order) for row in price_rows("A", rows)))


@pytest.mark.parametrize(
    "order",
    [[0, 1, 3, 2, 4, 5, 6], [0, 5, 4, 2, 3, 1, 6], [0, 2, 1, 3, 4, 5, 6], [0, 4, 2, 1, 3, 5, 6], [0, 1, 2, 3, 4, 6, 6]],
    ids=["High and Low", "as yfinance has them", "Open and High", "Open as Low", "Volume as Adj Close"],
)
def test_columns_under_another_header_are_found(order):
    account = exchanged(order).files.to_pylist()[0]
    assert account["contradictions"] > 0.05 * 180
    assert account["contradiction"].startswith("line 2: '2000-01-03,")


@pytest.mark.parametrize("bad", [2, 9])
def test_a_few_contradicting_rows_are_no_exchange(bad):
    rows = [GOOD.replace("2020-01-02", f"2020-01-{day:02}") for day in range(1, 29)]
    rows[:bad] = [row.replace(",1,2,", ",3,2,") for row in rows[:bad]]  # Open above High
    account = parse_rows(*rows).files.to_pylist()[0]
    assert (account["contradictions"], account["contradiction"]) == (bad, None)
    rows[9] = rows[9].replace(",1,2,", ",3,2,") if bad == 9 else rows[9]
    assert (parse_rows(*rows).files["contradiction"].to_pylist() != [None]) == (bad == 9)


def test_prices_after_many_reverse_splits_contradict_nothing():
    rows = [f"2020-01-{day:02},1,2,0.5,{1 + day / 50},{(1 + day / 50) * 1e6},5" for day in range(1, 29)]
    assert parse_rows(*rows).files["contradictions"].to_pylist() == [0]


def test_old_prices_without_an_open_contradict_nothing():
    rows = [f"2020-01-{day:02},0,2,1.5,1.6,1.6,5" for day in range(1, 29)]
    account = parse_rows(*rows).files.to_pylist()[0]
    assert (account["price_not_positive"], account["contradictions"]) == (28, 0)


def test_the_account_says_the_commonest_reason_and_shows_a_row():
    null, negative = GOOD.replace("1.25", ""), GOOD.replace(",100", ",-1")
    account = parse_rows(GOOD, negative, null, null).files.to_pylist()[0]
    assert (account["commonest_reason"], account["example"]) == ("null value: Adj Close", f"line 4: {null!r}")


def test_a_raw_line_without_end_is_shortened():
    parsed = parse_rows(GOOD, "x" * 1_000_000)
    raw = parsed.quarantine["raw"].to_pylist()[0]
    assert raw == "x" * 10_000 + "... (1000000 characters)"


# Whole files.


@pytest.mark.parametrize(
    ("content", "refused", "rows"),
    [
        (b"", "empty file", 0),
        (b"\n\n", "empty file", 0),
        (f"{HEADER}\n", "no rows: the header stands alone", 0),
        (f"{HEADER}\n\n\n", "no rows: the header stands alone", 0),
        (f"Day,Open,High,Low,Close,Adj Close,Volume\n{GOOD}\n", "wrong header: 'Day,Open,High,Low,Close,Adj", 1),
        (f"Date,Open,High,Low,Close,Volume\n{GOOD}\n{GOOD}\n", "wrong header: 'Date,Open,High,Low,Close,Volume'", 2),
        (f"{GOOD}\n{GOOD}\n", f"wrong header: '{GOOD}'", 1),
        (f"\n{HEADER}\n{GOOD}\n", "wrong header: ''", 2),
        (f"{HEADER}\n{GOOD}\n".encode("utf-16"), "wrong header: '\\\\xff", 2),
        (b"\x1f\x8b\x08\x00binary", "wrong header: '\\x1f\\\\x8b", 0),
    ],
    ids=["empty", "blank", "header", "header and blank", "other", "column", "none", "late", "utf-16", "binary"],
)
def test_a_file_that_cannot_be_read_is_quarantined_whole(content, refused, rows):
    parsed = parse_alone(content if isinstance(content, bytes) else content.encode())
    account = parsed.files.to_pylist()[0]
    assert account["refused"].startswith(refused)
    assert (account["rows_read"], account["rows_kept"], account["rows_quarantined"]) == (rows, 0, rows)
    assert parsed.quarantine.num_rows == max(rows, 1)  # a file without rows has its record too
    assert set(reasons(parsed)) == {account["refused"]}


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda text: text.replace("\n", "\r\n"), [4]),
        (lambda text: text.replace("\n", "\r"), [4]),
        (lambda text: text.rstrip("\n"), [4]),
        (lambda text: "\ufeff" + text, [4]),
        (lambda text: text.replace("Date,Open", '"Date", Open'), [4]),
        (lambda text: text.replace("\n", "\n\n"), [7]),
        (lambda text: text + "\n\n", [4]),
    ],
    ids=["CRLF", "CR", "no last newline", "BOM", "header with quotes", "blank lines", "blank end"],
)
def test_harmless_differences_of_format(change, lines):
    good = [GOOD.replace("01-02", f"01-0{day}") for day in (3, 6)]
    plain = "".join(f"{line}\n" for line in [HEADER, *good, "2020-01-07,,,,,,"])
    parsed = parse_alone(change(plain).encode())
    assert values(parsed.prices) == values(parse_rows(*good).prices)
    assert parsed.quarantine["line"].to_pylist() == lines


def test_names_are_kept_as_they_are():
    sources = [
        Source(f"stocks/{symbol}.csv", symbol, name, "", 0, Body(b"", 1))
        for symbol, name in [("NAN", None), ("TRUE", "nan"), ("Z", ""), ("é", "Ünï")]
    ]
    row = f"{GOOD}\n".encode()
    parsed = parse.parse(sources, memoryview(row * 4), [len(row) * n for n in range(1, 5)])
    assert parsed.prices["Symbol"].to_pylist() == ["NAN", "TRUE", "Z", "é"]
    assert parsed.prices["Security Name"].to_pylist() == [None, "nan", "", "Ünï"]


# Any text at all.

NUMBER_TEXTS = (
    st.floats(allow_nan=True, allow_infinity=True).map(repr)
    | st.integers(-5, 2**64).map(str)
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | st.from_regex(r"[ \t]?[+-]?[0-9]{0,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?[ \t]?", fullmatch=True)
    | st.sampled_from(["", " ", "nan", "NaN", "-nan", "inf", "-Infinity", "null", "N/A", "1,5", '"7"', '"', "0x1f"])
)
DATE_TEXTS = (
    st.dates().map(str)
    | st.dates(datetime.date(2020, 1, 1), datetime.date(2020, 1, 9)).map(str)
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T]?", fullmatch=True)
    | st.sampled_from(["", "2020-1-2", "2020-01-02T00:00:00", "1900-02-29", "2000-02-29", "0000-01-01", "NaT"])
)
ROWS = st.tuples(DATE_TEXTS, *[NUMBER_TEXTS] * 6).map(",".join) | st.text(st.characters(codec="utf-8"), max_size=30)


@given(st.lists(ROWS, min_size=1, max_size=8), st.sampled_from([0, 4096]))
@settings(max_examples=200)
def test_any_rows_are_read_as_an_independent_reading_reads_them(rows, row_by_row):
    content = "".join(f"{line}\n" for line in [HEADER, *rows]).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parse, "_ROW_BY_ROW", row_by_row)  # 0: Arrow reads down to the single row
        assert_same_as_reading(parse_alone(content), content)


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=200)
def test_any_bytes_are_read_as_an_independent_reading_reads_them(content, with_header):
    content = f"{HEADER}\n".encode() + content if with_header else content
    assert_same_as_reading(parse_alone(content), content)


# Mutated files: 10,000 of them, in batches that stand together as neighbours in one part.

REAL_ROWS = [price_rows(str(number), 40) for number in range(30)]
FUZZ_RUNS, FUZZ_BATCHES, BATCH = 8, 157, 8
ODD_VALUES = [
    *("", "nan", "NaN", "inf", "-inf", "1e400", "-1e400", "1e-400", "null", "123.0", "123.5", "-5", "-0", "+7", "1e5"),
    *("9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808", "1e19", "123456789" * 9),
    *(
        "x",
        "0x10",
        "1_000",
        '"5"',
        '"',
        '"a,b"',
        " 5 ",
        "\t5",
        "5\x00",
        "\x00",
        "５",
        "٣",
        "--1",
        "1.",
        ".5",
        ".",
        "5e",
    ),
    *("2020-02-30", "2020-1-5", "2020/01/05", "0000-01-01", "9999-12-31", "20200105", "2020-01-05 00:00:00", "\ufeff5"),
]


def mutated(chance: random.Random) -> bytes:
    """A price file with one to four things wrong with it, or none."""
    rows = chance.choice(REAL_ROWS)[: chance.randrange(3, 41)]
    if chance.random() < 0.3:  # as pandas writes volumes where one is null
        rows = [f"{row}.0" for row in rows]
    lines = [HEADER.encode(), *(row.encode() for row in rows)]
    newline = b"\n"
    content_changes = []
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3, 4])):
        at = chance.randrange(len(lines)) if chance.random() < 0.1 else chance.randrange(1, len(lines))
        fields = lines[at].split(b",")
        match chance.randrange(13):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(at, lines[at])
            case 2:
                other = chance.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                one, other = chance.randrange(len(fields)), chance.randrange(len(fields))
                fields[one], fields[other] = fields[other], fields[one]
            case 4:
                fields[chance.randrange(len(fields))] = chance.choice(ODD_VALUES).encode()
            case 5:
                fields[-1] = chance.choice(ODD_VALUES).encode()
            case 6:
                fields[chance.randrange(len(fields)) :] = []
            case 7:
                fields.insert(chance.randrange(len(fields)), chance.choice([b"", b"1"]))
            case 8:
                fields = [chance.choice([b"", b" ", b"\xff\xfe", b"caf\xe9", b"\x00" * 5, b'"' * 3])]
            case 9:
                newline = chance.choice([b"\r\n", b"\r", b"\n\n", b"\n\r", b"\r\r\n"])
            case 10:
                content_changes.append("flip")
            case 11:
                content_changes.append("cut")
            case 12:
                content_changes.append(chance.choice(["bom", "no last newline", "insert", "tail"]))
        if at < len(lines) and fields != lines[at].split(b","):
            lines[at] = b",".join(fields)
    content = bytearray(newline.join(lines) + newline)
    for change in content_changes:
        at = chance.randrange(len(content)) if content else 0
        if change == "flip" and content:
            content[at] ^= 1 << chance.randrange(8)
        elif change == "cut":
            del content[at:]
        elif change == "bom":
            content[:0] = b"\xef\xbb\xbf"
        elif change == "no last newline":
            content = content.rstrip(b"\r\n")
        elif change == "insert":
            content[at:at] = bytes([chance.choice([0, 10, 13, 32, 34, 44, 45, 46, 128, 255])])
        elif change == "tail":
            content += b"\n \n,,,,,,\n"
    return bytes(content)


@pytest.mark.parametrize("seed", range(FUZZ_RUNS))
def test_mutated_files_are_read_alone_as_beside_neighbours_and_every_row_is_accounted_for(seed, tmp_path, monkeypatch):
    chance = random.Random(seed)
    kinds: Counter[str] = Counter()
    (tmp_path / "stocks").mkdir()
    for batch in range(FUZZ_BATCHES):
        monkeypatch.setattr(parse, "_ROW_BY_ROW", chance.choice([0, 200, 1000, *[4096] * 9]))
        contents = [mutated(chance) for _ in range(BATCH)]
        files, alone = [], []
        for number, content in enumerate(contents):
            symbol = f"S{number}"
            (tmp_path / "stocks" / f"{symbol}.csv").write_bytes(content)
            files.append(PriceFile(f"stocks/{symbol}.csv", symbol, "A Inc." if number % 2 else None, len(content)))
            parsed = parse_alone(content, symbol, files[-1].security_name)
            assert_same_as_reading(parsed, content)
            alone.append(parsed)
            kinds.update(reason.split(" ")[0] for reason in reasons(parsed))
            kinds["kept"] += parsed.prices.num_rows
        part = IngestPart(str(tmp_path), "", files)
        part.read()
        joined = part.tables()
        for name, columns in (
            ("prices", schema.PRICES),
            ("quarantine", schema.QUARANTINE),
            ("files", schema.FILES),
        ):
            separate = pa.concat_tables([getattr(parsed, name).cast(columns) for parsed in alone])
            assert joined[name].cast(columns).equals(separate), f"batch {batch}: {name}"
    # The mutations reach every kind of refusal.
    assert kinds.keys() >= {
        *("kept", "null", "unparsable", "negative", "fractional", "volume", "repeated", "wrong", "not"),
    }


def test_there_are_enough_mutated_files():
    assert FUZZ_RUNS * FUZZ_BATCHES * BATCH >= 10_000


@pytest.mark.parametrize("every", [2, 3, 50])
def test_many_bad_rows_and_few_are_left_out_alike(every):
    rows = price_rows("A", 400)
    bad = list(range(0, 400, every))  # the first among them, and with every=3 the last
    assert (len(bad) > parse._FEW) == (every < 50)
    raw = [f"{row.split(',')[0]},,,,,," if number in bad else row for number, row in enumerate(rows)]
    found = parse_rows(*raw)
    assert found.prices == parse_rows(*(row for number, row in enumerate(rows) if number not in bad)).prices
    assert found.quarantine["line"].to_pylist() == [number + 2 for number in bad]
