"""What comes after each symbol's last day: forecasts by a study's models, just fitted or saved by an earlier run."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from lib import code, files, paths
from lib.compute.engine import Engine
from lib.evaluation.chunks import Chunk, chunks
from lib.evaluation.draw import Task, count_dates
from lib.evaluation.plan import Plan, Settings, make_plan
from lib.features import evening
from lib.features.definitions import VOLUME_AVERAGE
from lib.models import forecaster
from lib.models.forecaster import Floats, Forecaster, Served
from lib.storage import dataset
from lib.storage.dataset import Dataset

LAST_DAY = 2_932_896  # 9999-12-31, the last that Python's dates have
SCHEMA = pa.schema(
    [
        pa.field("Symbol", pa.string(), nullable=False),
        pa.field("Security Name", pa.string()),
        *(pa.field(name, pa.date32(), nullable=False) for name in ("as_of", "for_from", "for_to")),
        pa.field("horizon", pa.int32(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("forecast", "low", "high")),
        (VOLUME_AVERAGE.name, pa.float64()),
        ("ratio", pa.float64()),
        pa.field("stale", pa.bool_(), nullable=False),
    ]
)


def forecasts(chunk: Chunk, made: evening.Evenings, plan: Plan, forecasters: Sequence[Forecaster]) -> pa.Table:
    """One row a symbol and horizon, from the symbol's last evening.

    Parameters
    ----------
    made : Evenings
        Of the chunk's rows.
    forecasters : sequence of Forecaster
        One a horizon of the plan.
    """
    rows = np.append(chunk.starts[1:], len(chunk.days)) - 1
    # Of a last day that an archive has by mistake there may be no day after that has a name.
    until = plan.calendar.sessions[made.session[rows] + max(plan.settings.horizons) - 1]
    rows = rows[until <= LAST_DAY]
    known, average = np.ascontiguousarray(made.known[:, rows].T), made.average[rows]
    shown = chunk.table.take(pa.array(rows))
    moving = shown[VOLUME_AVERAGE.name].to_numpy()
    count = len(plan.settings.horizons)
    order = np.arange(len(rows) * count).reshape(count, -1).T.ravel()  # by symbol, then by horizon
    tables = []
    for place, horizon in enumerate(plan.settings.horizons):
        point, low, high = forecasters[place].forecast(known, average)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.round(point / moving, 4)
        session = made.session[rows]
        columns = {
            "Symbol": shown["Symbol"].cast(pa.string()),
            "Security Name": shown["Security Name"].cast(pa.string()),
            "as_of": shown["Date"],
            "for_from": pa.array(plan.calendar.sessions[session]).cast(pa.date32()),
            "for_to": pa.array(plan.calendar.sessions[session + horizon - 1]).cast(pa.date32()),
            "horizon": np.full(len(rows), horizon, dtype=np.int32),
            "forecast": whole(point),
            "low": whole(low),
            "high": whole(high),
            VOLUME_AVERAGE.name: shown[VOLUME_AVERAGE.name],
            "ratio": pa.array(ratio, mask=~np.isfinite(ratio)),
            "stale": chunk.days[rows] < plan.last,
        }
        tables.append(pa.table(columns, schema=SCHEMA))
    return pa.concat_tables(tables).take(pa.array(order))


def whole(values: Floats) -> NDArray[np.int64]:
    """Shares as 64-bit integers, which a forecast of more than there are may not fit."""
    return np.minimum(values, 2.0**62).astype(np.int64)


def plan_of(source: Dataset, settings: Settings, calendar_name: str, engine: Engine) -> Plan:
    """The plan of a study's features: their dates, the calendar of these, and when models are fitted."""
    tasks = [Task(str(path), part.sha256) for path, part in zip(source.paths, source.parts, strict=True)]
    counted = [found for _, found in sorted(engine.map(count_dates, tasks), key=lambda pair: pair[0])]
    dates, place = np.unique(np.concatenate([found for found, _, _ in counted]), return_inverse=True)
    usable = np.bincount(place, np.concatenate([some for _, _, some in counted]), len(dates)).astype(np.int64)
    return make_plan(dates, usable, settings, calendar_name)


@dataclass
class LatestPart:
    """One part of features, to the same part of forecasts, by saved models.

    Parameters
    ----------
    path, sha256 : str
        The part of features.
    served : str
        The file that holds the models.
    origin : str
        A digest of all that the forecasts depend on beside the part.
    """

    path: str
    sha256: str
    plan: Plan
    served: str
    origin: str

    def read(self) -> str:
        """A digest of the part, and of what the forecasts depend on beside it."""
        return f"{self.sha256} {self.origin}"

    def tables(self) -> Mapping[str, pa.Table]:
        """Forecast, some symbols at a time."""
        made = [SCHEMA.empty_table()]
        for chunk in chunks(self.path, self.sha256, self.plan.last + 1):
            evenings = chunk.evenings(self.plan.calendar)
            made.append(forecasts(chunk, evenings, self.plan, _load(self.served).forecasters))
        return {"forecasts": pa.concat_tables(made).combine_chunks()}


@functools.lru_cache(maxsize=1)
def _load(path: str) -> Served:
    return forecaster.read_served(Path(path))


def forecast_again(study: paths.StudyPaths, engine: Engine | None = None) -> Dataset:
    """Forecast what comes after a study's features with the models that it has saved; nothing is fitted or judged.

    Returns
    -------
    Dataset
        The dataset ``forecasts``; ``forecasts.csv`` is written too.

    Raises
    ------
    lib.storage.dataset.DatasetError
        No features, or features that have changed since they were written.
    OSError, ValueError
        The study has no ``forecaster.skops``, or one that cannot be read.
    """
    engine = engine or Engine()
    served = forecaster.read_served(study.forecaster)
    source = dataset.open_dataset(study.features)
    settings = Settings(tuple(one.horizon for one in served.forecasters))
    plan = plan_of(source, settings, served.calendar.name, engine)
    origin = hashlib.sha256(f"{source.digest} {files.sha256(study.forecaster)}".encode()).hexdigest()
    works = [
        LatestPart(str(path), part.sha256, plan, str(study.forecaster), origin)
        for path, part in zip(source.paths, source.parts, strict=True)
    ]
    folders = {"forecasts": study.forecasts}
    sizes = [part.rows for part in source.parts]
    results = dataset.build("forecasts", works, sizes, "rows", folders, code.digest(__name__, {}), engine)
    made = dataset.commit(results, folders)["forecasts"]
    write_csv(study.forecasts_csv, made)
    return made


def write_csv(path: Path, made: Dataset) -> None:
    """Write the dataset of forecasts as the file for people and for the server."""
    buffer = pa.BufferOutputStream()
    pyarrow.csv.write_csv(made.read(), buffer, pyarrow.csv.WriteOptions(quoting_style="needed"))
    files.write_atomically(path, buffer.getvalue().to_pybytes())
