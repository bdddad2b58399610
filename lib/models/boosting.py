"""Histogram gradient boosting of the log ratio, by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from threadpoolctl import threadpool_limits

from lib.features import definitions
from lib.models import examples
from lib.models.absolute_error import AbsoluteError
from lib.models.examples import Floats, Known

ROWS_AN_ITERATION, ROWS_A_LEAF = 250, 600  # fewer rows allow fewer boosting iterations, and smaller trees
PREDICTED_ROWS = 1 << 13  # at a time
BINS = 255  # of a feature, at most, as scikit-learn has them
BOOSTING: dict[str, Any] = {
    "max_iter": 64,
    "learning_rate": 0.12,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 40,
    "early_stopping": False,
    "random_state": 0,
}
_RECENT_ROW = definitions.NAMES.index("volume_decay_30")


def _snapped(known: Known) -> Known:
    """Each feature at the centres of at most `BINS` groups of as many rows each; features with so few values stay as they are.

    scikit-learn 1.9.1 finds the edges of weighted rows' bins with a sort for each edge, 13,000 in all; with no more values than bins it takes their midpoints.
    """
    snapped = known.copy()
    for column in range(known.shape[1]):
        there = ~np.isnan(known[:, column])
        values = known[there, column]
        ordered = np.sort(values)
        if np.count_nonzero(ordered[1:] > ordered[:-1]) < BINS:
            continue
        edges = np.unique(ordered[np.maximum(-(-np.arange(BINS + 1) * len(values) // BINS) - 1, 0)])
        centres = (edges[1:] + edges[:-1]) / 2
        snapped[there, column] = centres[np.maximum(np.searchsorted(edges, values) - 1, 0)]
    return snapped


class Boosting:
    """Histogram gradient boosting of the log ratio, as plain arrays; one thread, so that several fits can run side by side.

    Parameters
    ----------
    baseline : float
        The prediction before the first tree.
    nodes : ndarray, shape (nodes,)
        Of all trees, one after the other, as scikit-learn has them.
    trees : ndarray of int64, shape (trees,)
        How many nodes each tree has.
    """

    def __init__(self, baseline: float, nodes: NDArray[np.void], trees: NDArray[np.int64]) -> None:
        self.baseline = baseline
        self.nodes = nodes
        self.trees = trees

    @classmethod
    def fit(cls, known: Known, average: Floats, target: Floats, **settings: Any) -> Boosting:
        """Fit on rows; the result does not depend on the number of threads."""
        size = {
            "max_iter": int(np.clip(len(known) // ROWS_AN_ITERATION, 20, BOOSTING["max_iter"])),
            "max_leaf_nodes": int(np.clip(len(known) // ROWS_A_LEAF, 15, BOOSTING["max_leaf_nodes"])),
        }
        # A row's error in shares is that of its logarithm, times the Volume to be expected: what is usual lately tells it well enough.
        stake = np.exp(known[:, _RECENT_ROW].astype(np.float64))
        empty = np.isnan(known).all(axis=0)
        if empty.any():  # of short histories; scikit-learn 1.9 cannot bin a column without a value, and never splits by a constant one
            known = np.where(empty, known.dtype.type(0), known)
        weights = examples.weights(average) * stake
        regressor = HistGradientBoostingRegressor(**(BOOSTING | {"loss": AbsoluteError(weights)} | size | settings))
        with threadpool_limits(1):
            regressor.fit(_snapped(known), target, sample_weight=weights)
        trees = [tree.nodes for [tree] in regressor._predictors]
        return cls(float(regressor._baseline_prediction[0, 0]), np.concatenate(trees), np.array(list(map(len, trees))))

    def predict(self, known: Known) -> Floats:
        """Log ratios."""
        # As the regressor does, which would have to be saved with all its settings, and be told to use one thread: no feature is a category.
        none, of_each = np.zeros((0, 8), np.uint32), np.zeros(known.shape[1], np.uint32)
        trees = [TreePredictor(nodes, none, none) for nodes in np.split(self.nodes, np.cumsum(self.trees)[:-1])]
        predicted = np.full(len(known), self.baseline)
        # A block of rows stays in the processor's cache while one tree after the other is asked.
        for start in range(0, len(known), PREDICTED_ROWS):
            block = slice(start, start + PREDICTED_ROWS)
            rows = known[block].astype(np.float64)
            for tree in trees:
                predicted[block] += tree.predict(rows, none, of_each, n_threads=1)
        return predicted
