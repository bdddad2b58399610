"""Rows counted in bins, a part of a dataset at a time: what the figures of whole datasets are drawn from. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Bins of the ratio Volume / vol_moving_avg: 0 to 3 by 0.05; larger ratios go to the last bin.
RATIO_EDGES: npt.NDArray[np.float64] = np.append(np.linspace(0, 3, 61), np.inf)


def count_ratios(volume: npt.ArrayLike, vol_moving_avg: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Count ``volume / vol_moving_avg`` in the bins of `RATIO_EDGES`, a part of a dataset at a time; an average of null (NaN) or 0 is left out.

    Returns
    -------
    numpy.ndarray of int64, shape (61,)
        The sum over parts is what `ratio_distribution` takes.

    Examples
    --------
    >>> int(count_ratios([10, 20, 0, 5], [10, float("nan"), 0, 1]).sum())
    2
    """
    volume, average = (np.asarray(volume, dtype=float), np.asarray(vol_moving_avg, dtype=float))
    usable = average > 0  # False for NaN
    bins = np.minimum(volume[usable] / average[usable] * 20, len(RATIO_EDGES) - 2).astype(np.int64)
    return np.bincount(bins, minlength=len(RATIO_EDGES) - 1)


# Bins of the two features: a tenth of a power of ten each, 1 to 10 billion shares and 1 cent to 100,000 dollars.
AVERAGE_EDGES: npt.NDArray[np.float64] = np.logspace(0, 10, 101)
MEDIAN_EDGES: npt.NDArray[np.float64] = np.logspace(-2, 5, 71)


def count_feature_pairs(vol_moving_avg: npt.ArrayLike, adj_close_rolling_med: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Count rows by their two features, in shares a day and dollars, a part of a dataset at a time.

    Returns
    -------
    numpy.ndarray of int64, shape (100, 70)
        By `AVERAGE_EDGES` and `MEDIAN_EDGES`; what lies outside them counts in the bins at the border, rows with a
        null (NaN) feature nowhere. The sum over parts is what `feature_density` takes.

    Examples
    --------
    >>> int(count_feature_pairs([1e6, float("nan")], [25, 25]).sum())
    1
    """
    average, median = np.asarray(vol_moving_avg, dtype=float), np.asarray(adj_close_rolling_med, dtype=float)
    known = ~(np.isnan(average) | np.isnan(median))
    row = _tenth_of_a_decade(average[known], AVERAGE_EDGES)
    column = _tenth_of_a_decade(median[known], MEDIAN_EDGES)
    shape = len(AVERAGE_EDGES) - 1, len(MEDIAN_EDGES) - 1
    return np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1]).reshape(shape)


def _tenth_of_a_decade(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The bin of each value among logarithmic ``edges``: a logarithm costs less than a search."""
    exponents = np.log10(np.clip(values, edges[0], edges[-1]))
    return np.clip(10 * (exponents - np.log10(edges[0])), 0, len(edges) - 2).astype(np.int64)


def feature_pairs() -> npt.NDArray[np.float64]:
    """The middle of each bin of `count_feature_pairs`.

    Returns
    -------
    numpy.ndarray of float64, shape (7000, 2)
        vol_moving_avg and adj_close_rolling_med, ready for a model's ``predict``.
    """
    averages, medians = (np.sqrt(edges[1:] * edges[:-1]) for edges in (AVERAGE_EDGES, MEDIAN_EDGES))
    return np.column_stack([np.repeat(averages, len(medians)), np.tile(medians, len(averages))])


def count_predictions(predicted: npt.ArrayLike, actual: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Count days by predicted and actual volume, in shares.

    Returns
    -------
    numpy.ndarray of int64, shape (100, 100)
        By `AVERAGE_EDGES`, predicted first; a volume below 1 share counts in the first bin.

    Examples
    --------
    >>> int(count_predictions([1e6, 0], [2e6, 0]).sum())
    2
    """
    bins = [_tenth_of_a_decade(np.asarray(values, dtype=float), AVERAGE_EDGES) for values in (predicted, actual)]
    size = len(AVERAGE_EDGES) - 1
    return np.bincount(bins[0] * size + bins[1], minlength=size * size).reshape(size, size)
