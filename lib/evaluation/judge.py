"""Forecast a part's evenings with the models of their time, and judge them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lib.evaluation import latest, sums
from lib.evaluation.chunks import Chunk, Days, chunks
from lib.evaluation.fits import Models
from lib.evaluation.forecast_metrics import (
    AVERAGE,
    DECAY,
    DECAY_MULTIPLE,
    LAST,
    LINEAR,
    MEAN_5,
    MODEL,
    MULTIPLE,
    TWO_FEATURES,
    WEEKDAY,
)
from lib.evaluation.plan import Plan
from lib.features import definitions, evening, windows
from lib.models import forecaster
from lib.storage.dataset import StoredPart
from lib.storage.kept import digest

JUDGED_SHARE = 0.25  # of the rows, by hash, at horizons beyond the first
WALK_FORWARD_SCHEMA = pa.schema(
    [
        pa.field("Symbol", pa.string(), nullable=False),
        pa.field("Date", pa.date32(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("forecast", "low", "high")),
    ]
)


@dataclass
class JudgedPart:
    """One part of features, whose last date is ``last`` if it has rows, to the same part of judged rows and of sums."""

    part: StoredPart
    last: datetime.date | None

    def read(self, shared: tuple[Plan, Models]) -> str:
        """A digest of the part, of what the models come from, and of the calendar as far as the rows go: a newer day elsewhere changes none of them."""
        plan, models = shared
        return digest(self.part.sha256, models.origin, *plan.calendar.until(self.last))

    def tables(self, shared: tuple[Plan, Models]) -> Mapping[str, pa.Table]:
        """Forecast and judge, some symbols at a time."""
        plan, models = shared
        forecasts, total = [WALK_FORWARD_SCHEMA.empty_table()], sums.Total()
        for chunk in chunks(self.part, plan.start - 10):
            evenings = chunk.evenings(plan.calendar)
            position = evenings.position + chunk.skipped
            session = plan.calendar.sessions[evenings.session]
            judged = np.flatnonzero(
                (position >= definitions.AVERAGE_ROWS - 1) & (chunk.left >= 1) & (session >= plan.start)
            )
            for index, horizon in enumerate(plan.settings.horizons):
                rows = judged
                if index:
                    rows = rows[(chunk.tickets[rows] < JUDGED_SHARE) & (chunk.left[rows] >= horizon)]
                history = np.searchsorted(sums.HISTORY, position[rows] + 1, side="right")
                walked, summed = _judge(chunk, evenings, session, rows, history, plan, models, index)
                total.add(summed)
                if not index:
                    forecasts.append(walked)
        return {"walk_forward": pa.concat_tables(forecasts).combine_chunks(), "forecast_sums": total.table()}


def _judge(
    chunk: Chunk,
    evenings: evening.Evenings,
    session: Days,
    rows: NDArray[np.int64],
    history: NDArray[np.int64],
    plan: Plan,
    models: Models,
    index: int,
) -> tuple[pa.Table, pa.Table]:
    """Forecast the day after each of ``rows`` with the models of its time, and judge them: the rows, and their sums."""
    average = evenings.average[rows]
    known = np.ascontiguousarray(evenings.known[:, rows].T)
    cut = np.searchsorted(plan.cuts[1:], session[rows], side="right") - 1
    point, low, high = np.zeros((3, len(rows)))
    straight, by_two = np.zeros((2, len(rows)))
    for which in np.unique(cut):
        some = cut == which
        point[some], low[some], high[some] = models.model[which][index].forecast(known[some], average[some])
        straight[some] = models.linear[which][index].forecast(known[some], average[some])[0]
        two_features = models.two_features[which][index]
        inputs = np.column_stack([average[some], np.zeros(some.sum())])
        by_two[some] = two_features.predict(inputs) if two_features else average[some]
    decay, same_weekday = (
        average * np.exp(known[:, definitions.NAMES.index(name)].astype(np.float64))
        for name in ("volume_decay_30", "volume_weekday")
    )
    multiple = models.multiples[cut, index]
    predictions = {
        AVERAGE: average,
        MULTIPLE: average * multiple[:, 0],
        LAST: chunk.volume[rows].astype(np.float64),
        MEAN_5: windows.moving_average(chunk.volume, chunk.starts, 5)[rows],
        DECAY: decay,
        DECAY_MULTIPLE: decay * multiple[:, 1],
        WEEKDAY: np.where(np.isnan(same_weekday), average, same_weekday),
        TWO_FEATURES: by_two,
        LINEAR: straight,
        MODEL: point,
    }
    days = chunk.days[rows + 1]
    month = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    calendar_known = dict(
        zip((entry.name for entry in definitions.CALENDAR), plan.calendar.known[evenings.session[rows]].T, strict=True)
    )
    special = np.where(
        calendar_known["early_close"] > 0, sums.EARLY_CLOSE, (calendar_known["third_friday"] > 0) * sums.THIRD_FRIDAY
    )
    groups: dict[str, NDArray[Any]] = {
        "year": month // 12 + 1970,
        "quarter": month // 3,
        "weekday": (days + 3) % 7,
        "decile": np.searchsorted(models.deciles, average, side="right") + 1,
        "special": special.astype(np.int64),
        "history": history,
    }
    judged = sums.Judged(
        plan.settings.horizons[index], chunk.traded(rows, plan.settings.horizons[index]), groups, predictions
    )
    summed = sums.error_sums(judged, {MODEL: (low, high)}, (1 - forecaster.LEVEL) / 2)
    walked = pa.table(
        {
            "Symbol": chunk.table["Symbol"].take(pa.array(rows)).cast(pa.string()),
            "Date": pa.array(days).cast(pa.date32()),
            **{name: latest.whole(values) for name, values in (("forecast", point), ("low", low), ("high", high))},
        },
        schema=WALK_FORWARD_SCHEMA,
    )
    return walked, summed
