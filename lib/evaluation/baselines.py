"""What a model has to beat, and what can be reached at all. To add a baseline: a name here, and a line in `baselines`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from lib.evaluation.errors import best_scale
from lib.evaluation.rows import Mask, Rows
from lib.models.forest import Forest
from lib.models.regressor import sampled_rows
from lib.models.table import LARGEST_RATIO, Floats

ORACLE_SAMPLE = 500_000  # rows that the oracle is fitted on, at most
# The rows of a comparison, in the order that a reader meets them.
AVERAGE, SCALED, LAST = "moving average", "scaled average", "last value"
MODEL, REFERENCE, ORACLE = "model", "reference forest", "oracle"


def baselines(rows: Rows, train: Mask, objective: str = "absolute") -> dict[str, Callable[[Mask], Floats]]:
    """What a model has to beat: predictions from nothing, or from the training rows alone.

    Parameters
    ----------
    train : ndarray of bool, shape (n,)
        The rows that they may learn from.
    objective : {"absolute", "squared"}
        The error that the scale makes small.

    Returns
    -------
    dict
        Name -> a function from a mask of rows to their predictions, ndarray of float64: the moving average; its best
        multiple; the Volume of the day before.
    """
    average = rows.features[:, 0]
    scale = best_scale(average[train], rows.volume[train], objective)
    return {
        AVERAGE: lambda chosen: average[chosen],
        SCALED: lambda chosen: scale * average[chosen],
        LAST: lambda chosen: rows.previous_volume[chosen],
    }


def reference_forest(rows: Rows, train: Mask, trees: int, sample_share: float, seed: int) -> Callable[[Mask], Floats]:
    """The usual solution: a random forest of Volume on both features.

    Parameters
    ----------
    sample_share : float
        Share of the training rows that it is fitted on, at random.

    Returns
    -------
    callable
        From a mask of rows to their predictions, ndarray of float64.
    """
    forest = Forest(trees, sample_share, random_state=seed)
    forest.fit(rows.features[train], rows.volume[train])
    return lambda chosen: forest.predict(rows.features[chosen])


def oracle(rows: Rows, test: Mask, objective: str = "absolute") -> Callable[[Floats], Floats]:
    """Boosted trees of the ratio, fitted on the test rows themselves: about the best that a function of both inputs does on them.

    Parameters
    ----------
    test : ndarray of bool, shape (n,)
        Of more than `ORACLE_SAMPLE`, so many at random are fitted.
    objective : {"absolute", "squared"}

    Returns
    -------
    callable
        From inputs, shape (m, 2), to predictions in shares. It follows the rows for as many trees as lower the error of a third of them,
        set aside at random: so it learns what these dates have in common, and little of each row's chance.
    """
    positions = np.flatnonzero(test & (rows.features[:, 0] > 0))
    if not len(positions):
        return lambda inputs: inputs[:, 0]
    positions = positions[sampled_rows(len(positions), min(1.0, ORACLE_SAMPLE / len(positions)), seed=42)]
    inputs, weights = rows.features[positions], rows.features[positions, 0] ** (1 if objective == "absolute" else 2)
    model = HistGradientBoostingRegressor(
        loss=f"{objective}_error",
        max_iter=200,
        early_stopping=len(positions) > 10,
        validation_fraction=1 / 3,
        random_state=42,
    )
    ratios = np.minimum(rows.volume[positions] / inputs[:, 0], LARGEST_RATIO)
    with threadpool_limits(1):  # several threads round sums differently, and the bytes of metrics.json must not change
        model.fit(inputs, ratios, sample_weight=weights / weights.mean())
    return lambda inputs: np.maximum(model.predict(inputs), 0) * inputs[:, 0]
