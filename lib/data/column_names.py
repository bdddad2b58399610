"""What the columns of price files are called, in many languages, with units and with symbols in them. Pure."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence

from lib.data import dates_and_numbers
from lib.data.schema import COLUMNS

PRICES = ("Open", "High", "Low", "Close")
# What the columns are called, as `normalised` reads it: a name of the first group is preferred to one of the second, and of the symbols'
# second group an earlier one to a later. Those in other languages are names of exchanges, of Investing.com, stooq.pl, Tushare and AKShare;
# there are Compustat's, Refinitiv's and Bloomberg's, too.
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
        "last latest price ostatnio zuletzt dernier ultimo lastprice ltp c kurs ult laatste slot senaste seneste siste şimdi цена",
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
        "volumen v qty quantity wol",
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
_UNIT = re.compile("[$€£¥￥₹₩₽₺₪₫฿₴₱]|[手百千万萬億亿백천만]")
_BRACKETS = re.compile(r"[(（\[]([^)）\]]*)[)）\]]")
_SHARES_WORDS = "股 株 주 шт штук share shares stk stuck st units szt adet aktier 股数 株数 株式数 주식수"
_SHARES = frozenset(["", *_SHARES_WORDS.split()])
# No tickers, or rarely; NOK is Nokia, too.
_CURRENCY_CODES = (
    "USD EUR GBP GBX JPY CHF CAD AUD NZD CNY CNH RMB HKD INR KRW TWD SGD THB MYR IDR PHP VND BRL MXN CLP ZAR ILS TRY RUB PLN CZK HUF RON BGN "
    "SEK DKK ISK SAR AED QAR KWD EGP NGN PKR BDT LKR USDT USDC"
)
CURRENCIES = frozenset(_CURRENCY_CODES.split())
UNNAMED = ("", "unnamed0", "index", "indexlevel0")  # how pandas, R, and pandas in Parquet write an index without a name
_IN_DIGITS = re.compile(r"\W*\d[\d\W]*(?:[KMBTkmbt]\W{0,2})?")
# How pandas writes the names of columns of two levels where there is but one.
_TUPLE = re.compile(r"""\((['"])(?P<first>(?:(?!\1).)*)\1, (['"])(?P<second>(?:(?!\3).)*)\3\)""")
_IN_BRACKETS = re.compile(r"(?P<price>[^()\[\]]+?) ?[(\[](?P<symbol>[^()\[\]]+)[)\]]")  # Open (AAPL), Open [USD]
_WITH_CURRENCY = re.compile(r"(?P<price>.+)[ _](?P<currency>[A-Z]{3,4})")  # Open USD
_BETWEEN = re.compile(r"[ _.:|/-]")
_LONGEST_NAME, _MOST_MARKS = 100, 8  # of a column that has a symbol in it
# What stands before each name of one symbol's columns, and is hardly the symbol.
_BEFORE_NAMES = (
    "TR EOD PX PRC PRICE PRICES NASDAQ NYSE AMEX DAILY DAY SESSION REGULAR MARKET STOCK OHLC OHLCV LAST TRADE SPLIT ADJUSTED UNADJUSTED "
    "BLOOMBERG REUTERS REFINITIV YAHOO"
)
_VENDORS = frozenset(_BEFORE_NAMES.split())
_NO_SYMBOLS = CURRENCIES | {"ADJ", "RAW", "BID", "ASK", "MID"}


@functools.lru_cache(maxsize=1 << 14)
def normalised(name: str) -> str:
    """A column's name without case, accents, spaces and signs.

    Examples
    --------
    >>> normalised("Adj. Close"), normalised("<OPEN>"), normalised("Stücke"), normalised("1. open"), normalised("Объём")
    ('adjclose', 'open', 'stucke', 'open', 'объем')
    """
    plain = re.sub(r"^\s*\d+\.\s", "", name).strip()  # Alpha Vantage's JSON has "1. open"
    bracket = _IN_BRACKETS.fullmatch(plain) if plain.endswith((")", "]")) and len(plain) <= _LONGEST_NAME else None
    if bracket and bracket["symbol"] in {*CURRENCIES, "NOK"}:
        plain = bracket["price"]
    elif bracket and _letters(bracket["symbol"]) in _SHARES:
        volume = _letters(bracket["price"])
        plain = volume if "Volume" in _called(volume) else plain
    if plain.isascii():
        return _letters(plain)
    # 成交量(股), and Open (円): a unit in another script, or a name in two of them, is no other name.
    whole = _letters(plain)
    # Behind it no bracket is closed, and each would be looked for in vain.
    end = max(plain.rfind(")"), plain.rfind("）")) + 1
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
    found = (name for ours in NAMES for name in (*first_names(ours), *second_names(ours)))
    return frozenset(name for name in found if not name.isascii())


def looks_like_prices(header: Sequence[str]) -> bool:
    """Whether a header is meant to be one of prices, readable or not: it has a date and two of open, high, low and close."""
    names = [normalised(name) for name in header]
    prices = sum(any(name in first_names(price) for name in names) for price in (*PRICES, "Adj Close"))
    return prices >= 2 and any("Date" in _called(name) for name in names)


@functools.lru_cache(maxsize=1 << 14)
def is_known(name: str) -> bool:
    """Whether a column's name is one of those that `NAMES` has for dates, prices and volumes, in the first group."""
    return any(is_certainly(ours, name) for ours in COLUMNS)


def are_names(fields: Sequence[str]) -> bool:
    """Whether fields of a line are the names of columns, at least three of them known.

    Examples
    --------
    >>> are_names(["<TICKER>", "<DATE>", "<OPEN>", "<CLOSE>"]), are_names(["AAPL", "2021-01-04", "1", "2"])
    (True, False)
    """
    return sum(map(is_known, fields)) >= 3


def other_columns(fields: Sequence[str], header: Sequence[str], columns: Mapping[str, int]) -> bool:
    """Whether in a second header, as long as the first, one of the ``columns`` that are read is another.

    Examples
    --------
    >>> header = ["Date", "Open", "High", "Low", "Close", "Volume"]
    >>> columns = {name: index for index, name in enumerate(header)}
    >>> others = header, ["Datum", *header[1:]], header[::-1], [*header[:5], "Turnover"]
    >>> [other_columns(other, header, columns) for other in others]
    [False, False, True, True]
    """
    if not are_names(fields) and of_each_symbol(fields):
        return True
    return not all(_is_same(ours, header[index], fields[index]) for ours, index in columns.items())


def _is_same(ours: str, first: str, second: str) -> bool:
    """Whether two names of a column that is one of ours say the same, in the same unit."""
    one, other = normalised(first), normalised(second)
    if one != other and not {one, other} <= {*first_names(ours), *second_names(ours)}:
        return False
    if ours == "Symbol" and one != other and (is_loosely(ours, first) or is_loosely(ours, second)):
        return False  # names in the one, tickers in the other
    return units(first) == units(second)


def units(name: str) -> list[str]:
    """What a column's name says that its values count: signs, and what stands in brackets.

    Examples
    --------
    >>> units("Volume"), units("Close ($)"), units("Close [USD]")
    ([], ['$', ''], ['usd'])
    """
    name = name[:_LONGEST_NAME]
    return [*_UNIT.findall(name), *map(_letters, _BRACKETS.findall(name))]


def _split_currency(name: str) -> tuple[str, str]:
    """A column's name without the currency at its end, and that: ``Open USD``, ``Close_EUR``."""
    found = _WITH_CURRENCY.fullmatch(name.strip()) if len(name) <= _LONGEST_NAME else None
    return (found["price"], found["currency"]) if found and found["currency"] in CURRENCIES else (name, "")


def without_currency(header: Sequence[str]) -> list[str]:
    """A header without the one currency that each of Open, High, Low and Close ends with, if no price is in another or says none.

    Examples
    --------
    >>> without_currency(["Date", "Open USD", "High USD", "Low USD", "Close USD", "Volume"])
    ['Date', 'Open', 'High', 'Low', 'Close', 'Volume']
    >>> without_currency(["Date", "Open USD", "High USD", "Low USD", "Close USD", "Close"])[1]
    'Open USD'
    """
    parts = [_split_currency(name) for name in header]
    found = [(_called(normalised(name)), currency) for name, currency in parts]
    prices = [(called[0], currency) for called, currency in found if called and called[0] in (*PRICES, "Adj Close")]
    whole = {name for name, _ in prices} >= set(PRICES) and len({name for name, _ in prices}) == len(prices)
    one = whole and len({currency for _, currency in prices}) == 1
    return [
        name if one and called and called[0] != "Volume" else own
        for (name, _), (called, _), own in zip(parts, found, header, strict=True)
    ]


def is_another_header(fields: Sequence[str], dated: bool = False) -> bool:
    """Whether fields of a line are a header, of any columns: three words are names of prices' columns, and none is a value.

    Parameters
    ----------
    dated : bool
        The dates must be among them.
    """
    if any(len(text) > _LONGEST_NAME for text in fields) or not are_texts(fields):
        return False
    known = {ours for text in fields for ours in _called(normalised(_split_currency(text)[0]))}
    return (len(known) >= 3 and not (dated and "Date" not in known)) or bool(of_each_symbol(fields))


@functools.lru_cache(maxsize=1 << 14)
def _called(name: str) -> list[str]:
    """Which of the dates, prices and volumes a normalised name may be."""
    return [one for one in COLUMNS if name in first_names(one) or name in second_names(one)]


def are_texts(fields: Sequence[str]) -> bool:
    """Whether at least three fields of a line are words, and none is a number or a date."""
    words = [text for text in fields if any(map(str.isalpha, text)) and not dates_and_numbers.is_null(text)]
    return (
        len(words) >= 3
        and not any(map(_IN_DIGITS.fullmatch, fields))
        and not any(map(dates_and_numbers.parse_date, words))
    )


def is_certainly(ours: str, name: str) -> bool:
    """Whether a column's name is one of those that `NAMES` has for one of ours, in the first group."""
    return normalised(name) in first_names(ours)


def is_loosely(ours: str, name: str) -> bool:
    """Whether a column's name may be one of ours, and something else, such as Index or Code for a symbol."""
    return normalised(name) in second_names(ours)


@functools.cache
def first_names(ours: str) -> list[str]:
    """The names of the first group for one of ours, as `normalised` writes them."""
    return [_letters(name) for name in NAMES[ours][0].split()]


@functools.cache
def second_names(ours: str) -> list[str]:
    """The names of the second group for one of ours, as `normalised` writes them."""
    return [_letters(name) for name in NAMES[ours][1].split()]


def counts_no_shares(name: str) -> bool:
    """Whether a column of volumes says that it counts something else than shares."""
    return any(unit not in _SHARES for unit in units(name))


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
    if any(is_certainly("Symbol", name) for name in header):
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
        if (
            columns
            and not twice
            and all((is_symbol(symbol) or symbol in CURRENCIES) and is_whole(own) for symbol, own in columns.items())
        ):
            fitting.append(columns)
    if len(fitting) != 1 or CURRENCIES.issuperset(fitting[0]):
        return {}
    if len(fitting[0]) == 1 and (
        loose or _VENDORS.issuperset(fitting[0]) or any(name.endswith(("(NOK)", "[NOK]")) for name in header)
    ):
        return {}
    return fitting[0]


def _is_price(name: str) -> bool:
    return normalised(name) == "adjusted" or any(is_certainly(ours, name) for ours in COLUMNS[1:])


def is_symbol(text: str) -> bool:
    """Whether a part of a column's name may be a symbol: it is in capitals, and no currency."""
    return bool(text.strip()) and text == text.upper() and text not in _NO_SYMBOLS


def is_whole(columns: Collection[str]) -> bool:
    """Whether names of columns, such as those of one of several symbols, have all that a symbol needs beside the date."""
    plain = {normalised(name) for name in columns}
    return all(plain.intersection(first_names(ours)) for ours in (*PRICES, "Volume"))


def _is_tuple(name: str) -> bool:
    return name.strip().startswith(("('", '("'))


def _pairs(name: str) -> list[tuple[str, str]]:
    """The two parts of a column's name, wherever it can be cut in two."""
    if _is_tuple(name):
        found = _TUPLE.fullmatch(name)
        return [(found["first"], found["second"])] if found else []
    if found := _IN_BRACKETS.fullmatch(name):
        return [(found["price"], found["symbol"])]
    marks = list(_BETWEEN.finditer(name))
    return [(name[: mark.start()], name[mark.end() :]) for mark in marks] if len(marks) <= _MOST_MARKS else []


def date_column(header: Sequence[str]) -> int | None:
    """The index of the one column that is called a date, or of one without a name; None where there is neither.

    Examples
    --------
    >>> date_column(["('Close', 'AAPL')", "('Date', '')"]), date_column(["Index", "AAPL.Open"]), date_column(["x"])
    (1, 0, None)
    """
    names = [normalised(name) for name in header]
    for called in (first_names("Date"), second_names("Date"), UNNAMED):
        found = [index for index, name in enumerate(names) if name in called]
        if found:
            return found[0] if len(found) == 1 or called is UNNAMED else None
    return None
