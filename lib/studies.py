"""A study's datasets as pandas frames, for whoever goes on from there: ``studies.features("sample")``."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lib.locations import Location
from lib.paths import StudyPaths, no_study
from lib.storage.dataset import DatasetError, open_dataset
from lib.text import did_you_mean, near

Day = str | datetime.date


def prices(
    study: str = "sample",
    columns: Sequence[str] | None = None,
    symbols: str | Sequence[str] | None = None,
    start: Day | None = None,
    end: Day | None = None,
) -> pd.DataFrame:
    """Every row of the raw files that can be used, sorted by Symbol and Date; for the arguments see `features`."""
    return _read(study, StudyPaths(study).prices, columns, symbols, start, end)


def features(
    study: str = "sample",
    columns: Sequence[str] | None = None,
    symbols: str | Sequence[str] | None = None,
    start: Day | None = None,
    end: Day | None = None,
) -> pd.DataFrame:
    """The prices and the two features, sorted by Symbol and Date.

    Read part by part: of a large study, only what is asked for is ever in memory.

    Parameters
    ----------
    study : str
        The name of a study that has been run.
    columns : sequence of str, optional
        All, unless named.
    symbols : str or sequence of str, optional
        All, unless named. A symbol that the study lacks is an error.
    start, end : str or datetime.date, optional
        The first and the last day, both included, such as ``"2012-01-31"``.

    Returns
    -------
    pandas.DataFrame
        Date is ``datetime64[ms]``, so that ``frame["Date"] >= "2012-01-31"`` is a comparison of days.

    Raises
    ------
    KeyError
        There is no such column or symbol; the message names the nearest ones.
    ValueError
        ``start`` or ``end`` is no day.
    lib.storage.dataset.DatasetError
        There is no such study, it has not been run, or its files were changed since.
    """
    return _read(study, StudyPaths(study).features, columns, symbols, start, end)


def _read(
    study: str,
    folder: Location,
    columns: Sequence[str] | None,
    symbols: str | Sequence[str] | None,
    start: Day | None,
    end: Day | None,
) -> pd.DataFrame:
    try:
        dataset = open_dataset(folder)
    except DatasetError as error:
        if StudyPaths(study).folder.exists():
            raise
        message = f"study {study!r} has no results in {StudyPaths(study).folder.parent}; make them with: bash run_all.sh {study}"
        raise DatasetError(no_study(study) or message) from error
    wanted = None if columns is None else list(columns)
    needed = None if wanted is None else list(dict.fromkeys([*wanted, "Symbol", "Date"]))
    first, last = _day("start", start), _day("end", end)
    symbols = [symbols] if isinstance(symbols, str) else symbols
    missing = set(symbols or ())
    found = []
    for table in dataset.tables(needed, symbols or None):
        unknown = set(wanted or ()) - set(table.column_names)
        if unknown:
            known = next(dataset.schemas()).names  # the table has only those that were asked for
            hint = did_you_mean(near(min(unknown), known))
            raise KeyError(f"no column {min(unknown)!r}; there are {', '.join(known)}{hint}")
        if symbols is not None:
            table = table.filter(pc.is_in(table["Symbol"], pa.array(symbols, pa.string())))
            missing -= set(pc.unique(table["Symbol"]).to_pylist())
        if first is not None:
            table = table.filter(pc.greater_equal(table["Date"], first))
        if last is not None:
            table = table.filter(pc.less_equal(table["Date"], last))
        found.append(table if wanted is None else table.select(wanted))
    if missing:
        known = [symbol for table in dataset.tables(["Symbol"]) for symbol in pc.unique(table["Symbol"]).to_pylist()]
        raise KeyError(f"no symbol {min(missing)!r} in {dataset.folder}{did_you_mean(near(min(missing), known))}")
    frame: pd.DataFrame = pa.concat_tables(found).to_pandas(date_as_object=False)
    return frame


def _day(argument: str, day: Day | None) -> pa.Scalar | None:
    if day is None:
        return None
    try:
        return pa.scalar(datetime.date.fromisoformat(day) if isinstance(day, str) else day, pa.date32())
    except ValueError:
        raise ValueError(f"{argument} is {day!r}; allowed: a day of the calendar as YYYY-MM-DD") from None
