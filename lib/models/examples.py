"""What forecasters are fitted on: evenings, and what was traded after them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.features import evening

Floats = NDArray[np.float64]
Known = NDArray[np.float32]
WEIGHT = 0.25  # a row counts its average to this power: between each row alike (0) and each share alike (1)


@dataclass(frozen=True)
class Examples:
    """Rows to fit on: evenings, and what was traded after them.

    Parameters
    ----------
    average : ndarray of float64, shape (rows,)
        Shares a day.
    traded : ndarray of float64, shape (rows, horizons)
        Mean Volume over each horizon, in shares a day; NaN where the symbol ends before it does.
    session : ndarray of int32, shape (rows,)
        The day that is forecast (the first one), as days since 1970-01-01.
    ended : ndarray of int32, shape (rows, horizons)
        The last day of each horizon.
    """

    known: Known
    average: Floats
    traded: Floats
    session: NDArray[np.int32]
    ended: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.average)

    def chosen(self, rows: NDArray[Any]) -> Examples:
        """Some of them: a mask, or indices."""
        return Examples(self.known[rows], self.average[rows], self.traded[rows], self.session[rows], self.ended[rows])


def joined(parts: Sequence[Examples]) -> Examples:
    """The examples of several parts, in order."""
    names = ("known", "average", "traded", "session", "ended")
    return Examples(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def log_ratio(traded: Floats, average: Floats) -> Floats:
    """What is fitted: log Volume relative to the average, days of next to no trade counting as `lib.features.evening.FLOOR`."""
    return np.log(np.maximum(traded, np.maximum(evening.FLOOR * average, 1.0)) / np.maximum(average, 1.0))


def weights(average: Floats) -> Floats:
    """How much each row counts in a fit, by its average."""
    return np.maximum(average, 1.0) ** WEIGHT
