"""Histogram gradient boosting of the log ratio, by scikit-learn."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from sklearn._loss.loss import AbsoluteError
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import ThreadpoolController

from lib.features import definitions
from lib.models import examples
from lib.models.examples import Floats, Known
from lib.models.quantiles import weighted_median

ROWS_AN_ITERATION, ROWS_A_LEAF = 250, 600  # fewer rows allow fewer boosting iterations, and smaller trees
PREDICTED_ROWS = 1 << 13  # at a time
BINS = 255  # of a feature, at most, as scikit-learn has them
BOOSTING: dict[str, Any] = {
    "loss": "absolute_error",
    "max_iter": 64,
    "learning_rate": 0.12,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 40,
    "early_stopping": False,
    "random_state": 0,
}
_RECENT_ROW = definitions.NAMES.index("volume_decay_30")


@functools.cache
def _threads() -> ThreadpoolController:
    """Found once: to look for the libraries that have threads takes longer than a forecast."""
    return ThreadpoolController()


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
        ordered = np.sort(values)
        if np.count_nonzero(ordered[1:] > ordered[:-1]) < BINS:
            continue
        edges = np.unique(ordered[np.maximum(-(-np.arange(BINS + 1) * len(values) // BINS) - 1, 0)])
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
        weights = examples.weights(average) * stake
        with _threads().limit(limits=1):
            regressor.set_params(loss=_WeightedMedian(sample_weight=weights)).fit(
                _snapped(known), target, sample_weight=weights
            )
        # The file holds scikit-learn's own loss: predictions need no more than its identity link.
        regressor.set_params(loss=BOOSTING["loss"])._loss = AbsoluteError(sample_weight=weights)
        return cls(regressor)

    def predict(self, known: Known) -> Floats:
        """Log ratios."""
        predicted = np.zeros(len(known))
        with _threads().limit(limits=1):
            # scikit-learn takes one tree after the other through all rows: a block of them stays in the processor's cache meanwhile.
            for start in range(0, len(known), PREDICTED_ROWS):
                block = slice(start, start + PREDICTED_ROWS)
                predicted[block] = self.regressor.predict(known[block])
        return predicted
