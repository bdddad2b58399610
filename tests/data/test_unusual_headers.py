"""Headers that can be taken for something else than they are: the right rows all the same, or a message with a way out."""

from __future__ import annotations

import csv
import io
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layout_files import truth

from lib import params
from lib.compute.engine import Engine
from lib.data import archive, headers, plans, sources, usual_order, workbooks
from lib.data.column_names import of_each_symbol
from lib.data.ingest import ingest
from lib.data.quarantine import QuarantineError
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


def made_of(contents, folder, most=0.0, **options):
    """The archive, and the datasets, of some files; a share of ``most`` of the rows may be set aside."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    archive = sources.open_archive(str(folder), StudyPaths("study"), options=sources.reading_options(**options))
    return archive, ingest(archive, StudyPaths("study"), most, Engine(workers=1))


def read(contents, folder, most=0.0, **options):
    """The prices of some files."""
    found = made_of(contents, folder, most, **options)[1].prices.read().to_pandas()
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


@pytest.mark.parametrize("names", [("Price", "Ticker"), (None, None)])
@pytest.mark.parametrize("first", ["prices", "tickers"])
@pytest.mark.parametrize("kind", ["x.xlsx", "x.csv"])
def test_merged_cells_of_the_upper_level_name_all_columns_below_them(kind, first, names, outputs, tmp_path):
    frames = prices("AAPL"), prices("MSFT", 30)
    wide = levels(*frames, names=names).sort_index(axis=1)
    wide = wide if first == "prices" else wide.swaplevel(axis=1).sort_index(axis=1)
    content = io.BytesIO()
    wide.to_excel(content)
    made = content.getvalue() if kind == "x.xlsx" else b"".join(workbooks.as_csv(content.getvalue(), 1 << 20))
    assert b"AAPL,,,,,MSFT" in made or first == "prices" or kind == "x.xlsx"
    assert_same(read({kind: made}, tmp_path / "archive"), *frames)
    with pytest.raises(sources.ArchiveError, match="has its columns named, not numbered"):
        read(
            {kind: made},
            tmp_path / "archive",
            columns={"Date": "1", "Open": "2", "High": "3", "Low": "4", "Close": "5", "Volume": "6"},
        )


@pytest.mark.parametrize("title", [",Apple Inc.,,,,", ",Prices,,,,Traded", "Apple,,,,,"])
def test_a_title_above_a_table_is_no_symbol(title, outputs, tmp_path):
    text = f"{title}\n" + prices("X")[["Date", *PRICES]].to_csv(index=False)
    assert_same(read({"X.csv": text}, tmp_path / "archive"), prices("X"))


def test_a_code_is_the_symbol_before_the_names_of_what_it_stands_for(outputs, tmp_path):
    frames = prices("AAPL"), prices("MSFT", 30)
    named = [
        frame.assign(Company="Some name", ISIN="US0000000000").rename(columns={"Symbol": "Code"}) for frame in frames
    ]
    table = pd.concat(named)[["Company", "ISIN", "Code", "Date", *PRICES]]
    assert_same(read({"x.csv": table.to_csv(index=False)}, tmp_path / "archive"), *frames)


def test_a_header_that_ends_with_a_delimiter_has_no_column_more_than_its_rows(outputs, tmp_path):
    text = prices("X")[["Date", *PRICES]].to_csv(index=False).replace("Volume\n", "Volume,\n")
    assert_same(read({"X.csv": text}, tmp_path / "archive"), prices("X"))


@pytest.mark.parametrize(
    "columns", [PRICES, [*PRICES, "Adj Close"], ["Symbol", *PRICES]], ids=["other", "Kaggle's", "table"]
)
def test_rows_below_another_header_within_a_file_are_not_read_by_the_first(columns, outputs, tmp_path):
    own = pd.concat([prices("X"), prices("Y", 30)]) if "Symbol" in columns else prices("X")
    first = own.assign(**{"Adj Close": own["Close"]})[["Date", *columns]]
    later = first[["Date", *columns[::-1]]].assign(Date=first["Date"].str.replace("2021", "2022"))
    if "Adj Close" in columns:  # as in Kaggle's archive
        first = first[["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]]
    text = first.to_csv(index=False) + later.to_csv(index=False)
    line = len(first) + 2
    with pytest.raises(
        QuarantineError, match=rf"(?s)X.csv, line {line}: another header: .*Volume,.*Split each file where"
    ):
        read({"X.csv": text}, tmp_path / "run", most=1.0)
    again = first.to_csv(index=False) + later[first.columns].to_csv(index=False)
    assert len(read({"X.csv": again}, tmp_path / "again")) == 2 * len(own)


def named_by_symbol(wide, between):
    return wide.set_axis([f"{symbol}{between}{price}" for price, symbol in wide.columns], axis=1)


@pytest.mark.parametrize("form", ["levels", "tickers first", "names", "one symbol", "one symbol's names"])
def test_rows_below_the_header_of_other_symbols_are_not_read_by_the_first(form, outputs, tmp_path):
    first, second = prices("AAPL"), prices("MSFT", 30)
    later = [frame.assign(Date=frame["Date"].str.replace("2021", "2022")) for frame in (first, second)]
    made = {
        "levels": lambda *frames: levels(*frames),
        "tickers first": lambda *frames: levels(*frames).swaplevel(axis=1),
        "names": lambda *frames: named_by_symbol(levels(*frames), "_"),
        "one symbol": lambda *frames: levels(frames[0]),
        "one symbol's names": lambda *frames: named_by_symbol(levels(frames[0]), "."),
    }[form]
    begins = made(first, second).to_csv()
    with pytest.raises(QuarantineError, match=r"(?s)x.csv, line \d+: another header: .*Split each file where"):
        read({"x.csv": begins + made(*later[::-1]).to_csv()}, tmp_path / "other", most=1.0)
    again = {"x.csv": begins + made(*later).to_csv()}
    whole = [first, later[0]] if form.startswith("one") else [first, second, *later]
    assert_same(read(again, tmp_path / "again"), *whole)


@pytest.mark.parametrize("name", ["OI", "Turnover", "Volume (000)", "Close"])
def test_rows_below_a_header_that_has_another_name_in_one_place_are_not_read(name, outputs, tmp_path):
    own = prices("X")[["Date", *PRICES]]
    later = own.assign(Date=own["Date"].str.replace("2021", "2022")).rename(columns={"Volume": name})
    with pytest.raises(QuarantineError, match="another header"):
        read({"X.csv": own.to_csv(index=False) + later.to_csv(index=False)}, tmp_path / "archive", most=1.0)


def test_dates_that_a_spreadsheet_has_taken_for_others_are_asked_for(outputs, tmp_path):
    own = prices("X")[["Date", *PRICES]]
    days = pd.to_datetime(own["Date"])
    exchanged = [f"{day:%Y-%d-%m}" if day.day < 13 else f"{day:%d/%m/%Y}" for day in days]
    with pytest.raises(
        QuarantineError, match=r"undecided.dates.*'2021-04-01' and '13/01/2021'.*archive.dates: day_first"
    ):
        read({"X.csv": own.assign(Date=exchanged).to_csv(index=False)}, tmp_path / "archive")
    right = [f"{day:%Y-%m-%d}" if day.day < 13 else f"{day:%d/%m/%Y}" for day in days]
    found = read({"X.csv": own.assign(Date=right).to_csv(index=False)}, tmp_path / "right", dates="day_first")
    assert_same(found, prices("X"))


@pytest.mark.parametrize("name", ["index", "Index", "code", "Name"])
@pytest.mark.parametrize("values", ["row numbers", "levels"])
@pytest.mark.parametrize("kind", ["X.csv", "X.parquet"])
def test_numbers_of_rows_and_levels_of_an_index_are_no_symbols(kind, values, name, outputs, tmp_path):
    own = prices("X")[["Date", *PRICES]]
    table = own.assign(**{name: range(len(own)) if values == "row numbers" else own["Close"] * 100 + 0.25})
    content = table.to_csv(index=False) if kind == "X.csv" else as_parquet(table)
    assert_same(read({kind: content}, tmp_path / "archive"), prices("X"))


@pytest.mark.parametrize("name", ["code", "Index", "name"])
def test_codes_that_follow_each_other_are_symbols(name, outputs, tmp_path):
    frames = [prices(str(7200 + number), 10 + number, 5) for number in range(30)]
    table = pd.concat(frames).rename(columns={"Symbol": name}).sort_values(["Date", name])
    a_day = {f"{date}.csv": rows.to_csv(index=False) for date, rows in table.groupby("Date")}
    assert_same(read(a_day, tmp_path / "a file a day"), *frames)
    assert_same(read({"all.parquet": as_parquet(table.reset_index(drop=True))}, tmp_path / "table"), *frames)


@pytest.mark.parametrize(
    "title", [",NASDAQ,,,,", ",1D,,,,", ",2021,,,,", ",USD,,,,", ",USD,USD,USD,USD,shares", ",USD,USD,USD,USD,USD"]
)
def test_markets_currencies_and_periods_above_a_table_are_no_symbols(title, outputs, tmp_path):
    text = f"{title}\n" + prices("X")[["Date", *PRICES]].to_csv(index=False)
    assert_same(read({"X.csv": text}, tmp_path / "archive"), prices("X"))


@pytest.mark.parametrize(
    "units", ["(date),(USD),(USD),(USD),(USD),(shares)", "string,double,double,double,double,long"]
)
def test_a_line_of_units_below_the_header_is_set_aside(units, outputs, tmp_path):
    header, rows = prices("X", days=200)[["Date", *PRICES]].to_csv(index=False).split("\n", 1)
    found = read({"X.csv": f"{header}\n{units}\n{rows}"}, tmp_path / "archive", most=0.01)
    assert_same(found, prices("X", days=200))


def test_months_by_name_beside_other_dates_are_no_two_ways(outputs, tmp_path):
    own = prices("X")[["Date", *PRICES]]
    days = [f"{day:%b %d, %Y}" if day.day % 2 else f"{day:%d/%m/%Y}" for day in pd.to_datetime(own["Date"])]
    assert_same(read({"X.csv": own.assign(Date=days).to_csv(index=False)}, tmp_path / "archive"), prices("X"))


def test_adjusted_closes_far_below_the_closes_are_no_factors(outputs, tmp_path):
    own = prices("X")[["Date", *PRICES]]
    far_below = own.assign(Adj=(own["Close"] / 200 + [number % 3 / 1000 for number in range(25)]).round(4))
    assert_same(read({"X.csv": far_below.to_csv(index=False)}, tmp_path / "archive"), prices("X"))


@pytest.mark.parametrize(
    "volume",
    [
        "Volume ($)",
        "$ Volume",
        "Volume (SEK)",
        "成交量(手)",
        "出来高(千株)",
        "成交量（张）",
        "거래량(백주)",
        "Объем (тыс. шт.)",
    ],
)
def test_volumes_of_money_or_of_lots_are_not_taken_for_shares(volume, outputs, tmp_path):
    text = prices("X")[["Date", *PRICES]].rename(columns={"Volume": volume}).to_csv(index=False)
    with pytest.raises(QuarantineError, match=r"no column is known to be Volume.*archive.columns: {Volume: COLUMN}"):
        read({"X.csv": text}, tmp_path / "asked")
    assert_same(read({"X.csv": text}, tmp_path / "chosen", columns={"Volume": volume}), prices("X"))


@pytest.mark.parametrize("upper", [",AAPL,,,,,MSFT", ",AAPL,,,,,MSFT,,,,", "Prices\n,AAPL,,,,,MSFT"])
def test_the_upper_level_may_end_before_the_lower(upper, outputs, tmp_path):
    frames = prices("AAPL"), prices("MSFT", 30)
    rows = levels(*frames).to_csv(header=False)
    text = f"{upper}\nDate,{','.join(2 * PRICES)}\n{rows}"
    assert_same(read({"x.csv": text}, tmp_path / "archive"), *frames)
    apart = "\n".join(",".join([*(f := line.split(","))[:6], "", *f[6:]]) for line in rows.splitlines())
    text = f",AAPL,,,,,,MSFT\nDate,{','.join(PRICES)},,{','.join(PRICES)}\n{apart}\n"
    assert_same(read({"x.csv": text}, tmp_path / "apart"), *frames)


@pytest.mark.parametrize("extra", ["Name", "Index", "Company", "Symbol"])
def test_a_column_beside_those_of_the_symbols_is_not_read(extra, outputs, tmp_path):
    frames = prices("AAPL"), prices("MSFT", 30)
    upper = f",{','.join(['AAPL'] * 5 + ['MSFT'] * 6)}\nDate,{','.join(2 * PRICES)},{extra}\n"
    rows = "".join(f"{line},x\n" for line in levels(*frames).to_csv(header=False).splitlines())
    assert_same(read({"x.csv": upper + rows}, tmp_path / "archive"), *frames)


def test_the_symbol_above_one_table_is_the_symbol(outputs, tmp_path):
    rows = prices("AAPL")[["Date", *PRICES]].to_csv(index=False)
    for number, upper in enumerate([",AAPL,,,,", "Ticker,AAPL,,,,"]):
        assert_same(read({"stocks.csv": f"{upper}\n{rows}"}, tmp_path / str(number)), prices("AAPL"))


def test_columns_named_by_who_publishes_them_are_not_of_a_symbol_of_that_name(tmp_path):
    names = [f"TR.{price}" for price in PRICES]
    assert of_each_symbol(["Date", *names]) == of_each_symbol(["Instrument", "Date", *(f"A.{p}" for p in PRICES)]) == {}


def test_columns_twice_without_symbols_are_told_apart_by_no_number(outputs, tmp_path):
    with pytest.raises(
        headers.Refused, match=r"2 times the columns Open to Close, as of several symbols.*above each column"
    ):
        plans.plan_file(f"Date,{','.join(2 * PRICES)}\n2021-01-04,1,2,1,2,3,1,2,1,2,3\n".encode())


def test_columns_without_a_name_may_be_left_out_further_down(outputs, tmp_path):
    lines = prices("X", days=60)[["Date", *PRICES]].to_csv(index=False).splitlines()
    text = "".join(f"{line}{',,' if number < 20 else ''}\n" for number, line in enumerate(lines))
    assert_same(read({"X.csv": text}, tmp_path / "archive"), prices("X", days=60))


def test_factors_are_not_taken_for_adjusted_closes(outputs, tmp_path):
    own = prices("X").drop(columns="Symbol")
    factors = own.assign(Adj=[0.5] * 10 + [1.0] * 15)
    with pytest.raises(QuarantineError, match=r"column 'Adj' .*factors.*archive.columns: \{Adj Close: \"\"\}"):
        read({"X.csv": factors.to_csv(index=False)}, tmp_path / "archive")
    by_date = pd.concat([factors.assign(Symbol="X", Adj=1.0), factors.assign(Symbol="Y", Adj=0.25)]).sort_values("Date")
    with pytest.raises(QuarantineError, match="seems to hold factors"):
        read({"all.csv": by_date.to_csv(index=False)}, tmp_path / "table")
    adjusted = own.assign(Adj=own["Close"] * factors["Adj"])
    for name, frame in (("factors", factors), ("adjusted", adjusted), ("as the close", own.assign(Adj=own["Close"]))):
        chosen = {"Adj Close": ""} if name == "factors" else {}
        assert_same(read({"X.csv": frame.to_csv(index=False)}, tmp_path / name, columns=chosen), prices("X"))


def test_tickers_that_are_numbers_are_read_under_the_word_ticker(outputs, tmp_path):
    assert_same(read({"x.csv": levels(prices("005930")).to_csv()}, tmp_path / "archive"), prices("005930"))


def test_one_symbols_price_twice_under_two_levels_is_refused():
    text = "Price,Open,High,Low,Close,Close,Volume\nTicker,A,A,A,A,A,A\nDate,,,,,,\n2021-01-04,1,2,1,1,2,5\n"
    with pytest.raises(headers.Refused, match="two columns are A Close; take one of them away"):
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
    with pytest.raises(headers.Refused, match=r"intraday rows: Per is .*archive.columns: {Period: .."):
        plans.plan_file(text)


def test_a_closing_price_is_known_with_a_sharp_s(outputs, tmp_path):
    frame = prices("SAP").drop(columns="Symbol").rename(columns={"Close": "Schlußkurs"})
    assert_same(read({"SAP.csv": frame.to_csv(index=False).encode("cp1252")}, tmp_path / "archive"), prices("SAP"))


def with_column(frame, **columns):
    return frame.drop(columns="Symbol").assign(**columns).to_csv(index=False)


@pytest.mark.parametrize("called", ["Index", "Company", "Code", "Name"])
def test_a_column_with_one_value_for_files_of_different_symbols_is_no_symbol(called, outputs, tmp_path):
    frames = [prices(symbol, 10 * number) for number, symbol in enumerate(("AAPL", "IBM", "MSFT"), 1)]
    values = ["NASDAQ", "NYSE", "NASDAQ"]
    files = {
        f"{frame['Symbol'][0]}.csv": with_column(frame, **{called: value})
        for frame, value in zip(frames, values, strict=True)
    }
    archive, made = made_of(files, tmp_path / "archive")
    assert made.prices.read()["Symbol"].unique().to_pylist() == ["AAPL", "IBM", "MSFT"]
    message = f"column {called!r} is 'NASDAQ' in AAPL.csv and in MSFT.csv on the same day, so it names no symbol"
    assert any(message in note for note in archive.notes)


def test_parts_of_one_symbol_stay_parts_of_it(outputs, tmp_path):
    frame = prices("AAPL", days=40)
    files = {
        "A1.csv": with_column(frame[:20], Code="AAPL"),
        "A2.csv": with_column(frame[20:], Code="AAPL"),
    }
    assert_same(read(files, tmp_path / "archive"), frame)


def test_a_column_that_is_perhaps_no_symbol_is_told_of_and_can_be_ruled_out(outputs, tmp_path):
    files = {"AAPL.csv": with_column(prices("AAPL"), Index="NASDAQ")}
    archive, made = made_of(files, tmp_path / "archive")
    assert made.prices.read()["Symbol"].unique().to_pylist() == ["NASDAQ"]
    assert any('archive.columns: {Symbol: ""}' in note and "'NASDAQ'" in note for note in archive.notes)
    archive, _ = made_of(files, tmp_path / "archive", columns={"Symbol": ""})
    assert not any("archive.columns" in note for note in archive.notes)
    assert_same(read(files, tmp_path / "archive", columns={"Symbol": ""}), prices("AAPL"))
    assert not any(
        "Index" in note
        for note in made_of({"AAPL.csv": with_column(prices("AAPL"), Code="AAPL.US")}, tmp_path / "b")[0].notes
    )


def test_two_files_of_one_symbol_and_day_are_refused_with_a_way_out(outputs, tmp_path):
    files = {f"{name}.csv": with_column(prices(name, first), Ticker="X") for name, first in (("A", 10), ("B", 20))}
    with pytest.raises(
        QuarantineError, match=r"X on 2021-01-04 is in A.csv and in B.csv.*archive.columns: {Symbol: \"\"}"
    ):
        read(files, tmp_path / "archive")
    assert_same(read(files, tmp_path / "archive", columns={"Symbol": ""}), prices("A", 10), prices("B", 20))


def test_no_column_is_said_by_the_params_file_and_the_command_line(tmp_path):
    (tmp_path / "own.yaml").write_text('archive:\n  columns: {Symbol: "", Close: settle}\n')
    assert params.load(tmp_path / "own.yaml").archive.columns == {"Symbol": "", "Close": "settle"}
    overrides = [("archive.columns", '{Symbol: "", Close: settle}')]
    assert params.with_overrides(tmp_path, overrides).archive.columns == {"Symbol": "", "Close": "settle"}
    assert params.with_overrides(tmp_path, [("archive.columns.Symbol", "")]).archive.columns == {"Symbol": ""}


@pytest.mark.parametrize(
    "names",
    [["Close", "Close"], ["Close", "Close "], ["Close", "close"], ["Closing: price", "Close"], ["Last", "Price"]],
)
def test_what_is_told_to_choose_between_two_columns_works(names, outputs, tmp_path):
    header = ",".join(f'"{name}"' for name in ("Date", "Open", "High", "Low", *names, "Volume"))
    frame = prices("AAPL")
    rows = frame.assign(Second=9.5)[["Date", "Open", "High", "Low", "Close", "Second", "Volume"]]
    text = f"{header}\n{rows.to_csv(index=False, header=False)}"
    with pytest.raises(headers.Refused) as caught:
        plans.plan_file(text.encode())
    setting = re.search(r"archive.columns: ({.*?})$", str(caught.value))[1]
    columns = params.with_overrides(tmp_path, [("archive.columns", setting)]).archive.columns
    assert_same(read({"AAPL.csv": text}, tmp_path / "archive", columns=columns), frame)
    if names[0] == names[1]:
        with pytest.raises(sources.ArchiveError, match=r"give its number: {Close: 5} or {Close: 6}"):
            read({"AAPL.csv": text}, tmp_path / "archive", columns={"Close": "Close"})


@pytest.mark.parametrize("quoted", [False, True])
def test_every_text_in_a_column_of_symbols_is_a_ticker(quoted, outputs, tmp_path):
    tickers = ["NAN", "NA", "NULL", "NONE", "N/A", "nat", "ON", "TRUE", "AAPL", "None"]
    frames = [prices(ticker, 10 * number) for number, ticker in enumerate(tickers, 1)]
    text = pd.concat(frames).to_csv(index=False, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    assert_same(read({"x.csv": text}, tmp_path / "archive"), *frames)
    row = "NAN,2021-03-01,1,2,1\n"  # with so few fields, the file is read line by line
    _, made = made_of({"x.csv": text + row}, tmp_path / "by line", most=0.01)
    assert made.prices.rows == 250 and made.quarantine.read()["code"].to_pylist() == ["wrong_number_of_fields"]


def test_a_series_that_reads_as_no_value_tells_symbols_apart(outputs, tmp_path):
    text = "Symbol,Series,Date,Open,High,Low,Close,Volume\nX,EQ,2021-01-04,1,2,1,2,5\nX,NA,2021-01-04,3,4,3,4,5\nX,,2021-01-05,1,2,1,2,5\n"
    assert read({"x.csv": text}, tmp_path / "archive")["Symbol"].tolist() == ["X", "X", "X-NA"]


def test_a_row_without_a_symbol_is_set_aside_and_no_symbol_is_said_to_be_lost(outputs, tmp_path):
    rows = prices("AAPL")[:20]
    text = pd.concat([rows, rows[:5].assign(Symbol=["", " ", "", "", ""])]).to_csv(index=False)
    with pytest.raises(QuarantineError) as caught:
        read({"x.csv": text}, tmp_path / "archive")
    assert "null value (5)" in str(caught.value) and "would lose" not in str(caught.value)
    assert "or allow more: -p ingest.max_quarantined_share" in str(caught.value)


KAGGLES = "Date,Open,High,Low,Close,Adj Close,Volume"


@pytest.mark.parametrize("header", [HEADER.strip(), KAGGLES, "Symbol,Date,Open,High,Low,Close,Volume"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_delimiter_at_the_end_of_each_row_but_not_of_the_header_is_no_field(header, delimiter, outputs, tmp_path):
    frame = prices("AAPL", days=60)
    rows = frame.assign(**{"Adj Close": frame["Close"]})[header.split(",")].to_csv(index=False, header=False)
    text = f"{header}\n{rows}".replace("\n", ",\n").replace(f"{header},", header)
    text += f"{header}\n"  # once more, as files put one after the other have it
    assert_same(read({"AAPL.csv": text.replace(",", delimiter)}, tmp_path / "archive"), frame)


@pytest.mark.parametrize("names", ["numbers", "quoted numbers", "dates", "numbers down"])
def test_names_of_rows_have_no_name_in_the_header_that_r_writes(names, outputs, tmp_path):
    frame = prices("AAPL", days=60)
    wanted = frame.drop(columns="Symbol")
    if names == "dates":
        wanted = wanted.set_index("Date")
    else:
        wanted.index = range(60, 0, -1) if names == "numbers down" else range(1, 61)
    quoting = csv.QUOTE_NONNUMERIC if names == "quoted numbers" else csv.QUOTE_MINIMAL
    wanted.index = wanted.index.astype(str)
    rows = wanted.to_csv(header=False, quoting=quoting)
    text = ",".join(wanted.columns) + "\n" + rows
    assert_same(read({"AAPL.csv": text}, tmp_path / "archive"), frame)


@pytest.mark.parametrize("name", ["AAPL", "7203", "x"])
def test_a_column_without_a_name_that_may_be_anything_is_asked_for(name):
    text = HEADER + "".join(f"{name},2021-01-{day},10,11,9,10,5\n" for day in range(10, 29))
    with pytest.raises(
        headers.Refused, match=r"each row has 7, one more than the header: .*; the first is .*Name the column"
    ):
        plans.plan_file(text.encode())
    symbol = plans.plan_file(f"Symbol,{text}".encode()).plan.reading.columns["Symbol"]
    assert symbol == 0, "what the message says works"


def test_decimal_commas_without_quotes_are_not_taken_for_names_of_rows():
    text = HEADER + "".join(f"2021-01-{day},10,5,11,9,10,5\n" for day in range(10, 29))
    with pytest.raises(headers.Refused, match="each row has 7"):
        plans.plan_file(text.encode())
    text = HEADER + "".join(f"2021-01-{day},10,5,11,2,9,3,10,4,5\n" for day in range(10, 29))
    with pytest.raises(headers.Refused, match="do numbers have ',' in them without quotes"):
        plans.plan_file(text.encode())


def without_header(order, frame=None, **columns):
    """A file without a header, of the columns that ``order`` names."""
    frame = prices("AAPL", days=60) if frame is None else frame
    frame = frame.assign(**{name: value(frame) if callable(value) else value for name, value in columns.items()})
    return frame[order.split()].to_csv(index=False, header=False)


@pytest.mark.parametrize(
    ("order", "columns", "found"),
    [
        ("Date Open High Low Close Volume", {}, "Date: 1, Open: 2"),
        ("Number Date Open High Low Close Volume", {}, "Date: 2, Open: 3"),
        ("Day Date Open High Low Close Volume", {"Day": lambda rows: pd.to_datetime(rows["Date"]).dt.day_name()}, "Date: 2, Open: 3"),
        ("Ticker Per Days Time Open High Low Close Volume Nothing", {"Per": "D"}, "Symbol: 1, Date: 3, Open: 5"),
        ("Symbol Company Date Open High Low Close Volume", {"Company": "Apple Inc"}, "Symbol: 1, Date: 3, Open: 4"),
        ("Exchange Symbol Date Open High Low Close Volume", {"Exchange": "NYSE"}, "Symbol: 2, Date: 3, Open: 4"),
        ("Symbol Open High Low Close Volume Date", {}, "Symbol: 1, Date: 7, Open: 2"),
        ("Date Number Open High Low Close Volume", {}, "Date: 1, Open: 3"),
        ("Number Symbol Date Open High Low Close Volume", {}, "Symbol: 2, Date: 3, Open: 4"),
        ("Date Symbol Open High Low Close Volume", {"Symbol": "7203"}, "Symbol: 2, Date: 1, Open: 3"),
        ("Date Open High Low Close Volume Symbol", {}, "Symbol: 7, Date: 1, Open: 2"),
        ("Date Open High Low Close Adj Volume", {"Adj": lambda rows: (rows["Close"] * 0.97).round(4)}, "Close: 5, Adj Close: 6, Volume: 7"),
        ("Date Open High Low Close Average Volume", {"Average": lambda rows: rows["Close"] + [(-1) ** row / 4 for row in range(60)]}, "Close: 5, Volume: 7"),
        ("Date Open High Low Close Volume Trades", {"Trades": 17}, "Close: 5, Volume: 6"),
    ],
)  # fmt: skip
def test_the_numbers_of_columns_that_are_suggested_fit_the_rows(order, columns, found, outputs, tmp_path):
    made = {
        "Number": lambda rows: range(len(rows)),
        "Ticker": "AAPL.US",
        "Days": lambda rows: rows["Date"].str.replace("-", ""),
        "Time": "000000",
        "Nothing": 0,
        **columns,
    }
    text = without_header(order, **made)
    with pytest.raises(headers.Refused, match="check this guess") as caught:
        plans.plan_file(text.encode())
    setting = re.search(r"-p archive.columns '({.*?})'", str(caught.value))[1]
    assert found in setting and ("Symbol" in found) == ("Symbol" in setting)
    columns = params.with_overrides(tmp_path, [("archive.columns", setting)]).archive.columns
    name = columns.get("Symbol") and "prices.csv"
    frame = prices("7203" if columns.get("Symbol") and "7203" in text else "AAPL", days=60)
    assert_same(read({name or "AAPL.csv": text}, tmp_path / "archive", columns=columns), frame)


@pytest.mark.parametrize(
    ("order", "columns"),
    [
        ("Date Close High Low Open Volume", {}),
        ("Date Close Open High Low Volume", {}),
        ("Date Open High Low Close", {"Close": lambda rows: rows["High"]}),
        ("Date Open High Low Close Volume", {"Volume": lambda rows: rows["Volume"] / 1000}),
        ("First Second Date Open High Low Close Volume", {"First": "AAPL", "Second": "APPLE"}),
        ("Exchange Date Open High Low Close Volume", {"Exchange": "NASDAQ"}),
        ("Date Updated Open High Low Close Volume", {"Updated": "2021-06-01"}),
        ("Date Open High Low Close Open High Low Close Volume", {}),
    ],
)
def test_where_the_rows_leave_it_open_no_numbers_are_suggested(order, columns):
    with pytest.raises(
        headers.Refused, match=r"by number, from 1: .*{Date: NUMBER, Open: NUMBER.* do not show clearly"
    ):
        plans.plan_file(without_header(order, **columns).encode())


def test_the_symbols_of_a_file_of_many_a_day_are_found():
    frames = pd.concat([prices(f"{letter}A{number}", 10 + number) for letter in "XYZ" for number in range(9)])
    text = without_header("Date Symbol Open High Low Close Volume", frames.sort_values("Date", kind="stable"))
    with pytest.raises(headers.Refused, match=r"{Symbol: 2, Date: 1, Open: 3"):
        plans.plan_file(text.encode())


def test_opens_as_near_to_one_close_as_to_the_other_are_in_the_usual_order():
    text = without_header("Date Open High Low Close Volume", Open=lambda rows: rows["Close"] + 0.01)
    found = usual_order.suggestion([row.split(",") for row in text.split()])
    assert list(found) == ["Date", *PRICES]


def test_a_file_without_a_header_of_very_many_columns_takes_no_time():
    row = "2021-01-04" + ",1234567890" * 20_000
    with pytest.raises(headers.Refused, match="do not show clearly"):
        plans.plan_file("\n".join([row] * 40).encode())


def test_a_column_that_is_no_symbol_is_none_in_parquet(outputs, tmp_path):
    frames = prices("AAPL"), prices("MSFT", 30)
    columns = {"Index": "NASDAQ"}
    files = {
        f"{frame['Symbol'][0]}.parquet": as_parquet(frame.drop(columns="Symbol").assign(**columns)) for frame in frames
    }
    assert_same(read(files, tmp_path / "archive"), *frames)
    one = {"AAPL.parquet": files["AAPL.parquet"]}
    assert_same(read(one, tmp_path / "one", columns={"Symbol": ""}), frames[0])


@pytest.mark.parametrize("first", ["Ticker", "Symbols", "Symbol", "ticker"])
@pytest.mark.parametrize("more", ["", ",Name"])
def test_a_table_that_begins_with_its_tickers_has_one_header(first, more, outputs, tmp_path):
    frame = truth(60)
    wanted = frame.sort_values(["Symbol", "Date"]).reset_index(drop=True)
    columns = [wanted["Symbol"], wanted["Date"].dt.strftime("%Y-%m-%d")]
    columns += [wanted[name].astype(str) for name in ("Open", "High", "Low", "Close", "Volume")]
    rows = [",".join([*row, *(["Some Inc."] if more else [])]) for row in zip(*columns, strict=True)]
    text = f"{first},Date,Open,High,Low,Close,Volume{more}\n" + "\n".join(rows) + "\n"
    (tmp_path / "all.csv").write_text(text)
    archive = sources.open_archive(str(tmp_path / "all.csv"), StudyPaths("study"))
    found = ingest(archive, StudyPaths("study"), 0.0, Engine(workers=1)).prices.read().to_pandas()
    for column in ("Symbol", "Open", "Close", "Volume"):
        assert found[column].tolist() == wanted[column].tolist()


def test_rows_end_with_a_delimiter_or_do_not_in_one_file(outputs, tmp_path):
    rows = [f"2021-0{1 + day // 28}-{1 + day % 28:02},10,11,9,10.5,{100 + day}" for day in range(100)]
    lines = [row + "," * (number < 50) for number, row in enumerate(rows)]
    (tmp_path / "A.csv").write_text("Date,Open,High,Low,Close,Volume\n" + "\n".join(lines) + "\n")
    archive = sources.open_archive(str(tmp_path / "A.csv"), StudyPaths("study"))
    made = ingest(archive, StudyPaths("study"), 0.0, Engine(workers=1))
    assert made.prices.read()["Volume"].to_pylist() == list(range(100, 200))


def test_names_in_parquet_belong_to_the_symbols_of_the_files(outputs, tmp_path):
    days = [f"2021-01-{day:02}" for day in range(4, 29)]
    prices = dict.fromkeys(("Open", "High", "Low", "Close"), [10.0] * len(days))
    for symbol, name in (("AAPL", "Apple"), ("MSFT", "Micro")):
        columns = {
            "Date": days,
            **prices,
            "Volume": [5] * len(days),
            "Index": ["X"] * len(days),
            "Name": [name] * len(days),
        }
        pq.write_table(pa.table(columns), tmp_path / f"{symbol}.parquet")
    archive = sources.open_archive(str(tmp_path), StudyPaths("study"))
    found = ingest(archive, StudyPaths("study"), 0.0, Engine(workers=1)).prices.read().to_pandas()
    named = found[["Symbol", "Security Name"]].drop_duplicates().to_numpy().tolist()
    assert named == [["AAPL", "Apple"], ["MSFT", "Micro"]]


LONG = prices("X", days=200)[["Date", *PRICES]]


@pytest.mark.parametrize(
    "header",
    [
        "date,1. close,2. high,3. low,4. open,5. volume",
        "t,c,h,l,o,v",
        "Date,Open,High,Low,Close,Volume ($)",
        "Date,Open,High,Low,Close,成交量(手)",
        "Date,Close,High,Low,Open",
        "Date,Open,High,Low,Close,Adj Close,Volume,Dividends",
    ],
)
@pytest.mark.parametrize("kind", ["", "Adj Close"])
def test_a_second_header_in_any_words_stops_the_run(header, kind, outputs, tmp_path):
    own = LONG.assign(**{kind: LONG["Close"]} if kind else {})
    own = own[["Date", "Open", "High", "Low", "Close", *([kind] if kind else []), "Volume"]]
    text = own.to_csv(index=False)
    with pytest.raises(QuarantineError, match=r"a header within a file:\n  X.csv, line 202: another header"):
        read({"X.csv": f"{text}{header}\n2021-12-01,1,2,1,2,3\n"}, tmp_path / "archive", most=0.1)


def test_a_second_header_that_says_the_same_in_other_words_is_no_row(outputs, tmp_path):
    first, second = (prices("X", days=60)[["Date", *PRICES]].iloc[part] for part in (slice(30), slice(30, None)))
    german = second.set_axis(["Datum", "Eröffnung", "Hoch", "Tief", "Schlusskurs", "Stück"], axis=1)
    text = first.to_csv(index=False) + german.to_csv(index=False)
    assert_same(read({"X.csv": text}, tmp_path / "archive"), prices("X", days=60))


def test_names_and_tickers_in_one_place_are_not_mixed(outputs, tmp_path):
    first = prices("X")[["Date", *PRICES]].assign(Name="Some Company").to_csv(index=False)
    second = prices("Y")[["Date", *PRICES]].assign(Ticker="Y").to_csv(index=False)
    with pytest.raises(QuarantineError, match="line 27: another header"):
        read({"all.csv": first + second}, tmp_path / "archive", most=0.1)


def test_the_header_of_two_levels_of_one_symbol_may_come_again(outputs, tmp_path):
    def downloaded(part):
        rows = prices("AAPL", days=60).iloc[part].set_index("Date")[PRICES].to_csv(header=False)
        return f"Price,{','.join(PRICES)}\nTicker{',AAPL' * 5}\nDate,,,,,\n{rows}"

    text = downloaded(slice(30)) + downloaded(slice(30, None))
    assert_same(
        read({"a.csv": text, "b.csv": text.replace("AAPL", "B")}, tmp_path / "archive"),
        prices("AAPL", days=60),
        prices("B", days=60),
    )
    other = downloaded(slice(30)) + downloaded(slice(30, None)).replace("AAPL", "MSFT")
    with pytest.raises(QuarantineError, match="line 35: another header"):
        read({"a.csv": other}, tmp_path / "other", most=0.1)


@pytest.mark.parametrize("flag", [True, "Yes", "-", "bereinigt"])
@pytest.mark.parametrize("parquet", [False, True])
def test_a_column_that_says_whether_prices_are_adjusted_is_no_price(flag, parquet, outputs, tmp_path):
    own = prices("X")[["Date", *PRICES]].assign(adjusted=flag)
    if parquet:
        own.to_parquet(tmp_path / "X.parquet")
        contents = {"X.parquet": (tmp_path / "X.parquet").read_bytes()}
    else:
        contents = {"X.csv": own.to_csv(index=False)}
    assert_same(read(contents, tmp_path / "archive"), prices("X"))


def test_rows_that_begin_with_a_number_sign_are_counted(outputs, tmp_path):
    own = prices("X", days=200)
    own.loc[3:5, "Symbol"] = "#N/A"
    text = own.to_csv(index=False) + "# made by a program\nTotal rows: 200\n"
    _, made = made_of({"all.csv": text}, tmp_path / "archive", most=0.1)
    assert made.prices.rows == 197
    reasons = made.quarantine.read().to_pandas()["code"].value_counts().to_dict()
    assert reasons == {"null_value": 3, "wrong_number_of_fields": 1}


@pytest.mark.parametrize("written", ["{} (SEK)", "{} (USD)", "DAY_{}", "{} PLN", "SPLIT_{}"])
def test_a_currency_or_a_word_beside_each_price_is_no_symbol(written, outputs, tmp_path):
    own = prices("X")[["Date", *PRICES]].set_axis(["Date", *map(written.format, PRICES)], axis=1)
    asked = {"Volume": written.format("Volume")}
    if "(" not in written:
        asked = {price: written.format(price) for price in PRICES}
    with pytest.raises((QuarantineError, archive.ArchiveError), match="no column is known to be"):
        read({"X.csv": own.to_csv(index=False)}, tmp_path / "asked")
    assert_same(read({"X.csv": own.to_csv(index=False)}, tmp_path / "chosen", columns=asked), prices("X"))


def test_an_index_without_a_name_has_the_dates(outputs, tmp_path):
    text = prices("X")[["Date", *PRICES]].rename(columns={"Date": "index"}).to_csv(index=False)
    assert_same(read({"X.csv": text}, tmp_path / "archive"), prices("X"))


@pytest.mark.parametrize("adjusted", [False, True])
def test_files_of_one_symbol_a_year_are_one_symbol(adjusted, outputs, tmp_path):
    own = prices("AAPL", days=300)[["Date", *PRICES]]
    if adjusted:  # as Kaggle's archive has them
        own = own.assign(**{"Adj Close": own["Close"]})[["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]]
    years = {year: rows.to_csv(index=False) for year, rows in own.groupby(own["Date"].str[:4])}
    assert len(years) == 2
    files = {f"AAPL_{year}.csv": text for year, text in years.items()}
    assert_same(read(files, tmp_path / "names"), prices("AAPL", days=300))
    (tmp_path / "folders" / "AAPL").mkdir(parents=True)
    assert_same(
        read({f"AAPL/{year}.csv": text for year, text in years.items()}, tmp_path / "folders"), prices("AAPL", days=300)
    )
    with pytest.raises(QuarantineError, match=r"the name '2021.csv' holds a year.*such as symbol=AAPL"):
        read({f"{year}.csv": text for year, text in years.items()}, tmp_path / "years")


def test_short_files_are_read_in_the_order_in_which_their_dates_follow_each_other(outputs, tmp_path):
    own = prices("X", days=6)[["Date", *PRICES]]
    dates = pd.to_datetime(own["Date"])
    day_first, month_first = (own.assign(Date=dates.dt.strftime(form)) for form in ("%d/%m/%Y", "%m/%d/%Y"))
    for name, frame in {"day": day_first, "month": month_first}.items():
        assert_same(read({"X.csv": frame.to_csv(index=False)}, tmp_path / name), prices("X", days=6))
    long = prices("Y")[["Date", *PRICES]]
    long = long.assign(Date=pd.to_datetime(long["Date"]).dt.strftime("%m/%d/%Y")).to_csv(index=False)
    with pytest.raises(archive.ArchiveError, match=r"day first in X\.csv and month first in Y\.csv"):
        read({"X.csv": day_first.to_csv(index=False), "Y.csv": long}, tmp_path / "both")


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)], ids=["oldest first", "newest first"])
def test_days_that_a_program_has_read_as_months_are_not_believed(order, outputs, tmp_path):
    own = prices("X", days=60)[["Date", *PRICES]].iloc[order]
    days = [f"{y}-{d}-{m}" if d < "13" else f"{y}-{m}-{d}" for y, m, d in own["Date"].str.split("-")]
    with pytest.raises(QuarantineError, match=r"undecided dates: they follow each other by days only if"):
        read({"X.csv": own.assign(Date=days).to_csv(index=False)}, tmp_path / "archive")
    firsts = pd.date_range("2018-01-01", periods=60, freq="MS").strftime("%Y-%m-%d")
    assert len(read({"X.csv": own.assign(Date=firsts).to_csv(index=False)}, tmp_path / "months")) == 60


@pytest.mark.parametrize(
    ("zone", "form", "words"),
    [
        ("Asia/Tokyo", "%Y-%m-%dT%H:%M:%SZ", "Sundays and never on Fridays"),
        ("Australia/Sydney", "%s", "Sundays and never on Fridays"),
        ("Europe/London", "%Y-%m-%d %H:%M:%S", "Fridays in a part of the year"),
        ("America/New_York", "%Y-%m-%d %H:%M:%S+00:00", ""),
    ],
)
def test_times_of_another_zone_are_seen_by_their_days(zone, form, words, outputs, tmp_path):
    own = prices("X", days=260)[["Date", *PRICES]]
    times = pd.to_datetime(own["Date"]).dt.tz_localize(zone).dt.tz_convert("UTC")
    written = times.astype("int64") // 10**9 if form == "%s" else times.dt.strftime(form)
    text = own.iloc[:120].assign(Date=written[:120]).to_csv(index=False)
    if words:
        with pytest.raises(QuarantineError, match=words):
            read({"X.csv": text}, tmp_path / "archive")
    else:
        assert_same(read({"X.csv": text}, tmp_path / "archive"), prices("X", days=120))


def test_columns_that_pandas_has_numbered_are_those_of_their_tickers(outputs, tmp_path):
    frames = prices("AAPL"), prices("MSFT", 30)
    levels(*frames).to_csv(tmp_path / "written.csv")
    text = pd.read_csv(tmp_path / "written.csv").to_csv(index=False)
    assert "Close.1" in text
    assert_same(read({"x.csv": text}, tmp_path / "archive"), *frames)


@pytest.mark.parametrize("by", [["Symbol", "Date"], ["Date", "Symbol"]])
def test_cells_that_pandas_has_merged_down_a_workbook_are_all_of_their_value(by, outputs, tmp_path):
    frames = prices("AAPL"), prices("MSFT", 30)
    together = pd.concat(frames)
    together["Date"] = pd.to_datetime(together["Date"])
    together.set_index(by).sort_index().to_excel(tmp_path / "written.xlsx")
    assert_same(read({"x.xlsx": (tmp_path / "written.xlsx").read_bytes()}, tmp_path / "archive"), *frames)


@pytest.mark.parametrize("names", [PRICES, [*PRICES, "Adj Close"], ["Adj Close"]])
def test_a_ticker_without_prices_leaves_the_others(names, outputs, tmp_path):
    frames = prices("AAPL"), prices("MSFT", 30)
    wide = levels(*frames)
    for name in names:
        wide[name, "GONE"] = float("nan")
    wide.columns.names = ["Price", "Ticker"]
    wide.index = pd.to_datetime(wide.index)
    wide.to_csv(tmp_path / "written.csv")
    wide.to_excel(tmp_path / "written.xlsx")
    for kind in ("csv", "xlsx"):
        content = (tmp_path / f"written.{kind}").read_bytes()
        assert_same(read({f"x.{kind}": content}, tmp_path / kind), *frames)


def as_kaggle(own):
    """Rows as Kaggle's archive has them."""
    return own.assign(**{"Adj Close": own["Close"]})[["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]]


def test_tickers_that_look_like_years_are_tickers(outputs, tmp_path):
    names = ["1925.T", "2002.T", "7203.T"]
    files = {f"{name}.csv": as_kaggle(prices(name)[["Date", *PRICES]]).to_csv(index=False) for name in names}
    (tmp_path / "all" / "japan").mkdir(parents=True)
    assert_same(read({f"japan/{name}": text for name, text in files.items()}, tmp_path / "all"), *map(prices, names))
    codes = {"2002.csv": files["2002.T.csv"], "2010.csv": files["1925.T.csv"]}
    assert_same(read(codes, tmp_path / "codes"), prices("2002"), prices("2010"))
    assert_same(read({"2021.csv": files["2002.T.csv"]}, tmp_path / "one"), prices("2021"))


def test_a_general_name_takes_the_folders_symbol_in_any_layout(outputs, tmp_path):
    frames = prices("AAPL"), prices("MSFT", 30)
    for frame in frames:
        (tmp_path / "archive" / frame["Symbol"][0]).mkdir(parents=True)
    files = {f"{f['Symbol'][0]}/prices.csv": as_kaggle(f[["Date", *PRICES]]).to_csv(index=False) for f in frames}
    assert_same(read(files, tmp_path / "archive"), *frames)


def test_one_year_without_rows_leaves_the_others(outputs, tmp_path):
    own = prices("AAPL", days=300)[["Date", *PRICES]]
    files = {f"AAPL_{year}.csv": rows.to_csv(index=False) for year, rows in own.groupby(own["Date"].str[:4])}
    assert_same(read({**files, "AAPL_2023.csv": HEADER}, tmp_path / "archive"), prices("AAPL", days=300))
    name = min(files)
    found = read({name: files[name], "AAPL_2023.csv": HEADER}, tmp_path / "one")
    assert set(found["Symbol"]) == {"AAPL"} and len(found) == files[name].count("\n") - 1


@pytest.mark.parametrize(
    "times",
    [
        lambda days: days.dt.tz_localize("Asia/Riyadh") + pd.Timedelta(hours=10),  # the first trade, in UTC
        lambda days: days.dt.tz_localize("UTC") + pd.Timedelta("23:59:59") * (days.dt.dayofyear < 30),
    ],
)
def test_times_of_the_exchanges_own_day_are_cut_off(times, outputs, tmp_path):
    own = prices("X", days=120)[["Date", *PRICES]]
    sundays = pd.date_range("2021-01-03", periods=200).to_series()
    days = sundays[~sundays.dt.weekday.isin([4, 5])][:120].reset_index(drop=True)
    written = times(days).dt.tz_convert("UTC").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    text = own.assign(Date=written).to_csv(index=False)
    assert_same(
        read({"X.csv": text}, tmp_path / "archive"), prices("X", days=120).assign(Date=days.dt.strftime("%Y-%m-%d"))
    )


def test_times_of_another_zone_are_seen_in_parquet(outputs, tmp_path):
    own = prices("X", days=60)[["Date", *PRICES]]
    own["Date"] = pd.to_datetime(own["Date"]).dt.tz_localize("Asia/Tokyo").dt.tz_convert("UTC")
    own.to_parquet(tmp_path / "X.parquet")
    with pytest.raises(QuarantineError, match="Sundays and never on Fridays"):
        read({"X.parquet": (tmp_path / "X.parquet").read_bytes()}, tmp_path / "archive")


def test_adjusted_closes_that_begin_later_are_read(outputs, tmp_path):
    own = prices("X", days=200)[["Date", *PRICES]]
    own["Adjusted"] = (own["Close"] / 2).where(own.index >= 60)
    own.to_parquet(tmp_path / "X.parquet")
    _, made = made_of({"X.parquet": (tmp_path / "X.parquet").read_bytes()}, tmp_path / "archive", most=0.5)
    found = made.prices.read().to_pandas()
    assert len(found) == 140 and (found["Adj Close"] == found["Close"] / 2).all()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Date,Symbol,Open,High,Low,Close,Volume", "Date,Ticker,Open,High,Low,Close,Volume ($)"),
        ("Date,Symbol,Open (USD),High,Low,Close,Volume", "Date,Symbol,Open (EUR),High,Low,Close,Volume"),
        ("Date,Symbol,Open,High,Low,Close,Volume (shares)", "Date,Symbol,Open,High,Low,Close,Volume (thousands)"),
    ],
)
def test_a_second_header_in_other_units_stops_the_run(first, second, outputs, tmp_path):
    row = "2021-01-{:02},X,1,2,1,2,3\n".format
    text = f"{first}\n{''.join(map(row, range(4, 20)))}{second}\n{row(20)}"
    with pytest.raises(QuarantineError, match="line 18: another header"):
        read({"all.csv": text}, tmp_path / "archive", most=0.5)


def test_tickers_of_digits_in_files_put_together_are_not_mixed(outputs, tmp_path):
    first = levels(prices("7203.T", days=60)).to_csv()
    second = levels(prices("7267.T", 30).assign(Date=prices("X")["Date"].str.replace("2021", "2022"))).to_csv()
    with pytest.raises(QuarantineError, match=r"a header within a file:\n  a.csv, line 64: another header"):
        read({"a.csv": first + second}, tmp_path / "archive", most=0.5)


def test_a_row_without_values_below_two_levels_is_no_header(outputs, tmp_path):
    text = levels(prices("AAPL", days=60)).to_csv() + "04-Jan-2022,nan,nan,nan,nan,nan\n"
    _, made = made_of({"a.csv": text}, tmp_path / "archive", most=0.1)
    assert made.quarantine.read().to_pandas()["code"].to_list() == ["null_value"] and made.prices.rows == 60


def test_numbers_merged_down_a_workbook_are_of_one_day(outputs, tmp_path):
    import openpyxl

    prices("X")[["Date", *PRICES]].to_excel(tmp_path / "written.xlsx", index=False)
    book = openpyxl.load_workbook(tmp_path / "written.xlsx")
    book.active.merge_cells("E5:E6")
    book.save(tmp_path / "merged.xlsx")
    _, made = made_of({"X.xlsx": (tmp_path / "merged.xlsx").read_bytes()}, tmp_path / "archive", most=0.1)
    assert made.prices.rows == 24 and made.quarantine.read()["reason"].to_pylist() == ["null value: Close"]


def test_the_column_without_a_currency_is_taken_beside_the_same_with_one(outputs, tmp_path):
    own = prices("X")[["Date", *PRICES]]
    text = own.assign(**{"Close (USD)": own["Close"] * 2}).to_csv(index=False)
    assert_same(read({"X.csv": text}, tmp_path / "archive"), prices("X"))


@pytest.mark.parametrize("volume", ["Volume (#)", "Volume (shares)", "出来高(株数)", "成交量(股数)"])
def test_volumes_of_shares_may_say_so(volume, outputs, tmp_path):
    text = prices("X")[["Date", *PRICES]].rename(columns={"Volume": volume}).to_csv(index=False)
    assert_same(read({"X.csv": text}, tmp_path / "archive"), prices("X"))


def test_a_long_line_is_shortened_once(outputs, tmp_path):
    long = "2021-03-01;" + "x" * 20_000
    text = prices("AAPL").to_csv(index=False, sep=";") + long + "\n"
    _, made = made_of({"AAPL.csv": text}, tmp_path / "archive", most=0.5)
    assert made.quarantine.read()["raw"].to_pylist() == [long[:10_000] + "... (20011 characters)"]


def test_a_footnote_with_the_names_of_prices_is_no_header(outputs, tmp_path):
    text = LONG.to_csv(index=False) + "Note: open, high, low, close in USD\n"
    assert_same(read({"X.csv": text}, tmp_path / "archive", most=0.01), prices("X", days=200))


@pytest.mark.parametrize("months", [6, 9])
def test_first_business_days_of_months_are_asked_for(months, outputs, tmp_path):
    firsts = pd.date_range("2023-09-01", periods=months, freq="BMS")
    rows = prices("X", days=months)[["Date", *PRICES]].assign(Date=firsts.strftime("%d/%m/%Y"))
    with pytest.raises(archive.ArchiveError, match=r"archive.dates: day_first or archive.dates: month_first"):
        read({"X.csv": rows.to_csv(index=False)}, tmp_path / "archive")


def test_codes_that_look_like_years_are_symbols_in_a_folder_too(outputs, tmp_path):
    (tmp_path / "archive" / "TW").mkdir(parents=True)
    files = {f"TW/{code}.csv": prices(code)[["Date", *PRICES]].to_csv(index=False) for code in ("2002", "2014")}
    assert_same(read(files, tmp_path / "archive"), prices("2002"), prices("2014"))


@pytest.mark.parametrize("minutes", [(14, 25), (12, 10)])
def test_the_time_of_a_close_is_of_its_own_day(minutes, outputs, tmp_path):
    sundays = pd.date_range("2021-01-03", periods=200).to_series()
    days = sundays[~sundays.dt.weekday.isin([4, 5])][:120].reset_index(drop=True)
    written = days.dt.strftime("%Y-%m-%dT{:02}:{:02}:00Z".format(*minutes))
    text = prices("X", days=120)[["Date", *PRICES]].assign(Date=written).to_csv(index=False)
    own = prices("X", days=120).assign(Date=days.dt.strftime("%Y-%m-%d"))
    assert_same(read({"X.csv": text}, tmp_path / "archive"), own)


@pytest.mark.parametrize("symbols", [("NOK",), ("TRY", "AAPL"), ("USD", "NOK", "X")])
def test_tickers_that_are_currencies_too_are_read_beside_others(symbols, outputs, tmp_path):
    frames = [prices(symbol, 10 + number) for number, symbol in enumerate(symbols)]
    assert_same(read({"x.csv": named_by_symbol(levels(*frames), ".").to_csv()}, tmp_path / "archive"), *frames)


@pytest.mark.parametrize("volume", ["Volume (stk)", "Volumen (Stück)", "Volym (st)", "Wolumen (szt.)", "Vol (Shares)"])
def test_volumes_of_shares_may_say_so_in_other_languages(volume, outputs, tmp_path):
    text = prices("X")[["Date", *PRICES]].rename(columns={"Volume": volume}).to_csv(index=False)
    assert_same(read({"X.csv": text}, tmp_path / "archive"), prices("X"))


@pytest.mark.parametrize(
    "name",
    [
        *("XETR_SAP, 1D.csv", "TADAWUL_SAP, 1D (2).csv", "SAP_Daily_202101040000_202103260000.csv"),
        *("SAP_daily_historical-data-03-30-2021.csv", "SAP - Données Historiques.csv"),
    ],
)
def test_what_programs_add_to_a_symbol_is_no_part_of_it(name, outputs, tmp_path):
    text = prices("SAP")[["Date", *PRICES]].to_csv(index=False)
    assert_same(read({name: text}, tmp_path / "archive"), prices("SAP"))


def test_a_zone_may_have_its_distance_behind_it(outputs, tmp_path):
    own = prices("X")[["Date", *PRICES]]
    days = pd.to_datetime(own["Date"]).dt.strftime("%d.%m.%Y 00:00:00.000 GMT+0100")
    assert_same(read({"X.csv": own.assign(Date=days).to_csv(index=False)}, tmp_path / "archive"), prices("X"))


@pytest.mark.parametrize("written", ["{} USD", "{}_EUR", "{} [USD]", "{} (GBP)", "{}[JPY]"])
def test_a_currency_behind_a_name_is_no_other_name(written, outputs, tmp_path):
    own = prices("AAPL")
    header = ",".join(["Date", *(written.format(name) for name in PRICES[:4]), "Volume"])
    text = own[["Date", *PRICES]].to_csv(index=False).replace(HEADER.strip(), header)
    assert_same(read({"AAPL.csv": text}, tmp_path / "a"), own)


def test_a_column_without_a_currency_is_taken_beside_one_with_it(outputs, tmp_path):
    own = prices("AAPL")
    twice = own[["Date", *PRICES]].assign(**{f"{name} USD": 1.5 * own[name] for name in PRICES[:4]})
    assert_same(read({"AAPL.csv": twice.to_csv(index=False)}, tmp_path / "a"), own)


def test_prices_in_two_currencies_are_asked_for(outputs, tmp_path):
    both = prices("AAPL")[["Date", "Volume"]].assign(
        **{f"{name}_{code}": 10 for code in ("USD", "EUR") for name in PRICES[:4]}
    )
    with pytest.raises((sources.ArchiveError, QuarantineError), match=r"several symbols side by side|could both be"):
        read({"AAPL.csv": both.to_csv(index=False)}, tmp_path / "a")


def test_another_currency_in_a_second_header_stops_the_run(outputs, tmp_path):
    rows = prices("AAPL")[["Date", *PRICES]].to_csv(index=False).split("\n", 1)[1]
    first, second = (
        ",".join(["Date", *(f"{name} {code}" for name in PRICES[:4]), "Volume\n"]) for code in ("USD", "EUR")
    )
    with pytest.raises(QuarantineError, match="line 27"):
        read({"AAPL.csv": first + rows + second + rows.replace("2021-", "2022-")}, tmp_path / "a")


@pytest.mark.parametrize(
    ("header", "title"),
    [
        ("ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount", "Tushare"),
        ("日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率", "AKShare"),
    ],
)
def test_files_whose_volumes_are_in_lots_say_so(header, title):
    rows = {
        "Tushare": "000001.SZ,20210104,10.1,10.5,10,10.2,10,0.2,2,1234,1250.5\n",
        "AKShare": "2021-01-04,000001,10.1,10.2,10.5,10,1234,1250.5,5,2,0.2,1.1\n",
    }
    plan = plans.plan_file(f"{header}\n{rows[title]}".encode()).plan
    assert plan is not None and title in plan.reading.titles[0] and "lots of 100 shares" in plan.reading.titles[0]


@pytest.mark.parametrize(
    ("good", "empty"),
    [
        (["AAPL/prices.csv", "MSFT/prices.csv"], ["AAPL/data.csv"]),
        (["symbol=AAPL/part-0.csv"], ["symbol=AAPL/part-1.csv", "symbol=AAPL/data.csv"]),
        (["AAPL/AAPL.csv"], ["AAPL/prices.csv"]),
        (["stocks/AAPL.csv"], ["AAPL/prices.csv"]),
        (["AAPL/2021.csv", "MSFT/2021.csv"], ["AAPL/2022.csv", "MSFT/2022.csv"]),
    ],
)
def test_empty_files_leave_the_others(good, empty, outputs, tmp_path):
    own = prices("AAPL")[["Date", *PRICES]]
    for name in [*good, *empty]:
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / name).write_text(own.to_csv(index=False) if name in good else "")
    _, made = made_of({}, tmp_path / "a")
    assert made.prices.rows == len(own) * len(good)
    assert sorted(made.files.read().to_pandas()["rows_kept"]) == [0] * len(empty) + [len(own)] * len(good)


def test_empty_files_in_folders_of_symbols_are_of_different_symbols(outputs, tmp_path):
    own = prices("IBM")
    contents = {"IBM/prices.csv": own[["Date", *PRICES]].to_csv(index=False).encode()}
    for name, content in {**contents, "AAPL/prices.csv": b"", "MSFT/prices.csv": b""}.items():
        (tmp_path / "a" / name).parent.mkdir(parents=True)
        (tmp_path / "a" / name).write_bytes(content)
    _, made = made_of({}, tmp_path / "a")
    accounts = made.files.read().to_pandas()
    assert accounts.set_index("symbol")["rows_kept"].to_dict() == {"AAPL/prices": 0, "IBM": len(own), "MSFT/prices": 0}


@pytest.mark.parametrize("mark", ["#", "# ", "#,", "# 2021-06-01\n# "])
def test_a_header_behind_a_hash_is_one(mark, outputs, tmp_path):
    own = prices("AAPL")
    head, *rows = own[["Date", *PRICES]].to_csv(index=False).splitlines()
    numbers = range(1, len(rows) + 1) if mark == "#," else [""] * len(rows)
    body = [f"{number},{row}" if number else row for number, row in zip(numbers, rows, strict=True)]
    assert_same(read({"AAPL.csv": "\n".join([mark + head, *body, ""])}, tmp_path / "a"), own)


def test_a_comment_with_names_of_columns_is_no_header_beside_one(outputs, tmp_path):
    own = prices("AAPL")
    text = "# Date, Low, High, Open, Close, Volume\n" + own[["Date", *PRICES]].to_csv(index=False)
    assert_same(read({"AAPL.csv": text}, tmp_path / "a"), own)


def test_a_comment_with_other_fields_than_the_rows_is_no_header(outputs, tmp_path):
    rows = prices("AAPL")[["Date", *PRICES]].to_csv(index=False, header=False)
    with pytest.raises(QuarantineError, match="no header: line 2 is a row already"):
        read({"AAPL.csv": "# Date, Open, High, Low, Close, Volume, Dividends\n" + rows}, tmp_path / "a")


@pytest.mark.parametrize(
    "pattern",
    [
        ("{}_EUR_USD", "{}_GBP_USD"),
        ("{} EUR/USD", "{} GBP/USD"),
        ("{}_AAPL", "{}_TRY.IS"),
        ("{}_USDT_USD", "{}_BTC_USD"),
    ],
)
def test_symbols_that_hold_currencies_stand_side_by_side(pattern, outputs, tmp_path):
    one, other = prices("A"), prices("B", 20.0)
    wide = one[["Date"]].assign(
        **{way.format(name): own[name] for way, own in zip(pattern, (one, other), strict=True) for name in PRICES}
    )
    found = read({"wide.csv": wide.to_csv(index=False)}, tmp_path / "a")
    assert len(found) == len(one) + len(other) and found["Symbol"].nunique() == 2


@pytest.mark.parametrize(
    "header",
    [
        "Date,Open USD,High USD,Low USD,Close USD,Close,Volume",
        "Date,Open USD,High USD,Low USD,Close EUR,Volume,Other",
        "Date,Open EUR,High EUR,Low EUR,Close EUR,Adj Close USD,Volume",
        "Date,Open [NOK],High [NOK],Low [NOK],Close [NOK],Volume [NOK],Other",
    ],
)
def test_prices_are_in_one_currency_or_asked_for(header, outputs, tmp_path):
    rows = "".join(f"2021-01-{day:02},11,12,10,10.5,10.5,1000\n" for day in range(4, 16))
    with pytest.raises((sources.ArchiveError, QuarantineError), match=r"Map the columns|could both be|no column"):
        read({"AAPL.csv": f"{header}\n{rows}"}, tmp_path / "a")
