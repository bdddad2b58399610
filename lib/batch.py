"""Predictions for a file of pairs: CSV bytes in, CSV text out, and what is wrong with which row."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field

import numpy as np

from lib.inputs import INPUTS, InputError, number
from lib.predictor import PredictionInputError, Predictor

MAX_BYTES = 10 * 2**20
MAX_ROWS = 200_000
RESULTS = ("prediction", "low", "high", "in_training_range", "error")
EXAMPLE = "vol_moving_avg,adj_close_rolling_med\n12345,25\n2500000,41.5\n86000000,530\n"


class BatchError(ValueError):
    """A file of which no row can be read; the message says what to change."""


@dataclass
class Batch:
    """The rows of a file, with a prediction or a reason for each.

    Parameters
    ----------
    header : list of str
        The file's column names.
    rows : list of list of str
        The file's cells.
    results : list of list
        For each row the values of `RESULTS`: three integers, a bool and "", or four empty texts and the error.
    errors : list of (int, str)
        The line in the file, counted from 1, and what is wrong with it.
    """

    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    results: list[list[object]] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)

    def csv(self) -> str:
        """The file's rows with the results appended."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*self.header, *RESULTS])
        writer.writerows([*row, *result] for row, result in zip(self.rows, self.results, strict=True))
        return text.getvalue()


def predict_file(predictor: Predictor, content: bytes) -> Batch:
    """Predict every row of a CSV file.

    Parameters
    ----------
    predictor : Predictor
    content : bytes
        UTF-8 with a header that has both inputs' names, in any order; other columns are kept. Or no header and two columns:
        ``vol_moving_avg`` and ``adj_close_rolling_med``.

    Returns
    -------
    Batch

    Raises
    ------
    BatchError
        Too large, not text, no rows, or a header without an input.
    """
    if len(content) > MAX_BYTES:
        raise BatchError(
            f"The file has {len(content) / 2**20:.1f} MiB; at most {MAX_BYTES // 2**20} MiB are read. Split it."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BatchError(f"The file is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8.") from None
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise BatchError(f"The file is not CSV: line {reader.line_num}: {error}.") from None
    if not lines:
        raise BatchError(f"The file is empty; it needs a header, {','.join(INPUTS)}, and a row for each prediction.")
    header, places = _columns(lines[0][1])
    if places is None:
        places = (0, 1)
    else:
        lines = lines[1:]
    if not lines:
        raise BatchError("The file has a header and no rows.")
    if len(lines) > MAX_ROWS:
        raise BatchError(f"The file has {len(lines):,} rows; at most {MAX_ROWS:,} are read. Split it.")
    batch = Batch(header)
    pairs: list[tuple[float, float]] = []
    good: list[int] = []
    for line, row in lines:
        batch.rows.append([*row, *[""] * (len(header) - len(row))][: len(header)])
        batch.results.append(["", "", "", "", ""])
        try:
            if len(row) != len(header):
                raise InputError("columns", f"{len(row)} columns where the header has {len(header)}")
            pair = number(INPUTS[0], row[places[0]].strip()), number(INPUTS[1], row[places[1]].strip())
            predictor.predict(*pair)
        except (InputError, PredictionInputError) as error:
            batch.results[-1][-1] = str(error)
            batch.errors.append((line, str(error)))
            continue
        pairs.append(pair)
        good.append(len(batch.rows) - 1)
    if pairs:
        volumes, prices = np.array(pairs, dtype="float64").T
        low, high = predictor.predict_interval(volumes, prices)
        inside = predictor.in_training_range(volumes, prices)
        columns = (predictor.predict(volumes, prices).tolist(), low.tolist(), high.tolist(), inside.tolist())
        for place, *values in zip(good, *columns, strict=True):
            batch.results[place][:4] = values
    return batch


def _columns(first: list[str]) -> tuple[list[str], tuple[int, int] | None]:
    """The file's column names and where the inputs are; None when the first row is no header."""
    names = [cell.strip() for cell in first]
    if all(name in names for name in INPUTS):
        for name in INPUTS:
            if names.count(name) > 1:
                raise BatchError(f"The header names {name} {names.count(name)} times; keep one.")
        return names, (names.index(INPUTS[0]), names.index(INPUTS[1]))
    if len(names) == 2:
        try:
            for name, cell in zip(INPUTS, names, strict=True):
                number(name, cell)
            return list(INPUTS), None
        except InputError:
            pass
    missing = " and ".join(name for name in INPUTS if name not in names)
    raise BatchError(f"The header has no {missing}; it has: {', '.join(names)[:200]}.")
