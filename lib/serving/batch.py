"""Predictions for a file of pairs: CSV bytes in, CSV bytes out, and what is wrong with which row."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from lib.features.definitions import INPUTS
from lib.features.inputs import InputError, written_number
from lib.models.predictor import PredictionInputError, Predictor
from lib.text import csv_cell

MAX_BYTES = 10 * 2**20
MAX_ROWS = 200_000
MAX_COLUMNS = 100
MAX_CELLS = 1_000_000  # rows times columns of the header
MAX_ANSWER_BYTES = 16 * 2**20
RESULTS = ("prediction", "low", "high", "in_training_range", "error")
EXAMPLE = f"{','.join(INPUTS)}\n12345,25\n2500000,41.5\n86000000,530\n"

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARKS = {".": "a point", ",": "a comma"}
_LOOKED_AT = 1000  # rows by which the decimal mark is decided
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class BatchError(ValueError):
    """A file of which no row can be read; the message says what to change."""


@dataclass
class Batch:
    """The rows of a file, with a prediction or a reason for each.

    Parameters
    ----------
    header : list of str
        The file's column names.
    layout : str
        How the file was read, in words: its delimiter and its decimal mark.
    rows : list of list of str
        The file's cells; a row that was refused for its number of columns has no more than the header, and may have fewer.
    results : list of list
        For each row the values of `RESULTS`: three integers, a bool and "", or four empty texts and the error.
    errors : list of (int, str)
        The line in the file, counted from 1, and what is wrong with it.
    """

    header: list[str]
    layout: str
    rows: list[list[str]] = field(default_factory=list)
    results: list[list[object]] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)

    def csv(self) -> bytes:
        """The file's rows with the results appended, in UTF-8; no cell is a formula to a spreadsheet. `BatchError` beyond `MAX_ANSWER_BYTES`."""
        content = io.BytesIO()
        # In bytes and not in a `StringIO`, which takes four for each character.
        with io.TextIOWrapper(content, encoding="utf-8", newline="", write_through=True) as text:
            writer = csv.writer(text)  # its \r\n also make it quote a lone \r, before Python 3.13 as well
            writer.writerow([csv_cell(name) for name in (*self.header, *RESULTS)])
            for row, result in zip(self.rows, self.results, strict=True):
                missing = [""] * (len(self.header) - len(row))
                writer.writerow([*map(csv_cell, row), *missing, *result])
                if content.tell() > MAX_ANSWER_BYTES:
                    raise BatchError(
                        f"The results have more than {MAX_ANSWER_BYTES // 2**20} MiB; split the file, or leave out columns."
                    )
            return content.getvalue()


def predict_file(predictor: Predictor, content: bytes) -> Batch:
    """Predict every row of a CSV file.

    Parameters
    ----------
    content : bytes
        UTF-8, or UTF-16 with a byte order mark; columns separated by comma, semicolon, tab or bar. A header with both inputs'
        names, in any order; other columns are kept. Or no header and two columns: ``vol_moving_avg`` and
        ``adj_close_rolling_med``. Numbers as `lib.features.inputs.written_number` takes them, with a decimal comma where the file
        has one.

    Raises
    ------
    BatchError
        Too large, not text, no rows, or a header without an input.
    """
    if len(content) > MAX_BYTES:
        raise BatchError(
            f"The file has {len(content) / 2**20:.1f} MiB; at most {MAX_BYTES // 2**20} MiB are read. Split it."
        )
    content = _in_utf8(content)
    delimiter, header, positions, skipped = _layout(content)
    lines = list(_rows(content, delimiter, len(header), skipped))
    if not lines:
        raise BatchError("The file has a header and no rows.")
    decimal = _decimal_mark(lines, positions) if delimiter != "," else "."
    batch = Batch(header, f"{_DELIMITERS[delimiter]} between columns and {_MARKS[decimal]} before decimals")
    pairs: list[tuple[float, float]] = []
    good: list[int] = []
    for line, row, columns in lines:
        batch.rows.append(row)
        try:
            if columns != len(header):
                raise InputError("columns", f"{columns} columns where the header has {len(header)}")
            pair = tuple(written_number(name, row[positions[name]], decimal) for name in INPUTS)
            predictor.predict(*pair)
        except (InputError, PredictionInputError) as error:
            batch.results.append(["", "", "", "", str(error)])
            batch.errors.append((line, str(error)))
            continue
        batch.results.append([])  # filled below, all rows at once
        pairs.append((pair[0], pair[1]))
        good.append(len(batch.rows) - 1)
    if pairs:
        volumes, prices = np.array(pairs, dtype="float64").T
        low, high = predictor.predict_interval(volumes, prices)
        inside = predictor.in_training_range(volumes, prices)
        results = (predictor.predict(volumes, prices).tolist(), low.tolist(), high.tolist(), inside.tolist())
        for index, *values in zip(good, *results, strict=True):
            batch.results[index] = [*values, ""]
    return batch


def _in_utf8(content: bytes) -> bytes:
    encoding = "utf-16" if content.startswith(_UTF16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise BatchError(
            f"The file is not {encoding.removesuffix('-sig').upper()} text (byte {error.start}); save it as CSV in UTF-8."
        ) from None
    if "\0" in text:
        raise BatchError("The file has NUL characters: it is no text, or in another encoding; save it as CSV in UTF-8.")
    return text.encode()


def _records(content: bytes, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the number of its last line."""
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise BatchError(f"The file is not CSV: line {reader.line_num}: {error}.") from None


def _rows(content: bytes, delimiter: str, columns: int, skipped: int) -> Iterator[tuple[int, list[str], int]]:
    """Each row's last line, cells and number of columns, within the limits; a wrong row's surplus is not kept."""
    count = 0
    for line, row in _records(content, delimiter):
        if line <= skipped:
            continue
        count += 1
        if count > MAX_ROWS:
            raise BatchError(f"The file has more than {MAX_ROWS:,} rows; no more are read. Split it.")
        if count * columns > MAX_CELLS:
            raise BatchError(
                f"The file has more than {MAX_CELLS:,} cells; split it, or leave out columns: only {' and '.join(INPUTS)} are needed."
            )
        yield line, row[:columns], len(row)


def _layout(content: bytes) -> tuple[str, list[str], dict[str, int], int]:
    """The delimiter, the column names, where the inputs are, and the last line that is no row."""
    skipped = 0
    delimiters = list(_DELIMITERS)
    first_line = content[:16].partition(b"\n")[0].decode("utf-8", "ignore").strip()
    if first_line.lower().startswith("sep=") and first_line[4:5] in _DELIMITERS:  # Excel's own
        delimiters, skipped = [first_line[4]], 1
    best: list[str] = []
    problem: BatchError | None = None
    for delimiter in delimiters:
        try:
            line, names = next(((line, row) for line, row in _records(content, delimiter) if line > skipped), (0, []))
        except BatchError as error:
            problem = problem or error
            continue
        names = [name.strip() for name in names]
        if all(name in names for name in INPUTS):
            _check_columns(names)
            for name in INPUTS:
                if names.count(name) > 1:
                    raise BatchError(f"The header names {name} {names.count(name)} times; keep one.")
            return delimiter, names, {name: names.index(name) for name in INPUTS}, line
        if len(names) == len(INPUTS) and all(any(_is_number(cell, mark) for mark in _MARKS) for cell in names):
            return delimiter, list(INPUTS), dict(zip(INPUTS, (0, 1), strict=True)), skipped
        best = max(best, names, key=len)
    if problem and not best:
        raise problem
    if not best:
        raise BatchError(f"The file is empty; it needs a header, {','.join(INPUTS)}, and a row for each prediction.")
    _check_columns(best)
    missing = " and ".join(name for name in INPUTS if name not in best)
    raise BatchError(f"The header has no {missing}; it has: {', '.join(best)[:200]}.")


def _check_columns(names: list[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise BatchError(f"The file has {len(names):,} columns; at most {MAX_COLUMNS} are read. Leave some out.")


def _is_number(cell: str, decimal: str) -> bool:
    try:
        written_number("", cell, decimal)
    except InputError:
        return False
    return True


def _decimal_mark(lines: list[tuple[int, list[str], int]], positions: dict[str, int]) -> str:
    """The mark with which more of the inputs' cells are numbers; the comma, where there is one, if both do as well."""
    cells = [row[index] for _, row, _ in lines[:_LOOKED_AT] for index in positions.values() if index < len(row)]
    taken = {mark: sum(_is_number(cell, mark) for cell in cells) for mark in _MARKS}
    if taken[","] == taken["."]:
        return "," if any("," in cell for cell in cells) else "."
    return max(_MARKS, key=lambda mark: taken[mark])
