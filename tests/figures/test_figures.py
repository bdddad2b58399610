"""Figures say what they show, in pictures and in words, and the same data give the same bytes."""

from __future__ import annotations

import re
import struct
import warnings
from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lib.features import counts
from lib.figures import evaluate, features, ingest, style, tables


def accounts(symbols: int) -> pd.DataFrame:
    """The account of ``symbols`` raw files, one more of them trading each year from 1990 on, every fourth an ETF."""
    numbers = range(symbols)
    return pd.DataFrame(
        {
            "file": [f"{'etfs' if number % 4 == 3 else 'stocks'}/S{number}.csv" for number in numbers],
            "symbol": [f"S{number}" for number in numbers],
            "rows_kept": [250 * (31 - number % 30) for number in numbers],
            "first_date": [f"{1990 + number % 30}-06-01" for number in numbers],
            "last_date": ["2020-04-01" for _ in numbers],
        }
    )


def symbol_rows(count: int) -> pd.DataFrame:
    dates = pd.date_range("2019-01-01", periods=count, freq="B")
    rows = pd.DataFrame({"Date": dates, "Volume": 1_000_000 + 1000 * np.arange(count) % 7777, "Adj Close": 25.0})
    rows["vol_moving_avg"] = rows["Volume"].rolling(30).mean()
    rows["adj_close_rolling_med"] = rows["Adj Close"].rolling(30).median()
    return rows


def unused_files() -> pd.DataFrame:
    return accounts(2).assign(first_date=None, last_date=None)


NO_COUNTS = np.zeros(len(counts.RATIO_EDGES) - 1, dtype=np.int64)
NO_PAIRS = np.zeros((len(counts.AVERAGE_EDGES) - 1, len(counts.MEDIAN_EDGES) - 1), dtype=np.int64)
LONG_REASON = "a reason of the longest kind"
FIGURES = {
    "symbols, many": lambda: ingest.symbols_by_year(accounts(400)),
    "symbols, one": lambda: ingest.symbols_by_year(accounts(1)),
    "symbols, none": lambda: ingest.symbols_by_year(unused_files()),
    "rows, many": lambda: ingest.rows_per_symbol(accounts(400).set_index("symbol")["rows_kept"]),
    "rows, few": lambda: ingest.rows_per_symbol(accounts(12).set_index("symbol")["rows_kept"]),
    "rows, one": lambda: ingest.rows_per_symbol(pd.Series({"A": 1})),
    "rows, none": lambda: ingest.rows_per_symbol(pd.Series({"A": 0})),
    "quarantine": lambda: ingest.quarantine_by_reason({"null value": 12_345, LONG_REASON: 1}, 28_151_758),
    "quarantine, none": lambda: ingest.quarantine_by_reason({}, 28_151_758),
    "odd": lambda: ingest.odd_values({"zero volume": 77_006, "High below Low": 0}, 1_638_655),
    "odd, none": lambda: ingest.odd_values({f"oddity {number}": 0 for number in range(9)}, 1_638_655),
    "volume": lambda: features.volume_with_average(symbol_rows(504), "AAPL", 30),
    "volume, short": lambda: features.volume_with_average(symbol_rows(2), "AAPL", 30),
    "price": lambda: features.price_with_median(symbol_rows(504), "AAPL", 30),
    "price, short": lambda: features.price_with_median(symbol_rows(1), "AAPL", 30),
    "ratio": lambda: features.ratio_distribution(counts.count_ratios([5, 8, 15, 90], [10, 10, 10, 10])),
    "ratio, none": lambda: features.ratio_distribution(NO_COUNTS),
    "features": lambda: features.feature_density(counts.count_feature_pairs([1.0, 1e6, 1e10], [0.01, 25, 1e6])),
    "features, none": lambda: features.feature_density(NO_PAIRS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_titled_described_and_drawn_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a text that does not fit makes the layout give up with a warning
        figure = FIGURES[name]()
        content = style.png(figure)
    assert isinstance(figure, Figure)
    assert figure.get_suptitle()
    assert len(str(figure.get_label())) > 30
    assert len(content) > 5000


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_lies_on_another(name):
    figure = FIGURES[name]()
    with matplotlib.rc_context(style.STYLE):
        figure.draw_without_rendering()
    page = figure.bbox
    title = figure.texts[0].get_window_extent()
    assert title.x0 >= page.x0
    assert title.x1 <= page.x1
    for axes in figure.axes:
        for text in axes.texts:
            box = text.get_window_extent()
            assert box.x0 >= page.x0 - 1, text.get_text()
            assert box.x1 <= page.x1 + 1, text.get_text()
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
            boxes = [
                label.get_window_extent() for position, label in ticks if low <= position <= high and label.get_text()
            ]
            for before, after in pairwise(boxes if axis.get_visible() else []):
                assert not before.overlaps(after), f"labels of the {axis.axis_name} axis overlap"


@pytest.mark.parametrize("name", [name for name in FIGURES if name.endswith("none")])
def test_a_figure_of_nothing_says_so_in_words(name):
    figure = FIGURES[name]()
    assert not any(axes.axison for axes in figure.axes)
    shown = " ".join(text.get_text() for axes in figure.axes for text in axes.texts).replace("\n", " ")
    assert shown
    assert shown in str(figure.get_label())


def test_png_is_the_same_each_time_and_tells_nothing_of_the_machine():
    contents = {style.png(FIGURES["quarantine"]()) for _ in range(2)}
    assert len(contents) == 1
    content, position, chunks = contents.pop(), 8, []
    while position < len(content):
        (length,) = struct.unpack(">I", content[position : position + 4])
        chunks.append(content[position + 4 : position + 8].decode())
        position += length + 12
    assert set(chunks) == {"IHDR", "pHYs", "IDAT", "IEND"}


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    style.png(FIGURES["volume"]())
    assert dict(matplotlib.rcParams) == before


def test_show_gives_the_alt_text_to_jupyter(monkeypatch):
    shown = []
    monkeypatch.setattr(style, "display", shown.append)
    figure = FIGURES["quarantine, none"]()
    style.show(figure)
    content, metadata = shown[0]._repr_png_()
    assert content
    assert metadata == {"alt": figure.get_label(), "width": style.PIXELS}


def test_show_refuses_a_figure_without_alt_text():
    figure, _ = style.new_figure("Title", "", "")
    with pytest.raises(ValueError, match="no alt text"):
        style.show(figure)


def test_symbols_are_counted_in_each_year_of_their_history():
    files = pd.DataFrame(
        {
            "file": ["stocks/A.csv", "stocks/B.csv", "etfs/C.csv", "stocks/EMPTY.csv"],
            "first_date": ["2000-12-31", "2001-01-01", "2002-05-05", None],
            "last_date": ["2001-01-01", "2003-01-01", "2002-05-05", None],
        }
    )
    axes = ingest.symbols_by_year(files).axes[0]
    shapes = {shape.get_label(): shape.get_data() for shape in axes.patches}
    assert {name: shape.values.tolist() for name, shape in shapes.items()} == {
        "Stocks": [1, 2, 1, 1],
        "ETFs": [1, 2, 2, 1],
    }
    assert shapes["ETFs"].baseline.tolist() == [1, 2, 1, 1]
    assert (shapes["Stocks"].edges + 0.5).tolist() == [2000, 2001, 2002, 2003, 2004]


def test_bars_are_as_long_as_their_counts():
    axes = ingest.quarantine_by_reason({"few": 1, "many": 30, "none": 0}, 100).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [30, 1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["many", "few"]
    assert [text.get_text() for text in axes.texts] == ["30  (30%)", "1  (1%)"]


def test_counts_of_parts_add_up_to_those_of_the_whole():
    random = np.random.default_rng(7)
    average, volume, median = random.lognormal(10, 3, 1000), random.lognormal(10, 3, 1000), random.lognormal(3, 2, 1000)
    average[:50] = np.nan
    median[40:60] = np.nan
    average[60:70] = 0
    halves = slice(0, 400), slice(400, None)
    ratios = sum(counts.count_ratios(volume[half], average[half]) for half in halves)
    pairs = sum(counts.count_feature_pairs(average[half], median[half]) for half in halves)
    assert (ratios == counts.count_ratios(volume, average)).all()
    assert (pairs == counts.count_feature_pairs(average, median)).all()
    assert ratios.sum() == 1000 - 50 - 10
    assert pairs.sum() == 1000 - 60
    assert ratios[:20].sum() == np.sum(volume[average > 0] / average[average > 0] < 1)


def test_table_escapes_what_the_data_say():
    table = tables.table_html(pd.DataFrame({"<i>": ["<script>alert(1)</script>"]}), 'a "caption" & more')
    assert "<script>" not in table
    assert "<i>" not in table
    assert "&lt;script&gt;" in table
    assert "&amp; more" in table


def test_table_aligns_decimals_and_marks_what_is_missing():
    frame = pd.DataFrame(
        {"price": [4.04, 4.0385, float("nan")], "mixed": [490_123.4, 0.953, 2.0], "kept": [True, False, True]}
    )
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in tables.table_html(frame, "t").split("<tr>")[2:]]
    assert rows == [["4.040", "490,123", "yes"], ["4.038", "0.953", "no"], ["–", "2", "yes"]]


def test_table_index_becomes_row_headings():
    table = tables.table_html(pd.DataFrame({"mae": [1.0]}, index=["model"]), "t", index=True)
    assert '<th scope="row">model</th>' in table
    assert "<thead><tr><td></td>" in table


def test_tenths_are_labelled_with_no_more_digits_than_tell_them_apart():
    edges = [1e6, 6.55e6, 13.7e6, 19.14e6, 25.3e6, 30.3e6, 36e6, 44e6, 59e6, 80e6, 200e6]
    columns = {
        "low": edges[:-1],
        "high": edges[1:],
        "relative_mae": 0.9,
        "scaled_relative_mae": 0.95,
        "error_share": 0.1,
    }
    lower = evaluate.errors_by_tenth(pd.DataFrame(columns), "moving average (shares a day)").axes[1]
    labels = [label.get_text() for label in lower.get_xticklabels()]
    assert {label.get_rotation() for label in lower.get_xticklabels()} == {0.0}
    assert labels == ["under\n7M", "7M", "14M", "19M", "25M", "30M", "36M", "44M", "59M", "80M"]
    # Where only long ones do, they are slanted.
    columns |= {"low": [100 + edge / 1e9 for edge in edges[:-1]]}
    lower = evaluate.errors_by_tenth(pd.DataFrame(columns), "price (dollars)").axes[1]
    assert {label.get_rotation() for label in lower.get_xticklabels()} == {40.0}
