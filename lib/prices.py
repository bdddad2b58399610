"""CSV bytes to a typed table of prices, and the rows set aside. Pure: no file is read or written here.

Files are parsed together, joined into one buffer: one strict parse by Arrow of a hundred files costs less than half
of a hundred parses. What the strict parse refuses is parsed file by file, then by halves, then row by row, so that a
bad row costs only itself. `parse_row` is the definition of a good row; the rest only gets there faster.
"""

from __future__ import annotations

import csv
import datetime
import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from lib.text import DECIMAL, shortened

COLUMNS = ("Date", "Open", "High", "Low", "Close", "Adj Close", "Volume")
HEADER = ",".join(COLUMNS).encode() + b"\n"

# Only a security name may be missing. That the other columns have no nulls saves every reader and writer their marks.
SCHEMA = pa.schema(
    [
        pa.field("Symbol", pa.string(), nullable=False),
        pa.field("Security Name", pa.string()),
        pa.field("Date", pa.date32(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in COLUMNS[1:6]),
        pa.field("Volume", pa.int64(), nullable=False),
    ]
)
QUARANTINE_SCHEMA = pa.schema(
    [("file", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string())]
)
FILES_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("symbol", pa.string()),
        ("security_name", pa.string()),
        ("bytes", pa.int64()),
        ("blake3", pa.string()),
        ("rows_read", pa.int64()),
        ("rows_kept", pa.int64()),
        ("rows_quarantined", pa.int64()),
        ("refused", pa.string()),  # why the file was set aside whole; null for a file that was read
        ("first_date", pa.date32()),
        ("last_date", pa.date32()),
        ("dates_out_of_order", pa.int64()),
        ("adj_close_not_positive", pa.int64()),
        ("high_below_low", pa.int64()),
        ("zero_volume", pa.int64()),
    ]
)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NULLS = {"", "nan", "null", "none", "na", "n/a", "nat"}
_FIRST_DATE = -719162  # 0001-01-01 in days since 1970: Arrow reads year 0, Python and Parquet's readers do not
_EXACT = 2.0**53  # beyond it a float64 does not hold every whole number
_ROW_BY_ROW = 4096  # bytes: a block this small is read by `parse_row`
_LONGEST_RAW = 10_000  # characters of a raw line that quarantine keeps


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
    """

    text: bytes
    rows: int = 0
    lines: npt.NDArray[np.int64] | None = None
    refused: str | None = None
    set_aside: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Source:
    """One file to parse.

    Parameters
    ----------
    file : str
        Its name in the archive, such as ``stocks/AAPL.csv``.
    symbol : str
    security_name : str or None
    blake3 : str
        Of the whole file.
    size : int
        Bytes of the whole file.
    body : Body
        Its rows, or why it has none; the text itself may stand elsewhere.
    """

    file: str
    symbol: str
    security_name: str | None
    blake3: str
    size: int
    body: Body


@dataclass(frozen=True)
class Parsed:
    """What `parse` returns.

    Parameters
    ----------
    prices : pyarrow.Table
        Of `SCHEMA`: the rows kept. Its two string columns are dictionary-encoded; Parquet stores them as plain strings all
        the same.
    quarantine : pyarrow.Table
        Of `QUARANTINE_SCHEMA`: the rows set aside.
    files : pyarrow.Table
        Of `FILES_SCHEMA`: an account of each file.
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

    Parameters
    ----------
    content : bytes
        The whole file.

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
        return Body(b"", refused=reason, set_aside=tuple((number, _text(line)) for number, line in rows))
    if not rows:
        return Body(b"", refused="no rows: the header stands alone")
    return Body(
        b"".join(line + b"\n" for _, line in rows),
        len(rows),
        lines=np.fromiter((number for number, _ in rows), np.int64, len(rows)),
    )


def parse(sources: Sequence[Source], joined: memoryview, ends: Sequence[int]) -> Parsed:
    """Parse the rows of several files.

    Parameters
    ----------
    sources : sequence of Source
        In symbol order; the files of one symbol stand together.
    joined : memoryview
        Their rows, as `split_body` cuts them, back to back.
    ends : sequence of int
        Where each file's rows end in ``joined``; a refused file has none.

    Returns
    -------
    Parsed
        Prices sorted by symbol and date. Every row is in prices or in quarantine: a row with a null or unparsable
        value, with a negative or fractional volume, or with a date that the symbol already has.

    Examples
    --------
    >>> rows = b"2020-01-03,1,1,1,1,1,5\\n2020-01-02,1,1,1,1,1,5\\n2020-01-06,,,,,,\\n"
    >>> parsed = parse([Source("stocks/A.csv", "A", None, "", 0, Body(b"", 3))], memoryview(rows), [len(rows)])
    >>> parsed.prices["Date"].to_pylist()[0], parsed.quarantine.to_pylist()[0]["reason"]
    (datetime.date(2020, 1, 2), 'null value: Open, High, Low, Close, Adj Close, Volume')
    """
    starts = [0, *ends[:-1]]
    per_file = np.array([source.body.rows for source in sources], dtype=np.int64)
    rows = _parse_files(joined, starts, ends, per_file)
    table = pa.concat_tables(rows.tables) if rows.tables else _ROW_SCHEMA.empty_table()
    raw = _RawRows(joined, starts, ends, per_file)
    bad = {row: reason or _refusal(raw.line(row)) for row, reason in rows.bad.items()}
    bad_rows = np.sort(np.fromiter(bad, np.int64, len(bad)))
    kept = per_file - _count(_file_of(per_file, bad_rows), len(sources))
    dates = table["Date"].cast(pa.int32()).to_numpy()
    symbols, symbol_of_file = _codes([source.symbol for source in sources])

    back = np.flatnonzero(dates[1:] <= dates[:-1])  # from the last row of a symbol to the first of the next, too
    before, after = _file_of(kept, back), _file_of(kept, back + 1)
    out_of_order = _count(before[(before == after) & (dates[back + 1] < dates[back])], len(sources))
    order = None
    if (symbol_of_file[before] == symbol_of_file[after]).any():
        order, repeated = _order(dates, np.repeat(symbol_of_file, kept))
        for position in repeated.tolist():
            # Its number among all rows: as many bad ones stand before it as have no more kept rows before them.
            row = position + int(np.searchsorted(bad_rows - np.arange(len(bad_rows)), position, side="right"))
            bad[row] = f"repeated date: {datetime.date.fromordinal(int(dates[position]) - _FIRST_DATE + 1)}"
        first = np.ones(len(dates), dtype=bool)
        first[repeated] = False
        order = (np.cumsum(first) - 1)[order]
        kept -= _count(_file_of(kept, repeated), len(sources))
        table, dates = table.filter(pa.array(first)), dates[first]

    table_of_prices = _prices(sources, table, kept, symbols, symbol_of_file)
    return Parsed(
        prices=table_of_prices if order is None else table_of_prices.take(pa.array(order)),
        quarantine=_quarantine(sources, bad, raw),
        files=_files(sources, table, kept, dates, per_file, out_of_order),
    )


def parse_row(line: bytes) -> tuple[datetime.date, float, float, float, float, float, int] | str:
    """Read one row, slowly and exactly: the definition of what a good row is.

    Parameters
    ----------
    line : bytes
        The row without its newline.

    Returns
    -------
    tuple or str
        Date, open, high, low, close, adjusted close (float64, the nearest to the text) and volume (int); or why the row
        is refused.

    Examples
    --------
    >>> parse_row(b"2020-01-02,1,2,.5,1.5,1.5,123.0")
    (datetime.date(2020, 1, 2), 1.0, 2.0, 0.5, 1.5, 1.5, 123)
    >>> parse_row(b"2020-01-02,1,2,.5,1.5,1.5,-3")
    "negative volume: '-3'"
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte {line[error.start]:#04x} at position {error.start + 1}"
    try:
        fields = next(csv.reader([text]), []) if '"' in text else text.split(",")
    except csv.Error as error:
        return f"unparsable row: {error}"
    if len(fields) != len(COLUMNS):
        return f"wrong number of fields: {len(fields)}, expected {len(COLUMNS)}"
    fields = [value.strip(" \t") for value in fields]
    nulls = [name for name, value in zip(COLUMNS, fields, strict=True) if value.lower() in _NULLS]
    if nulls:
        return f"null value: {', '.join(nulls)}"
    try:
        date = datetime.date.fromisoformat(fields[0]) if _DATE.fullmatch(fields[0]) else None
    except ValueError:
        date = None
    if date is None:
        return f"unparsable date: {shortened(fields[0], 40)!r}, expected YYYY-MM-DD"
    numbers = []
    for name, value in zip(COLUMNS[1:], fields[1:], strict=True):
        number = float(value) if DECIMAL.fullmatch(value) else math.nan
        if not math.isfinite(number):
            return f"unparsable value: {name} is {shortened(value, 40)!r}"
        numbers.append(number)
    volume = numbers.pop()
    if volume < 0:
        return f"negative volume: {shortened(fields[6], 40)!r}"
    exact = Decimal(volume) if volume < _EXACT else Decimal(fields[6])
    if exact >= 2**63:
        return f"volume too large: {shortened(fields[6], 40)!r}"
    if exact != exact.to_integral_value():
        return f"fractional volume: {shortened(fields[6], 40)!r}"
    opening, high, low, close, adjusted = numbers
    return date, opening, high, low, close, adjusted, int(exact)


_FEW = 100  # bad rows of a block
_ROW_SCHEMA = pa.schema([SCHEMA.field(name).with_nullable(True) for name in COLUMNS])
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
    if _extreme(np.fmax, table["Volume"]) >= _EXACT:
        return None
    return None if _extreme(np.fmin, table["Date"].cast(pa.int32())) < _FIRST_DATE else table


def _extreme(of: np.ufunc, column: pa.ChunkedArray) -> float:
    """The largest or least of a column's numbers and zero. In a twentieth of the time that Arrow takes."""
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
        first = _count_rows(block[:middle])
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
    columns = [pa.array([row[i] for row in good], kind) for i, kind in enumerate(_ROW_SCHEMA.types)]
    rows.tables.append(pa.table(columns, schema=_ROW_SCHEMA))


def _without_bad_values(table: pa.Table) -> tuple[pa.Table, list[int]]:
    """Make a strictly parsed table one of `_ROW_SCHEMA`, without its bad rows, and give their places.

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
    places: list[int] = []
    if doubts:
        # A doubt is null only where a null is doubted too. (`fill_null` imports pandas: a sixth of a second in each worker.)
        bad = functools.reduce(pc.or_kleene, doubts)
        places = np.flatnonzero(bad.to_numpy()).tolist()
        table = _without_rows(table, bad, places)
    return table.set_column(6, "Volume", table["Volume"].cast(pa.int64())), places


def _without_rows(table: pa.Table, bad: pa.ChunkedArray, places: list[int]) -> pa.Table:
    """Leave out the bad rows, at ``places``. A few cost no copy: what stands between them is kept as it is."""
    if len(places) > _FEW:
        return table.filter(pc.invert(bad))
    starts, ends = [0, *(place + 1 for place in places)], [*places, table.num_rows]
    return pa.concat_tables(table.slice(start, end - start) for start, end in zip(starts, ends, strict=True))


def _refusal(line: bytes) -> str:
    """Why a row that the strict parse let through is bad."""
    reason = parse_row(line)
    assert isinstance(reason, str), f"parse_row accepts what the strict parse found bad: {line!r}"
    return reason


def _order(
    dates: npt.NDArray[np.int32], symbol_of_row: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows by symbol and date, each date once (the first that was read), and the rows left out."""
    order = np.lexsort((dates, symbol_of_row))  # stable: the first row read of a date stays first
    repeated = np.zeros(len(order), dtype=bool)
    repeated[1:] = (np.diff(dates[order]) == 0) & (np.diff(symbol_of_row[order]) == 0)
    return order[~repeated], order[repeated]


class _RawRows:
    """The raw text of rows by number; newlines are looked for only in the files that are asked for."""

    def __init__(
        self, joined: memoryview, starts: Sequence[int], ends: Sequence[int], per_file: npt.NDArray[np.int64]
    ) -> None:
        self._joined, self._starts, self._ends = joined, starts, ends
        self._first_row = np.concatenate([[0], np.cumsum(per_file)])
        self._per_file = per_file
        self._line_ends: dict[int, npt.NDArray[np.int64]] = {}

    def place(self, row: int) -> tuple[int, int]:
        """The file of a row, and the row's number within it, from 0."""
        file = int(_file_of(self._per_file, np.array([row]))[0])
        return file, row - int(self._first_row[file])

    def line(self, row: int) -> bytes:
        file, number = self.place(row)
        if file not in self._line_ends:
            text = np.frombuffer(self._joined[self._starts[file] : self._ends[file]], dtype=np.uint8)
            self._line_ends[file] = np.flatnonzero(text == ord("\n"))
        ends = self._line_ends[file]
        start = self._starts[file] + (int(ends[number - 1]) + 1 if number else 0)
        return bytes(self._joined[start : self._starts[file] + int(ends[number])])


def _prices(
    sources: Sequence[Source],
    table: pa.Table,
    kept: npt.NDArray[np.int64],
    symbols: list[str | None],
    symbol_of_file: npt.NDArray[np.int32],
) -> pa.Table:
    """The rows kept, still in the order of the files, with each one's symbol and security name."""
    names, name_of_file = _codes([source.security_name for source in sources])
    name_of_row = np.repeat(name_of_file, kept)
    # A null is a missing index: as a dictionary entry it would not survive Parquet.
    unnamed = name_of_row == names.index(None) if None in names else None
    columns = [
        pa.DictionaryArray.from_arrays(pa.array(np.repeat(symbol_of_file, kept)), pa.array(symbols, pa.string())),
        pa.DictionaryArray.from_arrays(
            pa.array(name_of_row, mask=unnamed),
            pa.array(["" if name is None else name for name in names], pa.string()),
        ),
        *table.columns,
    ]
    fields = [field.with_type(column.type) for field, column in zip(SCHEMA, columns, strict=True)]
    return pa.table(columns, schema=pa.schema(fields))


def _quarantine(sources: Sequence[Source], bad: dict[int, str], raw: _RawRows) -> pa.Table:
    records: list[tuple[int, int | None, str, str | None]] = []
    for number, source in enumerate(sources):
        if source.body.refused is not None:
            lines = source.body.set_aside or ((None, None),)  # a file without rows still gets its record
            records += [(number, line, source.body.refused, text) for line, text in lines]
    for row, reason in bad.items():
        number, position = raw.place(row)
        lines_of_file = sources[number].body.lines
        line = position + 2 if lines_of_file is None else int(lines_of_file[position])
        records.append((number, line, reason, _text(raw.line(row))))
    records.sort(key=lambda record: (record[0], record[1] or 0))
    columns = [
        [sources[number].file for number, *_ in records],
        *([record[i] for record in records] for i in (1, 2, 3)),
    ]
    return pa.table(
        [pa.array(c, t) for c, t in zip(columns, QUARANTINE_SCHEMA.types, strict=True)], schema=QUARANTINE_SCHEMA
    )


def _files(
    sources: Sequence[Source],
    table: pa.Table,
    kept: npt.NDArray[np.int64],
    dates: npt.NDArray[np.int32],
    per_file: npt.NDArray[np.int64],
    out_of_order: npt.NDArray[np.int64],
) -> pa.Table:
    count = len(sources)
    read = per_file + np.array([len(source.body.set_aside) for source in sources], dtype=np.int64)
    ends = np.cumsum(kept)
    with_rows = np.flatnonzero(kept)
    starts = (ends - kept)[with_rows]
    first, last = np.zeros(count, dtype=np.int32), np.zeros(count, dtype=np.int32)
    first[with_rows], last[with_rows] = np.minimum.reduceat(dates, starts), np.maximum.reduceat(dates, starts)

    def odd(mask: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        rows = pc.indices_nonzero(mask).to_numpy()
        return np.diff(np.searchsorted(rows, ends.astype(rows.dtype)), prepend=0)

    columns = [
        [source.file for source in sources],
        [source.symbol for source in sources],
        [source.security_name for source in sources],
        [source.size for source in sources],
        [source.blake3 for source in sources],
        read,
        kept,
        read - kept,
        [source.body.refused for source in sources],
        pa.array(first, pa.int32(), mask=kept == 0).cast(pa.date32()),
        pa.array(last, pa.int32(), mask=kept == 0).cast(pa.date32()),
        out_of_order,
        odd(pc.less_equal(table["Adj Close"], 0)),
        odd(pc.less(table["High"], table["Low"])),
        odd(pc.equal(table["Volume"], 0)),
    ]
    return pa.table([pa.array(c, t) for c, t in zip(columns, FILES_SCHEMA.types, strict=True)], schema=FILES_SCHEMA)


def _codes(values: Sequence[str | None]) -> tuple[list[str | None], npt.NDArray[np.int32]]:
    """The distinct values in order of appearance, and each value's place among them."""
    places: dict[str | None, int] = {}
    codes = np.fromiter((places.setdefault(value, len(places)) for value in values), np.int32, len(values))
    return list(places), codes


def _file_of(per_file: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The file of each of some rows, by their numbers, of a table that holds ``per_file`` rows of each file."""
    return np.searchsorted(np.cumsum(per_file), rows, side="right")


def _count(file_of_row: npt.NDArray[np.integer[Any]], files: int) -> npt.NDArray[np.int64]:
    return np.bincount(file_of_row, minlength=files).astype(np.int64)


def _count_rows(block: memoryview) -> int:
    return int(np.count_nonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")))


def _text(line: bytes) -> str:
    return shortened(line.decode("utf-8", "backslashreplace"), _LONGEST_RAW)
