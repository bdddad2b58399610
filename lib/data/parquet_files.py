"""Prices in Parquet files, to the same columns as `lib.data.text_files` makes of text. Reads files."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib.data import columns, headers, plans
from lib.data.columns import Rows
from lib.data.headers import VALUES, Options, Refused
from lib.data.layouts import Reading
from lib.data.plans import Plan, Sample
from lib.data.rows import RowTexts

_SAMPLE = 40  # rows


def plan_file(source: pa.NativeFile, options: Options) -> Sample:
    """Find out how a Parquet file is to be read: see `lib.data.plans.plan_file`."""
    try:
        file = pq.ParquetFile(source)
        header = tuple(file.schema_arrow.names)
        tickers, reading = headers.read_names(header, options)
        if not file.metadata.num_rows:
            raise Refused("no rows: the file has none")
        of_tickers = (index for _, own in tickers for _, index in own)
        indices = list(dict.fromkeys([*reading.columns.values(), *of_tickers]))
        wanted = tuple(header[index] for index in indices)
        times = Counter(header)
        if several := [name for name in wanted if times[name] > 1]:
            raise Refused(f"wrong header: several columns are called {several[0]!r}; give each its own name")
        table = pa.Table.from_batches([next(file.iter_batches(_SAMPLE, columns=list(wanted)))]).select(list(wanted))
    except pa.ArrowException as error:
        raise Refused(f"unreadable file: not Parquet, or damaged ({error})") from None
    for ours, index in [*reading.columns.items(), *(pair for _, own in tickers for pair in own)]:
        try:
            _column(table[header[index]], ours)
        except (pa.ArrowException, UnicodeDecodeError):
            kind = table[header[index]].type
            raise Refused(f"wrong header: {header[index]!r}, read as {ours}, holds values of the type {kind}") from None
    # The rows as text have the columns that are read, in this order.
    position = {index: number for number, index in enumerate(indices)}
    columns = {name: position[index] for name, index in reading.columns.items()}
    tickers = tuple((ticker, tuple((name, position[index]) for name, index in own)) for ticker, own in tickers)
    plan = Plan(
        "parquet",
        ",",
        0,
        wanted,
        Reading(reading.titles, columns, reading.adjusted),
        tickers,
        order=options.dates,
        rounded=options.rounded,
        volume_unit=options.volume_unit,
    )
    fields = [tuple(row) for row in _texts(table)]
    date = columns["Date"]
    if getattr(table.column(date).type, "tz", None) in ("UTC", "+00:00"):  # which the texts of times do not have
        fields = [(*row[:date], f"{row[date]}Z", *row[date + 1 :]) for row in fields]
    return plans.with_sample(plan, fields, options)


def read_row_groups(
    source: pa.NativeFile, groups: Sequence[int], first_row: int, plan: Plan, most: int
) -> Iterator[Rows]:
    """Read row groups of a file; a row's line is its number in the file, from 1.

    Parameters
    ----------
    first_row : int
        Rows of the file before them.
    most : int
        Rows to read at once, of all symbols that have columns of their own.
    """
    names = plan.reading.columns
    texts = [plan.header[names[name]] for name in ("Symbol", "Security Name", "Series") if name in names]
    file = pq.ParquetFile(source, read_dictionary=texts)
    at_once = max(1, most // max(1, len(plan.tickers)))
    for batch in file.iter_batches(at_once, row_groups=list(groups), columns=list(plan.header), use_threads=False):
        table = pa.Table.from_batches([batch]).select(list(plan.header))
        lines = np.arange(first_row + 1, first_row + table.num_rows + 1)
        first_row += table.num_rows
        if not plan.tickers:
            counts = np.array([table.num_rows], dtype=np.int64)
            yield columns.rows_of_table(_named(table, names), plan, counts, [lines], _RowTexts(table))
            continue
        parts, own_texts = [], functools.partial(_RowTexts, table)
        for ticker, own in plan.tickers:
            fields = {"Date": names["Date"], **dict(own)}
            parts.append(columns.rows_of_symbol(_named(table, fields), plan, ticker, fields, lines, own_texts))
        yield columns.as_one_file(parts)


def _named(table: pa.Table, fields: Mapping[str, int]) -> pa.Table:
    """The columns that are read, under our names, of the types that `lib.data.columns` reads."""
    return pa.table([_column(table.column(index), name) for name, index in fields.items()], names=list(fields))


def dates(content: bytes, plan: Plan) -> Iterable[str]:
    """The texts of a file's dates."""
    table = pq.read_table(pa.BufferReader(content), columns=[plan.header[plan.reading.columns["Date"]]])
    return (str(text) for text in pc.unique(table.column(0)).to_pylist())


class _RowTexts(RowTexts):
    """The rows as text, for what `lib.data.columns.parse_fields` says of them."""

    def __init__(self, table: pa.Table, rows: npt.NDArray[np.int64] | None = None) -> None:
        self._table, self._rows = table, rows

    def text(self, file: int, row: int) -> str:
        number = row if self._rows is None else int(self._rows[row])
        return ",".join(_texts(self._table.slice(number, 1))[0])


def _texts(table: pa.Table) -> list[list[str]]:
    columns = [[_text(value) for value in _readable(column).to_pylist()] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _text(value: object) -> str:
    return "" if value is None else str(value).replace(",", ";")


def _readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times without nanoseconds and zones, which Python's have not."""
    if not pa.types.is_timestamp(column.type):
        return column
    if column.type.tz:
        column = pc.local_timestamp(column)
    return column.cast(pa.timestamp("s"), safe=False)


def _column(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    kind = column.type
    if name == "Date":
        if pa.types.is_timestamp(kind) and not _has_times(column):
            return _readable(column).cast(pa.date32())
        return column if pa.types.is_date32(kind) else _readable(column).cast(pa.string())
    if name in VALUES:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return column.cast(pa.string())
        if pa.types.is_decimal(kind):  # pyarrow 26 multiplies by a power of ten: one in ten is not the nearest double
            column = column.cast(pa.string())
        column = column.cast(pa.float64(), safe=False)
        return pc.if_else(pc.is_nan(column), None, column) if pc.any(pc.is_nan(column)).as_py() else column
    return column if pa.types.is_dictionary(kind) else column.cast(pa.string())


def _has_times(column: pa.ChunkedArray) -> bool:
    seconds = _readable(column).cast(pa.int64()).drop_null().to_numpy()
    return bool((seconds % 86_400 != 0).any())
