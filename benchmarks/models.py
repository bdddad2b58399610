"""Which model of the ratio is worth its lines? Candidates on twelve later periods of a study, at both horizons.

``python -m benchmarks.models STUDY ...`` cuts the later half of the dates into twelve periods. Each candidate is fitted
on all dates before a period and judged on it. Needs the studies' features: ``bash run_all.sh STUDY``. The table shows the mean
absolute error as a multiple of the moving average's, and by how much the default model leads the candidate, with its
standard error over the periods. docs/method.md has what came out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from lib.evaluation.errors import best_scale
from lib.evaluation.rows import Rows, distinct_days
from lib.evaluation.sample import draw_rows
from lib.models.ratio_by_quantile import RatioByQuantile
from lib.models.table import Floats
from lib.paths import StudyPaths
from lib.storage.dataset import open_dataset

PERIODS = 12
DEFAULT = "ratio by quantile, the default"
Predict = Callable[[Floats], Floats]
Fit = Callable[[Floats, Floats], Predict]


def scaled(X: Floats, y: Floats) -> Predict:
    """The best multiple of the average."""
    scale = best_scale(X[:, 0], y)
    return lambda inputs: scale * inputs[:, 0]


def boosted(leaves: int, iterations: int, power: float) -> Fit:
    """scikit-learn's boosting of the ratio, each row weighted by its average to a power."""

    def fit(X: Floats, y: Floats) -> Predict:
        traded = X[:, 0] > 0
        weights = X[traded, 0] ** power
        model = HistGradientBoostingRegressor(
            loss="absolute_error",
            max_leaf_nodes=leaves,
            max_iter=iterations,
            min_samples_leaf=200,
            max_bins=64,
            early_stopping=False,
            random_state=42,
        ).fit(X[traded], np.minimum(y[traded] / X[traded, 0], 20), sample_weight=weights / weights.mean())
        return lambda inputs: model.predict(inputs) * inputs[:, 0]

    return fit


CANDIDATES: dict[str, Fit] = {
    "moving average": lambda X, y: lambda inputs: inputs[:, 0],
    "scaled average": scaled,
    "HistGradientBoosting, 15 trees of 3 leaves": boosted(3, 15, 0.25),
    "HistGradientBoosting, 30 trees of 4 leaves": boosted(4, 30, 0.5),
    DEFAULT: lambda X, y: RatioByQuantile().fit(X, y).predict,
}


def judge(rows: Rows) -> pd.DataFrame:
    """Fit and judge every candidate on every period.

    Returns
    -------
    pandas.DataFrame
        A line a candidate: relative_mae, the mean over the periods; lead, of the default model over it; lead_error.
    """
    days = distinct_days(rows.date)
    half = len(days) // 2
    starts = [days[half + (len(days) - half) * period // PERIODS] for period in range(PERIODS)]
    errors = []
    for start, end in zip(starts, [*starts[1:], days[-1] + 1], strict=True):
        train, test = rows.date < start, (rows.date >= start) & (rows.date < end)
        learned = rows.features[train], rows.volume[train]
        inputs, volume = rows.features[test], rows.volume[test]
        errors.append({name: np.abs(fit(*learned)(inputs) - volume).mean() for name, fit in CANDIDATES.items()})
    relative = pd.DataFrame(errors)
    relative = relative.div(relative["moving average"], axis=0)
    leads = relative.sub(relative[DEFAULT], axis=0)
    return pd.DataFrame(
        {"relative_mae": relative.mean(), "lead": leads.mean(), "lead_error": leads.std(ddof=1) / PERIODS**0.5}
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="*", default=["sample"], help="studies that have been run")
    for study in parser.parse_args(arguments).studies:
        features = open_dataset(StudyPaths(study).features)
        for horizon, sample in draw_rows(features, (0, 1), most=features.rows).items():
            rows = sample.rows
            print(f"\n{study}, horizon {horizon}: {len(rows):,} rows, {PERIODS} later periods", flush=True)
            print(judge(rows).round(4).to_string(), flush=True)


if __name__ == "__main__":
    main()
