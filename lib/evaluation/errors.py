"""How wrong is a prediction? Its errors, and the coverage of its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.evaluation.rows import Rows, Split
from lib.features.definitions import INPUTS
from lib.models.regressor import TableRegressor, weighted_quantiles
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


def deciles(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Cut values into tenths.

    Returns
    -------
    edges : ndarray of float64, shape (9,)
        Between the tenths.
    tenths : ndarray of int64, shape (n,)
        The tenth of each value, 0 to 9.
    """
    edges = np.quantile(values, np.arange(1, 10) / 10)
    return edges, np.searchsorted(edges, values, side="right")


def coverage(rows: Rows, split: Split, estimator: TableRegressor) -> pd.DataFrame:
    """How often the interval holds the Volume of test rows, by decile of vol_moving_avg.

    Parameters
    ----------
    estimator : TableRegressor
        Fitted.

    Returns
    -------
    pandas.DataFrame
        Eleven lines: decile (1 to 10, then "all"), rows, vol_moving_avg (the median, in shares), coverage, relative_width (the median of
        width / vol_moving_avg).
    """
    inputs, volume = rows.features[split.test], rows.volume[split.test]
    low, high = estimator.predict_interval(inputs)
    inside = (np.floor(low) <= volume) & (volume <= np.ceil(high))
    width = (high - low) / np.maximum(inputs[:, 0], 1)
    _, tenths = deciles(inputs[:, 0])
    lines = []
    for decile in [*range(10), None]:
        chosen = np.ones(len(volume), dtype=bool) if decile is None else tenths == decile
        if chosen.any():
            lines.append(
                {
                    "decile": "all" if decile is None else str(decile + 1),
                    "rows": int(chosen.sum()),
                    INPUTS[0]: float(np.median(inputs[chosen, 0])),
                    "coverage": float(inside[chosen].mean()),
                    "relative_width": float(np.median(width[chosen])),
                }
            )
    return pd.DataFrame(lines)


def headline_metrics(rows: Rows, split: Split, estimator: TableRegressor) -> dict[str, float]:
    """The few numbers that a model carries with it, on the test rows.

    Parameters
    ----------
    estimator : TableRegressor
        Fitted.

    Returns
    -------
    dict
        mae, mae_moving_average and mae_scaled_average in shares; coverage, the share of the Volumes within the interval.
    """
    average, volume = rows.features[:, 0], rows.volume
    scale = best_scale(average[split.train], volume[split.train])
    actual = volume[split.test]
    return {
        "mae": metrics(actual, estimator.predict(rows.features[split.test]))["mae"],
        "mae_moving_average": metrics(actual, average[split.test])["mae"],
        "mae_scaled_average": metrics(actual, scale * average[split.test])["mae"],
        "coverage": float(coverage(rows, split, estimator).set_index("decile")["coverage"]["all"]),
    }
