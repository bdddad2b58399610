"""How good is a prediction of Volume? Splits, baselines, metrics, and a verdict in plain words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor

from lib.model import Floats, RatioBoosting, TableRegressor, distinct_days, sampled_rows
from lib.predictor import FEATURES

Mask = NDArray[np.bool_]
COLUMNS = ["Symbol", "Date", "Volume", *FEATURES]

# The rows of a comparison, in the order that a reader meets them.
AVERAGE, SCALED, BY_DECILE, LAST = "moving average", "scaled average", "median ratio by decile", "last value"
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


@dataclass(frozen=True)
class Split:
    """Which rows a model is fitted on and which ones judge it.

    Parameters
    ----------
    name : str
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
        ``lib.dataset.open_dataset(StudyPaths(study).features)``.
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
        inputs = np.column_stack([table[name].to_numpy() for name in FEATURES])
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
    symbol, days, inputs, volume, before = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Rows(symbols, symbol, days.astype("datetime64[D]"), inputs, volume, before, horizon)


def chronological_split(rows: Rows, test_share: float) -> Split:
    """Hold out the last dates: the model is judged on days that it could not have seen.

    Parameters
    ----------
    rows : Rows
    test_share : float
        Share of the dates that rows have, rounded up to at least one.

    Returns
    -------
    Split
    """
    days = distinct_days(rows.date)
    if len(days) < 2:
        raise ValueError(f"the rows have {len(days)} date; a chronological split needs 2 at least")
    return split_at(rows, days[min(len(days) - 1, max(1, int(len(days) * (1 - test_share))))])


def split_at(rows: Rows, first_test_date: np.datetime64) -> Split:
    """The chronological split whose test begins on ``first_test_date``."""
    test = rows.date >= first_test_date
    return Split("chronological", ~test, test)


def random_split(rows: Rows, test_share: float, seed: int) -> Split:
    """Hold out rows at random, as published solutions do: a row's neighbours in time stay in the training, so it flatters.

    Parameters
    ----------
    rows : Rows
    test_share : float
        Share of the rows.
    seed : int

    Returns
    -------
    Split
    """
    test = np.zeros(len(rows), dtype=bool)
    test[np.random.default_rng(seed).permutation(len(rows))[: max(1, round(len(rows) * test_share))]] = True
    return Split("random", ~test, test)


def symbol_split(rows: Rows, test_share: float, seed: int) -> Split:
    """Hold out whole symbols: can the model predict a symbol that it never saw?

    Parameters
    ----------
    rows : Rows
    test_share : float
        Share of the symbols, at least one.
    seed : int

    Returns
    -------
    Split
    """
    present = np.unique(rows.symbol)
    if len(present) < 2:
        raise ValueError(f"the rows have {len(present)} symbol; a split by symbol needs 2 at least")
    held = np.random.default_rng(seed).permutation(present)[: max(1, round(len(present) * test_share))]
    test = np.isin(rows.symbol, held)
    return Split("symbol", ~test, test)


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
    return float(weighted_medians(volume / average, average, np.zeros(len(average), dtype=np.int64), 1)[0])


def weighted_medians(values: Floats, weights: Floats, groups: NDArray[np.int64], count: int) -> Floats:
    """The weighted median of each group's values; NaN for a group without any."""
    medians = np.full(count, np.nan)
    order = np.lexsort((values, groups))
    values, weights, groups = values[order], weights[order], groups[order]
    edges = np.searchsorted(groups, np.arange(count + 1))
    for group, (start, end) in enumerate(pairwise(edges)):
        if end > start:
            cumulative = np.cumsum(weights[start:end])
            medians[group] = values[start + np.searchsorted(cumulative, cumulative[-1] / 2)]
    return medians


def deciles(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The nine edges between the tenths of ``values``, and the tenth (0 to 9) of each."""
    edges = np.quantile(values, np.arange(1, 10) / 10)
    return edges, np.searchsorted(edges, values, side="right")


def baselines(rows: Rows, split: Split, objective: str = "absolute") -> dict[str, Floats]:
    """What a model has to beat: predictions for every row, from nothing or from the training rows alone.

    Parameters
    ----------
    rows : Rows
    split : Split
    objective : {"absolute", "squared"}
        The error that the scale makes small.

    Returns
    -------
    dict
        Name -> ndarray of float64, shape (n,): the moving average; its best multiple; the median ratio of each decile of
        vol_moving_avg; the Volume of the day before.
    """
    average = rows.features[:, 0]
    train_average, train_volume = average[split.train], rows.volume[split.train]
    edges, tenths = deciles(train_average)
    traded = train_average > 0
    ratios = weighted_medians(train_volume[traded] / train_average[traded], train_average[traded], tenths[traded], 10)
    ratios = np.where(np.isnan(ratios), 1.0, ratios)
    return {
        AVERAGE: average,
        SCALED: best_scale(train_average, train_volume, objective) * average,
        BY_DECILE: ratios[np.searchsorted(edges, average, side="right")] * average,
        LAST: rows.previous_volume,
    }


def reference_forest(rows: Rows, split: Split, trees: int, sample_share: float, seed: int) -> Floats:
    """The prediction of the usual solution, a random forest of Volume on both features, for every row.

    Parameters
    ----------
    rows : Rows
    split : Split
    trees : int
    sample_share : float
        Share of the training rows that it is fitted on, at random.
    seed : int

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    train = np.flatnonzero(split.train)
    chosen = train[sampled_rows(len(train), sample_share, seed)]
    forest = RandomForestRegressor(trees, n_jobs=-1, random_state=seed).fit(rows.features[chosen], rows.volume[chosen])
    return forest.predict(rows.features)


def oracle(rows: Rows, split: Split, objective: str = "absolute") -> Floats:
    """The prediction of a model fitted, closely, on the test rows themselves: about the best any function of both inputs does.

    Parameters
    ----------
    rows : Rows
    split : Split
    objective : {"absolute", "squared"}

    Returns
    -------
    ndarray of float64, shape (n,)
        For every row; only the test rows' are of interest.
    """
    model = RatioBoosting(objective=objective, smoothing=(0.02,), validation_share=0)  # type: ignore[arg-type]
    return model.fit(rows.features[split.test], rows.volume[split.test]).predict(rows.features)


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
    rows : Rows
    split : Split
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
        One line a predictor: split, horizon, predictor, relative_mae (test, as a multiple of the moving average's), then
        mae, rmse, r2 and median_ape on the test rows, and on the training rows (``train_mae``, ...). The oracle has no
        training errors.
    """
    objective = estimator.get_params().get("objective", "absolute")
    if not fitted:
        train = split.train
        estimator = clone(estimator).fit(rows.features[train], rows.volume[train], rows.date[train])
    predictions = baselines(rows, split, objective)
    predictions[MODEL] = estimator.predict(rows.features)
    if forest is not None:
        predictions[REFERENCE] = reference_forest(rows, split, *forest, seed)
    predictions[ORACLE] = oracle(rows, split, objective)
    lines = []
    for name, predicted in predictions.items():
        test = metrics(rows.volume[split.test], predicted[split.test])
        train_errors = (
            metrics(rows.volume[split.train], predicted[split.train]) if name != ORACLE else dict.fromkeys(test, np.nan)
        )
        lines.append(
            {"split": split.name, "horizon": rows.horizon, "predictor": name, "relative_mae": np.nan}
            | test
            | {f"train_{key}": value for key, value in train_errors.items()}
        )
    table = pd.DataFrame(lines)
    table["relative_mae"] = table["mae"] / table["mae"].iloc[0]
    return table


def headline_metrics(rows: Rows, split: Split, estimator: TableRegressor) -> dict[str, float]:
    """The few numbers that a model carries with it, on the test rows.

    Parameters
    ----------
    rows : Rows
    split : Split
    estimator : TableRegressor
        Fitted.

    Returns
    -------
    dict
        mae, mae_moving_average and mae_scaled_average in shares; coverage, the share of the Volumes within the interval.
    """
    actual = rows.volume[split.test]
    simple = baselines(rows, split)
    return {
        "mae": metrics(actual, estimator.predict(rows.features[split.test]))["mae"],
        "mae_moving_average": metrics(actual, simple[AVERAGE][split.test])["mae"],
        "mae_scaled_average": metrics(actual, simple[SCALED][split.test])["mae"],
        "coverage": float(coverage(rows, split, estimator).set_index("decile")["coverage"]["all"]),
    }


def spread(rows: Rows, estimator: TableRegressor, test_share: float, seeds: Sequence[int]) -> pd.DataFrame:
    """How much the random split's result depends on its seed.

    Parameters
    ----------
    rows : Rows
    estimator : TableRegressor
        A copy is fitted for each seed.
    test_share : float
        Share of the rows held out.
    seeds : sequence of int

    Returns
    -------
    pandas.DataFrame
        One line a seed: seed, mae and relative_mae (a multiple of the moving average's).
    """
    lines = []
    for seed in seeds:
        split = random_split(rows, test_share, seed)
        train, test = split.train, split.test
        model = clone(estimator).fit(rows.features[train], rows.volume[train], rows.date[train])
        mae = metrics(rows.volume[test], model.predict(rows.features[test]))["mae"]
        lines.append(
            {
                "seed": seed,
                "mae": mae,
                "relative_mae": mae / np.mean(np.abs(rows.features[test, 0] - rows.volume[test])),
            }
        )
    return pd.DataFrame(lines)


def coverage(rows: Rows, split: Split, estimator: TableRegressor) -> pd.DataFrame:
    """How often the interval holds the Volume of test rows, by decile of vol_moving_avg.

    Parameters
    ----------
    rows : Rows
    split : Split
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


def verdict(table: pd.DataFrame) -> str:
    """What a comparison says, in plain words computed from its numbers.

    Parameters
    ----------
    table : pandas.DataFrame
        As `compare` makes it, for one split and horizon.

    Returns
    -------
    str
        A few sentences.
    """
    mae = table.set_index("predictor")["mae"]
    model, average, scaled = mae[MODEL], mae[AVERAGE], mae[SCALED]
    split, horizon = table["split"].iloc[0], table["horizon"].iloc[0]
    place = {"chronological": "On dates it never saw", "random": "On random rows", "symbol": "On symbols it never saw"}[
        split
    ]
    sentences = [
        (
            f"{place} (horizon {horizon}), the model's mean absolute error is {model:,.0f} shares, "
            f"{model / average:.4f} of the moving average's {average:,.0f}: it {_beats(model, average)} the average"
            f" and {_beats(model, scaled)} its best multiple ({scaled / average:.4f})."
        )
    ]
    if REFERENCE in mae:
        sentences.append(f"It {_beats(model, mae[REFERENCE])} the reference forest ({mae[REFERENCE] / average:.4f}).")
    if mae[ORACLE] < average:
        share = (average - model) / (average - mae[ORACLE])
        sentences.append(
            f"A model fitted on the test rows themselves would reach {mae[ORACLE] / average:.4f}: "
            + (f"{share:.0%} of what can be won from these two inputs is won." if share > 0 else "none of that is won.")
        )
    return " ".join(sentences)


def _beats(model: float, other: float) -> str:
    return "beats" if model < other else "does not beat"


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
