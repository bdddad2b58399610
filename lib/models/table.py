"""A prediction as a table over the two inputs: what an estimator holds and what the server looks up, the same to the bit."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.features.definitions import VOLUME_AVERAGE

Floats = NDArray[np.float64]

# No exchange trades this many shares of one symbol in a day; above it, an integer prediction would lose its last digits.
LARGEST_VOLUME = VOLUME_AVERAGE.high  # shares
LARGEST_RATIO = 1e3  # times LARGEST_VOLUME it still fits a 64-bit integer
PARTS = ("volume_edges", "price_edges", "point", "lower", "upper", "relative")


class LookupTable:
    """The prediction of Volume and its interval for each cell of vol_moving_avg and adj_close_rolling_med.

    Parameters
    ----------
    volume_edges : ndarray of float64, shape (n,)
        Ascending. Row ``i`` of the table holds ``volume_edges[i - 1] <= vol_moving_avg < volume_edges[i]``.
    price_edges : ndarray of float64, shape (m,)
        The same for columns and adj_close_rolling_med.
    point, lower, upper : ndarray of float64, shape (n + 1, m + 1)
        In units of vol_moving_avg, from 0 to `LARGEST_RATIO`; ``point`` in shares, to `LARGEST_VOLUME`, unless ``relative``.
    relative : bool
        Whether ``point`` holds ratios Volume / vol_moving_avg. The interval always does, and includes the prediction.

    Raises
    ------
    ValueError
        The parts are not such a table; the message says which and why.

    Examples
    --------
    >>> table = LookupTable(np.array([1e6]), np.array([]), np.array([[0.9], [0.8]]), np.zeros((2, 1)), np.ones((2, 1)), True)
    >>> table.predict_one(1000.0, 25.0), table.predict(np.array([1000.0]), np.array([25.0]))
    (900.0, array([900.]))
    >>> table.interval_one(1e6, 25.0)
    (0.0, 1000000.0)
    """

    def __init__(
        self,
        volume_edges: Floats,
        price_edges: Floats,
        point: Floats,
        lower: Floats,
        upper: Floats,
        relative: bool,
    ) -> None:
        self.volume_edges, self.price_edges = volume_edges, price_edges
        self.point, self.lower, self.upper, self.relative = point, lower, upper, relative
        self._check()

    def __reduce__(self) -> tuple[type[LookupTable], tuple[Any, ...]]:
        """Saved by its parts, so that loading checks them too."""
        return LookupTable, tuple(getattr(self, part) for part in PARTS)

    @functools.cached_property
    def _lists(self) -> tuple[list[float], list[float], list[list[float]], list[list[float]], list[list[float]]]:
        # Plain lists: for one pair, bisect on a list is ten times faster than numpy's searchsorted. Made for whoever asks for one pair.
        parts = (self.volume_edges, self.price_edges, self.point, self.lower, self.upper)
        volume_edges, price_edges, point, lower, upper = (part.tolist() for part in parts)
        return volume_edges, price_edges, point, lower, upper

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> LookupTable:
        """The table whose parts are among some arrays, as `arrays` gives them; raises ValueError as the constructor does."""
        if missing := [part for part in PARTS if part not in arrays]:
            raise ValueError(f"{', '.join(missing)} missing; a table has {', '.join(PARTS)}")
        relative = arrays["relative"]
        if relative.dtype != np.bool_ or relative.shape:
            raise ValueError(f"relative is {relative.dtype} of shape {relative.shape}; one bool is expected")
        volume_edges, price_edges, point, lower, upper = (arrays[part] for part in PARTS[:-1])
        return cls(volume_edges, price_edges, point, lower, upper, bool(relative))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The parts, as `lib.storage.arrays` writes them."""
        return {part: np.asarray(getattr(self, part)) for part in PARTS}

    def _check(self) -> None:
        for name in ("volume_edges", "price_edges"):
            edges = getattr(self, name)
            if edges.dtype != np.float64 or edges.ndim != 1:
                raise ValueError(
                    f"{name} is {edges.dtype} of shape {edges.shape}; float64 of one dimension is expected"
                )
            if not (np.isfinite(edges).all() and (edges[1:] > edges[:-1]).all()):
                raise ValueError(f"{name} is not finite and ascending")
        shape = (len(self.volume_edges) + 1, len(self.price_edges) + 1)
        for name in ("point", "lower", "upper"):
            cells = getattr(self, name)
            most = LARGEST_VOLUME if name == "point" and not self.relative else LARGEST_RATIO
            if cells.dtype != np.float64 or cells.shape != shape:
                raise ValueError(
                    f"{name} is {cells.dtype} of shape {cells.shape}; the edges ask for float64 of shape {shape}"
                )
            if not ((cells >= 0) & (cells <= most)).all():  # false for NaN too
                raise ValueError(f"{name} holds a number that is not from 0 to {most:g}")
        if not (self.lower <= self.upper).all():
            raise ValueError("lower is above upper in some cell")
        if self.relative and not ((self.lower <= self.point) & (self.point <= self.upper)).all():
            raise ValueError("point is not between lower and upper in some cell")

    def predict_one(self, volume: float, price: float) -> float:
        """The prediction for one pair, in shares; ``volume`` is not negative."""
        volume_edges, price_edges, point, _, _ = self._lists
        value = point[bisect_right(volume_edges, volume)][bisect_right(price_edges, price)]
        return value * volume if self.relative else value

    def interval_one(self, volume: float, price: float) -> tuple[float, float]:
        """The interval's ends for one pair, in shares."""
        volume_edges, price_edges, points, lower, upper = self._lists
        row, column = bisect_right(volume_edges, volume), bisect_right(price_edges, price)
        point = points[row][column] * (volume if self.relative else 1)
        low, high = lower[row][column] * volume, upper[row][column] * volume
        return min(low, point), max(high, point)

    def predict(self, volumes: Floats, prices: Floats) -> Floats:
        """The predictions for many pairs, in shares; no volume is negative."""
        values: Floats = self.point[self.cells(volumes, prices)]
        return values * volumes if self.relative else values

    def interval(self, volumes: Floats, prices: Floats) -> tuple[Floats, Floats]:
        """The intervals' ends for many pairs, in shares."""
        cells = self.cells(volumes, prices)
        points = self.point[cells] * (volumes if self.relative else 1)
        return np.minimum(self.lower[cells] * volumes, points), np.maximum(self.upper[cells] * volumes, points)

    def cells(self, volumes: Floats, prices: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The row and the column of each pair."""
        return (
            np.searchsorted(self.volume_edges, volumes, side="right"),
            np.searchsorted(self.price_edges, prices, side="right"),
        )
