"""``forecasts.csv``, as all that shows or serves it reads it: one row a symbol and horizon, checked whole.

The standard library alone: every visitor of the dashboard has a process of their own, which must stay small.
"""

from __future__ import annotations

import csv
import io
import math
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from lib.features.definitions import VOLUME_AVERAGE

COLUMNS = (
    *("Symbol", "Security Name", "as_of", "for_from", "for_to", "horizon"),
    *("forecast", "low", "high", VOLUME_AVERAGE.name, "ratio", "stale", "judged"),
)
KEYS = tuple(column.lower().replace(" ", "_") for column in COLUMNS)  # the columns' names in JSON
LARGEST = 2**62  # shares: what a larger forecast is cut off at


def read(path: Path) -> list[dict[str, Any]]:
    """Read a study's forecasts.

    Returns
    -------
    list of dict
        In the file's order, each with the keys `KEYS`: days as ISO text, counts as int, ``vol_moving_avg`` and ``ratio``
        (None where the average is 0) as float, ``security_name`` None where there is none.

    Raises
    ------
    FileNotFoundError
        The study has no forecasts yet.
    ValueError
        The file is not such a table; the message has the line and the column.
    """
    try:
        return _checked(csv.reader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path.name}: {error}; make it again: bash run_all.sh {path.parent.name}") from None


def _checked(lines: Any) -> list[dict[str, Any]]:
    """The rows of a CSV reader, every one of them right."""
    header: list[str] = next(lines, [])
    if missing := [column for column in COLUMNS if header.count(column) != 1]:
        raise ValueError(f"line 1: the header must have {missing[0]} once")
    positions = [header.index(column) for column in COLUMNS]
    rows, seen = [], set()
    for cells in lines:
        where = f"line {lines.line_num}"
        if len(cells) != len(header):
            raise ValueError(f"{where}: {len(cells)} cells; the header has {len(header)}")
        row = _row(dict(zip(COLUMNS, (cells[position] for position in positions), strict=True)), where)
        key = (row["symbol"], row["horizon"])
        if key in seen:
            raise ValueError(f"{where}: {key[0]} has horizon {key[1]} more than once")
        seen.add(key)
        rows.append(row)
    if not rows:
        raise ValueError("it has no rows")
    return rows


def _row(cells: dict[str, str], where: str) -> dict[str, Any]:
    def read(column: str, kind: Any, what: str) -> Any:
        try:
            return kind(cells[column])
        except ValueError:
            raise ValueError(f"{where}: {column} is {cells[column][:40]!r}; allowed: {what}") from None

    days = {name: read(name, date.fromisoformat, "a date as YYYY-MM-DD") for name in ("as_of", "for_from", "for_to")}
    counts = {name: read(name, _count, "a whole number from 0") for name in ("horizon", "forecast", "low", "high")}
    average = read(VOLUME_AVERAGE.name, _amount, "a number from 0")
    ratio = read("ratio", lambda text: _amount(text) if text else None, "a number from 0, or nothing")
    flags = {name: read(name, _flag, "true or false") for name in ("stale", "judged")}
    if not cells["Symbol"]:
        raise ValueError(f"{where}: Symbol is empty")
    if counts["horizon"] == 0:
        raise ValueError(f"{where}: horizon is 0; allowed: 1 session ahead or more")
    ordered = (("low", "forecast", "high"), ("as_of", "for_from", "for_to"))
    for names, values in zip(ordered, (counts, days), strict=True):
        for first, second in pairwise(names):
            if not values[first] <= values[second]:
                raise ValueError(f"{where}: {first} {values[first]} is above {second} {values[second]}")
    return {
        "symbol": cells["Symbol"],
        "security_name": cells["Security Name"] or None,
        **{name: str(day) for name, day in days.items()},
        **counts,
        VOLUME_AVERAGE.name: average,
        "ratio": ratio,
        **flags,
    }


def _flag(text: str) -> bool:
    return bool(("false", "true").index(text.lower()))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= LARGEST):
        raise ValueError(text)
    return int(text)


def _amount(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value
