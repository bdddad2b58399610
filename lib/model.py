"""The regression of a day's Volume on its moving average and the median adjusted close.

Both inputs are cut into bins, and everything a fit needs to know of the rows of a cell is how its ratios Volume /
vol_moving_avg are spread. That table is made in one pass, so that a fit takes seconds on 22 M rows and the model is a
table too: exact to look up, and the same whatever the number of threads.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import skops.io
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, validate_data

from lib.files import write_atomically
from lib.inputs import INPUTS
from lib.paths import StudyPaths

Floats = NDArray[np.float64]
TRUSTED_TYPES = [
    "lib.model.Forest",
    "lib.model.RatioBoosting",
]  # all that a model file may hold, beside arrays and numbers

CHUNK = 1 << 20  # rows that are binned at a time: memory stays flat
SAMPLE = 1 << 19  # rows that the bins' edges are computed from
# Edges of the ratio's histogram: days of no trade, then steps of 6 %, then all that is above 20 times the average.
RATIO_EDGES = np.concatenate([[0.0], np.geomspace(0.02, 20.0, 119), [40.0]])
RATIO_CENTRES = (RATIO_EDGES[1:] + RATIO_EDGES[:-1]) / 2
INTERVAL_SMOOTHING = (0.05,)  # width of a cell's neighbourhood, whose rows tell its interval
# Times that a row of the last dates counts in the interval: how widely volumes spread changes over the years.
RECENT = 3


class TableRegressor(RegressorMixin, BaseEstimator):
    """What `RatioBoosting` and `Forest` share: a prediction for each cell of the two inputs, and its interval.

    Attributes
    ----------
    volume_edges_ : ndarray of float64, shape (n,)
        Where one bin of vol_moving_avg ends and the next begins.
    price_edges_ : ndarray of float64, shape (m,)
        The same for adj_close_rolling_med.
    point_, lower_, upper_ : ndarray of float64, shape (n + 1, m + 1)
        The prediction of each cell and its interval's ends: ratios to vol_moving_avg (`Forest.point_`: shares).
    """

    name = ""  # in params: train.model
    relative = True
    volume_edges_: Floats
    price_edges_: Floats
    point_: Floats
    lower_: Floats
    upper_: Floats

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        tags.regressor_tags.poor_score = (
            True  # the target is a multiple of the first column, unlike scikit-learn's test data
        )
        return tags

    def predict(self, X: ArrayLike) -> Floats:
        """Predict Volume.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            vol_moving_avg (shares a day) and adj_close_rolling_med (dollars).

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Shares, never negative.
        """
        X = self._checked(X)
        values = self.point_[self._cells(X)]
        return values * np.maximum(X[:, 0], 0) if self.relative else values

    def predict_interval(self, X: ArrayLike) -> tuple[Floats, Floats]:
        """Predict the interval that holds Volume with probability ``interval_level``.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            As for `predict`.

        Returns
        -------
        (low, high) : pair of ndarray of float64, shape (n_samples,)
            Shares; the prediction lies between them.
        """
        X = self._checked(X)
        cells, volumes, points = self._cells(X), np.maximum(X[:, 0], 0), self.predict(X)
        return np.minimum(self.lower_[cells] * volumes, points), np.maximum(self.upper_[cells] * volumes, points)

    def _checked(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        checked: Floats = validate_data(self, X, reset=False, dtype=np.float64)
        return checked

    def _cells(self, X: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return (
            np.searchsorted(self.volume_edges_, X[:, 0], side="right"),
            np.searchsorted(self.price_edges_, X[:, 1], side="right"),
        )

    def _check_training(self, X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        # scikit-learn's own checks pass more columns than two; only the first two have a meaning here.
        checked: tuple[Floats, Floats] = validate_data(
            self, X, y, dtype=np.float64, y_numeric=True, ensure_min_features=2
        )
        return checked

    def _fit_bins(self, X: Floats, max_bins: tuple[int, int], power: float) -> None:
        sample = X[:: max(1, len(X) // SAMPLE)]
        # Power 0: each row counts. 1: each share counts. Between them there are bins for small and for large symbols.
        weights = np.maximum(sample[:, 0], 0) ** power + 1e-9
        self.volume_edges_ = _quantile_edges(sample[:, 0], weights, max_bins[0])
        self.price_edges_ = _quantile_edges(sample[:, 1], weights, max_bins[1])


class RatioBoosting(TableRegressor):
    """Gradient boosting of the ratio Volume / vol_moving_avg over a table of both inputs.

    Boosting starts at the best single ratio, which makes the model the best multiple of the moving average. An iteration
    computes each cell's gradient, smooths it over the neighbouring cells, and takes a step. A few large symbols hold most
    of the error, and their cells are almost their names; what is learned there by heart does worse than the best single
    ratio on later dates. So three things hold the steps back: smoothing, where boosting usually grows a tree; few iterations,
    how many is chosen on later dates; and shrinkage. For that the training dates are cut into blocks, each block asks for a
    step of its own, and where the blocks do not agree the step is small.

    Parameters
    ----------
    objective : {"absolute", "squared"}
        The error to make small.
    max_bins : (int, int)
        Bins of vol_moving_avg and of adj_close_rolling_med, at most.
    min_iter, max_iter : int
        Boosting iterations that the validation rows choose among. The squared error may choose none at all: see `SquaredLoss`.
        Less than 3 blocks leave no choice: ``max_iter``.
    learning_rate : float
        Share of the full step that an iteration takes.
    smoothing : sequence of float
        Standard deviations of the Gaussians that smooth a step, as shares of an input's bins: a step is their mean.
    blocks : int
        Blocks of as many dates each (of random rows, when `fit` gets no dates). Each but the first two chooses the iteration
        of a model that is fitted on those before it; their mean error decides.
    shrinkage : float
        A step is multiplied by m² / (m² + ``shrinkage`` v), where m is the mean of the blocks' steps and v the variance of that mean:
        3 halves a step that is 1.7 standard errors large. 0: the blocks are one.
    interval_level : float or None
        Probability that the interval holds Volume. None: no interval is fitted, which takes a third of the time.
    random_state : int
        Seed of the blocks; not used when `fit` gets dates.

    Attributes
    ----------
    n_iter_ : int
        Boosting iterations of the prediction.
    history_ : list of dict
        One entry a boosting iteration: iteration, train and validation (mean error of the rows fitted and of those of the block after
        them, in shares, or in squared shares for ``objective="squared"``).

    Examples
    --------
    >>> averages = np.linspace(1e5, 1e6, 1000)
    >>> X = np.column_stack([averages, np.full(1000, 25.0)])
    >>> model = RatioBoosting().fit(X, 0.9 * averages)
    >>> bool(abs(model.predict([[1e6, 25.0]])[0] - 9e5) < 3e4)
    True
    """

    name = "ratio_boosting"

    def __init__(
        self,
        objective: Literal["absolute", "squared"] = "absolute",
        max_bins: tuple[int, int] = (64, 48),
        min_iter: int = 1,
        max_iter: int = 12,
        learning_rate: float = 0.5,
        smoothing: Sequence[float] = (0.5, 0.3, 0.2, 0.1, 0.05),
        blocks: int = 4,
        shrinkage: float = 3.0,
        interval_level: float | None = 0.8,
        random_state: int = 42,
    ) -> None:
        self.objective = objective
        self.max_bins = max_bins
        self.min_iter = min_iter
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.smoothing = smoothing
        self.blocks = blocks
        self.shrinkage = shrinkage
        self.interval_level = interval_level
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, dates: NDArray[np.datetime64] | None = None) -> RatioBoosting:
        """Fit the prediction and the interval.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            vol_moving_avg (shares a day) and adj_close_rolling_med (dollars). Rows whose vol_moving_avg is 0 have no ratio
            and tell nothing.
        y : array-like of shape (n_samples,)
            Volume, in shares.
        dates : ndarray of datetime64[D], shape (n_samples,), optional
            The day of each row.

        Returns
        -------
        RatioBoosting
        """
        if self.objective not in ("absolute", "squared"):
            raise ValueError(f"objective is {self.objective!r}; allowed: 'absolute' or 'squared'")
        X, y = self._check_training(X, y)
        self._fit_bins(X, self.max_bins, 0.25)
        block_of_row = blocks_of_dates(len(X), dates, self.blocks, self.random_state)
        # |Volume - average * ratio| is average * |Volume / average - ratio|: a row's error in shares is that of its ratio, times
        # its average. Errors are judged so, and the start is the best ratio so. But steps taken so would follow the few
        # largest symbols alone; where each row counts a root of its average, they are better on later dates, by that very judgement.
        fitting, judging = (0.25, 1.0) if self.objective == "absolute" else (1.0, 2.0)
        tables = self._histograms(X, y, block_of_row, (fitting, judging, 0.0))
        shape = tables[judging][0].shape
        ratios, self.n_iter_, self.history_ = self._boost(tables[fitting], tables[judging])
        self.point_ = ratios.reshape(shape)
        if self.interval_level is None:
            return self

        # Each day counts once in the interval's promise.
        *earlier, later = (table.weights for table in tables[0.0])
        smoother = Smoother(shape, INTERVAL_SMOOTHING)
        nearby = np.stack([smoother(level) for level in sum(earlier, RECENT * later).T], axis=1)
        lower = quantiles(nearby, (1 - self.interval_level) / 2)
        # In the first ratio bin are days of next to no trade. Where the lower end falls there, they belong to the interval, and all that
        # it leaves out lies above it.
        reaches_zero = lower < RATIO_EDGES[1]
        upper = quantiles(nearby, np.where(reaches_zero, self.interval_level, (1 + self.interval_level) / 2))
        self.lower_ = np.minimum(np.where(reaches_zero, 0, lower).reshape(shape), self.point_)
        self.upper_ = np.maximum(upper.reshape(shape), self.point_)
        return self

    def _histograms(
        self, X: Floats, y: Floats, block_of_row: NDArray[np.intp], powers: Sequence[float]
    ) -> dict[float, list[Histogram]]:
        """By power: a histogram of each block's rows, each counting its average to that power."""
        shape = (len(self.volume_edges_) + 1, len(self.price_edges_) + 1)
        counts = {power: np.zeros((self.blocks, shape[0] * shape[1], len(RATIO_CENTRES))) for power in powers}
        rows = np.zeros(self.blocks, dtype=np.int64)
        for start in range(0, len(X), CHUNK):
            part = slice(start, start + CHUNK)
            usable = X[part, 0] > 0
            inputs, block = X[part][usable], block_of_row[part][usable]
            ratios = np.maximum(y[part][usable], 0) / inputs[:, 0]
            levels = np.minimum(np.searchsorted(RATIO_EDGES, ratios, side="right") - 1, len(RATIO_CENTRES) - 1)
            volume_bins, price_bins = self._cells(inputs)
            places = ((block * shape[0] + volume_bins) * shape[1] + price_bins) * len(RATIO_CENTRES) + levels
            rows += np.bincount(block, minlength=self.blocks)
            for power, count in counts.items():
                count += np.bincount(places, _power(inputs[:, 0], power), count.size).reshape(count.shape)
        return {
            power: [Histogram(shape, weights, int(number)) for weights, number in zip(count, rows, strict=True)]
            for power, count in counts.items()
        }

    def _boost(
        self, fitting: Sequence[Histogram], judging: Sequence[Histogram]
    ) -> tuple[Floats, int, list[dict[str, float]]]:
        """Boost all rows, as often as the validation blocks ask for: ratios, iterations, history."""
        loss: Callable[[Histogram], Loss] = AbsoluteLoss if self.objective == "absolute" else SquaredLoss
        smoother = Smoother(fitting[0].shape, self.smoothing)

        def steps(blocks: int, iterations: int) -> Iterator[Floats]:
            tables = fitting[:blocks] if self.shrinkage else [merged(fitting[:blocks])]
            start = loss(merged(judging[:blocks])).start()
            return boost(list(map(loss, tables)), smoother, start, self.learning_rate, iterations, self.shrinkage)

        # Of the rows fitted and of the block after them, over all validation blocks.
        errors, rows = np.zeros((2, self.max_iter + 1)), np.zeros(2)
        for block in range(2, self.blocks):
            pair = merged(judging[:block]), judging[block]
            if all(table.rows for table in pair):
                judges = [loss(table) for table in pair]
                means = np.array([[judge.mean(ratios) for judge in judges] for ratios in steps(block, self.max_iter)])
                rows += (counts := np.array([table.rows for table in pair]))
                errors += (counts * means).T
        iterations, history = self.max_iter, []
        if rows.all():
            train, validation = errors / rows[:, np.newaxis]
            history = [
                {"iteration": step, "train": float(train[step]), "validation": float(validation[step])}
                for step in range(self.max_iter + 1)
            ]
            least = min(self.min_iter, self.max_iter)
            iterations = least + int(np.argmin(validation[least:]))
            if validation[iterations] >= validation[0] * (1 - loss(fitting[0]).margin):
                iterations = 0
        *_, ratios = steps(self.blocks, iterations)
        return ratios, iterations, history


class Forest(TableRegressor):
    """The reference: a random forest of Volume on both inputs, as published solutions fit it, on binned inputs.

    Binned, so that the forest too is a table that serving can look up exactly, and so that a tree is grown from the mean of
    each bin's bootstrapped rows, which are fewer than the rows: it has the same splits. The mean absolute error is within a
    few percent of that of scikit-learn's forest on the raw inputs. Splits make the squared error small, whatever the objective.

    Parameters
    ----------
    n_estimators : int
        Trees.
    sample_share : float
        Share of the rows that it is fitted on, at random.
    max_bins : (int, int)
        Bins of vol_moving_avg and of adj_close_rolling_med, at most.
    interval_level : float or None
        Probability that the interval holds Volume; the interval is `RatioBoosting`'s. None: none is fitted.
    n_jobs : int
        Threads; -1: one a core. The result does not depend on it.
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

    name = "forest"
    relative = False

    def __init__(
        self,
        n_estimators: int = 25,
        sample_share: float = 0.1,
        max_bins: tuple[int, int] = (512, 256),
        interval_level: float | None = 0.8,
        n_jobs: int = -1,
        random_state: int = 42,
    ) -> None:
        self.n_estimators = n_estimators
        self.sample_share = sample_share
        self.max_bins = max_bins
        self.interval_level = interval_level
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, dates: NDArray[np.datetime64] | None = None) -> Forest:
        """Fit the forest, then look up its prediction of every cell.

        Parameters
        ----------
        X, y, dates
            As for `RatioBoosting.fit`.

        Returns
        -------
        Forest
        """
        X, y = self._check_training(X, y)
        self._fit_bins(X, self.max_bins, 0.5)
        shape = (len(self.volume_edges_) + 1, len(self.price_edges_) + 1)
        chosen = sampled_rows(len(X), self.sample_share, self.random_state)
        volume_bins, price_bins = self._cells(X[chosen])
        cells, volumes = volume_bins * shape[1] + price_bins, np.maximum(y[chosen], 0)
        grow = delayed(_tree_table)
        trees = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            grow(cells, volumes, shape, [self.random_state, tree]) for tree in range(self.n_estimators)
        )
        self.point_ = sum(trees[1:], trees[0]) / len(trees)  # in order: the same to the last bit however many threads

        if self.interval_level is None:
            return self
        spread = RatioBoosting(interval_level=self.interval_level, random_state=self.random_state).fit(X, y, dates)
        # Each cell of this finer table takes the interval of the coarser table's cell that its lower corner lies in.
        corners = (
            np.searchsorted(spread.volume_edges_, np.concatenate([[-np.inf], self.volume_edges_]), side="right"),
            np.searchsorted(spread.price_edges_, np.concatenate([[-np.inf], self.price_edges_]), side="right"),
        )
        self.lower_, self.upper_ = spread.lower_[np.ix_(*corners)], spread.upper_[np.ix_(*corners)]
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


@dataclass(frozen=True)
class Histogram:
    """How the ratios of each cell's rows are spread: all that boosting needs to know of them.

    Parameters
    ----------
    shape : (int, int)
        Cells of vol_moving_avg and of adj_close_rolling_med.
    weights : ndarray of float64, shape (cells, ratio bins)
        Weight of the rows by cell and ratio bin (`RATIO_EDGES`; ratios above the last edge are in the last bin).
    rows : int
        Rows counted.
    """

    shape: tuple[int, int]
    weights: Floats
    rows: int


def merged(histograms: Sequence[Histogram]) -> Histogram:
    """One histogram of all rows.

    Parameters
    ----------
    histograms : sequence of Histogram
        Of the same cells; at least one.

    Returns
    -------
    Histogram
    """
    weights = sum((other.weights for other in histograms[1:]), histograms[0].weights)
    return Histogram(histograms[0].shape, weights, sum(histogram.rows for histogram in histograms))


class Loss:
    """A loss of one ratio a cell, from a histogram of the cell's rows.

    Attributes
    ----------
    curvature : ndarray of float64, shape (cells,)
        What a cell's gradient is divided by, to make it a step.
    margin : float
        The share by which boosting must lower the start's error on validation rows, or it stays at the start.
    """

    curvature: Floats
    margin = -np.inf  # it never stays

    def start(self) -> float:
        """The single ratio with the least loss."""
        raise NotImplementedError

    def descent(self, ratios: Floats) -> Floats:
        """Minus the gradient: where to go.

        Parameters
        ----------
        ratios : ndarray of float64, shape (cells,)

        Returns
        -------
        ndarray of float64, shape (cells,)
        """
        raise NotImplementedError

    def mean(self, ratios: Floats) -> float:
        """The mean loss a row.

        Parameters
        ----------
        ratios : ndarray of float64, shape (cells,)

        Returns
        -------
        float
        """
        raise NotImplementedError


class AbsoluteLoss(Loss):
    """Weighted absolute error.

    Parameters
    ----------
    histogram : Histogram
    """

    def __init__(self, histogram: Histogram) -> None:
        self.histogram = histogram
        # Weight, and weight times ratio, below each edge; within a ratio bin, weight is taken as evenly spread.
        none = np.zeros((len(histogram.weights), 1))
        self.weight_below = np.concatenate([none, np.cumsum(histogram.weights, axis=1)], axis=1)
        self.moment_below = np.concatenate([none, np.cumsum(histogram.weights * RATIO_CENTRES, axis=1)], axis=1)
        self.curvature = self.weight_below[:, -1]

    def start(self) -> float:
        return float(quantiles(self.histogram.weights.sum(axis=0, keepdims=True), 0.5)[0])

    def descent(self, ratios: Floats) -> Floats:
        return 0.5 * self.weight_below[:, -1] - self._below(ratios)[0]

    def mean(self, ratios: Floats) -> float:
        weight, moment = self._below(ratios)
        above = self.moment_below[:, -1] - moment - ratios * (self.weight_below[:, -1] - weight)
        below = ratios * weight - moment
        return float((above + below).sum() / self.histogram.rows)

    def _below(self, ratios: Floats) -> tuple[Floats, Floats]:
        """Each cell's weight, and weight times ratio, below its ratio."""
        levels = np.clip(np.searchsorted(RATIO_EDGES, ratios, side="right") - 1, 0, len(RATIO_CENTRES) - 1)
        edges, cells = RATIO_EDGES[levels], np.arange(len(ratios))
        weight = np.clip((ratios - edges) / np.diff(RATIO_EDGES)[levels], 0, 1) * self.histogram.weights[cells, levels]
        return self.weight_below[cells, levels] + weight, self.moment_below[cells, levels] + weight * (
            edges + ratios
        ) / 2


class SquaredLoss(Loss):
    """Weighted squared error; a ratio counts as the centre of its bin.

    It starts at the moving average itself. That is hard to beat in squared error, and single days of single symbols make
    that error, so a gain of less than one part in a hundred on the validation rows is chance.

    Parameters
    ----------
    histogram : Histogram
    """

    margin = 0.01

    def __init__(self, histogram: Histogram) -> None:
        self.histogram = histogram
        self.moments = [(histogram.weights * RATIO_CENTRES**power).sum(axis=1) for power in range(3)]
        self.curvature = self.moments[0]

    def start(self) -> float:
        return 1.0

    def descent(self, ratios: Floats) -> Floats:
        return self.moments[1] - self.moments[0] * ratios

    def mean(self, ratios: Floats) -> float:
        squares = self.moments[2] - 2 * self.moments[1] * ratios + self.moments[0] * ratios**2
        return float(squares.sum() / self.histogram.rows)


class Smoother:
    """The mean of several Gaussians over the bins of both inputs: wide ones, for what all rows tell, to narrow ones.

    Parameters
    ----------
    shape : (int, int)
        Cells of vol_moving_avg and of adj_close_rolling_med.
    widths : sequence of float
        Standard deviations, as shares of the bins of an input.
    """

    def __init__(self, shape: tuple[int, int], widths: Sequence[float]) -> None:
        self.shape = shape
        self._kernels = [tuple(_gaussian(bins, width * bins) for bins in shape) for width in widths]

    def __call__(self, values: Floats) -> Floats:
        """Smooth one value a cell, shape (cells,)."""
        total = np.zeros(self.shape)
        for rows, columns in self._kernels:
            # Not `@`: BLAS may sum in another order with another number of threads, and the bytes must not change.
            half = np.einsum("ij,jk->ik", rows, values.reshape(self.shape), optimize=False)
            total += np.einsum("ik,lk->il", half, columns, optimize=False)
        return total.ravel() / len(self._kernels)


def boost(
    losses: Sequence[Loss],
    smoother: Smoother,
    start: float,
    learning_rate: float,
    iterations: int,
    shrinkage: float = 0.0,
) -> Iterator[Floats]:
    """Boost: yield the ratio of each cell at the start and after each iteration.

    Parameters
    ----------
    losses : sequence of Loss
        What to make small the sum of: one a block of rows.
    smoother : Smoother
        The base learner: Friedman's gradient boosting (2001), with a smoother instead of a tree, as in Bühlmann and Yu (2003).
    start : float
        The ratio of every cell before the first iteration.
    learning_rate : float
        Share of the full step that an iteration takes.
    iterations : int
        How many.
    shrinkage : float
        How much a step is held back where the blocks do not agree, after James and Stein (1961): see `RatioBoosting`.

    Yields
    ------
    ndarray of float64, shape (cells,)
        Never negative.
    """
    tiny = np.finfo(float).tiny
    ratios = np.full(smoother.shape[0] * smoother.shape[1], start)
    curvatures = np.array([smoother(loss.curvature) for loss in losses])
    total = curvatures.sum(axis=0)
    shares = curvatures / (total + tiny)
    # As many blocks of equal weight would tell as much (Kish's effective size); of one alone, the variance is not known.
    others = np.maximum(1 / (np.square(shares).sum(axis=0) + tiny) - 1, 0.25)
    # Cells that hold less than half an average cell's weight take smaller steps: few rows say little.
    damped = total + 0.5 * np.sum([loss.curvature for loss in losses], axis=0).mean() + tiny
    yield ratios
    for _ in range(iterations):
        gradients = np.array([smoother(loss.descent(ratios)) for loss in losses])
        steps = gradients / (curvatures + tiny)
        mean = (shares * steps).sum(axis=0)
        variance = (shares * np.square(steps - mean)).sum(axis=0) / others
        kept = np.square(mean) / (np.square(mean) + shrinkage * variance + tiny)
        ratios = np.maximum(ratios + learning_rate * kept * gradients.sum(axis=0) / damped, 0)
        yield ratios


def quantiles(weights: Floats, quantile: float | Floats) -> Floats:
    """The quantile of each cell's ratios.

    Parameters
    ----------
    weights : ndarray of float64, shape (cells, ratio bins)
        By `RATIO_EDGES`; within a ratio bin, weight is taken as evenly spread.
    quantile : float, or ndarray of float64, shape (cells,)

    Returns
    -------
    ndarray of float64, shape (cells,)
        1 where a cell has no weight.
    """
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)
    wanted, cells = quantile * below[:, -1], np.arange(len(weights))
    levels = np.minimum((below[:, 1:] <= wanted[:, np.newaxis]).sum(axis=1), len(RATIO_CENTRES) - 1)
    inside = (wanted - below[cells, levels]) / np.maximum(weights[cells, levels], np.finfo(float).tiny)
    return np.where(below[:, -1] > 0, RATIO_EDGES[levels] + np.clip(inside, 0, 1) * np.diff(RATIO_EDGES)[levels], 1.0)


def blocks_of_dates(rows: int, dates: NDArray[np.datetime64] | None, count: int, seed: int) -> NDArray[np.intp]:
    """Cut rows into blocks of as many dates each, or without dates into random ones.

    Parameters
    ----------
    rows : int
        How many rows there are.
    dates : ndarray of datetime64[D], shape (rows,), or None
    count : int
        Blocks; with fewer dates some are empty.
    seed : int
        Used without dates.

    Returns
    -------
    ndarray of int, shape (rows,)
        The block of each row, 0 to ``count`` - 1; a later date is in no earlier block.

    Examples
    --------
    >>> blocks_of_dates(5, np.arange("2020-01-01", "2020-01-06", dtype="datetime64[D]"), count=2, seed=0).tolist()
    [0, 0, 1, 1, 1]
    """
    if dates is None:
        return np.random.default_rng(seed).integers(0, count, rows)
    days = distinct_days(dates)
    return np.searchsorted(days[[len(days) * block // count for block in range(1, count)]], dates, side="right")


def distinct_days(dates: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """The different days; counting is twenty times faster than sorting 22 M rows.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape (n,)
        At least one.

    Returns
    -------
    ndarray of datetime64[D], shape (days,)
        Ascending.
    """
    first = dates.min()
    return first + np.flatnonzero(np.bincount((dates - first).astype(np.int64)))


def sampled_rows(rows: int, share: float, seed: int) -> NDArray[np.intp]:
    """A random share of the row numbers.

    Parameters
    ----------
    rows : int
        How many rows there are.
    share : float
        Of the rows.
    seed : int

    Returns
    -------
    ndarray of int, shape (sampled,)
        At least one of the numbers 0 to ``rows`` - 1, ascending.

    Examples
    --------
    >>> len(sampled_rows(10, share=0.3, seed=42))
    3
    """
    count = min(rows, max(1, round(rows * share)))
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))


def make_estimator(
    model: str, objective: str, seed: int, forest_trees: int = 25, forest_sample_share: float = 0.1
) -> TableRegressor:
    """The estimator that the ``train`` section of a params file asks for.

    Parameters
    ----------
    model : {"ratio_boosting", "forest"}
    objective : {"absolute", "squared"}
        Not used by the forest, which always makes the squared error small.
    seed : int
    forest_trees : int
    forest_sample_share : float
        Share of the training rows that the forest is fitted on.

    Returns
    -------
    TableRegressor
        Not fitted.
    """
    if model == "forest":
        return Forest(n_estimators=forest_trees, sample_share=forest_sample_share, random_state=seed)
    return RatioBoosting(objective=objective, random_state=seed)  # type: ignore[arg-type]


def write_estimator(path: Path, estimator: TableRegressor) -> None:
    """Save a fitted estimator with skops; the same estimator gives the same bytes.

    Parameters
    ----------
    path : pathlib.Path
        A study's ``model/model.skops``.
    estimator : TableRegressor
        Fitted.
    """
    # skops names things by their address in memory and stamps the time; number them in order of appearance instead.
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as saved:
        schema = saved.read("schema.json").decode()
        numbers = {
            found: str(n) for n, found in enumerate(dict.fromkeys(re.findall(r'"__id__": (\d+)', schema)), start=1)
        }
        schema = re.sub(r'"__id__": (\d+)', lambda match: f'"__id__": {numbers[match[1]]}', schema)
        schema = re.sub(r'"(\d+)\.npy"', lambda match: f'"{numbers[match[1]]}.npy"', schema)
        members = {f"{numbers[name[:-4]]}.npy": saved.read(name) for name in saved.namelist() if name.endswith(".npy")}
    members["schema.json"] = schema.encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members, key=lambda name: (len(name), name)):
            archive.writestr(zipfile.ZipInfo(name), members[name], zipfile.ZIP_DEFLATED)
    write_atomically(path, content.getvalue())


def read_estimator(path: Path) -> TableRegressor:
    """Load an estimator that `write_estimator` saved; a file that holds any other type is refused.

    Parameters
    ----------
    path : pathlib.Path
        A study's ``model/model.skops``.

    Returns
    -------
    TableRegressor

    Raises
    ------
    ValueError
        The file holds types beside `TRUSTED_TYPES`.
    """
    found = skops.io.get_untrusted_types(file=path)
    if strangers := sorted(set(found) - set(TRUSTED_TYPES)):
        raise ValueError(f"{path}: holds {', '.join(strangers)}; allowed: {', '.join(TRUSTED_TYPES)}. Do not load it")
    return skops.io.load(path, trusted=TRUSTED_TYPES)


def write_grid(path: Path, estimator: TableRegressor, information: dict[str, Any]) -> None:
    """Save the table that `lib.predictor.Predictor` loads.

    Parameters
    ----------
    path : pathlib.Path
        A study's ``model/grid.npz``.
    estimator : TableRegressor
        Fitted.
    information : dict
        As `describe` makes it.
    """
    content = io.BytesIO()
    np.savez_compressed(
        content,
        volume_edges=estimator.volume_edges_,
        price_edges=estimator.price_edges_,
        point=estimator.point_,
        lower=estimator.lower_,
        upper=estimator.upper_,
        relative=np.array(estimator.relative),
        information=np.array(json.dumps(information, sort_keys=True)),
    )
    write_atomically(path, content.getvalue())


def describe(
    estimator: TableRegressor,
    X: Floats,
    dates: NDArray[np.datetime64],
    horizon: int,
    window: int,
    test_first_date: str,
    features_digest: str,
    metrics: dict[str, float],
    min_periods: int | None = None,
) -> dict[str, Any]:
    """What a model is, for `lib.predictor.Predictor.information`, the API and the model card.

    Parameters
    ----------
    estimator : TableRegressor
        Fitted.
    X : ndarray of float64, shape (n_samples, 2)
        The training rows.
    dates : ndarray of datetime64[D], shape (n_samples,)
        Their days.
    horizon : int
        Trading days between the features and the Volume predicted.
    window : int
        Days of the features' windows.
    test_first_date : str
        The first day held out, YYYY-MM-DD.
    features_digest : str
        SHA-256 of the dataset of features.
    metrics : dict
        ``mae`` and ``mae_moving_average`` on the held-out dates, in shares, and what else was measured on them.
    min_periods : int or None
        Rows that the features' windows must hold; None: all.

    Returns
    -------
    dict
        Plain numbers and strings.
    """
    return {
        "model": estimator.name,
        "objective": estimator.get_params().get("objective", "squared"),
        "horizon": horizon,
        "window": window,
        "min_periods": window if min_periods is None else min_periods,
        "train_first_date": str(dates.min()),
        "train_last_date": str(dates.max()),
        "train_rows": len(X),
        "test_first_date": test_first_date,
        "features_digest": features_digest,
        "range": {name: [float(X[:, column].min()), float(X[:, column].max())] for column, name in enumerate(INPUTS)},
        "interval_level": estimator.get_params()["interval_level"],
        "metrics": metrics,
    }


def model_card(information: Mapping[str, Any]) -> str:
    """What a reader should know before using the model, as Markdown.

    Parameters
    ----------
    information : mapping
        As `describe` makes it.

    Returns
    -------
    str
    """
    measured = information["metrics"]
    (low_volume, high_volume), (low_price, high_price) = (information["range"][name] for name in INPUTS)
    when = {
        0: "of the same day: vol_moving_avg contains the Volume that is predicted, one part in its window",
        1: "of the trading day before: both are known before the day begins",
    }[information["horizon"]]
    kind = {
        "ratio_boosting": "Gradient boosting of the ratio Volume / vol_moving_avg over a table of both inputs "
        f"(`lib.model.RatioBoosting`, {information['objective']} error)",
        "forest": "A random forest of Volume on both inputs (`lib.model.Forest`, squared error)",
    }.get(information["model"], f"`{information['model']}`, {information['objective']} error")
    beats = "below" if measured["mae"] < measured["mae_moving_average"] else "not below"
    # A window of one day is the day itself, whose average is never wrong.
    share = measured["mae"] / measured["mae_moving_average"] if measured["mae_moving_average"] else float("nan")
    text = f"""# Model card: a day's Volume from two features

        **Model.** {kind}. Inputs: vol_moving_avg (shares a day) and adj_close_rolling_med (dollars), windows of
        {information["window"]} trading days, {when}. Output: shares, a non-negative integer, with an interval meant to
        hold the Volume on {information["interval_level"]:.0%} of days.

        **Data.** {information["train_rows"]:,} rows, {information["train_first_date"]} to {information["train_last_date"]}.
        SHA-256 of the dataset of features: `{information["features_digest"]}`.

        **Intended use.** To study how much of a day's trading the last weeks tell, for one symbol, from the two inputs.
        Not for trading: on most days the error is a large part of the Volume, as the numbers below say.

        **Measured** on the dates from {information["test_first_date"]} on, which the model never saw: mean absolute error
        {measured["mae"]:,.0f} shares, {beats} the {measured["mae_moving_average"]:,.0f} of the moving average itself
        ({share:.4f} of it); the best multiple of the average has
        {measured["mae_scaled_average"]:,.0f}. The interval held the Volume on {measured["coverage"]:.1%} of the rows.

        **Limits.** Outside the inputs that it was trained on ({low_volume:,.0f} to {high_volume:,.0f} shares a day,
        {low_price:,.2f} to {high_price:,.2f} dollars) it answers as at the nearest edge, and says so. It knows no symbol,
        no calendar and no news. A mean absolute error in shares is mostly that of the largest symbols.
        """
    # One line a paragraph, whatever the length of the numbers.
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")) + "\n"


def training_log(estimator: TableRegressor) -> str:
    """The loss of each boosting iteration, one JSON object a line; empty for a forest, which has none."""
    return "".join(json.dumps(entry) + "\n" for entry in getattr(estimator, "history_", []))


def save(study: StudyPaths, estimator: TableRegressor, information: dict[str, Any]) -> None:
    """Write a study's ``model/``: the estimator, its table, the training log and the model card.

    Parameters
    ----------
    study : lib.paths.StudyPaths
    estimator : TableRegressor
        Fitted.
    information : dict
        As `describe` makes it.
    """
    write_estimator(study.estimator, estimator)
    write_atomically(study.training_log, training_log(estimator))
    write_atomically(study.model_card, model_card(information))
    write_grid(study.grid, estimator, information)  # last: a server that watches it finds the rest in place


def _quantile_edges(values: Floats, weights: Floats, bins: int) -> Floats:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    places = np.searchsorted(cumulative, cumulative[-1] * np.arange(1, bins) / bins)
    return np.unique(values[order][places])


def _power(values: Floats, power: float) -> Floats:
    """``values ** power``; the powers in use are sums of square roots, which cost a tenth of numpy's general power."""
    return np.sqrt(np.sqrt(values)) if power == 0.25 else values**power


def _gaussian(bins: int, width: float) -> Floats:
    places = np.arange(bins)
    kernel = np.exp(-0.5 * ((places[:, np.newaxis] - places) / max(width, 1e-9)) ** 2)
    return kernel / kernel.sum(axis=1, keepdims=True)
