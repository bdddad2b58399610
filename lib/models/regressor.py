"""What every model shares: scikit-learn's API around a `LookupTable`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
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
