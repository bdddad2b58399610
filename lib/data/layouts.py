"""The layouts of daily price files: how each is recognised, and which of its columns is what. Pure.

`LAYOUTS` has one entry a provider's layout. A header that is none of them is read when its columns have names that
`lib.data.column_names.NAMES` knows, and `archive.columns` names the columns of any other. Columns are found by name, in any order.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from lib.data.column_names import (
    NAMES,
    PRICES,
    UNNAMED,
    counts_no_shares,
    first_names,
    normalised,
    second_names,
    units,
    without_currency,
)
from lib.text import did_you_mean, near, printable, visible

REQUIRED = ("Date", *PRICES, "Volume")
READ = ("Date", *PRICES, "Adj Close", "Volume", "Symbol", "Security Name", "Series", "Period")
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
        The columns it must have, as `lib.data.column_names.normalised` writes them, with spaces between.
    optional : str
        Those it may have too, as patterns.
    columns : dict of str to str
        Where a column of prices is not the one that its name says: from ours to the header's, as a pattern.
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
        columns={"Volume": "volume*"},  # Volume BTC beside Volume USD: the first is the coin's
        symbol="symbol (BTC/USD)",
        dates="2021-01-04 00:00:00",
        order="newest first",
        lacks="volumes have fractions (archive.volume, archive.volume_unit)",
    ),
    Layout(
        "tushare",
        "Tushare: daily, with volumes in lots of 100 shares",
        "tscode tradedate open high low close preclose change pctchg vol amount",
        symbol="ts_code (000001.SZ)",
        dates="20210104",
        order="newest first",
        lacks="volumes are in lots of 100 shares (archive.volume_unit: 0.01 makes shares)",
    ),
    Layout(
        "akshare",
        "AKShare: stock_zh_a_hist, with volumes in lots of 100 shares",
        "日期 开盘 收盘 最高 最低 成交量 成交额 振幅 涨跌幅 涨跌额 换手率",
        optional="股票代码",
        symbol="股票代码, or the file's name",
        adjusted="as chosen at the download",
        lacks="volumes are in lots of 100 shares (archive.volume_unit: 0.01 makes shares)",
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
    names = [normalised(name) for name in without_currency(header)]
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


def _fits(entry: Layout, names: Sequence[str]) -> bool:
    if entry.in_order and [name for name in names if name] != entry.header.split():
        return False
    required, allowed = entry.header.split(), ["", *entry.header.split(), *entry.optional.split()]
    return set(required) <= set(names) and all(
        any(fnmatchcase(name, known) for known in allowed) for name in dict.fromkeys(names)
    )


def _own(entry: Layout, names: Sequence[str], none: Collection[str]) -> dict[str, int]:
    """The columns that the layout names, each the first that is called so."""
    wanted = {ours: theirs for ours, theirs in entry.columns.items() if ours not in none}
    found = {ours: [fnmatchcase(name, theirs) for name in names] for ours, theirs in wanted.items()}
    return {ours: fitting.index(True) for ours, fitting in found.items() if any(fitting)}


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
    dated = any(name in (*first_names("Date"), *second_names("Date")) for name in names)
    for group in (first_names, second_names):
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
                and not (ours == "Volume" and counts_no_shares(header[index]))
            ]
            if len(found) > 1:  # Close beside Close (USD)
                found = [index for index in found if not units(header[index])] or found
            if len(found) > 1 and ours not in _IGNORED_AGAINST and not (group is second_names and ours == "Symbol"):
                if all(sum(name in first_names(price) for name in names) == len(found) for price in PRICES):
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


def _shown(header: Sequence[str]) -> str:
    text = ", ".join(printable(name.strip()) or "(no name)" for name in header)
    return text if len(text) <= 200 else f"{text[:200]}..."
