"""What a model has to beat, and what can be reached at all. To add a baseline: a function of rows, and a line in `baselines`."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from lib.evaluation.errors import best_scale
from lib.evaluation.rows import Rows
from lib.models.table import LARGEST_RATIO, Floats, LookupTable

# scikit-learn is imported by the functions that need it: workers, which only predict, start in a third of the time without.

ORACLE_BINS = 255  # of each input
# The rows of a comparison, in the order that a reader meets them.
AVERAGE, SCALED, LAST = "moving average", "scaled average", "last value"
MODEL, REFERENCE, ORACLE = "model", "reference forest", "oracle"

Predict = Callable[[Rows], Floats]  # it can be pickled: a function of a module, or `functools.partial` of one


def baselines(train: Rows, objective: str = "absolute") -> dict[str, Predict]:
    """What a model has to beat: predictions from nothing, or from the training rows alone.

    Parameters
    ----------
    train : Rows
        The rows that they may learn from.
    objective : {"absolute", "squared"}
        The error that the scale makes small.

    Returns
    -------
    dict
        Name -> a function from rows to their predictions, ndarray of float64: the moving average; its best multiple; the
        Volume of the day before.
    """
    scale = best_scale(train.features[:, 0], train.volume, objective)
    return {
        AVERAGE: functools.partial(multiple_of_average, 1.0),
        SCALED: functools.partial(multiple_of_average, scale),
        LAST: last_value,
    }


def multiple_of_average(multiple: float, rows: Rows) -> Floats:
    """The moving average, times a number."""
    return multiple * rows.features[:, 0]


def last_value(rows: Rows) -> Floats:
    """The Volume of the symbol's row before."""
    return rows.previous_volume


def looked_up(table: LookupTable, rows: Rows) -> Floats:
    """What a table says of both features."""
    return table.predict(np.maximum(rows.features[:, 0], 0), rows.features[:, 1])


def reference_forest(train: Rows, trees: int, most: int, seed: int) -> Predict:
    """The usual solution: a random forest of Volume on both features.

    Parameters
    ----------
    most : int
        Rows that it is fitted on, at random; all where there are no more.
    """
    from lib.models.forest import Forest

    forest = Forest(trees, min(1.0, most / len(train)), random_state=seed)
    return functools.partial(looked_up, forest.fit(train.features, train.volume).table_)


def oracle(test: Rows, objective: str = "absolute") -> Predict:
    """Boosted trees of the ratio, fitted on the test rows themselves: about the best that a function of both inputs does on them.

    Parameters
    ----------
    objective : {"absolute", "squared"}

    Returns
    -------
    callable
        It follows the rows for as many trees as lower the error of a third of them, set aside at random: so it learns what these
        dates have in common, and little of each row's chance. The inputs are cut into `ORACLE_BINS` bins of as many rows, and the trees
        written out as a table of these.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    from lib.models.absolute_error import AbsoluteError

    rows = test.chosen(test.features[:, 0] > 0)
    if not len(rows):
        return functools.partial(multiple_of_average, 1.0)
    inputs, weights = rows.features, rows.features[:, 0] ** (1 if objective == "absolute" else 2)
    weights /= weights.mean()
    edges = [np.unique(np.quantile(column, np.arange(1, ORACLE_BINS) / ORACLE_BINS)) for column in inputs.T]
    model = HistGradientBoostingRegressor(
        loss=AbsoluteError(weights) if objective == "absolute" else "squared_error",
        max_iter=200,
        early_stopping=len(rows) > 10,
        validation_fraction=1 / 3,
        random_state=42,
    )
    bins = [np.searchsorted(cuts, column, side="right") for cuts, column in zip(edges, inputs.T, strict=True)]
    ratios = np.minimum(rows.volume / inputs[:, 0], LARGEST_RATIO)
    shape = (len(edges[0]) + 1, len(edges[1]) + 1)
    with threadpool_limits(1):  # several threads round sums differently, and the bytes of metrics.json must not change
        model.fit(np.column_stack(bins), ratios, sample_weight=weights)
        point = model.predict(np.indices(shape).reshape(2, -1).T).clip(0, LARGEST_RATIO).reshape(shape)
    return functools.partial(looked_up, LookupTable(edges[0], edges[1], point, point, point, relative=True))
