"""Workbooks of spreadsheet programs (``.xlsx``, ``.xlsm``), as the CSV text that saving them would give."""

from __future__ import annotations

import csv
import datetime
import io
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count, islice, takewhile
from typing import Any

from lib.data import column_names
from lib.data.members import LARGEST, LARGEST_RATIO, too_large
from lib.text import printable

_HEADER_WITHIN = 30  # lines that have cells
_LONGEST_CELL = 32_767  # characters that Excel allows
_MERGED = re.compile(rb'mergeCell ref="(?P<column>[A-Z]{1,3})(?P<first>\d{1,7}):(?P=column)(?P<last>\d{1,7})"')
_MOST_MERGED = 1 << 17
# What sheets are called that hold one symbol's prices, or some of them.
_YEAR, _PART = re.compile(r"(19|20)\d\d([ _-].*)?"), re.compile(r"Q[1-4]|Q[1-4][ _-].*|.* \(\d+\)")
_NAMES_OF_PARTS = (
    "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC DAILY WEEKLY MONTHLY OLD NEW RAW ADJUSTED NASDAQ NYSE XETRA LSE"
)
_KINDS = frozenset(_NAMES_OF_PARTS.split())


def as_csv(content: bytes, size: int) -> Iterator[bytes]:
    """The cells of the one sheet with prices, in blocks of at least ``size`` bytes; line n is row n of the sheet.

    Of several sheets, each called as a symbol and with the same columns, one table is made, with a column Symbol.

    A date is written 2021-01-04, with its time of day behind it unless that is midnight; a number with the digits that tell it from all others; of a
    formula its value when the workbook was saved.

    Raises
    ------
    OSError
        No workbook, or a damaged or encrypted one; several sheets have prices, or none has cells; it unpacks to too much.
    """
    import openpyxl  # a fifth of a second that only workbooks need

    # Of features of a workbook that are not read, such as its styles.
    warnings.filterwarnings("ignore", module="openpyxl")
    try:
        _refuse_bomb(content)
        # As it comes, row by row: one cell far out would otherwise make a table of 17 thousand million.
        workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheets = {}
        if len({sheet._worksheet_path for sheet in workbook.worksheets}) < len(workbook.worksheets):
            raise OSError("a workbook that cannot be read: several of its sheets are the same one; save it as CSV")
        for sheet in workbook.worksheets:
            lines = _lines(sheet)
            if first := list(islice(lines, _HEADER_WITHIN)):
                sheets[sheet.title] = first, lines
        block = bytearray()
        for line in _of_prices(sheets):
            block += line
            if len(block) >= size:
                yield bytes(block)
                block.clear()
        yield bytes(block)
    except OSError:
        raise
    except Exception as error:  # zipfile's, the XML parser's, and openpyxl's own: KeyError, TypeError, ValueError, ...
        raise OSError(
            f"a workbook that cannot be read ({error}); take its password off, if it has one, or save it as CSV"
        ) from None


def _of_prices(sheets: Mapping[str, tuple[Sequence[bytes], Iterator[bytes]]]) -> Iterator[bytes]:
    """The lines of the one sheet that has any, or of those with a header of prices, beside notes or charts."""
    of_prices = {title: sheet for title, sheet in sheets.items() if any(map(_names_prices, sheet[0]))}
    allowed = sheets if len(sheets) == 1 else of_prices
    if len(allowed) == 1:
        [(first, others)] = allowed.values()
        return chain(first, others)
    if len(of_prices) > 1 and (lines := _of_symbols(of_prices)):
        return lines
    names = ", ".join(map(printable, allowed or sheets)) or "none"
    kind = "with prices" if allowed else "with cells"
    raise OSError(
        f"a workbook of {len(allowed or sheets)} sheets {kind} ({names}), where one is allowed, or one for each symbol, named after it in "
        "capitals and with the same columns: save each that holds prices as a file of its own"
    )


def _of_symbols(sheets: Mapping[str, tuple[Sequence[bytes], Iterator[bytes]]]) -> Iterator[bytes] | None:
    """The lines of sheets with the same columns as those of one table; None where neither a column nor the sheets' names say the symbols."""
    begins = {
        title: next(n for n, line in enumerate(first) if _names_prices(line)) for title, (first, _) in sheets.items()
    }
    headers = {first[begins[title]].strip(b"\n") for title, (first, _) in sheets.items()}
    with_symbols = any(column_names.is_certainly("Symbol", name) for name in _fields(min(headers)))
    symbols = all(column_names.is_symbol(title) and not _PART.fullmatch(title) for title in sheets)
    symbols &= not all(map(_YEAR.fullmatch, sheets))
    if len(headers) > 1 or not (with_symbols or (symbols and not _KINDS.issuperset(sheets))):
        return None
    prefixes = {title: b"" if with_symbols else _row([title]).strip(b"\n") + b"," for title in sheets}
    rows = (
        prefixes[title] + line.strip(b"\n") + b"\n"
        for title, (first, others) in sheets.items()
        for line in chain(first[begins[title] + 1 :], others)
    )
    return chain([(b"" if with_symbols else b"Symbol,") + min(headers) + b"\n"], rows)


def _names_prices(line: bytes) -> bool:
    """Whether some of a line's fields are the names of columns of prices."""
    return column_names.are_names(_fields(line))


def _fields(line: bytes) -> list[str]:
    [fields] = csv.reader([line.strip(b"\n").decode("utf-8", "replace").replace("\n", " ")])
    return fields


def _row(cells: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(map(_text, cells))
    return text.getvalue().encode("utf-8", "surrogatepass")


def _refuse_bomb(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        unpacked = sum(member.file_size for member in packed.infolist())
    if unpacked > LARGEST:
        raise OSError(too_large(unpacked))
    if unpacked > max(1 << 20, LARGEST_RATIO * len(content)):
        raise OSError(f"unpacks to more than {LARGEST_RATIO} times its {len(content):,} bytes, as a bomb does")


def _lines(sheet: Any) -> Iterator[bytes]:
    """The rows of a sheet as lines of CSV, without those at the end that have no value."""
    sheet.reset_dimensions()  # which rows and columns there are, as a program has written it there, may be wrong
    empty = 0
    merged = _merged_down(sheet)
    values: dict[int, tuple[int, Any]] = {}  # by column: up to which row a merged cell reaches, and what is in it
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        values |= {column: (last, row[column]) for column, last in merged.get(number, []) if column < len(row)}
        if values:
            filled = list(row)
            for column, (last, value) in values.items():
                if number <= last and column < len(row) and row[column] is None and len(str(value)) <= _LONGEST_CELL:
                    filled[column] = value
            row = filled
        if all(value is None for value in row):
            empty += 1
            continue
        yield b"\n" * empty + _row(row)
        empty = 0


def _merged_down(sheet: Any) -> dict[int, list[tuple[int, int]]]:
    """Cells merged with those below them, as pandas writes an index of two levels, in the first columns: by their row, the column, from 0, and the last row."""
    from openpyxl.utils import column_index_from_string

    merged: dict[int, list[tuple[int, int]]] = {}
    with sheet.parent._archive.open(sheet._worksheet_path) as file:  # openpyxl 3.1 does not read them row by row
        for found in islice(_MERGED.finditer(file.read()), _MOST_MERGED):
            column = column_index_from_string(found["column"].decode()) - 1
            merged.setdefault(int(found["first"]), []).append((column, int(found["last"])))
    columns = {column for cells in merged.values() for column, _ in cells}
    leading = set(takewhile(columns.__contains__, count()))
    return {row: [cell for cell in cells if cell[0] in leading] for row, cells in merged.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bool):  # what a program has made of a ticker
        return str(value).upper()
    midnight = isinstance(value, datetime.datetime) and value.time() == datetime.time()
    return value.date() if midnight else value
