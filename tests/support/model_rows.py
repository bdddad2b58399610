"""Rows to fit models on, and every model of the registry."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.models.registry import MODELS, make_estimator
from lib.models.regressor import TableRegressor

SMALL = {"forest": {"n_estimators": 3, "sample_share": 1.0, "volume_bins": 16, "price_bins": 16}}


def estimators() -> list[TableRegressor]:
    """One of each model and objective, small enough to be fitted often."""
    made = [make_estimator(name, "absolute", 42, SMALL.get(name, {})) for name in MODELS]
    squared = [make_estimator(name, "squared", 42, SMALL.get(name, {})) for name in MODELS]
    return made + [estimator for estimator in squared if "objective" in estimator.get_params()]


def study_rows(count: int = 6000, seed: int = 0) -> tuple[Any, Any, Any]:
    """Rows whose ratio rises with the average, from 0.5 to 1.3, with noise: inputs, volumes and dates."""
    random = np.random.default_rng(seed)
    average = 10 ** random.uniform(4, 6, count)
    price = np.exp(random.uniform(np.log(1), np.log(500), count))
    ratio = 0.5 + 0.8 * (np.log10(average) - 4) / 2
    volume = np.rint(average * ratio * np.exp(random.normal(0, 0.4, count)))
    dates = np.datetime64("2000-01-01") + np.sort(random.integers(0, 3000, count)).astype("timedelta64[D]")
    return np.column_stack([average, price]), volume, dates
