"""The layouts of daily price files: how each is recognised, and which of its columns is what. Pure.

`LAYOUTS` has one entry a provider's layout. A header that is none of them is read when its columns have names that
`NAMES` knows, and `archive.columns` names the columns of any other. Columns are found by name, in any order.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from lib.text import did_you_mean, near, printable, visible

PRICES = ("Open", "High", "Low", "Close")
REQUIRED = ("Date", *PRICES, "Volume")
READ = ("Date", *PRICES, "Adj Close", "Volume", "Symbol", "Security Name", "Series", "Period")

# What the columns are called, as `normalised` reads it: a name of the first group is preferred to one of the second, and of the symbols'
# second group an earlier one to a later. Those in
# other languages are names of exchanges, of Investing.com, stooq.pl, Tushare and AKShare; there are Compustat's, Refinitiv's and
# Bloomberg's, too.
NAMES: dict[str, tuple[str, str]] = {
    "Date": (
        "date date1 datum fecha data datetime tradedate traddt tradingdate pricedate quotedate exchangedate businessdate dt dates datadate paivamaara "
        "handelstag dtyyyymmdd dato tarih дата 日期 交易日期 日付 日付け 年月日 날짜 일자",
        "timestamp time day windowstart unix epoch unixtimestamp t d jour caldt opentime gmttime localtime tsevent",
    ),
    "Open": (
        "open openprice opening openingprice eroffnung eroffn eroffnungskurs erster ouverture ouv apertura abertura opn priceopen "
        "prcopen dailyopen eroffnungspreis prcod openprc pxopen opnpric otwarcie avaus öppen åbning åpning açılış откр открытие 开盘 开盘价 開盤 開盤價 開市 始値 시가",
        "o start",
    ),
    "High": (
        "high highprice hoch tageshoch hochst hochstkurs haut plushaut maximo alto maxima massimo pricehigh highest dailyhigh prchigh "
        "hochstpreis prchd high1 pxhigh hghpric najwyzszy hoog ylin högst högsta høj høy yüksek макс максимум 最高 最高价 最高價 高値 고가",
        "h max 高",
    ),
    "Low": (
        "low lowprice tief tagestief tiefst tiefstkurs bas plusbas minimo bajo baixa minima minimo minimum pricelow lowest dailylow "
        "prclow tiefstpreis prcld low1 pxlow lwpric najnizszy laag alin lägst lägsta lav düşük мин минимум 最低 最低价 最低價 安値 저가",
        "l min 低",
    ),
    "Close": (
        "close closeprice closing closingprice schluss schlusskurs schlusspreis cloture cierre fechamento chiusura closelast "
        "priceclose dailyclose prcclose prccd trdprc1 pxlast clspric zamkniecie kapanış закр закрытие 收盘 收盘价 收盤 收盤價 收市 終値 종가",
        "last latest price zuletzt dernier ultimo lastprice ltp c kurs ult laatste slot senaste seneste siste şimdi цена",
    ),
    "Adj Close": (
        "adjclose adjustedclose adjclosing adjustedcloseprice adjcloseprice closeadj closeadjusted adjustedclosing closingadj "
        "adjustedclosingprice bereinigterschlusskurs schlussbereinigt clotureajustee cierreajustado cierreajust cierreaj "
        "fechamentoajustado chiusuraaggiustata adjclosecurrency priceadjclose adjustmentclose 調整後終値 終値調整値",
        "adj adjusted adjustedprice bereinigt ajuste ajustado",
    ),
    "Volume": (
        "volume vol stucke stuecke stuck sharevolume volumeshares tradedvolume tradevolume volumetraded tottrdqty totaltradequantity "
        "totaltradedquantity ttltrdqnty ttltradgvol qtytraded noofshares numberofshares sharestraded dailyvolume prcvolume totalvolume cshtrd acvoluns pxvolume handelsvolumen umsatzstk "
        "umsatzstuck umsatzinstuck wolumen volym volum volyymi hac hacim объем 成交量 成交股數 交易量 出来高 거래량",
        "volumen v qty quantity",
    ),
    "Symbol": (
        "symbol ticker tickersymbol symbole simbolo actsymbol tic sym stocksymbol tckrsymb tradingsymbol tickers symbols kurzel tscode secid "
        "股票代码 证券代码 銘柄コード",
        "code stockcode scrip 代码 stock asset instrument underlying index name isin stockname company",
    ),
    "Security Name": (
        "securityname companyname longname shortname security instrumentname fullname",
        "name company description",
    ),
    "Series": ("series sctysrs", ""),
    "Period": ("per period interval timeframe", ""),
}
# What a column of volumes counts that are no shares: money, lots of 100, hundreds, thousands, millions; and in brackets anything but shares.
_UNIT = re.compile("[$€£¥₹₩]|[手百千万萬億亿백천만]")
_BRACKETS = re.compile(r"[(（\[]([^)）\]]*)[)）\]]")
_SHARES = {"股", "株", "주", "шт", "штук", "share", "shares", "stk", "stuck", "st", "units", "szt", "adet", "aktier"}
# No tickers, or rarely; NOK is Nokia, too.
_CURRENCY_CODES = (
    "USD EUR GBP GBX JPY CHF CAD AUD NZD CNY CNH RMB HKD INR KRW TWD SGD THB MYR IDR PHP VND BRL MXN CLP ZAR ILS TRY RUB PLN CZK HUF RON BGN "
    "SEK DKK ISK SAR AED QAR KWD EGP NGN PKR BDT LKR USDT USDC"
)
_CURRENCIES = frozenset(_CURRENCY_CODES.split())
UNNAMED = ("", "unnamed0", "index", "indexlevel0")  # how pandas, R, and pandas in Parquet write an index without a name
_IGNORED_AGAINST = ("Security Name", "Series", "Period")


class LayoutError(ValueError):
    """A header that no layout fits, or more than one."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))  # it quotes what files hold


@dataclass(frozen=True)
class Layout:
    """A provider's layout.

    Parameters
    ----------
    name : str
        What ``archive.layout`` calls it.
    title : str
        What people call it.
    header : str
        The columns it must have, as `normalised` writes them, with spaces between.
    optional : str
        Those it may have too.
    columns : dict of str to str
        Where a column of prices is not the one that its name says: from ours to the header's.
    symbol : str
        Where the symbol comes from.
    dates : str
        How dates are written.
    order : str
        How the rows are sorted.
    adjusted : str
        Whether Open to Close are adjusted for splits and dividends.
    lacks : str
        What else than an adjusted close a study would want.
    in_order : bool
        Only a header of these columns in this order is the provider's.
    """

    name: str
    title: str
    header: str
    optional: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    symbol: str = "the file's name"
    dates: str = "2021-01-04"
    order: str = "oldest first"
    adjusted: str = "no"
    lacks: str = ""
    in_order: bool = False

    @property
    def missing(self) -> str:
        """What a study would want and the layout does not have."""
        adjusted = set(self.header.split()) & set(NAMES["Adj Close"][0].split())
        return "; ".join(filter(None, ("" if adjusted else "an adjusted close", self.lacks)))


LAYOUTS = (
    Layout(
        "yahoo",
        "Yahoo's download, and Kaggle: jacksoncrow/stock-market-dataset",
        "date open high low close adjclose volume",
        adjusted="Open to Close for splits; Adj Close for splits and dividends",
    ),
    Layout(
        "yfinance",
        "yfinance: download()",
        "date open high low close volume",
        symbol="the file's name, or the line Ticker below the header",
        adjusted="for splits and dividends (auto_adjust, the default since 0.2.51)",
    ),
    Layout(
        "yfinance_history",
        "yfinance: Ticker.history()",
        "date open high low close volume dividends stocksplits",
        optional="capitalgains adjclose",
        dates="2021-01-04 00:00:00-05:00",
        adjusted="for splits and dividends (auto_adjust)",
    ),
    Layout(
        "stooq",
        "Stooq: one symbol's CSV",
        "date open high low close volume",
        symbol="the file's name (aapl_us_d.csv)",
        adjusted="for splits and dividends, unless switched off",
    ),
    Layout(
        "stooq_bulk",
        "Stooq: the daily ASCII bulk",
        "ticker per date time open high low close vol openint",
        symbol="<TICKER> (AAPL.US)",
        dates="20210104",
        adjusted="for splits and dividends",
    ),
    Layout(
        "borismarjanovic",
        "Kaggle: borismarjanovic/price-volume-data-for-all-us-stocks-etfs",
        "date open high low close volume openint",
        symbol="the file's name (aapl.us.txt)",
        adjusted="for splits and dividends",
    ),
    Layout(
        "camnugent",
        "Kaggle: camnugent/sandp500",
        "date open high low close volume name",
        columns={"Symbol": "name"},
        symbol="Name",
        adjusted="for splits",
    ),
    Layout(
        "andrewmvd",
        "Kaggle: andrewmvd/sp-500-stocks",
        "date symbol adjclose close high low open volume",
        symbol="Symbol",
        adjusted="Open to Close for splits; Adj Close for splits and dividends",
    ),
    Layout(
        "ehallmar",
        "Kaggle: ehallmar/daily-historical-stock-prices-1970-2018",
        "ticker open close adjclose low high volume date",
        symbol="ticker",
        adjusted="Open to Close for splits; adj_close for splits and dividends",
    ),
    Layout(
        "nyse",
        "Kaggle: dgawlik/nyse",
        "date symbol open close low high volume",
        symbol="symbol",
        adjusted="prices-split-adjusted.csv for splits, prices.csv not",
        in_order=True,  # whoever has these columns in another order has them from elsewhere
    ),
    Layout(
        "wiki",
        "Quandl: WIKI/PRICES, EOD",
        "ticker date open high low close volume exdividend splitratio adjopen adjhigh adjlow adjclose adjvolume",
        symbol="ticker",
        adjusted="Open to Volume as they were traded; adj_close for splits and dividends",
    ),
    Layout(
        "quandl",
        "Quandl: one symbol's CSV of WIKI or EOD",
        "date open high low close volume adjopen adjhigh adjlow adjclose adjvolume",
        optional="exdividend splitratio dividend split",
        symbol="the file's name (WIKI-AAPL.csv)",
        order="newest first",
        adjusted="Open to Volume as they were traded; Adj. Close for splits and dividends",
    ),
    Layout(
        "sharadar",
        "Sharadar SEP, SFP",
        "ticker date open high low close volume closeadj closeunadj lastupdated",
        symbol="ticker",
        adjusted="Open to Close for splits; closeadj for splits and dividends",
    ),
    Layout(
        "alphavantage",
        "Alpha Vantage: TIME_SERIES_DAILY_ADJUSTED",
        "timestamp open high low close adjustedclose volume dividendamount splitcoefficient",
        symbol="the file's name (daily_adjusted_IBM.csv)",
        order="newest first",
        adjusted="Open to Close as they were traded; adjusted_close for splits and dividends",
    ),
    Layout(
        "alphavantage_raw",
        "Alpha Vantage: TIME_SERIES_DAILY",
        "timestamp open high low close volume",
        symbol="the file's name (daily_IBM.csv)",
        order="newest first",
    ),
    Layout(
        "nasdaq",
        "Nasdaq.com: historical quotes",
        "date closelast volume open high low",
        dates="03/26/2021 (month first)",
        order="newest first",
        adjusted="for splits",
    ),
    Layout(
        "investing",
        "Investing.com, in English",
        "date price open high low vol change",
        symbol="the file's name (AAPL Historical Data.csv)",
        dates="03/26/2021 or Mar 26, 2021",
        order="newest first",
        adjusted="for splits",
        lacks="volumes are rounded (80.22M)",
    ),
    Layout(
        "investing_de",
        "Investing.com, in German",
        "datum zuletzt eroffn hoch tief vol",
        symbol="the file's name",
        dates="26.03.2021",
        order="newest first",
        adjusted="for splits",
        lacks="volumes are rounded",
    ),
    Layout(
        "tiingo",
        "Tiingo: end of day",
        "date close high low open volume adjclose adjhigh adjlow adjopen adjvolume divcash splitfactor",
        optional="symbol ticker",
        adjusted="Open to Volume as they were traded; adjClose for splits and dividends",
    ),
    Layout(
        "polygon",
        "Polygon (Massive): day aggregates, a file a day",
        "ticker volume open close high low windowstart transactions",
        symbol="ticker",
        dates="nanoseconds since 1970",
    ),
    Layout(
        "eodhd",
        "EODHD: end of day",
        "date open high low close adjustedclose volume",
        adjusted="Open to Close as they were traded; Adjusted_close for splits and dividends",
    ),
    Layout(
        "mooney",
        "Kaggle: paultimothymooney/stock-market-data",
        "date low open volume high close adjustedclose",
        dates="04-01-2021 (day first)",
        adjusted="Open to Close for splits; Adjusted Close for splits and dividends",
    ),
    Layout(
        "nse",
        "NSE India: bhavcopy",
        "symbol series open high low close last prevclose tottrdqty tottrdval timestamp",
        optional="totaltrades isin",
        symbol="SYMBOL, with -SERIES behind it for series other than EQ",
        dates="04-JAN-2021",
    ),
    Layout(
        "nse_symbol",
        "NSE India: one symbol, and Kaggle's rohanrao/nifty50-stock-market-data",
        "date series open high low prevclose close vwap volume",
        optional="symbol ltp last turnover trades deliverablevolume deliverble 52wh 52wl value nooftrades",
        symbol="Symbol, or the file's name",
        dates="2021-01-04 or 04-Jan-2021",
    ),
    Layout(
        "ariva",
        "Ariva",
        "datum erster hoch tief schlusskurs stuecke volumen",
        symbol="the file's name",
        order="newest first",
        adjusted="as chosen at the download",
        columns={"Volume": "stuecke"},
    ),
    Layout(
        "cryptodatadownload",
        "CryptoDataDownload: daily",
        "unix date symbol open high low close",
        optional="volume* tradecount buytakeramount buytakerquantity",
        symbol="symbol (BTC/USD)",
        dates="2021-01-04 00:00:00",
        order="newest first",
        lacks="volumes have fractions (archive.volume, archive.volume_unit)",
    ),
    Layout(
        "tradingview",
        "TradingView: chart data",
        "time open high low close volume",
        symbol="the file's name (BATS_AAPL, 1D.csv)",
        dates="seconds since 1970, or 2021-01-04",
        adjusted="for splits",
    ),
)
BY_COLUMNS = "columns under known names"


@dataclass(frozen=True)
class Reading:
    """Which column of a header is what.

    Parameters
    ----------
    titles : tuple of str
        The layouts that fit; they agree on the columns.
    columns : dict of str to int
        From a name of `READ` to the column's index.
    adjusted : str
        Whether its prices are, as `Layout` says it; empty where that is not known.
    """

    titles: tuple[str, ...]
    columns: Mapping[str, int]
    adjusted: str = ""


@functools.lru_cache(maxsize=1 << 14)
def normalised(name: str) -> str:
    """A column's name without case, accents, spaces and signs.

    Examples
    --------
    >>> normalised("Adj. Close"), normalised("<OPEN>"), normalised("Stücke"), normalised("1. open"), normalised("Объём")
    ('adjclose', 'open', 'stucke', 'open', 'объем')
    """
    plain = re.sub(r"^\s*\d+\.\s", "", name)  # Alpha Vantage's JSON has "1. open"
    if plain.isascii():
        bracket = _IN_BRACKETS.fullmatch(plain.strip()) if plain.endswith(")") else None
        return _letters(bracket["price"] if bracket and bracket["symbol"] in {*_CURRENCIES, "NOK"} else plain)
    # 成交量(股), and Open (円): a unit in another script, or a name in two of them, is no other name.
    whole = _letters(plain)
    end = (
        max(plain.rfind(")"), plain.rfind("）")) + 1
    )  # behind it no bracket is closed, and each would be looked for in vain
    for found in (whole, _letters(re.sub(r"[(（][^)）]*[)）]", "", plain[:end]) + plain[end:])):
        if found in _other_scripts():
            return found
    return "".join(filter(str.isascii, whole)) or whole


def _letters(name: str) -> str:
    """Letters and digits in small, without accents."""
    # Character by character, as Python puts a thousand accents on one letter in order in a time that grows with their square.
    apart = (unicodedata.normalize("NFKD", char) for char in name.casefold())
    parts = (char for text in apart for char in text if char.isalnum())
    return unicodedata.normalize("NFC", "".join(parts))


@functools.cache
def _other_scripts() -> frozenset[str]:
    """The names of `NAMES` that have other letters than a to z."""
    found = (_letters(name) for groups in NAMES.values() for group in groups for name in group.split())
    return frozenset(name for name in found if not name.isascii())


def recognise(header: Sequence[str], layout: str = "", chosen: Mapping[str, str] | None = None) -> Reading:
    """Find the layout of a header.

    Parameters
    ----------
    header : sequence of str
        The names of the columns.
    layout : str, optional
        The name of the layout to take (``archive.layout``).
    chosen : dict of str to str, optional
        The column to take (its name, or its number from 1) for each name of `READ` (``archive.columns``); empty for none.

    Raises
    ------
    LayoutError
        It says what was found, and what to do.

    Examples
    --------
    >>> recognise(["Date", "Close/Last", "Volume", "Open", "High", "Low"]).titles
    ('Nasdaq.com: historical quotes',)
    >>> recognise(["Adj Close", "DATE", "open", "hoch", "Low", "settle", "Vol"], chosen={"Close": "settle"}).columns["Close"]
    5
    """
    names = [normalised(name) for name in header]
    known = {entry.name: entry for entry in LAYOUTS}
    if layout and layout not in known:
        hint = did_you_mean(near(layout, known, 1)) or f"; allowed: {', '.join(known)}"
        raise LayoutError(f"archive.layout is {layout!r}{hint}")
    none = frozenset(ours for ours, theirs in (chosen or {}).items() if not theirs.strip())
    fixed = _chosen(header, names, {ours: theirs for ours, theirs in (chosen or {}).items() if ours not in none})
    if layout:
        missing = [name for name in known[layout].header.split() if name not in names]
        if missing:
            raise LayoutError(
                f"archive.layout is {layout!r}, which has columns called {', '.join(missing)}; found: {_shown(header)}"
            )
        candidates = [known[layout]]
    else:
        candidates = [entry for entry in LAYOUTS if _fits(entry, names)]
    if not candidates:
        return Reading((BY_COLUMNS,), _complete(header, _columns(header, names, fixed, none)))
    readings = [
        _complete(header, _columns(header, names, {**_own(entry, names, none), **fixed}, none)) for entry in candidates
    ]
    if any(reading != readings[0] for reading in readings):
        raise LayoutError(
            f"the header fits {' and '.join(repr(entry.name) for entry in candidates)}, which read its columns differently; "
            f"archive.layout chooses one"
        )
    adjusted = dict.fromkeys(entry.adjusted for entry in candidates)
    return Reading(tuple(entry.title for entry in candidates), readings[0], ", or ".join(adjusted))


def looks_like_prices(header: Sequence[str]) -> bool:
    """Whether a header is meant to be one of prices, readable or not: it has a date and two of open, high, low and close."""
    names = [normalised(name) for name in header]
    prices = sum(any(name in _first(price) for name in names) for price in (*PRICES, "Adj Close"))
    return prices >= 2 and any(name in _first("Date") or name in _second("Date") for name in names)


@functools.lru_cache(maxsize=1 << 14)
def is_known(name: str) -> bool:
    """Whether a column's name is one of those that `NAMES` has for dates, prices and volumes, in the first group."""
    plain = normalised(name)
    return any(plain in _first(ours) for ours in ("Date", *PRICES, "Adj Close", "Volume"))


def are_names(fields: Sequence[str]) -> bool:
    """Whether fields of a line are the names of columns, at least three of them known.

    Examples
    --------
    >>> are_names(["<TICKER>", "<DATE>", "<OPEN>", "<CLOSE>"]), are_names(["AAPL", "2021-01-04", "1", "2"])
    (True, False)
    """
    return sum(map(is_known, fields)) >= 3


def other_columns(fields: Sequence[str], header: Sequence[str], columns: Mapping[str, int]) -> bool:
    """Whether fields of a line are a header, as long as ``header``, in which one of the ``columns`` that are read is another.

    Examples
    --------
    >>> header = ["Date", "Open", "High", "Low", "Close", "Volume"]
    >>> columns = recognise(header).columns
    >>> others = header, ["Datum", *header[1:]], header[::-1], [*header[:5], "Turnover"], ["2021-01-04", *header[1:]]
    >>> [other_columns(other, header, columns) for other in others]
    [False, False, True, True, False]
    """
    if not is_another_header(fields):
        return False
    if not are_names(fields) and of_each_symbol(fields):
        return True
    names = [normalised(text) for text in fields]
    if any(
        names[index] not in {normalised(header[index]), *_first(ours), *_second(ours)}
        for ours, index in columns.items()
    ):
        return True
    symbol, volume = columns.get("Symbol"), columns["Volume"]
    if symbol is not None and names[symbol] != normalised(header[symbol]):
        both = header[symbol], fields[symbol]
        return any(is_loosely("Symbol", name) for name in both)  # names in the one, tickers in the other
    return fields[volume].strip() != header[volume] and _not_of_shares(fields[volume])


def is_another_header(fields: Sequence[str]) -> bool:
    """Whether fields of a line are a header, of any columns: three words are names of prices' columns, and none is a value."""
    if not are_texts(fields):
        return False
    names = [normalised(text) for text in fields]
    known = ({*_first(ours), *_second(ours)} for ours in ("Date", *PRICES, "Adj Close", "Volume"))
    return sum(not own.isdisjoint(names) for own in known) >= 3 or bool(of_each_symbol(fields))


def are_texts(fields: Sequence[str]) -> bool:
    """Whether at least three fields of a line are words, and none is a number or a date in digits."""
    return sum(any(map(str.isalpha, text)) for text in fields) >= 3 and not any(map(_IN_DIGITS.fullmatch, fields))


def is_date(name: str) -> bool:
    """Whether a column's name is one of those that `NAMES` has for dates, in the first group."""
    return normalised(name) in _first("Date")


def is_of_symbols(name: str) -> bool:
    """Whether a column's name is one of those that `NAMES` has for symbols, in the first group."""
    return normalised(name) in _first("Symbol")


def is_loosely(ours: str, name: str) -> bool:
    """Whether a column's name may be one of ours, and something else, such as Index or Code for a symbol."""
    return normalised(name) in _second(ours)


@functools.cache
def _first(ours: str) -> list[str]:
    return [_letters(name) for name in NAMES[ours][0].split()]


@functools.cache
def _second(ours: str) -> list[str]:
    return [_letters(name) for name in NAMES[ours][1].split()]


def _fits(entry: Layout, names: Sequence[str]) -> bool:
    if entry.in_order and [name for name in names if name] != entry.header.split():
        return False
    required, optional = set(entry.header.split()), entry.optional.split()
    allowed = required | {name for name in optional if not name.endswith("*")} | {""}
    prefixes = tuple(name[:-1] for name in optional if name.endswith("*"))
    return required <= set(names) and all(
        name in allowed or (bool(prefixes) and name.startswith(prefixes)) for name in names
    )


def _own(entry: Layout, names: Sequence[str], none: Collection[str]) -> dict[str, int]:
    columns = {ours: names.index(theirs) for ours, theirs in entry.columns.items() if ours not in none}
    if entry.name == "cryptodatadownload":  # Volume BTC beside Volume USD: the first is the coin's
        volumes = [index for index, name in enumerate(names) if name.startswith("volume")]
        columns |= {"Volume": volumes[0]} if volumes else {}
    return columns


def _chosen(header: Sequence[str], names: Sequence[str], chosen: Mapping[str, str]) -> dict[str, int]:
    columns = {}
    for ours, theirs in chosen.items():
        if theirs.isdecimal() and theirs not in header:
            if len(theirs) > 9 or not 1 <= int(theirs) <= len(header):
                raise LayoutError(f"archive.columns: {ours} is column {theirs}; the file has {len(header)}")
            columns[ours] = int(theirs) - 1
            continue
        found = [index for index, name in enumerate(header) if name.strip() == theirs.strip()]
        found = found or [index for index, name in enumerate(names) if name == normalised(theirs)]
        if len(found) != 1:
            problem = "there are several of that name" if found else "there is none of that name"
            hint = did_you_mean(near(theirs, header, 1))
            if found:
                hint = f"; give its number: {' or '.join(f'{{{ours}: {index + 1}}}' for index in found[:4])}"
            raise LayoutError(f"archive.columns: {ours} is {theirs!r}, and {problem}{hint}; found: {_shown(header)}")
        columns[ours] = found[0]
    for first, second in itertools.combinations(columns, 2):
        if columns[first] == columns[second]:
            raise LayoutError(
                f"archive.columns: {first} and {second} are both column {columns[first] + 1}; found: {_shown(header)}"
            )
    return columns


def _columns(
    header: Sequence[str], names: Sequence[str], fixed: Mapping[str, int], none: Collection[str]
) -> dict[str, int]:
    columns = dict(fixed)
    taken = set(fixed.values())
    dated = any(name in (*_first("Date"), *_second("Date")) for name in names)
    for group in (_first, _second):
        for ours in READ:
            if ours in columns or ours in none:
                continue
            found = [
                index
                for index, name in enumerate(names)
                # pandas calls the dates so, too, when it makes a column of an index without a name.
                if not (name in UNNAMED and not dated)
                and index not in taken
                and name in group(ours)
                and not (ours == "Volume" and _not_of_shares(header[index]))
            ]
            if len(found) > 1 and ours not in _IGNORED_AGAINST and not (group is _second and ours == "Symbol"):
                if all(sum(name in _first(price) for name in names) == len(found) for price in PRICES):
                    raise LayoutError(
                        f"{len(found)} times the columns Open to Close, as of several symbols side by side; which are whose is not clear: write the "
                        "symbol, in capitals, above each column, or convert them to one row per day and symbol, with a column Symbol"
                    )
                raise LayoutError(
                    f"columns {' and '.join(repr(header[index]) for index in found)} could both be {ours}; choose one: "
                    f"archive.columns: {{{ours}: {_by_name_or_number(header, found[0])}}}"
                )
            if found:
                columns[ours] = min(found, key=lambda index: group(ours).index(names[index]))
                taken.add(columns[ours])
    # pandas writes an index without a name: the column of dates, if no other is; the reader looks whether it holds dates.
    unnamed = [index for index, name in enumerate(names) if name in UNNAMED and index not in taken]
    if "Date" not in columns and unnamed:
        columns["Date"] = unnamed[0]
    return columns


def _not_of_shares(name: str) -> bool:
    """Whether a column of volumes says that it counts something else than shares."""
    return bool(_UNIT.search(name)) or any(_letters(unit) not in _SHARES for unit in _BRACKETS.findall(name))


def _by_name_or_number(header: Sequence[str], index: int) -> str:
    """How ``archive.columns`` says which column it is: by its name, if no other has it and it needs no quotes."""
    name = header[index].strip()
    alone = [other.strip() for other in header].count(name) == 1
    return name if alone and re.fullmatch(r"[^\W\d][\w ./-]*", name) else str(index + 1)


def _complete(header: Sequence[str], columns: dict[str, int]) -> dict[str, int]:
    missing = [name for name in REQUIRED if name not in columns]
    if missing and (closes := _side_by_side(header)):
        raise LayoutError(
            f"several symbols side by side, such as {closes[0]} and {closes[1]}; each needs Open, High, Low, Close and Volume, and to be written "
            "in capitals. Or convert them to one row per day and symbol, with the columns Date, Symbol, Open, High, Low, Close and Volume"
        )
    if missing:
        named = ", ".join(f"{name}: COLUMN" for name in missing)
        raise LayoutError(
            f"no column is known to be {' or '.join(missing)}; found: {_shown(header)}. Map the columns: archive.columns: {{{named}}} in the params "
            f"file, or -p archive.columns '{{{named}}}'"
        )
    return columns


def _side_by_side(header: Sequence[str]) -> list[str]:
    """The columns of closing prices, where each of several symbols has its own: ``ABC_Close``, ``XYZ_Close``."""
    parts = {name: {normalised(part) for part in re.split(r"[^A-Za-z0-9]+", name)} for name in header}
    # open_time and close_time are of one symbol.
    parts = {name: own for name, own in parts.items() if not own & {"time", "date"}}
    opens, closes = ([name for name, own in parts.items() if which in own] for which in ("open", "close"))
    return closes if len(opens) == len(closes) > 1 else []


_IN_DIGITS = re.compile(r"[^\w]*\d[\d\W]*[KMBTkmbt]?\W*")
# How pandas writes the names of columns of two levels where there is but one.
_TUPLE = re.compile(r"""\((['"])(?P<first>(?:(?!\1).)*)\1, (['"])(?P<second>(?:(?!\3).)*)\3\)""")
_IN_BRACKETS = re.compile(r"(?P<price>[^()]+?) ?\((?P<symbol>[^()]+)\)")  # Open (AAPL)
_BETWEEN = re.compile(r"[ _.:|/-]")
_LONGEST_NAME = 100  # of a column that has a symbol in it
# What stands before each name of one symbol's columns, and is hardly the symbol.
_BEFORE_NAMES = (
    "TR EOD PX PRC PRICE PRICES NASDAQ NYSE AMEX DAILY DAY SESSION REGULAR MARKET STOCK OHLC OHLCV LAST TRADE SPLIT ADJUSTED UNADJUSTED NOK "
    "BLOOMBERG REUTERS REFINITIV YAHOO"
)
_VENDORS = frozenset(_BEFORE_NAMES.split())
_NO_SYMBOLS = _CURRENCIES | {"ADJ", "RAW", "BID", "ASK", "MID"}


def of_each_symbol(header: Sequence[str]) -> dict[str, dict[str, int]]:
    """The columns of each symbol, where each has its own side by side: ``Close_AAPL``, ``AAPL.Close`` or ``('Close', 'AAPL')``.

    Returns
    -------
    dict of str to dict of str to int
        By symbol, the index of each column of prices by its name. Empty for any other header; where a symbol lacks a column that it must
        have, has one twice, is not written in capitals, or may be no symbol but a currency; and where another column says the symbol.

    Examples
    --------
    >>> of_each_symbol(["Date", *(f"{name}_A" for name in ("Open", "High", "Low", "Close", "Volume"))])
    {'A': {'Open': 1, 'High': 2, 'Low': 3, 'Close': 4, 'Volume': 5}}
    """
    if any(map(is_of_symbols, header)):
        return {}
    loose = any(is_loosely("Symbol", name) and normalised(name) not in UNNAMED for name in header)
    # A ticker may be a price's name, such as LOW: only one of the levels has all prices of each symbol.
    tuples = any(map(_is_tuple, header))
    fitting = []
    for symbol_first in (False, True):
        columns: dict[str, dict[str, int]] = {}
        twice = False
        for index, name in enumerate(header):
            if len(name) > _LONGEST_NAME or (tuples and not _is_tuple(name)):
                continue
            pairs = _pairs(name.strip())
            pairs = [pair[::-1] for pair in pairs] if symbol_first else pairs[::-1]
            if found := next((pair for pair in pairs if _is_price(pair[0])), None):
                price, symbol = found
                twice |= price in columns.setdefault(symbol, {})
                columns[symbol][price] = index
        if columns and not twice and all(is_symbol(symbol) and is_whole(own) for symbol, own in columns.items()):
            fitting.append(columns)
    if len(fitting) != 1 or (len(fitting[0]) == 1 and (loose or _VENDORS.issuperset(fitting[0]))):
        return {}
    return fitting[0]


def _is_price(name: str) -> bool:
    plain = normalised(name)
    return plain == "adjusted" or any(plain in _first(ours) for ours in (*PRICES, "Adj Close", "Volume"))


def is_symbol(text: str) -> bool:
    """Whether a part of a column's name may be a symbol: it is in capitals, and no currency."""
    return bool(text.strip()) and text == text.upper() and text not in _NO_SYMBOLS


def is_whole(columns: Collection[str]) -> bool:
    """Whether names of columns, such as those of one of several symbols, have all that a symbol needs beside the date."""
    plain = {normalised(name) for name in columns}
    return all(plain.intersection(_first(ours)) for ours in (*PRICES, "Volume"))


def _is_tuple(name: str) -> bool:
    return name.strip().startswith(("('", '("'))


def _pairs(name: str) -> list[tuple[str, str]]:
    """The two parts of a column's name, wherever it can be cut in two."""
    if _is_tuple(name):
        found = _TUPLE.fullmatch(name)
        return [(found["first"], found["second"])] if found else []
    if found := _IN_BRACKETS.fullmatch(name):
        return [(found["price"], found["symbol"])]
    return [(name[: mark.start()], name[mark.end() :]) for mark in _BETWEEN.finditer(name)]


def date_column(header: Sequence[str]) -> int | None:
    """The index of the one column that is called a date, or of one without a name; None where there is neither.

    Examples
    --------
    >>> date_column(["('Close', 'AAPL')", "('Date', '')"]), date_column(["Index", "AAPL.Open"]), date_column(["x"])
    (1, 0, None)
    """
    names = [normalised(name) for name in header]
    for called in (_first("Date"), _second("Date"), UNNAMED):
        found = [index for index, name in enumerate(names) if name in called]
        if found:
            return found[0] if len(found) == 1 or called is UNNAMED else None
    return None


def _shown(header: Sequence[str]) -> str:
    text = ", ".join(printable(name.strip()) or "(no name)" for name in header)
    return text if len(text) <= 200 else f"{text[:200]}..."
