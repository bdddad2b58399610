"""A file of pairs: every row is predicted or says why not."""

from __future__ import annotations

import csv
import io
import tracemalloc

import pytest
from serving_study import write_grid

from lib.models.predictor import Predictor
from lib.serving import batch
from lib.serving.batch import BatchError, predict_file


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    path = tmp_path_factory.mktemp("batch") / "grid.safetensors"
    write_grid(path)
    return Predictor.load(path)


@pytest.mark.parametrize(
    "content",
    [
        "vol_moving_avg,adj_close_rolling_med\n12345,25\n2e6,41.5\n",
        "adj_close_rolling_med,vol_moving_avg\n25,12345\n41.5,2e6\n",
        "12345,25\n2e6,41.5\n",
        "\ufeff vol_moving_avg , adj_close_rolling_med \r\n 12345 ,25\r\n\r\n2e6,41.5",
        'id,vol_moving_avg,note,adj_close_rolling_med\n1,12345,"a, ""b""",25\n2,2e6,"two\nlines",41.5\n',
    ],
    ids=["plain", "swapped", "no header", "bom, blanks, crlf", "other columns"],
)
def test_predicts_each_row(predictor, content):
    found = predict_file(predictor, content.encode())
    assert [result[0] for result in found.results] == [predictor.predict(12345.0, 25.0), predictor.predict(2e6, 41.5)]
    assert tuple(found.results[0][1:3]) == predictor.predict_interval(12345.0, 25.0)
    assert found.errors == []
    rows = list(csv.reader(io.StringIO(found.csv().decode())))
    assert rows[0][-5:] == list(batch.RESULTS)
    assert {len(row) for row in rows} == {len(found.header) + 5}


def test_a_wrong_row_stops_no_other(predictor):
    lines = [
        "vol_moving_avg,adj_close_rolling_med",
        "1,1",
        "abc,1",
        "1,",
        "1",
        "1,2,3",
        "-1,1",
        "1,nan",
        "1e309,1",
        '"=1+1",1',
        "2,2",
    ]
    found = predict_file(predictor, "\n".join(lines).encode())
    assert [line for line, _ in found.errors] == [3, 4, 5, 6, 7, 8, 9, 10]
    assert [bool(result[-1]) for result in found.results] == [False] + 8 * [True] + [False]
    assert [result[0] for result in found.results if not result[-1]] == [
        predictor.predict(1.0, 1.0),
        predictor.predict(2.0, 2.0),
    ]
    assert "2 columns" in found.errors[3][1] or "columns" in found.errors[3][1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"vol_moving_avg,adj_close_rolling_med\n", "no rows"),
        (b"volume,price\n1,2\n", "has no vol_moving_avg and adj_close_rolling_med; it has: volume, price"),
        (b"vol_moving_avg,price\n1,2\n", "has no adj_close_rolling_med"),
        (b"vol_moving_avg,vol_moving_avg,adj_close_rolling_med\n1,2,3\n", "names vol_moving_avg 2 times"),
        (b"1,2\n\xe9,3", "not UTF-8 text (byte 4)"),
        (b"\xff\xfe1,2\n0", "not UTF-16 text"),
        ("1,2\n".encode("utf-16-le"), "NUL characters"),
        (b"PK\x03\x04\xff", "not UTF-8"),
        (b"1,2\n" * (batch.MAX_ROWS + 1), "more than 200,000 rows"),
        (b"1,2\n" * (batch.MAX_BYTES // 4 + 1), "at most 10 MiB"),
        (b'vol_moving_avg,adj_close_rolling_med\n"1,2\n', "line 2"),
        (b"1," + b"2" * 200_000, "line 1"),
        (b"vol_moving_avg;price\n1;2\n", "has no adj_close_rolling_med; it has: vol_moving_avg, price"),
        (b"sep=;\nvol_moving_avg,adj_close_rolling_med\n1,2\n", "it has: vol_moving_avg,adj_close_rolling_med"),
    ],
    ids=[
        "empty",
        "blank",
        "header",
        "names",
        "one name",
        "twice",
        "bytes",
        "utf-16",
        "nul",
        "zip",
        "rows",
        "size",
        "quote",
        "cell",
        "semicolon",
        "sep",
    ],
)
def test_says_what_is_wrong_with_a_file(predictor, content, message):
    with pytest.raises(BatchError) as caught:
        predict_file(predictor, content)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        (
            "vol_moving_avg;adj_close_rolling_med\n12345;25\n2e6;41,5\n",
            "semicolons between columns and a comma before decimals",
        ),
        (
            "vol_moving_avg;adj_close_rolling_med\n12.345;25,00\n2.000.000;41,5\n",
            "semicolons between columns and a comma",
        ),
        ("vol_moving_avg;adj_close_rolling_med\n12345;25\n2,000,000;41.5\n", "semicolons between columns and a point"),
        ("12345;25\n2000000;41,5", "semicolons between columns and a comma"),
        ("sep=;\r\nvol_moving_avg;adj_close_rolling_med\r\n12345;25\r\n2M;41,5\r\n", "semicolons between columns"),
        (
            "note\tvol_moving_avg\tadj_close_rolling_med\na, b\t12,345\t$25\nc\t2M\t$41.5\n",
            "tabs between columns and a point",
        ),
        ("adj_close_rolling_med|vol_moving_avg\n25|12 345\n41.5|2,000,000\n", "bars between columns and a point"),
        (
            'vol_moving_avg,adj_close_rolling_med\n"12,345",$25\n"2,000,000",41.5\n',
            "commas between columns and a point",
        ),
        ("vol_moving_avg,adj_close_rolling_med\n12.345k,25\n2\u2009000\u2009000,$41.50\n", "commas between columns"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_reads_what_spreadsheets_and_people_write(predictor, content, layout, encoding):
    found = predict_file(predictor, content.encode(encoding))
    assert [result[0] for result in found.results] == [predictor.predict(12345.0, 25.0), predictor.predict(2e6, 41.5)]
    assert found.layout.startswith(layout)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"vol_moving_avg,adj_close_rolling_med" + b"," * 50_000 + b"\n" + b"1,2\n" * 4000,
            "50,002 columns; at most 100",
        ),
        (b"a," * 98 + b"vol_moving_avg,adj_close_rolling_med\n" + b"1,2\n" * 10_001, "more than 1,000,000 cells"),
        (b"," * 500_000, "500,001 columns; at most 100"),
    ],
    ids=["columns", "cells", "commas"],
)
def test_a_small_file_takes_little_memory(predictor, content, message):
    """Neither do refused rows: the first of these took 2.4 GB."""
    tracemalloc.start()
    with pytest.raises(BatchError, match=message):
        predict_file(predictor, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * 2**20


def test_refused_rows_are_neither_padded_nor_kept_whole(predictor):
    content = "a,b,vol_moving_avg,adj_close_rolling_med\n1\n" + "," * 1000 + "\n1,2,3,4\n"
    found = predict_file(predictor, content.encode())
    assert [len(row) for row in found.rows] == [1, 4, 4]
    assert [text for _, text in found.errors] == [f"{n} columns where the header has 4" for n in (1, 1001)]
    assert {len(row) for row in csv.reader(io.StringIO(found.csv().decode()))} == {9}


def test_a_large_answer_is_refused(predictor, monkeypatch):
    found = predict_file(predictor, b"1,2\n" * 100)
    assert len(found.csv()) < 4000
    monkeypatch.setattr(batch, "MAX_ANSWER_BYTES", 1000)
    with pytest.raises(BatchError, match="split the file"):
        found.csv()


def test_no_cell_of_the_answer_is_a_formula(predictor):
    evil = ["=1+1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1"]
    content = io.StringIO()
    writer = csv.writer(content)
    writer.writerow(["=note", "vol_moving_avg", "adj_close_rolling_med", "change"])
    writer.writerows([note, "12345", "25", "-5.5"] for note in evil)
    found = predict_file(predictor, content.getvalue().encode())
    header, *rows = csv.reader(io.StringIO(found.csv().decode(), newline=""))
    assert found.errors == [] and header[0] == "'=note"
    assert [row[0] for row in rows] == [f"'{note}" for note in evil]
    assert {row[3] for row in rows} == {"-5.5"}


def test_the_example_is_right(predictor):
    assert predict_file(predictor, batch.EXAMPLE.encode()).errors == []
