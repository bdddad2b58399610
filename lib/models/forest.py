"""The reference model: the random forest of Volume that published solutions fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.parallel import Parallel, delayed

from lib.models.quantiles import quantile_edges, sampled_rows
from lib.models.ratio_by_quantile import RatioByQuantile
from lib.models.regressor import TableRegressor
from lib.models.table import LARGEST_VOLUME, Floats, LookupTable

SAMPLE = 1 << 19  # rows that the bins' edges are computed from


class Forest(TableRegressor):
    """A random forest of Volume on both inputs, on binned inputs.

    Binned, so that the forest too is a table that serving can look up exactly, and so that a tree is grown from the mean of
    each bin's bootstrapped rows, which are fewer than the rows: it has the same splits. The mean absolute error is within a
    few percent of that of scikit-learn's forest on the raw inputs. Splits make the squared error small, whatever the objective.

    Parameters
    ----------
    n_estimators : int
        Trees.
    sample_share : float
        Share of the rows that it is fitted on, at random.
    volume_bins, price_bins : int
        Bins of vol_moving_avg and of adj_close_rolling_med, at most.
    interval_level : float
        Probability that the interval holds Volume; the interval is `RatioByQuantile`'s.
    random_state : int
        Seed.

    Examples
    --------
    >>> averages = np.linspace(1e5, 1e6, 1000)
    >>> X = np.column_stack([averages, np.full(1000, 25.0)])
    >>> model = Forest(n_estimators=5, sample_share=1.0).fit(X, 0.9 * averages)
    >>> bool(abs(model.predict([[5e5, 25.0]])[0] - 4.5e5) < 1e4)
    True
    """

    description: ClassVar[str] = "A random forest of Volume on both inputs"

    def __init__(
        self,
        n_estimators: Annotated[int, Field(ge=1, le=1000)] = 25,
        sample_share: Annotated[float, Field(gt=0, le=1)] = 0.1,
        volume_bins: Annotated[int, Field(ge=1, le=4096)] = 512,
        price_bins: Annotated[int, Field(ge=1, le=4096)] = 256,
        interval_level: Annotated[float, Field(gt=0, lt=1)] = 0.8,
        random_state: int = 42,
    ) -> None:
        self.n_estimators = n_estimators
        self.sample_share = sample_share
        self.volume_bins = volume_bins
        self.price_bins = price_bins
        self.interval_level = interval_level
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Forest:
        """Fit the forest, then look up its prediction of every cell; for the parameters see `RatioByQuantile.fit`."""
        X, y = self._check_training(X, y)
        sample = X[:: max(1, len(X) // SAMPLE)]
        # Between a weight of one a row and one a share: there are bins for small and for large symbols.
        weights = np.sqrt(np.maximum(sample[:, 0], 0)) + 1e-9
        volume_edges = quantile_edges(sample[:, 0], weights, self.volume_bins)
        price_edges = quantile_edges(sample[:, 1], weights, self.price_bins)
        shape = (len(volume_edges) + 1, len(price_edges) + 1)
        chosen = sampled_rows(len(X), self.sample_share, self.random_state)
        rows = np.searchsorted(volume_edges, X[chosen, 0], side="right")
        columns = np.searchsorted(price_edges, X[chosen, 1], side="right")
        cells, volumes = rows * shape[1] + columns, np.clip(y[chosen], 0, LARGEST_VOLUME)
        grow = delayed(_tree_table)
        trees = Parallel(n_jobs=-1, prefer="threads")(
            grow(cells, volumes, shape, [self.random_state, tree]) for tree in range(self.n_estimators)
        )
        point = sum(trees[1:], trees[0]) / len(trees)  # in order: the same to the last bit however many threads
        spread = RatioByQuantile(interval_level=self.interval_level).fit(X, y).table_
        # Each cell of this finer table takes the interval of the group that its lower corner lies in.
        group = np.searchsorted(spread.volume_edges, np.concatenate([[-np.inf], volume_edges]), side="right")
        lower, upper = (np.broadcast_to(ends[group], shape).copy() for ends in (spread.lower, spread.upper))
        self.table_ = LookupTable(volume_edges, price_edges, point, lower, upper, relative=False)
        return self


def _tree_table(cells: NDArray[np.intp], volumes: Floats, shape: tuple[int, int], seed: Sequence[int]) -> Floats:
    """Grow a tree on as many rows drawn with replacement, and look up its prediction of every cell."""
    drawn = np.random.default_rng(seed).integers(0, len(cells), len(cells))
    rows = np.bincount(cells[drawn], minlength=shape[0] * shape[1])
    totals = np.bincount(cells[drawn], volumes[drawn], len(rows))
    inputs, present = np.indices(shape).reshape(2, -1).T, rows > 0
    tree = DecisionTreeRegressor(random_state=seed[0])
    tree.fit(inputs[present], totals[present] / rows[present], sample_weight=rows[present])
    table: Floats = tree.predict(inputs).reshape(shape)
    return table
