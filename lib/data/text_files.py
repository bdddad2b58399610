"""The bytes of text files in any layout to rows. Pure.

`read_rows` reads files that share a plan together, by Arrow. What that refuses is read again file by file, then line by
line, so that a bad row costs only itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from lib.data import column_names, dates_and_numbers
from lib.data.columns import Rows, as_one_file, concatenated, no_rows, parse_fields, rows_of_symbol, rows_of_table
from lib.data.headers import VALUES, is_header, split_line
from lib.data.plans import Plan, fields_of, to_utf8
from lib.data.rows import BLANK, RowTexts, another_header, places

_SEPARATOR = "\x1f"  # between the fields of lines that have been split
_SPLIT = pa.csv.ParseOptions(delimiter=_SEPARATOR, quote_char=False)
_NULL_TEXTS = sorted(
    {spelling for null in dates_and_numbers.NULLS for spelling in (null, null.upper(), null.capitalize(), "NaN")}
)


@dataclass(frozen=True)
class Body:
    """The rows of a file, from line ``first_line`` on: UTF-8, each line ended by a newline; and the lines before them."""

    text: bytes
    first_line: int
    header: tuple[str, ...] = ()


def read_rows(bodies: Sequence[Body], plan: Plan) -> Rows:
    """Read the rows of files that share a plan, each as `body_of` cuts it."""
    if not bodies:
        return no_rows(0)
    if plan.tickers:
        return concatenated([_read_wide(body, plan) for body in bodies])
    # A column of numbers is read as text, and then converted, in a time that hardly differs: so where one must be, all are.
    for own in dict.fromkeys((plan, replace(plan, plain_dates=False, texts=True))):
        if rows := _read_together(bodies, own):
            return _without_headers(rows, bodies, plan)
    if len(bodies) > 1:
        return concatenated([read_rows([body], plan) for body in bodies])
    return _without_headers(_read_by_line(bodies[0], plan), bodies, plan)


def _without_headers(rows: Rows, bodies: Sequence[Body], plan: Plan) -> Rows:
    """The rows without lines of their file's own header of two levels once more, which the plan that several files share does not know."""
    if rows.bad and plan.header_lines:
        in_order = sorted(rows.bad)
        for row, (file, first) in zip(in_order, places(in_order, rows.counts), strict=True):
            own = [line for line in bodies[file].header if line.strip()]
            numbers = range(first, min(first + len(own), int(rows.counts[file])))
            if own and [rows.raw(file, number) for number in numbers] == own:
                rows.bad.update((row + number, BLANK) for number in range(len(own)))
    return rows


def body_of(content: bytes, plan: Plan) -> Body:
    """Cut the header off a file's content, or off its beginning."""
    text = to_utf8(content, plan.encoding)
    position = 0
    for _ in range(plan.skip):
        position = text.find(b"\n", position) + 1
        if position == 0:
            return Body(b"", plan.skip + 1)
    header = text[:position].decode("utf-8", "backslashreplace").split("\n")[:-1]
    return Body(ended(text[position:]), plan.skip + 1, tuple(header))


def ended(text: bytes) -> bytes:
    """Lines, the last of which is ended by a newline, too."""
    return text if not text or text.endswith(b"\n") else text + b"\n"


def _without_dollars(text: bytes, plan: Plan) -> bytes:
    return text.translate(None, b"$") if b"$" in text and "Symbol" not in plan.reading.columns else text


def _as_written(text: bytes, plan: Plan) -> pa.csv.ParseOptions:
    """How Arrow splits lines; to look for quotes where there are none takes longer."""
    return pa.csv.ParseOptions(delimiter=plan.delimiter, quote_char='"' if b'"' in text else False)


def _read_together(bodies: Sequence[Body], plan: Plan) -> Rows | None:
    """Read the rows of several files as one; None where Arrow takes them for something else than as many rows."""
    counts = np.array([np.count_nonzero(np.frombuffer(body.text, np.uint8) == ord("\n")) for body in bodies])
    joined = _without_dollars(b"".join(body.text for body in bodies), plan)
    if not joined:
        return no_rows(len(bodies))
    table = _by_arrow(joined, plan, _as_written(joined, plan))
    if table is None or table.num_rows != counts.sum():
        return None
    raw = RowTexts([body.text for body in bodies])
    lines = [np.arange(body.first_line, body.first_line + count) for body, count in zip(bodies, counts, strict=True)]
    return rows_of_table(table, plan, counts, lines, raw)


def _by_arrow(text: bytes, plan: Plan, written: pa.csv.ParseOptions) -> pa.Table | None:
    columns = plan.reading.columns
    names = {name: f"c{index}" for name, index in columns.items()}
    types = dict.fromkeys(names.values(), pa.dictionary(pa.int32(), pa.string()))
    types |= {names[name]: pa.string() if plan.texts else pa.float64() for name in VALUES[1:] if name in names}
    if plan.plain_dates:
        types[names["Date"]] = pa.date32()
    # A series only tells symbols apart.
    symbols = [name for name in ("Symbol", "Series") if name in names] if "Symbol" in names else []
    wanted = [name for name in (*VALUES, *symbols, "Security Name") if name in names]
    table = _read_csv(text, plan, written, [names[name] for name in wanted], types)
    if table is None:
        return None
    table = table.rename_columns(wanted)
    for name in symbols:
        if table[name].null_count:  # NAN, NA, NULL and NONE are tickers, and NA is a series
            again = _read_csv(text, plan, written, [names[name]], types, nulls=("",))
            table = table if again is None else table.set_column(wanted.index(name), name, again.column(0))
    return table


def _read_csv(
    text: bytes,
    plan: Plan,
    written: pa.csv.ParseOptions,
    wanted: list[str],
    types: Mapping[str, pa.DataType],
    nulls: Sequence[str] = _NULL_TEXTS,
) -> pa.Table | None:
    """The columns ``wanted``, which are named after their indices; None where the text is not of these types."""
    columns = [f"c{index}" for index in range(len(plan.header))]
    try:
        return pa.csv.read_csv(
            pa.BufferReader(text),
            pa.csv.ReadOptions(column_names=columns, use_threads=False, block_size=max(1 << 22, 64 * len(columns))),
            written,
            pa.csv.ConvertOptions(
                column_types=dict(types),
                include_columns=wanted,
                null_values=list(nulls),
                strings_can_be_null=True,
                decimal_point="," if plan.mark == "comma" else ".",
            ),
        )
    except pa.ArrowInvalid:
        return None


@dataclass(frozen=True)
class _Lines:
    """The lines of a file that are rows, and the fields of those that have as many as the header."""

    rows: npt.NDArray[np.int64]  # numbers of the lines, from 0
    fitting: npt.NDArray[np.int64]  # positions among the rows
    headers: frozenset[int]  # of the lines, those that begin another header
    text: bytes  # the fields, with _SEPARATOR between


def _by_line(body: Body, plan: Plan) -> _Lines:
    """Look at a file line by line: blank lines, comments and headers that come again are no rows."""
    width = len(plan.header)
    texts: list[str] = []
    numbers: list[int] = []
    fitting: list[int] = []
    lines = body.text.decode("utf-8", "backslashreplace").split("\n")[:-1]
    again, headers = _headers(lines, plan) if plan.tickers else (frozenset[int](), frozenset[int]())
    for number, line in enumerate(lines):
        if number in again or not line.strip(f"{plan.delimiter} \t"):
            continue
        fields = fields_of(line, plan)
        if line.startswith("#") and len(fields) != width:  # or it is a row, such as one of the symbol #N/A
            continue
        if not any(text.strip() for text in fields) or is_header(fields, plan.header):
            continue
        if (
            len(fields) == width
            and number not in headers
            and not any(_SEPARATOR in text or "\n" in text for text in fields)
        ):
            fitting.append(len(numbers))
            texts.append(_SEPARATOR.join(text.strip() for text in fields) + "\n")
        numbers.append(number)
    return _Lines(
        np.array(numbers, dtype=np.int64), np.array(fitting, dtype=np.int64), headers, "".join(texts).encode()
    )


def _headers(lines: Sequence[str], plan: Plan) -> tuple[frozenset[int], frozenset[int]]:
    """Of a file with columns for several symbols: the numbers of the lines that are its header once more, and of those in another."""
    own = list(plan.header_lines)
    again: set[int] = set()
    others: set[int] = set()
    for number, line in enumerate(lines):
        fields = split_line(line, plan.delimiter)
        if not fields[-1].strip(" ()\"'")[:1].isalpha() or not (
            column_names.are_names(fields) or column_names.of_each_symbol(fields)
        ):
            continue
        first = number - own.index(line.strip()) if line.strip() in own else -1
        if first >= 0 and [text.strip() for text in lines[first : first + len(own)]] == own:
            again.update(range(first, first + len(own)))
        else:
            others.add(number)
    return frozenset(again), frozenset(others)


def _read_by_line(body: Body, plan: Plan) -> Rows:
    found = _by_line(body, plan)
    raw = RowTexts([body.text], [found.rows])
    lines = found.rows + body.first_line
    if len(found.fitting):
        table = _by_arrow(found.text, replace(plan, plain_dates=False, texts=True), _SPLIT)
        assert table is not None and table.num_rows == len(found.fitting), "its fields have been counted"
        inner = RowTexts([body.text], [found.rows[found.fitting]])
        rows = rows_of_table(table, plan, np.array([len(found.fitting)], dtype=np.int64), [lines[found.fitting]], inner)
    else:
        rows = no_rows(1)
    bad = {int(found.fitting[row]): reason for row, reason in rows.bad.items()}
    for row in np.setdiff1d(np.arange(len(found.rows)), found.fitting).tolist():
        reason = parse_fields(fields_of(raw.text(0, row), plan), plan)
        bad[row] = reason if isinstance(reason, str) else "unparsable row: it has a control character"
    return replace(
        rows,
        counts=np.array([len(found.rows)], dtype=np.int64),
        bad=bad,
        bad_symbols={int(found.fitting[row]): symbol for row, symbol in rows.bad_symbols.items()},
        lines=[lines],
        raw=raw.shown,
    )


def _read_wide(body: Body, plan: Plan) -> Rows:
    """Read a file that has columns for several symbols: a line is a row of each symbol that has a value there."""
    text = _without_dollars(body.text, plan)
    lines = np.arange(text.count(b"\n"))
    table = _all_columns(text, plan, _as_written(text, plan), pa.float64())
    strays: list[Rows] = []
    if table is None or table.num_rows != len(lines):
        found = _by_line(body, plan)
        lines = found.rows[found.fitting]
        table = _all_columns(found.text, plan, _SPLIT, pa.string())
        assert table is not None and table.num_rows == len(lines), "its fields have been counted"
        others = np.setdiff1d(found.rows, lines)
        strays = [_strays(body, others, plan, found.headers)] if len(others) else []
    long, texts = [], lambda rows: RowTexts([body.text], [lines[rows]])
    for ticker, own in plan.tickers:
        fields = {"Date": plan.reading.columns["Date"], **dict(own)}
        columns = table.select([f"c{index}" for index in fields.values()]).rename_columns(list(fields))
        long.append(rows_of_symbol(columns, plan, ticker, fields, lines + body.first_line, texts))
    return as_one_file([*long, *strays])


def _strays(body: Body, numbers: npt.NDArray[np.int64], plan: Plan, headers: frozenset[int]) -> Rows:
    """The lines, by their numbers, that have another number of fields than the header, or begin another."""
    raw = RowTexts([body.text], [numbers])
    bad = {}
    for row, number in enumerate(numbers.tolist()):
        if number in headers:
            bad[row] = another_header(plan.header_lines[:1])
            continue
        reason = parse_fields(fields_of(raw.text(0, row), plan), plan)
        bad[row] = reason if isinstance(reason, str) else "unparsable row"
    return replace(
        no_rows(1),
        counts=np.array([len(numbers)], dtype=np.int64),
        bad=bad,
        lines=[numbers + body.first_line],
        raw=raw.shown,
    )


def _all_columns(text: bytes, plan: Plan, written: pa.csv.ParseOptions, kind: pa.DataType) -> pa.Table | None:
    date = f"c{plan.reading.columns['Date']}"
    types = {f"c{index}": kind for _, own in plan.tickers for _, index in own}
    types[date] = pa.dictionary(pa.int32(), pa.string())
    return _read_csv(text, plan, written, list(types), types)
