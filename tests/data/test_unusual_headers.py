"""Headers that can be taken for something else than they are: the right rows all the same, or a message with a way out."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from lib.compute.engine import Engine
from lib.data import plans, sources
from lib.data.ingest import ingest
from lib.data.layouts import of_each_symbol
from lib.paths import StudyPaths

PRICES = ["Open", "High", "Low", "Close", "Volume"]
HEADER = "Date,Open,High,Low,Close,Volume\n"


def prices(symbol, first=10.0, days=25):
    """Prices that differ from day to day, and from one symbol to another."""
    dates = pd.bdate_range("2021-01-04", periods=days)
    close = [first + number / 4 for number in range(days)]
    return pd.DataFrame(
        {
            "Symbol": symbol,
            "Date": dates.strftime("%Y-%m-%d"),
            "Open": [price - 0.25 for price in close],
            "High": [price + 1 for price in close],
            "Low": [price - 1 for price in close],
            "Close": close,
            "Volume": [1000 + number * 7 for number in range(days)],
        }
    )


def levels(*frames, names=("Price", "Ticker")):
    """As yfinance has several symbols: prices above tickers."""
    wide = pd.concat({frame["Symbol"][0]: frame.set_index("Date")[PRICES] for frame in frames}, axis=1)
    wide.columns.names = names[::-1]
    return wide.swaplevel(axis=1)


def made_of(contents, folder, **options):
    """The archive, and the prices, of some files."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    archive = sources.open_archive(str(folder), StudyPaths("study"), options=sources.reading_options(**options))
    return archive, ingest(archive, StudyPaths("study"), 0.0, Engine(workers=1))


def read(contents, folder, **options):
    """The prices of some files."""
    found = made_of(contents, folder, **options)[1].prices.read().to_pandas()
    return found.assign(Date=found["Date"].astype(str))[["Symbol", "Date", *PRICES]]


def assert_same(found, *frames):
    wanted = pd.concat(frames).sort_values(["Symbol", "Date"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False, check_categorical=False)


def as_parquet(frame):
    content = io.BytesIO()
    frame.to_parquet(content)
    return content.getvalue()


@pytest.mark.parametrize(
    "symbols", [["LOW"], ["LOW", "HD"], ["OPEN"], ["HD", "LOW", "OPEN"], ["HIGH"], ["VOLUME", "CLOSE"]]
)
@pytest.mark.parametrize("first", ["prices", "tickers"])
@pytest.mark.parametrize("numbered", [False, True])
def test_a_ticker_that_is_also_a_prices_name_is_a_ticker(symbols, first, numbered, outputs, tmp_path):
    frames = [prices(symbol, 10 * number) for number, symbol in enumerate(symbols, 1)]
    wide = levels(*frames)
    wide = wide if first == "prices" else wide.swaplevel(axis=1)
    assert_same(read({"x.csv": (wide.reset_index() if numbered else wide).to_csv()}, tmp_path / "text"), *frames)
    assert_same(read({"x.parquet": as_parquet(wide)}, tmp_path / "parquet"), *frames)


@pytest.mark.parametrize("names", [("Attributes", "Symbols"), ("field", "code of it"), (None, None)])
def test_levels_of_any_name_are_read_with_row_numbers_before_them(names, outputs, tmp_path):
    frames = prices("AAPL"), prices("MSFT", 30)
    wide = levels(*frames, names=names)
    assert_same(read({"x.csv": wide.to_csv()}, tmp_path / "dates first"), *frames)
    assert_same(read({"x.csv": wide.reset_index().to_csv()}, tmp_path / "numbers first"), *frames)


def test_tickers_that_are_numbers_are_read_under_the_word_ticker(outputs, tmp_path):
    assert_same(read({"x.csv": levels(prices("005930")).to_csv()}, tmp_path / "archive"), prices("005930"))


def test_one_symbols_price_twice_under_two_levels_is_refused():
    text = "Price,Open,High,Low,Close,Close,Volume\nTicker,A,A,A,A,A,A\nDate,,,,,,\n2021-01-04,1,2,1,1,2,5\n"
    with pytest.raises(plans.Refused, match="two columns are A Close; take one of them away"):
        plans.plan_file(text.encode())


@pytest.mark.parametrize("written", ["{price} ({symbol})", "{price}({symbol})", "{symbol}/{price}", "{price}/{symbol}"])
@pytest.mark.parametrize("symbol", ["AAPL", "BRK.B", "LOW", "BTC/USD"])
def test_a_symbol_in_brackets_or_behind_a_slash_is_the_symbol(written, symbol):
    header = ["Date", *(written.format(price=price, symbol=name) for name in (symbol, "X") for price in PRICES)]
    assert list(of_each_symbol(header)) == [symbol, "X"]


@pytest.mark.parametrize("names", [["OPEN", "HIGH", "LOW", "CLOSE", "VOLUME"]])
def test_levels_that_could_both_be_of_prices_are_not_guessed(names):
    assert of_each_symbol(["Date", *(f"('{first}', '{second}')" for first in names for second in names)]) == {}
    assert of_each_symbol(["Date", *(f"{first}_{second}" for first in names for second in names)]) == {}


def test_a_name_that_is_two_levels_text_is_read_in_no_other_way():
    assert of_each_symbol(["Date", *(f"('{price}', 'A', 'LOW')" for price in PRICES)]) == {}
    assert list(of_each_symbol(["Date", *(f"('{price}', \"O'X\")" for price in PRICES)])) == ["O'X"]


@pytest.mark.parametrize("name", ["PER", "PER(배)", "Per"])
@pytest.mark.parametrize("values", [[12.5], [12, 13], [12, "-"], [37], ["D"], [1440], [""]])
def test_a_price_over_earnings_is_no_period(name, values, outputs, tmp_path):
    frame = prices("AAPL").drop(columns="Symbol")
    frame[name] = [values[number % len(values)] for number in range(len(frame))]
    assert_same(read({"AAPL.csv": frame.to_csv(index=False)}, tmp_path / "archive"), prices("AAPL"))


@pytest.mark.parametrize("values", [["60"], ["5"], ["H1"], ["5min"], ["1d", "1wk"], ["15m"], ["3600"]])
def test_a_period_of_another_length_is_refused_with_a_way_out(values):
    rows = "".join(f"2021-01-{day},10,11,9,10,5,{values[day % len(values)]}\n" for day in range(10, 29))
    text = (HEADER.strip() + ",Per\n" + rows).encode()
    with pytest.raises(plans.Refused, match=r"intraday rows: Per is .*archive.columns: {Period: .."):
        plans.plan_file(text)


def test_a_closing_price_is_known_with_a_sharp_s(outputs, tmp_path):
    frame = prices("SAP").drop(columns="Symbol").rename(columns={"Close": "Schlußkurs"})
    assert_same(read({"SAP.csv": frame.to_csv(index=False).encode("cp1252")}, tmp_path / "archive"), prices("SAP"))
