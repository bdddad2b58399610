"""CSV bytes to a typed table of prices, and the rows set aside. Pure: no file is read or written here.

Files are parsed together, joined into one buffer: one strict parse by Arrow of a hundred files costs less than half
of a hundred parses. What the strict parse refuses is parsed file by file, then by halves, then row by row, so that a
bad row costs only itself. `parse_row` is the definition of a good row; the rest only gets there faster.
"""

from __future__ import annotations

import datetime
import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from lib.data import schema
from lib.data.rows import (
    BLANK,
    EXACT,
    FIRST_DATE,
    LONGEST_RAW,
    RowTexts,
    code,
    contradicts_itself,
    odd_values,
    parse_row,
    places,
)
from lib.data.schema import COLUMNS, HEADER
from lib.text import shortened

KAGGLE = "Yahoo's download, and Kaggle: jacksoncrow/stock-market-dataset"  # its title in `lib.data.layouts`
_ROW_BY_ROW = 4096  # bytes: a block this small is read by `parse_row`
_LONGEST_EXAMPLE = 200  # characters of a raw line that the accounts, and so messages, show
_BLOCK_ROWS = 1 << 15  # whose odd values are looked for at once: their columns fit in a processor's cache
_CUT = 5  # relative factor: a last volume further below the median of those before it seems to have lost digits


@dataclass(frozen=True)
class Body:
    """The rows of one file's content, or why the file is refused.

    Parameters
    ----------
    text : bytes
        The rows, each ended by a newline, without header and blank lines.
    rows : int
        How many they are.
    lines : array of int64 or None
        The line of the file that each row stands on; None: the lines from 2 on.
    refused : str or None
        Why the whole file is set aside, if so.
    set_aside : tuple of (int, str)
        For a refused file: each row's line and raw text.
    unfinished : bool
        The last line has no newline: as some programs write it, or cut off.
    files : array of int64 or None
        For the rows of a symbol from several files: each one's file, an index of `Source.files`.
    """

    text: bytes
    rows: int = 0
    lines: npt.NDArray[np.int64] | None = None
    refused: str | None = None
    set_aside: tuple[tuple[int, str], ...] = ()
    unfinished: bool = False
    files: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Source:
    """One file to parse.

    Parameters
    ----------
    file : str
        Its name in the archive, such as ``stocks/AAPL.csv``, `lib.text.printable`.
    blake3 : str
        Of the whole file.
    size : int
        Bytes of the whole file.
    body : Body
        Its rows, or why it has none; the text itself may stand elsewhere.
    files : tuple of str
        See `Body.files`.
    layout : str
        The title of its layout in `lib.data.layouts`.
    no_adjusted : bool
        It has no adjusted close: Adj Close is Close.
    rounded : int
        Volumes that were rounded to whole shares.
    """

    file: str
    symbol: str
    security_name: str | None
    blake3: str
    size: int
    body: Body
    files: tuple[str, ...] = ()
    layout: str = KAGGLE
    no_adjusted: bool = False
    rounded: int = 0


@dataclass(frozen=True)
class Parsed:
    """What `parse` returns.

    Parameters
    ----------
    prices : pyarrow.Table
        Of `lib.data.schema.PRICES`: the rows kept. Its two string columns are dictionary-encoded; Parquet stores them as plain strings all
        the same.
    quarantine : pyarrow.Table
        Of `lib.data.schema.QUARANTINE`: the rows set aside.
    files : pyarrow.Table
        Of `lib.data.schema.FILES`: an account of each file.
    """

    prices: pa.Table
    quarantine: pa.Table
    files: pa.Table


@dataclass
class _Rows:
    """Good rows in order, how many rows were read, and the numbers of the bad ones: with the reason, where it is known."""

    tables: list[pa.Table] = field(default_factory=list)
    count: int = 0
    bad: dict[int, str | None] = field(default_factory=dict)

    def add(self, table: pa.Table) -> None:
        table, bad = _without_bad_values(table)
        self.tables.append(table)
        self.bad.update((self.count + row, None) for row in bad)
        self.count += len(bad) + table.num_rows


def split_body(content: bytes) -> Body:
    """Cut a file's content into its rows.

    A byte-order mark, Windows or old Mac line ends, blank lines and a missing last newline are all allowed.

    Returns
    -------
    Body
        Refused: an empty file, another header than Date,Open,High,Low,Close,Adj Close,Volume, or no rows.

    Examples
    --------
    >>> split_body(b"Date,Open,High,Low,Close,Adj Close,Volume\\r\\n2020-01-02,1,1,1,1,1,5").text
    b'2020-01-02,1,1,1,1,1,5\\n'
    >>> split_body(b"Date,Price\\n2020-01-02,1\\n").refused
    "wrong header: 'Date,Price', expected 'Date,Open,High,Low,Close,Adj Close,Volume'"
    """
    # As Kaggle writes them: nothing to look at row by row.
    if content.startswith(HEADER) and content.endswith(b"\n") and b"\n\n" not in content and b"\r" not in content:
        text = content[len(HEADER) :]
        if text:
            return Body(text, text.count(b"\n"))
    lines = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    rows = [(number, line) for number, line in enumerate(lines[1:], start=2) if line]
    header = lines[0].decode("utf-8", "backslashreplace")
    found = [name.strip(' \t"') for name in header.split(",")]
    if tuple(found) != COLUMNS:
        expected = ",".join(COLUMNS)
        reason = (
            "empty file" if not content.strip() else f"wrong header: {shortened(header, 200)!r}, expected {expected!r}"
        )
        return Body(b"", refused=reason, set_aside=tuple((number, text_of(line)) for number, line in rows))
    if not rows:
        return Body(b"", refused="no rows: the header stands alone")
    return Body(
        b"".join(line + b"\n" for _, line in rows),
        len(rows),
        lines=np.fromiter((number for number, _ in rows), np.int64, len(rows)),
        unfinished=lines[-1] != b"",
    )


def parse(
    sources: Sequence[Source],
    joined: memoryview,
    ends: Sequence[int],
    known: Sequence[tuple[int, pa.Table] | None] = (),
) -> Parsed:
    """Parse the rows of several files.

    Parameters
    ----------
    sources : sequence of Source
        In symbol order; no two of one symbol.
    joined : memoryview
        Their rows, as `split_body` cuts them, back to back.
    ends : sequence of int
        Where each file's rows end in ``joined``; a refused file has none.
    known : sequence of (int, pyarrow.Table) or None, optional
        Of each file how many bytes of its rows need not be parsed, and what they hold: good rows, of `ROW_SCHEMA`.

    Returns
    -------
    Parsed
        Prices sorted by symbol and date. Every row is in prices or in quarantine: a row with a null or unparsable
        value, with a negative or fractional volume, or with a date that comes again further down.

    Examples
    --------
    >>> rows = b"2020-01-03,1,1,1,1,1,5\\n2020-01-02,1,1,1,1,1,5\\n2020-01-06,,,,,,\\n"
    >>> parsed = parse([Source("stocks/A.csv", "A", None, "", 0, Body(b"", 3))], memoryview(rows), [len(rows)])
    >>> parsed.prices["Date"].to_pylist()[0], parsed.quarantine.to_pylist()[0]["reason"]
    (datetime.date(2020, 1, 2), 'null value: Open, High, Low, Close, Adj Close, Volume')
    """
    starts = [0, *ends[:-1]]
    per_file = np.array([source.body.rows for source in sources], dtype=np.int64)
    rows = (
        _parse_rest(joined, starts, ends, per_file, known)
        if any(known)
        else _parse_files(joined, starts, ends, per_file)
    )
    table = pa.concat_tables(rows.tables) if rows.tables else ROW_SCHEMA.empty_table()
    raw = RowTexts([joined[start:end] for start, end in zip(starts, ends, strict=True)])
    at = zip(rows.bad.items(), places(rows.bad, per_file), strict=True)
    bad = {row: reason or _refusal(raw.line(*place)) for (row, reason), place in at}
    return account(sources, table, bad, raw.shown)


def account(sources: Sequence[Source], table: pa.Table, bad: dict[int, str], raw: Callable[[int, int], str]) -> Parsed:
    """Make prices of rows that have been read, and account for each of them.

    Parameters
    ----------
    sources : sequence of Source
        In symbol order; no two of one symbol.
    table : pyarrow.Table
        Of `lib.data.schema.COLUMNS`: the good rows, in the order of the sources.
    bad : dict of int to str
        By number among all rows: why a row is not good; `BLANK` for what is no row.
    raw : callable
        From the index of a source and the number of a row within it to the row's text.
    """
    per_file = np.array([source.body.rows for source in sources], dtype=np.int64)
    bad_rows = np.sort(np.fromiter(bad, np.int64, len(bad)))
    blank = np.array([row for row, reason in bad.items() if reason == BLANK], dtype=np.int64)
    bad = {row: reason for row, reason in bad.items() if reason != BLANK}
    good = per_file - _count(_file_of(per_file, bad_rows), len(sources))
    dates = table["Date"].cast(pa.int32()).to_numpy()
    cut = _cut_volumes(sources, table["Volume"], good, per_file, bad_rows)

    def number(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers of good rows among all rows: a row's position among the good ones, and how many bad ones stand before it."""
        # A bad row stands before a good one if no more good rows come before it than before that one.
        return positions + np.searchsorted(bad_rows - np.arange(len(bad_rows)), positions, side="right")

    back = np.flatnonzero(dates[1:] <= dates[:-1])  # from the last row of a file to the first of the next, too
    before, after = _file_of(good, back), _file_of(good, back + 1)
    out_of_order = _count(before[(before == after) & (dates[back + 1] < dates[back])], len(sources))
    kept, order, repeated = good, None, np.zeros(0, dtype=np.int64)
    if (before == after).any():
        order, repeated = _order(dates, np.repeat(np.arange(len(sources), dtype=np.int32), good))
        for position, row in zip(repeated.tolist(), number(repeated).tolist(), strict=True):
            day = datetime.date.fromordinal(int(dates[position]) - FIRST_DATE + 1)
            bad[row] = f"repeated date: {day} comes again further down"
        kept = good - _count(_file_of(good, repeated), len(sources))
        table, dates = table.take(pa.array(order)), dates[order]

    counts, contradicting = _odd_counts(table, kept)
    contradiction: dict[int, str] = {}
    for file, position in contradicting.items():
        row = int(number(np.array([position if order is None else order[position]]))[0])
        [(_, within)] = places([row], per_file)
        contradiction[file] = _example(_line_number(sources[file].body, within), raw(file, within))
    counts |= {
        "dates_out_of_order": out_of_order,
        "no_last_newline": np.array([source.body.unfinished for source in sources], dtype=np.int64),
        "cut_volume": cut,
    }
    quarantine, why = _quarantine(sources, bad, per_file, raw)
    read = per_file + np.array([len(source.body.set_aside) for source in sources], dtype=np.int64)
    read -= _count(_file_of(per_file, blank), len(sources))
    counts |= {"rows_read": read, "rows_kept": kept, "rows_quarantined": read - kept}
    counts["rows_repeated"] = _count(_file_of(good, repeated), len(sources))
    return Parsed(
        prices=_prices(sources, table, kept),
        quarantine=quarantine,
        files=_files(sources, dates, counts, why, contradiction),
    )


def merged(parts: Sequence[Parsed]) -> Parsed:
    """Put what was made of different symbols together, in symbol order."""
    if len(parts) == 1:
        return parts[0]
    prices = pa.concat_tables(part.prices for part in parts).unify_dictionaries()
    symbols = prices["Symbol"].combine_chunks()
    if isinstance(symbols, pa.ChunkedArray):
        symbols = symbols.chunk(0)
    _, ranks = np.unique(np.array(symbols.dictionary.to_pylist(), dtype=object), return_inverse=True)
    codes = ranks.astype(np.int32)[symbols.indices.to_numpy()]
    files = pa.concat_tables(part.files for part in parts).sort_by([("symbol", "ascending"), ("file", "ascending")])
    quarantine = pa.concat_tables(part.quarantine for part in parts)
    rank = {name: number for number, name in enumerate(files["file"].to_pylist())}
    order = np.array([rank.get(name, len(rank)) for name in quarantine["file"].to_pylist()], dtype=np.int64)
    return Parsed(
        prices.take(pa.array(np.argsort(codes, kind="stable"))),
        quarantine.take(pa.array(np.argsort(order, kind="stable"))),
        files,
    )


_FEW = 100  # bad rows of a block
_FILES = dict(zip(schema.FILES.names, schema.FILES.types, strict=True))
ROW_SCHEMA = pa.schema([schema.PRICES.field(name).with_nullable(True) for name in COLUMNS])
_READ = pa.csv.ReadOptions(column_names=list(COLUMNS), use_threads=False, block_size=1 << 22)
_PARSE = pa.csv.ParseOptions(quote_char=False)
# Volume is read as a float64 because pandas writes 123.0 wherever a file has one null row; empty fields become nulls.
_CONVERT = pa.csv.ConvertOptions(
    column_types={**{name: pa.float64() for name in COLUMNS[1:]}, "Date": pa.date32()}, null_values=[""]
)


def _strict(block: memoryview | bytes) -> pa.Table | None:
    """Parse a block by Arrow; None when it holds anything Arrow does not take or a volume that a float64 might round."""
    try:
        table = pa.csv.read_csv(pa.BufferReader(pa.py_buffer(block)), _READ, _PARSE, _CONVERT)
    except pa.ArrowInvalid:
        return None
    if _extreme(np.fmax, table["Volume"]) >= EXACT:
        return None
    return None if _extreme(np.fmin, table["Date"].cast(pa.int32())) < FIRST_DATE else table


def _extreme(of: np.ufunc, column: pa.ChunkedArray) -> float:
    """The largest or least of a column's numbers and zero, in a twentieth of the time that Arrow takes."""
    found = [of.reduce(chunk.to_numpy(zero_copy_only=False)) for chunk in column.chunks if len(chunk)]
    return float(of.reduce(found, initial=0))


def _parse_files(
    joined: memoryview, starts: Sequence[int], ends: Sequence[int], per_file: npt.NDArray[np.int64]
) -> _Rows:
    rows = _Rows()
    total = int(per_file.sum())
    if total == 0:
        return rows
    table = _strict(joined[: ends[-1]])
    if table is not None and table.num_rows == total:
        rows.add(table)
        return rows
    for start, end, count in zip(starts, ends, per_file, strict=True):
        _parse_block(joined[start:end], int(count), rows)
    return rows


def _parse_rest(
    joined: memoryview,
    starts: Sequence[int],
    ends: Sequence[int],
    per_file: npt.NDArray[np.int64],
    known: Sequence[tuple[int, pa.Table] | None],
) -> _Rows:
    """As `_parse_files`, but for the rows that are known."""
    there = [each or (0, ROW_SCHEMA.empty_table()) for each in known]
    rest = [joined[start + length : end] for start, end, (length, _) in zip(starts, ends, there, strict=True)]
    rest_ends = np.cumsum([len(text) for text in rest]).tolist()
    known_rows = np.array([table.num_rows for _, table in there], dtype=np.int64)
    count = per_file - known_rows
    parsed = _parse_files(memoryview(b"".join(rest)), [0, *rest_ends[:-1]], rest_ends, count)
    bad = np.fromiter(parsed.bad, np.int64, len(parsed.bad))
    file_of_bad = _file_of(count, bad)
    good = (count - _count(file_of_bad, len(there))).tolist()
    table = pa.concat_tables(parsed.tables) if parsed.tables else ROW_SCHEMA.empty_table()
    following = (np.cumsum(good) - good).tolist()
    rows = _Rows(count=int(per_file.sum()))
    for (_, before), start, length in zip(there, following, good, strict=True):
        rows.tables += [before, table.slice(start, length)]
    # A bad row's number among all rows also counts the known rows of its file and of the files before.
    numbers = bad + np.cumsum(known_rows)[file_of_bad]
    rows.bad = dict(zip(numbers.tolist(), parsed.bad.values(), strict=True))
    return rows


def _parse_block(block: memoryview, count: int, rows: _Rows) -> None:
    """Parse ``count`` rows, by halves where the strict parse refuses."""
    if count == 0:
        return
    table = _strict(block)
    if table is not None and table.num_rows == count:
        rows.add(table)
        return
    middle = bytes(block).find(b"\n", len(block) // 2) + 1
    if len(block) > _ROW_BY_ROW and 0 < middle < len(block):
        first = bytes(block[:middle]).count(b"\n")
        _parse_block(block[:middle], first, rows)
        _parse_block(block[middle:], count - first, rows)
        return
    good = []
    for line in bytes(block).split(b"\n")[:-1]:
        row = parse_row(line)
        if isinstance(row, str):
            rows.bad[rows.count] = row
        else:
            good.append(row)
        rows.count += 1
    columns = [pa.array([row[i] for row in good], kind) for i, kind in enumerate(ROW_SCHEMA.types)]
    rows.tables.append(pa.table(columns, schema=ROW_SCHEMA))


def _without_bad_values(table: pa.Table) -> tuple[pa.Table, list[int]]:
    """Make a strictly parsed table one of `ROW_SCHEMA`, without its bad rows, and give their positions.

    Bad is a row with a null, with a number that is not finite, or with a negative or fractional volume.
    """
    volume = table["Volume"]
    doubts = [column.is_null() for column in table.columns if column.null_count]
    # A sum is finite only if all its terms are: the cheap question first.
    for column in table.columns[1:]:
        total = pc.sum(column).as_py()
        if total is not None and not math.isfinite(total):
            doubts.append(pc.invert(pc.is_finite(column)))
    if _extreme(np.fmin, volume) < 0:
        doubts.append(pc.less(volume, 0))
    try:
        table = table.set_column(6, "Volume", volume.cast(pa.int64()))
    except pa.ArrowInvalid:
        doubts.append(pc.not_equal(pc.floor(volume), volume))
    positions: list[int] = []
    if doubts:
        # A comparison is null only where a value is, and there `is_null` is true: so no null is left.
        # (`fill_null` imports pandas: a sixth of a second in each worker.)
        bad = functools.reduce(pc.or_kleene, doubts)
        positions = np.flatnonzero(bad.to_numpy()).tolist()
        table = _without_rows(table, bad, positions)
    return table.set_column(6, "Volume", table["Volume"].cast(pa.int64())), positions


def _without_rows(table: pa.Table, bad: pa.ChunkedArray, positions: list[int]) -> pa.Table:
    """Leave out the bad rows, at ``positions``. A few cost no copy: what stands between them is kept as it is."""
    if len(positions) > _FEW:
        return table.filter(pc.invert(bad))
    starts, ends = [0, *(position + 1 for position in positions)], [*positions, table.num_rows]
    return pa.concat_tables(table.slice(start, end - start) for start, end in zip(starts, ends, strict=True))


def _refusal(line: bytes) -> str:
    """Why a row that the strict parse let through is bad."""
    reason = parse_row(line)
    assert isinstance(reason, str), f"parse_row accepts what the strict parse found bad: {line!r}"
    return reason


def _order(
    dates: npt.NDArray[np.int32], file_of_row: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows by file and date, each date once (the last that was read), and the rows left out, in the order read."""
    order = np.lexsort((dates, file_of_row))  # stable: the last row read of a date stays last
    repeated = np.zeros(len(order), dtype=bool)
    repeated[:-1] = (np.diff(dates[order]) == 0) & (np.diff(file_of_row[order]) == 0)
    return order[~repeated], np.sort(order[repeated])


def _cut_volumes(
    sources: Sequence[Source],
    volume: pa.ChunkedArray,
    good: npt.NDArray[np.int64],
    per_file: npt.NDArray[np.int64],
    bad_rows: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """One for each file whose last line has no newline, and a volume far below those before: its last digits may be cut off."""
    found = np.zeros(len(sources), dtype=np.int64)
    ends, raw_ends = np.cumsum(good), np.cumsum(per_file)
    for file, source in enumerate(sources):
        if source.body.unfinished and good[file] > 1 and raw_ends[file] - 1 not in bad_rows:
            last = volume.slice(ends[file] - min(good[file], 31), min(good[file], 31)).to_numpy()
            found[file] = _CUT * last[-1] < np.median(last[:-1])
    return found


def _prices(sources: Sequence[Source], table: pa.Table, kept: npt.NDArray[np.int64]) -> pa.Table:
    """The rows kept, with each one's symbol and security name."""
    symbol_of_row = np.repeat(np.arange(len(sources), dtype=np.int32), kept)
    names: dict[str | None, int] = {}  # in order of appearance
    name_of_file = [names.setdefault(source.security_name, len(names)) for source in sources]
    name_of_row = np.repeat(np.array(name_of_file, dtype=np.int32), kept)
    # A null is a missing index: as a dictionary entry it would not survive Parquet.
    unnamed = name_of_row == names[None] if None in names else None
    columns = [
        pa.DictionaryArray.from_arrays(
            pa.array(symbol_of_row), pa.array([source.symbol for source in sources], pa.string())
        ),
        pa.DictionaryArray.from_arrays(
            pa.array(name_of_row, mask=unnamed),
            pa.array(["" if name is None else name for name in names], pa.string()),
        ),
        *table.columns,
    ]
    fields = [field.with_type(column.type) for field, column in zip(schema.PRICES, columns, strict=True)]
    return pa.table(columns, schema=pa.schema(fields))


def _quarantine(
    sources: Sequence[Source], bad: dict[int, str], per_file: npt.NDArray[np.int64], raw: Callable[[int, int], str]
) -> tuple[pa.Table, dict[int, tuple[str, str | None]]]:
    """The rows set aside; and by file the first reason with the commonest code, with the row that it is given for."""
    records: list[tuple[int, int | None, str, str, str | None, str]] = []
    for number, source in enumerate(sources):
        reason = source.body.refused
        if reason is not None:
            lines = source.body.set_aside or ((None, None),)  # a file without rows still gets its record
            records += [(number, line, code(reason), reason, text, source.file) for line, text in lines]
    for reason, (number, position) in zip(bad.values(), places(bad, per_file), strict=True):
        source = sources[number]
        name = source.file if source.body.files is None else source.files[source.body.files[position]]
        at = _line_number(source.body, position)
        records.append((number, at, code(reason), reason, raw(number, position), name))
    records.sort(key=lambda record: (record[0], record[1] or 0))
    columns = [[record[i] for record in records] for i in (5, 1, 2, 3, 4)]
    table = pa.table(
        [pa.array(c, t) for c, t in zip(columns, schema.QUARANTINE.types, strict=True)], schema=schema.QUARANTINE
    )
    first: dict[tuple[int, str], tuple[str, str | None]] = {}
    for number, line, kind, reason, text, _ in records:
        if (number, kind) not in first:
            first[number, kind] = reason, None if line is None else _example(line, text or "")
    why: dict[int, tuple[str, str | None]] = {}
    for (number, kind), _ in Counter((number, kind) for number, _, kind, *_ in records).most_common():
        why.setdefault(number, first[number, kind])
    return table, why


def _odd_counts(
    table: pa.Table, kept: npt.NDArray[np.int64]
) -> tuple[dict[str, npt.NDArray[np.int64]], dict[int, int]]:
    """Count each file's odd values; of the files that contradict themselves, find the first row that does."""
    ends = np.cumsum(kept)
    starts = ends - kept
    counts = {name: np.zeros(len(kept), dtype=np.int64) for name in (*schema.ODD, "contradictions")}
    first: dict[int, int] = {}
    with_rows = np.flatnonzero(kept)
    blocks = np.flatnonzero(np.diff(starts[with_rows] // _BLOCK_ROWS)) + 1
    for files in np.split(with_rows, blocks) if len(with_rows) else []:
        start = int(starts[files[0]])
        own = starts[files] - start
        odd, high_below_low, contradicting = odd_values(table.slice(start, int(ends[files[-1]]) - start), own)
        for name, mask in (odd | {"contradictions": contradicting}).items():
            if mask.any():
                counts[name][files] = np.add.reduceat(mask, own, dtype=np.int64)
        if contradicting.any():
            reversed_ = np.add.reduceat(high_below_low, own, dtype=np.int64)
            for file, begin, several in zip(files.tolist(), own.tolist(), reversed_.tolist(), strict=True):
                if contradicts_itself(int(kept[file]), several, int(counts["contradictions"][file])):
                    first[file] = start + begin + int(np.argmax(contradicting[begin:]))
    return counts, first


def _files(
    sources: Sequence[Source],
    dates: npt.NDArray[np.int32],
    counts: dict[str, npt.NDArray[np.int64]],
    why: dict[int, tuple[str, str | None]],
    contradiction: dict[int, str],
) -> pa.Table:
    count, kept = len(sources), counts["rows_kept"]
    with_rows = np.flatnonzero(kept)
    starts = (np.cumsum(kept) - kept)[with_rows]
    first, last = np.zeros(count, dtype=np.int32), np.zeros(count, dtype=np.int32)
    first[with_rows], last[with_rows] = np.minimum.reduceat(dates, starts), np.maximum.reduceat(dates, starts)
    reasons = [why.get(number, (None, None)) for number in range(count)]
    values: dict[str, Any] = {
        "file": [source.file for source in sources],
        "symbol": [source.symbol for source in sources],
        "security_name": [source.security_name for source in sources],
        "bytes": [source.size for source in sources],
        "blake3": [source.blake3 for source in sources],
        "refused": [source.body.refused for source in sources],
        "commonest_reason": [reason for reason, _ in reasons],
        "example": [example for _, example in reasons],
        "first_date": pa.array(first, pa.int32(), mask=kept == 0).cast(pa.date32()),
        "last_date": pa.array(last, pa.int32(), mask=kept == 0).cast(pa.date32()),
        "contradiction": [contradiction.get(number) for number in range(count)],
        "layout": [source.layout for source in sources],
        "adj_close": ["Close" if source.no_adjusted else "its own" for source in sources],
        "volumes_rounded": [source.rounded for source in sources],
        **counts,
    }
    return pa.table([pa.array(values[name], kind) for name, kind in _FILES.items()], schema=schema.FILES)


def _example(line: int, text: str) -> str:
    return f"line {line:,}: {shortened(text, _LONGEST_EXAMPLE)!r}"


def _line_number(body: Body, position: int) -> int:
    return position + 2 if body.lines is None else int(body.lines[position])


def _file_of(per_file: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The file of each of some rows, by their numbers, of a table that holds ``per_file`` rows of each file."""
    return np.searchsorted(np.cumsum(per_file), rows, side="right")


def _count(file_of_row: npt.NDArray[np.integer[Any]], files: int) -> npt.NDArray[np.int64]:
    return np.bincount(file_of_row, minlength=files).astype(np.int64)


def text_of(line: bytes) -> str:
    """A line as text, shortened where it is very long."""
    return shortened(line.decode("utf-8", "backslashreplace"), LONGEST_RAW)
