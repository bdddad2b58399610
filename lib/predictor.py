"""Load a trained model once and predict a day's Volume: the only way anything predicts.

The model is a lookup table over its two inputs, so that serving needs numpy alone and one prediction costs about a
microsecond. `lib.model` writes the table; a test holds it equal to the estimator, row by row.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import numbers
import zipfile
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.inputs import INPUTS

# No exchange trades this many shares of one symbol in a day; above it, an integer prediction would lose its last digits.
LARGEST_VOLUME = 1e15


class PredictionInputError(ValueError):
    """An input that no prediction can be made for.

    Parameters
    ----------
    field : str
        Which input: ``vol_moving_avg`` or ``adj_close_rolling_med``.
    message : str
        What was found and what is allowed.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class Predictor:
    """A trained model as a table: prediction of Volume and its 80 % interval for each cell of the two inputs.

    Parameters
    ----------
    volume_edges : ndarray of float64, shape (n,)
        Increasing. Row ``i`` of the table holds ``volume_edges[i - 1] <= vol_moving_avg < volume_edges[i]``.
    price_edges : ndarray of float64, shape (m,)
        The same for columns and ``adj_close_rolling_med``.
    point, lower, upper : ndarray of float64, shape (n + 1, m + 1)
        In units of ``vol_moving_avg`` when ``relative``, in shares otherwise.
    relative : bool
        Whether the table holds ratios Volume / vol_moving_avg. The interval always is one.
    information : dict
        What the model is: see `load`.

    Examples
    --------
    >>> table = np.array([[0.9]])
    >>> predictor = Predictor(np.array([]), np.array([]), table, 0.5 * table, 2 * table, True, {})
    >>> predictor.predict(1000.0, 25.0)
    900
    >>> predictor.predict_interval(1000.0, 25.0)
    (450, 1800)
    """

    def __init__(
        self,
        volume_edges: NDArray[np.float64],
        price_edges: NDArray[np.float64],
        point: NDArray[np.float64],
        lower: NDArray[np.float64],
        upper: NDArray[np.float64],
        relative: bool,
        information: dict[str, Any],
    ) -> None:
        self.information = information
        self._edges = (volume_edges, price_edges)
        self._tables = {"point": point, "lower": lower, "upper": upper}
        self._relative = relative
        # Plain lists: for one pair, bisect on a list is ten times faster than numpy's searchsorted.
        self._volume_edges: list[float] = volume_edges.tolist()
        self._price_edges: list[float] = price_edges.tolist()
        self._point: list[list[float]] = point.tolist()
        self._lower: list[list[float]] = lower.tolist()
        self._upper: list[list[float]] = upper.tolist()

    @classmethod
    def load(cls, path: Path) -> Predictor:
        """Read the table that training wrote.

        Parameters
        ----------
        path : pathlib.Path
            A study's ``model/grid.npz``.

        Returns
        -------
        Predictor
            Its ``information`` holds model, objective, horizon (days), window (days), digest (SHA-256 of the file),
            train_first_date and train_last_date (YYYY-MM-DD), train_rows, range (smallest and largest training value of each
            input), interval_level and metrics (mean absolute errors on the held-out dates, in shares).

        Raises
        ------
        FileNotFoundError
            There is no such file: the study was not trained yet.
        ValueError
            The file is not such a table.
        """
        content = Path(path).read_bytes()
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                tables = {name: arrays[name] for name in ("volume_edges", "price_edges", "point", "lower", "upper")}
                relative = bool(arrays["relative"])
                information = json.loads(str(arrays["information"]))
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: not a model table ({error}); train the study again: bash run_all.sh") from None
        digest = hashlib.sha256(content).hexdigest()
        return cls(**tables, relative=relative, information={**information, "digest": digest})

    def predict(self, vol_moving_avg: ArrayLike, adj_close_rolling_med: ArrayLike) -> Any:
        """Predict Volume.

        Parameters
        ----------
        vol_moving_avg : float or array-like of shape (n,)
            Moving average of Volume, in shares a day; from 0 to 1e15.
        adj_close_rolling_med : float or array-like of shape (n,)
            Rolling median of the adjusted close, in dollars; any finite number.

        Returns
        -------
        int or ndarray of int64, shape (n,)
            Shares, never negative.

        Raises
        ------
        PredictionInputError
            NaN, infinite, text, a bool, or a negative vol_moving_avg; its ``field`` names the input.
        """
        if _is_scalar(vol_moving_avg) and _is_scalar(adj_close_rolling_med):
            volume, row, column = self._cell(vol_moving_avg, adj_close_rolling_med)
            value = self._point[row][column]
            return round(value * volume) if self._relative else round(value)
        volume_array, cells = self._cells(vol_moving_avg, adj_close_rolling_med)
        values = self._tables["point"][cells]
        return np.rint(values * volume_array if self._relative else values).astype(np.int64)

    def predict_interval(self, vol_moving_avg: ArrayLike, adj_close_rolling_med: ArrayLike) -> tuple[Any, Any]:
        """Predict the interval that holds Volume on four days of five.

        Parameters
        ----------
        vol_moving_avg, adj_close_rolling_med : float or array-like of shape (n,)
            As for `predict`.

        Returns
        -------
        (low, high) : pair of int, or of ndarray of int64, shape (n,)
            Shares; ``low <= predict(...) <= high``, both ends belong to the interval.

        Raises
        ------
        PredictionInputError
            As for `predict`.
        """
        if _is_scalar(vol_moving_avg) and _is_scalar(adj_close_rolling_med):
            volume, row, column = self._cell(vol_moving_avg, adj_close_rolling_med)
            point = self._point[row][column] * (volume if self._relative else 1)
            low, high = self._lower[row][column] * volume, self._upper[row][column] * volume
            return math.floor(min(low, point)), math.ceil(max(high, point))
        volume_array, cells = self._cells(vol_moving_avg, adj_close_rolling_med)
        points = self._tables["point"][cells] * (volume_array if self._relative else 1)
        lows = np.minimum(self._tables["lower"][cells] * volume_array, points)
        highs = np.maximum(self._tables["upper"][cells] * volume_array, points)
        return np.floor(lows).astype(np.int64), np.ceil(highs).astype(np.int64)

    def in_training_range(self, vol_moving_avg: ArrayLike, adj_close_rolling_med: ArrayLike) -> Any:
        """Tell whether both inputs lie between the smallest and the largest value that the model was trained on.

        Parameters
        ----------
        vol_moving_avg, adj_close_rolling_med : float or array-like of shape (n,)
            As for `predict`.

        Returns
        -------
        bool or ndarray of bool, shape (n,)
        """
        (low_volume, high_volume), (low_price, high_price) = (self.information["range"][name] for name in INPUTS)
        if _is_scalar(vol_moving_avg) and _is_scalar(adj_close_rolling_med):
            volume, price = _number(INPUTS[0], vol_moving_avg), _number(INPUTS[1], adj_close_rolling_med)
            return low_volume <= volume <= high_volume and low_price <= price <= high_price
        volumes, prices = _pair(vol_moving_avg, adj_close_rolling_med)
        return (low_volume <= volumes) & (volumes <= high_volume) & (low_price <= prices) & (prices <= high_price)

    def _cell(self, vol_moving_avg: Any, adj_close_rolling_med: Any) -> tuple[float, int, int]:
        volume, price = _number(INPUTS[0], vol_moving_avg), _number(INPUTS[1], adj_close_rolling_med)
        return volume, bisect_right(self._volume_edges, volume), bisect_right(self._price_edges, price)

    def _cells(self, vol_moving_avg: ArrayLike, adj_close_rolling_med: ArrayLike) -> tuple[NDArray[np.float64], Any]:
        volumes, prices = _pair(vol_moving_avg, adj_close_rolling_med)
        rows = np.searchsorted(self._edges[0], volumes, side="right")
        return volumes, (rows, np.searchsorted(self._edges[1], prices, side="right"))


def _is_scalar(value: Any) -> bool:
    # The exact types first: this test is on the path of every served prediction.
    return type(value) is float or type(value) is int or not (isinstance(value, (list, tuple)) or np.ndim(value))


def _number(field: str, value: Any) -> float:
    if type(value) is not float:
        if isinstance(value, np.ndarray):
            value = value[()]
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
            raise PredictionInputError(field, f"found {value!r}, a number is expected")
        try:
            value = float(value)
        except OverflowError:
            raise PredictionInputError(
                field, f"found a number of {len(str(value))} digits; a finite number is expected"
            ) from None
    if not math.isfinite(value):
        raise PredictionInputError(field, f"found {value}, a finite number is expected")
    if field == "vol_moving_avg" and not 0 <= value <= LARGEST_VOLUME:
        raise PredictionInputError(field, f"found {value:g}; allowed: 0 to {LARGEST_VOLUME:g} shares a day")
    return value


def _pair(
    vol_moving_avg: ArrayLike, adj_close_rolling_med: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    volumes, prices = _numbers(INPUTS[0], vol_moving_avg), _numbers(INPUTS[1], adj_close_rolling_med)
    try:
        volumes, prices = np.broadcast_arrays(volumes, prices)
    except ValueError:
        raise PredictionInputError(INPUTS[1], f"found {prices.size} values for {volumes.size} of {INPUTS[0]}") from None
    return volumes, prices


def _numbers(field: str, values: ArrayLike) -> NDArray[np.float64]:
    if isinstance(values, (list, tuple)):  # numpy would make 1.0 of True, and text of everything beside a text
        return np.array([_number(field, value) for value in values], dtype=np.float64)
    array = np.asarray(values)
    if array.dtype.kind == "O":
        return np.array([_number(field, value) for value in array.ravel()]).reshape(array.shape)
    if array.dtype.kind not in "iuf":
        raise PredictionInputError(field, f"found {array.flat[0] if array.size else array.dtype}, a number is expected")
    array = array.astype(np.float64, copy=False)
    if array.size:
        low, high = array.min(), array.max()  # NaN if any value is
        limits = (0.0, LARGEST_VOLUME) if field == "vol_moving_avg" else (-np.finfo(float).max, np.finfo(float).max)
        if not (limits[0] <= low and high <= limits[1]):
            for value in array.ravel().tolist():
                _number(field, value)
    return array
