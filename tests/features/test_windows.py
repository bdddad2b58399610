"""The features are those of pandas' rolling windows, on whatever series."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.data import schema
from lib.features import windows
from lib.features.definitions import BY_NAME, PRICE_MEDIAN, VOLUME_AVERAGE

WINDOWS = st.integers(1, 45)
# -0.0 is left out: which of 0.0 and -0.0 is the smaller, nobody says. Sums of two must not overflow.
PRICES = st.floats(-1e300, 1e300).map(lambda value: value + 0.0) | st.integers(1, 40).map(lambda value: value / 4)


def table_of(series: list[list[tuple[int, float]]]) -> pa.Table:
    """A table of prices from each symbol's volumes and adjusted closes, which stand for its other prices too."""
    rows = [(f"S{number}", volume, price) for number, symbol in enumerate(series) for volume, price in symbol]
    symbols, volumes, adjusted = zip(*rows, strict=True)
    return pa.table(
        {
            "Symbol": pa.array(symbols, pa.string()),
            **dict.fromkeys(windows.COLUMNS[1:], pa.array(adjusted, pa.float64())),
            "Volume": pa.array(volumes, pa.int64()),
        }
    )


def by_pandas(table: pa.Table, window: int, min_periods: int | None) -> tuple[np.ndarray, np.ndarray]:
    means, medians = [], []
    for _, rows in table.to_pandas().groupby("Symbol", sort=False):
        means.append(rows["Volume"].rolling(window, min_periods).mean())
        medians.append(rows["Adj Close"].rolling(window, min_periods).median())
    return pd.concat(means).to_numpy(), pd.concat(medians).to_numpy()


def assert_same_bits(column: pa.ChunkedArray, expected: np.ndarray) -> None:
    missing = np.isnan(expected)
    assert (column.is_null().to_numpy() == missing).all()
    found = column.drop_null().to_numpy()
    np.testing.assert_array_equal(found.view(np.int64), expected[~missing].view(np.int64))


@st.composite
def cases(draw, largest_volume=None):
    window = draw(WINDOWS)
    min_periods = draw(st.none() | st.integers(1, window))
    most = 2**53 // window - 1 if largest_volume is None else largest_volume
    rows = st.tuples(st.integers(0, most) | st.integers(0, 9), PRICES)
    series = draw(st.lists(st.lists(rows, min_size=1, max_size=100), min_size=1, max_size=4))
    return table_of(series), window, min_periods


@given(cases())
@settings(max_examples=400)
def test_features_are_those_of_pandas(case):
    table, window, min_periods = case
    found = windows.rolling_features(table, window, min_periods)
    mean, median = by_pandas(table, window, min_periods)
    assert_same_bits(found[VOLUME_AVERAGE.name], mean)
    assert_same_bits(found[PRICE_MEDIAN.name], median)


@given(cases(largest_volume=2**63 - 1))
@settings(max_examples=100)
def test_the_average_of_huge_volumes_is_exact_but_for_rounding(case):
    table, window, _ = case
    symbols, volumes = table["Symbol"].to_pylist(), table["Volume"].to_pylist()
    found = windows.rolling_features(table, window, min_periods=1)[VOLUME_AVERAGE.name].to_pylist()
    for row, value in enumerate(found):
        first = max(symbols.index(symbols[row]), row - window + 1)
        exact = Fraction(sum(volumes[first : row + 1]), row + 1 - first)
        assert abs(Fraction(value) - exact) <= exact * Fraction(3, 2**53)


def test_long_series_of_many_symbols():
    chance = np.random.default_rng(1)
    lengths = [1, 29, 30, 31, 500, 2, 5000, 30]
    series = [
        list(zip(chance.integers(0, 2**40, n).tolist(), chance.lognormal(3, 2, n).tolist(), strict=True))
        for n in lengths
    ]
    table = table_of(series)
    found = windows.rolling_features(table)
    mean, median = by_pandas(table, 30, None)
    assert_same_bits(found[VOLUME_AVERAGE.name], mean)
    assert_same_bits(found[PRICE_MEDIAN.name], median)
    assert found[VOLUME_AVERAGE.name].null_count == sum(min(n, 29) for n in lengths)


@pytest.mark.parametrize(
    ("min_periods", "nulls"), [(None, 29 + 10), (30, 29 + 10), (5, 4 + 4), (1, 0)], ids=["default", "30", "5", "1"]
)
def test_rows_before_the_window_is_full_have_no_value(min_periods, nulls):
    table = table_of([[(1, 1.0)] * 40, [(2, 2.0)] * 10])
    found = windows.rolling_features(table, 30, min_periods)
    assert [found[name].null_count for name in (VOLUME_AVERAGE.name, PRICE_MEDIAN.name)] == [nulls] * 2
    # A null, not NaN: readers tell the two apart.
    assert not np.isnan(found[VOLUME_AVERAGE.name].drop_null().to_numpy()).any()


def test_a_window_does_not_reach_into_the_symbol_before():
    table = table_of([[(1000, 1000.0)] * 30, [(2, 2.0)] * 30])
    found = windows.rolling_features(table, 30, 1).slice(30)
    assert set(found[VOLUME_AVERAGE.name].to_pylist()) == {2.0}
    assert set(found[PRICE_MEDIAN.name].to_pylist()) == {2.0}


def test_the_median_of_an_even_window_is_the_mean_of_the_middle_two():
    table = table_of([[(1, 1.0), (1, 10.0), (1, 2.0), (1, 100.0)]])
    assert windows.rolling_features(table, 4)[PRICE_MEDIAN.name].to_pylist()[-1] == 6.0


@pytest.mark.parametrize("window", [1, 30])
def test_no_rows(window):
    found = windows.rolling_features(schema.PRICES.empty_table(), window)
    assert found.schema.names == list(BY_NAME)
    assert found.num_rows == 0


def test_symbols_may_be_encoded_and_in_chunks():
    symbols = ["A"] * 5 + ["B"] * 3 + ["C"] * 4
    whole = pa.chunked_array([pa.array(symbols)])
    encoded = whole.dictionary_encode()
    # Two dictionaries: what the chunks of two row groups have.
    chunks = pa.chunked_array([pa.array(symbols[:6]).dictionary_encode(), pa.array(symbols[6:]).dictionary_encode()])
    for column in (whole, encoded, chunks, pa.chunked_array([pa.array(symbols[:2]), pa.array(symbols[2:])])):
        assert windows.symbol_starts(column).tolist() == [0, 5, 8]
    assert windows.symbol_starts(pa.chunked_array([], pa.string())).tolist() == []
