"""A model beside the baselines: the tables of the evaluation, from the sums of `lib.evaluation.scores` and the rows drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.evaluation import sums
from lib.evaluation.baselines import AVERAGE, MODEL, ORACLE, SCALED, Predict, baselines
from lib.evaluation.errors import metrics, ratio, tenth_of
from lib.evaluation.rows import Rows, random_split
from lib.evaluation.scores import Case
from lib.features.definitions import INPUTS
from lib.models.quantiles import sampled_rows
from lib.models.table import Floats, LookupTable

MEAN = "mean of the held-out rows"  # what the variance is taken from; in no table


def constant(value: float, rows: Rows) -> Floats:
    """The same number for each row."""
    return np.full(len(rows), value)


def compare(scores: pd.DataFrame, case: Case, train: Rows, objective: str, shown: Sequence[str]) -> pd.DataFrame:
    """A model beside the baselines, the reference forest and the oracle.

    Parameters
    ----------
    scores : pandas.DataFrame
        What `lib.evaluation.scores.judge` made of ``case``, whose predictors hold `MEAN` too.
    train : Rows
        The training rows that were drawn.
    objective : {"absolute", "squared"}
        The model's.
    shown : sequence of str
        Predictors, in order; the first is the moving average.

    Returns
    -------
    pandas.DataFrame
        One line a predictor: split, horizon, objective, predictor; relative_mae and relative_rmse (test, as multiples of
        the moving average's); lead, the share by which the model's error (the objective's) is below this predictor's, and
        lead_error, its standard error from one quarter of a year, or one symbol, to the next; mae, rmse, r2 and
        median_ape on the test rows, and on the training rows (``train_mae``, ...). The oracle has no training errors.
    """
    lines = []
    for name in shown:
        train_errors = metrics(train.volume, case.predictors[name](train))
        if name == ORACLE:
            train_errors = dict.fromkeys(train_errors, np.nan)
        lead, lead_error = (np.nan, np.nan) if name == MODEL else _lead(scores, case.horizon, name, objective)
        lines.append(
            {"split": case.split.name, "horizon": case.horizon, "objective": objective, "predictor": name}
            | {"relative_mae": np.nan, "relative_rmse": np.nan, "lead": lead, "lead_error": lead_error}
            | test_metrics(scores, case.horizon, name)
            | {f"train_{key}": value for key, value in train_errors.items()}
        )
    table = pd.DataFrame(lines)
    for measure in ("mae", "rmse"):
        table[f"relative_{measure}"] = [ratio(error, table[measure].iloc[0]) for error in table[measure]]
    return table


def test_metrics(scores: pd.DataFrame, horizon: int, predictor: str) -> dict[str, float]:
    """The errors of one predictor on the held-out rows; see `lib.evaluation.errors.metrics`."""
    everything = scores[scores["grouping"] == "all"].set_index("predictor")
    own, variance = everything.loc[predictor], float(everything["squared"][MEAN])
    return {
        "mae": float(own["error"] / own["rows"]),
        "rmse": float(own["squared"] / own["rows"]) ** 0.5,
        "r2": 1 - float(own["squared"]) / variance if variance > 0 else float("nan"),
        "median_ape": sums.median_ape(scores, horizon, predictor),
    }


def _lead(scores: pd.DataFrame, horizon: int, other: str, objective: str) -> tuple[float, float]:
    """By which share the model's error is below another's, and the standard error over blocks."""
    if objective == "absolute":
        return sums.lead(scores, horizon, MODEL, other, "block")
    lead, error = sums.lead(scores, horizon, MODEL, other, "block", "squared")
    root = (1 - lead) ** 0.5  # of the root of the mean, not of the mean
    return 1 - root, error / (2 * root) if root > 0 else float("nan")


def overview(comparisons: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The errors of tables of `compare`, as multiples of the moving average's, side by side.

    Returns
    -------
    pandas.DataFrame
        A line a predictor, a column a comparison: ``"later dates, same day"`` is the chronological split at horizon 0.
    """
    held_out = {"chronological": "later dates", "random": "random rows", "symbol": "other symbols"}
    when = {0: "same day", 1: "next day"}
    columns = {}
    for table in comparisons:
        name = f"{held_out[table['split'].iloc[0]]}, {when[table['horizon'].iloc[0]]}"
        columns[name] = table.set_index("predictor")["relative_mae"]
    return pd.DataFrame(columns).rename_axis("predictor")


def coverage(scores: pd.DataFrame, edges: Floats, test: Rows, table: LookupTable) -> pd.DataFrame:
    """How often the interval holds the Volume of held-out rows, by decile of vol_moving_avg.

    Parameters
    ----------
    edges : ndarray of float64, shape (9,)
        What cut the rows into deciles.
    test : Rows
        The held-out rows that were drawn: the middles come from these.
    table : LookupTable
        The model's.

    Returns
    -------
    pandas.DataFrame
        Eleven lines: decile (1 to 10, then "all"), rows, vol_moving_avg (the median, in shares), coverage, relative_width (the median of
        width / vol_moving_avg).
    """
    average = test.features[:, 0]
    low, high = table.interval(np.maximum(average, 0), test.features[:, 1])
    width, decile = (high - low) / np.maximum(average, 1), tenth_of(average, edges)
    own = scores[scores["predictor"] == MODEL]
    lines = []
    for key, line in own[own["grouping"] == INPUTS[0]].set_index("key").iterrows():
        lines.append(_covered(str(int(str(key)) + 1), line, average[decile == key], width[decile == key]))
    lines.append(_covered("all", own[own["grouping"] == "all"].iloc[0], average, width))
    return pd.DataFrame(lines)


def _covered(decile: str, line: pd.Series[float], average: Floats, width: Floats) -> dict[str, object]:
    middle, relative_width = (float(np.median(values)) if len(values) else np.nan for values in (average, width))
    return {
        "decile": decile,
        "rows": int(line["rows"]),
        INPUTS[0]: middle,
        "coverage": float(line["inside"] / line["rows"]),
        "relative_width": relative_width,
    }


def errors_by(scores: pd.DataFrame, feature: str, test: Rows, edges: Floats) -> pd.DataFrame:
    """Where the error is: by tenths of the held-out rows, in order of a feature.

    Parameters
    ----------
    feature : str
        One of `lib.features.definitions.INPUTS`.
    test : Rows
        The held-out rows that were drawn: how far each tenth reaches comes from these.
    edges : ndarray of float64, shape (9,)
        What cut the rows into tenths.

    Returns
    -------
    pandas.DataFrame
        A line a tenth: low and high (of the feature), rows, mae (shares), relative_mae and scaled_relative_mae (the model's and the best
        multiple's, as multiples of the moving average's on these rows), error_share (of the model's whole error).
    """
    values = test.features[:, INPUTS.index(feature)]
    some = scores[scores["grouping"] == feature]
    errors = some.pivot_table(index="key", columns="predictor", values="error", aggfunc="sum")
    rows = some[some["predictor"] == MODEL].set_index("key")["rows"]
    reach = pd.Series(values).groupby(tenth_of(values, edges)).agg(["min", "max"]).reindex(errors.index)
    model, average = errors[MODEL], errors[AVERAGE].where(errors[AVERAGE] > 0)
    table = pd.DataFrame(
        {
            "low": reach["min"],
            "high": reach["max"],
            "rows": rows,
            "mae": model / rows,
            "relative_mae": model / average,
            "scaled_relative_mae": errors[SCALED] / average,
            "error_share": model / max(float(model.sum()), 1e-300),
        }
    )
    return table.reset_index(drop=True)


def learning_curve(scores: pd.DataFrame, parts: dict[str, Rows], case: Case) -> pd.DataFrame:
    """What more rows are worth: the error of models fitted on random parts of the training rows.

    Parameters
    ----------
    parts : dict of str to Rows
        The rows that each of these predictors was fitted on, from few to all.

    Returns
    -------
    pandas.DataFrame
        A line a part: rows, relative_mae on the test rows and train_relative_mae on the rows fitted (multiples of the moving
        average's on the same rows).
    """
    everything = scores[scores["grouping"] == "all"].set_index("predictor")
    error = everything["error"] / everything["rows"]
    lines = []
    for name, part in parts.items():
        own, average = (float(np.abs(case.predictors[who](part) - part.volume).sum()) for who in (name, AVERAGE))
        relative = ratio(float(error[name]), float(error[AVERAGE]))
        lines.append({"rows": len(part), "relative_mae": relative, "train_relative_mae": ratio(own, average)})
    return pd.DataFrame(lines)


def curve_parts(train: Rows, seed: int, points: int = 6) -> list[NDArray[np.intp]]:
    """Positions of random parts of the training rows, each four times as large as the one before; the last is all of them.

    Parameters
    ----------
    points : int
        Parts, at most; those of less than 100 rows are left out.
    """
    shares = [0.25**point for point in reversed(range(points)) if not point or len(train) * 0.25**point >= 100]
    return [sampled_rows(len(train), share, seed) for share in shares]


def spread_line(rows: Rows, fit: Callable[[Rows], Predict], test_share: float, seed: int) -> dict[str, float]:
    """How good the random split with another seed finds a model.

    Returns
    -------
    dict
        seed, mae (shares), relative_mae (a multiple of the moving average's) and relative_mae_scaled, that of the average's
        best multiple.
    """
    held = random_split(rows, test_share, seed).test(rows)
    train, test = rows.chosen(~held), rows.chosen(held)
    simple = baselines(train)
    average, scaled, mae = (
        float(np.abs(predict(test) - test.volume).mean()) for predict in (simple[AVERAGE], simple[SCALED], fit(train))
    )
    return {
        "seed": seed,
        "mae": mae,
        "relative_mae": ratio(mae, average),
        "relative_mae_scaled": ratio(scaled, average),
    }
