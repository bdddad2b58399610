"""Workbooks of spreadsheet programs (``.xlsx``, ``.xlsm``), as the CSV text that saving them would give."""

from __future__ import annotations

import csv
import datetime
import io
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from lib.data import layouts
from lib.data.members import LARGEST, LARGEST_RATIO, too_large
from lib.text import printable

_HEADER_WITHIN = 30  # lines that have cells


def as_csv(content: bytes, size: int) -> Iterator[bytes]:
    """The cells of the one sheet with prices, in blocks of at least ``size`` bytes; line n is row n of the sheet.

    A date is written 2021-01-04, with its time of day behind it unless that is midnight; a number with the digits that tell it from all others; of a
    formula its value when the workbook was saved.

    Raises
    ------
    OSError
        No workbook, or a damaged or encrypted one; several sheets have prices, or none has cells; it unpacks to too much.
    """
    import openpyxl  # a fifth of a second that only workbooks need

    warnings.filterwarnings(
        "ignore", module="openpyxl"
    )  # of features of a workbook that are not read, such as its styles
    try:
        _refuse_bomb(content)
        # As it comes, row by row: one cell far out would otherwise make a table of 17 thousand million.
        workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheets = {}
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
    except (
        Exception
    ) as error:  # of zipfile, of the XML parser, and openpyxl's own: KeyError, TypeError, ValueError, ...
        raise OSError(
            f"a workbook that cannot be read ({error}); take its password off, if it has one, or save it as CSV"
        ) from None


def _of_prices(sheets: Mapping[str, tuple[Sequence[bytes], Iterator[bytes]]]) -> Iterator[bytes]:
    """The lines of the one sheet that has any, or of the one that has a header of prices, beside notes or charts."""
    of_prices = {title: sheet for title, sheet in sheets.items() if any(map(_names_prices, sheet[0]))}
    allowed = sheets if len(sheets) == 1 else of_prices
    if len(allowed) != 1:
        names = ", ".join(map(printable, allowed or sheets)) or "none"
        kind = "with prices" if allowed else "with cells"
        raise OSError(
            f"a workbook of {len(allowed or sheets)} sheets {kind} ({names}), where one is allowed: save each that holds prices as a file of its own"
        )
    [(first, others)] = allowed.values()
    return chain(first, others)


def _names_prices(line: bytes) -> bool:
    """Whether some of a line's fields are the names of columns of prices."""
    [names] = csv.reader([line.strip(b"\n").decode("utf-8", "replace").replace("\n", " ")])
    return layouts.are_names(names)


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
    for row in sheet.iter_rows(values_only=True):
        if all(value is None for value in row):
            empty += 1
            continue
        text = io.StringIO("\n" * empty)
        text.seek(empty)
        csv.writer(text, lineterminator="\n").writerow(map(_text, row))
        yield text.getvalue().encode("utf-8", "surrogatepass")
        empty = 0


def _text(value: Any) -> Any:
    if isinstance(value, bool):  # what a program has made of a ticker
        return str(value).upper()
    midnight = isinstance(value, datetime.datetime) and value.time() == datetime.time()
    return value.date() if midnight else value
