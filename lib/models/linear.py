"""A linear model of the log ratio, fitted from sums that add up over parts."""

from __future__ import annotations

import functools

import numpy as np
from threadpoolctl import ThreadpoolController

from lib.features import definitions
from lib.models.examples import Floats, Known, weights

# Of a column's variance. In a history of one or two years the months and the length of the history nearly repeat each other, and without a ridge
# their coefficients grow large, and forecast nonsense on later days; a longer history hardly notices it.
RIDGE = 0.03
LEAST_VARIANCE = 1e-9
FARTHEST = 3.0  # standard deviations of the target from its mean
NO_LIMITS = np.array([-np.inf, np.inf])
_CATEGORIES = {"weekday": range(7), "month": range(1, 13)}


def linear_inputs(known: Known) -> Floats:
    """The matrix of the linear model: the features, missing ones at 0, the weekday and the month as indicators, and a constant."""
    numbers = [index for index, name in enumerate(definitions.NAMES) if name not in _CATEGORIES]
    columns = [np.nan_to_num(known[:, numbers].astype(np.float64))]
    for name, values in _CATEGORIES.items():
        columns.append((known[:, definitions.NAMES.index(name), np.newaxis] == np.array(values)).astype(np.float64))
    return np.concatenate([*columns, np.ones((len(known), 1))], axis=1)


def gram_matrix(known: Known, average: Floats, target: Floats) -> Floats:
    """The weighted sums of products that a linear fit needs: they add up over parts.

    Parameters
    ----------
    target : ndarray of float64, shape (rows,)
        As `log_ratio` makes it.

    Returns
    -------
    ndarray of float64, shape (columns + 1, columns + 1)
        The last row and column belong to the target.
    """
    columns = np.column_stack([linear_inputs(known), target]) * weights(average)[:, np.newaxis] ** 0.5
    with _blas().limit(limits=1, user_api="blas"):
        matrix: Floats = columns.T @ columns
    return matrix


@functools.cache
def _blas() -> ThreadpoolController:
    """Found once, as `lib.models.boosting` does for its own: one knows no library that is loaded after it was made."""
    return ThreadpoolController()


class Linear:
    """A linear model of the log ratio.

    Parameters
    ----------
    coefficients : ndarray of float64, shape (columns,)
        Of `linear_inputs`.
    limits : ndarray of float64, shape (2,)
        The least and the largest log ratio that is predicted.
    """

    def __init__(self, coefficients: Floats, limits: Floats = NO_LIMITS) -> None:
        self.coefficients = coefficients
        self.limits = limits

    @classmethod
    def fit(cls, matrix: Floats) -> Linear:
        """Solve for a ridge regression on standardised columns, from what `gram_matrix` added up; a column that does not vary counts for nothing."""
        mean = matrix[-2] / matrix[-2, -2]  # the constant's row holds the sums
        covariance = matrix / matrix[-2, -2] - np.outer(mean, mean)
        variance = np.diag(covariance)[:-1]
        spread = np.sqrt(np.where(variance > LEAST_VARIANCE, variance, np.inf))
        correlation = covariance[:-1, :-1] / np.outer(spread, spread) + RIDGE * np.eye(len(spread))
        with _blas().limit(limits=1, user_api="blas"):
            coefficients: Floats = np.linalg.solve(correlation, covariance[:-1, -1] / spread) / spread
            coefficients[-1] = mean[-1] - mean[:-2] @ coefficients[:-1]
        # A feature that was missing in nearly all rows, such as that of a year ago, may then be far from where its coefficient holds.
        return cls(coefficients, mean[-1] + np.array([-FARTHEST, FARTHEST]) * np.sqrt(max(covariance[-1, -1], 0.0)))

    def predict(self, known: Known) -> Floats:
        """Log ratios: `linear_inputs` times the coefficients, without the matrix, which is mostly zeros."""
        numbers = [index for index, name in enumerate(definitions.NAMES) if name not in _CATEGORIES]
        coefficients = self.coefficients[: len(numbers)]
        with _blas().limit(limits=1, user_api="blas"):
            predicted: Floats = np.nan_to_num(known[:, numbers].astype(np.float64)) @ coefficients
        used = len(numbers)
        for name, values in _CATEGORIES.items():
            codes = known[:, definitions.NAMES.index(name)].astype(np.int64) - values.start
            predicted += self.coefficients[used : used + len(values)][codes]
            used += len(values)
        return np.clip(predicted + self.coefficients[used], *self.limits)
