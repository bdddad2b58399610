"""Quantiles of weighted values, and rows drawn at random. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
    positions = groups * bins + np.minimum(values * (bins / 16), bins - 1).astype(np.int64)
    cumulative = np.cumsum(np.bincount(positions, weights, count * bins).reshape(count, bins), axis=1)
    totals = cumulative[:, -1]
    wanted = totals * share
    middle = np.minimum((cumulative < wanted[:, np.newaxis]).sum(axis=1), bins - 1)
    quantiles = np.full(count, np.nan)
    near = np.flatnonzero(positions == groups * bins + middle[groups])
    for group in np.flatnonzero(totals > 0):
        chosen = near[groups[near] == group]
        chosen = chosen[np.argsort(values[chosen], kind="stable")]
        below = cumulative[group, middle[group] - 1] if middle[group] else 0.0
        index = np.searchsorted(below + np.cumsum(weights[chosen]), wanted[group])
        quantiles[group] = values[chosen[min(index, len(chosen) - 1)]]
    return quantiles


def weighted_median(values: Floats, weights: Floats) -> float:
    """The value that halves the weight; 0 without any.

    Examples
    --------
    >>> weighted_median(np.array([1.0, -2.0, 5.0]), np.array([1.0, 1.0, 4.0]))
    5.0
    """
    if not weights.sum() > 0:
        return 0.0
    # Only the values of the bin that holds the median are sorted; with all in one bin, all are.
    least, most = float(values.min()), float(values.max())
    bins = min(4096, 1 + len(values) // 8) if most > least else 1
    positions = np.minimum((values - least) * (bins / max(most - least, 1e-300)), bins - 1).astype(np.int64)
    cumulative = np.cumsum(np.bincount(positions, weights, bins))
    wanted = cumulative[-1] / 2
    middle = int(np.searchsorted(cumulative, wanted))
    chosen = np.flatnonzero(positions == middle)
    chosen = chosen[np.argsort(values[chosen], kind="stable")]
    below = cumulative[middle - 1] if middle else 0.0
    index = np.searchsorted(below + np.cumsum(weights[chosen]), wanted)
    return float(values[chosen[min(int(index), len(chosen) - 1)]])


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
