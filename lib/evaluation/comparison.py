"""How good is a prediction of Volume? Splits, baselines, metrics, and a verdict in plain words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from lib.features.inputs import INPUTS
from lib.models.forest import Forest
from lib.models.regressor import TableRegressor, sampled_rows, weighted_quantiles
from lib.models.table import LARGEST_RATIO, Floats

Mask = NDArray[np.bool_]
COLUMNS = ["Symbol", "Date", "Volume", *INPUTS]

TRAIN_SAMPLE = 500_000  # training rows that training errors are measured on, at most
SPREAD_SAMPLE = 2_000_000  # rows that the random splits with other seeds are made of, at most
# The rows of a comparison, in the order that a reader meets them.
AVERAGE, SCALED, LAST = "moving average", "scaled average", "last value"
MODEL, REFERENCE, ORACLE = "model", "reference forest", "oracle"


class Features(Protocol):
    """What `load_rows` needs of a dataset."""

    def tables(self, columns: list[str] | None = None) -> Iterable[pa.Table]:
        """One table a part, sorted by Symbol and Date; a symbol is in one part only."""


@dataclass(frozen=True)
class Rows:
    """What a model is fitted on or judged on, one entry a symbol and day.

    Parameters
    ----------
    symbols : list of str
        The names.
    symbol : ndarray of int32, shape (n,)
        The place in ``symbols``.
    date : ndarray of datetime64[D], shape (n,)
        The day whose Volume is predicted.
    features : ndarray of float64, shape (n, 2)
        vol_moving_avg (shares a day) and adj_close_rolling_med (dollars), of that day or of ``horizon`` trading days before.
    volume : ndarray of float64, shape (n,)
        The day's Volume, in shares: what is predicted.
    previous_volume : ndarray of float64, shape (n,)
        The Volume of the symbol's row before; its moving average where there is none.
    horizon : int
        Trading days between the features and the Volume.
    """

    symbols: list[str]
    symbol: NDArray[np.int32]
    date: NDArray[np.datetime64]
    features: Floats
    volume: Floats
    previous_volume: Floats
    horizon: int

    def __len__(self) -> int:
        return len(self.volume)

    def sample(self, most: int, seed: int) -> Rows:
        """Some rows at random.

        Parameters
        ----------
        most : int
            How many; where there are no more, all are given.

        Returns
        -------
        Rows
            In the order they had.
        """
        if len(self) <= most:
            return self
        chosen = sampled_rows(len(self), most / len(self), seed)
        return Rows(
            self.symbols,
            self.symbol[chosen],
            self.date[chosen],
            self.features[chosen],
            self.volume[chosen],
            self.previous_volume[chosen],
            self.horizon,
        )


@dataclass(frozen=True)
class Split:
    """Which rows a model is fitted on and which ones judge it.

    Parameters
    ----------
    train, test : ndarray of bool, shape (n,)
        They share no row.
    """

    name: str
    train: Mask
    test: Mask


def load_rows(features: Features, horizon: int) -> Rows:
    """Read the rows of a study's features.

    Parameters
    ----------
    features : Features
        ``lib.storage.dataset.open_dataset(StudyPaths(study).features)``.
    horizon : int
        0: a day's Volume beside the features of that day, whose average contains it. 1: beside the features of the
        symbol's row before, which are known the evening before.

    Returns
    -------
    Rows
        Without the rows whose features are null (a symbol's first window - 1).

    Raises
    ------
    ValueError
        No row has features.
    """
    symbols: list[str] = []
    parts: list[tuple[NDArray[Any], ...]] = []
    for table in features.tables(COLUMNS):
        if not table.num_rows:
            continue
        names = table["Symbol"].combine_chunks().dictionary_encode()
        symbol = names.indices.to_numpy().astype(np.int32)
        volume = table["Volume"].to_numpy().astype(np.float64)
        inputs = np.column_stack([table[name].to_numpy() for name in INPUTS])
        first = np.concatenate([[True], symbol[1:] != symbol[:-1]])  # of its symbol
        before = np.where(first, np.nan, np.roll(volume, 1))
        for _ in range(horizon):
            inputs = np.where(first[:, np.newaxis], np.nan, np.roll(inputs, 1, axis=0))
        known = ~np.isnan(inputs).any(axis=1)
        before = np.where(np.isnan(before), inputs[:, 0], before)
        days = table["Date"].combine_chunks().cast(pa.int32()).to_numpy()
        parts.append((symbol[known] + np.int32(len(symbols)), days[known], inputs[known], volume[known], before[known]))
        symbols.extend(names.dictionary.to_pylist())
    if not sum(len(part[0]) for part in parts):
        raise ValueError(
            "the features hold no row with both features: every symbol is shorter than features.window; lower it"
        )
    # One column after the other, and its parts are let go: at full scale, memory for all of them twice is too much.
    columns = [list(arrays) for arrays in zip(*parts, strict=True)]
    parts.clear()
    symbol, days, inputs, volume, before = (np.concatenate(columns.pop(0)) for _ in range(5))
    return Rows(symbols, symbol, days.astype("datetime64[D]"), inputs, volume, before, horizon)


def distinct_days(dates: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """The different days, ascending; counting is twenty times faster than sorting 22 M rows.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape (n,)
        At least one.
    """
    first = dates.min()
    return first + np.flatnonzero(np.bincount((dates - first).astype(np.int64)))


def chronological_split(rows: Rows, test_share: float) -> Split:
    """Hold out the last dates: the model is judged on days that it could not have seen.

    Parameters
    ----------
    test_share : float
        Share of the dates that rows have, rounded up to at least one.
    """
    days = distinct_days(rows.date)
    if len(days) < 2:
        raise ValueError(f"the rows have {len(days)} date; a chronological split needs 2 at least")
    return split_at(rows, days[min(len(days) - 1, max(1, int(len(days) * (1 - test_share))))])


def split_at(rows: Rows, first_test_date: np.datetime64) -> Split:
    """The chronological split whose test begins on a date.

    Parameters
    ----------
    first_test_date : datetime64[D]
        Rows of earlier dates are the training rows.

    Raises
    ------
    ValueError
        One side would be empty.
    """
    test = rows.date >= first_test_date
    if test.all() or not test.any():
        raise ValueError(
            f"no row is {'before' if test.all() else 'on or after'} {first_test_date}; there is nothing to split"
        )
    return Split("chronological", ~test, test)


def random_split(rows: Rows, test_share: float, seed: int) -> Split:
    """Hold out rows at random, as published solutions do: a row's neighbours in time stay in the training, so it flatters.

    Parameters
    ----------
    test_share : float
        Share of the rows.
    """
    drawn = np.random.default_rng(seed).random(len(rows))
    count = max(1, round(len(rows) * test_share))
    test = drawn <= np.partition(drawn, count - 1)[count - 1]
    return Split("random", ~test, test)


def symbol_split(rows: Rows, test_share: float, seed: int) -> Split:
    """Hold out whole symbols: can the model predict a symbol that it never saw?

    Parameters
    ----------
    test_share : float
        Share of the symbols, at least one.
    """
    present = np.flatnonzero(np.bincount(rows.symbol))
    if len(present) < 2:
        raise ValueError(f"the rows have {len(present)} symbol; a split by symbol needs 2 at least")
    held = np.zeros(len(rows.symbols), dtype=bool)
    held[np.random.default_rng(seed).permutation(present)[: max(1, round(len(present) * test_share))]] = True
    test = held[rows.symbol]
    return Split("symbol", ~test, test)


def splits(rows: Rows, first_test_date: np.datetime64, test_share: float, seed: int) -> list[Split]:
    """The splits of the report: by date first, then at random, then by symbol where there are two symbols.

    Parameters
    ----------
    first_test_date : datetime64[D]
        Of the chronological split.
    test_share : float
        Of the rows in the random split, of the symbols in the split by symbol.
    """
    made = [split_at(rows, first_test_date), random_split(rows, test_share, seed)]
    if np.count_nonzero(np.bincount(rows.symbol)) > 1:
        made.append(symbol_split(rows, test_share, seed))
    return made


def metrics(actual: Floats, predicted: Floats) -> dict[str, float]:
    """The errors of a prediction.

    Parameters
    ----------
    actual, predicted : ndarray of float64, shape (n,)
        Volume, in shares.

    Returns
    -------
    dict
        mae and rmse in shares; r2, the share of the variance explained; median_ape, the median of |error| / actual over the
        days with any trade.

    Examples
    --------
    >>> metrics(np.array([100.0, 200.0, 0.0]), np.array([110.0, 180.0, 0.0]))["mae"]
    10.0
    """
    error = predicted - actual
    traded = actual > 0
    variance = float(np.mean((actual - actual.mean()) ** 2))
    squared = float(np.mean(error**2))
    return {
        "mae": float(np.mean(np.abs(error))),
        "rmse": squared**0.5,
        "r2": 1 - squared / variance if variance > 0 else float("nan"),
        "median_ape": float(np.median(np.abs(error[traded]) / actual[traded])) if traded.any() else float("nan"),
    }


def best_scale(average: Floats, volume: Floats, objective: str = "absolute") -> float:
    """The multiple of the moving average with the least error.

    Parameters
    ----------
    average, volume : ndarray of float64, shape (n,)
        vol_moving_avg and Volume, in shares.
    objective : {"absolute", "squared"}
        Which error.

    Returns
    -------
    float
        For the absolute error the median of volume / average where each row counts its average; 1 without any trade.

    Examples
    --------
    >>> best_scale(np.array([10.0, 10.0, 10.0]), np.array([8.0, 9.0, 30.0]))
    0.9
    """
    traded = average > 0
    if not traded.any():
        return 1.0
    average, volume = average[traded], volume[traded]
    if objective == "squared":
        return float((average * volume).sum() / (average**2).sum())
    return float(weighted_quantiles(volume / average, average, np.zeros(len(average), dtype=np.int64), 1)[0])


def deciles(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Cut values into tenths.

    Returns
    -------
    edges : ndarray of float64, shape (9,)
        Between the tenths.
    tenths : ndarray of int64, shape (n,)
        The tenth of each value, 0 to 9.
    """
    edges = np.quantile(values, np.arange(1, 10) / 10)
    return edges, np.searchsorted(edges, values, side="right")


def baselines(rows: Rows, train: Mask, objective: str = "absolute") -> dict[str, Callable[[Mask], Floats]]:
    """What a model has to beat: predictions from nothing, or from the training rows alone.

    Parameters
    ----------
    train : ndarray of bool, shape (n,)
        The rows that they may learn from.
    objective : {"absolute", "squared"}
        The error that the scale makes small.

    Returns
    -------
    dict
        Name -> a function from a mask of rows to their predictions, ndarray of float64: the moving average; its best
        multiple; the Volume of the day before.
    """
    average = rows.features[:, 0]
    scale = best_scale(average[train], rows.volume[train], objective)
    return {
        AVERAGE: lambda chosen: average[chosen],
        SCALED: lambda chosen: scale * average[chosen],
        LAST: lambda chosen: rows.previous_volume[chosen],
    }


def reference_forest(rows: Rows, train: Mask, trees: int, sample_share: float, seed: int) -> Callable[[Mask], Floats]:
    """The usual solution: a random forest of Volume on both features.

    Parameters
    ----------
    sample_share : float
        Share of the training rows that it is fitted on, at random.

    Returns
    -------
    callable
        From a mask of rows to their predictions, ndarray of float64.
    """
    forest = Forest(trees, sample_share, random_state=seed)
    forest.fit(rows.features[train], rows.volume[train])
    return lambda chosen: forest.predict(rows.features[chosen])


def oracle(rows: Rows, test: Mask, objective: str = "absolute") -> Callable[[Floats], Floats]:
    """Boosted trees of the ratio, fitted on the test rows themselves: about the best that a function of both inputs does on them.

    Parameters
    ----------
    test : ndarray of bool, shape (n,)
        Of more than `TRAIN_SAMPLE`, so many at random are fitted.
    objective : {"absolute", "squared"}

    Returns
    -------
    callable
        From inputs, shape (m, 2), to predictions in shares. It follows the rows for as many trees as lower the error of a third of them,
        set aside at random: so it learns what these dates have in common, and little of each row's chance.
    """
    places = np.flatnonzero(test & (rows.features[:, 0] > 0))
    if not len(places):
        return lambda inputs: inputs[:, 0]
    places = places[sampled_rows(len(places), min(1.0, TRAIN_SAMPLE / len(places)), seed=42)]
    inputs, weights = rows.features[places], rows.features[places, 0] ** (1 if objective == "absolute" else 2)
    model = HistGradientBoostingRegressor(
        loss=f"{objective}_error",
        max_iter=200,
        early_stopping=len(places) > 10,
        validation_fraction=1 / 3,
        random_state=42,
    )
    ratios = np.minimum(rows.volume[places] / inputs[:, 0], LARGEST_RATIO)
    with threadpool_limits(
        1
    ):  # sums over several threads are rounded otherwise, and the bytes of metrics.json must not change
        model.fit(inputs, ratios, sample_weight=weights / weights.mean())
    return lambda inputs: np.maximum(model.predict(inputs), 0) * inputs[:, 0]


def fitted_copy(estimator: TableRegressor, rows: Rows, train: Mask | NDArray[np.intp]) -> TableRegressor:
    """A copy of an estimator, fitted on the rows of a mask or at these positions; the estimator stays as it is."""
    copy: TableRegressor = clone(estimator)
    return copy.fit(rows.features[train], rows.volume[train])


def compare(
    rows: Rows,
    split: Split,
    estimator: TableRegressor,
    fitted: bool = False,
    forest: tuple[int, float] | None = None,
    seed: int = 42,
) -> pd.DataFrame:
    """Judge a model beside the baselines, the reference forest and the oracle.

    Parameters
    ----------
    estimator : TableRegressor
        The model; a copy of it is fitted on the training rows, unless ``fitted``.
    fitted : bool
        Whether ``estimator`` itself is judged, as it is: the one that is served.
    forest : (int, float), optional
        Trees and sample share of the reference forest; None leaves it out.
    seed : int
        The forest's.

    Returns
    -------
    pandas.DataFrame
        One line a predictor: split, horizon, objective, predictor; relative_mae and relative_rmse (test, as multiples of
        the moving average's); lead, the share by which the model's error (the objective's) is below this predictor's, and
        lead_error, its standard error from one quarter of a year, or one symbol, to the next; mae, rmse, r2 and
        median_ape on the test rows, and on the training rows (``train_mae``, ...; half a million of them at most). The oracle has no
        training errors.
    """
    objective = estimator.get_params().get("objective", "squared")
    model = estimator if fitted else fitted_copy(estimator, rows, split.train)
    predictors = baselines(rows, split.train, objective)
    predictors[MODEL] = lambda chosen: model.predict(rows.features[chosen])
    if forest is not None:
        predictors[REFERENCE] = reference_forest(rows, split.train, *forest, seed)
    closely = oracle(rows, split.test, objective)
    predictors[ORACLE] = lambda chosen: closely(rows.features[chosen])

    train = np.zeros(len(rows), dtype=bool)
    places = np.flatnonzero(split.train)
    train[places[sampled_rows(len(places), min(1.0, TRAIN_SAMPLE / len(places)), seed)]] = True
    actual, power = rows.volume[split.test], 1 if objective == "absolute" else 2
    losses = np.abs(predictors[MODEL](split.test) - actual) ** power
    blocks = _blocks(rows, split)
    lines = []
    for name, predict in predictors.items():
        predicted = predict(split.test)
        test_errors = metrics(actual, predicted)
        train_errors = (
            metrics(rows.volume[train], predict(train)) if name != ORACLE else dict.fromkeys(test_errors, np.nan)
        )
        lead, lead_error = _lead(losses, np.abs(predicted - actual) ** power, blocks, power)
        if name == MODEL:
            lead, lead_error = np.nan, np.nan
        lines.append(
            {"split": split.name, "horizon": rows.horizon, "objective": objective, "predictor": name}
            | {"relative_mae": np.nan, "relative_rmse": np.nan, "lead": lead, "lead_error": lead_error}
            | test_errors
            | {f"train_{key}": value for key, value in train_errors.items()}
        )
    table = pd.DataFrame(lines)
    for measure in ("mae", "rmse"):
        table[f"relative_{measure}"] = [_ratio(error, table[measure].iloc[0]) for error in table[measure]]
    return table


def _blocks(rows: Rows, split: Split) -> NDArray[np.int64]:
    """The block of each test row: its symbol where symbols are held out, its quarter of a year else."""
    if split.name == "symbol":
        return rows.symbol[split.test].astype(np.int64)
    quarters = rows.date[split.test].astype("datetime64[M]").astype(np.int64) // 3
    return quarters - quarters.min()


def _lead(losses: Floats, others: Floats, blocks: NDArray[np.int64], power: int) -> tuple[float, float]:
    """By which share ``losses`` are below ``others``, and the standard error over blocks (which are not independent rows).

    The blocks' differences are taken as independent; with fewer than three blocks nothing is known of the error.
    """
    total = others.sum()
    if total == 0:
        return 0.0, float("nan")
    differences = np.bincount(blocks, others - losses)[np.bincount(blocks) > 0]
    lead = float(differences.sum() / total)
    count = len(differences)
    error = float(np.std(differences, ddof=1) * count**0.5 / total) if count > 2 else float("nan")
    if power == 2:  # of the root of the mean, not of the mean
        root = (1 - lead) ** 0.5
        return 1 - root, error / (2 * root) if root > 0 else float("nan")
    return lead, error


def overview(comparisons: Iterable[pd.DataFrame], column: str = "relative_mae") -> pd.DataFrame:
    """The comparisons side by side.

    Parameters
    ----------
    comparisons : iterable of pandas.DataFrame
        As `compare` makes them.
    column : str
        What to show of them.

    Returns
    -------
    pandas.DataFrame
        A line a predictor, a column a comparison: ``"dates 0"`` is the chronological split at horizon 0.
    """
    short = {"chronological": "dates", "random": "random", "symbol": "symbols"}
    columns = {}
    for table in comparisons:
        name = f"{short[table['split'].iloc[0]]} {table['horizon'].iloc[0]}"
        columns[name] = table.set_index("predictor")[column]
    return pd.DataFrame(columns).rename_axis("predictor")


def headline_metrics(rows: Rows, split: Split, estimator: TableRegressor) -> dict[str, float]:
    """The few numbers that a model carries with it, on the test rows.

    Parameters
    ----------
    estimator : TableRegressor
        Fitted.

    Returns
    -------
    dict
        mae, mae_moving_average and mae_scaled_average in shares; coverage, the share of the Volumes within the interval.
    """
    actual = rows.volume[split.test]
    simple = baselines(rows, split.train)
    return {
        "mae": metrics(actual, estimator.predict(rows.features[split.test]))["mae"],
        "mae_moving_average": metrics(actual, simple[AVERAGE](split.test))["mae"],
        "mae_scaled_average": metrics(actual, simple[SCALED](split.test))["mae"],
        "coverage": float(coverage(rows, split, estimator).set_index("decile")["coverage"]["all"]),
    }


def spread(rows: Rows, estimator: TableRegressor, test_share: float, seeds: Sequence[int]) -> pd.DataFrame:
    """How much the random split's result depends on its seed.

    Parameters
    ----------
    rows : Rows
        Of more than `SPREAD_SAMPLE`, so many at random stand for all.
    estimator : TableRegressor
        A copy is fitted for each seed.
    test_share : float
        Share of the rows held out.

    Returns
    -------
    pandas.DataFrame
        One line a seed: seed, mae (shares), relative_mae (a multiple of the moving average's) and relative_mae_scaled, that of
        the average's best multiple.
    """
    rows, lines = rows.sample(SPREAD_SAMPLE, seeds[0]), []
    for seed in seeds:
        split = random_split(rows, test_share, seed)
        simple, actual = baselines(rows, split.train), rows.volume[split.test]
        average, scaled = (metrics(actual, simple[name](split.test))["mae"] for name in (AVERAGE, SCALED))
        mae = metrics(actual, fitted_copy(estimator, rows, split.train).predict(rows.features[split.test]))["mae"]
        lines.append(
            {
                "seed": seed,
                "mae": mae,
                "relative_mae": _ratio(mae, average),
                "relative_mae_scaled": _ratio(scaled, average),
            }
        )
    return pd.DataFrame(lines)


def learning_curve(rows: Rows, split: Split, estimator: TableRegressor, seed: int, points: int = 6) -> pd.DataFrame:
    """What more rows are worth: the error of models fitted on random parts of the training rows.

    Parameters
    ----------
    estimator : TableRegressor
        Fitted on all training rows; a copy of it is fitted for each smaller part.
    seed : int
        Of the choice of rows.
    points : int
        Parts, at most; each is four times as large as the one before, the last is all training rows. Parts of less than
        100 rows are left out.

    Returns
    -------
    pandas.DataFrame
        A line a part: rows, relative_mae on the test rows and train_relative_mae on the rows fitted (multiples of the moving
        average's on the same rows; half a million of the rows fitted at most).
    """
    places, lines = np.flatnonzero(split.train), []
    average = rows.features[:, 0]
    for point in reversed(range(points)):
        if point and len(places) * 0.25**point < 100:
            continue
        part = places[sampled_rows(len(places), 0.25**point, seed)] if point else places
        model = fitted_copy(estimator, rows, part) if point else estimator
        relative = [
            _ratio(
                np.abs(model.predict(rows.features[chosen]) - rows.volume[chosen]).mean(),
                np.abs(average[chosen] - rows.volume[chosen]).mean(),
            )
            for chosen in (split.test, part[sampled_rows(len(part), min(1.0, TRAIN_SAMPLE / len(part)), seed)])
        ]
        lines.append({"rows": len(part), "relative_mae": relative[0], "train_relative_mae": relative[1]})
    return pd.DataFrame(lines)


def errors_by(rows: Rows, split: Split, estimator: TableRegressor, feature: str) -> pd.DataFrame:
    """Where the error is: by tenths of the test rows, in order of a feature.

    Parameters
    ----------
    estimator : TableRegressor
        Fitted.
    feature : {"vol_moving_avg", "adj_close_rolling_med"}

    Returns
    -------
    pandas.DataFrame
        A line a tenth: low and high (of the feature), rows, mae (shares), relative_mae and scaled_relative_mae (the model's and the best
        multiple's, as multiples of the moving average's on these rows), error_share (of the model's whole error).
    """
    values = rows.features[split.test, INPUTS.index(feature)]
    average, actual = rows.features[split.test, 0], rows.volume[split.test]
    scale = best_scale(rows.features[split.train, 0], rows.volume[split.train])
    losses = {
        "model": np.abs(estimator.predict(rows.features[split.test]) - actual),
        "average": np.abs(average - actual),
        "scaled": np.abs(scale * average - actual),
    }
    _, tenths = deciles(values)
    lines = []
    for tenth in np.unique(tenths):
        chosen = tenths == tenth
        model, plain, scaled = (loss[chosen].mean() for loss in losses.values())
        lines.append(
            {
                "low": values[chosen].min(),
                "high": values[chosen].max(),
                "rows": int(chosen.sum()),
                "mae": model,
                "relative_mae": _ratio(model, plain),
                "scaled_relative_mae": _ratio(scaled, plain),
                "error_share": model * chosen.sum() / max(losses["model"].sum(), 1e-300),
            }
        )
    return pd.DataFrame(lines)


def _ratio(error: float, other: float) -> float:
    """``error / other``; NaN where the other is never wrong, as an average of one day is."""
    return error / other if other else float("nan")


def coverage(rows: Rows, split: Split, estimator: TableRegressor) -> pd.DataFrame:
    """How often the interval holds the Volume of test rows, by decile of vol_moving_avg.

    Parameters
    ----------
    estimator : TableRegressor
        Fitted.

    Returns
    -------
    pandas.DataFrame
        Eleven lines: decile (1 to 10, then "all"), rows, vol_moving_avg (the median, in shares), coverage, relative_width (the median of
        width / vol_moving_avg).
    """
    inputs, volume = rows.features[split.test], rows.volume[split.test]
    low, high = estimator.predict_interval(inputs)
    inside = (np.floor(low) <= volume) & (volume <= np.ceil(high))
    width = (high - low) / np.maximum(inputs[:, 0], 1)
    _, tenths = deciles(inputs[:, 0])
    lines = []
    for decile in [*range(10), None]:
        chosen = np.ones(len(volume), dtype=bool) if decile is None else tenths == decile
        if chosen.any():
            lines.append(
                {
                    "decile": "all" if decile is None else str(decile + 1),
                    "rows": int(chosen.sum()),
                    "vol_moving_avg": float(np.median(inputs[chosen, 0])),
                    "coverage": float(inside[chosen].mean()),
                    "relative_width": float(np.median(width[chosen])),
                }
            )
    return pd.DataFrame(lines)


def verdict(table: pd.DataFrame, brief: bool = False) -> str:
    """What a comparison says, in plain words computed from its numbers.

    Parameters
    ----------
    table : pandas.DataFrame
        As `compare` makes it, for one split and horizon.
    brief : bool
        Leave out all predictors but the average and its best multiple.

    Returns
    -------
    str
        A few sentences. The model "beats" a predictor when it leads by more than two standard errors, "does not clearly
        beat" it when it leads by less, and "does not beat" it when it does not lead.
    """
    split, horizon, objective = (table[column].iloc[0] for column in ("split", "horizon", "objective"))
    measure, words = ("mae", "mean absolute error") if objective == "absolute" else ("rmse", "root mean squared error")
    lines = table.set_index("predictor")
    errors, average = lines[measure], lines[measure][AVERAGE]
    where = {
        "chronological": "On dates it never saw",
        "random": "On rows held out at random",
        "symbol": "On symbols it never saw",
    }
    if not average:  # as where no share of any symbol is traded
        return (
            f"{where[split]} (horizon {horizon}), the moving average is never wrong, so no model can beat it; the model's {words} "
            f"is {errors[MODEL]:,.0f} shares."
        )
    sentences = [
        f"{where[split]} (horizon {horizon}), the model's {words} is {errors[MODEL]:,.0f} shares, "
        + f"{_ratio(errors[MODEL], average):.4f} times the moving average's {average:,.0f}.",
        f"It {_beats(lines, AVERAGE)} the average, and it {_beats(lines, SCALED)} the average's best multiple"
        + f" ({_ratio(errors[SCALED], average):.4f}).",
    ]
    if brief:
        return " ".join(sentences)
    if REFERENCE in errors:
        sentences.append(
            f"It {_beats(lines, REFERENCE)} the reference forest ({_ratio(errors[REFERENCE], average):.4f})."
        )
    better = "better" if errors[LAST] < errors[MODEL] else "not better"
    sentences.append(
        f"To repeat the volume of the day before, which the model is not given, is {better} ({_ratio(errors[LAST], average):.4f})."
    )
    if errors[ORACLE] < average:
        share = (average - errors[MODEL]) / (average - errors[ORACLE])
        won = (
            f"the model wins {share:.0%} of what can be won"
            if share > 0
            else "of what can be won, the model wins nothing"
        )
        sentences.append(
            f"A model fitted on the test rows themselves would reach {_ratio(errors[ORACLE], average):.4f}: from these two inputs, {won}."
        )
    return " ".join(sentences)


def _beats(lines: pd.DataFrame, predictor: str) -> str:
    lead, error = float(lines["lead"][predictor]), float(lines["lead_error"][predictor])
    if lead <= 0:
        return "does not beat"
    return "beats" if lead > 2 * error else "does not clearly beat"


def metrics_json(headline: pd.DataFrame, others: Iterable[pd.DataFrame], extra: Mapping[str, Any]) -> str:
    """Every measured number, as the text of a study's ``metrics.json``.

    Parameters
    ----------
    headline : pandas.DataFrame
        The chronological comparison of the served model.
    others : iterable of pandas.DataFrame
        The other comparisons.
    extra : mapping
        Further numbers, by name; tables become lists of lines.

    Returns
    -------
    str
        JSON; NaN becomes null. ``mae`` and ``mae_moving_average`` are the headline's, in shares.
    """
    mae = headline.set_index("predictor")["mae"]
    content: dict[str, Any] = {
        "mae": float(mae[MODEL]),
        "mae_moving_average": float(mae[AVERAGE]),
        "verdict": verdict(headline),
        "headline": _records(headline),
        "comparisons": [line for table in others for line in _records(table)],
    }
    content.update(
        {name: _records(value) if isinstance(value, pd.DataFrame) else value for name, value in extra.items()}
    )
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(table.to_json(orient="records", double_precision=10))
