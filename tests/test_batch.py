"""A file of pairs: every row is predicted or says why not."""

from __future__ import annotations

import csv
import io

import pytest
from serving_study import write_grid

from lib import batch
from lib.batch import BatchError, predict_file
from lib.predictor import Predictor


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
    rows = list(csv.reader(io.StringIO(found.csv())))
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
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"vol_moving_avg,adj_close_rolling_med\n", "no rows"),
        (b"volume,price\n1,2\n", "has no vol_moving_avg and adj_close_rolling_med; it has: volume, price"),
        (b"vol_moving_avg,price\n1,2\n", "has no adj_close_rolling_med"),
        (b"vol_moving_avg,vol_moving_avg,adj_close_rolling_med\n1,2,3\n", "names vol_moving_avg 2 times"),
        (b"\xff\xfe1,2", "not UTF-8 text (byte 0)"),
        (b"PK\x03\x04\xff", "not UTF-8"),
        (b"1,2\n" * (batch.MAX_ROWS + 1), "200,001 rows"),
        (b"1,2\n" * (batch.MAX_BYTES // 4 + 1), "at most 10 MiB"),
        (b'vol_moving_avg,adj_close_rolling_med\n"1,2\n', "line 2"),
        (b"1," + b"2" * 200_000, "line 1"),
    ],
    ids=["empty", "blank", "header", "names", "one name", "twice", "bytes", "zip", "rows", "size", "quote", "cell"],
)
def test_says_what_is_wrong_with_a_file(predictor, content, said):
    with pytest.raises(BatchError) as caught:
        predict_file(predictor, content)
    assert said in str(caught.value)


def test_the_example_is_right(predictor):
    assert predict_file(predictor, batch.EXAMPLE.encode()).errors == []
