"""What comes after each symbol's last day: forecasts by a study's models, just fitted or saved by an earlier run."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from lib import code, files, paths
from lib.compute.engine import Engine
from lib.evaluation.chunks import Chunk, chunks
from lib.evaluation.forecast_file import LARGEST
from lib.features import evening
from lib.features.definitions import AVERAGE_ROWS, VOLUME_AVERAGE
from lib.features.sessions import Calendar, continued
from lib.models import forecaster
from lib.models.examples import Floats
from lib.models.forecaster import Served
from lib.storage import dataset
from lib.storage.dataset import Dataset, StoredPart

EPOCH = datetime.date(1970, 1, 1)
LAST_DAY = 2_932_896  # 9999-12-31, the last that Python's dates have
SCHEMA = pa.schema(
    [
        pa.field("Symbol", pa.string(), nullable=False),
        pa.field("Security Name", pa.string()),
        *(pa.field(name, pa.date32(), nullable=False) for name in ("as_of", "for_from", "for_to")),
        pa.field("horizon", pa.int32(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("forecast", "low", "high")),
        pa.field(VOLUME_AVERAGE.name, pa.float64(), nullable=False),
        ("ratio", pa.float64()),
        *(pa.field(name, pa.bool_(), nullable=False) for name in ("stale", "judged")),
    ]
)


def forecasts(chunk: Chunk, evenings: evening.Evenings, calendar: Calendar, last: int, served: Served) -> pa.Table:
    """One row a symbol and horizon, from the symbol's last evening.

    Parameters
    ----------
    last : int
        The archive's last date, in days since 1970-01-01: the forecasts of symbols that end before it are stale.
    """
    rows = np.append(chunk.starts[1:], len(chunk.days)) - 1
    # Of a last day that an archive has by mistake there may be no day after that has a name.
    until = calendar.sessions[evenings.session[rows] + max(one.horizon for one in served.forecasters) - 1]
    rows = rows[until <= LAST_DAY]
    known, average = np.ascontiguousarray(evenings.known[:, rows].T), evenings.average[rows]
    shown = chunk.table.take(pa.array(rows))
    session = evenings.session[rows]
    by_symbol = np.arange(len(rows) * len(served.forecasters)).reshape(len(served.forecasters), -1).T.ravel()
    judged = served.information.get("judged", [one.horizon for one in served.forecasters])
    tables = []
    for one in served.forecasters:
        point, low, high = one.forecast(known, average)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.round(point / average, 4)
        columns = {
            "Symbol": shown["Symbol"].cast(pa.string()),
            "Security Name": shown["Security Name"].cast(pa.string()),
            "as_of": shown["Date"],
            "for_from": pa.array(calendar.sessions[session]).cast(pa.date32()),
            "for_to": pa.array(calendar.sessions[session + one.horizon - 1]).cast(pa.date32()),
            "horizon": np.full(len(rows), one.horizon, dtype=np.int32),
            "forecast": whole(point),
            "low": whole(low),
            "high": whole(high),
            VOLUME_AVERAGE.name: average,  # of the rows that it is judged by, whatever features.window is
            "ratio": pa.array(ratio, mask=~np.isfinite(ratio)),
            "stale": chunk.days[rows] < last,
            # As `lib.evaluation.judge` does.
            "judged": ((evenings.position + chunk.skipped)[rows] >= AVERAGE_ROWS - 1) & (one.horizon in judged),
        }
        tables.append(pa.table(columns, schema=SCHEMA))
    return pa.concat_tables(tables).take(pa.array(by_symbol))


def whole(values: Floats) -> NDArray[np.int64]:
    """Shares as 64-bit integers, which a forecast of more than there are may not fit."""
    return np.minimum(values, float(LARGEST)).astype(np.int64)


@dataclass
class LatestPart:
    """The last rows of one part's symbols, to the same part of forecasts, by saved models.

    Parameters
    ----------
    part : StoredPart
        Of ``recent``.
    calendar : Calendar
        It reaches beyond the archive's last date.
    last : int
        That date.
    origin : str
        The digest of the file that holds the models.
    """

    part: StoredPart
    calendar: Calendar
    last: int
    origin: str

    def read(self, shared: object = None) -> str:
        """A digest of the part, and of what the forecasts depend on beside it."""
        first = int(self.calendar.sessions[0])
        return f"{self.part.sha256} {self.origin} {self.calendar.name} {first} {self.last}"

    def tables(self, served: Served) -> Mapping[str, pa.Table]:
        """Forecast, some symbols at a time."""
        tables = [SCHEMA.empty_table()]
        for chunk in chunks(self.part, self.last + 1):
            evenings = chunk.evenings(self.calendar)
            tables.append(forecasts(chunk, evenings, self.calendar, self.last, served))
        return {"forecasts": pa.concat_tables(tables).combine_chunks()}


def forecast_again(study: paths.StudyPaths) -> Dataset:
    """Forecast what comes after a study's features with the models that it has saved; nothing is fitted or judged.

    In this process: to import the models' packages in others would take longer.

    Returns
    -------
    Dataset
        The dataset ``forecasts``; ``forecasts.csv`` is written too.

    Raises
    ------
    lib.storage.dataset.DatasetError
        No rows of features, or rows that have changed since they were written.
    OSError, ValueError
        The study has no ``forecaster.skops``, or one that cannot be read; or its features have no rows.
    """
    source = dataset.open_dataset(study.recent)
    if not source.rows:
        raise ValueError(f"{study.recent}: no rows to forecast from")
    dates = [part for part in source.extremes("Date") if part]
    first, last = ((day - EPOCH).days for day in (min(dates)[0], max(last for _, last in dates)))
    served = forecaster.read_served(study.forecaster)
    calendar = continued(served.calendar, first, last)
    origin = files.sha256(study.forecaster)
    works = [LatestPart(part, calendar, last, origin) for part in source.stored]
    folders = {"forecasts": study.forecasts}
    sizes = [part.rows for part in source.parts]
    digest = code.digest(__name__, {})
    built = dataset.build("forecasts", works, sizes, "rows", folders, digest, Engine(workers=1), served)
    made = dataset.commit(built, folders)["forecasts"]
    write_csv(study.forecasts_csv, made)
    return made


def write_csv(path: Path, made: Dataset) -> None:
    """Write the dataset of forecasts as the file for people and for the server."""
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    with files.replacing(path) as temporary, pyarrow.csv.CSVWriter(temporary, SCHEMA, write_options=options) as writer:
        for table in made.tables():
            writer.write(table)
