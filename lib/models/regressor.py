"""What every model shares: scikit-learn's API around a `LookupTable`, and how a fit cuts and weighs its rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from lib.models.table import Floats, LookupTable


class TableRegressor(RegressorMixin, BaseEstimator):
    """A regression of Volume on vol_moving_avg and adj_close_rolling_med whose prediction is a table.

    A model derives from it, has the keyword parameter ``interval_level``, and sets ``table_`` in ``fit(X, y)``. Its
    other parameters are what ``train.settings`` may hold: numbers, text or bools, their annotation says what is allowed.

    Attributes
    ----------
    table_ : lib.models.table.LookupTable
        The fitted prediction and its interval.
    """

    description: ClassVar[str]  # for the model card: a noun phrase
    interval_level: float
    table_: LookupTable

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        # The target is a multiple of the first column, unlike scikit-learn's test data.
        tags.regressor_tags.poor_score = True
        return tags

    def predict(self, X: ArrayLike) -> Floats:
        """Predict Volume, in shares, never negative.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            vol_moving_avg (shares a day) and adj_close_rolling_med (dollars).
        """
        volumes, prices = self._inputs(X)
        return self.table_.predict(volumes, prices)

    def predict_interval(self, X: ArrayLike) -> tuple[Floats, Floats]:
        """Predict the ends of the interval that holds Volume with probability ``interval_level``; the prediction lies within it."""
        volumes, prices = self._inputs(X)
        return self.table_.interval(volumes, prices)

    def _inputs(self, X: ArrayLike) -> tuple[Floats, Floats]:
        check_is_fitted(self)
        checked: Floats = validate_data(self, X, reset=False, dtype=np.float64)
        return np.maximum(checked[:, 0], 0), checked[:, 1]

    def _check_training(self, X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        # scikit-learn's own checks pass more columns than two; only the first two have a meaning here.
        checked: tuple[Floats, Floats] = validate_data(
            self, X, y, dtype=np.float64, y_numeric=True, ensure_min_features=2
        )
        return checked


def weighted_quantiles(
    values: Floats, weights: Floats, groups: NDArray[np.int64], count: int, share: float | Floats = 0.5
) -> Floats:
    """A weighted quantile of each group's values.

    Parameters
    ----------
    values, weights : ndarray of float64, shape (n,)
        Not negative.
    groups : ndarray of int64, shape (n,)
        The group of each value, 0 to ``count`` - 1.
    count : int
        How many groups there are.
    share : float, or ndarray of float64, shape (count,)
        0.5: the medians.

    Returns
    -------
    ndarray of float64, shape (count,)
        The least value that, with those below it, has this share of its group's weight; NaN for a group without weight.

    Examples
    --------
    >>> weighted_quantiles(np.array([1.0, 2.0, 5.0]), np.array([1.0, 1.0, 4.0]), np.array([0, 0, 0]), 2)
    array([ 5., nan])
    """
    # Which of 4,096 bins holds a group's quantile? Only that bin's values are sorted: at full scale, a fiftieth of the time.
    bins = 4096
    places = groups * bins + np.minimum(values * (bins / 16), bins - 1).astype(np.int64)
    cumulative = np.cumsum(np.bincount(places, weights, count * bins).reshape(count, bins), axis=1)
    totals = cumulative[:, -1]
    wanted = totals * share
    middle = np.minimum((cumulative < wanted[:, np.newaxis]).sum(axis=1), bins - 1)
    quantiles = np.full(count, np.nan)
    near = np.flatnonzero(places == groups * bins + middle[groups])
    for group in np.flatnonzero(totals > 0):
        chosen = near[groups[near] == group]
        chosen = chosen[np.argsort(values[chosen], kind="stable")]
        below = cumulative[group, middle[group] - 1] if middle[group] else 0.0
        index = np.searchsorted(below + np.cumsum(weights[chosen]), wanted[group])
        quantiles[group] = values[chosen[min(index, len(chosen) - 1)]]
    return quantiles


def quantile_edges(values: Floats, weights: Floats, count: int) -> Floats:
    """The values that cut ``values`` into ``count`` groups of about the same weight; fewer where values repeat."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    cuts = np.searchsorted(cumulative, cumulative[-1] * np.arange(1, count) / count)
    return np.unique(values[order][cuts])


def sampled_rows(rows: int, share: float, seed: int) -> NDArray[np.intp]:
    """A random share of the row numbers 0 to ``rows`` - 1, at least one, ascending.

    Examples
    --------
    >>> len(sampled_rows(10, share=0.3, seed=42))
    3
    """
    count = min(rows, max(1, round(rows * share)))
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
