"""Price files in every layout, written from one truth: what tests of layouts and of reading them share.

`truth` makes invented prices; each entry of `WRITERS` writes them as one provider does. A writer gives the files by name, and
says what a reader must make of them, which differs from the truth only where the layout has less: no adjusted close, rounded
volumes.
"""

from __future__ import annotations

import functools
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

SYMBOLS = ("AAPL", "BRK.B", "TRUE")
_PRICES = ["Open", "High", "Low", "Close"]


@dataclass
class Files:
    """Files of a layout, and the right rows."""

    contents: dict[str, bytes]
    rows: pd.DataFrame
    no_adjusted: bool = False
    options: dict[str, object] = field(default_factory=dict)


def truth(days: int = 40, seed: int = 7) -> pd.DataFrame:
    """Rows of `SYMBOLS`, sorted: two-digit prices, an adjusted close of its own, whole volumes."""
    chance = np.random.default_rng(seed)
    frames = []
    for symbol in SYMBOLS:
        dates = pd.bdate_range("2021-01-04", periods=days)
        close = (chance.uniform(20, 90) * np.exp(np.cumsum(chance.normal(0, 0.01, days)))).round(2)
        low, high = (close * 0.98).round(2), (close * 1.02).round(2)
        frames.append(
            pd.DataFrame(
                {
                    "Symbol": symbol,
                    "Date": dates,
                    "Open": (low + chance.uniform(0.1, 0.9, days) * (high - low)).round(2),
                    "High": high,
                    "Low": low,
                    "Close": close,
                    "Adj Close": (close * 0.95).round(4),
                    "Volume": chance.integers(1_000_000, 9_000_000, days),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _csv(frame: pd.DataFrame, **settings: object) -> bytes:
    return frame.to_csv(index=False, **settings).encode()  # type: ignore[call-overload]


def _each(frame: pd.DataFrame, name: str, make: Callable[[pd.DataFrame], bytes], adjusted: bool = True) -> Files:
    contents = {
        name.format(symbol=symbol, lower=symbol.lower()): make(rows.reset_index(drop=True))
        for symbol, rows in frame.groupby("Symbol")
    }
    return Files(contents, _without_adjusted(frame) if not adjusted else frame, not adjusted)


def _without_adjusted(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{"Adj Close": frame["Close"]})


def _day(frame: pd.DataFrame, form: str) -> pd.DataFrame:
    return frame.assign(Date=frame["Date"].dt.strftime(form))


def _columns(frame: pd.DataFrame, **names: str) -> pd.DataFrame:
    """Columns in the order given, by our name (``Adj_Close``), under another."""
    return frame[[ours.replace("_", " ") for ours in names]].set_axis(list(names.values()), axis="columns")


def _yahoo(frame: pd.DataFrame) -> Files:
    return _each(frame, "stocks/{symbol}.csv", lambda rows: _csv(rows.drop(columns="Symbol")))


def _yahoo_before_2017(frame: pd.DataFrame) -> Files:
    order = ["Date", *_PRICES, "Volume", "Adj Close"]
    return _each(frame, "{symbol}.csv", lambda rows: _csv(rows[order][::-1]))


def _yfinance_levels(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        names = ["Close", "High", "Low", "Open", "Volume"]
        symbol = rows["Symbol"][0]
        head = f"Price,{','.join(names)}\nTicker,{','.join([symbol] * 5)}\nDate,,,,,\n"
        return head.encode() + _csv(rows[["Date", *names]], header=False)

    return _each(frame, "{symbol}.csv", make, adjusted=False)


def _download(frame: pd.DataFrame, by_ticker: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What yfinance's download() returns for several symbols, and its rows: one symbol was not traded on the fourth day."""
    wide = frame.pivot(index="Date", columns="Symbol")
    if by_ticker:
        wide = wide.swaplevel(axis="columns").sort_index(axis="columns")
    wide.columns.names = ["Ticker", "Price"] if by_ticker else ["Price", "Ticker"]
    wide.iloc[3, wide.columns.get_level_values("Ticker") == "TRUE"] = np.nan  # was not traded
    rows = frame[~((frame["Symbol"] == "TRUE") & (frame["Date"] == wide.index[3]))]
    return wide, rows


def _yfinance_wide(frame: pd.DataFrame, by_ticker: bool = False, numbered: bool = False) -> Files:
    wide, rows = _download(frame, by_ticker)
    return Files({"download.csv": (wide.reset_index() if numbered else wide).to_csv().encode()}, rows)


def _yfinance_wide_parquet(frame: pd.DataFrame, numbered: bool = False) -> Files:
    wide, rows = _download(frame)
    content = io.BytesIO()
    (wide.reset_index() if numbered else wide).to_parquet(content, row_group_size=15)
    return Files({"download.parquet": content.getvalue()}, rows)


def _yfinance_each_parquet(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        content = io.BytesIO()
        rows.pivot(index="Date", columns="Symbol").rename_axis(None).to_parquet(content)
        return content.getvalue()

    return _each(frame, "{symbol}.parquet", make)


def _side_by_side(frame: pd.DataFrame, form: str) -> Files:
    wide, rows = _download(frame)
    wide.columns = [form.format(price=price, symbol=symbol) for price, symbol in wide.columns]
    return Files({"prices.csv": wide.to_csv().encode()}, rows)


def _quantmod(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        made = rows.set_index("Date")[[*_PRICES, "Volume", "Adj Close"]].rename(columns={"Adj Close": "Adjusted"})
        return made.add_prefix(f"{rows['Symbol'][0]}.").rename_axis("").to_csv(quoting=2).encode()

    return _each(frame, "{symbol}.csv", make)


def _yfinance_history(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        rows = _day(rows, "%Y-%m-%d 00:00:00-05:00").assign(Dividends=0.0, **{"Stock Splits": 0.0})
        return _csv(rows[["Date", *_PRICES, "Volume", "Dividends", "Stock Splits"]])

    return _each(frame, "{symbol}.csv", make, adjusted=False)


def _stooq(frame: pd.DataFrame) -> Files:
    order = ["Date", *_PRICES, "Volume"]
    return _each(frame, "{lower}_us_d.csv", lambda rows: _csv(rows[order], lineterminator="\r\n"), adjusted=False)


def _stooq_bulk(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        rows = _day(rows, "%Y%m%d")
        made = pd.DataFrame(
            {"<TICKER>": rows["Symbol"] + ".US", "<PER>": "D", "<DATE>": rows["Date"], "<TIME>": "000000"}
        )
        for ours, theirs in zip([*_PRICES, "Volume"], ["OPEN", "HIGH", "LOW", "CLOSE", "VOL"], strict=True):
            made[f"<{theirs}>"] = rows[ours]
        return _csv(made.assign(**{"<OPENINT>": 0}))

    return _each(frame, "data/daily/us/nasdaq stocks/1/{lower}.us.txt", make, adjusted=False)


def _borismarjanovic(frame: pd.DataFrame) -> Files:
    order = ["Date", *_PRICES, "Volume", "OpenInt"]
    return _each(frame, "Stocks/{lower}.us.txt", lambda rows: _csv(rows.assign(OpenInt=0)[order]), adjusted=False)


def _camnugent(frame: pd.DataFrame) -> Files:
    made = _columns(
        frame, Date="date", Open="open", High="high", Low="low", Close="close", Volume="volume", Symbol="Name"
    )
    return Files({"all_stocks_5yr.csv": _csv(made)}, _without_adjusted(frame), True)


def _nyse(frame: pd.DataFrame) -> Files:
    made = _columns(
        frame, Date="date", Symbol="symbol", Open="open", Close="close", Low="low", High="high", Volume="volume"
    )
    made["volume"] = made["volume"].astype(float)
    return Files({"prices.csv": _csv(made.sort_values(["date", "symbol"]))}, _without_adjusted(frame), True)


def _wiki(frame: pd.DataFrame) -> Files:
    made = _columns(
        frame, Symbol="ticker", Date="date", Open="open", High="high", Low="low", Close="close", Volume="volume"
    )
    made = made.assign(**{"ex-dividend": 0.0, "split_ratio": 1.0})
    for name in _PRICES[:3]:
        made[f"adj_{name.lower()}"] = frame[name] * 0.95
    made["adj_close"], made["adj_volume"] = frame["Adj Close"], frame["Volume"]
    return Files({"WIKI_PRICES.csv": _csv(made)}, frame)


def _alphavantage(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        made = _columns(
            rows,
            Date="timestamp",
            Open="open",
            High="high",
            Low="low",
            Close="close",
            Adj_Close="adjusted_close",
            Volume="volume",
        )
        return _csv(made.assign(dividend_amount="0.0000", split_coefficient="1.0")[::-1], lineterminator="\r\n")

    return _each(frame, "daily_adjusted_{symbol}.csv", make)


def _nasdaq(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        made = _day(rows, "%m/%d/%Y")[["Date", "Close", "Volume", "Open", "High", "Low"]]
        for name in _PRICES:
            made[name] = "$" + made[name].astype(str)
        return _csv(made.rename(columns={"Close": "Close/Last"})[::-1])

    return _each(frame, "{symbol}.csv", make, adjusted=False)


def _investing(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        made = _day(rows, "%m/%d/%Y")
        made["Volume"] = (made["Volume"] / 1e6).map("{:.2f}M".format)
        made = _columns(made, Date="Date", Close="Price", Open="Open", High="High", Low="Low", Volume="Vol.")
        return b"\xef\xbb\xbf" + _csv(made.assign(**{"Change %": "0.10%"}).astype(str)[::-1], quoting=1)

    made = _each(frame, "{symbol} Historical Data.csv", make, adjusted=False)
    made.rows = made.rows.assign(Volume=(made.rows["Volume"] / 1e6).round(2).mul(1e6).round().astype("int64"))
    return made


def _investing_de(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        made = _day(rows, "%d.%m.%Y")
        for name in _PRICES:
            made[name] = made[name].map("{:.2f}".format).str.replace(".", ",")
        made["Volume"] = made["Volume"].map("{:,}".format).str.replace(",", ".")
        made = _columns(made, Date="Datum", Close="Zuletzt", Open="Eröffn.", High="Hoch", Low="Tief", Volume="Vol.")
        return _csv(made.assign(**{"+/- %": "0,10%"})[::-1], quoting=1)

    return _each(frame, "{symbol} Historische Daten.csv", make, adjusted=False)


def _mooney(frame: pd.DataFrame) -> Files:
    order = ["Date", "Low", "Open", "Volume", "High", "Close", "Adj Close"]

    def make(rows: pd.DataFrame) -> bytes:
        return _csv(_day(rows, "%d-%m-%Y")[order].rename(columns={"Adj Close": "Adjusted Close"}))

    return _each(frame, "nasdaq/csv/{symbol}.csv", make)


def _tiingo(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        made = _columns(
            rows, Date="date", Close="close", High="high", Low="low", Open="open", Volume="volume", Adj_Close="adjClose"
        )
        for name in ("High", "Low", "Open", "Volume"):
            made[f"adj{name}"] = rows[name]
        return _csv(made.assign(divCash=0.0, splitFactor=1.0))

    return _each(frame, "{symbol}.csv", make)


def _polygon(frame: pd.DataFrame) -> Files:
    contents = {}
    for date, rows in frame.groupby("Date"):
        rows = rows.assign(Date=rows["Date"].astype("int64") + 5 * 3600 * 10**9)
        made = _columns(
            rows,
            Symbol="ticker",
            Volume="volume",
            Open="open",
            Close="close",
            High="high",
            Low="low",
            Date="window_start",
        )
        contents[f"us_stocks_sip/day_aggs_v1/2021/{date:%m/%Y-%m-%d}.csv.gz"] = gzip.compress(
            _csv(made.assign(transactions=9))
        )
    return Files(contents, _without_adjusted(frame), True)


def _eodhd(frame: pd.DataFrame) -> Files:
    return _each(
        frame,
        "{symbol}.csv",
        lambda rows: _csv(rows.drop(columns="Symbol").rename(columns={"Adj Close": "Adjusted_close"})),
    )


def _nse(frame: pd.DataFrame) -> Files:
    contents = {}
    for date, rows in frame.groupby("Date"):
        rows = _day(rows, "%d-%b-%Y")
        made = _columns(rows, Symbol="SYMBOL", Open="OPEN", High="HIGH", Low="LOW", Close="CLOSE")
        made.insert(1, "SERIES", "EQ")
        made = made.assign(
            LAST=rows["Close"], PREVCLOSE=rows["Open"], TOTTRDQTY=rows["Volume"], TOTTRDVAL=1.5, TIMESTAMP=rows["Date"].str.upper(),
            TOTALTRADES=3, ISIN="INE000A01000", trailing="",
        ).rename(columns={"trailing": ""})  # fmt: skip
        contents[f"cm{date:%d%b%Y}bhav.csv".upper().replace(".CSV", ".csv")] = _csv(made)
    return Files(contents, _without_adjusted(frame), True)


def _nse_symbol(frame: pd.DataFrame) -> Files:
    """A row in three has prices above a thousand, as 1,234.50; the plan cannot know that of a file's beginning and end."""
    above = np.arange(len(frame)) % 3 == 1
    frame = frame.assign(**{name: frame[name].where(~above, frame[name] + 9000) for name in _PRICES})

    def make(rows: pd.DataFrame) -> bytes:
        made = _day(rows, "%d-%b-%Y").assign(series="EQ", trades=3, **{"VALUE ": "1,23,456.78"})
        for name in _PRICES:
            made[name] = made[name].map("{:,.2f}".format)
        made["Volume"] = made["Volume"].map("{:,}".format)
        made["PREV. CLOSE "] = made["ltp "] = made["vwap "] = made["52W H "] = made["52W L "] = made["Close"]
        theirs = ["Date ", "OPEN ", "HIGH ", "LOW ", "close ", "VOLUME "]
        names = dict(zip(["Date", *_PRICES, "Volume"], theirs, strict=True))
        made = made.rename(columns=names | {"series": "series ", "trades": "No of trades "})
        return _csv(made.drop(columns=["Symbol", "Adj Close"]).astype(str)[::-1], quoting=1)

    return _each(frame, "{symbol}.csv", make, adjusted=False)


def _ariva(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        made = _columns(
            rows, Date="Datum", Open="Erster", High="Hoch", Low="Tief", Close="Schlusskurs", Volume="Stuecke"
        )
        return _csv(made.assign(Volumen=made["Stuecke"] * 10)[::-1], sep=";", decimal=",")

    return _each(frame, "wkn_{symbol}_historic.csv", make, adjusted=False)


def _cryptodatadownload(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        made = pd.DataFrame(
            {"unix": rows["Date"].astype("int64") // 10**9, "date": rows["Date"].dt.strftime("%Y-%m-%d 00:00:00")}
        )
        made["symbol"] = rows["Symbol"] + "/USD"
        for name in _PRICES:
            made[name.lower()] = rows[name]
        made["Volume BTC"], made["Volume USD"] = rows["Volume"] / 1000, rows["Volume"] * 30.5
        return b"https://www.CryptoDataDownload.com\n" + _csv(made[::-1])

    made = _each(frame, "Bitstamp_{symbol}USD_d.csv", make, adjusted=False)
    made.rows = made.rows.assign(Symbol=made.rows["Symbol"] + "/USD")
    made.options = {"volume_unit": 0.001}
    return made


def _french(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        made = _columns(
            _day(rows, "%d/%m/%Y"),
            Date="Date",
            Open="Ouverture",
            High="Plus haut",
            Low="Plus bas",
            Close="Clôture",
            Volume="Volume",
        )
        return made.to_csv(index=False, sep=";", decimal=",").encode("cp1252")

    return _each(frame, "{symbol}.csv", make, adjusted=False)


def _spanish_utf16(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        made = _columns(rows, Date="Fecha", Close="Último", Open="Apertura", High="Máximo", Low="Mínimo", Volume="Vol.")
        return made.to_csv(index=False, sep="\t").encode("utf-16")

    return _each(frame, "{symbol}.tsv", make, adjusted=False)


def _excel(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        made = rows.drop(columns="Symbol").assign(Volume=rows["Volume"].map("{:,}".format))
        return b"sep=,\n\n# from a spreadsheet\n" + _csv(made) + b",,,,,,\n"

    return _each(frame, "{symbol}.csv", make)


def _workbooks(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        content = io.BytesIO()
        with pd.ExcelWriter(content, engine="openpyxl") as writer:
            rows.drop(columns="Symbol").to_excel(writer, sheet_name="Prices", index=False, startrow=2)
            writer.book.create_sheet("empty")
        return content.getvalue()

    return _each(frame, "{symbol}.xlsx", make)


def _workbook(frame: pd.DataFrame) -> Files:
    content = io.BytesIO()
    frame.to_excel(content, index=False, engine="openpyxl")
    return Files({"prices.xlsx": content.getvalue()}, frame)


def _pipes(frame: pd.DataFrame) -> Files:
    return _each(frame, "{symbol}.txt", lambda rows: _csv(rows.drop(columns="Symbol"), sep="|"))


def _parquet_long(frame: pd.DataFrame) -> Files:
    content = io.BytesIO()
    frame.to_parquet(content, index=False, row_group_size=50)
    return Files({"prices.parquet": content.getvalue()}, frame)


def _parquet_hive(frame: pd.DataFrame) -> Files:
    contents = {}
    for (symbol, month), rows in frame.groupby(["Symbol", frame["Date"].dt.month]):
        content = io.BytesIO()
        rows.drop(columns="Symbol").set_index("Date").to_parquet(content)
        contents[f"symbol={symbol}/month={month}/part-0.parquet"] = content.getvalue()
    return Files(contents, frame)


def _parquet_each(frame: pd.DataFrame) -> Files:
    def make(rows: pd.DataFrame) -> bytes:
        content = io.BytesIO()
        rows.drop(columns="Symbol").rename(columns=lambda name: name.lower().replace(" ", "_")).to_parquet(content)
        return content.getvalue()

    return _each(frame, "{symbol}.parquet", make)


def _elsewhere(
    frame: pd.DataFrame,
    name: str,
    columns: str,
    form: str,
    encoding: str = "utf-8",
    mark: str = ".",
    group: str = "",
    **settings: object,
) -> Files:
    """As programs of other countries write CSV: ``columns`` has our name and theirs in turn, in their order, separated by ``|``.

    Dates without a ``form`` are milliseconds since 1970.
    """
    words = columns.split("|")

    def make(rows: pd.DataFrame) -> bytes:
        made = _day(rows, form) if form else rows.assign(Date=rows["Date"].astype("datetime64[ms]").astype("int64"))
        for price in _PRICES:
            made[price] = made[price].map("{:.2f}".format).str.replace(".", mark)
        made["Volume"] = made["Volume"].map("{:,}".format).str.replace(",", group)
        made = made[words[::2]].set_axis(words[1::2], axis="columns").astype(str)
        return made[::-1].to_csv(index=False, **settings).encode(encoding)  # type: ignore[call-overload]

    return _each(frame, name, make, adjusted=False)


ELSEWHERE: dict[str, dict[str, str]] = {
    "Investing.com in Japanese": {
        "name": "{symbol} 過去データ.csv", "form": "%Y年%m月%d日", "encoding": "utf-8-sig",
        "columns": "Date|日付け|Close|終値|Open|始値|High|高値|Low|安値|Volume|出来高",
    },
    "Investing.com in Chinese": {
        "name": "{symbol} 历史数据.csv", "form": "%Y-%m-%d", "encoding": "utf-8-sig",
        "columns": "Date|日期|Close|收盘|Open|开盘|High|高|Low|低|Volume|交易量",
    },
    "Investing.com in Korean": {
        "name": "{symbol} 과거 데이터.csv", "form": "%Y- %m- %d", "group": ",",
        "columns": "Date|날짜|Close|종가|Open|시가|High|고가|Low|저가|Volume|거래량",
    },
    "Investing.com in Russian": {
        "name": "{symbol} Прошлые данные.csv", "form": "%d.%m.%Y", "mark": ",", "encoding": "cp1251",
        "columns": "Date|Дата|Close|Цена|Open|Откр.|High|Макс.|Low|Мин.|Volume|Объём",
    },
    "Investing.com in Turkish": {
        "name": "{symbol} Geçmiş Verileri.csv", "form": "%d.%m.%Y", "mark": ",", "group": ".",
        "columns": "Date|Tarih|Close|Şimdi|Open|Açılış|High|Yüksek|Low|Düşük|Volume|Hac.",
    },
    "Investing.com in Dutch": {
        "name": "{symbol} Historische gegevens.csv", "form": "%d-%m-%Y", "mark": ",", "group": ".",
        "columns": "Date|Datum|Close|Laatste|Open|Open|High|Hoog|Low|Laag|Volume|Vol.",
    },
    "Stooq in Polish": {
        "name": "{lower}_d.csv", "form": "%Y-%m-%d",
        "columns": "Date|Data|Open|Otwarcie|High|Najwyzszy|Low|Najnizszy|Close|Zamkniecie|Volume|Wolumen",
    },
    "Tushare": {
        "name": "x/{symbol}.csv", "form": "%Y%m%d",
        "columns": "Symbol|ts_code|Date|trade_date|Open|open|High|high|Low|low|Close|close|Close|pre_close|Volume|vol",
    },
    "NetEase, in GBK": {
        "name": "x/{symbol}.csv", "form": "%Y-%m-%d", "encoding": "gb18030",
        "columns": "Date|日期|Symbol|股票代码|Close|收盘价|High|最高价|Low|最低价|Open|开盘价|Close|前收盘|Volume|成交量",
    },
    "Taiwan, in Big5": {
        "name": "{symbol}.csv", "form": "%Y/%m/%d", "encoding": "big5", "group": ",",
        "columns": "Date|日期|Open|開盤價|High|最高價|Low|最低價|Close|收盤價|Volume|成交股數",
    },
    "Japan, in Shift-JIS": {
        "name": "{symbol}.csv", "form": "%Y/%m/%d", "encoding": "cp932",
        "columns": "Date|日付|Open|始値|High|高値|Low|安値|Close|終値|Volume|出来高",
    },
    "KRX, in EUC-KR": {
        "name": "{symbol}.csv", "form": "%Y/%m/%d", "encoding": "cp949",
        "columns": "Date|일자|Close|종가|Open|시가|High|고가|Low|저가|Volume|거래량",
    },
    "Euronext": {
        "name": "{symbol}.csv", "form": "%d/%m/%Y",
        "columns": "Date|Date|Open|Open|High|High|Low|Low|Close|Last|Close|Close|Volume|Number of Shares",
    },
    "Nasdaq Nordic": {
        "name": "{symbol}-2021-01-04-2021-03-01.csv", "form": "%Y-%m-%d", "mark": ",", "group": " ",
        "columns": "Date|Date|Open|Opening price|High|High price|Low|Low price|Close|Closing price|Close|Average price|Volume|Total volume",
    },
    "Investing.com in Swedish": {
        "name": "{symbol}.csv", "form": "%Y-%m-%d", "mark": ",",
        "columns": "Date|Datum|Close|Senaste|Open|Öppen|High|Högsta|Low|Lägsta|Volume|Vol.",
    },
    "Compustat": {
        "name": "x/{symbol}.csv", "form": "%d/%m/%Y",
        "columns": "Close|gvkey|Date|datadate|Symbol|tic|Volume|cshtrd|Close|prccd|High|prchd|Low|prcld|Open|prcod",
    },
    "Bloomberg": {
        "name": "{symbol}.csv", "form": "%d.%m.%Y",
        "columns": "Date|Dates|Open|PX_OPEN|High|PX_HIGH|Low|PX_LOW|Close|PX_LAST|Volume|PX_VOLUME",
    },
    "Frankfurt": {
        "name": "{symbol}.csv", "form": "%d.%m.%y", "mark": ",", "group": ".",
        "columns": "Date|Datum|Open|Eröffnung|High|Hoch|Low|Tief|Close|Schluss|Volume|Umsatz Stk.",
    },
    "Switzerland": {
        "name": "{symbol}.csv", "form": "%d.%m.%Y", "group": "'",
        "columns": "Date|Date|Open|Open|High|High|Low|Low|Close|Close|Volume|Volume",
    },
    "Sweden": {
        "name": "{symbol}.csv", "form": "%Y-%m-%d", "mark": ",", "group": " ",
        "columns": "Date|Date|Open|Open|High|High|Low|Low|Close|Close|Volume|Volume",
    },
    "days of the week": {
        "name": "{symbol}.csv", "form": "%a, %d %b %Y",
        "columns": "Date|Date|Open|Open|High|High|Low|Low|Close|Close|Volume|Volume",
    },
    "days of the week, month first": {
        "name": "Download Data - STOCK_US_XNAS_{symbol}.csv", "form": "%a %m/%d/%Y",
        "columns": "Date|Date|Open|Open|High|High|Low|Low|Close|Close|Volume|Volume",
    },
    "Binance": {
        "name": "{symbol}-1d-2021-01.csv", "form": "",
        "columns": "Date|open_time|Open|open|High|high|Low|low|Close|close|Volume|volume|Date|close_time|Volume|quote_volume",
    },
}  # fmt: skip


WRITERS: dict[str, Callable[[pd.DataFrame], Files]] = {
    "yahoo": _yahoo,
    "yahoo before 2017": _yahoo_before_2017,
    "yfinance levels": _yfinance_levels,
    "yfinance wide": _yfinance_wide,
    "yfinance wide by ticker": lambda frame: _yfinance_wide(frame, by_ticker=True),
    "yfinance wide with row numbers": lambda frame: _yfinance_wide(frame, numbered=True),
    "yfinance in Parquet": _yfinance_wide_parquet,
    "yfinance in Parquet with row numbers": lambda frame: _yfinance_wide_parquet(frame, numbered=True),
    "yfinance of one symbol in Parquet": _yfinance_each_parquet,
    "symbols in columns": lambda frame: _side_by_side(frame, "{symbol}_{price}"),
    "symbols in columns behind prices": lambda frame: _side_by_side(frame, "{price} {symbol}"),
    "quantmod": _quantmod,
    "yfinance history": _yfinance_history,
    "stooq": _stooq,
    "stooq bulk": _stooq_bulk,
    "borismarjanovic": _borismarjanovic,
    "camnugent": _camnugent,
    "nyse": _nyse,
    "wiki": _wiki,
    "alphavantage": _alphavantage,
    "nasdaq": _nasdaq,
    "investing": _investing,
    "investing in German": _investing_de,
    "mooney": _mooney,
    "tiingo": _tiingo,
    "polygon": _polygon,
    "eodhd": _eodhd,
    "nse": _nse,
    "nse of one symbol": _nse_symbol,
    "ariva": _ariva,
    "cryptodatadownload": _cryptodatadownload,
    "French": _french,
    "Spanish in UTF-16": _spanish_utf16,
    "spreadsheet": _excel,
    "workbook": _workbook,
    "workbooks of one symbol": _workbooks,
    "pipes": _pipes,
    "Parquet long": _parquet_long,
    "Parquet in hive folders": _parquet_hive,
    "Parquet a file a symbol": _parquet_each,
    **{layout: functools.partial(_elsewhere, **settings) for layout, settings in ELSEWHERE.items()},
}


def mutate(content: bytes, encoding: str, chance: np.random.Generator) -> bytes:
    """Damage one to three lines of a text file, each in one field, or its lines as such."""
    text = content.decode(encoding)
    lines = text.split("\n")
    moved = False
    for _ in range(chance.integers(1, 4)):
        number = int(chance.integers(0, len(lines)))
        line = lines[number]
        mark = max(",;\t|", key=line.count)
        fields = line.split(mark)
        field_ = int(chance.integers(0, len(fields)))
        at = int(chance.integers(0, max(1, len(fields[field_]))))
        old = fields[field_]
        kind = int(chance.integers(0, 12))
        if kind in (3, 4):  # one field less and another more in one line is a row that nothing tells from a right one
            kind, moved = (kind, True) if not moved else (2, True)
        if kind == 0:
            fields[field_] = old[:at] + old[at + 1 :]
        elif kind == 1:
            fields[field_] = old[:at] + chance.choice(list('x-"9 .\u00e9$#')) + old[at:]
        elif kind == 2:
            fields[field_] = chance.choice(
                ["", "null", "NaN", "-", "n/a", "1e999", "inf", "0x1f", "--5", "1.2.3", "99999999999999999999"]
            )
        elif kind == 3:
            del fields[field_]
        elif kind == 4:
            fields.insert(field_, chance.choice(["7", "", "x"]))
        lines[number] = mark.join(fields)
        if kind == 5:
            lines.insert(number, chance.choice(["", "garbage", '"', "#", mark * 3, "\x00", "\u2028"]))
        elif kind == 6:
            lines.insert(number, line)
        elif kind == 7 and number + 1 < len(lines):
            lines[number : number + 2] = [line + lines[number + 1]]
        elif kind == 8:
            lines[number] = line[: len(line) // 2]
        elif kind == 9 and number + 1 < len(lines):
            lines[number], lines[number + 1] = lines[number + 1], line
        elif kind == 10:
            lines = lines[: number + 1]
        elif kind == 11:
            lines.insert(number, lines[0])
        if not lines:
            break
    return "\n".join(lines).encode(encoding, "replace")


def misread(found: pd.DataFrame, right: pd.DataFrame) -> list[str]:
    """The rows that were kept and have values that are another column's, or another row's.

    A line that was damaged in one field may have another value there; so a row that is not right must be so in one column at
    most, three times at most for a line that was damaged three times.
    """
    columns = ["Open", "High", "Low", "Close", "Volume"]
    by_key = {(row.Symbol, row.Date): row for row in right.itertuples()}
    values = {
        (symbol, *rest): date for symbol, date, *rest in right[["Symbol", "Date", *columns]].itertuples(index=False)
    }
    wrong = []
    for row in found.itertuples():
        ours = [getattr(row, name) for name in columns]
        if (row.Symbol, *ours) in values:  # at most the date was damaged
            continue
        known = by_key.get((row.Symbol, row.Date))
        if known is not None:
            theirs = [getattr(known, name) for name in columns]
            differ = [name for name, a, b in zip(columns, ours, theirs, strict=True) if a != b]
            if len(differ) > 3 or any(
                value == other and value != own
                for name, value, own in zip(columns, ours, theirs, strict=True)
                if name in differ
                for column, other in zip(columns, theirs, strict=True)
                if column != name and own != other
            ):
                wrong.append(f"{row} for {known}")
        elif not any(sum(a == b for a, b in zip(ours, rest, strict=True)) >= 2 for _, *rest in values):
            wrong.append(f"{row}, which is no row of the truth")
    return wrong
