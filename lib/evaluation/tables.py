"""A model beside the baselines: the tables of the evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from lib.evaluation.baselines import AVERAGE, MODEL, ORACLE, REFERENCE, SCALED, baselines, oracle, reference_forest
from lib.evaluation.errors import best_scale, deciles, metrics, ratio
from lib.evaluation.lead import lead_over_blocks
from lib.evaluation.rows import Mask, Rows, Split, random_split
from lib.features.definitions import INPUTS
from lib.models.regressor import TableRegressor, sampled_rows
from lib.models.table import Floats

TRAIN_SAMPLE = 500_000  # training rows that training errors are measured on, at most
SPREAD_SAMPLE = 2_000_000  # rows that the random splits with other seeds are made of, at most


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
    positions = np.flatnonzero(split.train)
    train[positions[sampled_rows(len(positions), min(1.0, TRAIN_SAMPLE / len(positions)), seed)]] = True
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
        table[f"relative_{measure}"] = [ratio(error, table[measure].iloc[0]) for error in table[measure]]
    return table


def _blocks(rows: Rows, split: Split) -> NDArray[np.int64]:
    """The block of each test row: its symbol where symbols are held out, its quarter of a year else."""
    if split.name == "symbol":
        return rows.symbol[split.test].astype(np.int64)
    quarters = rows.date[split.test].astype("datetime64[M]").astype(np.int64) // 3
    return quarters - quarters.min()


def _lead(losses: Floats, others: Floats, blocks: NDArray[np.int64], power: int) -> tuple[float, float]:
    """By which share ``losses`` are below ``others``, and the standard error over blocks."""
    differences = np.bincount(blocks, others - losses)[np.bincount(blocks) > 0]
    lead, error = lead_over_blocks(differences.astype(np.float64), float(others.sum()))
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
                "relative_mae": ratio(mae, average),
                "relative_mae_scaled": ratio(scaled, average),
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
    positions, lines = np.flatnonzero(split.train), []
    average = rows.features[:, 0]
    for point in reversed(range(points)):
        if point and len(positions) * 0.25**point < 100:
            continue
        part = positions[sampled_rows(len(positions), 0.25**point, seed)] if point else positions
        model = fitted_copy(estimator, rows, part) if point else estimator
        relative = [
            ratio(
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
    feature : str
        One of `lib.features.definitions.INPUTS`.

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
                "relative_mae": ratio(model, plain),
                "scaled_relative_mae": ratio(scaled, plain),
                "error_share": model * chosen.sum() / max(losses["model"].sum(), 1e-300),
            }
        )
    return pd.DataFrame(lines)
