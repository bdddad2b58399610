"""How many shares will trade: one model a horizon, of what is known the evening before, with an 80 % range.

The target is the logarithm of the mean Volume over the horizon, relative to the symbol's 30-day average. Gradient boosting makes its absolute error
small: the median of the logarithm is that of the Volume, which days of a hundred times the usual do not move. The ranges come from forecasts of
the last year, made by an earlier model that had not seen it: they are split conformal, by groups of like average and like unsteadiness.
"""

from __future__ import annotations

import functools
import io
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn._loss.loss import AbsoluteError
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import ThreadpoolController

from lib.features import definitions, evening
from lib.features.definitions import VOLUME_AVERAGE
from lib.features.sessions import Calendar, calendar_for
from lib.files import write_atomically
from lib.models import skops_file
from lib.models.quantiles import weighted_median

Floats = NDArray[np.float64]
Known = NDArray[np.float32]
LEVEL = 0.8  # probability that the range holds the Volume
LEAST_ROWS = 200  # fewer tell nothing: the forecast is the average
GROUP_ROWS = 150  # of a calibration group, at least
MOST_GROUPS = (10, 5)  # of the average, of the unsteadiness
WEIGHT = 0.25  # a row counts its average to this power: between each row alike (0) and each share alike (1)
ROWS_AN_ITERATION, ROWS_A_LEAF = 250, 600  # fewer rows allow fewer boosting iterations, and smaller trees
BINS = 255  # of a feature, at most, as scikit-learn has them
BOOSTING: dict[str, Any] = {
    "loss": "absolute_error",
    "max_iter": 100,
    "learning_rate": 0.1,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 40,
    "early_stopping": False,
    "random_state": 0,
}
_LEVEL_ROW, _SPREAD_ROW = definitions.NAMES.index("volume_average"), definitions.NAMES.index("volume_spread_63")
_RECENT_ROW = definitions.NAMES.index("volume_decay_30")
_CATEGORIES = {"weekday": range(7), "month": range(1, 13)}


@dataclass(frozen=True)
class Examples:
    """Rows to fit on: evenings, and what was traded after them.

    Parameters
    ----------
    average : ndarray of float64, shape (rows,)
        Shares a day.
    traded : ndarray of float64, shape (rows, horizons)
        Mean Volume over each horizon, in shares a day; NaN where the symbol ends before it does.
    session : ndarray of int32, shape (rows,)
        The day that is forecast (the first one), as days since 1970-01-01.
    ended : ndarray of int32, shape (rows, horizons)
        The last day of each horizon.
    """

    known: Known
    average: Floats
    traded: Floats
    session: NDArray[np.int32]
    ended: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.average)

    def chosen(self, rows: NDArray[Any]) -> Examples:
        """Some of them: a mask, or indices."""
        return Examples(self.known[rows], self.average[rows], self.traded[rows], self.session[rows], self.ended[rows])


def joined(parts: Sequence[Examples]) -> Examples:
    """The examples of several parts, in order."""
    names = ("known", "average", "traded", "session", "ended")
    return Examples(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def log_ratio(traded: Floats, average: Floats) -> Floats:
    """What is fitted: log Volume relative to the average, days of next to no trade counting as `lib.features.evening.FLOOR`."""
    return np.log(np.maximum(traded, np.maximum(evening.FLOOR * average, 1.0)) / np.maximum(average, 1.0))


def linear_inputs(known: Known) -> Floats:
    """The matrix of the linear model: the features, missing ones at 0, the weekday and the month as indicators, and a constant."""
    numbers = [place for place, name in enumerate(definitions.NAMES) if name not in _CATEGORIES]
    columns = [np.nan_to_num(known[:, numbers].astype(np.float64))]
    for name, values in _CATEGORIES.items():
        columns.append((known[:, definitions.NAMES.index(name), np.newaxis] == np.array(values)).astype(np.float64))
    return np.concatenate([*columns, np.ones((len(known), 1))], axis=1)


def gram_matrix(known: Known, average: Floats, target: Floats) -> Floats:
    """The weighted sums of products that a linear fit needs: they add up over parts.

    Parameters
    ----------
    target : ndarray of float64, shape (rows,)
        As `log_ratio` makes it.

    Returns
    -------
    ndarray of float64, shape (columns + 1, columns + 1)
        The last row and column belong to the target.
    """
    columns = np.column_stack([linear_inputs(known), target]) * _weights(average)[:, np.newaxis] ** 0.5
    with _threads().limit(limits=1, user_api="blas"):
        matrix: Floats = columns.T @ columns
    return matrix


@functools.cache
def _threads() -> ThreadpoolController:
    """Found once: to look for the libraries that have threads takes longer than a forecast."""
    return ThreadpoolController()


def _weights(average: Floats) -> Floats:
    return np.maximum(average, 1.0) ** WEIGHT


class _WeightedMedian(AbsoluteError):
    """scikit-learn's absolute error, with the median of a leaf found faster.

    scikit-learn 1.9.1 spends most of a small fit in the general weighted percentile of each leaf, ``sklearn.utils.stats._weighted_percentile``. The
    estimator takes a loss object as well as a name.
    """

    def fit_intercept_only(self, y_true: Floats, sample_weight: Floats) -> np.float64:
        return np.float64(weighted_median(y_true, sample_weight))


def _snapped(known: Known) -> Known:
    """Each feature at the centres of at most `BINS` groups of as many rows each; features with so few values stay as they are.

    scikit-learn 1.9.1 finds the edges of weighted rows' bins with a sort for each edge, 13,000 in all; with no more values than bins it takes their midpoints.
    """
    snapped = known.copy()
    for column in range(known.shape[1]):
        there = ~np.isnan(known[:, column])
        values = known[there, column]
        if len(values) <= BINS or len(np.unique(values)) <= BINS:
            continue
        edges = np.unique(np.quantile(values, np.arange(BINS + 1) / BINS, method="inverted_cdf"))
        centres = (edges[1:] + edges[:-1]) / 2
        snapped[there, column] = centres[np.maximum(np.searchsorted(edges, values) - 1, 0)]
    return snapped


class Boosting:
    """Histogram gradient boosting of the log ratio; one thread, so that several fits can run side by side.

    Parameters
    ----------
    regressor : HistGradientBoostingRegressor
        Fitted.
    """

    def __init__(self, regressor: HistGradientBoostingRegressor) -> None:
        self.regressor = regressor

    @classmethod
    def fit(cls, known: Known, average: Floats, target: Floats, **settings: Any) -> Boosting:
        """Fit on rows; the result does not depend on the number of threads."""
        size = {
            "max_iter": int(np.clip(len(known) // ROWS_AN_ITERATION, 20, BOOSTING["max_iter"])),
            "max_leaf_nodes": int(np.clip(len(known) // ROWS_A_LEAF, 15, BOOSTING["max_leaf_nodes"])),
        }
        regressor = HistGradientBoostingRegressor(**(BOOSTING | size | settings))
        # A row's error in shares is that of its logarithm, times the Volume to be expected: what is usual lately tells it well enough.
        stake = np.exp(known[:, _RECENT_ROW].astype(np.float64))
        empty = np.isnan(known).all(axis=0)
        if empty.any():  # of short histories; scikit-learn 1.9 cannot bin a column without a value, and never splits by a constant one
            known = np.where(empty, known.dtype.type(0), known)
        weights = _weights(average) * stake
        with _threads().limit(limits=1):
            regressor.set_params(loss=_WeightedMedian(sample_weight=weights)).fit(
                _snapped(known), target, sample_weight=weights
            )
        # The file holds scikit-learn's own loss: predictions need no more than its identity link.
        regressor.set_params(loss=BOOSTING["loss"])._loss = AbsoluteError(sample_weight=weights)
        return cls(regressor)

    def predict(self, known: Known) -> Floats:
        """Log ratios."""
        with _threads().limit(limits=1):
            predicted: Floats = self.regressor.predict(known)
        return predicted


class Linear:
    """A linear model of the log ratio.

    Parameters
    ----------
    coefficients : ndarray of float64, shape (columns,)
        Of `linear_inputs`.
    """

    def __init__(self, coefficients: Floats) -> None:
        self.coefficients = coefficients

    @classmethod
    def fit(cls, matrix: Floats) -> Linear:
        """Solve for the least squares, from what `gram_matrix` added up; a little ridge makes the indicators' solution unique."""
        products, target = matrix[:-1, :-1], matrix[:-1, -1]
        ridge = np.diag(1e-6 * np.diag(products) + 1e-9 * max(float(products[-1, -1]), 1e-9))
        with _threads().limit(limits=1, user_api="blas"):
            return cls(np.linalg.solve(products + ridge, target).astype(np.float64))

    def predict(self, known: Known) -> Floats:
        """Log ratios: `linear_inputs` times the coefficients, without the matrix, which is mostly zeros."""
        numbers = [place for place, name in enumerate(definitions.NAMES) if name not in _CATEGORIES]
        coefficients = self.coefficients[: len(numbers)]
        with _threads().limit(limits=1, user_api="blas"):
            predicted: Floats = np.nan_to_num(known[:, numbers].astype(np.float64)) @ coefficients
        used = len(numbers)
        for name, values in _CATEGORIES.items():
            codes = known[:, definitions.NAMES.index(name)].astype(np.int64) - values.start
            predicted += self.coefficients[used : used + len(values)][codes]
            used += len(values)
        return predicted + self.coefficients[used]


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
        What is added to every prediction.
    levels : ndarray of float64, shape (n,)
        Where one group of averages (logarithms) ends and the next begins.
    spreads : ndarray of float64, shape (n + 1, m)
        The same for the unsteadiness, within each group of averages.
    low, high : ndarray of float64, shape (n + 1, m + 1)
        Added to the prediction: the ends of its range.
    """

    centre: float
    levels: Floats
    spreads: Floats
    low: Floats
    high: Floats

    def ends(self, known: Known) -> tuple[Floats, Floats]:
        """What is added to each row's prediction for the ends of its range."""
        level = np.searchsorted(self.levels, known[:, _LEVEL_ROW], side="right")
        group = np.sum(self.spreads[level] <= known[:, _SPREAD_ROW, np.newaxis], axis=1)
        return self.low[level, group], self.high[level, group]


def calibrated(known: Known, average: Floats, target: Floats, predicted: Floats) -> Ranges:
    """Find the ranges from predictions of rows that the model had not seen.

    Parameters
    ----------
    known, average, target, predicted
        One entry a row; the target as `log_ratio` makes it.

    Returns
    -------
    Ranges
        With as many groups as there are rows for, at `GROUP_ROWS` each.
    """
    residual = target - predicted
    if not len(residual):
        return Ranges(0.0, np.empty(0), np.empty((1, 0)), np.full((1, 1), -1.5), np.full((1, 1), 1.0))
    tail = (1 - LEVEL) / 2
    groups = max(1, len(residual) // GROUP_ROWS)
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
            share = min(1.0, (1 - tail) * (len(found) + 1) / len(found))
            low[row, column], high[row, column] = np.quantile(found, [1 - share, share])
    centre = weighted_median(residual, average * np.exp(predicted))
    return Ranges(centre, level_edges.astype(np.float64), spread_edges, low, high)


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
        predicted = self.model.predict(known)
        below, above = self.ranges.ends(known)
        base = np.maximum(average, 0.0)
        point = np.rint(base * np.exp(predicted + self.ranges.centre))
        # What was calibrated does not tell days below the least log ratio apart: a range that reaches so far holds them all, days without trade too.
        least = log_ratio(np.zeros(len(base)), base)
        low = np.where(predicted + below > least + 1e-9, np.floor(base * np.exp(predicted + below)), 0.0)
        low = np.minimum(low, point)
        high = np.maximum(np.ceil(base * np.exp(predicted + above)), point)
        return point, low, high


TRUSTED_TYPES = [
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
]  # beside scikit-learn's estimator itself


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
    """Save with skops, without pickle; the same forecasters give the same bytes.

    Parameters
    ----------
    path : pathlib.Path
        A study's ``forecaster.skops``.
    """
    content = {
        "forecasters": [_plain(one) for one in served.forecasters],
        "calendar": vars(served.calendar),
        "information": json.dumps(served.information, sort_keys=True),
    }
    # skops stores an object once however often it is referred to, and which equal objects are one and the same depends on whether the model came
    # from another process: here none are.
    plain = io.BytesIO()
    pickler = pickle.Pickler(plain)
    pickler.fast = True
    pickler.dump(content)
    content = pickle.loads(plain.getvalue())
    write_atomically(path, skops_file.to_bytes(content))


def read_served(path: Path) -> Served:
    """Load what `write_served` saved; a file that holds any other type is refused.

    Raises
    ------
    ValueError
        The file holds types beside `TRUSTED_TYPES`.
    """
    content = skops_file.load(path, TRUSTED_TYPES)
    forecasters = tuple(
        Forecaster(one["horizon"], _MODELS[one["model"]](*one["fitted"]), Ranges(**one["ranges"]))
        for one in content["forecasters"]
    )
    return Served(forecasters, Calendar(**content["calendar"]), json.loads(content["information"]))


_MODELS: dict[str, type[Boosting | Linear | Nothing]] = {kind.__name__: kind for kind in (Boosting, Linear, Nothing)}


def _plain(forecaster: Forecaster) -> dict[str, Any]:
    model = forecaster.model
    return {
        "horizon": forecaster.horizon,
        "model": type(model).__name__,
        "fitted": list(vars(model).values()),
        "ranges": vars(forecaster.ranges),
    }


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
    made = evening.evenings(columns, np.zeros(1, dtype=np.int64), days, calendar)
    known, average = np.ascontiguousarray(made.known[:, -1:].T), made.average[-1:]
    answers = []
    for one in served.forecasters:
        point, low, high = (int(value[0]) for value in one.forecast(known, average))
        first_session = int(made.session[-1])
        span = calendar.sessions[[first_session, first_session + one.horizon - 1]].astype("datetime64[D]")
        answers.append(
            {
                "as_of": str(columns["Date"][-1].astype("datetime64[D]")),
                "for_from": str(span[0]),
                "for_to": str(span[1]),
            }
            | {
                "horizon": one.horizon,
                "forecast": point,
                "low": low,
                "high": high,
                VOLUME_AVERAGE.name: float(average[0]),
            }
        )
    return answers
