"""Load a trained model once and predict a day's Volume: the only way anything predicts.

The model is a lookup table over its two inputs, so that serving needs NumPy alone and one prediction costs less than a
microsecond. `lib.models.store` writes the table that the estimator holds.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import numbers
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.features.definitions import BY_NAME, INPUTS
from lib.models.table import LookupTable
from lib.storage import arrays


class PredictionInputError(ValueError):
    """An input that no prediction can be made for; ``field`` is its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class Predictor:
    """A trained model: its table, asked for whole numbers of shares, and what it is (see `load`).

    Examples
    --------
    >>> ratio = np.array([[0.9]])
    >>> predictor = Predictor(LookupTable(np.array([]), np.array([]), ratio, 0.5 * ratio, 2 * ratio, True), {})
    >>> predictor.predict(1000.0, 25.0)
    900
    >>> predictor.predict_interval(1000.0, 25.0)
    (450, 1800)
    """

    def __init__(self, table: LookupTable, information: dict[str, Any]) -> None:
        self.table = table
        self.information = information

    @classmethod
    def load(cls, path: Path) -> Predictor:
        """Read the table that training wrote, a study's ``model/grid.safetensors``, and check all of it.

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
            The file is not such a table; the message says what is wrong with it.
        """
        content = Path(path).read_bytes()
        try:
            held = arrays.from_bytes(content)
            if "information" not in held:
                raise ValueError("information missing")
            information = _checked_information(arrays.array_to_text(held["information"]))
            table = LookupTable.of(held)
        except ValueError as error:
            name = f"{path.parent.name}/{path.name}"
            raise ValueError(f"{name}: not a model table: {error}; train the study again: bash run_all.sh") from None
        return cls(table, {**information, "digest": hashlib.sha256(content).hexdigest()})

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
            volume, price = _number(INPUTS[0], vol_moving_avg), _number(INPUTS[1], adj_close_rolling_med)
            return round(self.table.predict_one(volume, price))
        return np.rint(self.table.predict(*_pair(vol_moving_avg, adj_close_rolling_med))).astype(np.int64)

    def predict_interval(self, vol_moving_avg: ArrayLike, adj_close_rolling_med: ArrayLike) -> tuple[Any, Any]:
        """Predict the interval that holds Volume on four days out of five; inputs and errors as for `predict`.

        Returns
        -------
        (low, high) : pair of int, or of ndarray of int64, shape (n,)
            Shares; ``low <= predict(...) <= high``, both ends belong to the interval.
        """
        if _is_scalar(vol_moving_avg) and _is_scalar(adj_close_rolling_med):
            volume, price = _number(INPUTS[0], vol_moving_avg), _number(INPUTS[1], adj_close_rolling_med)
            low, high = self.table.interval_one(volume, price)
            return math.floor(low), math.ceil(high)
        lows, highs = self.table.interval(*_pair(vol_moving_avg, adj_close_rolling_med))
        return np.floor(lows).astype(np.int64), np.ceil(highs).astype(np.int64)

    def in_training_range(self, vol_moving_avg: ArrayLike, adj_close_rolling_med: ArrayLike) -> Any:
        """Tell whether both inputs lie between the smallest and the largest value that the model was trained on."""
        (low_volume, high_volume), (low_price, high_price) = (self.information["range"][name] for name in INPUTS)
        if _is_scalar(vol_moving_avg) and _is_scalar(adj_close_rolling_med):
            volume, price = _number(INPUTS[0], vol_moving_avg), _number(INPUTS[1], adj_close_rolling_med)
            return low_volume <= volume <= high_volume and low_price <= price <= high_price
        volumes, prices = _pair(vol_moving_avg, adj_close_rolling_med)
        return (low_volume <= volumes) & (volumes <= high_volume) & (low_price <= prices) & (prices <= high_price)


def to_bytes(table: LookupTable, information: Mapping[str, Any]) -> bytes:
    """The content of the file that `Predictor.load` reads."""
    text = json.dumps(information, sort_keys=True, allow_nan=False)
    return arrays.to_bytes({**table.arrays(), "information": arrays.text_to_array(text)})


def _checked_information(text: str) -> dict[str, Any]:
    """What a model is, from JSON; a ValueError says which key is missing or holds something else."""
    try:
        information = json.loads(text)
    except RecursionError:
        raise ValueError("information is nested too deeply") from None
    if not isinstance(information, dict):
        raise ValueError(f"information is {information!r:.60}; a JSON object is expected")
    for key, (allowed, is_allowed) in _INFORMATION.items():
        if key not in information:
            raise ValueError(f"information has no {key}; {allowed} is expected")
        if not is_allowed(information[key]):
            raise ValueError(f"information's {key} is {information[key]!r:.60}; {allowed} is expected")
    if information["train_first_date"] > information["train_last_date"]:
        raise ValueError("information's train_first_date is after train_last_date")
    try:
        json.dumps(information, allow_nan=False)
    except ValueError:  # the endpoint answers it, and JSON has no such numbers
        raise ValueError("information holds a number that is not finite") from None
    return information


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300  # not NaN


def _is_whole(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int) and value >= 0


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]


_MOST_DAYS = 100_000  # trading days of four centuries
_INFORMATION: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "model": ("text", lambda value: isinstance(value, str) and bool(value)),
    "objective": ("'absolute' or 'squared'", lambda value: value in ("absolute", "squared")),
    "horizon": (f"a whole number to {_MOST_DAYS:,}", lambda value: _is_whole(value) and value <= _MOST_DAYS),
    "window": (f"a whole number from 1 to {_MOST_DAYS:,}", lambda value: _is_whole(value) and 0 < value <= _MOST_DAYS),
    "train_first_date": ("a date", _is_date),
    "train_last_date": ("a date", _is_date),
    "train_rows": ("a whole number", _is_whole),
    "interval_level": ("a number between 0 and 1", lambda value: _is_number(value) and 0 < value < 1),
    "range": (
        f"two ascending numbers for each of {', '.join(INPUTS)}",
        lambda value: isinstance(value, dict) and all(_is_range(value.get(name)) for name in INPUTS),
    ),
    "metrics": ("numbers by name", lambda value: isinstance(value, dict) and all(map(_is_number, value.values()))),
}


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
    feature = BY_NAME[field]
    if not feature.low <= value <= feature.high:
        allowed = f"{feature.low:g} to {feature.high:g} {feature.unit}"
        raise PredictionInputError(field, f"found {value:g}; allowed: {allowed}")
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
        largest = np.finfo(float).max
        if not (max(BY_NAME[field].low, -largest) <= low and high <= min(BY_NAME[field].high, largest)):
            for value in array.ravel().tolist():
                _number(field, value)
    return array
