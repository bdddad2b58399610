"""The columns of price files in any layout to good rows, and why the other rows are not good. Pure.

`rows_of_table` converts whole columns at once; `parse_fields`, the definition of a good row, then says of each row in doubt
what is wrong with it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lib.data import column_names, dates_and_numbers
from lib.data.headers import VALUES, is_header
from lib.data.plans import Plan, fields_of, without
from lib.data.rows import BLANK, EXACT, FIRST_DATE, RowTexts, another_header, of_header, places
from lib.text import shortened

_ERRORS = {"#N/A", "#REF!", "#VALUE!", "#NAME?", "#NULL!", "#NUM!", "#DIV/0!"}  # of a spreadsheet's formula
_SPREADSHEET_DAY = re.compile(r"[1-9]\d{4}(\.\d+)?", re.ASCII)


@dataclass
class Rows:
    """The rows of some files.

    Parameters
    ----------
    table : pyarrow.Table
        The good rows, in the order of the files: `VALUES`, and Symbol and Security Name where the files have them.
    counts : numpy.ndarray of int64
        The rows of each file, good and bad.
    bad : dict of int to str
        Among all rows, from 0: why a row is not good.
    bad_symbols : dict of int to str
        The symbols of the bad rows, where the rows say so.
    lines : list of numpy.ndarray
        For each file, the line of each of its rows.
    raw : callable
        From a file and the number of a row within it to the row's text: see `lib.data.rows.RowTexts.shown`.
    no_adjusted : numpy.ndarray of bool
        Of each file: Adj Close is Close, as it has none.
    rounded : numpy.ndarray of bool
        Of each good row: its volume was rounded.
    """

    table: pa.Table
    counts: npt.NDArray[np.int64]
    bad: dict[int, str]
    bad_symbols: dict[int, str]
    lines: list[npt.NDArray[np.int64]]
    raw: Callable[[int, int], str]
    no_adjusted: npt.NDArray[np.bool_]
    rounded: npt.NDArray[np.bool_]


def parse_fields(fields: Sequence[str], plan: Plan) -> tuple[int, float, float, float, float, float, int] | str:
    """Read one row, slowly and exactly: the definition of what a good row is.

    Returns
    -------
    tuple or str
        Days since 1970, open, high, low, close, adjusted close and volume; or why the row is refused.
    """
    columns = plan.reading.columns
    # As spreadsheets leave behind, and files put one after the other.
    if not any(field.strip() for field in fields) or is_header(fields, plan.header):
        return BLANK
    if plan.header_lines and len(fields) == len(plan.header) and column_names.are_texts(fields):
        return another_header(plan.header)
    if reason := of_header(fields, plan.header, columns):
        return reason
    if len(fields) != len(plan.header):
        return f"wrong number of fields: {len(fields)}, expected {len(plan.header)}"
    found = {name: fields[columns[name]].strip() for name in VALUES if name in columns}
    nulls = [name for name, text in found.items() if dates_and_numbers.is_null(text)]
    if nulls:
        return f"null value: {', '.join(nulls)}"
    moment = dates_and_numbers.parse_date(found["Date"], plan.order)
    if moment is None or moment.day < FIRST_DATE:
        expected = "YYYY-MM-DD" if plan.plain_dates else "a date such as the others"
        if _SPREADSHEET_DAY.fullmatch(found["Date"]):
            expected = (
                "a date; where a spreadsheet shows days as numbers, format the column as dates and save it as CSV again"
            )
        return f"unparsable date: {shortened(found['Date'], 40)!r}, expected {expected}"
    numbers: dict[str, Decimal] = {}
    for name in VALUES[1:]:
        if name in found:
            number = dates_and_numbers.parse_number(found[name], plan.mark)
            if number is None or abs(number) > Decimal("1.7e308"):
                return f"unparsable value: {name} is {shortened(found[name], 40)!r}"
            numbers[name] = number
    numbers.setdefault("Adj Close", numbers["Close"])
    text = shortened(found["Volume"], 40)
    volume = numbers["Volume"]
    if plan.volume_unit != 1:
        volume /= Decimal(repr(plan.volume_unit))
    if volume < 0:
        return f"negative volume: {text!r}"
    if volume >= 2**63:
        return f"volume too large: {text!r}"
    whole = volume.to_integral_value()  # half to even
    if whole != volume and not plan.rounded:
        return f"fractional volume: {text!r}"
    opening, high, low, close, adjusted = (float(numbers[name]) for name in VALUES[1:6])
    return moment.day, opening, high, low, close, adjusted, int(whole)


def rows_of_table(
    table: pa.Table,
    plan: Plan,
    counts: npt.NDArray[np.int64],
    lines: list[npt.NDArray[np.int64]],
    raw: RowTexts,
) -> Rows:
    """Convert the columns of some files, and look for the rows that are not good.

    Parameters
    ----------
    table : pyarrow.Table
        Under the names of `VALUES`: each column typed, or as text.
    """
    columns: dict[str, pa.Array] = {}
    dates = table["Date"]
    if pa.types.is_date32(dates.type):
        columns["Date"] = dates_and_numbers.whole(dates)
    else:
        columns["Date"] = dates_and_numbers.dates(dates, plan.order)
    for name in VALUES[1:]:
        if name in table.schema.names:
            column = table[name]
            columns[name] = (
                dates_and_numbers.numbers(column, plan.mark)
                if pa.types.is_string(column.type)
                else dates_and_numbers.whole(column)
            )
    no_adjusted = np.ones(len(counts), dtype=bool)
    if "Adj Close" in columns:
        columns["Adj Close"], no_adjusted = _adjusted(columns, table["Adj Close"], counts)
    else:
        columns["Adj Close"] = columns["Close"]
    volume, fractional = _volumes(columns["Volume"], plan)
    doubts = [column.is_null() for column in columns.values() if column.null_count]
    for name in VALUES[1:]:
        total = pc.sum(columns[name]).as_py()
        if total is not None and not np.isfinite(total):
            doubts.append(pc.invert(pc.is_finite(columns[name])))
    extreme = (volume < 0) | ~(volume < EXACT)
    if not plan.rounded:
        extreme |= fractional
    days = columns["Date"].cast(pa.int32()).fill_null(0).to_numpy()
    bad = extreme | (days < FIRST_DATE)
    for doubt in doubts:
        bad |= doubt.fill_null(True).to_numpy(zero_copy_only=False)
    symbols = _symbols(table)
    if symbols is not None:
        columns["Symbol"] = symbols
        bad |= symbols.is_null().to_numpy(zero_copy_only=False)
    columns["Volume"] = pa.array(np.where(bad, 0, volume).astype(np.int64))
    if "Security Name" in table.schema.names:
        columns["Security Name"] = dates_and_numbers.whole(table["Security Name"])
    reasons, repaired = _reasons(np.flatnonzero(bad), plan, counts, raw, symbols, no_adjusted)
    rows = _set_rows(columns, repaired)
    good = np.ones(table.num_rows, dtype=bool)
    good[list(reasons)] = False
    bad_symbols = (
        {} if symbols is None else {row: text for row in reasons if (text := symbols[row].as_py()) is not None}
    )
    return Rows(
        rows if len(reasons) == 0 else rows.filter(pa.array(good)),
        counts,
        reasons,
        bad_symbols,
        lines,
        raw.shown,
        no_adjusted,
        fractional[good] & plan.rounded,
    )


def _adjusted(
    columns: Mapping[str, pa.Array], texts: pa.ChunkedArray, counts: npt.NDArray[np.int64]
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Adj Close, which is Close in the files whose column of that name is empty."""
    adjusted = columns["Adj Close"]
    if not adjusted.null_count and not (pa.types.is_string(texts.type) and pc.any(pc.is_nan(adjusted)).as_py()):
        return adjusted, np.zeros(len(counts), dtype=bool)
    empty = np.asarray(texts.is_null().to_numpy())
    if pa.types.is_string(texts.type):
        empty |= np.asarray(
            pc.is_in(
                pc.utf8_lower(pc.ascii_trim_whitespace(texts)), value_set=pa.array(sorted(dates_and_numbers.NULLS))
            ).to_numpy()
        )
    starts = np.concatenate([[0], np.cumsum(counts)])
    none = np.array([bool(empty[a:b].all()) and b > a for a, b in itertools.pairwise(starts)], dtype=bool)
    if none.any():
        adjusted = pc.if_else(pa.array(np.repeat(none, counts)), columns["Close"], adjusted)
    return adjusted, none


def _volumes(column: pa.Array, plan: Plan) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Volumes in the plan's unit, whole ones rounded half to even, and which of them had a fraction."""
    volume = np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    if plan.volume_unit != 1:
        volume = volume / plan.volume_unit
    whole = np.rint(volume)
    tolerance = 1e-9 * np.maximum(1, np.abs(volume)) if plan.volume_unit != 1 else 0
    with np.errstate(invalid="ignore"):
        fractional = np.abs(volume - whole) > tolerance
    return np.where(np.isnan(volume), np.nan, whole), fractional


def _symbols(table: pa.Table) -> pa.Array | None:
    """The symbols of rows that say theirs, as a dictionary; a series other than EQ is a symbol of its own."""
    if "Symbol" not in table.schema.names:
        return None
    symbols = dates_and_numbers.encoded(table["Symbol"])
    texts = symbols.dictionary.to_pylist()
    names = [None if text is None or text.strip() in _ERRORS else symbol_text(text) for text in texts]
    if "Series" in table.schema.names:
        series = dates_and_numbers.encoded(table["Series"])
        codes = [(text or "").strip() for text in series.dictionary.to_pylist()]
        if set(codes) - {"EQ", ""}:
            pairs = pa.StructArray.from_arrays([symbols.indices, series.indices], ["symbol", "series"]).to_pylist()
            texts = [
                None
                if pair["symbol"] is None or names[pair["symbol"]] is None
                else names[pair["symbol"]]
                if pair["series"] is None or codes[pair["series"]] in ("EQ", "")
                else f"{names[pair['symbol']]}-{codes[pair['series']]}"
                for pair in pairs
            ]
            return pa.array(texts, pa.string()).dictionary_encode()
    # Two texts may be one symbol: encode again.
    plain = pa.array([name or None for name in names], pa.string())
    return plain.take(symbols.indices).dictionary_encode()


def symbol_text(text: str) -> str:
    """The symbol that a column's text stands for: Stooq writes AAPL.US, and an apostrophe keeps a spreadsheet from reading a number.

    Examples
    --------
    >>> symbol_text(" AAPL.US "), symbol_text("BRK.B"), symbol_text("'000001")
    ('AAPL', 'BRK.B', '000001')
    """
    text = text.strip().removeprefix("'")
    return text[:-3] if text.upper().endswith(".US") and len(text) > 3 else text


def _reasons(
    positions: npt.NDArray[np.int64],
    plan: Plan,
    counts: npt.NDArray[np.int64],
    raw: RowTexts,
    symbols: pa.Array | None,
    no_adjusted: npt.NDArray[np.bool_],
) -> tuple[dict[int, str], dict[int, tuple]]:
    """Why the rows at ``positions`` are bad, and the values of those that are good all the same (a volume beyond 2**53)."""
    reasons: dict[int, str] = {}
    good: dict[int, tuple] = {}
    plan_without = without(plan, "Adj Close")
    for row, (file, number) in zip(positions.tolist(), places(positions, counts), strict=True):
        found = parse_fields(fields_of(raw.text(file, number), plan), plan_without if no_adjusted[file] else plan)
        if isinstance(found, str):
            reasons[row] = found
        elif symbols is not None and symbols[row].as_py() is None:
            reasons[row] = "null value: Symbol"
        else:
            good[row] = found
    return reasons, good


def _set_rows(columns: dict[str, pa.Array], rows: Mapping[int, tuple]) -> pa.Table:
    """The table of some columns, in the order of `VALUES`, with a few rows set."""
    if rows:
        mask = np.zeros(len(columns["Date"]), dtype=bool)
        mask[list(rows)] = True
        in_order = sorted(rows)
        for index, name in enumerate(VALUES):
            new = pa.array([rows[row][index] for row in in_order], pa.int32() if name == "Date" else columns[name].type)
            columns[name] = pc.replace_with_mask(columns[name], pa.array(mask), new.cast(columns[name].type))
    names = [*VALUES, *(name for name in ("Symbol", "Security Name") if name in columns)]
    return pa.table([columns[name] for name in names], names=names)


def rows_of_symbol(
    table: pa.Table,
    plan: Plan,
    symbol: str,
    columns: Mapping[str, int],
    lines: npt.NDArray[np.int64],
    raw: Callable[[npt.NDArray[np.int64]], RowTexts],
) -> Rows:
    """The rows of one of several symbols side by side; where it has no value at all, it was not traded while others were.

    Parameters
    ----------
    table : pyarrow.Table
        Date, and the symbol's own columns, under the names of `VALUES`.
    columns : dict of str to int
        Which field of a row's text each of them is.
    raw : callable
        From the numbers of some rows of ``table`` to their texts.
    """
    empty = np.ones(table.num_rows, dtype=bool)
    for name in table.schema.names:
        if name != "Date":
            empty &= np.asarray(table[name].is_null().to_numpy())
    kept = np.flatnonzero(~empty)
    own = replace(plan, tickers=(), reading=replace(plan.reading, columns=columns))
    rows = rows_of_table(table.take(kept), own, np.array([len(kept)], dtype=np.int64), [lines[kept]], raw(kept))
    symbols = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows.table.num_rows, dtype=np.int32)), pa.array([symbol])
    )
    return replace(rows, table=rows.table.append_column("Symbol", symbols), bad_symbols=dict.fromkeys(rows.bad, symbol))


def no_rows(files: int) -> Rows:
    """What files without a row give."""
    kinds = [pa.date32(), *[pa.float64()] * 5, pa.int64()]
    table = pa.table([pa.array([], kind) for kind in kinds], names=list(VALUES))
    zeros = np.zeros(files, dtype=np.int64)
    nothing = [zeros[:0] for _ in range(files)]
    return Rows(table, zeros, {}, {}, nothing, lambda file, row: "", zeros.astype(bool), np.zeros(0, dtype=bool))


def concatenated(parts: Sequence[Rows]) -> Rows:
    """The rows of several files, read apart, as if they had been read together."""
    if len(parts) == 1:
        return parts[0]
    first_row = 0
    bad: dict[int, str] = {}
    bad_symbols: dict[int, str] = {}
    of_file: list[tuple[Rows, int]] = []
    for part in parts:
        bad.update((first_row + row, reason) for row, reason in part.bad.items())
        bad_symbols.update((first_row + row, symbol) for row, symbol in part.bad_symbols.items())
        of_file += [(part, file) for file in range(len(part.counts))]
        first_row += int(part.counts.sum())
    names = max((part.table.schema.names for part in parts), key=len)
    tables = [part.table for part in parts if part.table.num_rows and part.table.schema.names == names]
    return Rows(
        pa.concat_tables(tables) if tables else parts[0].table,
        np.concatenate([part.counts for part in parts]),
        bad,
        bad_symbols,
        [lines for part in parts for lines in part.lines],
        lambda file, row: of_file[file][0].raw(of_file[file][1], row),
        np.concatenate([part.no_adjusted for part in parts]),
        np.concatenate([part.rounded for part in parts]),
    )


def as_one_file(parts: Sequence[Rows]) -> Rows:
    """The rows of several symbols of one file, and those of no symbol, as those of one file."""
    merged = concatenated(parts)
    return replace(
        merged,
        counts=np.array([merged.counts.sum()], dtype=np.int64),
        lines=[np.concatenate(merged.lines)],
        raw=lambda file, row: merged.raw(*places([row], merged.counts)[0]),
        no_adjusted=np.array([all(part.no_adjusted.all() for part in parts if part.table.num_rows)]),
    )
