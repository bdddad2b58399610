"""Daily prices from Yahoo Finance, by yfinance, kept as an archive in the layout of Kaggle's and brought up to date.

A later call asks only for the days since the last one, and again for the last `AGAIN` days, which Yahoo corrects. Where a
split or dividend has changed what was kept, that symbol is fetched anew. Without a network, what was kept is used.

Yahoo's terms allow personal use; see docs/own-data.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from lib import files
from lib.data.members import ArchiveError
from lib.data.schema import COLUMNS

AGAIN = 5  # kept rows that are asked for once more
_ROUNDS = 4  # how often a symbol is asked for before it counts as failed
_PATIENCE = 5  # failures in a row after which a round ends: there is no network, or Yahoo refuses this address
_BATCH = 50  # symbols between two pauses
_PAUSE, _BACKOFF = 1.0, 5.0  # seconds: such a pause, and the wait before the second round
_SAME = 1e-4  # relative tolerance between an adjusted close and the one that was kept: Yahoo rounds
Download = Callable[[str, str], pd.DataFrame]


class NoRowsError(Exception):
    """Yahoo answered, and has no rows of a symbol since that day."""


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
        raise ArchiveError(f"archive.symbols: {odd[0]!r} is not a Yahoo symbol")
    return symbols


def update(
    folder: Path,
    symbols: Sequence[str],
    start: str,
    download: Download | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Bring the archive in ``folder`` up to date; returns sentences for the user.

    Parameters
    ----------
    folder : pathlib.Path
        ``stocks/SYMBOL.csv`` each.
    start : str
        The first day, YYYY-MM-DD.
    download : callable, optional
        From a symbol and the first day to a frame as ``yfinance.Ticker.history(auto_adjust=False)`` has it. It raises
        `NoRowsError` where there are none; after any other exception that symbol is asked for again.

    Raises
    ------
    ArchiveError
        A symbol has no rows, neither downloaded nor cached.
    """
    stocks = folder / "stocks"
    stocks.mkdir(parents=True, exist_ok=True)
    for path in stocks.glob("*.csv"):
        if path.stem not in {_file_stem(symbol) for symbol in symbols}:
            path.unlink()
    kept = {symbol: _kept(stocks, symbol, start) for symbol in symbols}
    get = download or _client(folder / ".yfinance")
    failures: dict[str, str] = {}
    anew: list[str] = []
    written = 0
    since = {symbol: start if known is None else known["Date"].iloc[-AGAIN:].iloc[0] for symbol, known in kept.items()}
    for symbol, rows in _fetched(since, get, sleep, failures):
        known = kept[symbol]
        if known is not None and _changed(known, rows):
            anew.append(symbol)
            continue
        if known is not None:
            rows = pd.concat([known[known["Date"] < rows["Date"].iloc[0]], rows], ignore_index=True)
        written += _write(stocks, symbol, rows, start)
    for symbol, rows in _fetched(dict.fromkeys(anew, start), get, sleep, failures):
        written += _write(stocks, symbol, rows, start)
    missing = [symbol for symbol in symbols if not _path(stocks, symbol).exists()]
    if missing:
        why = failures.get(missing[0], "Yahoo has no rows for it; is it the symbol that finance.yahoo.com shows?")
        raise ArchiveError(
            f"archive.source: yahoo: no prices for {', '.join(missing[:20])}{' ...' * (len(missing) > 20)}, neither downloaded nor cached ({why})"
        )
    sentences = [f"Yahoo: {written:,} of {len(symbols):,} symbols have new rows"]
    if anew:
        sentences.append(f"downloaded again after a split or dividend: {', '.join(anew[:20])}")
    if failures:
        first_failure = next(iter(failures.values()))
        sentences.append(
            f"Yahoo returned no rows for {len(failures):,} symbols ({first_failure}); their cached rows are used instead"
        )
    return sentences


def _fetched(
    since: Mapping[str, str], get: Download, sleep: Callable[[float], None], failures: dict[str, str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each symbol from its day on; those that fail are asked for again in a later round, and then noted."""
    left = list(since)
    reasons: dict[str, str] = {}
    for number in range(_ROUNDS):
        if number:
            sleep(_BACKOFF * 2 ** (number - 1) * random.uniform(1, 1.5))  # so that not all come again at once
        failed: list[str] = []
        in_a_row = 0
        for asked, symbol in enumerate(left):
            if in_a_row == _PATIENCE:
                failed += left[asked:]
                break
            if asked and asked % _BATCH == 0:
                sleep(_PAUSE)
            try:
                rows = rows_of(get(symbol, since[symbol]))
            except NoRowsError as error:
                failures[symbol] = str(error)
            except Exception as error:  # yfinance raises what its HTTP client does, its own, and its cache's
                reasons[symbol] = f"{type(error).__name__}: {error}".strip(": ")
                failed.append(symbol)
                in_a_row += 1
                continue
            else:
                if len(rows):
                    yield symbol, rows
                else:
                    failures[symbol] = "no rows"
            in_a_row = 0
        left = failed
        if not left:
            return
    last = next(reversed(reasons.values()))
    failures.update({symbol: reasons.get(symbol, last) for symbol in left})


def rows_of(frame: pd.DataFrame) -> pd.DataFrame:
    """What the archive keeps of the rows of one symbol.

    Parameters
    ----------
    frame : pandas.DataFrame
        As ``yfinance.Ticker.history(auto_adjust=False)`` has it: indexed by day, in the exchange's time zone.

    Returns
    -------
    pandas.DataFrame
        Of `lib.data.schema.COLUMNS`: Date as text, days without a price left out.
    """
    if not {"Open", "High", "Low", "Close", "Volume"} <= set(frame.columns):
        return pd.DataFrame(columns=list(COLUMNS))
    if "Adj Close" not in frame.columns:
        frame = frame.assign(**{"Adj Close": frame["Close"]})
    index = pd.DatetimeIndex(frame.index)
    days = pd.Index(index.tz_localize(None).strftime("%Y-%m-%d"), name="Date")
    rows = frame.set_axis(days).reset_index()[list(COLUMNS)].dropna()
    rows["Volume"] = rows["Volume"].round().astype("int64")
    return rows.drop_duplicates("Date", keep="last").sort_values("Date").reset_index(drop=True)


def _client(cache: Path) -> Download:
    """Yahoo's client, which keeps what it knows of symbols in ``cache``.

    The study's own folder, since yfinance 1.7 cannot open one cache twice at the same time ("database is locked"), nor
    in several threads: https://github.com/ranaroussi/yfinance/issues/1274. One symbol at a time, since
    ``yfinance.download`` returns no reason for a symbol that failed.
    """
    import yfinance
    from yfinance.data import YfData
    from yfinance.exceptions import YFTickerMissingError

    yfinance.set_tz_cache_location(str(cache))
    yfinance.config.debug.hide_exceptions = False  # else a symbol without an answer looks like one without rows

    def download(symbol: str, first: str) -> pd.DataFrame:
        try:
            frame = yfinance.Ticker(symbol).history(start=first, interval="1d", auto_adjust=False, actions=False)
        except YFTickerMissingError as error:
            raise NoRowsError(str(error)) from None
        except Exception:
            YfData.cache_get.cache_clear()  # yfinance 1.7 would give a bad answer again to each later attempt
            raise
        return frame

    return download


def _kept(stocks: Path, symbol: str, start: str) -> pd.DataFrame | None:
    """The rows of a symbol that an earlier call has kept: of `lib.data.schema.COLUMNS`, Date as text."""
    path = _path(stocks, symbol)
    try:
        rows = pd.read_csv(
            path, dtype={"Date": str, "Volume": "int64"}, keep_default_na=False, float_precision="round_trip"
        )
    except (OSError, ValueError):
        return None
    if tuple(rows.columns) != COLUMNS or rows.empty or not (stocks.parent / ".start").exists():
        return None
    return rows if (stocks.parent / ".start").read_text() == start else None


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
