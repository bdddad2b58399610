"""Daily prices from Yahoo Finance, by yfinance, kept as an archive in the layout of Kaggle's and brought up to date.

A later call asks only for the days since the last one, and again for the last `AGAIN` days, which Yahoo corrects. Where a
split or dividend has changed what was kept, that symbol is fetched anew. Without a network, what was kept is used.

Yahoo's terms allow personal use; see docs/own-data.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lib import files
from lib.data.members import ArchiveError
from lib.data.schema import COLUMNS

AGAIN = 5  # rows
_BATCH = 50  # symbols a request
_ATTEMPTS = 4
_PAUSE, _BACKOFF = 1.0, 5.0  # seconds between batches, and before the second attempt
_SAME = 1e-4  # by so much of itself an adjusted close may differ from the one that was kept: Yahoo rounds
Download = Callable[[Sequence[str], str], pd.DataFrame]


@dataclass(frozen=True)
class Kept:
    """The rows of a symbol that an earlier call has kept.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of `lib.data.schema.COLUMNS`, Date as text.
    """

    rows: pd.DataFrame

    @property
    def again_from(self) -> str:
        """The day from which on to ask again."""
        return str(self.rows["Date"].iloc[-min(AGAIN, len(self.rows))])


def read_symbols(given: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """The symbols that ``archive.symbols`` names.

    Parameters
    ----------
    given : sequence of str
        Symbols, or the path of one text file that has one a line.
    folders : sequence of pathlib.Path
        Where a relative path may start.

    Returns
    -------
    list of str
        Upper case, in order, each once.

    Raises
    ------
    ArchiveError
        There are none.
    """
    found = list(given)
    if len(found) == 1 and ("/" in found[0] or found[0].endswith((".txt", ".csv"))):
        path = Path(found[0]).expanduser()
        path = next((folder / path for folder in folders if (folder / path).is_file()), path)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ArchiveError(f"archive.symbols: {found[0]} cannot be read ({error})") from None
        found = [line.partition("#")[0].partition(",")[0] for line in lines]
    symbols = list(dict.fromkeys(symbol.strip().upper() for symbol in found if symbol.strip()))
    if not symbols:
        raise ArchiveError(
            "archive.source is yahoo, and archive.symbols names none; such as archive.symbols: [AAPL, MSFT]"
        )
    if odd := [symbol for symbol in symbols if "/" in symbol or symbol.startswith(".")]:
        raise ArchiveError(f"archive.symbols: {odd[0]!r} is no symbol of Yahoo's")
    return symbols


def update(
    folder: Path,
    symbols: Sequence[str],
    start: str,
    download: Download | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Bring the archive in ``folder`` up to date.

    Parameters
    ----------
    folder : pathlib.Path
        ``stocks/SYMBOL.csv`` each.
    start : str
        The first day, YYYY-MM-DD.
    download : callable, optional
        From symbols and the first day to a frame as ``yfinance.download(group_by="ticker", auto_adjust=False)`` has it.

    Returns
    -------
    list of str
        What to tell the user: sentences.

    Raises
    ------
    ArchiveError
        A symbol has no rows, neither new nor kept.
    """
    stocks = folder / "stocks"
    stocks.mkdir(parents=True, exist_ok=True)
    for path in stocks.glob("*.csv"):
        if path.stem not in {_file_stem(symbol) for symbol in symbols}:
            path.unlink()
    kept = {symbol: _kept(stocks, symbol, start) for symbol in symbols}
    wanted: dict[str, list[str]] = {}
    for symbol in symbols:
        known = kept[symbol]
        wanted.setdefault(known.again_from if known else start, []).append(symbol)
    get = download or _download
    failures: dict[str, str] = {}
    anew: list[str] = []
    written = 0
    for first, several in sorted(wanted.items()):
        for symbol, rows in _fetched(several, first, get, sleep, failures):
            known = kept[symbol]
            if known is not None and _changed(known.rows, rows):
                anew.append(symbol)
                continue
            written += _write(stocks, symbol, rows if known is None else _joined(known.rows, rows), start)
    for symbol, rows in _fetched(anew, start, get, sleep, failures):
        written += _write(stocks, symbol, rows, start)
    missing = [symbol for symbol in symbols if not _path(stocks, symbol).exists()]
    if missing:
        why = failures.get(missing[0], "Yahoo has no rows of it; is it the symbol that finance.yahoo.com shows?")
        raise ArchiveError(
            f"archive.source: yahoo: no prices of {', '.join(missing[:20])}{' ...' * (len(missing) > 20)}, neither new nor kept ({why})"
        )
    said = [f"Yahoo: {written:,} of {len(symbols):,} symbols have new rows"]
    if anew:
        said.append(f"fetched anew, after a split or dividend: {', '.join(anew[:20])}")
    if failures:
        first_failure = next(iter(failures.values()))
        said.append(
            f"Yahoo did not answer for {len(failures):,} symbols ({first_failure}); what was kept of them is used as it is"
        )
    return said


def _fetched(
    symbols: Sequence[str], first: str, get: Download, sleep: Callable[[float], None], failures: dict[str, str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each symbol from a day on, in batches; what fails is noted."""
    for number in range(0, len(symbols), _BATCH):
        batch = symbols[number : number + _BATCH]
        if number:
            sleep(_PAUSE)
        for attempt in range(_ATTEMPTS):
            try:
                frame = get(batch, first)
                break
            except Exception as error:  # yfinance raises what its HTTP client does, and its own
                why = f"{type(error).__name__}: {error}".strip(": ")
                if attempt + 1 == _ATTEMPTS:
                    failures.update(dict.fromkeys(batch, why))
                    return
                sleep(_BACKOFF * 2**attempt * random.uniform(1, 1.5))  # so that not all come again at once
        for symbol in batch:
            rows = rows_of(frame, symbol)
            if len(rows):
                yield symbol, rows
            else:
                failures[symbol] = "no rows"


def rows_of(frame: pd.DataFrame, symbol: str) -> pd.DataFrame:
    """The rows of one symbol in a frame of yfinance, in any of its shapes.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns of two levels, in either order, or of one (of one symbol).

    Returns
    -------
    pandas.DataFrame
        Of `lib.data.schema.COLUMNS`: Date as text, days without a price left out.
    """
    if isinstance(frame.columns, pd.MultiIndex):
        level = next((i for i in range(frame.columns.nlevels) if symbol in frame.columns.get_level_values(i)), None)
        if level is None:
            return pd.DataFrame(columns=list(COLUMNS))
        own = frame.xs(symbol, axis="columns", level=level)
        assert isinstance(own, pd.DataFrame)
        frame = own
    frame = frame.rename(columns=lambda name: str(name).title().replace("Adjclose", "Adj Close"))
    if not {"Open", "High", "Low", "Close", "Volume"} <= set(frame.columns):
        return pd.DataFrame(columns=list(COLUMNS))
    if "Adj Close" not in frame.columns:
        frame = frame.assign(**{"Adj Close": frame["Close"]})
    index = pd.DatetimeIndex(frame.index)
    days = pd.Index(index.tz_localize(None).strftime("%Y-%m-%d"), name="Date")
    rows = frame.set_axis(days).reset_index()[list(COLUMNS)].dropna()
    rows.columns.name = None
    rows["Volume"] = rows["Volume"].round().astype("int64")
    return rows.drop_duplicates("Date", keep="last").sort_values("Date").reset_index(drop=True)


def _download(symbols: Sequence[str], first: str) -> pd.DataFrame:
    import yfinance

    frame = yfinance.download(
        list(symbols),
        start=first,
        interval="1d",
        auto_adjust=False,
        actions=False,
        group_by="ticker",
        progress=False,
        threads=4,
    )
    if frame is None or frame.empty:
        errors = getattr(
            getattr(yfinance, "shared", None), "_ERRORS", {}
        )  # yfinance logs its failures, and raises none
        raise ConnectionError(next(iter(errors.values()), "no answer"))
    return frame


def _kept(stocks: Path, symbol: str, start: str) -> Kept | None:
    path = _path(stocks, symbol)
    try:
        rows = pd.read_csv(
            path, dtype={"Date": str, "Volume": "int64"}, keep_default_na=False, float_precision="round_trip"
        )
    except (OSError, ValueError):
        return None
    if tuple(rows.columns) != COLUMNS or rows.empty or not (stocks.parent / ".start").exists():
        return None
    return Kept(rows) if (stocks.parent / ".start").read_text() == start else None


def _changed(known: pd.DataFrame, rows: pd.DataFrame) -> bool:
    """Whether a split or dividend since has changed the days that both have: by their adjusted close against the close.

    The last kept day is left out: it may have been cut short.
    """
    both = known.iloc[:-1].merge(rows, on="Date", suffixes=("_kept", ""))
    if both.empty:
        return len(known) > 1
    factor, before = both["Adj Close"] / both["Close"], both["Adj Close_kept"] / both["Close_kept"]
    closes = (both["Close"] / both["Close_kept"] - 1).abs().median() > 0.02
    return bool(closes or ((factor / before - 1).abs() > _SAME).any())


def _joined(known: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([known[known["Date"] < rows["Date"].iloc[0]], rows], ignore_index=True)


def _write(stocks: Path, symbol: str, rows: pd.DataFrame, start: str) -> bool:
    """Write a symbol's file, and say whether that changed it."""
    text = rows.to_csv(index=False, lineterminator="\n")
    path = _path(stocks, symbol)
    files.write_atomically(stocks.parent / ".start", start)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    files.write_atomically(path, text)
    return True


def _path(stocks: Path, symbol: str) -> Path:
    return stocks / f"{_file_stem(symbol)}.csv"


def _file_stem(symbol: str) -> str:
    """The name of a symbol's file; Windows does not let a file be called PRN."""
    return f"_{symbol}" if symbol in ("CON", "PRN", "AUX", "NUL") else symbol
