"""How wrong is a prediction? Its errors on rows in memory, and the best multiple of the average. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lib.models.quantiles import weighted_quantiles
from lib.models.table import Floats


def metrics(actual: Floats, predicted: Floats) -> dict[str, float]:
    """The errors of a prediction.

    Parameters
    ----------
    actual, predicted : ndarray of float64, shape (n,)
        Volume, in shares.

    Returns
    -------
    dict
        mae and rmse in shares; r2, the share of the variance explained; median_ape, the median of |error| / actual over the
        days with any trade.

    Examples
    --------
    >>> metrics(np.array([100.0, 200.0, 0.0]), np.array([110.0, 180.0, 0.0]))["mae"]
    10.0
    """
    error = predicted - actual
    traded = actual > 0
    variance = float(np.mean((actual - actual.mean()) ** 2))
    squared = float(np.mean(error**2))
    return {
        "mae": float(np.mean(np.abs(error))),
        "rmse": squared**0.5,
        "r2": 1 - squared / variance if variance > 0 else float("nan"),
        "median_ape": float(np.median(np.abs(error[traded]) / actual[traded])) if traded.any() else float("nan"),
    }


def ratio(error: float, other: float) -> float:
    """``error / other``; NaN where the other is never wrong, as the average of one day is."""
    return error / other if other else float("nan")


def best_scale(average: Floats, volume: Floats, objective: str = "absolute") -> float:
    """The multiple of the moving average with the least error.

    Parameters
    ----------
    average, volume : ndarray of float64, shape (n,)
        vol_moving_avg and Volume, in shares.
    objective : {"absolute", "squared"}
        Which error.

    Returns
    -------
    float
        For the absolute error the median of volume / average where each row counts its average; 1 without any trade.

    Examples
    --------
    >>> best_scale(np.array([10.0, 10.0, 10.0]), np.array([8.0, 9.0, 30.0]))
    0.9
    """
    traded = average > 0
    if not traded.any():
        return 1.0
    average, volume = average[traded], volume[traded]
    if objective == "squared":
        return float((average * volume).sum() / (average**2).sum())
    return float(weighted_quantiles(volume / average, average, np.zeros(len(average), dtype=np.int64), 1)[0])


def tenths(values: Floats) -> Floats:
    """The nine values that cut ``values`` into tenths; see `tenth_of`."""
    return np.quantile(values, np.arange(1, 10) / 10)


def tenth_of(values: Floats, edges: Floats) -> NDArray[np.int64]:
    """The tenth of each value, 0 to 9."""
    return np.searchsorted(edges, values, side="right")
