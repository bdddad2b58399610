"""Save a fitted model and read it back: the estimator, the table that is served, and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.features.definitions import BY_NAME, INPUTS
from lib.files import write_atomically
from lib.models import predictor, skops_file
from lib.models.registry import MODELS, estimator_class, model_name
from lib.models.regressor import TableRegressor
from lib.models.table import Floats
from lib.paths import StudyPaths

# All that a model file may hold, beside arrays and numbers.
TRUSTED_TYPES = [*MODELS.values(), "lib.models.table.LookupTable"]


def write_estimator(path: Path, estimator: TableRegressor) -> None:
    """Save a fitted estimator with skops; the same estimator gives the same bytes, under every Python."""
    write_atomically(path, skops_file.to_bytes(estimator))


def read_estimator(path: Path) -> TableRegressor:
    """Load an estimator that `write_estimator` saved; a file with types beside `TRUSTED_TYPES` is refused with a ValueError."""
    estimator: TableRegressor = skops_file.load(path, TRUSTED_TYPES)
    return estimator


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
    """What a model is, in plain numbers and strings, for `lib.models.predictor.Predictor.information`, the API and the model card.

    Parameters
    ----------
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
    """
    return {
        "model": model_name(estimator),
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
    """What a reader should know before using the model of `describe`, as Markdown."""
    measured = information["metrics"]
    (low_volume, high_volume), (low_price, high_price) = (information["range"][name] for name in INPUTS)
    when = {
        0: f"of the same day: {INPUTS[0]} contains the Volume that is predicted, one part in its window",
        1: "of the trading day before: both are known before the day begins",
    }[information["horizon"]]
    beats = "below" if measured["mae"] < measured["mae_moving_average"] else "not below"
    # A window of one day is the day itself, whose average is never wrong.
    share = measured["mae"] / measured["mae_moving_average"] if measured["mae_moving_average"] else float("nan")
    inputs = " and ".join(f"{name} ({BY_NAME[name].unit})" for name in INPUTS)
    text = f"""# Model card: a day's Volume from two features

        **Model.** {estimator_class(information["model"]).description} (`{information["model"]}`,
        {information["objective"]} error). Inputs: {inputs}, windows of
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


def save(study: StudyPaths, estimator: TableRegressor, information: dict[str, Any]) -> None:
    """Write a study's ``model/``: the estimator, its table and the model card, and nothing else."""
    written = (study.estimator, study.model_card, study.grid)
    for path in study.model.glob("*"):  # what an earlier version left would be taken for an artifact of this run
        if path not in written:
            path.unlink()
    write_estimator(study.estimator, estimator)
    write_atomically(study.model_card, model_card(information))
    # Last: a server that watches it finds the rest in place.
    write_atomically(study.grid, predictor.to_bytes(estimator.table_, information))
