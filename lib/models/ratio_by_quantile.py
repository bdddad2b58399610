"""The default model: one multiple of the moving average for each tenth of the rows."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from lib.features.definitions import INPUTS
from lib.models.quantiles import weighted_quantiles
from lib.models.regressor import TableRegressor
from lib.models.table import LARGEST_RATIO, LookupTable


class RatioByQuantile(TableRegressor):
    """Predict Volume as a multiple of vol_moving_avg, another one in each quantile group of vol_moving_avg.

    The absolute error of Volume is that of the ratio Volume / vol_moving_avg, times vol_moving_avg. So the multiple that
    makes it small is the median of a group's ratios, each row weighted by its average; for the squared error it is the slope of the
    regression through the origin. The interval's ends are quantiles of the ratios, where each day counts once. The price is not used.

    Parameters
    ----------
    objective : {"absolute", "squared"}
        The error to make small.
    groups : int
        Groups of as many rows each; 1 is the best multiple for all.
    interval_level : float
        Probability that the interval holds Volume.

    Examples
    --------
    >>> averages = np.linspace(1e5, 1e6, 1000)
    >>> X = np.column_stack([averages, np.full(1000, 25.0)])
    >>> model = RatioByQuantile().fit(X, 0.9 * averages)
    >>> round(float(model.predict([[1e6, 25.0]])[0]))
    900000
    """

    description: ClassVar[str] = f"The best multiple of {INPUTS[0]} in each quantile group of {INPUTS[0]}"

    def __init__(
        self,
        objective: Literal["absolute", "squared"] = "absolute",
        groups: Annotated[int, Field(ge=1, le=1000)] = 10,
        interval_level: Annotated[float, Field(gt=0, lt=1)] = 0.8,
    ) -> None:
        self.objective = objective
        self.groups = groups
        self.interval_level = interval_level

    def fit(self, X: ArrayLike, y: ArrayLike) -> RatioByQuantile:
        """Fit the multiples and the interval.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            vol_moving_avg (shares a day) and adj_close_rolling_med (dollars). Rows whose vol_moving_avg is 0 have no ratio
            and are left out.
        y : array-like of shape (n_samples,)
            Volume, in shares.
        """
        if self.objective not in ("absolute", "squared"):
            raise ValueError(f"objective is {self.objective!r}; allowed: 'absolute' or 'squared'")
        X, y = self._check_training(X, y)
        edges = np.unique(np.quantile(X[:, 0], np.arange(1, self.groups) / self.groups))
        count, traded = len(edges) + 1, X[:, 0] > 0
        average, volume = X[traded, 0], np.maximum(y[traded], 0)
        group = np.searchsorted(edges, average, side="right")
        ratios, ones = np.minimum(volume / average, LARGEST_RATIO), np.ones(len(average))
        if self.objective == "absolute":
            point = weighted_quantiles(ratios, average, group, count)
        else:
            products, squares = (np.bincount(group, average * other, count) for other in (volume, average))
            point = np.minimum(products / np.where(squares > 0, squares, np.nan), LARGEST_RATIO)
        lower = weighted_quantiles(ratios, ones, group, count, (1 - self.interval_level) / 2)
        # Where the lower end is a day without trade, all that the interval leaves out lies above it.
        share = np.where(lower == 0, self.interval_level, (1 + self.interval_level) / 2)
        upper = weighted_quantiles(ratios, ones, group, count, share)
        point, lower, upper = (np.where(np.isnan(part), 1.0, part)[:, np.newaxis] for part in (point, lower, upper))
        self.table_ = LookupTable(
            edges, np.array([]), point, np.minimum(lower, point), np.maximum(upper, point), relative=True
        )
        return self
