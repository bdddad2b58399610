"""How many shares will trade: one model a horizon, of what is known the evening before, with an 80 % range.

The target is the logarithm of the mean Volume over the horizon, relative to the symbol's 30-day average. Gradient boosting makes its absolute error
small: the median of the logarithm is that of the Volume, which days of a hundred times the usual do not move. The ranges come from forecasts of
the last year, made by an earlier model that had not seen it: they are split conformal, by groups of like average and like volatility.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.features import definitions, evening
from lib.features.definitions import VOLUME_AVERAGE
from lib.features.sessions import Calendar, calendar_for
from lib.files import write_atomically
from lib.models import skops_file
from lib.models.boosting import Boosting
from lib.models.examples import Floats, Known, log_ratio
from lib.models.linear import Linear
from lib.models.quantiles import weighted_median

LEVEL = 0.8  # probability that the range holds the Volume
LEAST_ROWS = 200  # fewer tell nothing: the forecast is the average
GROUP_ROWS = 150  # of a calibration group, at least
MOST_GROUPS = (10, 5)  # of the average, of the volatility
_LEVEL_ROW, _SPREAD_ROW = definitions.NAMES.index("volume_average"), definitions.NAMES.index("volume_spread_63")


class Nothing:
    """What there is to say without rows to learn from: the average."""

    def predict(self, known: Known) -> Floats:
        """Log ratios: none differs from 0."""
        return np.zeros(len(known))


Model = Boosting | Linear | Nothing


@dataclass(frozen=True)
class Ranges:
    """How far from its forecast the Volume falls, on the logarithmic scale, by group.

    Parameters
    ----------
    centre : float
        What is added to every prediction, after it was multiplied by ``kept``.
    levels : ndarray of float64, shape (n,)
        Where one group of averages (logarithms) ends and the next begins.
    spreads : ndarray of float64, shape (n + 1, m)
        The same for the volatility, within each group of averages.
    low, high : ndarray of float64, shape (n + 1, m + 1)
        Added to the prediction: the ends of its range.
    kept : float
        The share that is kept of every prediction, see `kept_share`.
    """

    centre: float
    levels: Floats
    spreads: Floats
    low: Floats
    high: Floats
    kept: float = 1.0

    def ends(self, known: Known) -> tuple[Floats, Floats]:
        """What is added to each row's prediction for the ends of its range."""
        level = np.searchsorted(self.levels, known[:, _LEVEL_ROW], side="right")
        group = np.sum(self.spreads[level] <= known[:, _SPREAD_ROW, np.newaxis], axis=1)
        return self.low[level, group], self.high[level, group]


def kept_share(average: Floats, target: Floats, predicted: Floats) -> float:
    """How much to keep of what a model predicts of rows that it had not seen: the share, in tenths, with which its absolute error is least.

    With a short history a model of the next month has little to learn from, and says too much of it. With many symbols or years, all is kept.

    Parameters
    ----------
    average, target, predicted : ndarray of float64, shape (rows,)
        As `calibrated` takes them.

    Examples
    --------
    >>> average, target = np.full(4, 1e6), np.array([0.1, -0.1, 0.2, -0.2])
    >>> kept_share(average, target, 2 * target), kept_share(average, target, target), kept_share(average, target, -target)
    (0.5, 1.0, 0.0)
    """

    def error(share: float) -> float:
        moved = share * predicted
        centre = weighted_median(target - moved, average * np.exp(moved))
        return float(np.sum(average * np.abs(np.exp(moved + centre) - np.exp(target))))

    kept, least = 10, error(1.0)
    # As it falls to one side of the best, and rises on the other.
    while kept and (found := error((kept - 1) / 10)) < least:
        kept, least = kept - 1, found
    return kept / 10


def calibrated(known: Known, average: Floats, target: Floats, predicted: Floats, overlap: float = 1.0) -> Ranges:
    """Find the ranges from predictions of rows that the model had not seen.

    Parameters
    ----------
    known, average, target, predicted
        One entry a row; the target as `log_ratio` makes it.
    overlap : float
        How many rows of a symbol have the same days in their horizons, as a rule: so many tell as much as one.

    Returns
    -------
    Ranges
        With as many groups as there are rows for, at `GROUP_ROWS` each.
    """
    kept = kept_share(average, target, predicted)
    predicted = kept * predicted
    residual = target - predicted
    if not len(residual):
        return Ranges(0.0, np.empty(0), np.empty((1, 0)), np.full((1, 1), -1.5), np.full((1, 1), 1.0))
    tail = (1 - LEVEL) / 2
    groups = max(1, int(len(residual) / overlap) // GROUP_ROWS)
    unsteady = int(np.clip(np.sqrt(groups), 1, MOST_GROUPS[1]))
    levels = int(np.clip(groups // unsteady, 1, MOST_GROUPS[0]))
    level_edges = np.quantile(known[:, _LEVEL_ROW], np.arange(1, levels) / levels)
    level = np.searchsorted(level_edges, known[:, _LEVEL_ROW], side="right")
    spread_edges = np.zeros((levels, unsteady - 1))
    low, high = np.zeros((2, levels, unsteady))
    for row in range(levels):
        inside = level == row
        if not inside.any():  # edges that coincide
            inside = np.ones(len(level), dtype=bool)
        spread_edges[row] = np.quantile(known[inside, _SPREAD_ROW], np.arange(1, unsteady) / unsteady)
        group = np.searchsorted(spread_edges[row], known[inside, _SPREAD_ROW], side="right")
        for column in range(unsteady):
            found = residual[inside][group == column]
            found = found if len(found) else residual[inside]
            # The finite-sample quantiles of split conformal prediction.
            share = min(1.0, (1 - tail) * (1 + overlap / len(found)))
            low[row, column], high[row, column] = np.quantile(found, [1 - share, share])
    centre = weighted_median(residual, average * np.exp(predicted))
    return Ranges(centre, level_edges.astype(np.float64), spread_edges, low, high, kept)


@dataclass(frozen=True)
class Forecaster:
    """One horizon's model and ranges.

    Parameters
    ----------
    horizon : int
        Sessions that the forecast is the mean of.
    """

    horizon: int
    model: Model
    ranges: Ranges

    def forecast(self, known: Known, average: Floats) -> tuple[Floats, Floats, Floats]:
        """Forecast the mean Volume.

        Returns
        -------
        (forecast, low, high) : ndarrays of float64, shape (rows,)
            Whole shares a day, never negative; the forecast lies within its range.
        """
        predicted = self.ranges.kept * self.model.predict(known)
        below, above = self.ranges.ends(known)
        base = np.maximum(average, 0.0)
        point = np.rint(base * np.exp(predicted + self.ranges.centre))
        # What was calibrated does not tell days below the least log ratio apart: a range that reaches so far holds them all, days without trade too.
        least = log_ratio(np.zeros(len(base)), base)
        low = np.where(predicted + below > least + 1e-9, np.floor(base * np.exp(predicted + below)), 0.0)
        low = np.minimum(low, point)
        high = np.maximum(np.ceil(base * np.exp(predicted + above)), point)
        return point, low, high


@dataclass(frozen=True)
class Served:
    """What forecasts are made of: all that serving loads.

    Parameters
    ----------
    forecasters : tuple of Forecaster
        One a horizon, in ascending order.
    information : dict
        What JSON can hold: the last date, the horizons, the measured errors.
    """

    forecasters: tuple[Forecaster, ...]
    calendar: Calendar
    information: Mapping[str, Any]


def write_served(path: Path, served: Served) -> None:
    """Save with skops, without pickle; the same forecasters give the same bytes."""
    content = {
        "forecasters": [
            {"horizon": one.horizon} | _plain(one.model) | {"ranges": vars(one.ranges)} for one in served.forecasters
        ],
        "calendar": vars(served.calendar),
        "information": json.dumps(served.information, sort_keys=True),
    }
    write_atomically(path, _to_bytes(content))


def read_served(path: Path) -> Served:
    """Load what `write_served` saved; a file that holds more than arrays, numbers and text is refused with a ValueError."""
    content = skops_file.load(path)
    forecasters = tuple(
        Forecaster(one["horizon"], _model(one), Ranges(**one["ranges"])) for one in content["forecasters"]
    )
    return Served(forecasters, Calendar(**content["calendar"]), json.loads(content["information"]))


def model_to_bytes(model: Model) -> bytes:
    """A model alone, as skops saves it; see `read_model`."""
    return _to_bytes(_plain(model))


def read_model(content: bytes) -> Model:
    """Load a model from what `model_to_bytes` gave; what holds more than arrays, numbers and text is refused with a ValueError."""
    return _model(skops_file.loads(content))


_MODELS: dict[str, type[Boosting | Linear | Nothing]] = {kind.__name__: kind for kind in (Boosting, Linear, Nothing)}


def _plain(model: Model) -> dict[str, Any]:
    return {"model": type(model).__name__, "fitted": list(vars(model).values())}


def _model(plain: Mapping[str, Any]) -> Model:
    return _MODELS[plain["model"]](*plain["fitted"])


def _to_bytes(content: object) -> bytes:
    # skops stores an object once however often it is referred to, and which equal objects are one and the same depends on whether the model came
    # from another process: here none are.
    plain = io.BytesIO()
    pickler = pickle.Pickler(plain)
    pickler.fast = True
    pickler.dump(content)
    return skops_file.to_bytes(pickle.loads(plain.getvalue()))


def forecast_rows(served: Served, columns: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Forecast one symbol from its own recent rows: what ``POST /forecast`` answers.

    Parameters
    ----------
    columns : dict of str to ndarray
        ``Date`` (datetime64[D], ascending) and `lib.features.definitions.COLUMNS`, one entry a row. From `lib.features.definitions.LONGEST` rows on, older ones
        change nothing, and the forecasts are those of the study.

    Returns
    -------
    list of dict
        One a horizon: as_of, for_from, for_to (dates), horizon (sessions), forecast, low, high (whole shares a day), vol_moving_avg (shares).
    """
    days = columns["Date"].astype("datetime64[D]").astype(np.int32)
    first, last = served.calendar.sessions[[0, -1]]
    horizons = [one.horizon for one in served.forecasters]
    calendar = served.calendar
    if days[0] < first or calendar.next_session(np.minimum(days[-1:], last - 1))[0] + max(horizons) >= len(
        calendar.sessions
    ):
        calendar = calendar_for(calendar.name, days)  # rows before or after the archive's own
    evenings = evening.evenings(columns, np.zeros(1, dtype=np.int64), days, calendar)
    known, average = np.ascontiguousarray(evenings.known[:, -1:].T), evenings.average[-1:]
    answers = []
    for one in served.forecasters:
        point, low, high = (int(value[0]) for value in one.forecast(known, average))
        ahead = calendar.sessions[evenings.session[-1] :][: one.horizon].astype("datetime64[D]")
        answers.append(
            {
                "as_of": str(columns["Date"][-1].astype("datetime64[D]")),
                "for_from": str(ahead[0]),
                "for_to": str(ahead[-1]),
                "horizon": one.horizon,
                "forecast": point,
                "low": low,
                "high": high,
                VOLUME_AVERAGE.name: float(average[0]),
            }
        )
    return answers
