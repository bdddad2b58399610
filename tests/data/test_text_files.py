"""Reading files in any layout: damaged files, and the two ways of reading against each other."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from layout_files import WRITERS, misread, mutate, truth

from lib.data import detect, plans, text_files
from lib.data.dates_and_numbers import parse_number
from lib.data.headers import VALUES, Options, Refused
from lib.data.rows import BLANK

TEXT = [name for name in WRITERS if "Parquet" not in name and "workbook" not in name]
MUTATED = 400  # files; a script tries more


def read_mutated(name: str, seed: int) -> str | None:
    """Damage one file of a layout and read it; what is wrong with what was read, if anything."""
    chance = np.random.default_rng(seed)
    files = WRITERS[name](truth(days=12))
    path = sorted(files.contents)[int(chance.integers(0, len(files.contents)))]
    content = files.contents[path]
    content = gzip.decompress(content) if path.endswith(".gz") else content
    content = mutate(content, "utf-8" if plans.encoding_of(content) == "utf-8" else plans.encoding_of(content), chance)
    options = Options(volume_unit=float(files.options.get("volume_unit", 1.0)))
    try:
        sample = plans.plan_file(content, options=options)
    except Refused as error:
        return None if str(error) else "a refusal without a reason"
    plan = detect.alone(sample.plan)
    # Which of day and month comes first is settled by all files of a layout: here, by those that are whole.
    order = "month_first" if name in ("nasdaq", "investing") else "day_first"
    rows = text_files.read_rows([text_files.body_of(content, plan)], replace(plan, order=order))
    reasons = [reason for reason in rows.bad.values() if reason != BLANK]
    if rows.table.num_rows + len(rows.bad) != rows.counts.sum() or not all(reasons):
        return f"{rows.table.num_rows} kept and {len(rows.bad)} set aside of {rows.counts.sum()}"
    raws = [rows.raw(0, row) for row in rows.bad]
    text = plans.to_utf8(content, plan.encoding).decode("utf-8", "backslashreplace").split("\n")
    if raws != [text[int(rows.lines[0][row]) - 1] for row in rows.bad]:
        return "a line that is not the raw text's"
    symbol = sample.plan.tickers[0][0] if sample.plan.tickers else detect.symbol_of(path)
    found = rows.table.to_pandas()
    found["Date"] = pd.to_datetime(found["Date"])
    found["Symbol"] = found["Symbol"].astype(str) if "Symbol" in found else symbol
    return "; ".join(misread(found[["Symbol", *VALUES]], files.rows)) or None


@pytest.mark.parametrize("name", TEXT)
def test_of_damaged_files_every_row_is_kept_or_set_aside_and_no_value_changes_its_column(name):
    for seed in range(MUTATED // len(TEXT)):
        wrong = read_mutated(name, seed)
        assert wrong is None, f"seed {seed}: {wrong}"


@pytest.mark.parametrize("name", TEXT)
def test_line_by_line_is_read_what_is_read_at_once(name):
    files = WRITERS[name](truth())
    path, content = next(iter(files.contents.items()))
    content = gzip.decompress(content) if path.endswith(".gz") else content
    plan = plans.plan_file(content, options=Options(**files.options)).plan
    plan = replace(plan, order=plan.order or ("month_first" if name in ("nasdaq", "investing") else "day_first"))
    at_once = text_files.read_rows([text_files.body_of(content, plan)], plan)
    # A stray quote in a line of its own makes the reader look at every line.
    by_line = text_files.read_rows(
        [text_files.body_of(content + '"x\n'.encode(plan.encoding.replace("utf-16", "utf-16-le")), plan)], plan
    )
    assert by_line.table.equals(at_once.table) or by_line.table.to_pylist() == at_once.table.to_pylist()
    assert [*by_line.bad.values()].count(BLANK) == 0 and len(by_line.bad) == 1 + sum(
        reason != BLANK for reason in at_once.bad.values()
    )


def test_a_volume_beyond_what_a_float_holds_is_exact():
    content = b"Date,Open,High,Low,Close,Volume\n2021-01-04,1,1,1,1,9007199254740993\n2021-01-05,1,1,1,1,5\n"
    plan = plans.plan_file(content).plan
    assert text_files.read_rows([text_files.body_of(content, plan)], plan).table["Volume"].to_pylist() == [
        9007199254740993,
        5,
    ]


def test_a_field_too_many_before_an_empty_last_one_shifts_no_value():
    names = "Date,Open,High,Low,Close,Volume,OpenInt"
    rows = [f"2021-01-{day:02},1,4,0.5,2,{day}00," for day in range(4, 9)]
    content = "\n".join([names, *rows, "2021-01-11,1,x,4,0.5,2,900,"]) + "\n"
    plan = detect.alone(plans.plan_file(content.encode()).plan)
    read = text_files.read_rows([text_files.body_of(content.encode(), plan)], plan)
    assert read.table["High"].to_pylist() == [4.0] * 5
    assert list(read.bad.values()) == ["wrong number of fields: 8, expected 7"]


@pytest.mark.parametrize("stray", [b"", b'"x\n'])
def test_the_header_once_more_is_no_row_whether_lines_are_looked_at_or_not(stray):
    header = b"Date,Open,High,Low,Close,Volume\n"
    content = header + b"2021-01-04,1,4,0.5,2,100\n" + header + b"2021-01-05,1,4,0.5,2,200\n" + stray
    plan = detect.alone(plans.plan_file(content).plan)
    read = text_files.read_rows([text_files.body_of(content, plan)], plan)
    assert read.table["Volume"].to_pylist() == [100, 200]
    assert sum(reason != BLANK for reason in read.bad.values()) == bool(stray)


def test_one_delimiter_more_at_the_end_of_a_line_begins_no_field():
    content = b"Date,Open,High,Low,Close,Volume\n2021-01-04,1,4,0.5,2,100\n2021-01-05,1,4,0.5,2,200,\n"
    plan = detect.alone(plans.plan_file(content).plan)
    read = text_files.read_rows([text_files.body_of(content, plan)], plan)
    assert read.table["Volume"].to_pylist() == [100, 200] and not read.bad


def test_thousands_are_read_as_the_definition_reads_them():
    chance = np.random.default_rng(5)
    plan = plans.plan_file(b"Date;Open;High;Low;Close;Volume\n2021-01-04;1,234.5;1;1;1;1,234\n").plan
    texts = [f"{number:,}" for number in chance.integers(0, 10**9, 300)] + [
        f"{n / 100:,}" for n in range(0, 10**9, 3_333_333)
    ]
    texts += [
        "1,23",
        "12,34,567",
        "1,234.5,678",
        "1.5,000",
        "1234,567",
        "-1,234",
        "x1,234",
        "1,234e5",
        ",123",
        "1,234,",
    ]
    for text in texts:
        content = f"Date;Open;High;Low;Close;Volume\n2021-01-04;{text};1;1;1;1,234\n".encode()
        rows = text_files.read_rows([text_files.body_of(content, plan)], plan)
        number = parse_number(text)
        assert rows.table["Open"].to_pylist() == ([] if number is None else [float(number)]), text
