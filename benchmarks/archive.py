"""A synthetic archive with the shape of Kaggle's ``jacksoncrow/stock-market-dataset``, the same bytes on every machine.

``python -m benchmarks.archive --fraction 1 --to FOLDER`` writes 5,884 stocks and 2,165 ETFs, 28.15 M rows, 2.7 GB, with
that archive's quirks at its rates: 683 null rows, volumes such as ``123.0`` in every file that has one, 6 % zero volumes,
symbols such as ``AGM$A``, symbols without metadata. ``--fraction 1/100`` writes a hundredth of it, with the same mix of
long and short, thin and liquid files; ``--fraction 4`` writes four times as much.

Bytes must not depend on the platform, so nothing here calls a transcendental function or a float sum: logarithms of
prices and volumes are integers (fixed point), powers of two come from a table computed with Python's integers, and the
only float operations are those that IEEE 754 rounds correctly (times, divide, round, conversion).
"""

from __future__ import annotations

import argparse
import csv
import io
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import isqrt
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from lib.storage import progress

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SEED = 20_200_401
FIRST_DATE, LAST_DATE = np.datetime64("1962-01-02"), np.datetime64("2020-04-01")
DECIMAL_TICKS_FROM = np.datetime64("2001-01-29")  # before it, prices moved in sixteenths of a dollar
STOCKS, ETFS = 5_884, 2_165
STOCK_ROWS, ETF_ROWS = 24_200_000, 3_950_000
NULL_ROWS = 683
NULL_ROWS_FROM = 1_500  # rows a file has at least, to have null ones
NULL_ROWS_BLOCK = 24  # of so many such files in turn, one has the null rows of all
METADATA = "symbols_valid_meta.csv"
HEADER = b"Date,Open,High,Low,Close,Adj Close,Volume\n"
METADATA_HEADER = (
    "Nasdaq Traded,Symbol,Security Name,Listing Exchange,Market Category,ETF,Round Lot Size,Test Issue,"
    "Financial Status,CQS Symbol,NASDAQ Symbol,NextShares\n"
)

# Quantiles (share of files in percent, value), taken from real files and rounded; between them, straight lines.
_SHARES = (0, 5, 10, 25, 50, 75, 90, 95, 100)
STOCK_LENGTHS = tuple(zip(_SHARES, (1, 150, 400, 1_250, 3_600, 6_500, 9_100, 10_300, 14_663), strict=True))
ETF_LENGTHS = tuple(zip(_SHARES, (1, 60, 150, 560, 1_500, 2_850, 3_500, 3_900, 6_842), strict=True))
LOG2_VOLUME = tuple(zip(_SHARES, (4, 7, 9, 12, 15, 18, 20, 21, 25), strict=True))
ZERO_VOLUME_SHARE = ((0, 0), (50, 0), (60, 1), (70, 2), (80, 5), (90, 14), (95, 23), (99, 42), (100, 85))  # in percent
LOG2_PRICE = ((0, -4), (5, -2), (10, 0), (25, 2), (50, 4), (75, 5), (90, 6), (100, 11))

ONE = 1 << 20  # 1.0 in fixed point: 20 bits after the point
NORMAL_DEVIATION = 37_837  # standard deviation of the sum of four uniform 16-bit integers

# Tickers that trip up software: a bare letter, words that CSV and YAML readers take for values, a dot, a preferred
# share whose file is named otherwise, and a name that Windows reserves (its file is _PRN.csv).
AWKWARD_STOCKS = ("A", "AGM$A", "NAN", "TRUE", "ON", "LGF.B", "PRN", "NA", "BRK$A")
SYLLABLES = (
    *("al", "bor", "cen", "dyn", "en", "fal", "gra", "hel", "in", "kor"),
    *("lum", "mer", "nor", "or", "pra", "quan", "sol", "tri", "ver", "wes"),
)
STOCK_NAMES = (
    "{} Corporation Common Stock",
    "{}, Inc. - Common Stock",
    "{} Holdings, Ltd. - Ordinary Shares",
    "{} plc American Depositary Shares",
)
ETF_NAMES = ("{} Trust ETF", "iSelect {} Index Fund", "{} Short-Term Bond, Hedged ETF")
KINDS = (  # folder, files, rows, quantiles of the rows of a file, patterns of names
    ("stocks", STOCKS, STOCK_ROWS, STOCK_LENGTHS, STOCK_NAMES),
    ("etfs", ETFS, ETF_ROWS, ETF_LENGTHS, ETF_NAMES),
)


@dataclass(frozen=True)
class Security:
    """One file of the archive.

    Parameters
    ----------
    folder : str
        ``stocks`` or ``etfs``.
    symbol, nasdaq_symbol : str
        As the metadata spell them: ``AGM$A`` and ``AGM-A``.
    name : str or None
        The security's name; None when the metadata do not list it.
    rows : int
        Rows of its file, null ones included.
    null_rows : int
        Rows without values.
    position : tuple of int
        Copy of the archive, kind, number within the kind: the seed of its random numbers.
    """

    folder: str
    symbol: str
    nasdaq_symbol: str
    name: str | None
    rows: int
    null_rows: int
    position: tuple[int, int, int]

    @property
    def file_name(self) -> str:
        """The path of its file within the archive."""
        guard = "_" if self.nasdaq_symbol in ("CON", "PRN", "AUX", "NUL") else ""
        return f"{self.folder}/{guard}{self.nasdaq_symbol}.csv"


def securities(fraction: Fraction) -> list[Security]:
    """The files of an archive ``fraction`` times the size of Kaggle's.

    Parameters
    ----------
    fraction : fractions.Fraction
        More than 0. Up to 1, a smaller archive's files are a larger one's; above, there are several copies with
        other symbols and values.

    Examples
    --------
    >>> whole = securities(Fraction(1))
    >>> len(whole), sum(security.rows for security in whole), sum(security.null_rows for security in whole)
    (8049, 28150000, 683)
    >>> [security.file_name for security in securities(Fraction(1, 1000))]
    ['stocks/A.csv', 'stocks/AGM-A.csv', 'stocks/NAN.csv', 'stocks/TRUE.csv', 'stocks/ON.csv', 'stocks/LGF.B.csv', 'etfs/WPLT.csv', 'etfs/ZLUX.csv']
    """
    if fraction <= 0:
        raise ValueError(f"fraction is {fraction}; a number above 0 is expected")
    found = []
    for copy in range(-(-fraction.numerator // fraction.denominator)):
        share = min(fraction - copy, Fraction(1))
        for kind in (0, 1):
            listed = _listed(copy, kind)
            found += listed[: max(1 - kind, round(len(listed) * share))]
    return found


def content(security: Security) -> bytes:
    """The bytes of a security's file.

    Returns
    -------
    bytes
        CSV with Kaggle's header; prices are the shortest decimals that give the double back, as pandas prints them.
    """
    dates = _dates(security)
    valued = ~np.isin(dates, _holidays())
    prices, volume = _prices_and_volume(security, dates[valued])
    columns: list[pa.Array] = [pa.array(dates)]
    taken = pa.array(np.where(valued, np.cumsum(valued) - 1, 0), mask=~valued)
    for price in prices:
        columns.append(_decimal(price).take(taken))
    texts = pa.array(volume).cast(pa.string())
    if security.null_rows:  # pandas made the volumes of a file with a missing one floats
        texts = pc.binary_join_element_wise(texts, pa.scalar(".0"), "")
    columns.append(texts.take(taken))
    names = HEADER.decode().strip().split(",")
    sink = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    pyarrow.csv.write_csv(pa.table(columns, names=names), sink, options)
    return HEADER + sink.getvalue()


def metadata(listed: list[Security]) -> bytes:
    """The bytes of ``symbols_valid_meta.csv`` for the securities ``listed``, with Kaggle's columns."""
    sink = io.StringIO()
    sink.write(METADATA_HEADER)
    writer = csv.writer(sink, lineterminator="\n")
    for security in sorted(listed, key=lambda security: security.symbol):
        if security.name is not None:
            etf = "Y" if security.folder == "etfs" else "N"
            symbol, nasdaq = security.symbol, security.nasdaq_symbol
            writer.writerow(["Y", symbol, security.name, "N", " ", etf, "100.0", "N", "", symbol, nasdaq, "N"])
    return sink.getvalue().encode()


def write(to: Path, fraction: Fraction) -> None:
    """Write an archive ``fraction`` times the size of Kaggle's as a new folder, which appears under its name when all of it is there.

    Raises
    ------
    FileExistsError
        ``to`` is there already: a leftover file of another archive would change what is measured.
    """
    if to.exists():
        raise FileExistsError(f"{to}: exists already; remove it, or name another folder")
    listed = securities(fraction)
    temporary = to.with_name(f"_{to.name}.tmp")
    for folder in ("stocks", "etfs"):
        (temporary / folder).mkdir(parents=True)
    (temporary / METADATA).write_bytes(metadata(listed))
    with (
        ProcessPoolExecutor(mp_context=get_context("spawn")) as pool,
        progress.bar("files", len(listed), "files") as advance,
    ):
        for security, data in zip(listed, pool.map(content, listed, chunksize=8), strict=True):
            (temporary / security.file_name).write_bytes(data)
            advance(1)
    temporary.rename(to)


def _listed(copy: int, kind: int) -> list[Security]:
    """All stocks, kind 0, or ETFs, kind 1, of a copy of the archive."""
    folder, count, total, quantiles, names = KINDS[kind]
    lengths = _lengths(quantiles, count, total)
    nulls = _null_rows(lengths) if kind == 0 else [0] * count
    tickers = _tickers(copy, kind, count)
    if kind == 0 and copy == 0:
        tickers[: len(AWKWARD_STOCKS)] = AWKWARD_STOCKS
    found = []
    for number, symbol in enumerate(tickers):
        name = _security_name(names, number) if kind or number % 200 != 50 else None
        position = copy, kind, number
        found.append(Security(folder, symbol, symbol.replace("$", "-"), name, lengths[number], nulls[number], position))
    return found


def _radical_inverse(number: int, base: int) -> Fraction:
    """``number``'s digits mirrored at the point: the first n of this sequence are spread evenly over 0 to 1, for any n."""
    result, scale = Fraction(0), Fraction(1)
    while number:
        number, digit = divmod(number, base)
        scale /= base
        result += digit * scale
    return result


def _at_quantile(table: tuple[tuple[int, int], ...], share: Fraction) -> Fraction:
    for (low, low_value), (high, high_value) in pairwise(table):
        if share * 100 <= high:
            return low_value + (share * 100 - low) / (high - low) * (high_value - low_value)
    return Fraction(table[-1][1])


@cache
def _lengths(table: tuple[tuple[int, int], ...], count: int, total: int) -> tuple[int, ...]:
    """Rows of each of ``count`` files, ``total`` together, evenly mixed from the first file on."""
    longest = min(table[-1][1], len(_trading_days()))
    shares = [_radical_inverse(number + 1, 2) for number in range(count)]
    wanted = [_at_quantile(table, share) for share in shares]
    scale = Fraction(total) / sum(wanted)
    lengths = [max(1, min(longest, int(rows * scale))) for rows in wanted]
    missing = total - sum(lengths)
    number = 0
    while missing:  # the rest of the rounding, a few rows a file
        step = max(-1, min(1, missing))
        if 1 < lengths[number] + step <= longest:
            lengths[number] += step
            missing -= step
        number = (number + 1) % count
    return tuple(lengths)


def _null_rows(lengths: tuple[int, ...]) -> list[int]:
    found = [0] * len(lengths)
    able = [number for number, rows in enumerate(lengths) if rows >= NULL_ROWS_FROM]
    for start in range(0, len(able), NULL_ROWS_BLOCK):
        end = min(start + NULL_ROWS_BLOCK, len(able))
        found[able[start]] = end * NULL_ROWS // len(able) - start * NULL_ROWS // len(able)
    return found


def _tickers(copy: int, kind: int, count: int) -> list[str]:
    """Distinct tickers; stocks begin with A to S and ETFs with T to Z, so that the two never meet."""
    firsts = "ABCDEFGHIJKLMNOPQRS" if kind == 0 else "TUVWXYZ"
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    numbers = np.random.PCG64([SEED, kind]).random_raw(4 * count).tolist()
    taken = {*AWKWARD_STOCKS, "CON", "AUX", "NUL"}
    found: list[str] = []
    for number in numbers:
        ticker = firsts[number % len(firsts)]
        number //= len(firsts)
        for _ in range((1, 2, 2, 3, 3, 3, 3, 3)[number // 26**4 % 8]):
            number, letter = divmod(number, 26)
            ticker += letters[letter]
        if ticker in taken:
            continue
        taken.add(ticker)
        preferred = "$" + letters[len(found) % 6] if kind == 0 and len(found) % 25 == 12 else ""
        found.append(ticker + (str(copy) if copy else "") + preferred)
        if len(found) == count:
            return found
    raise AssertionError("too few random numbers for the tickers")


def _security_name(patterns: tuple[str, ...], number: int) -> str:
    pattern, number = patterns[number % len(patterns)], number // len(patterns)
    syllables = [SYLLABLES[number % 20], SYLLABLES[number // 20 % 20], SYLLABLES[(number // 400 + 7) % 20]]
    return pattern.format("".join(syllables).capitalize())


@cache
def _holidays() -> npt.NDArray[np.datetime64]:
    """The weekdays without trading: simple rules, not the exchange's history. 2017-05-29 is one."""
    days = []
    for year in range(1962, 2021):
        days += [np.datetime64(f"{year}-{day}") for day in ("01-01", "07-04", "12-25")]
        # February's third Monday, May's last, September's first, November's fourth Thursday.
        for month, nth, weekday in (("02", 2, "Mon"), ("06", -1, "Mon"), ("09", 0, "Mon"), ("11", 3, "Thu")):
            days.append(np.busday_offset(f"{year}-{month}", nth, roll="forward", weekmask=weekday))
    found = np.array(days, dtype="datetime64[D]")
    return np.sort(found[np.is_busday(found)])


@cache
def _trading_days() -> npt.NDArray[np.datetime64]:
    days = np.arange(FIRST_DATE, LAST_DATE + 1)
    return days[np.is_busday(days, holidays=_holidays())]


def _dates(security: Security) -> npt.NDArray[np.datetime64]:
    """The days of a security's rows: trading days up to the end, and its null rows' holidays."""
    days = _trading_days()
    traded = security.rows - security.null_rows
    number = security.position[2]
    last = len(days)
    if number % 40 == 7:  # delisted some time before the end
        last -= (number * 37) % max(1, (len(days) - traded))
    dates = days[last - traded : last]
    if security.null_rows:
        closed = _holidays()
        closed = closed[(closed > dates[0]) & (closed < dates[-1])]
        spacing = len(closed) // (security.null_rows + 1)
        dates = np.sort(np.concatenate([dates, closed[::-1][: spacing * security.null_rows : spacing]]))
    return dates


def _powers() -> Floats:
    """2 ** (k / 4096) for k from 0 to 4095, computed with integers alone and rounded to 40 bits."""
    bits = 256
    root = 2 << bits
    for _ in range(12):
        root = isqrt(root << bits)
    power, table = 1 << bits, []
    for _ in range(4096):
        table.append((power >> (bits - 40)) / 2**40)
        power = power * root >> bits
    return np.array(table)


_POWERS = _powers()


def _exp2(logarithm: Integers) -> Floats:
    """2 to the power of a fixed-point number, to 12 bits of its fraction; every step is exact."""
    powers: Floats = np.ldexp(_POWERS[(logarithm >> 8) & 4095], (logarithm >> 20).astype(np.int32))
    return powers


def _prices_and_volume(security: Security, dates: npt.NDArray[np.datetime64]) -> tuple[list[Floats], Integers]:
    """Open, High, Low, Close, Adj Close (float32 values, as Yahoo's are) and Volume for each of ``dates``."""
    rows = len(dates)
    copy, kind, number = security.position
    # Raw bits, because numpy promises that they never change; its distributions it may improve.
    bits = np.random.PCG64([SEED, copy, kind, number]).random_raw(5 * rows + 4).astype("<u8")
    lanes = bits.view("<u2").astype(np.int64).reshape(-1, 4)
    traits, draws = lanes[:4].ravel(), lanes[4:].reshape(5, rows, 4)
    normal = draws[:4].sum(axis=2) - 131_070  # four rows of normal variates, in units of 1 / NORMAL_DEVIATION
    thinness = _radical_inverse(number + 1, 3)

    # Close: a random walk of its logarithm, heavy-tailed, folded back at the ends of a plausible range.
    daily = int(9_000 + traits[0] // 2)  # standard deviation of a day's step: 0.009 to 0.04 octaves
    shock = np.where(draws[4, :, 0] < 2_000, 3, 1)
    walk = np.cumsum(normal[0] * shock * daily // NORMAL_DEVIATION)
    last = int(_at_quantile(LOG2_PRICE, _radical_inverse(number + 1, 5)) * ONE)
    low, high = last - 4 * ONE, last + 2 * ONE
    folded = np.mod(walk - walk[-1] + (last - low), 2 * (high - low))
    close = low + np.where(folded > high - low, 2 * (high - low) - folded, folded)
    opened = np.concatenate([close[:1], close[:-1]]) + normal[1] * daily // (3 * NORMAL_DEVIATION)
    up = np.maximum(opened, close) + np.abs(normal[2]) * daily // (2 * NORMAL_DEVIATION)
    down = np.minimum(opened, close) - np.abs(normal[3]) * daily // (2 * NORMAL_DEVIATION)

    # Volume: a level, a trend over the years, weeks of more or less trading, a day's noise and bursts.
    level = int(_at_quantile(LOG2_VOLUME, 1 - thinness) * ONE)
    trend = (np.arange(rows) - rows) * int(traits[1] // 200)
    weeks = np.cumsum(normal[2] + normal[3])
    weeks[32:] -= weeks[:-32].copy()
    burst = np.where(draws[4, :, 1] < 1_500, 2 * ONE, 0)
    noise = 8 * ONE // 10 * normal[1] // NORMAL_DEVIATION
    logarithm = np.clip(level + trend + weeks // 2 + noise + burst, 0, 33 * ONE)
    lot = 1 if number % 10 == 3 else 100
    volume = np.rint(_exp2(logarithm) / lot).astype(np.int64) * lot
    zero_share = int(_at_quantile(ZERO_VOLUME_SHARE, thinness) * 65_536 / 100)
    volume[draws[4, :, 2] < zero_share] = 0

    # As traded, prices are whole ticks; Yahoo divides them by the splits since.
    ticks_a_dollar = np.where(dates < DECIMAL_TICKS_FROM, 16.0, 100.0)
    splits = np.ones(rows)
    for trait, factor in zip(traits[2:6], (2.0, 1.5, 3.0, 7.0), strict=True):
        if trait % 4 == 0:
            splits[: rows * int(trait) // 65_536] *= factor
    columns = []
    for logarithm in (opened, up, down, close):
        ticks = np.maximum(1.0, np.rint(_exp2(logarithm) * splits * ticks_a_dollar))
        columns.append(ticks / ticks_a_dollar / splits)
    # A day without trading repeats the last close.
    traded = volume > 0
    traded[0] = True
    previous = np.maximum.accumulate(np.where(traded, np.arange(rows), 0))
    columns = [np.where(traded, column, columns[3][previous]) for column in columns]
    if rows > 4_000 and traits[6] % 7 == 0:  # Yahoo has no early opens of some
        columns[0][: rows // 3] = 0.0
    # Adj Close: the close less the dividends paid since, one a quarter.
    quarters = (rows - 1 - np.arange(rows)) // 63
    yields = int(traits[7] // 4) if traits[7] % 2 else 0
    columns.append(np.maximum(2e-4, columns[3] * _exp2(-quarters * yields)))
    return [column.astype(np.float32).astype(np.float64) for column in columns], volume


def _decimal(values: Floats) -> pa.Array:
    """The shortest decimals that give ``values`` back, whole ones with ``.0``, as pandas prints them."""
    texts = pa.array(values).cast(pa.string())
    whole = np.floor(values) == values
    if whole.any():
        replacements = pc.binary_join_element_wise(texts.filter(pa.array(whole)), pa.scalar(".0"), "")
        texts = pc.replace_with_mask(texts, pa.array(whole), replacements)
    return texts


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fraction", type=Fraction, default=Fraction(1), help="size: 1 is Kaggle's; 0.01, 1/8, 4 (default: 1)"
    )
    parser.add_argument("--to", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args()
    write(arguments.to, arguments.fraction)


if __name__ == "__main__":
    main()
