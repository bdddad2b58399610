"""Which files of an archive hold prices, how each is to be read, and which symbol it is of.

Only the beginning of each file is read, and the end of those that are not packed. What one file leaves open, such as
whether 01/02/2021 is in January, all files of its kind settle together; what stays open is refused, never guessed.
"""

from __future__ import annotations

import codecs
import csv
import fnmatch
import functools
import io
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from lib import locations
from lib.data import column_names, columns, dates_and_numbers, headers, parquet_files, plans, unpack
from lib.data.dates_and_numbers import DateOrder
from lib.data.headers import NotPrices, Options, Refused
from lib.data.members import LARGEST, OTHER_WORKBOOKS, SAVE_AS_CSV, ArchiveError, Member, NotRead
from lib.data.plans import Plan
from lib.data.schema import HEADER
from lib.locations import Location, Url
from lib.text import printable

ENDINGS = (".csv", ".txt", ".tsv", ".parquet")
_HEAD, _TAIL, _LONG_HEAD = 1 << 12, 1 << 11, 1 << 20  # bytes of a file that are looked at
_FEW_LINES = 15
_PLAIN = re.compile(  # a row as Kaggle's archive has it
    rb"\d{4}-\d\d-\d\d(?:,[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?){6}\n"
)
_KAGGLE = plans.KAGGLE.reading.titles
_RESERVED = re.compile(r"_(CON|PRN|AUX|NUL|COM\d|LPT\d)|(CON|PRN|AUX|NUL|COM\d|LPT\d)_", re.IGNORECASE)
_SYMBOL = re.compile(r"[\^$]?[A-Za-z0-9][A-Za-z0-9.\-=$^&+]{0,19}")
_WORDS = re.compile(r"[\^$]?\w[\w.\-=$^&+ ]*( ?\(\d+\))?")
_COPIES = (
    r"(?P<symbol>.+?) ?\(\d+\)",  # a browser's second download
    r"(?P<symbol>.+?) (?:[-–] )?(?:copy|Kopie|copia|copie|cópia|kopia|kopi)(?: \d+)?",
    r"(?:copy of|Kopie von|copia de|copie de|cópia de) (?P<symbol>.+)",
)
# What file names have beside the symbol, by who writes them.
_NAMES = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        *_COPIES,
        r"(?P<symbol>.+?) (?:- )?(?:Historical Data|Historische Daten|Stock Price History|Datos históricos|Données Historiques|Dati Storici"
        r"|Dados Históricos|Historische gegevens|Geçmiş Verileri|Прошлые данные|历史数据|過去データ|과거 데이터)",  # Investing.com
        r"(?P<symbol>[a-z0-9.]+)-1d-\d{4}-\d\d(?:-\d\d)?",  # Binance
        r"(?P<upper>[\^$]?[a-z0-9.\-]+)\.us",  # Stooq
        r"(?P<upper>[\^$]?[a-z0-9.\-]+?)(?:_us)?_[dwm]",
        r"(?:time_series_)?(?:daily_adjusted|daily)_(?P<symbol>[a-z0-9.\-]+)",  # Alpha Vantage
        r"(?P<symbol>[a-z0-9.\-]+)_(?:daily|data|prices?|history|historical|ohlcv?|1d|stock|eod|hist|quotes?)",
        r"(?:WIKI|EOD|XNAS|XNYS|NASDAQ|NYSE|BATS|AMEX|EURONEXT|table|wkn|prices?|stock|historic)[-_](?P<symbol>[a-z0-9.\-]+?)(?:_historic)?(?:, 1D.*)?",
        r"(?:historicaldata|historical_?quotes)_(?P<symbol>[a-z][a-z.\-]*)",
        r"(?P<symbol>[a-z0-9.\-^=]+?)[ _-]\d{4}-?\d\d-?\d\d(?:[ _-](?:to[ _-])?\d{4}-?\d\d-?\d\d)?",
        r"(?P<symbol>[a-z0-9.\-^=]+?)[ _-](?:19|20)\d\d(?:[ _-](?:to[ _-])?(?:19|20)\d\d)?",
        r"[A-Z]+_(?P<symbol>[^,]+), 1D.*",  # TradingView
        r"(?P<symbol>[a-z0-9.\-#]+?)_Daily(?:_\d{12}){2}",  # MetaTrader
        r"(?P<symbol>[a-z0-9.\-^$]+?)_daily_historical-data-\d\d-\d\d-\d{4}",  # Barchart
        r"quote-equity-(?P<symbol>[a-z0-9.\-]+?)-[a-z]{2}-.*",  # NSE
        r"Download Data - [A-Z]+_[A-Z]{2}_[A-Z]{4}_(?P<symbol>.+)",  # MarketWatch
        r"(?P<symbol>.+)\.(?:csv|txt|tsv|parquet)",
    )
)
_GENERAL = re.compile(  # what a file is called that names no symbol
    r"(historicaldata|historicalprices|historicalquotes|download data|historical|data|prices?|table|download|export|quotes?|part|file|history|daily|ohlcv?|eod|stocks?|all)[-_ \d]*",
    re.IGNORECASE,
)
_PERIOD = re.compile(r"(19|20)\d\d([-_]?\d\d){0,2}")
_OF_A_YEAR = re.compile(r".{1,200}[ _-](19|20)\d\d(\.\w+){1,3}")


@dataclass(frozen=True, slots=True)
class Found:
    """A file of prices.

    Parameters
    ----------
    symbol : str
        From its name or its folder; empty where the rows say theirs.
    plan : Plan or None
        How it is read; None for a file as Kaggle's archive has them.
    refused : str or None
        Why none of its rows can be read.
    key : bool
        The symbol is a folder's, so that several files may be of it.
    no_adjusted : bool
        It has no adjusted close.
    """

    member: Member
    symbol: str
    plan: Plan | None = None
    refused: str | None = None
    key: bool = False
    no_adjusted: bool = False


@dataclass(frozen=True)
class SecurityNames:
    """What a file that lists symbols says.

    Parameters
    ----------
    names : dict of str to str
        Security names by each spelling of the symbol; that of NASDAQ wins, then the first.
    listed : list of (str, tuple of str)
        Each row's symbol, and its spellings.
    """

    names: dict[str, str]
    listed: list[tuple[str, tuple[str, ...]]]


@dataclass(frozen=True)
class Detected:
    """What an archive holds.

    Parameters
    ----------
    names, listed :
        Of all files that list symbols: see `SecurityNames`.
    metadata : list of Member
        Those files.
    remarks : list of str
        What to tell about where the symbols come from.
    """

    found: list[Found]
    names: dict[str, str]
    listed: list[tuple[str, tuple[str, ...]]]
    metadata: list[Member]
    not_read: list[NotRead]
    remarks: list[str] = field(default_factory=list)


def price_files(location: Location, members: Sequence[Member], options: Options, pattern: str = "") -> Detected:
    """Look at every file of an archive.

    Parameters
    ----------
    pattern : str, optional
        Only files whose path matches it are read (``archive.only_files``).

    Raises
    ------
    ArchiveError
        Dates can be read in two ways.
    """
    detected = Detected([], {}, [], [], [])
    samples: dict[str, plans.Sample] = {}
    candidates: list[Member] = []
    for member in sorted(members, key=lambda member: member.name):
        if why := _no_candidate(member.name, pattern):
            detected.not_read.append(NotRead(printable(member.name), why))
        else:
            candidates.append(member)
    mapped = locations.ahead if isinstance(location, Url) else map
    looked_at = mapped(functools.partial(_look, location, options), candidates)
    for member, (found, sample) in zip(candidates, looked_at, strict=True):
        if isinstance(found, Found):
            detected.found.append(found)
        elif isinstance(found, NotRead):
            detected.not_read.append(found)
        else:
            detected.names.update(found.names | detected.names)
            detected.listed.extend(found.listed)
            detected.metadata.append(member)
        if sample:
            samples[member.name] = sample
    if "Symbol" not in dict(options.columns):
        detected.found[:] = _without_loose_symbols(detected.found, samples, detected.remarks)
    detected.found[:] = _symbols_from_folders(location, detected.found)
    detected.found[:] = _settle_dates(location, detected.found, samples, options)
    return detected


def _look(
    location: Location, options: Options, member: Member
) -> tuple[Found | NotRead | SecurityNames, plans.Sample | None]:
    """What one file is, and the sample by which that was found out."""
    name = member.name
    symbol = _symbol_or_name(name)
    try:
        return _look_at(location, options, member)
    except NotPrices as error:
        if not _in_kaggles_folders(name):
            return NotRead(printable(name), str(error)), None
        reason = f"wrong header: {str(error).removeprefix('wrong header: ')}"
    except Refused as error:
        reason = str(error)
    except OSError as error:
        symbol = symbol_of(name) or printable(name)
        reason = f"unreadable file: {error.strerror or error}"
    return Found(member, symbol, refused=reason), None


def is_price_file(path: Location) -> bool:
    """Whether a path is that of a single file that may be one of prices."""
    return path.is_file() and not _no_candidate(path.name, "")


def is_table(file: Found) -> bool:
    """Whether a file's rows must be sorted by symbol first: they say their symbols, or other files have the same one."""
    return file.plan is not None and (file.plan.has_symbols or file.key or file.plan.parquet)


def notes(found: Iterable[Found]) -> list[str]:
    """What to tell about layouts other than Kaggle's, and about what they lack."""
    groups: dict[tuple[tuple[str, ...], DateOrder | None, bool], list[Found]] = defaultdict(list)
    for file in found:
        if file.plan and (file.plan.reading.titles != _KAGGLE or file.no_adjusted or file.plan.date_form):
            order = file.plan.order if file.plan.date_form else None
            groups[file.plan.reading.titles, order, file.no_adjusted].append(file)
    sentences = []
    for (titles, order, no_adjusted), files in groups.items():
        text = f"{len(files):,} price file{'s' * (len(files) > 1)} read as {' or '.join(titles)}"
        if order:
            text += f"; dates have the {order.removesuffix('_first')} first"
        if no_adjusted:
            text += "; no adjusted close, so Adj Close is Close"
            plan = files[0].plan
            if plan and plan.reading.adjusted:
                text += f" (adjusted: {plan.reading.adjusted.partition('; ')[0]})"
        sentences.append(text)
    return sentences


def _no_candidate(name: str, pattern: str) -> str:
    if any(part.startswith((".", "__MACOSX")) for part in name.split("/")):
        return "hidden, or one of macOS's own"
    if name.rpartition("/")[2].startswith("~$"):
        return "a lock file of a spreadsheet program"
    how = unpack.packing(name)
    ending = os.path.splitext(name[: -len(os.path.splitext(name)[1])] if how else name)[1].lower()
    if ending in OTHER_WORKBOOKS:
        return f"a workbook of a spreadsheet program: {SAVE_AS_CSV}"
    if ending not in ENDINGS and how != "workbook":
        return f"not one of {', '.join(ENDINGS)}, packed or not, or .xlsx"
    if pattern and not fnmatch.fnmatchcase(name, pattern):
        return f"archive.only_files is {pattern!r}"
    return ""


def _look_at(location: Location, options: Options, member: Member) -> tuple[Found | SecurityNames, plans.Sample | None]:
    name = member.name
    if name.lower().endswith(".parquet"):
        return _of_plan(member, parquet_files.plan_file(unpack.source(location, member), options))
    chosen = options != Options()
    on_disk = member.packed is None and not isinstance(location, Url)
    if not chosen and on_disk and name.endswith(".csv") and _as_kaggle_at_once(f"{location}/{name}"):
        return Found(member, _symbol_or_name(name)), None
    head, complete = unpack.beginning(location, member, _HEAD)
    if not complete and head.count(b"\n") + head.count(b"\r") < _FEW_LINES:
        head, complete = unpack.beginning(location, member, _LONG_HEAD)
    if not chosen and not unpack.packing(name) and _as_kaggle(head, complete):
        return Found(member, _symbol_or_name(name)), None
    if names := read_names(location, member, head):
        return names, None
    tail = b"" if complete else unpack.end(location, member, _TAIL)
    return _of_plan(member, plans.plan_file(head, tail, options, complete))


def _as_kaggle_at_once(path: str) -> bool:
    """The quick look that 8,000 files of Kaggle's need: at the header and the first row."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # not to wait for a FIFO
    try:
        head = os.pread(descriptor, 200, 0)
    finally:
        os.close(descriptor)
    return head.startswith(HEADER) and _PLAIN.match(head, len(HEADER)) is not None


def _as_kaggle(head: bytes, complete: bool) -> bool:
    """Whether a file begins as Kaggle's archive has them: its header, and rows of which at most half are otherwise."""
    if head.startswith(HEADER) and _PLAIN.match(head, len(HEADER)):
        return True
    lines = head.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").split(b"\n")[: _FEW_LINES + 1]
    if lines[0] + b"\n" != HEADER:
        return False
    end = None if complete or len(lines) > _FEW_LINES else -1  # the last line may be cut
    rows = [line + b"\n" for line in lines[1:end] if line.strip(b", \t")]
    return 2 * sum(_PLAIN.fullmatch(row) is not None or b",,,,,," in row for row in rows) >= len(rows)


def _of_plan(member: Member, sample: plans.Sample) -> tuple[Found, plans.Sample]:
    plan = alone(sample.plan)
    symbol = ""
    if plan is not sample.plan:
        symbol = columns.symbol_text(sample.plan.tickers[0][0])
    elif not plan.has_symbols:
        symbol = symbol_of(member.name)
        if not symbol and "=" not in member.name and "/" not in member.name:
            raise Refused(
                f"no symbol: neither the name {printable(member.name)!r} nor a column contains it; rename the file, such "
                "as AAPL.csv, or name the column, such as archive.columns: {Symbol: code}, or {Symbol: 1} for the first"
            )
    adjusted = plan.reading.columns.get("Adj Close")
    empty = adjusted is None or all(dates_and_numbers.is_null(row[adjusted]) for row in sample.fields)
    return Found(member, symbol, plan, no_adjusted=empty), replace(sample, plan=plan)


def alone(plan: Plan) -> Plan:
    """The plan of a file with one symbol's columns as if it had one header, equal for all such files; any other plan as it is."""
    if len(plan.tickers) != 1:
        return plan
    if plan.parquet:  # whose columns are read by their names
        return replace(plan, tickers=())
    names = [""] * len(plan.header)
    for ours, index in plan.reading.columns.items():
        names[index] = ours
    # No symbol's own header, so that the plan is equal for all of them: any line of words is another header.
    return replace(plan, tickers=(), header=tuple(names), header_lines=("any symbol's",))


def _in_kaggles_folders(name: str) -> bool:
    *_, folder, file = f"/{name}".split("/")
    return folder.lower() in ("stocks", "etfs") and file.lower().endswith(".csv")


def symbol_of(name: str) -> str:
    """The symbol that a file's name holds, empty where it holds none.

    Examples
    --------
    >>> [symbol_of(name) for name in ("s/LGF.B.csv", "_PRN.csv", "PRN_.csv", "AAPL (1).csv", "aapl.us.txt", "AAA.csv.csv")]
    ['LGF.B', 'PRN', 'PRN', 'AAPL', 'AAPL', 'AAA']
    >>> [symbol_of(name) for name in ("AAPL Historical Data.csv", "aapl_us_d.csv", "daily_adjusted_IBM.csv.gz", "prices.csv")]
    ['AAPL', 'AAPL', 'IBM', '']
    >>> [symbol_of(name) for name in ("7203 過去データ.csv", "BTCUSDT-1d-2024-01.csv", "HistoricalPrices.csv")]
    ['7203', 'BTCUSDT', '']
    >>> [symbol_of(name) for name in ("prices (1).csv", "data - Copy.csv", "DATA (1).csv", "A Historical Data (2).csv", "A (2) - Copy.csv")]
    ['', '', 'DATA', 'A', 'A']
    >>> [symbol_of(name) for name in ("Copy of AAPL.csv", "AAPL – Kopie.csv", "AAPL - copia 2.csv", "HistoricalQuotes.csv")]
    ['AAPL', 'AAPL', 'AAPL', '']
    """
    stem = name.rpartition("/")[2]
    while os.path.splitext(stem)[1].lower() in (*ENDINGS, *unpack.PACKINGS):
        stem = os.path.splitext(stem)[0]
    if stem.isalnum() and stem.isupper():  # most are: nothing to cut off
        return stem
    for _ in range(3):  # "aapl.us (1)" has two
        if found := _RESERVED.fullmatch(stem):
            return found[1] or found[2]
        for pattern in _NAMES:
            found = pattern.fullmatch(stem)
            rest = found and (found["upper"].upper() if "upper" in pattern.groupindex else found["symbol"])
            copy = pattern.pattern in _COPIES
            if rest and (_WORDS.fullmatch(rest) if copy else _SYMBOL.fullmatch(rest) and not _is_general(rest)):
                stem = rest
                break
        else:
            break
    return "" if _is_general(stem) else stem


def _is_general(stem: str) -> bool:
    return not stem.isupper() and _GENERAL.fullmatch(stem) is not None  # DATA was Tableau


def _symbol_or_name(name: str) -> str:
    return symbol_of(name) or os.path.splitext(name.rpartition("/")[2])[0]


@dataclass(frozen=True)
class _Loose:
    """A file's column that may be its symbol or something else, such as Index, where it has one value; and what the file's name says."""

    file: Found
    called: str
    value: str
    name: str  # empty where the file's name holds no symbol for certain


def _without_loose_symbols(found: list[Found], samples: dict[str, plans.Sample], remarks: list[str]) -> list[Found]:
    """Take the symbol from the files' names where a column such as Index has the same value for several of them on one day."""
    loose: dict[str, _Loose] = {}
    first: dict[tuple[str, str, str], _Loose] = {}
    proven: dict[str, tuple[_Loose, _Loose]] = {}
    for file in found:
        own = file.plan.reading.columns if file.plan else {}
        if file.plan is None or "Symbol" not in own:
            continue
        rows, called = samples[file.member.name].fields, file.plan.header[own["Symbol"]].strip()
        values = {row[own["Symbol"]].strip() for row in rows}
        if len(values) != 1 or not column_names.is_loosely("Symbol", called):
            continue
        name = symbol_of(file.member.name)
        name = name if _SYMBOL.fullmatch(name) and name == name.upper() and not _PERIOD.fullmatch(name) else ""
        one = loose[file.member.name] = _Loose(file, called, values.pop(), name)
        for row in rows if name else ():
            other = first.setdefault((called, one.value, row[own["Date"]].strip()), one)
            if other.name != name:
                proven.setdefault(called, (other, one))
    for called, (one, other) in proven.items():
        remarks.append(
            f"the symbols are those of the files' names: column {called!r} is {one.value!r} in {printable(one.file.member.name)} and in "
            f"{printable(other.file.member.name)} on the same day, so it names no symbol"
        )
    unlike = [one for one in loose.values() if one.name not in one.value.upper() and one.value.upper() not in one.name]
    doubtful = [one for one in unlike if one.called not in proven]
    if doubtful:
        one = doubtful[0]
        more = f" (and so in {len(doubtful) - 1:,} more)" if len(doubtful) > 1 else ""
        remarks.append(
            f"the symbol of {printable(one.file.member.name)} is {one.value!r}, which its column {one.called!r} says{more}; if it is that of the "
            'file\'s name: archive.columns: {Symbol: ""}'
        )
    return [
        _named_by_its_file(file) if file.member.name in loose and loose[file.member.name].called in proven else file
        for file in found
    ]


def _named_by_its_file(file: Found) -> Found:
    assert file.plan is not None
    return replace(file, plan=plans.without(file.plan, "Symbol"), symbol=symbol_of(file.member.name))


def _symbols_from_folders(location: Location, found: list[Found]) -> list[Found]:
    """Take the symbol from a folder where it says so: ``symbol=AAPL/``, or ``AAPL/prices.csv`` beside ``MSFT/prices.csv``.

    Files such as AAPL_2021.csv and AAPL_2022.csv are of one symbol, too.
    """
    files = []
    named = [file for file in found if not (file.refused or (file.plan and file.plan.has_symbols))]
    periods = {file.member.name for file in named if _of_its_period(location, file)}
    of_periods = len(named) > 1 and len(periods) == len(named)
    of_years = Counter(file.symbol for file in named if _is_of_a_year(file))
    # Where one file's name is a symbol, the folder's is none.
    of_several = {_folder(file) for file in named if file.member.name not in periods and symbol_of(file.member.name)}
    for file in found:
        folders = file.member.name.split("/")[:-1]
        called_so = not symbol_of(file.member.name) or _PERIOD.fullmatch(file.symbol)
        if file.refused and ((folders and called_so) or (_is_of_a_year(file) and of_years[file.symbol])):
            file = replace(file, symbol=os.path.splitext(file.member.name)[0])  # of no other file
        if file.refused or (file.plan and file.plan.has_symbols):
            files.append(file)
            continue
        keys = dict(folder.split("=", 1) for folder in folders if "=" in folder)
        key = next((value for name, value in keys.items() if name.lower() in ("symbol", "ticker", "sym")), "")
        if not key and folders and _is_symbols_folder(folders[-1]) and _folder(file) not in of_several:
            key = folders[-1]
        if not key and of_years[file.symbol] > 1 and _is_of_a_year(file):
            key = file.symbol
        if key:
            files.append(replace(file, symbol=key, key=True, plan=file.plan or plans.KAGGLE))
        elif not file.symbol or of_periods:
            holds = "a year" if of_periods else "none"
            reason = (
                f"no symbol: the name {printable(file.member.name)!r} holds {holds}; rename the file, such as AAPL.csv, or put the files of each "
                "symbol into a folder named after it, such as symbol=AAPL"
            )
            files.append(replace(file, symbol=_symbol_or_name(file.member.name), refused=reason, plan=None))
        else:
            files.append(file)
    return files


def _is_symbols_folder(name: str) -> bool:
    """Whether a folder's name may be a symbol."""
    return bool(_SYMBOL.fullmatch(name)) and not _is_general(name) and name.lower() not in ("stocks", "etfs")


def _folder(file: Found) -> str:
    return file.member.name.rpartition("/")[0]


def _is_of_a_year(file: Found) -> bool:
    return _OF_A_YEAR.fullmatch(file.member.name.rpartition("/")[2]) is not None


def _of_its_period(location: Location, file: Found) -> bool:
    """Whether a file is called as a year, or a day, that its first rows are of: no ticker such as 2002 in Taiwan."""
    if not _PERIOD.fullmatch(file.symbol):
        return False
    if file.plan is not None and file.plan.parquet:
        return True
    return file.symbol[:4].encode() in unpack.beginning(location, file.member, _HEAD)[0]


def _settle_dates(
    location: Location, found: list[Found], samples: dict[str, plans.Sample], options: Options
) -> list[Found]:
    """Settle the order of dates such as 01/02/2021 for all files of a layout together."""
    if options.dates:
        return found
    open_: dict[tuple[object, str], list[Found]] = defaultdict(list)
    for file in found:
        if file.plan and file.plan.date_form:
            open_[file.plan.reading.titles, file.plan.date_form].append(file)
    settled: dict[str, DateOrder] = {}
    for files in open_.values():
        evidence: dict[DateOrder, str] = {}
        for file in files:
            for order in samples[file.member.name].orders:
                evidence.setdefault(order, file.member.name)
        for file in files:
            if not evidence and file.plan:
                texts = _dates_of(location, file.member, file.plan)
                evidence = dict.fromkeys(dates_and_numbers.proven_orders(texts), file.member.name)
        if len(evidence) == 1:
            settled |= dict.fromkeys((file.member.name for file in files), next(iter(evidence)))
            continue
        plan = files[0].plan
        assert plan is not None
        example = samples[files[0].member.name].fields[0][plan.reading.columns["Date"]]
        if not evidence:
            where = printable(files[0].member.name) if len(files) == 1 else f"any of {len(files):,} files"
            orders = sorted(dates_and_numbers.date_orders(example) or ())
            raise ArchiveError(
                f"dates such as {example!r} can be read {' or '.join(orders).replace('_', ' ')}, and the dates in {where} do not show which; "
                f"set it in the params file: {' or '.join(f'archive.dates: {order}' for order in orders)}"
            )
        shown = " and ".join(f"{order.replace('_', ' ')} in {printable(name)}" for order, name in evidence.items())
        raise ArchiveError(
            f"dates are written {shown}; archive.dates: {' or '.join(evidence)} sets the others' rows aside, or make two archives of them"
        )
    return [
        replace(file, plan=replace(file.plan, order=settled[file.member.name]))
        if file.plan and file.member.name in settled
        else file
        for file in found
    ]


def _dates_of(location: Location, member: Member, plan: Plan) -> Iterable[str]:
    large = member.size > LARGEST  # of so large a file the beginning must do
    text = unpack.beginning(location, member, LARGEST)[0] if large else unpack.whole(location, member)
    if plan.parquet:
        return parquet_files.dates(text, plan)
    column = plan.reading.columns["Date"]
    lines = plans.to_utf8(text, plan.encoding).decode("utf-8", "replace").split("\n")[plan.skip :]
    rows = (headers.split_line(line, plan.delimiter) for line in lines)
    return (row[column].strip() for row in rows if len(row) > column)


def read_names(location: Location, member: Member, head: bytes) -> SecurityNames | None:
    """Read a file that lists symbols and what they are called, in any of the ways that exchanges have; None for another."""
    text = plans.to_utf8(head, plans.encoding_of(head, False)).decode("utf-8", "replace")
    first = next((line for line in text.split("\n") if line.strip()), "")
    for delimiter in headers.DELIMITERS:
        header = [name.strip() for name in headers.split_line(first, delimiter)]
        plain = [column_names.normalised(name) for name in header]
        symbols = [i for i, name in enumerate(plain) if name in _SYMBOL_NAMES]
        called = [
            i for wanted in _SECURITY_NAMES for i, name in enumerate(plain) if name == wanted and i not in symbols
        ]
        if symbols and called and not column_names.looks_like_prices(header):
            break
    else:
        return None
    content = unpack.whole(location, member)
    text = plans.to_utf8(content, plans.encoding_of(content)).decode("utf-8", "replace")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error:
        return None
    names: dict[str, str] = {}
    listed = []
    order = sorted(symbols, key=lambda i: (plain[i] != "nasdaqsymbol", i))
    later: dict[str, str] = {}
    for row in rows:
        if (
            len(row) != len(header)
            or [name.strip() for name in row] == header
            or row[0].startswith("File Creation Time")
        ):
            continue  # NASDAQ's lists end in the time
        spellings = tuple(row[i].strip() for i in order if row[i].strip())
        if spellings:
            listed.append((row[symbols[0]].strip() or spellings[0], spellings))
        if row[called[0]].strip():
            for i in order:
                (names if i == order[0] else later).setdefault(row[i].strip(), row[called[0]])
    return SecurityNames({**later, **names}, listed)


_SYMBOL_NAMES = {"symbol", "ticker", "nasdaqsymbol", "actsymbol", "cqssymbol", "tickersymbol", "code", "stocksymbol"}
_SECURITY_NAMES = ("securityname", "companyname", "longname", "security", "name", "shortname", "company", "description")
